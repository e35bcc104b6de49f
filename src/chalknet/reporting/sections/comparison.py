"""The comparison: a table per configuration, one that compares them, what differs significantly, and the curves."""

from __future__ import annotations

from collections.abc import Collection

from chalknet.formatting import capitalized, count_of, listed
from chalknet.reporting.configuration_text import field_name
from chalknet.reporting.document import Block, FigureBlock, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.figures import Figure
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.curves import curve_blocks
from chalknet.reporting.sections.factors import factor_blocks
from chalknet.reporting.sections.phrases import comparison_split_name
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_figures import (
    accuracy_figures,
    configuration_curves,
    is_grid,
    marks_text,
    panel_title,
    shown_configurations,
)
from chalknet.reporting.study_tables import (
    configuration_text,
    configurations_table,
    grid_table,
    pairs_table,
    seeds_head,
    seeds_table,
    shown_pairs,
)
from chalknet.reporting.tables import MONITOR_NAMES, SPLIT_NAMES
from chalknet.studies.compare import Comparison

MAX_TABLES = 12  # one table per configuration for at most so many configurations
MAX_CURVE_ROWS = 12  # rows of the table about the learning curves


def comparison_section(
    report_data: ReportData, number: str, title: str, *, with_configuration_tables: bool = False
) -> Section:
    """Show all complete configurations side by side, measured on the validation samples where there are some."""
    if not report_data.complete:
        text = (
            "No configuration has finished all its runs yet, so there is nothing to compare. Run the study again to "
            "finish it, and then make this document again."
        )
        return Section(number, title, (Note(text, "warning"),))
    blocks: list[Block] = []
    if with_configuration_tables:
        blocks += _configuration_tables(report_data)
    blocks += [Paragraph(_text(report_data)), _configurations(report_data)]
    if is_grid(report_data) and len(report_data.complete) > 2:
        blocks.append(TableBlock("grid", grid_table(report_data), _grid_caption(report_data)))
    blocks += factor_blocks(report_data)
    blocks += _accuracy_blocks(report_data)
    blocks += _findings(report_data)
    blocks += _curves(report_data)
    return Section(number, title, tuple(blocks))


def cut_off(figure: Figure) -> str:
    """Return what a caption says where an axis leaves out values."""
    return " Values beyond the axis are cut off; the JSON file of the figure has them." if figure.cuts_off() else ""


def _configuration_tables(report_data: ReportData) -> list[Block]:
    shown = report_data.complete[:MAX_TABLES]
    blocks = list(standard_text("configuration tables"))
    for i, runs in enumerate(shown, 1):
        name = (
            f"configuration-{configuration_text(report_data, runs).replace(',', '')}"
            if report_data.varied == ("hidden",)
            else f"configuration-{i}"
        )
        blocks.append(TableBlock(name, seeds_table(runs), f"{panel_title(runs)}."))
    return blocks


def _text(report_data: ReportData) -> str:
    split = comparison_split_name(report_data)
    if not report_data.comparison_split:
        return (
            "There are neither validation nor test samples, so only training scores can be shown. They say nothing "
            "about new samples."
        )
    n_images = len(report_data.complete[0].correct[report_data.comparison_split][0])
    text = f"[table:configurations] compares the configurations on the {n_images:,} {split} samples."
    if split == "test":
        text = (
            f"There are no validation samples. {text} If you choose a configuration by these accuracies, its own "
            "accuracy looks better than it is."
        )
    if report_data.comparison is None:
        return (
            f"{text} Each seed has its own split, so the {split} samples of the seeds differ and overlap. The usual "
            "intervals and tests assume the same samples or independent ones. Neither holds here, so none is given."
        )
    return f"{text} {interval_text([report_data.n_seeds], 'configuration')}"


def interval_text(n_seeds: Collection[int], noun: str) -> str:
    """Return what the intervals of accuracies account for.

    Args:
        n_seeds: the numbers of seeds of what is compared.
        noun: what is compared, "configuration" or "model".
    """
    of_one = "Wilson's intervals, of a single seed," if max(n_seeds) > 1 else "The 95 % intervals (Wilson)"
    single = (
        f"{of_one} account for the finite number of samples. They do not account for the random seed, since "
        f"{'such a' if max(n_seeds) > 1 else 'each'} {noun} has one."
    )
    several = (
        "The 95 % intervals account for both the random seeds and the finite number of samples: they contain the "
        "accuracy expected over all seeds and samples in about 95 of 100 studies like this one (two-way random "
        "effects)."
    )
    return " ".join(([several] if max(n_seeds) > 1 else []) + ([single] if min(n_seeds) == 1 else []))


def _configurations(report_data: ReportData) -> TableBlock:
    chosen = [i for i, runs in enumerate(report_data.complete) if runs is report_data.chosen]
    if len(report_data.complete) == 1 or report_data.comparison_split != "valid":
        chosen = []  # nothing was chosen
    mean = ", means over the seeds" if report_data.n_seeds > 1 else ""
    split = comparison_split_name(report_data)
    measured = (
        "Accuracy and loss on the training samples"
        if split == "training"
        else (f"{capitalized(split)} accuracy, {split} loss and training accuracy")
    )
    caption = f"{measured} of each configuration{mean}, and the time of one run"
    if any(runs.configuration.recipe.stopping.stop_early for runs in report_data.complete):
        caption += ", all at the epoch that each run kept"
    if chosen:
        caption += f". The highest mean {split} accuracy is in bold"
    if report_data.n_seeds > 1:
        caption += f". *{capitalized(seeds_head(report_data.n_seeds))}*: {split} accuracy in percent"
    return TableBlock("configurations", configurations_table(report_data), f"{caption}.", tuple(chosen))


