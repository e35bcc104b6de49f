"""The figures of a study as plain data: curves of each configuration, accuracy against what was varied, stopping
points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from chalknet.formatting import capitalized
from chalknet.records import EpochRecord
from chalknet.reporting.figures import AXES, Curve, Figure, Mark, Matrix, Panel, curve_points, split_curves
from chalknet.reporting.report_data import ConfigurationRuns, ReportData, field_name
from chalknet.reporting.study_tables import confusion_counts
from chalknet.reporting.tables import SPLIT_NAMES
from chalknet.studies.configurations import value_text
from chalknet.studies.results import LabeledPredictions

MAX_PANELS = 12
MAX_WIDE_PANELS = 6  # in two columns; more stand in three
MAX_LABELS = 12  # configurations that stand by name on an axis
WIDE_RATIO = 20.0  # of the largest to the smallest value, from which an axis is logarithmic
MAX_MATRIX_CLASSES = 12
BESIDE = 0.02  # of an axis
LARGE_SPIKE = 1.5  # times what an axis needs for the rest, from which losses are cut off


def history_curves(
    history: Sequence[EpochRecord], splits: Sequence[str], measures: Sequence[str], title: str
) -> Figure:
    """One training: a panel a measure, a curve a part."""
    panels = tuple(
        Panel(capitalized(measure.replace("_", " ")), "epoch", AXES[measure], split_curves([history], splits, measure))
        for measure in measures
    )
    return Figure(title, panels, legend="shared" if len(splits) > 1 else "none")


def configuration_curves(report_data: ReportData, measure: str, splits: Sequence[str]) -> Figure:
    """A panel a configuration: the mean over its seeds, and as a band the least and the largest of them."""
    shown = shown_configurations(report_data)
    top = loss_top(shown) if measure == "loss" else None
    panels = tuple(
        Panel(
            panel_title(runs),
            "epoch",
            AXES[measure],
            split_curves(runs.histories, splits, measure),
            y_limits=None if top is None else (0.0, top),
        )
        for runs in shown
    )
    return Figure("", panels, columns=_columns(len(panels)), legend="shared", same_x=True, same_y=True)


def seed_curves(runs: ConfigurationRuns, split: str, measures: Sequence[str]) -> Figure:
    """One configuration: a panel a measure, a curve a seed."""
    panels = tuple(
        Panel(
            capitalized(measure),
            "epoch",
            AXES[measure],
            _seed_curves(runs, split, measure),
        )
        for measure in measures
    )
    return Figure("", panels, legend="shared")


def _seed_curves(runs: ConfigurationRuns, split: str, measure: str) -> tuple[Curve, ...]:
    return tuple(
        Curve(f"seed {seed}", *curve_points(history, split, measure))
        for seed, history in zip(runs.seeds, runs.histories, strict=True)
    )


def stopping_curves(report_data: ReportData) -> Figure:
    """A panel a configuration: of each seed what chose the epoch, with the epoch at which the mean is best and its
    interval.
    """
    panels = []
    top = loss_top(shown_configurations(report_data))
    limits = None if top is None else (0.0, top)
    for runs in shown_configurations(report_data):
        if runs.stopping is None:
            continue
        epoch, measure = runs.stopping.epoch, runs.stopping.monitor.removeprefix("valid_")
        ends = (None, None) if math.isnan(epoch.low) else (epoch.low, epoch.high)
        marks = (Mark(epoch.value, "stopping point", *ends),)
        panels.append(
            Panel(
                f"{panel_title(runs)}: epoch {epoch.value:.0f}",
                "epoch",
                "validation " + AXES[measure],
                _seed_curves(runs, "valid", measure),
                marks=marks,
                y_limits=limits if measure == "loss" else None,
            )
        )
    same = len({panel.y_label for panel in panels}) == 1
    return Figure("", tuple(panels), columns=_columns(len(panels)), legend="shared", same_x=True, same_y=same)


def panel_title(runs: ConfigurationRuns) -> str:
    """A configuration over its panel: its label as it is, words with a large first letter."""
    return runs.title if runs.configuration.settings else capitalized(runs.title)


def _columns(n_panels: int) -> int:
    """Of a grid of panels that fits a page."""
    return min(n_panels, 2 if n_panels <= MAX_WIDE_PANELS else 3)


def loss_top(shown: Sequence[ConfigurationRuns]) -> float | None:
    """Where a loss axis ends if a few epochs would flatten all others: above where training begins and ends."""
    histories = [history for runs in shown for history in runs.histories]

    def largest(records: Iterable[EpochRecord]) -> float:
        scores = (record.scores(split) for record in records for split in ("train", "valid"))
        return max(one.loss for one in scores if one is not None)

    top = 1.1 * largest(history[at] for history in histories for at in (0, -1))
    return top if largest(record for history in histories for record in history) > LARGE_SPIKE * top else None


def accuracy_figure(report_data: ReportData) -> Figure:
    """Accuracy on the judged part against what was varied: means with their intervals, and each seed as a point."""
    runs = report_data.complete
    split = report_data.comparison_split or "train"
    places, scale, names = _places(report_data)
    means = tuple(one.mean(split, "accuracy") for one in runs)
    found = [report_data.accuracy_of(one) for one in runs]
    low = tuple(math.nan if one is None else one.low for one in found)
    high = tuple(math.nan if one is None else one.high for one in found)
    with_interval = all(one is not None for one in found)
    curves = [
        Curve(
            "mean, 95 % interval" if with_interval else "mean",
            places,
            means,
            low if with_interval else None,
            high if with_interval else None,
            style="points",
        )
    ]
    if report_data.n_seeds > 1:
        beside = _beside(places, scale)
        seeds = [(x, value) for x, one in zip(beside, runs, strict=True) for value in one.values(split, "accuracy")]
        curves.append(Curve("single seeds", tuple(x for x, _ in seeds), tuple(y for _, y in seeds), style="points"))
    label = field_name(report_data.varied[0]) if len(report_data.varied) == 1 else "configuration"
    panel = Panel("", label, f"{SPLIT_NAMES[split]} accuracy", tuple(curves), x_scale=scale, x_names=names)
    return Figure("", (panel,))


def confusion_figure(report_data: ReportData, predictions: Sequence[LabeledPredictions]) -> Figure:
    """How often each class was taken for each other, added over the seeds."""
    names = report_data.results.data.class_names
    counts = confusion_counts(predictions, len(names))
    rows = tuple(tuple(int(n) for n in row) for row in counts)
    return Figure("", (Matrix("", "predicted class", "true class", names, names, rows),), legend="none")


def has_accuracy_figure(report_data: ReportData) -> bool:
    """Whether the configurations fit on one axis: they differ in one number, or are few enough to be named."""
    return len(report_data.complete) > 1 and (
        _numbers(report_data) is not None or len(report_data.complete) <= MAX_LABELS
    )


def shown_configurations(report_data: ReportData) -> tuple[ConfigurationRuns, ...]:
    """The complete configurations, or of many the best, in the order in which they were asked for."""
    configurations = report_data.complete or report_data.configurations
    if len(configurations) <= MAX_PANELS:
        return configurations
    split = report_data.comparison_split or "train"
    best = sorted(configurations, key=lambda runs: -runs.mean(split, "accuracy"))[:MAX_PANELS]
    return tuple(runs for runs in configurations if runs in best)


def _places(report_data: ReportData) -> tuple[tuple[float, ...], str, tuple[str, ...]]:
    """Where the configurations stand on the axis, its scale, and names where they are not numbers."""
    numbers = _numbers(report_data)
    if numbers is None:
        names = tuple(
            value_text(dict(runs.configuration.settings)[report_data.varied[0]])
            if len(report_data.varied) == 1
            else runs.name
            for runs in report_data.complete
        )
        return tuple(float(i) for i in range(len(names))), "linear", names
    wide = min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE_RATIO
    return numbers, "log" if wide else "linear", ()


def _beside(places: tuple[float, ...], scale: str) -> tuple[float, ...]:
    """A little to the right of each place, where it is seen beside what stands there; a log axis keeps its values."""
    width = 0.0 if scale == "log" else max(places) - min(places)
    return tuple(x + BESIDE * width for x in places)


def _numbers(report_data: ReportData) -> tuple[float, ...] | None:
    """The values of the one field that varies, if they are numbers; a lone width is one."""
    if len(report_data.varied) != 1:
        return None
    values = [dict(runs.configuration.settings)[report_data.varied[0]] for runs in report_data.complete]
    flat = [value[0] if isinstance(value, tuple) and len(value) == 1 else value for value in values]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in flat):
        return None
    return tuple(float(value) for value in flat)
