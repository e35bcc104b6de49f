"""The appendix: what ran and what did not, the versions, the digest of the data, and the commands that repeat it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import tomli_w

from chalknet.formatting import count_of, is_or_are, listed
from chalknet.reporting.document import Block, Code, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import code, escape
from chalknet.reporting.ranking import Ranking
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_progress import duration_sentence, failure_blocks, ranking_blocks, unfinished_blocks
from chalknet.reporting.study_tables import incomplete_table
from chalknet.studies.spec import spec_tables

# The facts of a machine on which a last digit or a time may depend.
MACHINE_FACTS = ("processor", "cores", "system", "python", "numpy", "blas", "blas_version", "blas_kernels")


def appendix_section(report_data: ReportData, number: str = "A", title: str = "How to repeat this") -> Section:
    """Show everything that a repetition needs."""
    blocks: list[Block] = [
        *status_blocks(report_data),
        Paragraph(_versions(report_data)),
        Paragraph(_data(report_data)),
    ]
    if report_data.commands:
        one = "\n" not in report_data.commands
        these = "This command repeats" if one else "These commands repeat"
        text = f"{these} the training and this document in a new folder:"
        blocks += [Paragraph(text), Code(report_data.commands)]
    if not report_data.is_run:
        text = tomli_w.dumps(spec_tables(report_data.results.spec)).strip()
        blocks += [
            Paragraph(_specification(report_data)),
            # Each list of the file on one line.
            Code(re.sub(r"\[\n((?:    .*\n)+)\]", lambda found: f"[{' '.join(found[1].split()).rstrip(',')}]", text)),
        ]
    return Section(number, title, (*standard_text("files"), *blocks))


def status_blocks(report_data: ReportData) -> list[Block]:
    """Show how many runs there are, which failed and why, which are missing, and what is known so far."""
    results, state = report_data.results, report_data.state
    counts, total = results.counts, len(results.runs)
    if report_data.is_run:
        return []
    took = duration_sentence([one for runs in report_data.configurations for one in runs.seconds])
    if counts["done"] == total:
        configurations = count_of(len(results.configurations), "configuration")
        each = f"{configurations}, {count_of(report_data.n_seeds, 'seed')} each"
        return [Paragraph(f"{'All ' if total > 1 else ''}{count_of(total, 'run')} finished ({each}). {took}")]
    words = {"running": "running", "failed": "failed", "todo": "to do"}
    rest = listed([f"{counts[status]:,} {word}" for status, word in words.items() if counts[status]])
    blocks: list[Block] = [
        Note(
            f"**{counts['done']:,} of {count_of(total, 'run')} {is_or_are(total)} finished, {rest}.** "
            "Incomplete configurations are left out of every comparison.",
            "warning",
        ),
        *([Paragraph(took)] if took else []),
        TableBlock("incomplete", incomplete_table(report_data), "Incomplete configurations."),
        *failure_blocks(results),
    ]
    if state is not None:
        ranking = Ranking()
        ranking.update(state)
        blocks += [*ranking_blocks(ranking, state), *unfinished_blocks(state)]
    return blocks


def _specification(report_data: ReportData) -> str:
    """Introduce the specification, and say which of its values the configurations replace."""
    text = "The complete specification of the study, `study.toml`"
    names = [name for name, _ in report_data.results.spec.vary]
    if report_data.is_named:
        return f"{text}. The values in `[configurations]` replace those in the other parts:"
    if not names:
        return f"{text}:"
    return f"{text}. The values in `[vary]` replace {listed([code(name) for name in names])} in the other parts:"


def _versions(report_data: ReportData) -> str:
    configurations = report_data.configurations
    machines = list(dict.fromkeys(_machine_text(facts) for runs in configurations for facts in runs.machines))
    text = (
        "On the same machine with the same versions, results with the same seeds are bit-identical, however many runs "
        "are trained at once."
    )
    if len(machines) == 1 and machines[0] == _machine_text(report_data.machine):
        return f"{text} [table:setup] has the versions and the machine of these runs."
    if len(machines) > 1:
        return f"{text} These runs were trained on {len(machines)} kinds of machine: {'; '.join(machines)}."
    return f"{text} These runs were trained on {machines[0]}." if machines else text


def _machine_text(facts: Mapping[str, Any]) -> str:
    words = [str(facts.get(name, "") or "") for name in MACHINE_FACTS]
    cores = f"{words[1]} core{'s' * (words[1] != '1')}" if words[1] else ""
    versions = (f"Python {words[3]}", f"NumPy {words[4]}", " ".join(filter(None, words[5:])))
    return escape(", ".join(filter(None, (words[0], cores, words[2], *versions))))


def _data(report_data: ReportData) -> str:
    facts = report_data.results.data
    if not facts.sha256:
        return "The digest of the data is not known."
    return "[table:data] has the SHA-256 digest of the data. Repetitions refuse other data."
