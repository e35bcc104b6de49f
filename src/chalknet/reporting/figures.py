"""Figures as plain data: curves with their names and units, which any drawer can draw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from chalknet.formatting import json_ready
from chalknet.records import SPLITS, EpochRecord
from chalknet.reporting.tables import SPLIT_NAMES

FORMAT = 1  # of the JSON
AXES = {
    "loss": "cross-entropy (nats)",
    "accuracy": "share of right answers",
    "printed_loss": "printed loss",
}


@dataclass(frozen=True)
class Curve:
    """A line, or points: its name in the legend and its values.

    Attributes:
        label: "" keeps it out of the legend.
        low, high: about every point, such as the least and the largest of the seeds, or an interval; a band of a line,
            error bars of points. Both or neither.
        style: "line" or "points".
        color: its place in the palette, 0, 1, ...; by default the place of its label among the figure's labels, so
            that a name has one color in all panels.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    style: str = "line"
    color: int | None = None

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.x, self.y, self.low, self.high) if values is not None}
        if len(lengths) != 1 or (self.low is None) != (self.high is None):
            raise ValueError(f"curve {self.label!r}: x, y, low and high must be of one length; low goes with high.")
        if self.style not in ("line", "points"):
            raise ValueError(f"curve {self.label!r}: style must be line or points, got {self.style!r}.")


@dataclass(frozen=True)
class Mark:
    """A straight line across a panel at one value, such as an epoch, and the interval about it as a shade.

    Attributes:
        axis: which axis the value is on: "x" for an upright line, "y" for a level one.
    """

    at: float
    label: str = ""
    low: float | None = None
    high: float | None = None
    axis: str = "x"


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        x_scale, y_scale: "linear" or "log".
        x_names: names that stand at 0, 1, 2, ... of the x axis in place of numbers, such as classes.
        y_limits: what the y axis spans; what the values need if None.
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


@dataclass(frozen=True)
class Matrix:
    """A panel of counts in a grid, such as a confusion matrix: rows by columns, each count written in its place."""

    title: str
    x_label: str
    y_label: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Figure:
    """Panels, side by side or in a grid.

    Attributes:
        columns: of the grid, filled row by row; all panels in one row if None.
        legend: "panels", one in each; "shared", one for all of them above; "none".
        same_x, same_y: whether all panels have one range of that axis.
    """

    title: str
    panels: tuple[Panel | Matrix, ...]
    columns: int | None = None
    legend: str = "panels"
    same_x: bool = False
    same_y: bool = False

    def json(self) -> str:
        """The figure as JSON, with the kind of each panel; a value that is not finite is null."""
        plain = asdict(self)
        for panel, data in zip(self.panels, plain["panels"], strict=True):
            data["kind"] = type(panel).__name__.lower()
        text = json.dumps(json_ready({"format": FORMAT, **plain}), ensure_ascii=False, indent=1, allow_nan=False)
        return text + "\n"


def learning_curves(history: Sequence[EpochRecord], title: str = "") -> Figure:
    """The write-up's figure: loss and accuracy against the epoch, a curve for each set that there is."""
    return Figure(
        title,
        (
            Panel("Loss", "epoch", "cross-entropy (nats per sample)", split_curves([history], SPLITS, "loss")),
            Panel("Accuracy", "epoch", "share of right answers", split_curves([history], SPLITS, "accuracy")),
        ),
    )


def split_curves(histories: Sequence[Sequence[EpochRecord]], splits: Sequence[str], measure: str) -> tuple[Curve, ...]:
    """Return a curve a part: one training's, or the mean of several with the least and the largest as a band."""
    curves = []
    length = min(len(history) for history in histories)  # where some stopped early, as far as all of them go
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
    """Return the epochs of a history and one measure of a part after each of them."""
    found = [(record.epoch, record.scores(split)) for record in history]
    x = tuple(float(epoch) for epoch, _ in found)
    return x, tuple(float(getattr(scores, measure)) for _, scores in found)


def _floats(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
