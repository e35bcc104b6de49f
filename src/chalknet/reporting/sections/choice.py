"""The choice, made by validation accuracy alone; its bias; and the test accuracy of the chosen configuration, once."""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.formatting import capitalized, count_of, listed, percent, percent_interval
from chalknet.reporting.document import Block, Note, Paragraph, Section
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.phrases import (
    count_of_configurations,
    names_phrase,
    network_phrase,
    others_phrase,
    test_interval_text,
)
from chalknet.reporting.tables import MONITOR_NAMES
from chalknet.studies.findings import points

MIN_OPTIMISM = 0.0005  # a difference of accuracies; a smaller one rounds to 0.0 points
MIN_WINS = 0.05  # a configuration that wins in fewer resamples, as a fraction, is not named
MAX_SEEDS_LISTED = 5  # test accuracies of more seeds are a range


def choice_section(report_data: ReportData, number: str, title: str = "The choice and its test accuracy") -> Section:
    """Show which configuration validation chooses, how biased its accuracy is, and its test accuracy."""
    chosen = report_data.chosen
    if chosen is None:
        return Section(
            number,
            title,
            (Paragraph("No configuration has finished all its runs, so there is nothing to choose from."),),
        )
    if len(report_data.complete) == 1:
        return Section(
            number, title, (*_single(report_data, chosen), *epoch_choice((chosen,)), *_test(report_data, chosen))
        )
    if report_data.comparison_split != "valid":
        text = (
            "There are no validation samples to choose by. Choosing the configuration with the highest test accuracy "
            "would make that accuracy too high, so no choice is made here."
        )
        return Section(number, title, (Note(text, "warning"),))
    blocks = (Paragraph(_choice(report_data, chosen)), *_bias(report_data), *epoch_choice(report_data.complete))
    return Section(number, title, (*blocks, *_test(report_data, chosen)))


def _single(report_data: ReportData, runs: ConfigurationRuns) -> tuple[Block, ...]:
    if report_data.comparison_split != "valid":
        return ()
    shown = percent(runs.mean("valid", "accuracy"))
    rule = runs.configuration.recipe.stopping
    nothing = "no configuration was chosen" if rule.stop_early else "nothing was chosen"
    text = f"There is one configuration, so {nothing}. Its validation accuracy is {shown}{_limits(report_data, runs)}."
    return (Paragraph(text),)


def _limits(report_data: ReportData, runs: ConfigurationRuns) -> str:
    found = report_data.accuracy_of(runs)
    return "" if found is None else f" (95 % interval {percent_interval(found.low, found.high)})"


def epoch_choice(configurations: Sequence[ConfigurationRuns]) -> tuple[Block, ...]:
    """Say that the validation samples chose the epoch, where training could stop early."""
    rules = [runs.configuration.recipe.stopping for runs in configurations]
    early = [rule for rule in rules if rule.stop_early]
    if not early:
        return ()
    monitor = listed(list(dict.fromkeys(MONITOR_NAMES[rule.monitor] for rule in early)), "or")
    which = "each run" if len(early) == len(rules) else "each run that could stop early"
    text = f"**The epoch was chosen on the validation samples:** {which} "
    if any(rule.restore_best for rule in early):
        text += f"keeps the weights of the epoch at which the {monitor} was best. "
    else:
        text += f"ended when the {monitor} had stopped improving. "
    bias = "" if len(rules) == 1 else ", in addition to the bias of the choice above"
    text += f"Validation scores are therefore too good on average{bias}; test scores are not affected."
    return (Note(text),)


