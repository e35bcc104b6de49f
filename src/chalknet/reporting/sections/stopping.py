"""When to stop: the best epoch of each configuration with its interval, and what training on changed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chalknet.formatting import capitalized, count_of, listed, points, points_interval
from chalknet.records import SPLITS
from chalknet.reporting.document import Block, FigureBlock, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.comparison import cut_off
from chalknet.reporting.sections.phrases import longer_training_text, names_phrase, network_phrase
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_figures import MAX_PANELS, stopping_curves
from chalknet.reporting.study_tables import configuration_head, configuration_text, stopping_table
from chalknet.reporting.tables import MONITOR_NAMES
from chalknet.studies.stopping_point import StoppingPoint

# With fewer seeds the bootstrap interval is said to be narrow: (S-1)/S of the variance between seeds is in it.
FEW_SEEDS = 10

Found = Sequence[tuple[ConfigurationRuns, StoppingPoint]]


def stopping_section(
    report_data: ReportData, number: str, title: str = "When to stop", *, original: bool = False
) -> Section:
    """Show where what training watches, by default the validation loss, is best, and what came after that epoch."""
    found = [(runs, runs.stopping) for runs in report_data.complete if runs.stopping is not None]
    if not found:
        return Section(number, title, (Note(_why_not(report_data), "plain"),))
    blocks: list[Block] = [Paragraph(_method(report_data, found))]
    splits = [split for split in SPLITS if all(split in point.accuracy_at_best for _, point in found)]
    if report_data.comparison_split == "valid":  # only the chosen configuration shows test scores, once
        splits = [split for split in splits if split != "test"]
    rows = [(configuration_text(report_data, runs), point) for runs, point in found]
    table = stopping_table(
        rows,
        splits,
        head=configuration_head(report_data),
        with_seeds=report_data.n_seeds > 1,
        digits=1,
        joined=True,
        with_change=True,
    )
    blocks += [TableBlock("stopping", table, _caption(report_data, found))]
    if found[0][1].n_epochs > 1:
        blocks.append(_figure(report_data, found))
    blocks.append(Findings(stopping_sentences(found)))
    if original:
        blocks += standard_text("original stopping")
    missing = [runs for runs in report_data.complete if runs.stopping is None]
    if missing:
        blocks.append(Note(_missing(missing)))
    return Section(number, title, tuple(blocks))


def stopping_sentences(found: Found) -> tuple[str, ...]:
    """Return where the best epochs are, and how validation accuracy changes from there to the last epoch."""
    return (_where(found), *_changes(found))


def monitor_names(found: Found) -> str:
    """Return what chooses the epochs, in words: "validation loss"."""
    return listed(list(dict.fromkeys(MONITOR_NAMES[point.monitor] for _, point in found)), "or")


def best_text(monitor: str) -> str:
    """Return "lowest" for a loss and "highest" for an accuracy."""
    return "lowest" if monitor == "valid_loss" else "highest"


def _where(found: Found) -> str:
    """Return the best epoch, or the range of the best epochs of several configurations."""
    n_epochs, which = found[0][1].n_epochs, best_text(found[0][1].monitor)
    monitor = monitor_names(found)
    if len(found) == 1:
        runs, point = found[0]
        text = f"The {monitor} of {network_phrase(runs)} is {which} after epoch {point.epoch.value:.0f} of {n_epochs}"
        text += f"{_limits(point)}."
        if point.epoch.value < n_epochs:
            return text
        return f"{text[:-1]}, the last one. {capitalized(longer_training_text([runs]))}."
    epochs = [round(point.epoch.value) for _, point in found]
    where = f"between epochs {min(epochs)} and {max(epochs)}"
    if max(epochs) - min(epochs) < 2:
        where = f"after epoch {' or '.join(map(str, dict.fromkeys(sorted(epochs))))}"
    text = (
        f"The {monitor} is {which} {where} of {max(point.n_epochs for _, point in found)}, depending on the "
        "configuration."
    )
    if min(epochs) == max(epochs):
        text = f"The {monitor} is {which} {where} with every configuration."
    last = [runs for runs, point in found if _ends_best(point)]
    if last:
        names = "every configuration" if len(last) == len(found) else names_phrase(last)
        text += f" With {names} that is the last epoch, so {longer_training_text(last)}."
    return text


def _ends_best(point: StoppingPoint) -> bool:
    """Return whether the best epoch is the last one."""
    return point.epoch.value == point.n_epochs


def _changes(found: Found) -> tuple[str, ...]:
    """Return which configurations gain accuracy after the best epoch, which lose, and which do neither."""
    going_on = [(runs, point) for runs, point in found if point.epoch.value < point.n_epochs]
    if not going_on:
        return ()
    known = [(runs, point) for runs, point in going_on if math.isfinite(point.valid_gain.low)]
    groups = (
        ("raises validation accuracy significantly", [one for one in known if one[1].valid_gain.low > 0]),
        ("lowers validation accuracy significantly", [one for one in known if one[1].valid_gain.high < 0]),
        ("does not change validation accuracy significantly", [one for one in known if _is_unclear(one[1])]),
    )
    said = [f"{verb}{_with(found, some)} ({_sizes(some)})" for verb, some in groups if some]
    if not said:
        by = _sizes(going_on)
        return (
            f"Validation accuracy changes by {by} from the best epoch to the last one. Without an interval, no test is "
            "made.",
        )
    return (f"Training on from the best epoch to the last one {listed(said)}.",)


def _is_unclear(point: StoppingPoint) -> bool:
    return point.valid_gain.low <= 0 <= point.valid_gain.high


def _with(found: Found, some: Found) -> str:
    return "" if len(some) == len(found) else f" with {names_phrase([runs for runs, _ in some])}"


def _sizes(some: Found) -> str:
    """Return "+0.8 percentage points, 95 % interval -0.5 to +2.2", or the range of several changes."""
    if len(some) == 1:
        gain = some[0][1].valid_gain
        ends = f", 95 % interval {points_interval(gain.low, gain.high)}" if math.isfinite(gain.low) else ""
        if not _is_unclear(some[0][1]) and "0.0" in (points(gain.low), points(gain.high)):
            ends += ", which just excludes 0"
        return f"{points(gain.value)} percentage points{ends}"
    gains = [point.valid_gain.value for _, point in some]
    low, high = points(min(gains)), points(max(gains))
    return f"{low} percentage points" if low == high else f"{low} to {high} percentage points"


def _limits(point: StoppingPoint) -> str:
    epoch = point.epoch
    return f" (95 % interval {epoch.low:.0f} to {epoch.high:.0f})" if math.isfinite(epoch.low) else ""


def _why_not(report_data: ReportData) -> str:
    if not report_data.complete:
        return "No configuration has finished all its runs yet, so there is no stopping point."
    reasons = dict.fromkeys(
        runs.stopping_missing_reason for runs in report_data.complete if runs.stopping_missing_reason
    )
    return f"No stopping point can be determined: {escape('; '.join(reasons))}."


def _missing(missing: Sequence[ConfigurationRuns]) -> str:
    """Return which configurations have no stopping point, by reason."""
    said = []
    for reason in dict.fromkeys(runs.stopping_missing_reason for runs in missing):
        some = [runs for runs in missing if runs.stopping_missing_reason == reason]
        said.append(f"No stopping point can be determined with {names_phrase(some)}: {escape(reason)}.")
    return " ".join(said)


def _method(report_data: ReportData, found: Found) -> str:
    several = report_data.n_seeds > 1
    n_epochs = sorted({point.n_epochs for _, point in found})
    trained = f"all {listed([f'{n:,}' for n in n_epochs], 'or')} epochs" if n_epochs[-1] > 1 else "one epoch"
    who = "This network was" if len(found) == 1 and not several else "These networks were"
    chooses = any(runs.configuration.recipe.stopping.stop_early for runs, _ in found)
    kept = "" if chooses else ", and the weights after the last one are kept"
    text = (
        f"{who} trained for {trained}{kept}. This section shows the best epoch: the one at which "
        f"{_criterion(found, 'mean ' if several else '')}."
    )
    if any(math.isfinite(point.epoch.low) for _, point in found):
        drawn = "seeds and validation samples are" if several else "validation samples are"
        text += f" For its 95 % interval, {drawn} drawn again with replacement (bootstrap)."
        if several and report_data.n_seeds < FEW_SEEDS:
            text += f" With only {report_data.n_seeds} seeds this interval is somewhat too narrow."
    elif several and not report_data.results.has_same_images:
        text += " There is no interval, because the seeds have different validation samples."
    else:
        text += " There is no interval, because the losses of the single samples were not stored in full."
    return (
        f"{text} Because that epoch is found with the validation samples, their scores at it are too good on average. "
        "A change of accuracy after it is significant if its 95 % interval does not contain 0."
    )


def _criterion(found: Found, mean: str) -> str:
    """Return what chooses the epoch, such as "the mean validation loss is lowest"."""
    ties = {"valid_loss": "", "valid_accuracy": " (of equal epochs, the one with the lowest validation loss)"}
    monitors = dict.fromkeys(point.monitor for _, point in found)
    return " or ".join(f"the {mean}{MONITOR_NAMES[one]} is {best_text(one)}{ties[one]}" for one in monitors)


def _caption(report_data: ReportData, found: Found) -> str:
    mean = ", means over the seeds" if report_data.n_seeds > 1 else ""
    return (
        f"Best epoch by {monitor_names(found)}, and accuracies at that epoch and after the last one{mean}. *Change*: "
        "of the validation accuracy between the two, in percentage points, from accuracies that are not rounded."
        f"{' A dash: the best epoch is the last one.' if any(_ends_best(point) for _, point in found) else ''}"
    )


def _figure(report_data: ReportData, found: Found) -> FigureBlock:
    which = f" {MAX_PANELS} of {len(found)} configurations are shown." if len(found) > MAX_PANELS else ""
    curves = " of each seed" if report_data.n_seeds > 1 else ""
    names = monitor_names(found)
    figure = stopping_curves(report_data)
    return FigureBlock(
        "stopping",
        figure,
        f"{capitalized(names)}{curves} after each epoch. The vertical line is the best epoch, the shaded area its 95 % "
        f"interval.{cut_off(figure)}{which}",
        f"A panel for each of {count_of(min(len(found), MAX_PANELS), 'configuration')}: {names} against the epoch, "
        "with "
        "the best epoch marked.",
    )
