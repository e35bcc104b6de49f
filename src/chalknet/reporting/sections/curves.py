"""What the learning curves show: a table with one row per configuration, and sentences for what differs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chalknet.config import changes_inputs
from chalknet.formatting import DASH, capitalized, fixed, listed, percent, points, points_interval
from chalknet.reporting.document import Block, Findings, Paragraph, TableBlock
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.phrases import names_phrase
from chalknet.reporting.study_tables import configuration_head, configuration_text
from chalknet.reporting.tables import Table
from chalknet.studies.curve_findings import (
    LATE_FRACTION,
    LATE_JUMPS,
    MIN_GAP,
    MIN_JUMP,
    MIN_LOSS_RISE,
    CurveFindings,
    have_settled,
)
from chalknet.studies.intervals import Interval

MAX_SEEDS_LISTED = 5  # values of more seeds are a range
# A rise whose 95 % interval is wider than this, and reaches below the limit, is called unknown: a fraction.
MAX_RISE_WIDTH = 2.0
UNKNOWN = "too uncertain"
GAP, RISE = f"{100 * MIN_GAP:.0f} point", f"{100 * MIN_LOSS_RISE:.0f} %"  # the limits of overfitting
# What an interval accounts for, by its sources of variance.
COVERED = {
    "seeds and images": "the seeds and the finite number of samples",
    "images alone": "the finite number of samples only",
    "seeds alone": "the seeds only",
}

Found = Sequence[tuple[ConfigurationRuns, CurveFindings]]


def curve_blocks(report_data: ReportData, shown: Sequence[ConfigurationRuns]) -> list[Block]:
    """Return the rules, the table and the sentences; nothing where no curve can be judged."""
    found = [(runs, runs.curves) for runs in shown if runs.curves is not None]
    if not found:
        return []
    return [
        Paragraph(_rules(report_data, found)),
        TableBlock("curve_findings", curve_table(report_data, found), _caption(report_data, found)),
        Findings(curve_sentences(found)),
    ]


def _rules(report_data: ReportData, found: Found) -> str:
    """State the rules as far as they apply to these curves."""
    several, noisy = report_data.n_seeds > 1, [runs for runs, one in found if one.has_noisy_training]
    halves = "each half of the seeds and samples" if several else "each half of the samples"
    text = (
        f"*What do the learning curves show?* A network overfits if its training accuracy ends more than {GAP} above "
        f"its validation accuracy, or if its validation loss ends more than {RISE} above its lowest value while the "
        "training loss still falls. In both cases the whole 95 % interval must lie above the limit. The lowest of many "
        "epochs is partly lowest by luck, so the rise from it is too large on average. The corrected rise measures "
        f"{halves} from the epoch at which the other half is lowest. It can differ from the rise of the "
        f"{'mean ' if several else ''}curve."
    )
    settled = [one for _, one in found if one.accuracy_settled]
    if any(one.loss_settled for _, one in found):
        text += " A loss has settled once it stays within 1 % of its total change from its final value."
    if settled:
        seeds = " for more than half of the seeds" if several else ""
        text += (
            " An accuracy has settled once it stays within 1 point of its final value. A curve has not settled if "
            f"that happens{seeds} only in the last tenth of the epochs."
        )
    if len(noisy) < len(found):
        whose = "the training loss of a seed" if several else "its loss"
        text += f" Training is unstable if {whose} jumps in the second half of the epochs."
    if several:
        text += " Seeds disagree if their final validation accuracies differ by more than 2 points."
    if noisy:
        which = "" if len(noisy) == len(found) else f" with {names_phrase(noisy)}"
        judged = "settles or jumps" if settled else "jumps"
        text += (
            f" Training scores{which} are measured with {_noise(noisy)}, which makes them worse, so the gap is too "
            "small and can miss overfitting. They also vary from epoch to epoch, so whether the training loss "
            f"{judged} is not judged."
        )
    return text


def _noise(noisy: Sequence[ConfigurationRuns]) -> str:
    """Return what changes training scores at random."""
    if any(changes_inputs(runs.configuration.recipe) for runs in noisy):
        return "random changes of the inputs or of the network"
    return "dropout"


def _caption(report_data: ReportData, found: Found) -> str:
    several = report_data.n_seeds > 1
    limits = [one.gap for _, one in found if _has_limits(one.gap)]
    sources = list(dict.fromkeys(COVERED[one.variance_sources] for one in limits))
    covered = f"; they account for {listed(sources, 'or')}" if limits else ""
    mean, seed = ("mean ", " of each seed") if several else ("", "")
    text = (
        "What the learning curves show. *Gap*: training minus validation accuracy at the end, in percentage points. "
        f"*Lowest loss*: epoch at which the {mean}validation loss is lowest. *Rise*: of the {mean}validation loss from "
        "there to the end. *Corrected rise*: the same without the luck of the lowest epoch."
    )
    if any(_is_unknown(one.loss.rise) for _, one in found):
        few = "seeds or samples" if several else "samples"
        text += f" *{capitalized(UNKNOWN)}*: the 95 % interval of the rise is wider than {_percent(MAX_RISE_WIDTH)}, "
        text += f"so there are too few {few} to tell, and no rise is shown."
    if any(one.accuracy_settled for _, one in found):
        curve = "training loss, or the validation accuracy," if any(one.loss_settled for _, one in found) else ""
        text += f" *Settled*: epoch from which the {curve or 'validation accuracy'} stays near its final value."
    if not all(one.has_noisy_training for _, one in found):
        text += (
            f" *Jumps*: number of epochs{seed} in which the training loss rises by more than {100 * MIN_JUMP:.0f} %. "
            "*Last jump*: the last of these epochs."
        )
    return f"{text} Values in parentheses are 95 % intervals{covered}."


def curve_table(report_data: ReportData, found: Found) -> Table:
    """Return one row per configuration: gap, lowest loss, rise, settling, jumps, and final accuracies of the seeds."""
    with_loss = any(one.loss_settled for _, one in found)
    with_settling = any(one.accuracy_settled for _, one in found)
    with_jumps = not all(one.has_noisy_training for _, one in found)
    rows = [
        (
            configuration_text(report_data, runs),
            _with_limits(points(one.gap.value), one.gap, points_interval(one.gap.low, one.gap.high)),
            str(one.loss.epoch),
            DASH if _is_unknown(one.loss.rise) else _percent(one.loss.rise_of_mean),
            _corrected_rise(one.loss.rise),
            *((_settling_cell(one.loss_settled, one.n_epochs),) if with_loss else ()),
            *((_settling_cell(one.accuracy_settled, one.n_epochs),) if with_settling else ()),
            *(_jump_cells(one) if with_jumps else ()),
        )
        for runs, one in found
    ]
    columns = (
        configuration_head(report_data),
        "gap (points)",
        "lowest loss",
        "rise",
        "corrected rise",
        *(("loss settled",) if with_loss else ()),
        *(("accuracy settled",) if with_settling else ()),
        *(("jumps", "last jump") if with_jumps else ()),
    )
    return Table("What the learning curves show", columns, tuple(rows))


def _corrected_rise(rise: Interval) -> str:
    """Return the corrected rise with its interval, or that it is too uncertain."""
    if _is_unknown(rise):
        return UNKNOWN
    return _with_limits(_percent(rise.value), rise, f"{_hundred(rise.low)} to {_percent(rise.high)}")


def _is_unknown(rise: Interval) -> bool:
    """Return whether an interval is so wide that its values say nothing."""
    return _has_limits(rise) and rise.high - rise.low > MAX_RISE_WIDTH and rise.low <= MIN_LOSS_RISE


def _settling_cell(epochs: Sequence[int], n_epochs: int) -> str:
    """Return when a curve has settled; a dash where that is not judged."""
    return DASH if not epochs else _span(epochs) if have_settled(epochs, n_epochs) else "not settled"


def _jump_cells(one: CurveFindings) -> tuple[str, str]:
    """Return the number of jumps of each seed, and the last one."""
    if one.has_noisy_training and one.is_finite:
        return DASH, DASH
    last = str(max(row[-1] for row in one.jumps if row)) if any(one.jumps) else DASH
    return _per_seed([len(row) for row in one.jumps]), last


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
        return (_no_overfitting(found),)
    overfitting = [(runs, one) for runs, one in found if one.overfits]
    text = f"{_which(found, [runs for runs, _ in overfitting])}."
    whose = "" if len(overfitting) == len(found) else "its " if len(overfitting) == 1 else "their "
    gaps = [(runs, one) for runs, one in found if one.has_accuracy_gap]
    if gaps:
        by = _range([100 * one.gap.value for _, one in gaps], 1)
        text += (
            f" At the end, {whose}training accuracy exceeds {whose}validation accuracy by {by} percentage points"
            f"{_with(overfitting, gaps)}."
        )
    rises = [(runs, one) for runs, one in found if one.has_loss_rise]
    if rises:
        by = _range([100 * one.loss.rise_of_mean for _, one in rises], 0)
        mean = "mean " if any(len(runs.seeds) > 1 for runs, _ in rises) else ""
        the = capitalized(whose) or "The "
        text += f" {the}{mean}validation loss ends {by} % above its lowest value{_with(overfitting, rises)}."
    return (text,)


def _no_overfitting(found: Found) -> str:
    """Say why no configuration overfits by the rules."""
    where = "" if len(found) == 1 else "for every configuration, "
    unsure = [(runs, one) for runs, one in found if _has_limits(one.gap) and one.gap.value > MIN_GAP >= one.gap.low]
    verdict = "do not decide whether there is overfitting" if unsure else "find no overfitting"
    text = f"These rules {verdict}: {where}"
    rises = [one.loss.rise for _, one in found]
    if not all(_has_limits(interval) for interval in (*rises, *(one.gap for _, one in found))):
        return f"{text}no interval lies above its limit. Without an interval, a rule is not applied."
    if any(rise.low > MIN_LOSS_RISE for rise in rises):
        text += (
            f"the interval of the gap reaches below its limit ({GAP}), and that of the corrected rise reaches "
            f"below its limit ({RISE}) or the training loss rises as well."
        )
    else:
        text += f"the intervals of the gap and of the corrected rise reach below their limits ({GAP} and {RISE})."
    unknown = [(runs, one) for runs, one in found if _is_unknown(one.loss.rise)]
    if unknown:
        text += f" But there are too few {_few(unknown)} to tell whether the loss rises{_with(found, unknown)}."
    if unsure:
        by = _range([100 * one.gap.value for _, one in unsure], 1)
        gaps = "gap is" if len(unsure) == 1 else "gaps are"
        text += (
            f" The {gaps} {by} percentage points{_with(found, unsure)}. That is more than the limit, but there are "
            f"too few {_few(unsure)} to be sure."
        )
    return text


def _few(found: Found) -> str:
    """Return what makes intervals narrower if there is more of it."""
    return "seeds or samples" if any(len(runs.seeds) > 1 for runs, _ in found) else "samples"


def _which(found: Found, overfitting: Sequence[ConfigurationRuns]) -> str:
    if len(found) == 1:
        return "The network overfits"
    if len(overfitting) == len(found):
        return "All configurations overfit"
    verb = "overfits" if len(overfitting) == 1 else "overfit"
    return f"{len(overfitting)} of {len(found)} configurations {verb}: {names_phrase(overfitting)}"


def _settling(found: Found) -> tuple[str, ...]:
    judged = [(runs, one) for runs, one in found if one.loss_settled]
    unsettled = [(runs, one) for runs, one in judged if not one.has_settled]
    if not judged:
        return ()
    n_epochs = judged[0][1].n_epochs
    late = math.floor(LATE_FRACTION * n_epochs)
    if unsettled:
        most = "For most seeds the" if any(len(one.loss_settled) > 1 for _, one in unsettled) else "The"
        return (
            f"{most} training loss was still changing in the last tenth of the epochs (after epoch {late})"
            f"{_with(found, unsettled)}.{_longer(unsettled)}",
        )
    epochs = [epoch for _, one in judged for epoch in one.loss_settled]
    where = f"in epoch {epochs[0]}" if len(set(epochs)) == 1 else f"between epochs {min(epochs)} and {max(epochs)}"
    return (f"The training loss settled {where} of {n_epochs}{_with(found, judged)}.",)


def _longer(unsettled: Found) -> str:
    """Return what longer training may change, after a space; "" where the learning rate has fallen to its end."""
    if any(runs.configuration.recipe.schedule.schedule != "constant" for runs, _ in unsettled):
        return ""
    return " Longer training may change its final value."


def _stability(found: Found) -> tuple[str, ...]:
    diverged = [(runs, one) for runs, one in found if not one.is_finite]
    judged = [(runs, one) for runs, one in found if one.is_finite and not one.has_noisy_training]
    unstable = [(runs, one) for runs, one in judged if one.is_unstable]
    early = [(runs, one) for runs, one in judged if not one.is_unstable and any(one.jumps)]
    said = []
    if diverged:
        said.append(f"Training diverged: the training loss was not finite at some epoch{_with(found, diverged)}.")
    if unstable:
        half = f"after epoch {math.floor(LATE_JUMPS * unstable[0][1].n_epochs)}"
        said.append(
            f"Training is unstable{_with(found, unstable)}: the training loss{_jumping(unstable)} still jumps {half}."
        )
    if early:
        last = max(row[-1] for _, one in early for row in one.jumps if row)
        said.append(f"The training loss jumps only early{_with(found, early)}: the last jump is in epoch {last}.")
    if judged and not said:
        said.append(
            f"The training loss never rises by more than {100 * MIN_JUMP:.0f} % in one epoch{_with(found, judged)}."
        )
    return (" ".join(said),) if said else ()


def _jumping(unstable: Found) -> str:
    """Return " of 1 of 3 seeds", how many seeds of each configuration have late jumps; "" for one seed."""
    n_seeds = max(len(one.jumps) for _, one in unstable)
    counts = [sum(any(epoch > LATE_JUMPS * one.n_epochs for epoch in row) for row in one.jumps) for _, one in unstable]
    return "" if n_seeds == 1 else f" of {_span(counts)} of {n_seeds} seeds"


def _disagreement(found: Found) -> tuple[str, ...]:
    apart = [(runs, one) for runs, one in found if one.seeds_disagree]
    if not apart:
        return ()
    spans = [100 * (max(one.final_accuracies) - min(one.final_accuracies)) for _, one in apart]
    by = _range(spans, 1)
    where = "" if len(apart) == len(found) else f"With {names_phrase([runs for runs, _ in apart])}, "
    said = f"{where}the seeds disagree: their final validation accuracies lie {by} percentage points apart."
    return (capitalized(said),)


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