def _choice(report_data: ReportData, chosen: ConfigurationRuns) -> str:
    text = (
        f"{capitalized(network_phrase(chosen))} is chosen. Of the "
        f"{count_of_configurations(report_data, len(report_data.complete))} it has the highest mean validation "
        f"accuracy, {percent(chosen.mean('valid', 'accuracy'))}{_limits(report_data, chosen)}."
    )
    if report_data.tied:
        have = "has" if len(report_data.tied) == 1 else "have"
        text += f" {capitalized(_networks(report_data.tied))} {have} the same mean; the first one listed is taken."
    close = not_significantly_different(report_data, chosen)
    if close:
        text += (
            f" Its accuracy does not differ significantly from that with {others_phrase(report_data, close)}, so "
            "this study does not show that it is better."
        )
    return text


def _networks(some: Sequence[ConfigurationRuns]) -> str:
    return network_phrase(some[0]) if len(some) == 1 else f"the configurations with {names_phrase(some)}"


def not_significantly_different(report_data: ReportData, chosen: ConfigurationRuns) -> list[ConfigurationRuns]:
    """Return the complete configurations whose accuracy does not differ significantly from that of the chosen one."""
    if report_data.comparison is None:
        return []
    close = {
        name
        for pair in report_data.comparison.pairs
        if not pair.significantly_different
        and chosen.name in (names := (pair.difference.first, pair.difference.second))
        for name in names
    }
    return [runs for runs in report_data.complete if runs.name in close and runs is not chosen]


def _bias(report_data: ReportData) -> tuple[Block, ...]:
    if report_data.optimism is None:
        text = "The bias of the choice cannot be estimated, because the seeds have different validation samples."
        return (Paragraph(text),)
    optimism = report_data.optimism
    wins = [
        f"{names_phrase([runs])} ({percent(fraction, 0)})"
        for runs in report_data.complete
        if (fraction := optimism.win_rate[runs.name]) >= MIN_WINS
    ]
    text = (
        "The accuracy by which a configuration is chosen is too high on average, because luck helps the winner. "
        "Drawing seeds and validation samples again with replacement estimates this bias at "
    )
    if optimism.optimism < MIN_OPTIMISM:
        text += "less than 0.05 percentage points."
    else:
        text += f"{points(optimism.optimism)} percentage points, which leaves {percent(optimism.corrected)}."
    if len(wins) == 1:
        return (Paragraph(f"{text} Nearly all draws choose the same configuration."),)
    return (Paragraph(f"{text} The draws choose {listed(wins)}."),)


def _test(report_data: ReportData, chosen: ConfigurationRuns) -> tuple[Block, ...]:
    """Return the test accuracy, which a report shows for the chosen configuration only."""
    values = chosen.values("test", "accuracy")
    if not values:
        return (Paragraph("There are no test samples, so no accuracy here is free of the choices that were made."),)
    whose = f", for {network_phrase(chosen)}{_seeds(values)}" if chosen.configuration.is_labeled else _seeds(values)
    text = (
        f"**Test accuracy: {percent(chosen.mean('test', 'accuracy'))}**{test_interval_text(report_data)} on "
        f"{count_of(report_data.sizes['test'], 'test sample')}{whose}."
    )
    if len(report_data.complete) > 1:
        text += " The configuration was chosen without these samples."
    else:
        text += _overlap(report_data, chosen)
    if report_data.test is None:
        text += " There is no interval, because each seed has its own test samples."
    return (Note(text),)


def _overlap(report_data: ReportData, chosen: ConfigurationRuns) -> str:
    """Say whether the intervals of validation and test accuracy overlap, after a space; "" where one is unknown."""
    valid, test = report_data.accuracy_of(chosen), report_data.test
    if valid is None or test is None or report_data.comparison_split != "valid":
        return ""
    overlap = valid.low <= test.high and test.low <= valid.high
    verb = "overlaps" if overlap else "does not overlap"
    return f" The interval {verb} that of the validation accuracy."


def _seeds(values: Sequence[float]) -> str:
    if len(values) == 1:
        return ""
    if len(values) > MAX_SEEDS_LISTED:
        return f", mean of {len(values)} seeds ({percent(min(values))} to {percent(max(values))})"
    return f", mean of {len(values)} seeds ({listed([percent(value) for value in values])})"
