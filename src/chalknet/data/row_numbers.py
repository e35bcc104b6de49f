"""Columns that number the rows: no measurement, and a leak where the rows are sorted by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_ROWS = 10  # fewer can be numbers in order by chance
NUMBERS_ROWS = "numbers the rows, and is learned from like any other column."


def row_numbers(rows: NDArray[Any], names: Sequence[str] = ()) -> list[int]:
    """Return the columns of (N, I) rows that hold N integers without a gap, in any order.

    A column without a name, or that pandas calls "Unnamed: 0", may have gaps: rows were chosen after it was made.
    """
    if len(rows) < MIN_ROWS:
        return []
    low, high = rows.min(axis=0), rows.max(axis=0)
    is_nameless = np.array([not name or name.startswith("Unnamed: ") for name in names or ["x"] * rows.shape[1]])
    with np.errstate(over="ignore"):
        possible = np.flatnonzero((high - low == len(rows) - 1) | (is_nameless & (high - low >= len(rows))))
    return [at for at in possible.tolist() if _are_distinct_whole(rows[:, at])]


def _are_distinct_whole(column: NDArray[Any]) -> bool:
    return bool((column == np.floor(column)).all()) and len(np.unique(column)) == len(column)
