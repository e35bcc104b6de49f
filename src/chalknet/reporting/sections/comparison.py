"""The comparison: a table a configuration, one that compares them, curves side by side, and what the numbers carry."""

from __future__ import annotations

from chalknet.formatting import capitalized, count_of, listed
from chalknet.reporting.document import Block, FigureBlock, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.figures import Figure
from chalknet.reporting.markup import code
from chalknet.reporting.report_data import ConfigurationRuns, ReportData, field_name
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_figures import (
    accuracy_figures,
    configuration_curves,
    is_grid,
    panel_title,
    shown_configurations,
)
from chalknet.reporting.study_tables import (
    configuration_text,
    configurations_table,
    grid_table,
    pairs_table,
    seeds_table,
    shown_pairs,
)
from chalknet.reporting.tables import SPLIT_NAMES

MAX_TABLES = 12  # a table a configuration, for no more configurations than these
MAX_CURVE_CONFIGURATIONS = 6  # whose curves are described in sentences


def comparison_section(
    report_data: ReportData, number: str, title: str, *, with_configuration_tables: bool = False
) -> Section:
    """All complete configurations beside each other, judged on the validation part."""
    if not report_data.complete:
        text = (
            "No configuration has all its seeds done yet, so nothing can be compared. The same command reports anew "
            "later."
        )
        return Section(number, title, (Note(text, "warning"),))
    blocks: list[Block] = []
    if with_configuration_tables:
        blocks += _configuration_tables(report_data)
    blocks += [Paragraph(_text(report_data)), _configurations(report_data)]
    if is_grid(report_data) and len(report_data.complete) > 2:
        blocks.append(TableBlock("grid", grid_table(report_data), _grid_caption(report_data)))
    blocks += _accuracy_blocks(report_data)
    blocks += _findings(report_data)
    blocks += _curves(report_data)
    return Section(number, title, tuple(blocks))


def comparison_split_name(report_data: ReportData) -> str:
    """The part that configurations are judged on, in words."""
    return SPLIT_NAMES.get(report_data.comparison_split, "training")


def _configuration_tables(report_data: ReportData) -> list[Block]:
    shown = report_data.complete[:MAX_TABLES]
    blocks = list(standard_text("configuration tables"))
    for i, runs in enumerate(shown, 1):
        name = (
            f"configuration-{configuration_text(report_data, runs)}"
            if report_data.varied == ("hidden",)
            else f"configuration-{i}"
        )
        blocks.append(TableBlock(name, seeds_table(runs), f"{panel_title(runs)}."))
    return blocks


def _text(report_data: ReportData) -> str:
    n_images = (
        len(report_data.complete[0].correct[report_data.comparison_split][0]) if report_data.comparison_split else 0
    )
    split = comparison_split_name(report_data)
    if report_data.comparison_split == "valid":
        text = f"[table:configurations] compares the configurations on the {n_images:,} validation samples."
    elif report_data.comparison_split == "test":
        text = (
            f"There is no validation part, so [table:configurations] compares the configurations on the {n_images:,} "
            "test "
            "samples. A configuration that is chosen by these figures looks better in them than it is."
        )
    else:
        return (
            "There is neither a validation nor a test part, so only training scores can be shown; they say nothing "
            "about new samples."
        )
    if report_data.comparison is None:
        return (
            f"{text} Each seed has a split of its own, so its {split} samples are others, and overlap with those of "
            "other seeds: no interval or test that assumes the same samples, or independent ones, applies, and none "
            "is given."
        )
    if report_data.n_seeds > 1:
        return (
            f"{text} An interval carries both the seeds and the finite number of samples: of intervals made in this "
            "way, about 95 in 100 contain the accuracy that is to be expected over all seeds and samples (two-way "
            "random effects; `docs/statistics.md`)."
        )
    return (
        f"{text} An interval is Wilson's; it carries the finite number of samples alone, not the seeds, of which there "
        "is one."
    )


def _configurations(report_data: ReportData) -> TableBlock:
    chosen = [i for i, runs in enumerate(report_data.complete) if runs is report_data.chosen]
    if len(report_data.complete) == 1 or report_data.comparison_split != "valid":
        chosen = []  # nothing was chosen
    mean = ", mean over the seeds" if report_data.n_seeds > 1 else ""
    split = capitalized(comparison_split_name(report_data))
    caption = f"{split} accuracy and loss of each configuration{mean}; seconds of one training"
    if chosen:
        caption += "; the highest mean is set off"
    return TableBlock("configurations", configurations_table(report_data), f"{caption}.", tuple(chosen))


