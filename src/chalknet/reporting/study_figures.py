"""The figures of a study as plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from chalknet.formatting import capitalized
from chalknet.records import EpochRecord, Scores
from chalknet.reporting.configuration_text import field_name
from chalknet.reporting.figures import AXES, Curve, Figure, HeatMap, Mark, Matrix, Panel, curve_points, split_curves
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.study_tables import configuration_head, confusion_counts
from chalknet.reporting.tables import SPLIT_NAMES
from chalknet.studies.configurations import value_text
from chalknet.studies.results import LabeledPredictions

MAX_PANELS = 9  # three rows of three, so that two figures fit a page
MAX_WIDE_PANELS = 6  # panels that stand in two columns; more stand in three
MAX_LINES = 6  # values of the second factor that are drawn as lines
MAX_BANDS = 3  # lines whose intervals are drawn; more error bars would hide each other
MIN_MAP_VALUES = 3  # values of both factors from which on a heat map is drawn
MIN_GRID_FRACTION = 0.5  # fraction of the combinations of two factors that make a grid
WIDE_RATIO = 20.0  # ratio of the largest to the smallest value from which on an axis is logarithmic
MAX_MATRIX_CLASSES = 12
BEST_EPOCH, KEPT_EPOCH = "best epoch", "kept epoch"  # labels of marks
SEED_OFFSET = 0.02  # distance of the points of single seeds from their mean, in lengths of the axis
LARGE_SPIKE = 1.5  # ratio of all values to the values of interest from which on an axis is cut
EARLY = 0.1  # fraction of the epochs whose accuracy may be cut off


def history_curves(
    history: Sequence[EpochRecord],
    splits: Sequence[str],
    measures: Sequence[str],
    marks: tuple[Mark, ...] = (),
    x_limits: tuple[float, float] | None = None,
) -> Figure:
    """Return the curves of one run: a panel per measure with a curve per split.

    Args:
        history: one record per epoch.
        splits: "train", "valid", "test" or some of them.
        measures: attributes of `Scores`, such as "loss".
        marks: vertical lines in every panel, such as those of `epoch_marks`.
        x_limits: the first and the last epoch of the axis; None for those of the history.
    """
    panels = tuple(
        Panel(
            capitalized(measure.replace("_", " ")),
            "epoch",
            AXES[measure],
            split_curves([history], splits, measure),
            marks=marks,
            y_scale=value_scale([history], splits, measure),
            y_limits=value_limits([history], splits, measure),
            x_limits=x_limits,
        )
        for measure in measures
    )
    return Figure("", panels, legend="shared" if len(splits) + len(marks) > 1 else "none")


def epoch_marks(runs: ConfigurationRuns, seed: int | None = None) -> tuple[Mark, ...]:
    """Return a mark at the best epoch, and one at the kept epoch if that is another, earlier than the last.

    Args:
        runs: the runs of one configuration.
        seed: index of one run, whose own epochs are marked; None for the best epoch of all seeds,
            and the kept epoch only if all seeds have the same.
    """
    marks = []
    if runs.stopping is not None and len(runs.histories[0]) > 1:
        is_one_of_many = seed is not None and len(runs.seeds) > 1
        own = Mark(float(runs.stopping.by_seed[seed or 0]), BEST_EPOCH)
        marks.append(own if is_one_of_many else _stopping_mark(runs))
    kept = set(runs.kept_epochs if seed is None else (runs.kept_epochs[seed],))
    last = min(map(len, runs.histories)) if seed is None else len(runs.histories[seed])
    if len(kept) == 1 and max(kept) < last and float(max(kept)) not in {mark.at for mark in marks}:
        marks.append(Mark(float(max(kept)), KEPT_EPOCH))
    return tuple(marks)


def marks_text(figure: Figure, monitor: str = "") -> str:
    """Return sentences of a caption that explain the marks of a figure; "" without marks.

    Args:
        figure: the figure.
        monitor: what the best epoch is best by, such as "validation loss"; "" if the text says it.
    """
    marks = [mark for panel in figure.panels if isinstance(panel, Panel) for mark in panel.marks]
    labels = {mark.label for mark in marks}
    said = []
    if BEST_EPOCH in labels:
        shade = ", and the shaded area its 95 % interval" if any(mark.low is not None for mark in marks) else ""
        said.append(f" The vertical line is the best epoch{f' by {monitor}' if monitor else ''}{shade}.")
    if KEPT_EPOCH in labels:
        said.append(" The weights of the kept epoch are the result of the run.")
    return "".join(said)


def _stopping_mark(runs: ConfigurationRuns) -> Mark:
    assert runs.stopping is not None, "callers check it"
    epoch = runs.stopping.epoch
    ends = (None, None) if math.isnan(epoch.low) else (epoch.low, epoch.high)
    return Mark(epoch.value, BEST_EPOCH, *ends)


def configuration_curves(report_data: ReportData, measure: str, splits: Sequence[str]) -> Figure:
    """Return the curves of the configurations of a document, as `curves_of` does."""
    return curves_of(shown_configurations(report_data), measure, splits)


def curves_of(shown: Sequence[ConfigurationRuns], measure: str, splits: Sequence[str]) -> Figure:
    """Return a panel per configuration: means over seeds with a band from smallest to largest.

    Every panel marks the best epoch, and the kept epoch as `epoch_marks` describes.
    """
    histories = [history for runs in shown for history in runs.histories]
    scale, limits = value_scale(histories, splits, measure), value_limits(histories, splits, measure)
    panels = tuple(
        Panel(
            panel_title(runs),
            "epoch",
            AXES[measure],
            split_curves(runs.histories, splits, measure),
            marks=epoch_marks(runs),
            y_scale=scale,
            y_limits=limits,
        )
        for runs in shown
    )
    return Figure("", panels, columns=_columns(len(panels)), legend="shared", same_x=True, same_y=True)


def seed_curves(runs: ConfigurationRuns, split: str, measures: Sequence[str]) -> Figure:
    """Return the curves of one configuration: a panel per measure with a curve per seed."""
    panels = tuple(
        Panel(
            capitalized(measure),
            "epoch",
            AXES[measure],
            _seed_curves(runs, split, measure),
            y_scale=value_scale(runs.histories, (split,), measure),
            y_limits=value_limits(runs.histories, (split,), measure),
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
    """Return a panel per configuration: the monitored measure by seed, and the best epoch.

    The shade around a best epoch is its 95 % interval.
    """
    panels = []
    shown = shown_configurations(report_data)
    histories = [history for runs in shown for history in runs.histories]
    for runs in shown:
        if runs.stopping is None:
            continue
        measure = runs.stopping.monitor.removeprefix("valid_")
        panels.append(
            Panel(
                f"{panel_title(runs)}: epoch {runs.stopping.epoch.value:.0f}",
                "epoch",
                # The long label would not fit the low panels of three columns.
                AXES[measure] if len(shown) > MAX_WIDE_PANELS else f"validation {AXES[measure]}",
                _seed_curves(runs, "valid", measure),
                marks=(_stopping_mark(runs),),
                y_scale=value_scale(histories, ("valid",), measure),
                y_limits=value_limits(histories, ("valid",), measure),
            )
        )
    same = len({panel.y_label for panel in panels}) == 1
    return Figure("", tuple(panels), columns=_columns(len(panels)), legend="shared", same_x=True, same_y=same)


def panel_title(runs: ConfigurationRuns) -> str:
    """Return the title of a configuration's panel: its label, or words with a capital."""
    return runs.title if runs.configuration.is_labeled else capitalized(runs.title)


