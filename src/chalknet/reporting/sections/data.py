"""The data: what it is, how it is split, some samples as images, and what an audit finds in it."""

from __future__ import annotations

import re

from chalknet.config import CUSTOM_SPLIT
from chalknet.data.audit import Audit
from chalknet.data.color import is_color
from chalknet.data.dataset import Dataset
from chalknet.formatting import count_of, listed
from chalknet.records import SPLITS
from chalknet.reporting.document import Block, ImageBlock, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import code, escape
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.study_tables import data_facts_table
from chalknet.reporting.tables import SPLIT_NAMES, Table, column_table, data_table

SHEET_SEED = 521
BUILTIN = "glyphs"  # the built-in letters, whose groups are font families
MAX_NAMED = 8  # columns with missing values that the text names
MAX_CLASSES = 26  # columns of the table of classes
# What checks of the audit look for, in words, and a pattern of their codes.
KINDS = {
    "copies": "copies|.*_copies_in_.*",
    "near duplicates": "near_duplicates|.*_near_duplicates_in_.*",
    "repeated test samples": "test_repeats",
    "equal or similar samples of different classes": ".*_of_two_labels|unattainable",
    "images of a single gray value": "blank",
    "class imbalance": "imbalance",
    "classes that a split lacks": "classes_missing_in_.*",
    "groups in two splits": ".*_groups_in_.*",
    "columns that number the rows": "row_numbers",
}
SPLIT_WORDS = {
    "writeup": "The samples are shuffled by NumPy's legacy generator with seed {seed}: the first {train} are training "
    "samples, the next {valid} validation samples, and the remaining {test} test samples.",
    "random": "A random permutation with seed {seed} splits the samples into {train} training, {valid} validation and "
    "{test} test samples.",
    "stratified": "The samples are split at random with seed {seed}, with the same class proportions in every split: "
    "{train} training, {valid} validation and {test} test samples.",
    "group": "The samples are split at random with seed {seed}, and samples of one group stay in one split: {train} "
    "training, {valid} validation and {test} test samples.",
}

# The same if validation or test samples were provided.
PROVIDED_SPLIT_WORDS = {
    "writeup": "The other samples are shuffled by NumPy's legacy generator with seed {seed} and divided: ",
    "random": "A random permutation with seed {seed} divides the other samples: ",
    "stratified": "The other samples are split at random with seed {seed}, with the same class proportions in every "
    "split: ",
    "group": "The other samples are split at random with seed {seed}, and samples of one group stay in one split: ",
}

# With folds, every sample that is not a test sample is both a training and a validation sample.
_FOLDS = "Each network trains on all folds but one, which is its validation split. {test} test samples are in no fold."
FOLD_WORDS = (
    "{train} samples are divided at random with seed {seed} into {folds} folds with the same class proportions. "
    + _FOLDS
)
GROUP_FOLD_WORDS = (
    "{train} samples are divided at random with seed {seed} into {folds} folds, and samples of one group stay in one "
    "fold. " + _FOLDS
)

_STANDARD = "Each input is scaled to mean 0 and standard deviation 1 on the training samples. "
# Scaling of table rows -> what the report says of it.
SCALING_TEXTS = {
    "pixels": "",
    "standard": _STANDARD,
    "auto": _STANDARD,
    "robust": "Each input is scaled by the median and the quartiles of the training samples. ",
}


