"""Compare configurations: the accuracy of each and the difference of each pair, with intervals.

The method is a two-way random-effects model at every number of seeds. The coverage table in
docs/statistics.md is the reason, and shows the Multi-Bootstrap beside it. Images are always paired,
since all runs are scored on the same images. Seeds are not paired by default: seed 3 of one
configuration has nothing in common with seed 3 of another if their weights differ in shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import special

from chalknet.errors import ConfigError, ShapeError
from chalknet.studies.correctness import FloatArray, checked_configurations, checked_correct
from chalknet.studies.intervals import holm, mcnemar
from chalknet.studies.random_effects import (
    MeanSquares,
    Spread,
    accuracy_limits,
    checked_level,
    mean_limits,
    mean_squares,
    spread_of_difference,
    spread_of_mean,
)

SEEDS_AND_IMAGES = "seeds and images"
IMAGES_ALONE = "images alone"  # a single seed says nothing about the variance between seeds
SEEDS_OF_ONE = "images and the seeds of one configuration"


@dataclass(frozen=True)
class ConfigurationAccuracy:
    """The mean accuracy of a configuration over its seeds, in [0, 1], with its interval.

    Attributes:
        label: the label of the configuration.
        accuracy: the mean over seeds and images.
        low: lower end of the interval.
        high: upper end of the interval.
        level: confidence level of the interval, in (0, 1).
        variance_sources: which random effects the interval accounts for: "seeds and images", or
            "images alone" with one seed.
        by_seed: the accuracy of each seed.
        standard_error: of the mean.
        df: degrees of freedom of its variance.
        seed_sd: estimated standard deviation of the true accuracy between seeds; 0 if the estimate
            of its square is negative, nan with one seed.
        n_images: M.
    """

    label: str
    accuracy: float
    low: float
    high: float
    level: float
    variance_sources: str
    by_seed: tuple[float, ...]
    standard_error: float
    df: float
    seed_sd: float
    n_images: int


@dataclass(frozen=True)
class Difference:
    """The accuracy of a first configuration minus that of a second, in [-1, 1], with its interval.

    Attributes:
        first: the label of the first configuration.
        second: the label of the second configuration.
        difference: mean accuracy of the first minus that of the second.
        low: lower end of the interval of this pair alone.
        high: upper end of the interval of this pair alone.
        level: confidence level of the interval, in (0, 1).
        p_value: two-sided, of no difference, from Student's t of difference / standard_error with
            df; from McNemar's exact test if each configuration is a single run.
        variance_sources: which random effects the interval accounts for.
        standard_error: of the difference.
        df: degrees of freedom of its variance.
        seed_variance: variance component of the seeds, for one seed and one image. Without paired
            seeds it is the sum over both configurations. Components are unbiased estimates, with
            negative ones set to 0; nan with one seed.
        image_variance: variance component of the images.
        rest_variance: variance of the residual.
        n_seeds: number of seeds of each configuration.
        n_images: M.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    variance_sources: str
    standard_error: float
    df: float
    seed_variance: float
    image_variance: float
    rest_variance: float
    n_seeds: tuple[int, int]
    n_images: int


@dataclass(frozen=True)
class PairwiseDifference:
    """A pair of a comparison, the configuration with the higher mean first.

    Attributes:
        difference: the difference and its interval.
        holm_p: the p-value with Holm's correction over all pairs.
        significantly_different: whether holm_p is below 1 - level.
    """

    difference: Difference
    holm_p: float
    significantly_different: bool


@dataclass(frozen=True)
class Comparison:
    """The accuracies of all configurations and the differences of all pairs.

    Attributes:
        configurations: by descending mean; equal ones in their given order.
        pairs: every pair once, the better configuration first, in the order of `configurations`.
        groups: the largest sets of labels without a significant difference between any two, best
            first. Every configuration is in at least one set. It can be in several, because "no
            significant difference" is not transitive.
        level: confidence level.
        correction: how p-values are corrected for the number of pairs.
    """

    configurations: tuple[ConfigurationAccuracy, ...]
    pairs: tuple[PairwiseDifference, ...]
    groups: tuple[tuple[str, ...], ...]
    level: float
    correction: str = "Holm"


