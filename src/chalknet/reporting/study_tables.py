"""The tables of a study as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from chalknet.formatting import DASH, count_of, fixed, p_value, percent, percent_interval, points, points_interval
from chalknet.records import SPLITS
from chalknet.reporting.configuration_text import field_name
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.tables import MONITOR_NAMES, SPLIT_NAMES, Table
from chalknet.studies.compare import Comparison, PairwiseDifference
from chalknet.studies.configurations import value_text
from chalknet.studies.results import LabeledPredictions
from chalknet.studies.stopping_point import StoppingPoint

MAX_SEED_COLUMNS = 5  # with more seeds, tables show their mean, smallest and largest value
MAX_PAIRS = 28  # all pairs of 8 configurations; of more pairs, those with the best one are shown
SHORT_SECONDS = 10.0  # below it, a time has two decimals
MAX_CLASSES = 30  # rows of a table of classes
MEASURE_NAMES = {"loss": "loss", "accuracy": "accuracy", "printed_loss": "printed loss"}


def setup_table(report_data: ReportData) -> Table:
    """Return versions and machine of the document, and the backends of the runs."""
    facts = report_data.machine
    rows = [
        ("chalknet", str(facts["chalknet"])),
        ("Python", str(facts["python"])),
        ("NumPy", str(facts["numpy"])),
        ("BLAS", " ".join(filter(None, [facts["blas"], facts["blas_version"], facts["blas_kernels"]])) or "unknown"),
        ("processor", f"{facts['processor'] or 'unknown'}, {count_of(facts['cores'], 'core')}"),
        ("system", str(facts["system"])),
        (
            "training",
            "; ".join(dict.fromkeys(how for runs in report_data.configurations for how in runs.trained)) or DASH,
        ),
    ]
    return Table("Versions and machine", ("what", "value"), tuple(rows))


def data_facts_table(report_data: ReportData) -> Table:
    """Return source, digest, size, classes and splits of the data."""
    facts = report_data.results.data
    kind = "images" if report_data.has_images else "rows"
    shape = " × ".join(map(str, facts.sample_shape))
    rows = [
        ("source", facts.source),
        ("sha256", facts.sha256 or "unknown"),
        ("samples", f"{report_data.n_source_samples:,} {kind} of {shape}{' inputs' if kind == 'rows' else ''}"),
    ]
    label = report_data.data.encoding.label if report_data.data is not None and report_data.data.encoding else ""
    if label:
        rows.append(("label column", label))
    if report_data.data is not None and not report_data.columns:
        values = report_data.data.without_missing().inputs
        low, high = float(values.min()), float(values.max())
        rows.append(("values", f"{report_data.data.inputs.dtype}, {low:g} to {high:g}"))
    rows.append(("classes", f"{len(facts.class_names):,}: {_shortened(facts.class_names)}"))
    apart = report_data.separate_sources
    rows += [
        (SPLIT_NAMES[split], f"{size:,}{f' from {apart[split]}' if split in apart else ''}")
        for split, size in facts.split_sizes.items()
    ]
    return Table("The data", ("what", "value"), tuple(rows))


def seeds_table(runs: ConfigurationRuns) -> Table:
    """Return the scores of one configuration, seed by seed, as the original write-up printed them.

    The rows are loss, accuracy and printed loss of each split, and the training time.
    """
    rows = []
    for split in runs.splits:
        for measure, name in MEASURE_NAMES.items():
            values = runs.values(split, measure)
            write = percent2 if measure == "accuracy" else four
            rows.append((f"{SPLIT_NAMES[split]} {name}", *_seed_cells(values, write)))
    rows.append(("time", *_seed_cells(runs.seconds, seconds_text)))
    if any(len(history) != runs.configuration.recipe.training.epochs for history in runs.histories):
        rows.append(("kept epoch", *_seed_cells([float(n) for n in runs.kept_epochs], whole)))
    return Table(runs.title, ("", *_seed_heads(runs.seeds)), tuple(rows))


def configurations_table(report_data: ReportData) -> Table:
    """Return a row per complete configuration with its scores on the comparison split.

    The columns are the mean accuracy with its interval, each seed, the loss, the training accuracy
    and the training time.
    """
    split = report_data.comparison_split
    name = SPLIT_NAMES.get(split, "training")
    several = report_data.n_seeds > 1
    columns = (
        configuration_head(report_data),
        f"{name} accuracy",
        "95 % interval",
        *((seeds_head(report_data.n_seeds),) if several else ()),
        "loss",
        "training accuracy",
        "seconds",
    )
    rows = [_configuration_row(report_data, runs, split or "train", several) for runs in report_data.complete]
    return Table(f"{name.capitalize()} accuracy of each configuration", columns, tuple(rows))


def grid_table(report_data: ReportData) -> Table:
    """Return the mean accuracy by two factors: one as rows, the other as columns."""
    first, second = report_data.varied
    settings = {runs.name: dict(runs.configuration.settings) for runs in report_data.complete}
    across = list(dict.fromkeys(value_text(values[second]) for values in settings.values()))
    found = {
        (value_text(settings[runs.name][first]), value_text(settings[runs.name][second])): runs.mean(
            report_data.comparison_split or "train", "accuracy"
        )
        for runs in report_data.complete
    }
    down = list(dict.fromkeys(row for row, _ in found))
    rows = [(row, *(percent(found.get((row, column), np.nan)) for column in across)) for row in down]
    split = SPLIT_NAMES[report_data.comparison_split or "train"]
    title = f"Mean {split} accuracy: {field_name(first)} by {field_name(second)}"
    head = f"{field_name(first)} \\ {field_name(second)}"
    return Table(title, (head, *across), tuple(rows))


def pairs_table(report_data: ReportData) -> Table:
    """Return the differences between complete configurations; see `differences_table`."""
    assert report_data.comparison is not None, "callers check it"
    names = {runs.name: configuration_text(report_data, runs) for runs in report_data.complete}
    head = configuration_head(report_data)
    pair = "pair" if head == "configuration" else f"pair ({head})"
    return differences_table(report_data.comparison, names, pair, "Differences between configurations")


def differences_table(comparison: Comparison, names: Mapping[str, str], head: str, title: str) -> Table:
    """Return the differences of the pairs of a comparison, with intervals and p-values.

    Where there are several pairs, a second p-value is corrected by Holm's method over all pairs, also over those that
    are not shown.

    Args:
        comparison: the pairs.
        names: label -> how the table names it; other labels stay as they are.
        head: head of the column of pairs.
        title: title of the table.
    """
    corrected = len(comparison.pairs) > 1
    rows = [
        (
            " vs. ".join(names.get(name, name) for name in (one.difference.first, one.difference.second)),
            points(one.difference.difference),
            points_interval(one.difference.low, one.difference.high),
            *((p_value(one.difference.p_value),) if corrected else ()),
            p_value(one.holm_p),
            "yes" if one.significantly_different else "no",
        )
        for one in shown_pairs(comparison)
    ]
    columns = (head, "difference (points)", "95 % interval", "p", *(("p (Holm)",) if corrected else ()), "significant")
    return Table(title, columns, tuple(rows))


def shown_pairs(comparison: Comparison) -> tuple[PairwiseDifference, ...]:
    """Return all pairs, or of many pairs those with the best configuration."""
    if len(comparison.pairs) <= MAX_PAIRS:
        return comparison.pairs
    return tuple(one for one in comparison.pairs if comparison.configurations[0].label in _labels(one))[:MAX_PAIRS]


def stopping_table(
    found: Sequence[tuple[str, StoppingPoint]],
    splits: Sequence[str] = SPLITS,
    *,
    head: str = "",
    with_seeds: bool = False,
    digits: int = 2,
    joined: bool = False,
    with_change: bool = False,
) -> Table:
    """Return a row per stopping point: its epoch, and the mean accuracies there and at the end.

    Args:
        found: names of configurations and their stopping points.
        splits: whose accuracies are shown, with a dash where a split has none.
        head: head of the column of names.
        with_seeds: whether each seed's own best epoch is shown.
        digits: decimals of a percentage.
        joined: whether the two accuracies of a split share a column, which suits a terminal.
        with_change: whether to show the change of the validation accuracy after the best epoch.
    """
    rows = []
    for label, point in found:
        epoch, seeds = point.epoch, point.by_seed
        accuracies = (point.accuracy_at_best, point.accuracy_at_end)
        cells = [
            [percent(float(np.mean(values[split])), digits) if split in values else DASH for values in accuracies]
            for split in splits
        ]
        rows.append(
            (
                label,
                whole(epoch.value),
                DASH if np.isnan(epoch.low) else f"{epoch.low:.0f} to {epoch.high:.0f}",
                *((", ".join(map(str, seeds[:MAX_SEED_COLUMNS])) + _more(seeds),) if with_seeds else ()),
                str(point.n_epochs),
                *([" / ".join(pair) for pair in cells] if joined else [cell for pair in cells for cell in pair]),
                *((_change(point),) if with_change else ()),
            )
        )
    whens = (", at best / at end",) if joined else (" at best", " at end")
    columns = (head, "best epoch", "95 % interval", *(("of each seed",) if with_seeds else ()), "epochs")
    heads = (f"{SPLIT_NAMES[split]}{when}" for split in splits for when in whens)
    monitor = MONITOR_NAMES[found[0][1].monitor] if found else "validation"
    change = ("change (points)",) if with_change else ()
    return Table(f"Stopping point by {monitor}", (*columns, *heads, *change), tuple(rows))


def _change(point: StoppingPoint) -> str:
    """Return the change of the validation accuracy after the best epoch in points, with its interval.

    A dash if the best epoch is the last one, after which nothing changes.
    """
    if point.epoch.value == point.n_epochs:
        return DASH
    gain = point.valid_gain
    limits = f" ({points_interval(gain.low, gain.high)})" if np.isfinite(gain.low) else ""
    return f"{points(gain.value)}{limits}"


def class_table(report_data: ReportData, predictions: Sequence[LabeledPredictions]) -> Table:
    """Return the accuracy of each class over all seeds, and its most frequent confusion."""
    counts = confusion_counts(predictions, len(report_data.results.data.class_names))
    names = report_data.results.data.class_names
    rows = []
    for k in _shown_classes(counts):
        total, correct = int(counts[k].sum()), int(counts[k, k])
        wrong = counts[k].copy()
        wrong[k] = 0
        most = f"{names[int(wrong.argmax())]} ({int(wrong.max())})" if wrong.max() else DASH
        share = percent(correct / total) if total else DASH
        rows.append((names[k], f"{total:,}", f"{correct:,}", share, most))
    return Table(
        "Accuracy of each class", ("class", "samples", "correct", "accuracy", "most often taken for"), tuple(rows)
    )


def confusion_counts(predictions: Sequence[LabeledPredictions], n_classes: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (K, K) counts of class j predicted for class k, summed over the seeds."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    for one in predictions:
        np.add.at(counts, (one.labels, one.predicted), 1)
    return counts


def incomplete_table(report_data: ReportData) -> Table:
    """Return the number of runs by status, for each configuration with unfinished runs."""
    results = report_data.results
    rows = []
    for config in results.configurations:
        statuses = [results.status(config, seed) for seed in results.seeds]
        if any(status != "done" for status in statuses):
            rows.append(
                (config.label, *(str(statuses.count(status)) for status in ("done", "running", "todo", "failed")))
            )
    return Table("Incomplete configurations", ("configuration", "finished", "running", "to do", "failed"), tuple(rows))


def configuration_head(report_data: ReportData) -> str:
    """Return the head of a column of configurations: the name of the factor if one varies."""
    is_factor = len(report_data.varied) == 1 and not report_data.is_named
    return field_name(report_data.varied[0]) if is_factor else "configuration"


def configuration_text(report_data: ReportData, runs: ConfigurationRuns) -> str:
    """Return a configuration in such a column: the value of the factor if one varies."""
    settings = dict(runs.configuration.settings)
    if len(report_data.varied) != 1 or report_data.is_named:
        return runs.name
    value = settings[report_data.varied[0]]
    whole_number = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    return f"{whole_number:,}" if type(whole_number) is int else value_text(value)


# As the original write-up printed accuracies and losses.
percent2: Callable[[float], str] = partial(percent, digits=2)
four: Callable[[float], str] = partial(fixed, digits=4)


def seconds_text(value: float) -> str:
    """Return a time in seconds with one decimal, or with two if it is short."""
    return f"{fixed(value, 1 if value >= SHORT_SECONDS else 2)} s"


def whole(value: float) -> str:
    """Return a number without decimals."""
    return f"{value:.0f}"


def _configuration_row(report_data: ReportData, runs: ConfigurationRuns, split: str, several: bool) -> tuple[str, ...]:
    found = report_data.accuracy_of(runs)
    return (
        configuration_text(report_data, runs),
        percent(runs.mean(split, "accuracy")),
        DASH if found is None else percent_interval(found.low, found.high),
        *((seed_values(runs.values(split, "accuracy")),) if several else ()),
        fixed(runs.mean(split, "loss"), 3),
        percent(runs.mean("train", "accuracy")),
        seconds_text(float(np.mean(runs.seconds))).removesuffix(" s"),
    )


def seeds_head(n_seeds: int) -> str:
    """Return the head of a column of `seed_values`."""
    return "each seed" if n_seeds <= MAX_SEED_COLUMNS else "least to largest seed"


def seed_values(values: Sequence[float]) -> str:
    """Return accuracies in percent, or the smallest and the largest of many."""
    if len(values) <= MAX_SEED_COLUMNS:
        return ", ".join(fixed(100 * value, 1) for value in values)
    return f"{fixed(100 * min(values), 1)} to {fixed(100 * max(values), 1)}"


def _seed_heads(seeds: Sequence[int]) -> tuple[str, ...]:
    if len(seeds) == 1:
        return (f"seed {seeds[0]}",)
    if len(seeds) <= MAX_SEED_COLUMNS:
        return (*(f"seed {seed}" for seed in seeds), "mean")
    return ("least", "largest", "mean")


def _seed_cells(values: Sequence[float], write: Any) -> tuple[str, ...]:
    if len(values) == 1:
        return (write(values[0]),)
    mean = float(np.mean(values))
    shown = values if len(values) <= MAX_SEED_COLUMNS else (min(values), max(values))
    return tuple(write(value) for value in (*shown, mean))


def _more(values: Sequence[Any]) -> str:
    return ", ..." if len(values) > MAX_SEED_COLUMNS else ""


def _labels(pair: PairwiseDifference) -> tuple[str, str]:
    return (pair.difference.first, pair.difference.second)


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_CLASSES])
    return shown + (", ..." if len(names) > MAX_CLASSES else "")


def _shown_classes(counts: np.ndarray[Any, np.dtype[np.int64]]) -> list[int]:
    """Return the indices of all classes, or of the least accurate of many, in their own order."""
    if len(counts) <= MAX_CLASSES:
        return list(range(len(counts)))
    share = np.diag(counts) / np.maximum(counts.sum(axis=1), 1)
    return sorted(np.argsort(share, kind="stable")[:MAX_CLASSES].tolist())