def data_section(report_data: ReportData, number: str, title: str = "The data") -> Section:
    """Show the samples and their splits, and images and an audit if the samples could be read again."""
    blocks: list[Block] = [
        Paragraph(f"{_text(report_data)}{_samples_used(report_data)}"),
        TableBlock("data", data_facts_table(report_data), "The data."),
    ]
    if report_data.columns:
        columns = "What each column of the table holds, and what training uses of it."
        blocks.append(TableBlock("columns", column_table(report_data.columns), columns))
    if report_data.data is None or report_data.splits is None:
        blocks.append(
            Note(
                f"{report_data.data_missing_reason} This section therefore has no sample images and no audit.",
                "warning",
            )
        )
        return Section(number, title, tuple(blocks))
    if report_data.data.n_classes <= MAX_CLASSES:
        table = data_table(report_data.data, report_data.splits)
        blocks.append(TableBlock("classes", table, f"Samples of each class in each split{_of_seed(report_data)}."))
    blocks += [Note(escape(note)) for note in report_data.data.notes]
    if report_data.data.is_images:
        blocks.append(_sheet(report_data, report_data.data))
    if report_data.audit is not None:
        blocks += _audit(report_data)
    return Section(number, title, tuple(blocks))


def _text(report_data: ReportData) -> str:
    facts, split = report_data.results.data, report_data.results.spec.recipe.split
    shape = " × ".join(map(str, facts.sample_shape[:2]))
    kind = "color images" if is_color(facts.sample_shape) else "images"
    what = (
        f"{report_data.n_source_samples:,} {kind} of {shape} pixels" if report_data.has_images else _rows(report_data)
    )
    text = f"{code(facts.source)} holds {what} in {len(facts.class_names):,} classes. "
    text += _columns(report_data)
    if report_data.recipe.split.split == CUSTOM_SPLIT:
        return text + "It was split by index arrays from Python, which were not stored."
    sizes = {split: f"{size:,}" for split, size in facts.split_sizes.items()}
    provided = _provided(report_data)
    text += "".join(
        f"{code(name)} holds the {sizes[one]} {SPLIT_NAMES[one]} samples. " for one, name in provided.items()
    )
    n_folds = report_data.recipe.training.folds
    if n_folds:
        words = GROUP_FOLD_WORDS if split.split == "group" else FOLD_WORDS
        return text + words.format(seed=split.split_seed, folds=n_folds, **sizes)
    if len(provided) == len(SPLITS) - 1:
        return text + f"{code(facts.source)} holds the {sizes['train']} training samples."
    if provided:
        others = [
            f"{sizes[one]} {SPLIT_NAMES[one]}" for one in SPLITS if one not in provided and facts.split_sizes[one]
        ]
        text += f"{PROVIDED_SPLIT_WORDS[split.split].format(seed=split.split_seed)}{listed(others)} samples."
    else:
        text += SPLIT_WORDS[split.split].format(seed=split.split_seed, **sizes)
    if not report_data.results.has_same_images:
        text += " Each seed has its own split: its number is added to the seed of the split."
    if not facts.split_sizes["valid"]:
        text += " There are no validation samples."
    return text


def _provided(report_data: ReportData) -> dict[str, str]:
    """Return where provided validation and test samples are, by split: another source, or the source itself."""
    data, source = report_data.data, report_data.results.data.source
    own = {} if data is None else {"valid": data.provided_valid, "test": data.provided_test}
    return {split: source for split, index in own.items() if index is not None} | report_data.separate_sources


def training_samples(report_data: ReportData) -> int:
    """Return the smallest number of training samples of a configuration: the first of the training split, or all."""
    sizes = report_data.sizes
    asked = {config.recipe.split.train_size for config in report_data.results.configurations}
    return min([sizes["train"], *(int(size) for size in asked if size >= 1)])


def _samples_used(report_data: ReportData) -> str:
    """Return, after a space, that every network uses only some training samples; "" where that is not so."""
    used, n_train = training_samples(report_data), report_data.sizes["train"]
    if used == n_train or len({config.recipe.split.train_size for config in report_data.results.configurations}) > 1:
        return ""
    return (
        f" Every network is trained on the first {used:,} of the {n_train:,} training samples only. The tables and the "
        f"audit of this section count all {n_train:,}."
    )


