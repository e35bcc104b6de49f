"""Figures as plain data: panels of curves, matrices and heat maps.

`chalknet.reporting.drawings.curves` draws them. A document keeps each of its figures as JSON too,
so that every number in a picture can be read without the picture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chalknet.formatting import json_ready
from chalknet.records import SPLITS, EpochRecord
from chalknet.reporting.tables import SPLIT_NAMES

FORMAT = 1  # version of the JSON
AXES = {
    "loss": "cross-entropy (nats)",
    "accuracy": "accuracy",
    "printed_loss": "printed loss",
}


@dataclass(frozen=True)
class Curve:
    """A line or a set of points.

    Attributes:
        label: name in the legend; "" keeps the curve out of it.
        x: horizontal positions.
        y: values, as many as x.
        low: lower ends of a band (of a line) or of error bars (of points), as many as x. For
            example the smallest value over the seeds, or the lower end of an interval. None for no
            band.
        high: upper ends; given if and only if `low` is.
        style: "line", "points", or "joined" for points that a line joins and that have error bars.
        color: index in the palette. By default the index of the label among the figure's labels, so
            that a label has the same color in all panels.

    Raises:
        ValueError: lengths differ, only one of low and high is given, or the style is unknown.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    style: str = "line"
    color: int | None = None

    def __post_init__(self) -> None:
        """Check lengths and style."""
        lengths = {len(values) for values in (self.x, self.y, self.low, self.high) if values is not None}
        if len(lengths) != 1 or (self.low is None) != (self.high is None):
            raise ValueError(f"curve {self.label!r}: x, y, low and high must have one length; low goes with high.")
        if self.style not in ("line", "points", "joined"):
            raise ValueError(f"curve {self.label!r}: style must be line, points or joined, got {self.style!r}.")


@dataclass(frozen=True)
class Mark:
    """A straight line across a panel at one value, such as an epoch.

    Attributes:
        at: the value.
        label: name in the legend; "" keeps the mark out of it.
        low: lower end of an interval around the value, which is drawn as a shade; None for none.
        high: upper end; given if and only if `low` is.
        axis: "x" for a vertical line, "y" for a horizontal one.
    """

    at: float
    label: str = ""
    low: float | None = None
    high: float | None = None
    axis: str = "x"


