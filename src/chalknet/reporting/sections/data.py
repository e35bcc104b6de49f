"""The data: what it is, how it is divided, a sample sheet, and what an audit finds in it."""

from __future__ import annotations

from chalknet.config import GIVEN
from chalknet.data.dataset import Dataset
from chalknet.formatting import count_of
from chalknet.reporting.document import Block, ImageBlock, Note, Paragraph, Section, TableBlock
from chalknet.reporting.gathered import Gathered
from chalknet.reporting.inline import code, escaped
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


def data_section(gathered: Gathered, number: str, title: str = "The data") -> Section:
    """The samples and their parts; pictures and audit where the samples could be read again."""
    blocks: list[Block] = [Paragraph(_text(gathered)), TableBlock("data", data_facts_table(gathered), "The samples.")]
    if gathered.data is None or gathered.splits is None:
        blocks.append(Note(f"{gathered.data_gone} So there are no pictures of samples here, and no audit.", "warning"))
        return Section(number, title, tuple(blocks))
    if gathered.data.n_classes <= MAX_CLASSES:
        table = data_table(gathered.data, gathered.splits)
        blocks.append(TableBlock("classes", table, f"Samples of each class in each part{_of_seed(gathered)}."))
    blocks += [Note(escaped(note)) for note in gathered.data.notes]
    if gathered.data.is_images:
        blocks.append(_sheet(gathered, gathered.data))
    if gathered.audit is not None:
        blocks += _audit(gathered)
    return Section(number, title, tuple(blocks))


def _text(gathered: Gathered) -> str:
    facts, split = gathered.results.data, gathered.results.spec.recipe.split
    kind = "images" if gathered.has_images else "rows"
    shape = " × ".join(map(str, facts.sample_shape))
    values = "pixels" if gathered.has_images else "values"
    what = f"{facts.samples:,} {kind} of {shape} {values} in {len(facts.class_names):,} classes"
    text = f"{code(facts.source)} holds {what}. "
    if gathered.recipe.split.split == GIVEN:
        return text + "Its parts were given as index arrays, which no file holds."
    sizes = {part: f"{size:,}" for part, size in facts.split_sizes.items()}
    words = SPLIT_WORDS[split.split].format(seed=split.split_seed, train=sizes["train"], valid=sizes["valid"])
    text += f"{words[0].upper()}{words[1:]}: {sizes['train']}, {sizes['valid']} and {sizes['test']} samples."
    if not gathered.results.has_same_images:
        text += " Each seed divides them anew, with its own number added to that seed."
    if not facts.split_sizes["valid"]:
        text += " There is no validation part."
    return text


def _of_seed(gathered: Gathered) -> str:
    return "" if gathered.results.has_same_images else f", for seed {gathered.results.seeds[0]}"


def _sheet(gathered: Gathered, data: Dataset) -> ImageBlock:
    from chalknet.reporting.drawings.images import show_images
    from chalknet.reporting.drawings.picture import drawing_bytes

    assert gathered.splits is not None, "asked where the samples are there"
    sheet = show_images(data, indices=gathered.splits.train, seed=SHEET_SEED)
    caption = "Training images drawn at random, each under its class."
    return ImageBlock("samples", drawing_bytes(sheet, "png"), caption, "A sheet of training images with their classes.")


def _audit(gathered: Gathered) -> list[Block]:
    """What was found, as a table; what each can do to the test figure stands beside it."""
    from chalknet.reporting.audit_words import audit_rows

    assert gathered.audit is not None, "asked where there is one"
    rows = audit_rows(gathered.audit)
    looked = len(gathered.audit.checks)
    if not rows:
        return [
            Paragraph(
                f"The audit looked for {count_of(looked, 'thing')} (copies, near twins, contradicting labels, blank "
                "images, imbalance, groups on two sides) and found none of them."
            )
        ]
    text = (
        f"The audit looked for {count_of(looked, 'thing')} and found {len(rows)}; [table:audit] says what each can do "
        "to a test figure at most. `chalknet data audit` lists the samples."
    )
    table = Table("What the audit found", ("what", "count", "what it can do"), rows)
    if gathered.audit.check("test_repeats").found:
        text += (
            " Intervals in this document take samples as independent of each other, so they are too narrow by about "
            "what the table says of repeats."
        )
    return [Paragraph(text), TableBlock("audit", table, "What the audit found.")]
