"""Figures as plain data: curves with their names and units, which any drawer can draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalknet.records import PARTS, EpochRecord
from chalknet.report.tables import PART_NAMES


@dataclass(frozen=True)
class Curve:
    """One line: its name in the legend and its points."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Figure:
    """Panels side by side."""

    title: str
    panels: tuple[Panel, ...]


def learning_curves(history: Sequence[EpochRecord], title: str = "") -> Figure:
    """The write-up's figure: loss and accuracy against the epoch, a curve for each set that there is."""
    return Figure(
        title,
        (
            Panel("Loss", "epoch", "cross-entropy (nats per sample)", _curves(history, "loss")),
            Panel("Accuracy", "epoch", "share of right answers", _curves(history, "accuracy")),
        ),
    )


def _curves(history: Sequence[EpochRecord], measure: str) -> tuple[Curve, ...]:
    curves = []
    for part in PARTS:
        points = [(record.epoch, record.part(part)) for record in history if record.part(part) is not None]
        if points:
            x = tuple(float(epoch) for epoch, _ in points)
            curves.append(Curve(PART_NAMES[part], x, tuple(float(getattr(scores, measure)) for _, scores in points)))
    return tuple(curves)
