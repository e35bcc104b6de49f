"""What each of two factors does on average, and whether its effect depends on the other factor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from chalknet.formatting import listed, percent, points
from chalknet.reporting.configuration_text import setting_words
from chalknet.reporting.document import Block, Paragraph
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.phrases import comparison_split_name

MAX_LISTED = 4  # values of a factor that are all named; of more, those with the lowest and the highest mean


def factor_blocks(report_data: ReportData) -> list[Block]:
    """Describe both factors of a complete grid; nothing for any other study."""
    if len(report_data.varied) != 2 or report_data.results.spec.search is not None or report_data.is_named:
        return []
    first, second = report_data.varied
    split = report_data.comparison_split or "train"
    means = {}
    for runs in report_data.complete:
        settings = dict(runs.configuration.settings)
        means[settings.get(first), settings.get(second)] = runs.mean(split, "accuracy")
    rows, columns = (list(dict.fromkeys(pair[at] for pair in means)) for at in (0, 1))
    if min(len(rows), len(columns)) < 2 or set(means) != set(product(rows, columns)):
        return []
    by_row = {row: sum(means[row, column] for column in columns) / len(columns) for row in rows}
    by_column = {column: sum(means[row, column] for row in rows) / len(rows) for column in columns}
    changes = {column: means[rows[-1], column] - means[rows[0], column] for column in columns}
    text = (
        f"*What does each factor do?* Averaged over the other factor, {comparison_split_name(report_data)} accuracy is "
        f"{_averages(first, by_row)}, and {_averages(second, by_column)}. From {_words(first, rows[0])} to "
        f"{_words(first, rows[-1])} it changes by {_changes(second, changes)}. If these changes are equal, the factors "
        "do not interact. These are means of the runs; tests of single differences follow."
    )
    return [Paragraph(text)]


def _averages(name: str, means: dict[Any, float]) -> str:
    """Return "91.2 % with 16 hidden units and 93.0 % with 32 hidden units"."""
    if len(means) <= MAX_LISTED:
        return listed([f"{percent(mean)} with {_words(name, value)}" for value, mean in means.items()])
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    return (
        f"between {percent(means[low])} with {_words(name, low)} and {percent(means[high])} with {_words(name, high)}"
    )


def _changes(name: str, changes: dict[Any, float]) -> str:
    shown: Sequence[Any] = list(changes) if len(changes) <= MAX_LISTED else sorted(changes, key=changes.__getitem__)
    some = shown if len(shown) <= MAX_LISTED else (shown[0], shown[-1])
    joined = listed([f"{points(changes[value])} points with {_words(name, value)}" for value in some])
    return joined if len(shown) <= MAX_LISTED else f"between {joined}"


def _words(name: str, value: Any) -> str:
    return escape(setting_words(name, value))
