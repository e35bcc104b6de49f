"""The data: what it is, how it is divided, a sample sheet, and what an audit finds in it."""

from __future__ import annotations

from chalknet.config import CUSTOM_SPLIT
from chalknet.data.dataset import Dataset
from chalknet.formatting import count_of
from chalknet.reporting.document import Block, ImageBlock, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import code, escape
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.study_tables import data_facts_table
from chalknet.reporting.tables import Table, data_table

SHEET_SEED = 521
MAX_CLASSES = 26  # columns of the table of classes
SPLIT_WORDS = {
    "writeup": "NumPy's legacy generator with seed {seed} shuffles the samples; the first {train} train, the next "
    "{valid} validate, and the rest test",
    "random": "a random permutation (seed {seed}) gives {train} samples to training, {valid} to validation and the "
    "rest to test",
    "stratified": "every class is divided in the same proportions (seed {seed})",
    "group": "whole groups are dealt out (seed {seed}), so that none is on two sides",
}


def data_section(report_data: ReportData, number: str, title: str = "The data") -> Section:
    """The samples and their parts; pictures and audit where the samples could be read again."""
    blocks: list[Block] = [
        Paragraph(_text(report_data)),
        TableBlock("data", data_facts_table(report_data), "The samples."),
    ]
    if report_data.data is None or report_data.splits is None:
        blocks.append(
            Note(
                f"{report_data.data_missing_reason} So there are no pictures of samples here, and no audit.", "warning"
            )
        )
        return Section(number, title, tuple(blocks))
    if report_data.data.n_classes <= MAX_CLASSES:
        table = data_table(report_data.data, report_data.splits)
        blocks.append(TableBlock("classes", table, f"Samples of each class in each part{_of_seed(report_data)}."))
    blocks += [Note(escape(note)) for note in report_data.data.notes]
    if report_data.data.is_images:
        blocks.append(_sheet(report_data, report_data.data))
    if report_data.audit is not None:
        blocks += _audit(report_data)
    return Section(number, title, tuple(blocks))


def _text(report_data: ReportData) -> str:
    facts, split = report_data.results.data, report_data.results.spec.recipe.split
    kind = "images" if report_data.has_images else "rows"
    shape = " × ".join(map(str, facts.sample_shape))
    values = "pixels" if report_data.has_images else "values"
    what = f"{facts.samples:,} {kind} of {shape} {values} in {len(facts.class_names):,} classes"
    text = f"{code(facts.source)} holds {what}. "
    if report_data.recipe.split.split == CUSTOM_SPLIT:
        return text + "Its parts were given as index arrays, which no file holds."
    sizes = {split: f"{size:,}" for split, size in facts.split_sizes.items()}
    words = SPLIT_WORDS[split.split].format(seed=split.split_seed, train=sizes["train"], valid=sizes["valid"])
    text += f"{words[0].upper()}{words[1:]}: {sizes['train']}, {sizes['valid']} and {sizes['test']} samples."
    if not report_data.results.has_same_images:
        text += " Each seed divides them anew, with its own number added to that seed."
    if not facts.split_sizes["valid"]:
        text += " There is no validation part."
    return text


def _of_seed(report_data: ReportData) -> str:
    return "" if report_data.results.has_same_images else f", for seed {report_data.results.seeds[0]}"


def _sheet(report_data: ReportData, data: Dataset) -> ImageBlock:
    from chalknet.reporting.drawings.images import sample_sheet
    from chalknet.reporting.drawings.picture import drawing_bytes

    assert report_data.splits is not None, "asked where the samples are there"
    sheet = sample_sheet(data, report_data.splits.train, seed=SHEET_SEED)
    caption = "Training images drawn at random, each under its class. Images without any contrast are left out."
    return ImageBlock("samples", drawing_bytes(sheet, "png"), caption, "A sheet of training images with their classes.")


def _audit(report_data: ReportData) -> list[Block]:
    """What was found, as a table; what each can do to the test figure stands beside it."""
    from chalknet.reporting.audit_text import audit_rows

    assert report_data.audit is not None, "asked where there is one"
    rows = audit_rows(report_data.audit)
    looked = len(report_data.audit.checks)
    if not rows:
        return [
            Paragraph(
                f"The audit looked for {count_of(looked, 'thing')} (copies, near duplicates, contradicting labels, "
                "blank images, imbalance, groups on two sides) and found none of them."
            )
        ]
    text = (
        f"The audit looked for {count_of(looked, 'thing')} and found {len(rows)}; [table:audit] says what each can do "
        "to a test figure at most. `chalknet data audit` lists the samples."
    )
    table = Table("What the audit found", ("what", "count", "what it can do"), rows)
    if report_data.audit.check("test_repeats").found:
        text += (
            " Intervals in this document take samples as independent of each other, so they are too narrow by about "
            "what the table says of repeats."
        )
    return [Paragraph(text), TableBlock("audit", table, "What the audit found.")]