@dataclass(frozen=True)
class RequiredSampleSize:
    """The seeds or images that would make a difference significant.

    Attributes:
        seeds: seeds per configuration, or None if the present number suffices.
        images: number of images, or None if the present number suffices.
    """

    seeds: int | None
    images: int | None


def configuration_accuracy(correct: Any, *, label: str = "", level: float = 0.95) -> ConfigurationAccuracy:
    """Return the mean accuracy over seeds, with an interval for other seeds and other images.

    It is the two-way random-effects interval on the logit scale (`accuracy_limits`); with one seed,
    Wilson's interval for its images.

    Args:
        correct: (S, M) bool or numbers in [0, 1]; row s is a seed.
        label: the label of the configuration.
        level: confidence level, in (0, 1).

    Raises:
        ShapeError, DataError: see `checked_correct`.
        ConfigError: level is not in (0, 1).

    Source:
        docs/statistics.md, sections 2 and 3.
    """
    values = checked_correct(correct)
    squares = mean_squares(values)
    spread = spread_of_mean(squares)
    low, high = accuracy_limits(squares, checked_level(level))
    several = squares.n_seeds > 1
    return ConfigurationAccuracy(
        label,
        float(squares.mean),
        float(low),
        float(high),
        level,
        SEEDS_AND_IMAGES if several else IMAGES_ALONE,
        tuple(float(accuracy) for accuracy in values.mean(axis=1)),
        float(np.sqrt(spread.variance)),
        float(spread.df),
        float(np.sqrt(_seed_variance(squares))) if several else float("nan"),
        squares.n_images,
    )


def _seed_variance(squares: MeanSquares) -> float:
    """Return the estimated variance of the true accuracy between seeds, at least 0."""
    return max(float(squares.seeds - squares.rest), 0.0) / squares.n_images


def difference(
    first: Any,
    second: Any,
    *,
    labels: tuple[str, str] = ("first", "second"),
    paired_seeds: bool = False,
    level: float = 0.95,
) -> Difference:
    """Return the difference of two mean accuracies on the same images, with interval and p-value.

    Without pairing, the seed variances of both configurations are added, and images are compared by
    their means over seeds. With pairing, the matrix first - second is one set of S x M values with
    its own mean squares. Pair seeds if seed s of both configurations shares what affects the
    accuracy; unpaired intervals are then too wide rather than too narrow. Pairing seeds that share
    nothing costs half of the degrees of freedom.

    Args:
        first: (S, M) bool or numbers in [0, 1].
        second: (S', M) bool or numbers in [0, 1]; S' = S if seeds are paired.
        labels: the labels of the two.
        paired_seeds: whether seed s is paired with seed s.
        level: confidence level of the interval, in (0, 1).

    Raises:
        ShapeError: see `checked_configurations`; also if paired seeds differ in number.
        DataError: see `checked_configurations`.
        ConfigError: level is not in (0, 1), or the two labels are equal.

    Source:
        docs/statistics.md, section 4.
    """
    if labels[0] == labels[1]:
        raise ConfigError(f"the two configurations need different labels, got {labels[0]!r} twice.")
    first, second = checked_configurations({labels[0]: first, labels[1]: second}).values()
    sizes = (len(first), len(second))
    if paired_seeds and sizes[0] != sizes[1]:
        raise ShapeError(
            f"paired seeds need the same number of seeds in both configurations, got {sizes[0]} and {sizes[1]}."
        )
    by_image = first.mean(axis=0) - second.mean(axis=0)
    parts = [mean_squares(first - second)] if paired_seeds else [mean_squares(first), mean_squares(second)]
    spread = spread_of_mean(parts[0]) if paired_seeds else spread_of_difference(by_image, parts)
    value = float(by_image.mean())
    low, high = mean_limits(np.asarray(value), spread, checked_level(level))
    seed, image, rest = _variance_parts(by_image, parts)
    return Difference(
        *labels,
        value,
        max(float(low), -1.0),
        min(float(high), 1.0),
        level,
        _p_value(value, spread, (first, second)),
        _variance_sources(sizes),
        float(np.sqrt(spread.variance)),
        float(spread.df),
        seed,
        image,
        rest,
        sizes,
        first.shape[1],
    )