@dataclass(frozen=True)
class Panel:
    """One pair of axes with its curves and marks.

    Attributes:
        title: text above the panel.
        x_label: name of the horizontal axis with its unit.
        y_label: name of the vertical axis with its unit.
        curves: drawn in this order.
        x_scale: "linear" or "log".
        y_scale: "linear" or "log".
        marks: lines across the panel.
        x_names: categories at x = 0, 1, 2, ... in place of numbers, such as class names.
        y_limits: lower and upper end of the vertical axis; None to show every value.
        x_limits: the same for the horizontal axis, such as the first and the last epoch of a run that is not
            finished.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    x_scale: str = "linear"
    y_scale: str = "linear"
    marks: tuple[Mark, ...] = ()
    x_names: tuple[str, ...] = ()
    y_limits: tuple[float, float] | None = None
    x_limits: tuple[float, float] | None = None

    @property
    def shows_accuracy(self) -> bool:
        """Whether the vertical axis is an accuracy, whose numbers are shown in percent."""
        return self.y_label.endswith(AXES["accuracy"])

    def cuts_off(self) -> bool:
        """Return whether a value of a curve lies outside the vertical axis."""
        if self.y_limits is None:
            return False
        low, high = self.y_limits
        return any(not low <= y <= high for curve in self.curves for y in curve.y)


@dataclass(frozen=True)
class Matrix:
    """A panel of counts in a grid, such as a confusion matrix. Each cell shows its count.

    Attributes:
        title: text above the panel.
        x_label: what the columns are.
        y_label: what the rows are.
        row_names: one per row.
        column_names: one per column.
        counts: integers >= 0, rows by columns.
    """

    title: str
    x_label: str
    y_label: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class HeatMap:
    """A panel of fractions in a grid, such as the accuracy for each pair of values of two fields.

    Attributes:
        title: text above the panel.
        x_label: the field whose values are the columns.
        y_label: the field whose values are the rows.
        row_names: one per row.
        column_names: one per column.
        values: fractions in [0, 1], rows by columns; None where there is no value. Each cell of the
            grid shows its value in percent.
    """

    title: str
    x_label: str
    y_label: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Figure:
    """Panels, side by side or in a grid.

    Attributes:
        title: text above all panels.
        panels: filled into the grid row by row.
        columns: number of columns of the grid; None for one row.
        legend: "panels" for a legend in each panel, "shared" for one above all panels, or "none".
        same_x: whether all panels have the same horizontal range.
        same_y: whether all panels have the same vertical range.
    """

    title: str
    panels: tuple[Panel | Matrix | HeatMap, ...]
    columns: int | None = None
    legend: str = "panels"
    same_x: bool = False
    same_y: bool = False

    def json(self) -> str:
        """Return the figure as JSON with the kind of each panel; nan and infinity are null."""
        plain: dict[str, Any] = asdict(self)
        for panel, data in zip(self.panels, plain["panels"], strict=True):
            data["kind"] = type(panel).__name__.lower()
        text = json.dumps(json_ready({"format": FORMAT, **plain}), ensure_ascii=False, indent=1, allow_nan=False)
        return text + "\n"

    def cuts_off(self) -> bool:
        """Return whether a value lies outside the vertical axis of its panel."""
        return any(panel.cuts_off() for panel in self.panels if isinstance(panel, Panel))


def learning_curves(history: Sequence[EpochRecord], title: str = "") -> Figure:
    """Return the loss and the accuracy after each epoch, with one curve per split.

    Args:
        history: one record per epoch.
        title: text above both panels.
    """
    return Figure(
        title,
        (
            Panel("Loss", "epoch", "cross-entropy (nats per sample)", split_curves([history], SPLITS, "loss")),
            Panel("Accuracy", "epoch", "accuracy", split_curves([history], SPLITS, "accuracy")),
        ),
    )


def growing_axis(n_done: int, n_epochs: int) -> tuple[float, float]:
    """Return the first and the last epoch of an axis for curves that grow: the end doubles up to the last epoch.

    Args:
        n_done: epochs so far.
        n_epochs: epochs of the whole training.
    """
    end = n_epochs
    while end / 2 >= max(n_done, 4):
        end = -(-end // 2)
    return 1.0, float(max(end, 2))


def split_curves(histories: Sequence[Sequence[EpochRecord]], splits: Sequence[str], measure: str) -> tuple[Curve, ...]:
    """Return a curve per split: the mean over runs with a band from smallest to largest.

    Runs that stopped early are shown as far as all of them go. A split without scores is left out.

    Args:
        histories: one per run; a single run has no band.
        splits: "train", "valid", "test" or some of them.
        measure: an attribute of `Scores`, such as "loss".
    """
    curves = []
    length = min(len(history) for history in histories)
    for split in splits:
        if any(history[0].scores(split) is None for history in histories):
            continue
        values = np.array([curve_points(history[:length], split, measure)[1] for history in histories])
        x = tuple(float(n) for n in range(1, length + 1))
        band = (None, None) if len(values) == 1 else (_floats(values.min(axis=0)), _floats(values.max(axis=0)))
        curves.append(Curve(SPLIT_NAMES[split], x, _floats(values.mean(axis=0)), *band))
    return tuple(curves)


def curve_points(
    history: Sequence[EpochRecord], split: str, measure: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the epochs of a run and one measure of a split after each of them."""
    found = [(record.epoch, record.scores(split)) for record in history]
    x = tuple(float(epoch) for epoch, _ in found)
    return x, tuple(float(getattr(scores, measure)) for _, scores in found)


def _floats(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
