"""Compare every generated page with its generator (`make docs-check`); exit 1 if one differs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# page, the script that prints it with --print, and the make target that writes it
PAGES = (
    ("docs/cli.md", "tools/write_cli_docs.py", "make docs"),
    ("docs/recipes/fields.md", "tools/write_recipe_docs.py", "make docs"),
    ("docs/benchmarks.md", "benchmarks/write_docs.py", "make benchmark-docs"),
    ("docs/statistics.md", "benchmarks/interval_coverage.py", "make benchmark-docs"),
    ("docs/statistics.md", "benchmarks/over_fitting.py", "make benchmark-docs"),
    ("docs/recipes/strong.md", "benchmarks/recipes.py", "make benchmark-docs"),
    ("docs/studies/widths.md", "benchmarks/width_study.py", "make benchmark-docs"),
    ("docs/studies/precision.md", "benchmarks/precision.py", "make benchmark-docs"),
)


def fault(page: str, script: str, chore: str) -> str:
    """Return how a page differs from its generator, or ""."""
    done = subprocess.run([sys.executable, str(ROOT / script), "--print"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{script} failed:\n{done.stderr}"
    same = (ROOT / page).read_text(encoding="utf-8") == done.stdout
    return "" if same else f"{page} is not what {script} writes. Run `{chore}` and look at the difference."


if __name__ == "__main__":
    with ThreadPoolExecutor(2) as pool:
        faults = list(filter(None, pool.map(lambda entry: fault(*entry), PAGES)))
    sys.exit("\n".join(faults) or 0)
