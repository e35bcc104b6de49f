"""Tables as plain data, which the terminal, CSV files and documents show alike."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.data.tables.columns import ColumnSummary
from chalknet.formatting import DASH, count_of, csv_text, printable
from chalknet.network.gradcheck import GradientCheck
from chalknet.records import SPLIT_NAMES as SPLIT_NAMES  # an export too
from chalknet.records import SPLITS, Scores
from chalknet.training.recipes import WRITEUP_RECIPE

if TYPE_CHECKING:
    from chalknet.training.trainer import Run

MONITOR_NAMES = {"valid_loss": "validation loss", "valid_accuracy": "validation accuracy"}
MAX_COLUMNS = 100  # rows of the table of the columns of a table
SCORE_HEADS = ("", "loss", "accuracy", "printed loss")  # heads of columns with `score_cells`


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: one line.
        columns: heads of the columns.
        rows: cells as text, each row as long as `columns`. The first column holds names, the others
            hold numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self, width: int | None = None) -> str:
        """Return the table as plain text, with names aligned left and numbers aligned right.

        Args:
            width: columns of the terminal. In a table that is wider, each name has a line of its
                own.
        """
        cells = [[printable(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        is_wide = width is not None and sum(widths) + 2 * len(widths) - 2 > width
        lines = []
        for row in cells:
            figures = "  ".join(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))
            lines += [row[0], f"  {figures}"] if is_wide else [f"{row[0].ljust(widths[0])}  {figures}"]
        title = printable(self.title) if width is None else textwrap.fill(printable(self.title), width)
        return "\n".join([title, *(line.rstrip() for line in lines)])

    def csv(self) -> str:
        """Return heads and rows as comma-separated values."""
        return csv_text([self.columns, *self.rows])


def data_table(data: Dataset, splits: Splits) -> Table:
    """Return the number of samples of each class in each split."""
    counts = {
        split: np.bincount(data.labels[index], minlength=data.n_classes) for split, index in splits.named().items()
    }
    rows = [
        (SPLIT_NAMES[split], f"{counts[split].sum():,}", *(f"{count:,}" for count in counts[split])) for split in SPLITS
    ]
    shape = " x ".join(str(n) for n in data.inputs.shape[1:])
    kind = "images" if data.is_images else "rows"
    title = f"Data: {data.source}, {len(data):,} {kind} of {shape} {data.inputs.dtype} values"
    return Table(title, ("", "samples", *data.class_names), tuple(rows))


def column_table(columns: Sequence[ColumnSummary]) -> Table:
    """Return what each column of a table holds, and what is done with it."""
    head = ("column", "kind", "missing", "distinct", "values", "in training")
    rows = [
        (printable(one.name), one.kind, f"{one.n_missing:,}", f"{one.n_distinct:,}", printable(one.values), one.use)
        for one in columns[:MAX_COLUMNS]
    ]
    more = len(columns) - MAX_COLUMNS
    title = f"Columns (the first {MAX_COLUMNS:,} of {len(columns):,})" if more > 0 else "Columns"
    return Table(title, head, tuple(rows))


def statistics_table(run: Run) -> Table:
    """Return loss and accuracy of each split at the kept epoch, and the training time.

    A run of the write-up's recipe also has the loss that the original write-up printed.
    """
    kept, n_epochs = run.kept, len(run.history)
    n_columns = len(SCORE_HEADS) if run.recipe.name == WRITEUP_RECIPE else len(SCORE_HEADS) - 1
    rows = [(SPLIT_NAMES[split], *score_cells(kept.scores(split)))[:n_columns] for split in SPLITS]
    title = f"After {count_of(kept.epoch, 'epoch')}"
    if run.members:
        title = f"{len(run.members)} networks together"
        if run.recipe.training.folds:
            title += f", {SPLIT_NAMES['valid']} scores out of {run.recipe.training.folds} folds"
    elif kept.epoch != n_epochs:
        title += f", the best of {n_epochs} by {MONITOR_NAMES[run.recipe.stopping.monitor]}"
    if run.temperature is not None:
        title += f", calibrated with temperature {run.temperature:.3g}"
    return Table(f"{title}, {run.seconds:.1f} s", SCORE_HEADS[:n_columns], tuple(rows))


def gradient_table(checks: Sequence[GradientCheck], digits: int = 12) -> Table:
    """Return the directional derivative of each parameter, by formula and by finite differences.

    Args:
        checks: the result of the gradient check, one per parameter.
        digits: decimals of the derivatives.
    """
    rows = [
        (
            check.parameter,
            f"{check.n_elements:,}",
            f"{check.analytic:+.{digits}e}",
            f"{check.numeric:+.{digits}e}",
            f"{check.relative_error:.1e}",
        )
        for check in checks
    ]
    return Table("Gradient check", ("parameter", "elements", "analytic", "numeric", "relative error"), tuple(rows))


def score_cells(scores: Scores | None) -> tuple[str, str, str]:
    """Return loss, accuracy and printed loss as text, or dashes without scores."""
    if scores is None:
        return (DASH, DASH, DASH)
    return (f"{scores.loss:.4f}", f"{100 * scores.accuracy:.2f} %", f"{scores.printed_loss:.4f}")
