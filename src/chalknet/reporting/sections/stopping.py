"""When to stop: the stopping point of each configuration on its full curves, with its interval, and what training
on did.
"""

from __future__ import annotations

import math

from chalknet.formatting import capitalized, count_of, points, points_interval
from chalknet.records import SPLITS
from chalknet.reporting.document import Block, FigureBlock, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.comparison import configuration_phrase, cut_off
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_figures import MAX_PANELS, stopping_curves
from chalknet.reporting.study_tables import configuration_head, configuration_text, stopping_table
from chalknet.reporting.tables import MONITOR_NAMES
from chalknet.studies.intervals import Interval
from chalknet.studies.stopping_point import StoppingPoint

FEW_SEEDS = 10  # below which a bootstrap over seeds is said to be narrow; (S-1)/S of the seeds' variance is missing


def stopping_section(
    report_data: ReportData, number: str, title: str = "When to stop", *, original: bool = False
) -> Section:
    """Where the validation loss of each complete configuration, or what its training watches, is best, and what
    came after.
    """
    found = [(runs, runs.stopping) for runs in report_data.complete if runs.stopping is not None]
    if not found:
        return Section(number, title, (Note(_why_not(report_data), "plain"),))
    blocks: list[Block] = [Paragraph(_method(report_data, found))]
    splits = [split for split in SPLITS if all(split in point.accuracy_at_best for _, point in found)]
    if report_data.comparison_split == "valid":  # test figures are for the chosen configuration alone, once
        splits = [split for split in splits if split != "test"]
    rows = [(configuration_text(report_data, runs), point) for runs, point in found]
    table = stopping_table(
        rows, splits, head=configuration_head(report_data), with_seeds=report_data.n_seeds > 1, digits=1
    )
    blocks += [TableBlock("stopping", table, _caption(report_data, found))]
    if found[0][1].n_epochs > 1:
        blocks.append(_figure(report_data, found))
    blocks.append(Findings(tuple(_sentence(runs, point) for runs, point in found)))
    if original:
        blocks += standard_text("original stopping")
    missing = [runs for runs in report_data.complete if runs.stopping is None]
    if missing:
        blocks.append(
            Note(
                "; ".join(
                    f"{capitalized(configuration_phrase(runs))}: {escape(runs.stopping_missing_reason)}"
                    for runs in missing
                )
                + "."
            )
        )
    return Section(number, title, tuple(blocks))


def _why_not(report_data: ReportData) -> str:
    if not report_data.complete:
        return "No configuration has all its seeds done yet, so there is no stopping point to tell."
    reasons = list(
        dict.fromkeys(runs.stopping_missing_reason for runs in report_data.complete if runs.stopping_missing_reason)
    )
    return f"There is no stopping point to tell: {escape('; '.join(reasons))}."


def _method(report_data: ReportData, found: list[tuple[ConfigurationRuns, StoppingPoint]]) -> str:
    several = report_data.n_seeds > 1
    text = (
        "Every network was trained to the end. Its stopping point is the epoch at which "
        f"{_criteria(found, ', averaged over the seeds,' if several else '')}"
    )
    if any(math.isfinite(point.epoch.low) for _, point in found):
        drawn = "seeds and validation samples drawn anew together" if several else "validation samples drawn anew"
        text += f"; the interval is that of a bootstrap with {drawn}"
        if several and report_data.n_seeds < FEW_SEEDS:
            text += f", which is somewhat too narrow with as few as {report_data.n_seeds} seeds"
    elif several and report_data.results.has_same_images:
        text += "; there is no interval, since the losses of single samples are not known whole"
    elif several:
        text += "; there is no interval, since the seeds' validation samples are not the same"
    return (
        f"{text}. The epoch was chosen on the validation part, so the validation figures there flatter a little; how "
        "much accuracy training on cost or gained is judged by whether the interval of the change excludes 0."
    )


def _criteria(found: list[tuple[ConfigurationRuns, StoppingPoint]], averaged: str = "") -> str:
    """What chooses the epochs, in words."""
    best = {"valid_loss": "smallest", "valid_accuracy": "highest, and of equal ones the validation loss smallest"}
    monitors = dict.fromkeys(point.monitor for _, point in found)
    return " or ".join(f"the {MONITOR_NAMES[monitor]}{averaged} is {best[monitor]}" for monitor in monitors)


def _caption(report_data: ReportData, found: list[tuple[ConfigurationRuns, StoppingPoint]]) -> str:
    mean = "mean over the seeds; " if report_data.n_seeds > 1 else ""
    by = " or ".join(MONITOR_NAMES[monitor] for monitor in dict.fromkeys(point.monitor for _, point in found))
    return f"Stopping point by {by}, {mean}accuracies there and after the last epoch."


def _figure(report_data: ReportData, found: list[tuple[ConfigurationRuns, StoppingPoint]]) -> FigureBlock:
    which = f" Shown are {MAX_PANELS} of {len(found)} configurations." if len(found) > MAX_PANELS else ""
    curves = "of each seed " if report_data.n_seeds > 1 else ""
    names = " or ".join(MONITOR_NAMES[monitor] for monitor in dict.fromkeys(point.monitor for _, point in found))
    figure = stopping_curves(report_data)
    return FigureBlock(
        "stopping",
        figure,
        f"{capitalized(names)} {curves}after each epoch; the upright line is the stopping point, the shade its 95 % "
        f"interval.{cut_off(figure)}{which}",
        f"A panel for each of {count_of(min(len(found), MAX_PANELS), 'configuration')}: {names} against the epoch, "
        "with "
        "the stopping point marked.",
    )


def _sentence(runs: ConfigurationRuns, point: StoppingPoint) -> str:
    epoch, gain = point.epoch, point.valid_gain
    name = capitalized(configuration_phrase(runs))
    ends = f" (95 % interval {epoch.low:.0f} to {epoch.high:.0f})" if math.isfinite(epoch.low) else ""
    if epoch.value == point.n_epochs:
        last = f"the last epoch, {point.n_epochs}{ends}"
        change = "lower" if point.monitor == "valid_loss" else "raise"
        return f"{name}: {_criteria([(runs, point)])} after {last}; longer training may still {change} it."
    text = (
        f"{name}: {_criteria([(runs, point)])} after epoch {epoch.value:.0f}{ends}. Training on to epoch "
        f"{point.n_epochs} changed validation accuracy by {points(gain.value)} points"
    )
    if not math.isfinite(gain.low):
        return f"{text}; there is no interval to judge it by."
    return f"{text} (95 % interval {points_interval(gain.low, gain.high)}), {_verdict(gain)}."


def _verdict(gain: Interval) -> str:
    """A gain or a loss where 0 lies outside the interval, also where the nearer end rounds to 0."""
    if gain.low <= 0 <= gain.high:
        return "which cannot be told from no change"
    just = ", as 0 lies just outside" if "0.0" in (points(gain.low), points(gain.high)) else ""
    return f"{'a gain' if gain.low > 0 else 'a loss'}{just}"
