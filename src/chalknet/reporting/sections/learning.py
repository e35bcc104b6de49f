"""Learning: one training in full, its statistics, its curves and its time."""

from __future__ import annotations

from math import prod

from chalknet.formatting import count_of, duration, listed
from chalknet.network.architecture import architecture_for
from chalknet.reporting.document import Block, FigureBlock, Findings, Paragraph, Section, TableBlock
from chalknet.reporting.markup import code, escape
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.comparison import cut_off
from chalknet.reporting.study_figures import epoch_marks, history_curves
from chalknet.reporting.tables import SCORE_HEADS, SPLIT_NAMES, Table, score_cells

ORIGINAL_WIDTH = (1_000,)


def learning_section(
    report_data: ReportData, number: str, title: str = "Learning", *, with_test: bool = True
) -> Section:
    """The first seed's training of the configuration with 1,000 hidden units, or of the best configuration where
    there is none.
    """
    runs = learning_configuration(report_data)
    if runs is None:
        return Section(number, title, (Paragraph("No training is finished, so there is nothing to show."),))
    splits = tuple(split for split in runs.splits if with_test or split != "test")
    measures = ("loss", "accuracy")
    figure = history_curves(runs.histories[0], splits, measures, epoch_marks(runs, 0))
    history, kept = runs.histories[0], runs.kept_epochs[0]
    shown = listed([SPLIT_NAMES[split] for split in splits])
    recipe = runs.configuration.recipe
    widths = " and ".join(f"{width:,}" for width in recipe.network.hidden)
    facts = report_data.results.data
    shape = architecture_for(recipe, prod(facts.sample_shape), len(facts.class_names))
    text = (
        f"This is one training in full: {widths} hidden units, {count_of(shape.n_parameters, 'parameter')}, "
        f"{_where(report_data, runs)}. It took {duration(runs.seconds[0])} for "
        f"{count_of(len(runs.histories[0]), 'epoch')} ({escape(runs.trained[0])}), evaluation of all parts after "
        "every epoch included. Training scores are taken before an epoch's updates, the others after them."
    )
    if report_data.n_seeds > 1 or len(report_data.configurations) > 1:
        text += " It is one of the trainings compared below, and no more typical than the others."
    blocks: list[Block] = [
        Paragraph(text),
        TableBlock("statistics", statistics(runs, splits), _caption(runs, kept, len(history))),
        FigureBlock(
            "learning",
            figure,
            f"Loss and accuracy of {shown} after each epoch; {_where(report_data, runs)}.{cut_off(figure)}",
            f"Two panels of curves over {count_of(len(history), 'epoch')}: cross-entropy loss and accuracy of {shown}.",
        ),
    ]
    if runs.findings:
        blocks.append(Findings(runs.findings))
    return Section(number, title, tuple(blocks))


def learning_configuration(report_data: ReportData) -> ConfigurationRuns | None:
    """The configuration with 1,000 hidden units, else the chosen one, else any."""
    same = [runs for runs in report_data.configurations if runs.configuration.recipe.network.hidden == ORIGINAL_WIDTH]
    if same and report_data.varied == ("hidden",):
        return same[0]
    return report_data.chosen or next(iter(report_data.configurations), None)


def statistics(runs: ConfigurationRuns, splits: tuple[str, ...]) -> Table:
    """The first seed's scores where its weights are kept."""
    return Table(
        "Statistics", SCORE_HEADS, tuple((SPLIT_NAMES[split], *score_cells(runs.scores(split)[0])) for split in splits)
    )


def _where(report_data: ReportData, runs: ConfigurationRuns) -> str:
    label = f"{code(runs.configuration.label)}, " if runs.configuration.settings and report_data.varied else ""
    return f"{label}seed {runs.seeds[0]}"


def _caption(runs: ConfigurationRuns, kept: int, n_epochs: int) -> str:
    text = f"After {count_of(kept, 'epoch')}, seed {runs.seeds[0]}"
    return (
        f"{text}; the best of {n_epochs}, at which training that stopped early was kept."
        if kept != n_epochs
        else f"{text}."
    )
