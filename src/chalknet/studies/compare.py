"""Configurations compared: each one's accuracy and every pair's difference, with intervals that carry seeds and images.

The method is two-way random effects at every number of seeds; the coverage table in docs/statistics.md is the reason,
and shows the Multi-Bootstrap beside it. Images are always paired: all seeds of all configurations are scored on the
same images. Seeds are not paired by default: seed 3 of one configuration has nothing to do with seed 3 of another when
they
start from different weights.
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
IMAGES_ALONE = "images alone"  # one seed says nothing about seeds
SEEDS_OF_ONE = "images and the seeds of one configuration"


@dataclass(frozen=True)
class ConfigurationAccuracy:
    """A configuration's mean accuracy over its seeds, in [0, 1].

    Attributes:
        accuracy, low, high, level: the mean and its interval.
        variance_sources: what the interval carries: "seeds and images", or "images alone" with one seed.
        by_seed: the accuracy of each seed, which no average hides.
        standard_error, df: of the mean, and the degrees of freedom of its variance.
        seed_sd: estimated standard deviation of the true accuracy between seeds; 0 where the estimate of its square is
            negative, nan with one seed.
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
    """By how much the first configuration is better than the second; negative where it is worse.

    Attributes:
        first, second: their labels.
        difference, low, high, level: of accuracies, so in [-1, 1], and the interval of this pair alone.
        p_value: two-sided, of no difference: Student's t of difference / standard_error with df; McNemar's exact one
            where both configurations are a single run of right and wrong answers.
        variance_sources: what the interval carries.
        standard_error, df: of the difference.
        seed_variance, image_variance, rest_variance: the parts of one seed's difference on one image, summed over both
            configurations where seeds are not paired; unbiased estimates cut off at 0; nan where seeds cannot be told
            from rest.
        n_seeds, n_images: S of each configuration, and M.
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
    """One pair of a comparison: `first` has the higher mean; told apart where Holm's corrected p is below 1 - level."""

    difference: Difference
    holm_p: float
    significantly_different: bool


@dataclass(frozen=True)
class Comparison:
    """All configurations and all pairs of them.

    Attributes:
        configurations: best mean first, as first named among equals.
        pairs: every pair once, the better configuration first, in the order of `configurations`.
        groups: sets of labels, best first, of which no two can be told apart, as large as can be; every configuration
            is in one, and a configuration may be in several, since "cannot be told apart" does not pass on from pair to
            pair.
        correction: the rule that corrected the p-values for the number of pairs.
    """

    configurations: tuple[ConfigurationAccuracy, ...]
    pairs: tuple[PairwiseDifference, ...]
    groups: tuple[tuple[str, ...], ...]
    level: float
    correction: str = "Holm"


@dataclass(frozen=True)
class RequiredSampleSize:
    """What it would take to tell a difference from none: seeds a configuration, and images; None: as many as there
    are do.
    """

    seeds: int | None
    images: int | None


def configuration_accuracy(correct: Any, *, label: str = "", level: float = 0.95) -> ConfigurationAccuracy:
    """Mean accuracy over seeds with an interval that carries the seeds and the finite set of images.

    Two-way random effects on the logit scale (`accuracy_limits`); with one seed Wilson's interval of its images.

    Args:
        correct: (S, M) bool or numbers in [0, 1], a row a seed; level: in (0, 1).
    Raises:
        ShapeError, DataError: see `checked_correct`. ConfigError: level is not in (0, 1).
    Source: docs/statistics.md, sections 2 and 3.
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
    return max(float(squares.seeds - squares.rest), 0.0) / squares.n_images


def difference(
    first: Any,
    second: Any,
    *,
    labels: tuple[str, str] = ("first", "second"),
    paired_seeds: bool = False,
    level: float = 0.95,
) -> Difference:
    """The difference of two configurations' mean accuracies, on the same images, with its interval and p-value.

    Unpaired: the seeds' variances of both configurations are added, and images are compared by the configurations'
        means on them.
    Paired: the matrix first - second is one set of S x M values with its own mean squares. Pairing is meant where seed
    s of both configurations shares what moves the accuracy; unpaired intervals are then too wide rather than too
    narrow. Pairing where nothing is shared costs half of the degrees of freedom.

    Args:
        first, second: (S, M) and (S', M) bool or numbers in [0, 1]; S = S' if paired_seeds.
        level: of the interval, in (0, 1).
    Raises:
        ShapeError, DataError: see `checked_configurations`; ShapeError too for paired seeds of different numbers.
        ConfigError: level is not in (0, 1), or the two labels are equal.
    Source: docs/statistics.md, section 4.
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
    if max(n_seeds) == 1:
        return IMAGES_ALONE
    return SEEDS_AND_IMAGES if min(n_seeds) > 1 else SEEDS_OF_ONE


def _p_value(value: float, spread: Spread, configs: tuple[FloatArray, FloatArray]) -> float:
    runs = [config[0] for config in configs if len(config) == 1 and np.isin(config, (0.0, 1.0)).all()]
    if len(runs) == 2:
        return mcnemar(*runs).p_value
    if not spread.variance > 0.0:
        return 1.0 if value == 0.0 else 0.0
    return min(1.0, 2.0 * float(special.stdtr(spread.df, -abs(value) / np.sqrt(spread.variance))))


def _variance_parts(by_image: FloatArray, parts: Sequence[MeanSquares]) -> tuple[float, float, float]:
    """Variances of seed, image and rest of a difference, from the variance of its means an image."""
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
    """Every configuration's accuracy, every pair's difference, p-values corrected by Holm's rule, and who cannot be
    told apart.

    Args:
        configurations: by label or in order, each (S, M) bool or numbers in [0, 1], on the same images.
        paired_seeds: see `difference`.
        level: of every interval, and 1 - level the chance of any false "told apart" over all pairs.
    Raises:
        ShapeError, DataError: see `checked_configurations` and `difference`. ConfigError: level is not in (0, 1).
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
    """The largest sets of labels of which no two are told apart, each in the order of labels.

    They are the maximal cliques of the relation "not told apart".

    Source: Piepho, Journal of Computational and Graphical Statistics 13 (2004), on letters for such sets; Bron and
        Kerbosch, Communications of the ACM 16 (1973), for the search.
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
