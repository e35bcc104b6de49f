"""Statistics of single runs: Wilson's interval, McNemar's exact test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from chalknet.errors import ConfigError, ShapeError
from chalknet.studies.correctness import FloatArray


@dataclass(frozen=True)
class Interval:
    """An estimate with limits that contain the true value in a fraction `level` of repetitions.

    Attributes:
        value: the estimate.
        low: lower limit.
        high: upper limit.
        level: confidence level, in (0, 1).
        variance_sources: what differs between these repetitions, such as "seeds and images";
            "nothing" if the limits are nan.
    """

    value: float
    low: float
    high: float
    level: float
    variance_sources: str = ""


@dataclass(frozen=True)
class McNemar:
    """The comparison of two runs on the same images.

    Attributes:
        only_first: number of images that only the first run classifies correctly.
        only_second: number of images that only the second run classifies correctly.
        p_value: two-sided and exact, of the hypothesis that both counts have the same expectation.
    """

    only_first: int
    only_second: int
    p_value: float


def wilson(n_correct: float, n_images: int, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion, such as the accuracy of one run.

        (p + z^2/2M -+ z sqrt(p(1-p)/M + z^2/4M^2)) / (1 + z^2/M),   p = n_correct / M

    z is the (1+level)/2 quantile of the normal distribution.

    Args:
        n_correct: number of correct predictions, 0 to n_images.
        n_images: M >= 1.
        level: confidence level, in (0, 1).

    Returns:
        Interval in [0, 1]; its value is p.

    Raises:
        ConfigError: a count or the level is out of range.

    Source:
        Wilson, Journal of the American Statistical Association 22 (1927).
        Compared with others: Brown, Cai and DasGupta, Statistical Science 16 (2001).
    """
    if n_images < 1 or not 0 <= n_correct <= n_images:
        raise ConfigError(f"n_correct must lie in 0..n_images and n_images be >= 1, got {n_correct} of {n_images}.")
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must be a number between 0 and 1, such as 0.95, got {level!r}.")
    p = n_correct / n_images
    low, high = wilson_limits(np.float64(p), n_images, level)
    return Interval(p, float(low), float(high), level)


def wilson_limits(p: Any, n_images: int, level: float) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's limits for an array of proportions of n_images images each; see `wilson`."""
    p = np.asarray(p, dtype=np.float64)
    k = float(special.ndtri((1.0 + level) / 2.0)) ** 2 / n_images
    middle = (p + k / 2.0) / (1.0 + k)
    half = np.sqrt(k * p * (1.0 - p) + k**2 / 4.0) / (1.0 + k)
    # At p = 0 and p = 1 the limit is exactly p; the formula gives it with a rounding error.
    return np.where(p == 0.0, 0.0, middle - half), np.where(p == 1.0, 1.0, middle + half)


def mcnemar(first: Any, second: Any) -> McNemar:
    """Return the exact McNemar test of whether two runs are correct equally often.

        p = min(1, 2 P(X <= min(b, c))),   X ~ Binomial(b + c, 1/2)

    b images are correct in the first run only, c in the second only. If the runs never differ, p is
    1.

    Args:
        first: (M,) bool, or 0 and 1, whether the first run is correct.
        second: (M,) the same for the second run, with images in the same order.

    Raises:
        ShapeError: the shapes differ or are not (M,), or a value is not 0 or 1.

    Source:
        McNemar, Psychometrika 12 (1947).
        The exact form: Agresti, Categorical Data Analysis (2013), section 11.1.1.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ShapeError(f"both runs must be (M,) on the same images, got {first.shape} and {second.shape}.")
    if not (np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all()):
        raise ShapeError("values must be right or wrong (bool, or 0 and 1).")
    only_first, only_second = int(np.sum(first > second)), int(np.sum(second > first))
    tail = float(special.bdtr(min(only_first, only_second), only_first + only_second, 0.5))
    return McNemar(only_first, only_second, min(1.0, 2.0 * tail))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values corrected for their number by Holm's step-down rule.

        sorted p_(1) <= ... <= p_(n):   corrected_(i) = min(1, max_{j <= i} (n - j + 1) p_(j))

    The chance of any false rejection at level alpha is at most alpha.

    Args:
        p_values: any number of p-values in [0, 1].

    Returns:
        The corrected p-values in the same order.

    Raises:
        ConfigError: a p-value is outside [0, 1].

    Source:
        Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not np.all((values >= 0.0) & (values <= 1.0)):
        raise ConfigError("p-values must lie in [0, 1].")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return tuple(float(value) for value in corrected)
