"""What needs no seeds: Wilson's interval of one proportion, McNemar's exact test of two runs, Holm's correction."""

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
    """An estimate between two limits that cover the true value in `level` of all repetitions.

    Attributes:
        variance_sources: what varies between these repetitions, such as "seeds and images"; "nothing" where the limits
            are nan.
    """

    value: float
    low: float
    high: float
    level: float
    variance_sources: str = ""


@dataclass(frozen=True)
class McNemar:
    """Two runs on the same images.

    Attributes:
        only_first, only_second: images that only this run has right.
        p_value: two-sided and exact, of the hypothesis that both counts have the same expectation.
    """

    only_first: int
    only_second: int
    p_value: float


def wilson(n_correct: float, n_images: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion: what one run on a finite set of images says of all such images.

        (p + z^2/2M -+ z sqrt(p(1-p)/M + z^2/4M^2)) / (1 + z^2/M),   p = n_correct / M

    with z the (1+level)/2 quantile of the normal distribution.

    Args:
        n_correct: right answers, 0 to n_images; n_images: M >= 1; level: in (0, 1).
    Returns:
        Interval in [0, 1]; value is p.
    Raises:
        ConfigError: a count or the level out of range.
    Source: Wilson, Journal of the American Statistical Association 22 (1927); Brown, Cai and DasGupta, Statistical
        Science 16 (2001), who compare it with others.
    """
    if n_images < 1 or not 0 <= n_correct <= n_images:
        raise ConfigError(f"n_correct must lie in 0..n_images and n_images be >= 1, got {n_correct} of {n_images}.")
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must be a number between 0 and 1, such as 0.95, got {level!r}.")
    p = n_correct / n_images
    low, high = wilson_limits(np.float64(p), n_images, level)
    return Interval(p, float(low), float(high), level)


def wilson_limits(p: Any, n_images: int, level: float) -> tuple[FloatArray, FloatArray]:
    """Wilson's limits for an array of proportions p of n_images images each; the formula stands in `wilson`."""
    p = np.asarray(p, dtype=np.float64)
    k = float(special.ndtri((1.0 + level) / 2.0)) ** 2 / n_images
    middle = (p + k / 2.0) / (1.0 + k)
    half = np.sqrt(k * p * (1.0 - p) + k**2 / 4.0) / (1.0 + k)
    # at 0 and at 1 the limit is exactly p, but for rounding
    return np.where(p == 0.0, 0.0, middle - half), np.where(p == 1.0, 1.0, middle + half)


def mcnemar(first: Any, second: Any) -> McNemar:
    """The exact McNemar test: are two runs right equally often, judged by the images on which they differ?

        p = min(1, 2 P(X <= min(b, c))),   X ~ Binomial(b + c, 1/2)

    b images are right in the first run only, c in the second only. Where they never differ, p is 1.

    Args:
        first, second: (M,) bool, or 0 and 1: right or wrong on the same images in the same order.
    Raises:
        ShapeError: the shapes differ or are not (M,), or a value is neither right nor wrong.
    Source: McNemar, Psychometrika 12 (1947); the exact form: Agresti, Categorical Data Analysis (2013), section 11.1.1.
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
    """p-values corrected for their number by Holm's step-down rule: the chance of any false finding stays below alpha.

        sorted p_(1) <= ... <= p_(n):   corrected_(i) = min(1, max_{j <= i} (n - j + 1) p_(j))

    Args:
        p_values: any number of them, in [0, 1].
    Returns:
        The corrected ones, in the order they came.
    Raises:
        ConfigError: a p-value outside [0, 1].
    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not np.all((values >= 0.0) & (values <= 1.0)):
        raise ConfigError("p-values must lie in [0, 1].")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return tuple(float(value) for value in corrected)
