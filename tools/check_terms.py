"""Find words that chalknet does not use, and name the term to use instead.

    python tools/check_terms.py [FILE...]

Without files, every tracked source file and page is checked. `make lint` runs it. A term is listed
here if a reader who knows PyTorch and scikit-learn would need a translation for it. Words that also
have an ordinary meaning are only found where they are names: "cell" is fine in a table, and a class
`Cell` is not.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKED = ("*.py", "*.md", "*.toml", "*.html", "*.typ", "*.ipynb", "Makefile")
# Files of other versions, stored results, and lists of former names.
SKIPPED = (
    "tests/fuzz/corpus",
    "tests/artifacts/corpus",
    "tests/artifacts/golden",
    "benchmarks/results",
    "docs/studies",
    "tools/check_terms.py",
)
# A line with this comment names a term of a stored file of an earlier version.
FORMER_NAME = "former name"
AMERICAN = "American spelling"

# Words and phrases that have no ordinary use here, as regular expressions that ignore case.
WORDS = {
    r"initialis\w*|normalis\w*|regularis\w*|summaris\w*|recognis\w*": AMERICAN,
    r"optimis(?:e|er|ers|ed|ing|ation)|behaviour\w*|neighbour\w*|labelled|learnt|centre": AMERICAN,
    r"colour\w*|grey\w*|licence\w*": AMERICAN,
    r"chalkboard": "formulas",
    r"settle_\w+|settled_for": "resolve_recipe, resolved",
    r"(?-i:Gathered)|gathered\.\w+": "ReportData, report_data",
    r"own_(?:sets|valid|test)": "provided splits, provided_valid",
    r"near twins?|twins": "near duplicates",
    r"(?-i:_?(?:MOST|LEAST|FEWEST)_[A-Z]\w*)": "MAX_, MIN_",
    r"foreman|lockstep|run_together|unit_arrays_of": "scheduler, joint training",
    r"rate_factor": "learning_rate_multiplier",
    r"kept_of_average": "ema_decay",
    r"shown_parameters": "evaluation_parameters",
    r"go_back|go_on_from": "restore_snapshot, load_checkpoint",
    r"told apart": "significantly different, distinguished",
    r"cannot be meant|can not be meant": "invalid",
    r"of one's own": "your own",
    r"whoever|of whom": "say who: the caller, the reader",
    r"as it is alone": "say what it equals",
}
# Names of Python: classes, functions, modules and attributes.
NAMES = {
    r"class _?(?:Cell|Unit|Outcome|Owner|Crew|Hand|Post|Assignments)\b": "Configuration, RunKey, RunOutput, Lease",
    r"class _?(?:Begun|Keeper|Watch|Lessons?|Noise)\b": "RunContext, TrainingBatch, RandomTransforms",
    r"class _?(?:Tile|Tally|Goals|Aims|Pack|Part)\b": "Workspace, ScoreAccumulator, Targets, StackedEngine, SplitData",
    r"class _?(?:Cut|Share|ShardsHere)\b": "ShardLayout, ShardGradient, LocalShards",
    r"class _?(?:Decayed|Averaged|UpdateRule)\b": "DecoupledWeightDecay, ParameterAverage, Optimizer",
    r"class _?(?:OpenedModel|Answers|Reading|Piece)\b": "LoadedModel, Predictions, InputOptions, InputBatch",
    r"class _?(?:StoredSamples|Desk|Units|Needed)\b": "OnDiskSamples, AuditContext, RequiredSampleSize",
    r"def (?:settle|gather|observe|suited)\b": "resolve, collect, update, adapt_to_data",
    r"def (?:tell_done|tell_failed|tell_died|hire|bury)\b": "claim, complete, fail, record_crash, start_worker",
}


def terms() -> list[tuple[re.Pattern[str], str]]:
    """Return a compiled pattern and the term to use instead, for every entry."""
    words = [(re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE), use) for pattern, use in WORDS.items()]
    return words + [(re.compile(pattern), use) for pattern, use in NAMES.items()]


def checked_files() -> list[Path]:
    """Return the tracked files to check."""
    excluded = [f":!{path}" for path in SKIPPED]
    command = ["git", "-C", str(ROOT), "ls-files", "--", *CHECKED, *excluded]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def findings(path: Path) -> list[str]:
    """Return one line for each term found in a file."""
    found = []
    known = terms()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if FORMER_NAME in line.lower():
            continue
        for pattern, use in known:
            if match := pattern.search(line):
                found.append(f"{path}:{number}: {match[0]!r}. Use instead: {use}")
    return found


def main(arguments: list[str]) -> int:
    """Print every finding, and return 1 if there is one."""
    files = [Path(name) for name in arguments] or checked_files()
    found = [line for path in files for line in findings(path)]
    print("\n".join(found) or f"No term to replace in {len(files)} files.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
