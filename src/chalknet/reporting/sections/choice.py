"""The choice, made on validation figures alone; how much it flatters; and the chosen configuration's test figure,
once.
"""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.formatting import capitalized, count_of, listed, percent, percent_interval, points
from chalknet.reporting.document import Block, Note, Paragraph, Section
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.comparison import configuration_phrase
from chalknet.reporting.tables import MONITOR_NAMES

MIN_OPTIMISM = 0.0005  # of accuracy: less rounds to 0.0 points
WINS_SHOWN = 0.05  # of the resamples: a configuration that wins less often is not named


def choice_section(report_data: ReportData, number: str, title: str = "The choice and its test figure") -> Section:
    """Which configuration validation chooses, by how much that figure flatters, and what the configuration does on
    the test part.
    """
    chosen = report_data.chosen
    if chosen is None:
        return Section(
            number, title, (Paragraph("No configuration has all its seeds done, so there is nothing to choose from."),)
        )
    if len(report_data.complete) == 1:
        return Section(
            number, title, (*_single(report_data, chosen), *epoch_choice((chosen,)), *_test(report_data, chosen))
        )
    if report_data.comparison_split != "valid":
        text = (
            "There is no validation part, so there is nothing to choose by. The configuration with the highest "
            "figure on the "
            "test part would be a choice that the same part cannot judge any more; none is made here."
        )
        return Section(number, title, (Note(text, "warning"),))
    blocks = (Paragraph(_choice(report_data, chosen)), *_flatters(report_data), *epoch_choice(report_data.complete))
    return Section(number, title, (*blocks, *_test(report_data, chosen)))


def _single(report_data: ReportData, runs: ConfigurationRuns) -> tuple[Block, ...]:
    if report_data.comparison_split != "valid":
        return ()
    found = report_data.accuracy_of(runs)
    shown = percent(runs.mean("valid", "accuracy"))
    ends = "" if found is None else f" (95 % interval {percent_interval(found.low, found.high)})"
    nothing = "no configuration was chosen" if runs.configuration.recipe.stopping.stop_early else "nothing was chosen"
    return (Paragraph(f"There is one configuration, so {nothing}. Its validation accuracy is {shown}{ends}."),)


def epoch_choice(configurations: Sequence[ConfigurationRuns]) -> tuple[Block, ...]:
    """That the validation part chose the epoch, where training could stop early; a choice flatters."""
    early = [
        runs.configuration.recipe.stopping for runs in configurations if runs.configuration.recipe.stopping.stop_early
    ]
    if not early:
        return ()
    monitor = listed(list(dict.fromkeys(MONITOR_NAMES[stopping.monitor] for stopping in early)), "or")
    which = (
        "each training"
        if len(early) == len(configurations)
        else "each training of a configuration that could stop early"
    )
    text = f"**The epoch was chosen on the validation part:** {which} "
    if any(stopping.restore_best for stopping in early):
        also = "" if len(configurations) == 1 else " by this too, which is not counted in above"
        text += (
            f"keeps the weights of the epoch at which the {monitor} was best. So its validation figures flatter{also}; "
            "its test figure does not, since no epoch was chosen by it."
        )
    else:
        text += (
            f"ended when the {monitor} had ceased to improve. So its validation figures are not those of samples that "
            "no choice has seen; its test figure is."
        )
    return (Note(text),)


def _choice(report_data: ReportData, chosen: ConfigurationRuns) -> str:
    found = report_data.accuracy_of(chosen)
    ends = "" if found is None else f" (95 % interval {percent_interval(found.low, found.high)})"
    text = (
        f"By the highest mean validation accuracy, {configuration_phrase(chosen)} is chosen from "
        f"{len(report_data.complete)} configurations: {percent(chosen.mean('valid', 'accuracy'))}{ends}."
    )
    if report_data.tied:
        same = listed([configuration_phrase(runs) for runs in report_data.tied])
        have = "has" if len(report_data.tied) == 1 else "have"
        text += f" {capitalized(same)} {have} the same mean; the first that was asked for is taken."
    alike = _no_significant_differences(report_data, chosen)
    if alike:
        text += (
            f" {capitalized(configuration_phrase(chosen))} cannot be told apart from {listed(alike)}: these numbers do "
            "not say that it is the better one."
        )
    return text


def _no_significant_differences(report_data: ReportData, chosen: ConfigurationRuns) -> list[str]:
    """The complete configurations whose difference from the chosen one is not called real."""
    if report_data.comparison is None:
        return []
    alike = {
        name
        for pair in report_data.comparison.pairs
        if not pair.significantly_different
        and chosen.name in (names := (pair.difference.first, pair.difference.second))
        for name in names
    }
    return [configuration_phrase(runs) for runs in report_data.complete if runs.name in alike and runs is not chosen]


def _flatters(report_data: ReportData) -> tuple[Block, ...]:
    if report_data.optimism is None:
        text = "How much the choice flatters cannot be told, since the seeds have validation samples of their own."
        return (Paragraph(text),)
    optimism = report_data.optimism
    shares = [
        f"{configuration_phrase(runs)} ({percent(share, 0)})"
        for runs in report_data.complete
        if (share := optimism.win_rate[runs.name]) >= WINS_SHOWN
    ]
    why = (
        "A figure by which something was chosen looks better than it is, because the luckiest configuration is the "
        "likeliest "
        "to be chosen. With seeds and validation samples resampled,"
    )
    if optimism.optimism < MIN_OPTIMISM:
        told = "the choice adds less than 0.05 points here."
    else:
        fairer = percent(optimism.corrected)
        told = f"the choice adds about {points(optimism.optimism)} points, so {fairer} is the fairer figure."
    text = f"{why} {told} {_resamples(shares)}"
    return (Paragraph(text),)


def _resamples(shares: list[str]) -> str:
    """Which configurations win how often."""
    return (
        "Nearly every resample chooses the same configuration."
        if len(shares) == 1
        else f"The resamples choose {listed(shares)}."
    )


def _test(report_data: ReportData, chosen: ConfigurationRuns) -> tuple[Block, ...]:
    """The test figure, reported here and nowhere else."""
    n_seeds = len(chosen.seeds)
    values = chosen.values("test", "accuracy")
    if not values:
        return (Paragraph("There is no test part, so nothing here was judged on samples that no choice has seen."),)
    mean = percent(chosen.mean("test", "accuracy"))
    n_images = report_data.sizes["test"]
    on = f"{count_of(n_images, 'test sample')}"
    ends = (
        ""
        if report_data.test is None
        else f", 95 % interval {percent_interval(report_data.test.low, report_data.test.high)}"
    )
    seeds = (
        ""
        if n_seeds == 1
        else f", mean of {count_of(n_seeds, 'seed')} ({listed([percent(value) for value in values])})"
    )
    seeds = seeds if n_seeds <= 5 else f", mean of {n_seeds} seeds ({percent(min(values))} to {percent(max(values))})"
    text = f"**Test accuracy: {mean}**{ends}; {configuration_phrase(chosen)}{seeds}, on {on}."
    if len(report_data.complete) > 1:
        text += " This is the one test figure that answers the question; the configuration was chosen without it."
    if report_data.test is None:
        text += " Each seed has test samples of its own, so no interval is given."
    return (Note(text),)
