"""What the L2 penalty and dropout of part 2 change, compared with the network without them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chalknet.formatting import DASH, fixed, listed, p_value, points, points_interval
from chalknet.reporting.document import Block, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.phrases import names_phrase
from chalknet.reporting.tables import Table
from chalknet.studies.compare import PairwiseDifference
from chalknet.studies.curve_findings import CurveFindings
from chalknet.studies.intervals import Interval

LEVEL = 0.95


@dataclass(frozen=True)
class Effect:
    """A configuration compared with the one without regularization.

    Attributes:
        runs: its runs.
        pair: the difference of the two in the comparison.
        change: its validation accuracy minus that without regularization, with the 95 % interval.
    """

    runs: ConfigurationRuns
    pair: PairwiseDifference
    change: Interval

    @property
    def is_significant(self) -> bool:
        """Whether the accuracies differ significantly, after the correction for all pairs."""
        return self.pair.significantly_different


def effects_section(report_data: ReportData, number: str, title: str, base: str) -> Section:
    """Show how the accuracy and the overfitting of each configuration differ from those of the base.

    Args:
        report_data: the study.
        number: number of the section.
        title: its title.
        base: name of the configuration without regularization.
    """
    without = _base(report_data, base)
    effects = effects_of(report_data, base)
    if without is None or not effects:
        text = f"The configurations {base} and at least one other must be complete before they can be compared."
        return Section(number, title, (Note(text),))
    blocks: list[Block] = [
        Paragraph(_rules(report_data)),
        TableBlock("effects", effects_table(without, effects), _caption(report_data, base)),
        Findings(_sentences(report_data, without, effects)),
    ]
    return Section(number, title, tuple(blocks))


def effects_of(report_data: ReportData, base: str) -> tuple[Effect, ...]:
    """Return the other complete configurations compared with the base; () where they cannot be compared."""
    pairs = () if report_data.comparison is None else report_data.comparison.pairs
    found = []
    for runs in report_data.complete:
        names = {runs.name, base}
        pair = next((one for one in pairs if {one.difference.first, one.difference.second} == names), None)
        if runs.name != base and pair is not None:
            one = pair.difference
            sign = -1.0 if one.first == base else 1.0
            low, high = sorted((sign * one.low, sign * one.high))
            found.append(Effect(runs, pair, Interval(sign * one.difference, low, high, LEVEL)))
    return tuple(found)


def effects_table(without: ConfigurationRuns, effects: Sequence[Effect]) -> Table:
    """Return a row per configuration: the change of validation accuracy, gap and validation loss."""
    rows = [_row(without, (DASH, DASH, DASH))]
    for effect in effects:
        change = (
            f"{points(effect.change.value)} ({points_interval(effect.change.low, effect.change.high)})",
            p_value(effect.pair.holm_p),
            "yes" if effect.is_significant else "no",
        )
        rows.append(_row(effect.runs, change))
    columns = (
        "configuration",
        "change (points)",
        "p (Holm)",
        "significant",
        "gap (points)",
        "lowest loss",
        "loss at end",
    )
    return Table("What the penalty and dropout change", columns, tuple(rows))


def effect_sentences(
    without: ConfigurationRuns, effects: Sequence[Effect], gaps: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Return what the configurations change in accuracy, in overfitting and in the loss.

    Args:
        without: the runs without regularization.
        effects: the other configurations compared with it.
        gaps: as `gaps_after_training` returns them.
    """
    gap = " ".join(filter(None, (_gap(without, effects), _gap_after_training(without, effects, gaps or {}))))
    return tuple(filter(None, (_accuracy(without, effects), gap, _loss(without, effects))))


def gaps_after_training(report_data: ReportData) -> dict[str, float]:
    """Return training minus validation accuracy of the first seed's network of each configuration, without dropout."""
    return {
        name: scores["train"].accuracy - scores["valid"].accuracy
        for name, scores in report_data.double_softmax.items()
        if {"train", "valid"} <= set(scores)
    }


def conclusion_text(report_data: ReportData, base: str) -> str:
    """Answer in one paragraph whether the penalty and dropout help; "" where nothing can be compared."""
    effects, without = effects_of(report_data, base), _base(report_data, base)
    if without is None or not effects:
        return ""
    return f"**Do the penalty and dropout help?** {' '.join(_sentences(report_data, without, effects))}"


def _sentences(report_data: ReportData, without: ConfigurationRuns, effects: Sequence[Effect]) -> tuple[str, ...]:
    return effect_sentences(without, effects, gaps_after_training(report_data))


def _base(report_data: ReportData, base: str) -> ConfigurationRuns | None:
    return next((runs for runs in report_data.complete if runs.name == base), None)


def _row(runs: ConfigurationRuns, change: tuple[str, str, str]) -> tuple[str, ...]:
    found = runs.curves
    if found is None:
        return (runs.name, *change, DASH, DASH, DASH)
    limits = f" ({points_interval(found.gap.low, found.gap.high)})" if _has_limits(found.gap) else ""
    return (
        runs.name,
        *change,
        f"{points(found.gap.value)}{limits}",
        fixed(found.loss.lowest, 3),
        fixed(_last_loss(found), 3),
    )


def _accuracy(without: ConfigurationRuns, effects: Sequence[Effect]) -> str:
    """Return which configurations change the validation accuracy significantly."""
    groups = (
        ("is significantly higher with", [one for one in effects if one.is_significant and one.change.value > 0]),
        ("is significantly lower with", [one for one in effects if one.is_significant and one.change.value < 0]),
        ("does not differ significantly with", [one for one in effects if not one.is_significant]),
    )
    said = [
        f"{verb} {_who([one.runs for one in some], effects)} ({_range([one.change.value for one in some])} points)"
        for verb, some in groups
        if some
    ]
    return f"Compared with {names_phrase([without])}, validation accuracy {listed(said)}."