def _columns(n_panels: int) -> int:
    """Return the number of columns with which so many panels fit a page."""
    return min(n_panels, 2 if n_panels <= MAX_WIDE_PANELS else 3)


def value_scale(histories: Sequence[Sequence[EpochRecord]], splits: Sequence[str], measure: str) -> str:
    """Return "log" for positive losses with spikes that would flatten a linear axis, else "linear"."""
    if measure != "loss" or _loss_limits(histories, splits) is None:
        return "linear"
    losses = _values(_records(histories), splits, lambda scores: scores.loss)
    return "log" if min(losses) > 0 and math.isfinite(max(losses)) else "linear"


def value_limits(
    histories: Sequence[Sequence[EpochRecord]], splits: Sequence[str], measure: str
) -> tuple[float, float] | None:
    """Return the ends of a vertical axis that cuts off a few epochs which would flatten all others.

    A loss axis that cannot be logarithmic ends a little above the losses of the first and the last
    epochs, so that spikes between them are cut off. An accuracy axis begins at the lowest accuracy
    after the first tenth of the epochs, so that curves near 90 % are visibly different.

    Returns:
        (low, high), or None where the axis can show every value.
    """
    if measure == "loss":
        return None if value_scale(histories, splits, measure) == "log" else _loss_limits(histories, splits)
    return _accuracy_limits(histories, splits) if measure == "accuracy" else None


