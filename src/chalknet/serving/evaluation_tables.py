"""Tables and a figure of an evaluation."""

from __future__ import annotations

import numpy as np

from chalknet.formatting import DASH, count_of, fixed, percent, percent_interval, printable
from chalknet.reporting.figures import Curve, Figure, Panel
from chalknet.reporting.tables import SPLIT_NAMES, Table
from chalknet.serving.evaluation import ClassScores, Evaluation
from chalknet.studies.intervals import wilson

MAX_CLASSES = 30  # rows of a table on the terminal
MAX_MISTAKES = 10
INTERVAL = "95 % interval"


def score_table(found: Evaluation) -> Table:
    """Return the scores on the whole set."""
    accuracy = found.accuracy
    split_text = "" if found.split == "all" else f", {SPLIT_NAMES[found.split]} split"
    title = f"{printable(found.model)} on {printable(found.source)}{split_text}: {count_of(len(found), 'sample')}"
    rows = (
        ("accuracy", percent(accuracy.value, 2), percent_interval(accuracy.low, accuracy.high)),
        ("loss (nats per sample)", fixed(found.loss, 4), ""),
        ("Brier score", fixed(found.brier, 4), ""),
        ("expected calibration error", percent(found.calibration_error, 2), ""),
    )
    return Table(title, ("", "value", INTERVAL), rows)


def class_score_table(found: Evaluation, most: int | None = None) -> Table:
    """Return the scores of each class, or of the `most` classes with the lowest recall."""
    classes = list(found.classes)
    title = "Each class: recall is the accuracy on its samples, precision on its predictions"
    if most is not None and len(classes) > most:
        classes = sorted(classes, key=lambda one: (not one.samples, one.recall if one.samples else 0.0))[:most]
        title = f"The {most} of {len(found.classes)} classes with the lowest recall"
    heads = ("class", "samples", "correct", "recall", INTERVAL, "predicted", "precision")
    return Table(title, heads, tuple(map(_class_row, classes)))


def _class_row(one: ClassScores) -> tuple[str, ...]:
    ends = DASH
    if one.samples:
        interval = wilson(one.correct, one.samples)
        ends = percent_interval(interval.low, interval.high)
    return (
        printable(one.name),
        f"{one.samples:,}",
        f"{one.correct:,}",
        percent(one.recall),
        ends,
        f"{one.predicted:,}",
        percent(one.precision),
    )


def confusion_table(found: Evaluation) -> Table:
    """Return the confusion matrix with class names."""
    names = tuple(map(printable, found.class_names))
    rows = tuple((name, *map(str, row)) for name, row in zip(names, found.confusion.tolist(), strict=True))
    return Table("Confusion matrix: true classes down, predicted classes across", ("true", *names), rows)


def frequent_mistakes_table(found: Evaluation) -> Table:
    """Return the pairs of classes that are confused most often, at most `MAX_MISTAKES`."""
    counts = found.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MAX_MISTAKES]
    pairs = [divmod(int(place), len(counts)) for place in order]
    rows = [
        (printable(found.class_names[true]), printable(found.class_names[other]), f"{counts[true, other]:,}")
        for true, other in pairs
        if counts[true, other]
    ]
    return Table("Most frequent mistakes", ("true", "predicted", "times"), tuple(rows))


def reliability_table(found: Evaluation, *, with_empty: bool = True) -> Table:
    """Return how often predictions of each confidence are correct."""
    rows = []
    for one in found.bins if with_empty else [one for one in found.bins if one.count]:
        if one.count:
            interval = wilson(one.correct, one.count)
            row = (percent(one.confidence), percent(one.accuracy), percent_interval(interval.low, interval.high))
        else:
            row = (DASH, DASH, DASH)
        rows.append((f"{fixed(100 * one.low, 1)} to {fixed(100 * one.high, 1)} %", f"{one.count:,}", *row))
    title = "Reliability: accuracy of the predictions of each confidence"
    return Table(title, ("confidence", "predictions", "mean", "accuracy", INTERVAL), tuple(rows))


def reliability_figure(found: Evaluation) -> Figure:
    """Return the reliability diagram: accuracy against confidence, with intervals.

    Points on the diagonal are well calibrated.
    """
    filled = [one for one in found.bins if one.count]
    intervals = [wilson(one.correct, one.count) for one in filled]
    points = Curve(
        f"predictions in {len(found.bins)} bins, {INTERVAL}",
        tuple(one.confidence for one in filled),
        tuple(one.accuracy for one in filled),
        tuple(interval.low for interval in intervals),
        tuple(interval.high for interval in intervals),
        style="points",
    )
    line = Curve("perfect calibration", (0.0, 1.0), (0.0, 1.0))
    title = f"expected calibration error {percent(found.calibration_error, 2)}"
    heads = ("mean confidence", "accuracy")
    return Figure("", (Panel(title, *heads, (points, line), y_limits=(-0.02, 1.02)),))
