"""Learning: one training in full, its statistics, its curves and its time."""

from __future__ import annotations

from math import prod

from chalknet.formatting import count_of, duration, listed
from chalknet.network.architecture import architecture_for
from chalknet.reporting.document import Block, FigureBlock, Findings, Paragraph, Section, TableBlock
from chalknet.reporting.gathered import CellRuns, Gathered
from chalknet.reporting.inline import code, escaped
from chalknet.reporting.study_figures import history_curves
from chalknet.reporting.tables import PART_NAMES, SCORE_HEADS, Table, score_cells

ORIGINAL_WIDTH = (1_000,)


def learning_section(gathered: Gathered, number: str, title: str = "Learning", *, with_test: bool = True) -> Section:
    """The first seed's training of the cell with 1,000 hidden units, or of the best cell where there is none."""
    runs = learning_cell(gathered)
    if runs is None:
        return Section(number, title, (Paragraph("No training is finished, so there is nothing to show."),))
    parts = tuple(part for part in runs.parts if with_test or part != "test")
    measures = ("loss", "accuracy")
    figure = history_curves(runs.histories[0], parts, measures, "")
    history, kept = runs.histories[0], runs.kept_epochs[0]
    shown = listed([PART_NAMES[part] for part in parts])
    recipe = runs.cell.recipe
    widths = " and ".join(f"{width:,}" for width in recipe.network.hidden)
    facts = gathered.results.data
    shape = architecture_for(recipe, prod(facts.sample_shape), len(facts.class_names))
    text = (
        f"This is one training in full: {widths} hidden units, {count_of(shape.n_parameters, 'parameter')}, "
        f"{_where(gathered, runs)}. It took {duration(runs.seconds[0])} for "
        f"{count_of(len(runs.histories[0]), 'epoch')} ({escaped(runs.trained[0])}), evaluation of all parts after "
        "every epoch included. Training scores are taken before an epoch's updates, the others after them."
    )
    if gathered.n_seeds > 1 or len(gathered.cells) > 1:
        text += " It is one of the trainings compared below, and no more typical than the others."
    blocks: list[Block] = [
        Paragraph(text),
        TableBlock("statistics", statistics(runs, parts), _caption(runs, kept, len(history))),
        FigureBlock(
            "learning",
            figure,
            f"Loss and accuracy of {shown} after each epoch; {_where(gathered, runs)}.",
            f"Two panels of curves over {count_of(len(history), 'epoch')}: cross-entropy loss and accuracy of {shown}.",
        ),
    ]
    if runs.findings:
        blocks.append(Findings(runs.findings))
    return Section(number, title, tuple(blocks))


def learning_cell(gathered: Gathered) -> CellRuns | None:
    """The cell with 1,000 hidden units, else the chosen one, else any."""
    same = [runs for runs in gathered.cells if runs.cell.recipe.network.hidden == ORIGINAL_WIDTH]
    if same and gathered.varied == ("hidden",):
        return same[0]
    return gathered.chosen or next(iter(gathered.cells), None)


def statistics(runs: CellRuns, parts: tuple[str, ...]) -> Table:
    """The first seed's scores where its weights are kept."""
    return Table(
        "Statistics", SCORE_HEADS, tuple((PART_NAMES[part], *score_cells(runs.scores(part)[0])) for part in parts)
    )


def _where(gathered: Gathered, runs: CellRuns) -> str:
    label = f"{code(runs.cell.label)}, " if runs.cell.settings and gathered.varied else ""
    return f"{label}seed {runs.seeds[0]}"


def _caption(runs: CellRuns, kept: int, n_epochs: int) -> str:
    text = f"After {count_of(kept, 'epoch')}, seed {runs.seeds[0]}"
    return (
        f"{text}; the best of {n_epochs}, at which training that stopped early was kept."
        if kept != n_epochs
        else f"{text}."
    )
