"""An ensemble: its networks one by one, and the gain of averaging their probabilities."""

from __future__ import annotations

import math

from chalknet.formatting import count_of, duration, fixed, percent, percent_interval, points, points_interval
from chalknet.reporting.document import Block, FigureBlock, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.report_data import ConfigurationRuns, EnsembleResult, ReportData
from chalknet.reporting.sections.choice import epoch_choice
from chalknet.reporting.sections.curves import curve_blocks
from chalknet.reporting.sections.learning import training_scores_text
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_figures import seed_curves
from chalknet.reporting.study_tables import four, percent2
from chalknet.reporting.tables import SPLIT_NAMES, Table
from chalknet.studies.intervals import Interval, wilson


def members_section(
    report_data: ReportData, ensemble: EnsembleResult, number: str, title: str = "The networks"
) -> Section:
    """Show the scores and curves of each network; the test scores come with the result."""
    (runs,) = report_data.configurations
    splits = tuple(split for split in runs.splits if split != "test")
    text = (
        f"{count_of(len(runs.seeds), 'network')} with different seeds were trained one after the other, in "
        f"{duration(sum(runs.seconds))}. The table shows the scores of the epochs whose weights are kept. "
        f"{training_scores_text(runs.configuration.recipe, splits)} The training scores of the ensemble are those "
        "after training."
    )
    n_folds = report_data.recipe.training.folds
    if n_folds:
        text += (
            f" The validation scores of a network are those of its fold. The ensemble's are out of fold: each of the "
            f"{n_folds} folds is predicted by the networks that did not train on it."
        )
    if report_data.temperature is not None:
        text += " The networks one by one are not calibrated."
    blocks: list[Block] = [
        Paragraph(text),
        TableBlock("members", _members_table(runs, ensemble, splits), "The networks one by one, and the ensemble."),
        FigureBlock(
            "members",
            seed_curves(runs, splits[-1], ("loss", "accuracy")),
            f"Loss and accuracy of the {SPLIT_NAMES[splits[-1]]} samples after each epoch, one curve per network.",
            f"Two panels of {count_of(len(runs.seeds), 'curve')}: cross-entropy loss and accuracy.",
        ),
    ]
    blocks += curve_blocks(report_data, report_data.complete)
    return Section(number, title, tuple(blocks))


def ensemble_section(
    report_data: ReportData, ensemble: EnsembleResult, number: str, title: str = "The result"
) -> Section:
    """Show the scores of the ensemble, and how much averaging gains."""
    (runs,) = report_data.configurations
    splits = tuple(split for split in ("valid", "test") if split in ensemble.gains)
    if not splits:
        text = "There are no samples that several networks have not trained on, so the gain of averaging is not known."
        return Section(number, title, (Paragraph(text),))
    blocks: list[Block] = [
        *standard_text("ensemble gain"),
        TableBlock(
            "gain",
            _gain_table(runs, ensemble, splits),
            "Mean scores of the single networks, and scores of the ensemble.",
        ),
        Findings(tuple(_sentence(split, ensemble.gains[split]) for split in splits)),
        *epoch_choice((runs,)),
    ]
    if "test" in ensemble.scores:
        blocks.append(_test(report_data, ensemble))
    return Section(number, title, tuple(blocks))


def _members_table(runs: ConfigurationRuns, ensemble: EnsembleResult, splits: tuple[str, ...]) -> Table:
    heads = [f"{SPLIT_NAMES[split]} {measure}" for split in splits for measure in ("loss", "accuracy")]
    rows = []
    for k, (seed, kept, history) in enumerate(zip(runs.seeds, runs.kept_epochs, runs.histories, strict=True)):
        epochs = f"{kept}" if kept == len(history) else f"{kept} of {len(history)}"
        cells = [
            write(runs.values(split, measure)[k])
            for split in splits
            for measure, write in (("loss", four), ("accuracy", percent2))
        ]
        rows.append((f"seed {seed}", epochs, *cells))
    own = [(four(ensemble.scores[split].loss), percent2(ensemble.scores[split].accuracy)) for split in splits]
    rows.append(("ensemble", "", *(cell for pair in own for cell in pair)))
    return Table("The networks", ("", "kept epoch", *heads), tuple(rows))


def _gain_table(runs: ConfigurationRuns, ensemble: EnsembleResult, splits: tuple[str, ...]) -> Table:
    rows = []
    for split in splits:
        own, gain = ensemble.scores[split], ensemble.gains[split]
        ends = "" if math.isnan(gain.low) else points_interval(gain.low, gain.high)
        cells = (percent2(runs.mean(split, "accuracy")), percent2(own.accuracy), points(gain.value), ends)
        rows.append((SPLIT_NAMES[split], *cells, four(runs.mean(split, "loss")), four(own.loss)))
    heads = (
        "mean accuracy",
        "accuracy of the ensemble",
        "gain (points)",
        "95 % interval",
        "mean loss",
        "loss of the ensemble",
    )
    return Table("What averaging gains", ("", *heads), tuple(rows))


def _sentence(split: str, gain: Interval) -> str:
    where = f"on the {SPLIT_NAMES[split]} samples"
    if math.isnan(gain.low):
        told = f"Averaging changes the accuracy {where} by {points(gain.value)} percentage points"
        return f"{told}. There is no interval, because the samples could not be read."
    ends = f"95 % interval {points_interval(gain.low, gain.high)}"
    if gain.low > 0:
        return f"Averaging gains {fixed(100 * gain.value, 1)} percentage points of accuracy {where} ({ends})."
    if gain.high < 0:
        return f"Averaging loses {fixed(-100 * gain.value, 1)} percentage points of accuracy {where} ({ends})."
    return f"The gain {where} is not significant: {points(gain.value)} percentage points ({ends})."


def _test(report_data: ReportData, ensemble: EnsembleResult) -> Note:
    accuracy, n_samples = ensemble.scores["test"].accuracy, report_data.sizes["test"]
    found = wilson(round(accuracy * n_samples), n_samples)
    ends = percent_interval(found.low, found.high)
    whose = f"for the ensemble of {count_of(report_data.n_seeds, 'network')}"
    where = f"on {count_of(n_samples, 'test sample')}"
    return Note(f"**Test accuracy: {percent(accuracy)}** (95 % interval {ends}) {where}, {whose}.")