def _grid_caption(report_data: ReportData) -> str:
    first, second = (field_name(name) for name in report_data.varied)
    where = f"{first} (rows) and {second} (columns)"
    complete = len(report_data.complete) == len(report_data.results.configurations)
    dashes = "" if complete else " A dash marks incomplete configurations."
    return f"Mean {comparison_split_name(report_data)} accuracy by {where}.{dashes}"


def _accuracy_blocks(report_data: ReportData) -> list[Block]:
    """Return the figures of accuracy by factor."""
    split = capitalized(comparison_split_name(report_data))
    interval = " with 95 % intervals" if report_data.comparison is not None else ""
    factors = listed([field_name(name) for name in report_data.varied])
    if report_data.is_named:
        factors = "configuration"
    captions = {
        "accuracy": f"{split} accuracy by {factors}{interval}.",
        "accuracy-map": f"Mean {split.lower()} accuracy in percent by {factors}; darker is higher.",
        "trials": f"{split} accuracy of every configuration against each factor.",
    }
    if (len(report_data.varied) == 1 or report_data.is_named) and report_data.n_seeds > 1:
        captions["accuracy"] += " The small points are single seeds."
    alt = f"{split} accuracy against {factors}; the table of configurations has the numbers."
    figures = accuracy_figures(report_data)
    return [FigureBlock(name, figure, captions[name], alt) for name, figure in figures.items()]


def _findings(report_data: ReportData) -> list[Block]:
    if report_data.comparison is None or len(report_data.complete) < 2:
        return []
    text = significance_text(
        report_data.comparison, "configuration", len(report_data.complete) * (report_data.n_seeds == 1)
    )
    if sum("seeds per configuration" in finding for finding in report_data.findings) > 1:
        text += " The pairs need different numbers of seeds, because their accuracies vary differently over the seeds."
    caption = (
        f"Differences in {comparison_split_name(report_data)} accuracy, in percentage points, from accuracies that are "
        "not rounded."
    )
    return [
        Paragraph(text),
        TableBlock("pairs", pairs_table(report_data), caption),
        Findings(report_data.findings),
    ]


def significance_text(comparison: Comparison, noun: str, n_single: int) -> str:
    """Return how [table:pairs] decides which differences are significant.

    Args:
        comparison: the pairs.
        noun: what is compared, "configuration" or "model".
        n_single: how many of them are a single run whose predictions are right or wrong.
    """
    pairs, shown = len(comparison.pairs), len(shown_pairs(comparison))
    which = "" if shown == pairs else f" of the best {noun} from {shown} others"
    test = f"the t test that belongs to {'each' if pairs > 1 else 'the'} interval"
    if n_single == len(comparison.configurations):
        test = "McNemar's exact test"
    elif n_single > 1:
        test += f", or from McNemar's exact test where both {noun}s are single runs"
    if pairs == 1:
        return (
            f"*Is the difference significant?* The p-value is from {test}. The difference is significant if p < 0.05 "
            "([table:pairs])."
        )
    return (
        f"*Which differences are significant?* [table:pairs] lists the differences{which}, with p-values from "
        f"{test}. Among {pairs} pairs, some could look different by chance. Holm's rule therefore makes the "
        "p-values larger. It can give several pairs the same corrected p-value. A difference is significant if its "
        "corrected p-value is below 0.05. Each interval is that of its own pair, without correction."
    )


def _curves(report_data: ReportData) -> list[Block]:
    shown = shown_configurations(report_data)
    if not shown or max(len(history) for runs in shown for history in runs.histories) < 2:
        return []
    splits = tuple(split for split in ("train", "valid") if all(split in runs.splits for runs in shown))
    if report_data.comparison_split == "test":
        splits = ("train", "test")
    names = listed([SPLIT_NAMES[split] for split in splits])
    lengths = {len(history) for runs in shown for history in runs.histories}
    as_far = "" if len(lengths) == 1 else ", up to the epoch that all its seeds reached"
    seeds = "mean over the seeds, with a band from the lowest to the highest" if report_data.n_seeds > 1 else "one seed"
    which = (
        ""
        if len(shown) == len(report_data.complete)
        else f" The {len(shown)} configurations with the highest accuracy are shown."
    )
    monitors = dict.fromkeys(MONITOR_NAMES[runs.stopping.monitor] for runs in shown if runs.stopping is not None)
    best_by = listed(list(monitors), "or")
    figures = {measure: configuration_curves(report_data, measure, splits) for measure in ("loss", "accuracy")}
    blocks: list[Block] = [
        FigureBlock(
            f"curves-{measure}",
            figure,
            f"{capitalized(measure)} of the {names} samples after each epoch, {seeds}{as_far}. All panels have the "
            "same "
            f"axes.{marks_text(figure, best_by)}{cut_off(figure)}{which}",
            f"A panel for each of {count_of(len(shown), 'configuration')}: {measure} of {names} against the epoch.",
        )
        for measure, figure in figures.items()
    ]
    if len(report_data.complete) > 1:
        blocks += curve_blocks(report_data, shown[:MAX_CURVE_ROWS])
    return blocks
