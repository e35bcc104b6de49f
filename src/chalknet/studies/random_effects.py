"""Two-way random effects: how much of a mean varies with the seeds, with the images, and the rest.

    value_si = mean + seed_s + image_i + rest_si,    S seeds, M images, one value per pair

    mean squares:  MS_seed  = M sum_s (row mean - mean)^2 / (S-1)        expectation  var_rest + M var_seed
                   MS_image = S sum_i (column mean - mean)^2 / (M-1)                  var_rest + S var_image
                   MS_rest  = remaining sum of squares / ((S-1)(M-1))                 var_rest
    variance of the mean:  var_seed/S + var_image/M + var_rest/(SM),  estimated by (MS_seed + MS_image - MS_rest)/(SM)

Arrays may have leading axes, with one element per study, so that thousands of simulated studies are
computed at once. docs/statistics.md has the formulas and the reasons for the constants.

Source: Searle, Casella and McCulloch, Variance Components (1992), section 4.4. For readers x cases,
which are seeds x images here: Roe and Metz, Academic Radiology 4 (1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from chalknet.errors import ConfigError, ShapeError
from chalknet.studies.correctness import FloatArray
from chalknet.studies.intervals import Interval, wilson_limits

# Two constants of `variance_of_mean`. They were chosen by simulation with normal effects, so that 95 %
# intervals cover 93 to 97 % with three seeds and come closer to 95 % with more, whatever the
# variance components of seeds, images and residual are.
MAX_REDUCTION = 0.75  # at most this fraction of the residual part is subtracted
SEED_DF_FRACTION = 0.5  # this fraction of the seeds' degrees of freedom counts in the formula of df


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """The analysis of variance of S x M values.

    Attributes:
        n_seeds: S.
        n_images: M.
        mean: (...) float64, () for one study, as are the others.
        seeds: MS_seed; nan with one seed.
        images: MS_image.
        rest: MS_rest; nan with one seed.
    """

    n_seeds: int
    n_images: int
    mean: FloatArray
    seeds: FloatArray
    images: FloatArray
    rest: FloatArray


@dataclass(frozen=True, eq=False)
class Spread:
    """The estimated variance of a mean and its degrees of freedom.

    Attributes:
        variance: float64 array.
        df: float64 array of the same shape.
    """

    variance: FloatArray
    df: FloatArray


def mean_squares(values: FloatArray) -> MeanSquares:
    """Return the mean squares of seeds, images and rest, by the formulas at the top of this file.

    Args:
        values: (..., S, M) float64, S >= 1 seeds, M >= 2 images.

    Raises:
        ShapeError: the array has fewer than two axes, no seed, or fewer than two images.
    """
    if values.ndim < 2 or values.shape[-2] < 1 or values.shape[-1] < 2:
        raise ShapeError(f"values must be (S, M) with S >= 1 seeds and M >= 2 images, got {values.shape}.")
    squares = np.einsum("...sm,...sm->...", values, values)
    return mean_squares_of(values.mean(axis=-1), values.mean(axis=-2), squares)


def mean_squares_of(by_seed: FloatArray, by_image: FloatArray, sum_of_squares: FloatArray) -> MeanSquares:
    """Return `mean_squares` from means by seed (..., S), means by image (..., M), sums of squares."""
    n_seeds, n_images = by_seed.shape[-1], by_image.shape[-1]
    mean = by_seed.mean(axis=-1)
    between_seeds = n_images * np.square(by_seed - mean[..., None]).sum(axis=-1)
    between_images = n_seeds * np.square(by_image - mean[..., None]).sum(axis=-1)
    left = np.maximum(sum_of_squares - n_seeds * n_images * mean**2 - between_seeds - between_images, 0.0)
    if n_seeds == 1:
        unknown = np.full_like(mean, np.nan)
        return MeanSquares(1, n_images, mean, unknown, between_images / (n_images - 1), unknown)
    return MeanSquares(
        n_seeds,
        n_images,
        mean,
        between_seeds / (n_seeds - 1),
        between_images / (n_images - 1),
        left / ((n_seeds - 1) * (n_images - 1)),
    )


def spread_of_mean(squares: MeanSquares) -> Spread:
    """Return the variance of the mean of S x M values; with one seed, that due to images alone."""
    images_part = squares.images / (squares.n_seeds * squares.n_images)
    return variance_of_mean(images_part, squares.n_images, [squares])


def spread_of_difference(by_image: FloatArray, configs: Sequence[MeanSquares]) -> Spread:
    """Return the variance of the difference of two means with shared images, independent seeds.

    Args:
        by_image: (..., M), for each image the difference of the means over seeds.
        configs: the mean squares of the two configurations.
    """
    n_images = by_image.shape[-1]
    return variance_of_mean(by_image.var(axis=-1, ddof=1) / n_images, n_images, configs)


def variance_of_mean(images_part: FloatArray, n_images: int, configs: Sequence[MeanSquares]) -> Spread:
    """Return the variance and degrees of freedom of a mean, or of a difference of two means.

    Let I be the variance over images of what is averaged over seeds, divided by M; it includes the
    image component and the residual. Let A_c = MS_seed/(S_c M) and B_c = MS_rest/(S_c M) for
    configuration c, so that A_c - B_c is an unbiased estimate of var_seed/S_c. With A and B their
    sums over the configurations (one for a mean, two for a difference):

        V       = I + max(A - B, -0.75 min(B, I))
        df_seed = A^2 / sum_c(A_c^2 / (S_c+1)) - 2, limited to [smallest S_c - 1, sum of S_c - 1]
        df      = V^2 / (I^2/(M-1) + A^2/(0.5 df_seed) + sum_c B_c^2/((S_c-1)(M-1))), at least df_seed

    Args:
        images_part: I, (...).
        n_images: M.
        configs: the mean squares of each configuration; those with one seed add nothing.

    Source:
        Satterthwaite, Biometrics Bulletin 2 (1946); df_seed is the second formula of Welch,
            Biometrika 34 (1947). The bound 0.75 and the factor 0.5 are chalknet's own:
            docs/statistics.md.
    """
    several = [config for config in configs if config.n_seeds > 1]
    if not several:
        return Spread(images_part, np.full_like(images_part, n_images - 1.0))
    seeds = [config.seeds / (config.n_seeds * n_images) for config in several]
    rests = [config.rest / (config.n_seeds * n_images) for config in several]
    own_df = [config.n_seeds - 1 for config in several]
    a, b = np.asarray(sum(seeds)), np.asarray(sum(rests))
    most = float(sum(own_df))
    terms = np.asarray(sum(part**2 / (df + 2) for part, df in zip(seeds, own_df, strict=True)))
    seed_df = np.clip(_ratio(a**2, terms, otherwise=most + 2.0) - 2.0, min(own_df), most)
    variance = images_part + np.maximum(a - b, -MAX_REDUCTION * np.minimum(b, images_part))
    rest_squares = sum(part**2 / (df * (n_images - 1)) for part, df in zip(rests, own_df, strict=True))
    squares = images_part**2 / (n_images - 1) + a**2 / (SEED_DF_FRACTION * seed_df) + rest_squares
    return Spread(variance, np.maximum(_ratio(variance**2, squares, otherwise=n_images - 1.0), seed_df))


def _ratio(top: FloatArray, bottom: FloatArray, otherwise: float) -> FloatArray:
    """Return top / bottom, or `otherwise` where bottom is 0, which means that nothing varies."""
    positive = bottom > 0.0
    return np.where(positive, top / np.where(positive, bottom, 1.0), otherwise)


def mean_limits(mean: FloatArray, spread: Spread, level: float) -> tuple[FloatArray, FloatArray]:
    """Return mean -+ t sqrt(V), with t the (1+level)/2 quantile of Student's distribution.

    Raises:
        ConfigError: level is not in (0, 1).
    """
    half = special.stdtrit(spread.df, (1.0 + checked_level(level)) / 2.0) * np.sqrt(spread.variance)
    return mean - half, mean + half


def mean_interval(values: FloatArray, level: float) -> Interval:
    """Return the mean of values with its interval.

    Args:
        values: (S, M), for two-way random effects of seeds and images; or (S,), for Student's t
            over the seeds.
        level: confidence level, in (0, 1).

    Returns:
        The limits are nan if there is only one value, or one that is not finite.
    """
    value, checked = float(values.mean()) if values.size else float("nan"), checked_level(level)
    if values.ndim == 2:
        spread = spread_of_mean(mean_squares(values))
        variance_sources = "seeds and images" if len(values) > 1 else "images alone"
    elif len(values) > 1:
        spread = Spread(np.asarray(values.var(ddof=1) / len(values)), np.asarray(len(values) - 1.0))
        variance_sources = "seeds alone"
    if values.size < 2 or not np.isfinite(values).all():
        return Interval(value, float("nan"), float("nan"), level, "nothing")
    low, high = mean_limits(np.asarray(value), spread, checked)
    return Interval(value, float(low), float(high), level, variance_sources)


def gain_of_averaging(ensemble: Any, members: Any, level: float = 0.95) -> Interval:
    """Return how much more often an ensemble is correct than its members on average.

        mean of d_m -+ t s_d / sqrt(M),   d_m = ensemble_m - (1/S) sum_s member_sm

    t is the (1+level)/2 quantile of Student's distribution with M - 1 degrees of freedom. The
    interval accounts for other images; the networks are taken as given.

    Args:
        ensemble: (M,) bool, whether the ensemble is correct, M >= 2.
        members: (S, M) bool, whether each member is correct.
        level: confidence level, in (0, 1).

    Raises:
        ShapeError: the shapes are others.
    """
    one, each = np.asarray(ensemble, dtype=np.float64), np.asarray(members, dtype=np.float64)
    if one.ndim != 1 or len(one) < 2 or each.ndim != 2 or each.shape[1] != len(one):
        raise ShapeError(f"ensemble must be (M,) and members (S, M) with M >= 2, got {one.shape} and {each.shape}.")
    return mean_interval((one - each.mean(axis=0))[None], level)


def accuracy_limits(squares: MeanSquares, level: float) -> tuple[FloatArray, FloatArray]:
    """Return the interval of an accuracy on the logit scale, which stays in [0, 1].

        logit(p) -+ t sqrt(V) / (p (1-p)),  transformed back by the logistic function       (delta method)

    It is asymmetric near 0 and 1. With one seed, and if nothing varies (p is 0 or 1), it is
    Wilson's interval for M images.

    Args:
        squares: the mean squares of values in [0, 1].
        level: confidence level, in (0, 1).

    Returns:
        low: (...) float64.
        high: (...) float64.

    Raises:
        ConfigError: level is not in (0, 1).

    Source:
        Agresti, Categorical Data Analysis (2013), section 3.1.6, for the logit and the delta
            method.
    """
    p, spread = squares.mean, spread_of_mean(squares)
    of_images = wilson_limits(p, squares.n_images, checked_level(level))
    if squares.n_seeds == 1:
        return of_images
    varies = (p > 0.0) & (p < 1.0) & (spread.variance > 0.0)
    inner = np.where(varies, p, 0.5)
    t = special.stdtrit(spread.df, (1.0 + level) / 2.0)
    half = t * np.sqrt(spread.variance) / (inner * (1.0 - inner))
    odds = inner / (1.0 - inner)
    with np.errstate(over="ignore"):  # far out the odds are infinite, and the limit 0 or 1
        low, high = 1.0 / (1.0 + np.exp(half) / odds), 1.0 / (1.0 + np.exp(-half) / odds)
    return np.where(varies, low, of_images[0]), np.where(varies, high, of_images[1])


def checked_level(level: float) -> float:
    """Return level; raises ConfigError unless it is between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must be a number between 0 and 1, such as 0.95, got {level!r}.")
    return level