def _loss_limits(histories: Sequence[Sequence[EpochRecord]], splits: Sequence[str]) -> tuple[float, float] | None:
    ends = _values((history[at] for history in histories for at in (0, -1)), splits, lambda scores: scores.loss)
    top = 1.1 * max(ends, default=0.0)
    largest = max(_values(_records(histories), splits, lambda scores: scores.loss), default=0.0)
    return (0.0, top) if largest > LARGE_SPIKE * top else None


def _accuracy_limits(histories: Sequence[Sequence[EpochRecord]], splits: Sequence[str]) -> tuple[float, float] | None:
    later = [history[math.ceil(EARLY * len(history)) :] for history in histories]
    everything = _values(_records(histories), splits, lambda scores: scores.accuracy)
    shown = _values(_records(later), splits, lambda scores: scores.accuracy)
    if not shown:
        return None
    low, high = min(shown), max(shown)
    if high - min(everything) <= LARGE_SPIKE * (high - low) or low == high:
        return None
    margin = 0.04 * (high - low)
    return max(low - margin, 0.0), min(high + margin, 1.0 + margin)


def _records(histories: Iterable[Sequence[EpochRecord]]) -> Iterable[EpochRecord]:
    return (record for history in histories for record in history)


def _values(records: Iterable[EpochRecord], splits: Sequence[str], measure: Callable[[Scores], float]) -> list[float]:
    """Return one measure of all splits that have scores, over all records."""
    found = (record.scores(split) for record in records for split in splits)
    return [measure(scores) for scores in found if scores is not None]


def accuracy_figures(report_data: ReportData) -> dict[str, Figure]:
    """Return the figures that show accuracy against what was varied, by their name in the document.

    With one factor, or with named configurations, it is "accuracy", one point per configuration. With two factors it is
    "accuracy", a line per value of the second factor, and "accuracy-map", a heat map, if both are
    numbers. For a search, or with more factors, it is "trials", a panel per factor.
    """
    if len(report_data.complete) < 2 or not report_data.varied:
        return {}
    if report_data.is_named or (len(report_data.varied) == 1 and report_data.results.spec.search is None):
        return {"accuracy": _one_factor_figure(report_data)}
    if not is_grid(report_data):
        return {"trials": _trials_figure(report_data)}
    x_name, line_name = _line_factors(report_data)
    figures = {}
    if len(_distinct(report_data, line_name)) <= MAX_LINES:
        figures["accuracy"] = _lines_figure(report_data, x_name, line_name)
    if all(_is_numeric(report_data, name) for name in report_data.varied) and all(
        len(_distinct(report_data, name)) >= MIN_MAP_VALUES for name in report_data.varied
    ):
        figures["accuracy-map"] = _map_figure(report_data)
    return figures or {"trials": _trials_figure(report_data)}


def is_grid(report_data: ReportData) -> bool:
    """Return whether two factors vary and most of their combinations are there.

    A search has few values in common between its trials, so its table would be a diagonal.
    """
    if len(report_data.varied) != 2 or report_data.results.spec.search is not None or report_data.is_named:
        return False
    combinations = math.prod(len(_distinct(report_data, name)) for name in report_data.varied)
    return len(report_data.complete) >= MIN_GRID_FRACTION * combinations