def _rows(report_data: ReportData) -> str:
    """Return "400 rows with 4 columns, encoded as 13 inputs,", or "400 rows of 13 values" without an encoding."""
    facts, columns = report_data.results.data, report_data.columns
    n_inputs, n_rows = facts.sample_shape[0], report_data.n_source_samples
    if not columns or len(columns) == n_inputs:
        return f"{n_rows:,} rows of {count_of(n_inputs, 'column' if columns else 'value')}"
    return f"{n_rows:,} rows with {count_of(len(columns), 'column')}, encoded as {count_of(n_inputs, 'input')},"


def _columns(report_data: ReportData) -> str:
    """Say which values are missing, how the inputs are scaled, and where the classes are; "" for images."""
    if report_data.has_images:
        return ""
    text = ""
    missing = [f"{one.n_missing:,} in {code(one.name)}" for one in report_data.columns if one.n_missing]
    if missing:
        rest = len(missing) - MAX_NAMED
        shown = missing[:MAX_NAMED] + ([count_of(rest, "other column")] if rest > 0 else [])
        text += f"Missing values: {listed(shown)}. "
    encoding = report_data.data.encoding if report_data.data is not None else None
    if encoding is not None and encoding.label:
        text += f"The class is in column {code(encoding.label)}. "
    return text + SCALING_TEXTS[report_data.recipe.network.input_scaling]


def _of_seed(report_data: ReportData) -> str:
    return "" if report_data.results.has_same_images else f", for seed {report_data.results.seeds[0]}"


def _sheet(report_data: ReportData, data: Dataset) -> ImageBlock:
    from chalknet.reporting.drawings.images import sample_sheet
    from chalknet.reporting.drawings.picture import drawing_bytes

    assert report_data.splits is not None, "asked where the samples are there"
    sheet = sample_sheet(data, report_data.splits.train, seed=SHEET_SEED)
    caption = "Random training images, each below its class. Images of a single gray value are left out."
    return ImageBlock("samples", drawing_bytes(sheet, "png"), caption, "A sheet of training images with their classes.")


def _audit(report_data: ReportData) -> list[Block]:
    """Show what the audit found, and how each finding can affect the test accuracy."""
    from chalknet.reporting.audit_text import audit_rows

    assert report_data.audit is not None, "asked where there is one"
    rows = audit_rows(report_data.audit)
    checks = count_of(len(report_data.audit.checks), "check")
    if not rows:
        return [Paragraph(f"The audit ran {checks} ({_kinds(report_data.audit)}) and found nothing.")]
    text = (
        f"The audit ran {checks}, of which {len(rows)} found something. [table:audit] shows how each finding can "
        "affect the accuracy. `chalknet data audit` lists the samples."
    )
    if any("_groups_in_" in one.code for one in report_data.audit.findings):
        text += f" {_groups(report_data)}"
    if report_data.audit.check("test_repeats").found:
        text += (
            " Some test samples repeat others. The intervals in this document treat samples as independent, so "
            "those of the test accuracy are too narrow by up to the factor in the table."
        )
    table = Table("What the audit found", ("finding", "count", "effect"), rows)
    return [Paragraph(text), TableBlock("audit", table, "What the audit found.")]


def _kinds(audit: Audit) -> str:
    """Return what the checks look for; those of all splits are one kind."""
    codes = [one.code for one in audit.checks]
    return listed([words for words, pattern in KINDS.items() if any(re.fullmatch(pattern, code) for code in codes)])


def _groups(report_data: ReportData) -> str:
    """Say what a group is, and what it means that splits share groups."""
    if report_data.results.data.source == BUILTIN:
        noun = "font family"
        text = (
            "A group is a font family: its letters look alike. Training and test samples share font families, so the "
            "test accuracy holds for new letters of known fonts, and it can be lower for new fonts."
        )
    else:
        noun = "group"
        text = (
            "A group is a set of samples that belong together, as the data says. Different splits share groups, so the "
            "accuracy holds for new samples of known groups, and it can be lower for new groups."
        )
    return f"{text} `--split group` would keep each {noun} in one split."