def _grid_caption(report_data: ReportData) -> str:
    first, second = (field_name(name) for name in report_data.varied)
    where = f"{first} (down) and {second} (across)"
    return (
        f"Mean {comparison_split_name(report_data)} accuracy by {where}; a dash where a configuration is not complete."
    )


def _accuracy_blocks(report_data: ReportData) -> list[Block]:
    """The figures of accuracy by factor."""
    split = capitalized(comparison_split_name(report_data))
    interval = " with 95 % intervals" if report_data.comparison is not None else ""
    factors = listed([field_name(name) for name in report_data.varied])
    lines = {
        "accuracy": f"{split} accuracy by {factors}{interval}.",
        "accuracy-map": f"Mean {split.lower()} accuracy in percent by {factors}; darker is higher.",
        "trials": f"{split} accuracy of every configuration against each factor.",
    }
    if len(report_data.varied) == 1 and report_data.n_seeds > 1:
        lines["accuracy"] += " The small points are single seeds."
    alt = f"{split} accuracy against {factors}; the table of configurations has the numbers."
    figures = accuracy_figures(report_data)
    return [FigureBlock(name, figure, lines[name], alt) for name, figure in figures.items()]


def _findings(report_data: ReportData) -> list[Block]:
    if report_data.comparison is None or len(report_data.complete) < 2:
        return []
    pairs, shown = len(report_data.comparison.pairs), len(shown_pairs(report_data))
    which = "" if shown == pairs else f" (the {shown} with the best configuration, of {pairs})"
    text = f"*What these numbers carry.* [table:pairs] has the differences{which}. " + (
        f"With {pairs} pairs some would look different by chance, so p-values are corrected by Holm's rule; two "
        "configurations "
        "are called different where the corrected p is below 0.05. The intervals are those of each pair alone."
        if pairs > 1
        else "Two configurations are called different where p is below 0.05."
    )
    return [
        Paragraph(text),
        TableBlock(
            "pairs",
            pairs_table(report_data),
            f"Differences in {comparison_split_name(report_data)} accuracy, in percentage points.",
        ),
        Findings(report_data.findings),
    ]


def _curves(report_data: ReportData) -> list[Block]:
    shown = shown_configurations(report_data)
    if not shown or max(len(history) for runs in shown for history in runs.histories) < 2:
        return []
    splits = tuple(split for split in ("train", "valid") if all(split in runs.splits for runs in shown))
    if report_data.comparison_split == "test":
        splits = ("train", "test")
    names = listed([SPLIT_NAMES[split] for split in splits])
    as_far = (
        ""
        if len({len(h) for runs in shown for h in runs.histories}) == 1
        else ", as far as all seeds of a configuration went"
    )
    seeds = "mean over the seeds, with a band from the least to the largest" if report_data.n_seeds > 1 else "one seed"
    which = (
        ""
        if len(shown) == len(report_data.complete)
        else f" Shown are the {len(shown)} configurations with the highest accuracy."
    )
    figures = {measure: configuration_curves(report_data, measure, splits) for measure in ("loss", "accuracy")}
    blocks: list[Block] = [
        FigureBlock(
            f"curves-{measure}",
            figure,
            f"{capitalized(measure)} of {names} after each epoch, {seeds}{as_far}; all panels have the same axes."
            f"{cut_off(figure)}{which}",
            f"A panel for each of {count_of(len(shown), 'configuration')}: {measure} of {names} against the epoch.",
        )
        for measure, figure in figures.items()
    ]
    sentences = tuple(one for runs in shown[:MAX_CURVE_CONFIGURATIONS] for one in runs.findings)
    if sentences and len(report_data.complete) > 1:
        blocks += [*standard_text("curve rules"), Findings(sentences)]
    return blocks


def cut_off(figure: Figure) -> str:
    """What a caption says where an axis leaves out values."""
    return " Values beyond the axis are cut off; the figure's JSON has them." if figure.cuts_off() else ""


def configuration_phrase(runs: ConfigurationRuns) -> str:
    """A configuration in a sentence."""
    return code(runs.configuration.label) if runs.configuration.settings else "the network"
