"""Phrases that several chapters share: which network, which of several configurations, measured on what."""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.formatting import count_of, fixed, percent_interval
from chalknet.reporting.configuration_text import join_configurations
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.tables import SPLIT_NAMES


def network_phrase(runs: ConfigurationRuns) -> str:
    """Return "the network with 200 hidden units", "the configuration with learning rate 0.1" or "the network"."""
    names = [name for name, _ in runs.configuration.settings]
    if not runs.configuration.is_labeled:
        return "the network"
    return f"the {'network' if names == ['hidden'] else 'configuration'} with {names_phrase([runs])}"


def count_of_configurations(report_data: ReportData, n: int) -> str:
    """Return "4 widths" where the hidden units alone vary, else "4 configurations"."""
    return count_of(n, "width" if report_data.varied == ("hidden",) else "configuration")


def others_phrase(report_data: ReportData, some: Sequence[ConfigurationRuns]) -> str:
    """Return "any other width" if some are all configurations but one, else their names joined with "or"."""
    if 1 < len(some) == len(report_data.complete) - 1:
        return f"any other {'width' if report_data.varied == ('hidden',) else 'configuration'}"
    return names_phrase(some, "or")


def names_phrase(runs: Sequence[ConfigurationRuns], conjunction: str = "and") -> str:
    """Return the names of some configurations as one phrase: "100, 500 and 1,000 hidden units"."""
    return escape(join_configurations([one.name for one in runs], conjunction))


def seeds_noun(report_data: ReportData) -> str:
    """Return "seeds per width" where the hidden units alone vary, else "seeds per configuration", or "seeds"."""
    if len(report_data.results.configurations) == 1:
        return "seeds"
    return f"seeds per {'width' if report_data.varied == ('hidden',) else 'configuration'}"


def comparison_split_name(report_data: ReportData) -> str:
    """Return the split that configurations are compared on, in words."""
    return SPLIT_NAMES.get(report_data.comparison_split, "training")


def longer_training_text(some: Sequence[ConfigurationRuns]) -> str:
    """Return "longer training may improve it", or that a longer schedule might where the learning rate falls."""
    if any(runs.configuration.recipe.schedule.schedule != "constant" for runs in some):
        return "a longer schedule might improve it"
    return "longer training may improve it"


def test_interval_text(report_data: ReportData) -> str:
    """Return " (95 % interval 94.0 to 95.6 %)" for the test accuracy, with the effect of repeated samples; or ""."""
    test = report_data.test
    if test is None:
        return ""
    text = f"95 % interval {percent_interval(test.low, test.high)}"
    repeats = [one for one in (report_data.audit.findings if report_data.audit else ()) if one.code == "test_repeats"]
    if repeats and (factor := fixed(1 + (repeats[0].cost or 0.0), 2)) != "1.00":
        text += f", up to {factor} times as wide because some test samples are identical"
    return f" ({text})"