def _one_factor_figure(report_data: ReportData) -> Figure:
    """Return means with their intervals, and each seed as a point."""
    runs, name = report_data.complete, configuration_head(report_data)
    if report_data.is_named:
        x, scale, names = tuple(map(float, range(len(runs)))), "linear", tuple(one.name for one in runs)
    else:
        x, scale, names = _axis(report_data, report_data.varied[0], runs)
    curves = [_mean_curve(report_data, "mean", x, runs, style="points")]
    if report_data.n_seeds > 1:
        # Beside the mean, where both can be seen; on a logarithmic axis at the mean itself.
        offset = 0.0 if scale == "log" else SEED_OFFSET * (max(x) - min(x))
        split = report_data.comparison_split or "train"
        seeds = [
            (at + offset, value) for at, one in zip(x, runs, strict=True) for value in one.values(split, "accuracy")
        ]
        curves.append(Curve("single seeds", tuple(at for at, _ in seeds), tuple(y for _, y in seeds), style="points"))
    panel = Panel("", name, _accuracy_label(report_data), tuple(curves), x_scale=scale, x_names=names)
    return Figure("", (panel,), legend="shared")


def _lines_figure(report_data: ReportData, x_name: str, line_name: str) -> Figure:
    """Return accuracy against one factor, with a line per value of the other."""
    curves = []
    values = _distinct(report_data, line_name)
    for value in values:
        runs = tuple(one for one in report_data.complete if _setting(one, line_name) == value)
        x, _, _ = _axis(report_data, x_name, runs)
        order = sorted(range(len(runs)), key=lambda at: x[at])
        ordered = tuple(runs[at] for at in order)
        label = f"{field_name(line_name)} {_short_text(value)}"
        places = tuple(x[at] for at in order)
        with_band = len(values) <= MAX_BANDS
        curves.append(_mean_curve(report_data, label, places, ordered, "joined", with_interval=with_band))
    _, scale, names = _axis(report_data, x_name, report_data.complete)
    panel = Panel("", field_name(x_name), _accuracy_label(report_data), tuple(curves), x_scale=scale, x_names=names)
    return Figure("", (panel,), legend="shared")


def _map_figure(report_data: ReportData) -> Figure:
    """Return the mean accuracy for each pair of values of the two factors."""
    down, across = report_data.varied
    rows, columns = (sorted(_distinct(report_data, name), key=_sort_key) for name in (down, across))
    split = report_data.comparison_split or "train"
    means = {
        (_setting(runs, down), _setting(runs, across)): runs.mean(split, "accuracy") for runs in report_data.complete
    }
    panel = HeatMap(
        "",
        field_name(across),
        field_name(down),
        tuple(map(_short_text, rows)),
        tuple(map(_short_text, columns)),
        tuple(tuple(means.get((row, column)) for column in columns) for row in rows),
    )
    return Figure("", (panel,), legend="none")


def _trials_figure(report_data: ReportData) -> Figure:
    """Return a panel per factor: every configuration as a point, and the best one set off."""
    split = report_data.comparison_split or "train"
    best = report_data.chosen or report_data.complete[0]
    others = tuple(runs for runs in report_data.complete if runs is not best)
    panels = []
    for name in report_data.varied:
        x, scale, names = _axis(report_data, name, report_data.complete)
        at = dict(zip((runs.name for runs in report_data.complete), x, strict=True))
        curves = (
            Curve(
                "configurations",
                tuple(at[runs.name] for runs in others),
                tuple(runs.mean(split, "accuracy") for runs in others),
                style="points",
            ),
            _mean_curve(report_data, "highest mean", (at[best.name],), (best,), style="points"),
        )
        label = _accuracy_label(report_data)
        panels.append(Panel("", field_name(name), label, curves, x_scale=scale, x_names=names))
    return Figure("", tuple(panels), columns=_columns(len(panels)), legend="shared", same_y=True)


