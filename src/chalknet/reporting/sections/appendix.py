"""The appendix: what ran and what did not, the seeds, the data's digest, and the commands that repeat it."""

from __future__ import annotations

import re

import tomli_w

from chalknet.formatting import count_of, listed
from chalknet.reporting.document import Block, Code, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import code, escape
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_tables import incomplete_table
from chalknet.studies.spec import spec_tables

MAX_ERRORS = 10
# What of a machine's facts a last digit or a time may depend on.
MACHINE_FACTS = ("processor", "cores", "system", "python", "numpy", "blas", "blas_version", "blas_kernels")


def appendix_section(report_data: ReportData, number: str = "A", title: str = "To repeat it") -> Section:
    """Everything that a repetition needs."""
    blocks: list[Block] = [*status_blocks(report_data), Paragraph(_seeds(report_data)), Paragraph(_data(report_data))]
    if report_data.commands:
        blocks += [Paragraph("The commands that repeat it:"), Code(report_data.commands)]
    if not report_data.is_run:
        text = tomli_w.dumps(spec_tables(report_data.results.spec)).strip()
        blocks += [
            *standard_text("files"),
            Paragraph("The whole question, as `study.toml` holds it:"),
            # Each list of the file on one line.
            Code(re.sub(r"\[\n((?:    .*\n)+)\]", lambda found: f"[{' '.join(found[1].split()).rstrip(',')}]", text)),
        ]
    else:
        blocks += standard_text("files")
    return Section(number, title, tuple(blocks))


def status_blocks(report_data: ReportData) -> list[Block]:
    """How many trainings there are, which failed and with what, and which are missing."""
    results = report_data.results
    counts = results.counts
    total = len(results.runs)
    if report_data.is_run:
        return []
    if counts["done"] == total:
        return [
            Paragraph(
                f"All {count_of(total, 'training')} ({count_of(len(results.configurations), 'configuration')}, "
                f"{count_of(report_data.n_seeds, 'seed')}) are done."
            )
        ]
    words = {"running": "running", "failed": "failed", "todo": "not begun"}
    rest = listed([f"{counts[status]:,} {word}" for status, word in words.items() if counts[status]])
    blocks: list[Block] = [
        Note(
            f"**{counts['done']:,} of {count_of(total, 'training')} are done; {rest}.** Configurations that are not "
            "complete "
            "are left out of every comparison.",
            "warning",
        ),
        TableBlock("incomplete", incomplete_table(report_data), "Configurations that are not complete."),
    ]
    failed = list(results.failed.items())
    for run, error in failed[:MAX_ERRORS]:
        blocks.append(Note(f"{code(str(run))} failed: {escape(error)}"))
    if len(failed) > MAX_ERRORS:
        blocks.append(
            Note(f"And {count_of(len(failed) - MAX_ERRORS, 'other')} failed; `chalknet study show` lists them.")
        )
    return blocks


def _seeds(report_data: ReportData) -> str:
    found = []
    for runs in report_data.configurations:
        for facts in runs.machines:
            words = [str(facts.get(name, "")) for name in MACHINE_FACTS]
            cores = f"{words[1]} core{'s' * (words[1] != '1')}" if words[1] else ""
            parts = [
                words[0],
                cores,
                words[2],
                f"Python {words[3]}",
                f"NumPy {words[4]}",
                " ".join(filter(None, words[5:])),
            ]
            found.append(escape(", ".join(filter(None, parts))))
    machines = list(dict.fromkeys(found))
    text = "On one machine and with the same versions, the same seeds give the same bits, however many run at once. "
    if len(machines) > 1:
        text += f"The trainings ran on {count_of(len(machines), 'kind')} of machine: {'; '.join(machines)}."
    elif machines:
        text += f"The trainings ran on: {machines[0]}."
    return text


def _data(report_data: ReportData) -> str:
    facts = report_data.results.data
    if not facts.sha256:
        return "The data has no digest."
    return f"The data's SHA-256 is {code(facts.sha256)}; a repetition with other data is refused."