def _who(some: Sequence[ConfigurationRuns], effects: Sequence[Effect]) -> str:
    """Return the names of some configurations, or "the other configurations" if these are all of several."""
    return "the other configurations" if 1 < len(some) == len(effects) else names_phrase(some)


def _gap(without: ConfigurationRuns, effects: Sequence[Effect]) -> str:
    """Return with which configurations training accuracy is less far above validation accuracy."""
    if without.curves is None or not _has_limits(without.curves.gap):
        return ""
    own = without.curves.gap
    known = [(one.runs, one.runs.curves) for one in effects if one.runs.curves is not None]
    smaller = [
        (runs, found.gap)
        for runs, found in known
        if not found.has_noisy_training and _has_limits(found.gap) and found.gap.high < own.low
    ]
    noisy = [(runs, found.gap) for runs, found in known if found.has_noisy_training]
    size = _sizes([own.value])
    text = (
        f"With {names_phrase([without])}, training accuracy minus validation accuracy is {size} percentage points at "
        "the end."
    )
    if smaller:
        gaps = _sizes([gap.value for _, gap in smaller])
        text += f" The gap is smaller with {names_phrase([runs for runs, _ in smaller])} ({gaps} points)."
    elif len(noisy) < len(known):
        text += " No penalty has a gap whose interval lies below the interval of this one."
    if noisy:
        gaps = _sizes([gap.value for _, gap in noisy])
        text += (
            f" With {names_phrase([runs for runs, _ in noisy])} it is {gaps} points, which cannot be compared, because "
            "training accuracy is measured with dropout."
        )
    return text


def _gap_after_training(without: ConfigurationRuns, effects: Sequence[Effect], gaps: Mapping[str, float]) -> str:
    """Compare the gaps that networks with dropout have without it; "" if there are none or they are not known."""
    noisy = [one.runs for one in effects if one.runs.curves is not None and one.runs.curves.has_noisy_training]
    if not noisy or not {without.name, *(runs.name for runs in noisy)} <= set(gaps):
        return ""
    own, others = _sizes([gaps[without.name]]), _sizes([gaps[runs.name] for runs in noisy])
    return (
        f"Measured after training and without dropout ([table:softmax_twice]), the gap of the network with seed "
        f"{without.seeds[0]} is {own} points with {names_phrase([without])} and {others} points with "
        f"{names_phrase(noisy)}. One network of each does not show how much this varies."
    )


def _loss(without: ConfigurationRuns, effects: Sequence[Effect]) -> str:
    """Return the mean validation losses at the end, which no rule tests."""
    known = [(one.runs, _last_loss(one.runs.curves)) for one in effects if one.runs.curves is not None]
    if without.curves is None or not known:
        return ""
    own = _last_loss(without.curves)
    groups = (("lower", [one for one in known if one[1] < own]), ("higher", [one for one in known if one[1] > own]))
    said = [
        f"{word} with {_who([runs for runs, _ in some], effects)} ({_span([loss for _, loss in some])})"
        for word, some in groups
        if some
    ]
    text = f"The mean validation loss after the last epoch is {fixed(own, 3)} nats with {names_phrase([without])}."
    if said:
        text += f" It is {listed(said)}."
    return f"{text} These losses are compared without a test."


def _last_loss(found: CurveFindings) -> float:
    """Return the mean validation loss after the last epoch."""
    return found.loss.lowest * (1 + found.loss.rise_of_mean)


def _has_limits(interval: Interval) -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def _range(values: Sequence[float]) -> str:
    """Return differences of accuracies in points: one, or the smallest and the largest."""
    low, high = points(min(values)), points(max(values))
    return low if low == high else f"{low} to {high}"


def _sizes(values: Sequence[float]) -> str:
    """Return the same of gaps, without a plus sign."""
    return _range(values).replace("+", "")


def _span(values: Sequence[float]) -> str:
    low, high = fixed(min(values), 3), fixed(max(values), 3)
    return low if low == high else f"{low} to {high}"


def _rules(report_data: ReportData) -> str:
    several = report_data.n_seeds > 1
    pairs = 0 if report_data.comparison is None else len(report_data.comparison.pairs)
    text = (
        "[table:effects] compares every network with the one without regularization. A change of validation accuracy "
        "is significant as in [table:pairs]"
    )
    text += f", with p-values corrected for all {pairs} pairs. " if pairs > 1 else ". "
    mean = ", mean over the seeds" if several else ""
    text += (
        f"The gap is training accuracy minus validation accuracy after the last epoch{mean}. "
        "A gap is called smaller if its whole 95 % interval lies below that of the network without regularization."
    )
    noisy = [runs for runs in report_data.complete if runs.curves is not None and runs.curves.has_noisy_training]
    if noisy:
        text += (
            f" With {names_phrase(noisy)}, training accuracy is measured with dropout, which lowers it. The gap is "
            "then too small, and is not compared."
        )
    return text


def _caption(report_data: ReportData, base: str) -> str:
    mean = "mean " if report_data.n_seeds > 1 else ""
    return (
        f"Every configuration compared with {escape(base)}. *Change*: of the validation accuracy, in percentage "
        f"points. *Gap*: training minus validation accuracy at the end. *Lowest loss*, *loss at end*: of the {mean}"
        "validation loss. Values in parentheses are 95 % intervals."
    )
