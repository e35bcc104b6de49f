"""Ranks of methods over tables, and their critical difference."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata, studentized_range

LEVEL = 0.95


def ranks_of(scores: Any, sign: int) -> Any:
    """Return the ranks of methods on each table: (T, M) floats, 1 for the best.

    Equal scores share the mean of their ranks. NaN is a failed run and ranks last.

    Args:
        scores: (T, M) means over seeds.
        sign: +1 if more is better, -1 if less is.
    """
    worst_last = np.where(np.isnan(scores), np.inf, -sign * np.asarray(scores, dtype=float))
    return rankdata(worst_last, axis=1)


def critical_difference(n_methods: int, n_tables: int, level: float = LEVEL) -> float:
    """Return the least difference of two mean ranks that the Nemenyi test calls significant.

    CD = q sqrt(M (M + 1) / (6 T)), where q is the quantile of the studentized range of M values with
    infinitely many degrees of freedom, divided by sqrt(2).

    Source: Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), section 3.2.2.
    """
    q = studentized_range.ppf(level, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_tables)))
