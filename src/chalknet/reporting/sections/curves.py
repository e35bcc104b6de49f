"""What the learning curves show: a table with one row per configuration, and sentences for what differs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chalknet.formatting import DASH, fixed, listed, percent, points, points_interval
from chalknet.reporting.document import Block, Findings, TableBlock
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.phrases import names_phrase
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_tables import configuration_head, configuration_text
from chalknet.reporting.tables import Table
from chalknet.studies.curve_findings import LATE_FRACTION, LATE_JUMPS, MIN_JUMP, CurveFindings
from chalknet.studies.intervals import Interval

MAX_SEEDS_LISTED = 5  # values of more seeds are a range

Found = Sequence[tuple[ConfigurationRuns, CurveFindings]]


def curve_blocks(report_data: ReportData, shown: Sequence[ConfigurationRuns]) -> list[Block]:
    """Return the rules, the table and the sentences; nothing where no curve can be judged."""
    found = [(runs, runs.curves) for runs in shown if runs.curves is not None]
    if not found:
        return []
    return [
        *standard_text("curve rules"),
        TableBlock("curve_findings", curve_table(report_data, found), _caption(found)),
        Findings(curve_sentences(found)),
    ]


def _caption(found: Found) -> str:
    limits = [one.gap for _, one in found if _has_limits(one.gap)]
    covered = (
        f"; they cover {listed(list(dict.fromkeys(one.variance_sources for one in limits)), 'or')}" if limits else ""
    )
    return (
        "What the learning curves show. *Gap*: training minus validation accuracy at the end, in percentage points. "
        "*Lowest loss*: epoch at which the mean validation loss is lowest. *Rise*: of the mean validation loss from "
        "there "
        "to the end. *Settled*: epoch from which the training loss, or the validation accuracy, stays near its final "
        f"value. *Jumps*: epochs of each seed in which the training loss rises by more than {100 * MIN_JUMP:.0f} %. "
        f"Values in parentheses are 95 % intervals{covered}."
    )


def curve_table(report_data: ReportData, found: Found) -> Table:
    """Return one row per configuration: gap, lowest loss, rise, settling, jumps, and final accuracies of the seeds."""
    rows = [
        (
            configuration_text(report_data, runs),
            _with_limits(points(one.gap.value), one.gap, points_interval(one.gap.low, one.gap.high)),
            str(one.loss.epoch),
            _percent(one.loss.rise_of_mean),
            _with_limits(
                _percent(one.loss.rise.value),
                one.loss.rise,
                f"{_hundred(one.loss.rise.low)} to {_percent(one.loss.rise.high)}",
            ),
            _span(one.loss_settled) if one.loss_settled else DASH,
            _span(one.accuracy_settled),
            _per_seed([len(row) for row in one.jumps]),
            str(max(row[-1] for row in one.jumps if row)) if any(one.jumps) else DASH,
        )
        for runs, one in found
    ]
    columns = (
        configuration_head(report_data),
        "gap (points)",
        "lowest loss",
        "rise",
        "corrected rise",
        "loss settled",
        "accuracy settled",
        "jumps",
        "last jump",
    )
    return Table("What the learning curves show", columns, tuple(rows))


def curve_sentences(found: Found) -> tuple[str, ...]:
    """Return what holds for all configurations, and what differs between them."""
    return (
        *_overfitting(found),
        *_settling(found),
        *_stability(found),
        *_disagreement(found),
    )


def _overfitting(found: Found) -> tuple[str, ...]:
    if not any(one.overfits for _, one in found):
        return (f"{_which(found, [])} by these rules: neither interval lies above its limit.",)
    text = f"{_which(found, [runs for runs, one in found if one.overfits])}."
    gaps = [(runs, one) for runs, one in found if one.has_accuracy_gap]
    if gaps:
        by = _range([100 * one.gap.value for _, one in gaps], 1)
        text += (
            f" At the end, training accuracy exceeds validation accuracy by {by} percentage points{_with(found, gaps)}."
        )
    rises = [(runs, one) for runs, one in found if one.has_loss_rise]
    if rises:
        by = _range([100 * one.loss.rise_of_mean for _, one in rises], 0)
        text += f" The mean validation loss ends {by} % above its lowest value{_with(found, rises)}."
    return (text,)


def _which(found: Found, overfitting: Sequence[ConfigurationRuns]) -> str:
    if len(found) == 1:
        return "The network overfits" if overfitting else "The network does not overfit"
    if not overfitting:
        return "No configuration overfits"
    if len(overfitting) == len(found):
        return "All configurations overfit"
    return f"{len(overfitting)} of {len(found)} configurations overfit: {names_phrase(overfitting)}"


def _settling(found: Found) -> tuple[str, ...]:
    finite = [(runs, one) for runs, one in found if one.loss_settled]
    unsettled = [(runs, one) for runs, one in finite if not one.has_settled]
    if not finite:
        return ()
    n_epochs = finite[0][1].n_epochs
    late = math.floor(LATE_FRACTION * n_epochs)
    if unsettled:
        text = f"The training loss had not settled by epoch {late} of {n_epochs}{_with(found, unsettled)}. "
        return (f"{text}Longer training may change its final value.",)
    epochs = [epoch for _, one in finite for epoch in one.loss_settled]
    return (
        f"The training loss settled between epochs {min(epochs)} and {max(epochs)} of "
        f"{n_epochs}{_with(found, finite)}.",
    )


def _stability(found: Found) -> tuple[str, ...]:
    diverged = [(runs, one) for runs, one in found if not one.loss_settled]
    unstable = [(runs, one) for runs, one in found if one.is_unstable and one.loss_settled]
    early = [(runs, one) for runs, one in found if not one.is_unstable and any(one.jumps)]
    said = []
    if diverged:
        said.append(f"Training diverged: the training loss was not finite at some epoch{_with(found, diverged)}.")
    if unstable:
        half = f"after epoch {math.floor(LATE_JUMPS * unstable[0][1].n_epochs)}"
        said.append(f"Training is unstable{_with(found, unstable)}: the training loss still jumps {half}.")
    if early:
        last = max(row[-1] for _, one in early for row in one.jumps if row)
        said.append(f"The training loss jumps only early{_with(found, early)}: the last jump is in epoch {last}.")
    if not said:
        said.append(f"The training loss never rises by more than {100 * MIN_JUMP:.0f} % in one epoch.")
    return (" ".join(said),)


def _disagreement(found: Found) -> tuple[str, ...]:
    apart = [(runs, one) for runs, one in found if one.seeds_disagree]
    if not apart:
        return ()
    spans = [100 * (max(one.final_accuracies) - min(one.final_accuracies)) for _, one in apart]
    by = _range(spans, 1)
    return (
        f"The seeds disagree{_with(found, apart)}: their final validation accuracies lie {by} percentage points apart.",
    )


def _with(found: Found, some: Found) -> str:
    """Return " with 100 and 500 hidden units", or "" where all configurations are meant."""
    return "" if len(some) == len(found) else f" with {names_phrase([runs for runs, _ in some])}"


def _range(values: Sequence[float], digits: int) -> str:
    low, high = fixed(min(values), digits), fixed(max(values), digits)
    return low if low == high else f"{low} to {high}"


def _span(epochs: Sequence[int]) -> str:
    low, high = min(epochs), max(epochs)
    return str(low) if low == high else f"{low} to {high}"


def _per_seed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts)) if len(counts) <= MAX_SEEDS_LISTED else _span(counts)


def _hundred(fraction: float) -> str:
    return fixed(100 * fraction, 0)


def _percent(fraction: float) -> str:
    return percent(fraction, 0)


def _has_limits(interval: Interval) -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def _with_limits(value: str, interval: Interval, limits: str) -> str:
    return f"{value} ({limits})" if _has_limits(interval) else value
