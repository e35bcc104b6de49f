"""Find columns that number the rows, which leak the class if the rows are sorted by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.tables.rows import column_bounds

MIN_ROWS = 10  # fewer rows can hold consecutive numbers by chance


def row_numbers(rows: NDArray[Any], names: Sequence[str] = ()) -> list[int]:
    """Return the columns of (N, I) rows that hold N consecutive integers in any order.

    A column without a name, or named "Unnamed: 0" as pandas does, may have gaps, because rows may
    have been removed later.

    Args:
        rows: (N, I) values.
        names: the names of the columns; () if unknown.
    """
    if len(rows) < MIN_ROWS:
        return []
    low, high = column_bounds(rows)
    is_nameless = np.array([not name or name.startswith("Unnamed: ") for name in names or ["x"] * rows.shape[1]])
    with np.errstate(over="ignore"):
        possible = np.flatnonzero((high - low == len(rows) - 1) | (is_nameless & (high - low >= len(rows))))
    return [at for at in possible.tolist() if _are_distinct_integers(rows[:, at])]


def _are_distinct_integers(column: NDArray[Any]) -> bool:
    """Return whether a column holds different integers."""
    return bool((column == np.floor(column)).all()) and len(np.unique(column)) == len(column)
