"""The comparison: a table a cell, one that compares them, curves side by side, and what the numbers carry."""

from __future__ import annotations

from chalknet.formatting import capitalised, count_of, listed
from chalknet.reporting.document import Block, FigureBlock, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.gathered import CellRuns, Gathered, field_name
from chalknet.reporting.inline import code
from chalknet.reporting.sections.prose import prose
from chalknet.reporting.study_figures import (
    accuracy_figure,
    cell_curves,
    has_accuracy_figure,
    loss_top,
    panel_title,
    shown_cells,
)
from chalknet.reporting.study_tables import cell_text, cells_table, grid_table, pairs_table, seeds_table, shown_pairs
from chalknet.reporting.tables import PART_NAMES

MAX_TABLES = 12  # a table a cell, for no more cells than these
MAX_CURVE_CELLS = 6  # whose curves are described in sentences


def comparison_section(gathered: Gathered, number: str, title: str, *, with_cell_tables: bool = False) -> Section:
    """All complete cells beside each other, judged on the validation part."""
    if not gathered.complete:
        text = "No cell has all its seeds done yet, so nothing can be compared. The same command reports anew later."
        return Section(number, title, (Note(text, "warning"),))
    blocks: list[Block] = []
    if with_cell_tables:
        blocks += _cell_tables(gathered)
    blocks += [Paragraph(_text(gathered)), _cells(gathered)]
    if len(gathered.varied) == 2 and len(gathered.complete) > 2:
        blocks.append(TableBlock("grid", grid_table(gathered), _grid_caption(gathered)))
    if has_accuracy_figure(gathered):
        blocks.append(_accuracy_block(gathered))
    blocks += _findings(gathered)
    blocks += _curves(gathered)
    return Section(number, title, tuple(blocks))


def judged_name(gathered: Gathered) -> str:
    """The part that cells are judged on, in words."""
    return PART_NAMES.get(gathered.judged, "training")


def _cell_tables(gathered: Gathered) -> list[Block]:
    shown = gathered.complete[:MAX_TABLES]
    blocks = list(prose("cell tables"))
    for i, runs in enumerate(shown, 1):
        name = f"cell-{cell_text(gathered, runs)}" if gathered.varied == ("hidden",) else f"cell-{i}"
        blocks.append(TableBlock(name, seeds_table(runs), f"{panel_title(runs)}."))
    return blocks


def _text(gathered: Gathered) -> str:
    n_images = len(gathered.complete[0].right[gathered.judged][0]) if gathered.judged else 0
    part = judged_name(gathered)
    if gathered.judged == "valid":
        text = f"[table:cells] compares the cells on the {n_images:,} validation samples."
    elif gathered.judged == "test":
        text = (
            f"There is no validation part, so [table:cells] compares the cells on the {n_images:,} test samples. A "
            "cell that is chosen by these figures looks better in them than it is."
        )
    else:
        return (
            "There is neither a validation nor a test part, so only training scores can be shown; they say nothing "
            "about new samples."
        )
    if gathered.comparison is None:
        return (
            f"{text} Each seed has a split of its own, so its {part} samples are others, and overlap with those of "
            "other seeds: no interval or test that assumes the same samples, or independent ones, applies, and none "
            "is given."
        )
    if gathered.n_seeds > 1:
        return (
            f"{text} An interval carries both the seeds and the finite number of samples: of intervals made in this "
            "way, about 95 in 100 contain the accuracy that is to be expected over all seeds and samples (two-way "
            "random effects; `docs/statistics.md`)."
        )
    return (
        f"{text} An interval is Wilson's; it carries the finite number of samples alone, not the seeds, of which there "
        "is one."
    )


def _cells(gathered: Gathered) -> TableBlock:
    chosen = [i for i, runs in enumerate(gathered.complete) if runs is gathered.chosen]
    if len(gathered.complete) == 1 or gathered.judged != "valid":
        chosen = []  # nothing was chosen
    mean = ", mean over the seeds" if gathered.n_seeds > 1 else ""
    caption = f"{capitalised(judged_name(gathered))} accuracy and loss of each cell{mean}; seconds of one training"
    if chosen:
        caption += "; the highest mean is set off"
    return TableBlock("cells", cells_table(gathered), f"{caption}.", tuple(chosen))


