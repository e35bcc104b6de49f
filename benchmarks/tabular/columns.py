"""Prepare the columns of a table for methods that do not take a polars frame with texts and dates."""

from __future__ import annotations

from typing import Any

import numpy as np

# Category of missing texts.
MISSING = "(missing)"
# Categories of a column that get an input of their own, the most frequent ones.
MAX_DUMMIES = 50
# Categories that scikit-learn's gradient boosting can tell apart in a column; the others are missing values.
MAX_CATEGORIES = 254
SECONDS_PER_DAY = 86_400


class Columns:
    """The numbers and categories of a table, with what is learned from its training part.

    Dates become four numbers: days since 1970, month, weekday and hour. Booleans become 0 and 1. A missing
    text is a category of its own. A category that the training part lacks is a missing value (`frame`) or
    has zeros in all its inputs (`matrix`).
    """

    def __init__(self, train: Any) -> None:
        """Learn categories, medians, means and standard deviations.

        Args:
            train: polars frame of the training part without its label.
        """
        table = without_dates(train)
        self.categories: dict[str, list[str]] = {}
        self.medians: dict[str, float] = {}
        for name in table.columns:
            if is_text(table[name]):
                counts = (
                    table[name]
                    .fill_null(MISSING)
                    .value_counts(sort=False)
                    .sort("count", name, descending=[True, False])
                )
                self.categories[name] = counts[name].to_list()
            else:
                median = table[name].cast(float).median()
                self.medians[name] = 0.0 if median is None else float(median)
        numbers = self._numbers(table)
        self.means, spread = numbers.mean(axis=0), numbers.std(axis=0)
        self.spreads = np.where(spread > 0, spread, 1.0)

    def _numbers(self, table: Any) -> Any:
        """Return the numbers, (N, number of such columns), with medians for missing ones."""
        filled = [table[name].cast(float).fill_null(median).to_numpy() for name, median in self.medians.items()]
        return np.stack(filled, axis=1) if filled else np.empty((len(table), 0))

    def matrix(self, rows: Any) -> Any:
        """Return scaled numbers and an input of 0 or 1 for each frequent category: (N, I) floats."""
        table = without_dates(rows)
        blocks = [(self._numbers(table) - self.means) / self.spreads]
        for name, categories in self.categories.items():
            kept = np.array(categories[:MAX_DUMMIES], dtype=object)
            blocks.append((table[name].fill_null(MISSING).to_numpy()[:, None] == kept).astype(float))
        return np.concatenate(blocks, axis=1)

    def frame(self, rows: Any, *, fill: bool = False, max_categories: int | None = None) -> Any:
        """Return a pandas frame with columns of dtype category.

        Args:
            rows: polars frame without label.
            fill: whether missing numbers are filled with the median of the training part.
            max_categories: the number of categories of a column that are kept, the most frequent ones.
        """
        import pandas as pd

        table, made = without_dates(rows), {}
        for name in table.columns:
            if name in self.categories:
                kept = self.categories[name][:max_categories]
                known = set(kept)
                texts = [text if text in known else None for text in table[name].fill_null(MISSING)]
                made[name] = pd.Categorical(texts, categories=kept)
            else:
                numbers = table[name].cast(float).to_numpy()
                made[name] = np.where(np.isnan(numbers), self.medians[name], numbers) if fill else numbers
        return pd.DataFrame(made)


def is_text(column: Any) -> bool:
    """Whether a polars series has texts."""
    import polars as pl

    return bool(column.dtype == pl.String)


def without_dates(table: Any) -> Any:
    """Return a polars frame in which numbers replace dates and booleans."""
    import polars as pl

    made = []
    for name in table.columns:
        column = table[name]
        if column.dtype.is_temporal():
            instant = column.cast(pl.Datetime("us"))
            days = instant.dt.epoch("s") / SECONDS_PER_DAY
            parts = {
                "days": days,
                "month": instant.dt.month(),
                "weekday": instant.dt.weekday(),
                "hour": instant.dt.hour(),
            }
            made += [part.cast(pl.Float64).alias(f"{name} {unit}") for unit, part in parts.items()]
        else:
            made.append(column.cast(pl.Int64) if column.dtype == pl.Boolean else column)
    return pl.DataFrame(made)