def _variance_sources(n_seeds: tuple[int, int]) -> str:
    """Return which random effects an interval of a difference accounts for, in words."""
    if max(n_seeds) == 1:
        return IMAGES_ALONE
    return SEEDS_AND_IMAGES if min(n_seeds) > 1 else SEEDS_OF_ONE


def _p_value(value: float, spread: Spread, configs: tuple[FloatArray, FloatArray]) -> float:
    """Return the two-sided p-value of no difference."""
    runs = [config[0] for config in configs if len(config) == 1 and np.isin(config, (0.0, 1.0)).all()]
    if len(runs) == 2:
        return mcnemar(*runs).p_value
    if not spread.variance > 0.0:
        return 1.0 if value == 0.0 else 0.0
    return min(1.0, 2.0 * float(special.stdtr(spread.df, -abs(value) / np.sqrt(spread.variance))))


def _variance_parts(by_image: FloatArray, parts: Sequence[MeanSquares]) -> tuple[float, float, float]:
    """Return the variance components of a difference: seeds, images and residual."""
    if any(part.n_seeds == 1 for part in parts):
        return float("nan"), float("nan"), float("nan")
    of_rest = sum(float(part.rest) / part.n_seeds for part in parts)
    return (
        sum(_seed_variance(part) for part in parts),
        max(float(by_image.var(ddof=1)) - of_rest, 0.0),
        sum(float(part.rest) for part in parts),
    )


def compare_configurations(
    configs: Mapping[str, Any] | Sequence[Any], *, paired_seeds: bool = False, level: float = 0.95
) -> Comparison:
    """Compare all configurations and all pairs, with Holm's correction for the number of pairs.

    Args:
        configs: by label or in order, each (S, M) bool or numbers in [0, 1], on the same images.
        paired_seeds: see `difference`.
        level: confidence level of every interval. 1 - level is the chance of any false significant
            difference over all pairs.

    Raises:
        ShapeError, DataError: see `checked_configurations` and `difference`.
        ConfigError: level is not in (0, 1).
    """
    values, level = checked_configurations(configs), checked_level(level)
    summaries = sorted(
        (configuration_accuracy(config, label=label, level=level) for label, config in values.items()),
        key=lambda config: -config.accuracy,
    )
    labels = [config.label for config in summaries]
    found = [
        difference(values[a], values[b], labels=(a, b), paired_seeds=paired_seeds, level=level)
        for a, b in combinations(labels, 2)
    ]
    corrected = holm([one.p_value for one in found])
    pairs = tuple(PairwiseDifference(one, p, p < 1.0 - level) for one, p in zip(found, corrected, strict=True))
    return Comparison(tuple(summaries), pairs, groups_without_difference(labels, pairs), level)


def groups_without_difference(
    labels: Sequence[str], pairs: Sequence[PairwiseDifference]
) -> tuple[tuple[str, ...], ...]:
    """Return the largest sets of labels without a significant difference between any two.

    They are the maximal cliques of the relation "no significant difference".

    Source:
        Piepho, Journal of Computational and Graphical Statistics 13 (2004), on letters for such
            sets.
        Bron and Kerbosch, Communications of the ACM 16 (1973), for the search.
    """
    alike: dict[str, set[str]] = {label: set() for label in labels}
    for pair in pairs:
        if not pair.significantly_different:
            alike[pair.difference.first].add(pair.difference.second)
            alike[pair.difference.second].add(pair.difference.first)
    found: list[set[str]] = []

    def grow(group: set[str], may_join: set[str], seen: set[str]) -> None:
        if not may_join and not seen:
            found.append(group)
            return
        pivot = max(may_join | seen, key=lambda label: len(alike[label] & may_join))
        for label in sorted(may_join - alike[pivot]):
            grow(group | {label}, may_join & alike[label], seen & alike[label])
            may_join, seen = may_join - {label}, seen | {label}

    grow(set(), set(labels), set())
    place = {label: i for i, label in enumerate(labels)}
    ordered = [tuple(sorted(group, key=place.__getitem__)) for group in found]
    return tuple(sorted(ordered, key=lambda group: [place[label] for label in group]))