def _mean_curve(
    report_data: ReportData,
    label: str,
    x: tuple[float, ...],
    runs: Sequence[ConfigurationRuns],
    style: str,
    *,
    with_interval: bool = True,
) -> Curve:
    """Return mean accuracies, with 95 % intervals if all configurations have one."""
    means = tuple(one.mean(report_data.comparison_split or "train", "accuracy") for one in runs)
    found = [interval for one in runs if (interval := report_data.accuracy_of(one)) is not None]
    if len(found) < len(runs) or not with_interval:
        return Curve(label, x, means, style=style)
    low, high = tuple(one.low for one in found), tuple(one.high for one in found)
    shown = label if style == "joined" else f"{label}, 95 % interval"
    return Curve(shown, x, means, low, high, style=style)


def _accuracy_label(report_data: ReportData) -> str:
    return f"{SPLIT_NAMES[report_data.comparison_split or 'train']} accuracy"


def _axis(
    report_data: ReportData, name: str, runs: Sequence[ConfigurationRuns]
) -> tuple[tuple[float, ...], str, tuple[str, ...]]:
    """Return positions on the axis of a factor, its scale, and names if values are no numbers."""
    values = _distinct(report_data, name)
    if not _is_numeric(report_data, name):
        return tuple(float(values.index(_setting(one, name))) for one in runs), "linear", tuple(map(value_text, values))
    numbers = [_number(value) or 0.0 for value in values]
    is_wide = min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE_RATIO
    return tuple(_number(_setting(one, name)) or 0.0 for one in runs), "log" if is_wide else "linear", ()


def _line_factors(report_data: ReportData) -> tuple[str, str]:
    """Return the factor of the axis and that of the lines; numbers go on the axis."""
    first, second = report_data.varied

    def rank(name: str) -> tuple[bool, int]:
        return _is_numeric(report_data, name), len(_distinct(report_data, name))

    return (second, first) if rank(second) > rank(first) else (first, second)


def _distinct(report_data: ReportData, name: str) -> list[Any]:
    """Return the values of a factor among the complete configurations, in the given order."""
    return list(dict.fromkeys(_setting(runs, name) for runs in report_data.complete))


def _setting(runs: ConfigurationRuns, name: str) -> Any:
    """Return the value of a factor in a configuration, or None where it is at its default."""
    return dict(runs.configuration.settings).get(name)


def _is_numeric(report_data: ReportData, name: str) -> bool:
    return all(_number(value) is not None for value in _distinct(report_data, name))


def _number(value: Any) -> float | None:
    """Return a value as a number, also a lone width; None if it is no number."""
    flat = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    return None if isinstance(flat, bool) or not isinstance(flat, (int, float)) else float(flat)


def _short_text(value: Any) -> str:
    """Return the name of a row or column of a heat map: small numbers with three digits."""
    number = _number(value)
    return value_text(value) if number is None or abs(number) >= 1 else f"{number:.3g}"


def _sort_key(value: Any) -> float:
    return _number(value) or 0.0


def confusion_figure(report_data: ReportData, predictions: Sequence[LabeledPredictions]) -> Figure:
    """Return how often each class was predicted for each true class, added over the seeds."""
    names = report_data.results.data.class_names
    counts = confusion_counts(predictions, len(names))
    rows = tuple(tuple(int(n) for n in row) for row in counts)
    return Figure("", (Matrix("", "predicted class", "true class", names, names, rows),), legend="none")


def shown_configurations(report_data: ReportData) -> tuple[ConfigurationRuns, ...]:
    """Return the complete configurations, or the best of many, in the given order."""
    configurations = report_data.complete or report_data.configurations
    if len(configurations) <= MAX_PANELS:
        return configurations
    split = report_data.comparison_split or "train"
    best = sorted(configurations, key=lambda runs: -runs.mean(split, "accuracy"))[:MAX_PANELS]
    return tuple(runs for runs in configurations if runs in best)