def _grid_caption(gathered: Gathered) -> str:
    first, second = (field_name(name) for name in gathered.varied)
    where = f"{first} (down) and {second} (across)"
    return f"Mean {judged_name(gathered)} accuracy by {where}; a dash where a cell is not complete."


def _accuracy_block(gathered: Gathered) -> FigureBlock:
    part = judged_name(gathered)
    caption = f"{capitalised(part)} accuracy of each cell"
    if gathered.comparison is not None:
        caption += ", with its 95 % interval"
    if gathered.n_seeds > 1:
        caption += "; the small points are the seeds"
    against = field_name(gathered.varied[0]) if len(gathered.varied) == 1 else "cell"
    alt = f"{capitalised(part)} accuracy against {against}; the numbers stand in the table of cells."
    return FigureBlock("accuracy", accuracy_figure(gathered), f"{caption}.", alt)


def _findings(gathered: Gathered) -> list[Block]:
    if gathered.comparison is None or len(gathered.complete) < 2:
        return []
    pairs, shown = len(gathered.comparison.pairs), len(shown_pairs(gathered))
    which = "" if shown == pairs else f" (the {shown} with the best cell, of {pairs})"
    text = f"*What these numbers carry.* [table:pairs] has the differences{which}. " + (
        f"With {pairs} pairs some would look different by chance, so p-values are corrected by Holm's rule; two cells "
        "are called different where the corrected p is below 0.05. The intervals are those of each pair alone."
        if pairs > 1
        else "Two cells are called different where p is below 0.05."
    )
    return [
        Paragraph(text),
        TableBlock(
            "pairs", pairs_table(gathered), f"Differences in {judged_name(gathered)} accuracy, in percentage points."
        ),
        Findings(gathered.findings),
    ]


def _curves(gathered: Gathered) -> list[Block]:
    shown = shown_cells(gathered)
    if not shown or max(len(history) for runs in shown for history in runs.histories) < 2:
        return []
    parts = tuple(part for part in ("train", "valid") if all(part in runs.parts for runs in shown))
    if gathered.judged == "test":
        parts = ("train", "test")
    names = listed([PART_NAMES[part] for part in parts])
    as_far = (
        "" if len({len(h) for runs in shown for h in runs.histories}) == 1 else ", as far as all seeds of a cell went"
    )
    seeds = "mean over the seeds, with a band from the least to the largest" if gathered.n_seeds > 1 else "one seed"
    which = (
        "" if len(shown) == len(gathered.complete) else f" Shown are the {len(shown)} cells with the highest accuracy."
    )
    blocks: list[Block] = [
        FigureBlock(
            f"curves-{measure}",
            cell_curves(gathered, measure, parts),
            f"{capitalised(measure)} of {names} after each epoch, {seeds}{as_far}; all panels have the same axes."
            f"{cut_off(gathered, measure)}{which}",
            f"A panel for each of {count_of(len(shown), 'cell')}: {measure} of {names} against the epoch.",
        )
        for measure in ("loss", "accuracy")
    ]
    sentences = tuple(one for runs in shown[:MAX_CURVE_CELLS] for one in runs.findings)
    if sentences and len(gathered.complete) > 1:
        blocks += [*prose("curve rules"), Findings(sentences)]
    return blocks


def cut_off(gathered: Gathered, measure: str = "loss") -> str:
    """What a caption says where a loss axis leaves out what lies above it."""
    if measure != "loss" or loss_top(shown_cells(gathered)) is None:
        return ""
    return " Losses above the axis are cut off; the numbers are in the figure's JSON."


def cell_words(runs: CellRuns) -> str:
    """A cell in a sentence."""
    return code(runs.cell.label) if runs.cell.settings else "the network"
