"""Sentences about a comparison, made from its numbers by rules.

The rules (docs/statistics.md, section 7, has them in full; the constants are below):

- Two configurations differ significantly if the p-value of the pair, corrected by Holm's rule over all pairs, is below
  0.05. Configurations that the same others exceed are one sentence.
- Each largest set of configurations of which no two differ significantly is one sentence, with the largest difference
  in it, its interval, and the size of a study that would detect it.
- With more than MAX_PAIRS_STATED pairs, only those of the best configuration are stated; all are in
  `Comparison.pairs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from chalknet.formatting import capitalized, fixed, listed
from chalknet.studies.compare import IMAGES_ALONE, Comparison, Difference, PairwiseDifference, RequiredSampleSize
from chalknet.studies.correctness import FloatArray

POWER = 0.8  # probability with which the required seeds or images would show the difference
MAX_PAIRS_STATED = 6  # all pairs of four configurations
MAX_SEEDS = 1_000  # more seeds per configuration than this are not advice
MIN_POINTS = 0.05  # a difference that rounds to 0.0 points is not worth a plan

# Joins the labels of some configurations to one phrase.
Join = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Finding:
    """One statement and the numbers that it is made of, ready for JSON.

    Attributes:
        kind: "significant_difference" or "no_significant_difference".
        labels: the configurations that it is about.
        sentence: what is stated, with its uncertainty; one sentence or two.
        figures: the numbers in it by name: differences in [-1, 1], p-values, counts.
    """

    kind: str
    labels: tuple[str, ...]
    sentence: str
    figures: dict[str, float | int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Words:
    """How sentences name what is compared: "test accuracy", "test samples", "configuration", and several labels."""

    accuracy: str
    samples: str
    noun: str
    join: Join


def comparison_findings(
    comparison: Comparison, *, split: str = "test", join: Join = listed, noun: str = "configuration"
) -> tuple[Finding, ...]:
    """State what a comparison shows: first what differs significantly, then what does not.

    Args:
        comparison: from `compare_configurations`. Its labels are put into the sentences as they are, after "with".
        split: what the accuracies were measured on: "validation" or "test"; "" leaves it open.
        join: makes one phrase of several labels, "a, b and c" by default.
        noun: what is compared, "configuration" or "model".
    """
    words = _Words(f"{split} accuracy".lstrip(), f"{split} samples".lstrip(), noun, join)
    return (*_significant(comparison, words), *_not_significant(comparison, words))


def _significant(comparison: Comparison, words: _Words) -> list[Finding]:
    """State the significant differences, one sentence for all configurations that the same others exceed."""
    pairs = [pair for pair in comparison.pairs if pair.significantly_different]
    if len(comparison.pairs) > MAX_PAIRS_STATED:
        pairs = [pair for pair in pairs if pair.difference.first == comparison.configurations[0].label]
    better: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        better[pair.difference.second] = (*better.get(pair.difference.second, ()), pair.difference.first)
    found = []
    for higher in dict.fromkeys(better.values()):
        lower = tuple(label for label, labels in better.items() if labels == higher)
        inside = [pair for pair in pairs if pair.difference.first in higher and pair.difference.second in lower]
        found.append(_higher(higher, lower, inside, comparison, words))
    return found


def _higher(
    higher: tuple[str, ...],
    lower: tuple[str, ...],
    pairs: list[PairwiseDifference],
    comparison: Comparison,
    words: _Words,
) -> Finding:
    """State that accuracy is higher with some configurations than with some others."""
    sizes = [pair.difference.difference for pair in pairs]
    least, most = points(min(sizes)), points(max(sizes))
    by = least if least == most else f"{least} to {most}"
    than = f"{words.join(higher)} than with {words.join(lower)}"
    sentence = f"{capitalized(words.accuracy)} is {by} percentage points higher with {than}"
    n_pairs = len(comparison.pairs)
    significant = f"significant after {comparison.correction}'s correction for {n_pairs} pairs"
    if len(pairs) > 1:
        which = "Both" if len(pairs) == 2 else f"All {len(pairs)}"
        sentence += f". {which} differences are {significant}."
        return Finding(
            "significant_difference", (*higher, *lower), sentence, {"smallest": min(sizes), "largest": max(sizes)}
        )
    (pair,) = pairs
    details = [_interval(pair.difference), *([significant] if n_pairs > 1 else []), *_missing_seeds(pair.difference)]
    figures = _figures(pair.difference) | {"holm_p": pair.holm_p}
    return Finding("significant_difference", (*higher, *lower), f"{sentence} ({'; '.join(details)}).", figures)


def _not_significant(comparison: Comparison, words: _Words) -> list[Finding]:
    pairs = {(pair.difference.first, pair.difference.second): pair for pair in comparison.pairs}
    found = []
    for group in comparison.groups:
        inside = [pair for labels, pair in pairs.items() if set(labels) <= set(group)]
        if inside:
            widest = max(inside, key=lambda pair: pair.difference.difference)
            found.append(_no_difference(group, widest, comparison, words))
    return found


def _no_difference(
    group: tuple[str, ...], widest: PairwiseDifference, comparison: Comparison, words: _Words
) -> Finding:
    """State that no two of a group differ significantly, and what it would take to detect their largest difference."""
    one, n_pairs = widest.difference, len(comparison.pairs)
    details = [_interval(one)]
    if n_pairs > 1 and one.p_value < 1.0 - comparison.level:
        corrected = f"{widest.holm_p:.2g} after {comparison.correction}'s correction for {n_pairs} pairs"
        details.append(f"p = {one.p_value:.2g} for this pair alone, {corrected}")
    details += _missing_seeds(one)
    if 2 < len(group) == len(comparison.configurations):
        sentence = f"No two {words.noun}s differ significantly in {words.accuracy}."
    else:
        sentence = f"No significant difference in {words.accuracy} was found between {words.join(group)}."
    between = f"largest difference, between {words.join((one.first, one.second))}," if len(group) > 2 else "difference"
    sentence += f" The {between} is {points(one.difference)} percentage points ({'; '.join(details)})."
    figures = _figures(one) | {"holm_p": widest.holm_p}
    required = required_sample_size(one, alpha=pair_alpha(comparison))
    if required is not None:
        sentence += f" {_advice(required, words, ' between these two' if len(group) > 2 else '')}"
        figures |= {"required_seeds": required.seeds, "required_images": required.images}
    return Finding("no_significant_difference", group, sentence, figures)


def pair_alpha(comparison: Comparison) -> float:
    """Return the level of the test of one pair that holds for the smallest p-value under Holm's rule."""
    return (1.0 - comparison.level) / max(len(comparison.pairs), 1)


def required_sample_size(
    difference: Difference, *, alpha: float, size: float | None = None
) -> RequiredSampleSize | None:
    """Return the seeds or images with which a true difference would be detected with probability `POWER`.

        V(S, M) = var_seed/S + var_image/M + var_rest/(SM)
        |d| >= (t_{1-alpha/2} + t_power) sqrt(V),   t with Satterthwaite's degrees of freedom of V for S and M

    Seeds first: the fewest S with the present M. If no number up to `MAX_SEEDS` is enough, the fewest M with the
    present S, by normal quantiles; if the seeds alone use up the variance as well, each gets half of what is allowed.
    The variances are estimates, so the sizes are rough.

    Args:
        difference: from `difference`.
        alpha: two-sided level of the test, in (0, 1).
        size: true difference to detect, a difference of accuracies; the one that was found if None.

    Returns:
        The required sizes; None if there is nothing to plan with: one seed, or a difference below 0.05 points.
    Source: Chow, Shao and Wang, Sample Size Calculations in Clinical Research (2008), chapter 3, with a second source
        of variance.
    """
    wanted = abs(difference.difference if size is None else size)
    if math.isnan(difference.seed_variance) or 100 * wanted < MIN_POINTS:
        return None
    n_seeds = np.arange(min(difference.n_seeds) + 1.0, MAX_SEEDS + 1)
    enough = wanted >= _detectable(difference, n_seeds, alpha)
    if enough.any():
        return RequiredSampleSize(int(n_seeds[enough.argmax()]), None)
    z = float(special.ndtri(1.0 - alpha / 2.0) + special.ndtri(POWER))
    allowed = (wanted / z) ** 2
    seed, image, rest = difference.seed_variance, difference.image_variance, difference.rest_variance
    present, n_images = min(difference.n_seeds), difference.n_images
    if seed / present < allowed / 2:
        images = math.ceil((image + rest / present) / (allowed - seed / present))
        return RequiredSampleSize(None, max(images, n_images + 1))
    seeds = max(math.ceil(seed / (allowed / 2)), present)
    return RequiredSampleSize(seeds, max(math.ceil((image + rest / seeds) / (allowed / 2)), n_images + 1))


def detectable_difference(difference: Difference, n_seeds: int, *, alpha: float) -> float:
    """Return the smallest true difference that so many seeds per configuration would detect, on the same images.

    The formula is that of `required_sample_size`.

    Args:
        difference: from `difference`; its variances are used, not its value.
        n_seeds: seeds per configuration, at least 2.
        alpha: two-sided level of the test, in (0, 1).

    Returns:
        A difference of accuracies, > 0; nan if the variance between seeds is not known.
    """
    return float(_detectable(difference, np.array([float(n_seeds)]), alpha)[0])


def _detectable(difference: Difference, n_seeds: FloatArray, alpha: float) -> FloatArray:
    """Return the smallest detectable difference for each number of seeds."""
    n_images = difference.n_images
    of_images = np.full(n_seeds.shape, difference.image_variance / n_images)
    of_seeds_and_rest = difference.seed_variance / n_seeds + difference.rest_variance / (n_seeds * n_images)
    variance = of_seeds_and_rest + of_images
    squares = of_seeds_and_rest**2 / (n_seeds - 1) + of_images**2 / (n_images - 1)
    df = np.where(squares > 0, variance**2 / np.where(squares > 0, squares, 1), n_images - 1)
    df = np.maximum(df, n_seeds - 1)
    t = special.stdtrit(df, 1.0 - alpha / 2.0) + special.stdtrit(df, POWER)
    found: FloatArray = t * np.sqrt(variance)
    return found


def _advice(required: RequiredSampleSize, words: _Words, between: str) -> str:
    chance = f"{100 * POWER:.0f} % probability"
    size = f"a difference of this size{between}"
    seeds = "" if required.seeds is None else f"about {count_of_rounded(required.seeds, 'seed')} per {words.noun}"
    if required.images is None:
        return f"To detect {size} with {chance}, a study needs {seeds}."
    samples = f"about {rounded(required.images)} {words.samples}"
    if required.seeds is None:
        return f"More seeds alone cannot detect {size} with {chance}: {samples} are needed."
    return f"To detect {size} with {chance}, a study needs {seeds} and {samples}."


def _missing_seeds(one: Difference) -> list[str]:
    return ["the interval covers the samples but not the seeds"] if one.variance_sources == IMAGES_ALONE else []


def _interval(one: Difference) -> str:
    return f"{100 * one.level:g} % interval {points(one.low)} to {points(one.high)}"


def _figures(one: Difference) -> dict[str, float | int | None]:
    return {"difference": one.difference, "low": one.low, "high": one.high, "p_value": one.p_value}


def points(fraction: float) -> str:
    """Return a fraction or a difference of fractions in points, without a sign when positive: 0.024 is "2.4"."""
    return fixed(100 * fraction, 1)


def count_of_rounded(count: int, noun: str) -> str:
    """Return a planned count with its noun, such as "140 seeds"."""
    return f"{rounded(count)} {noun}" + ("" if count == 1 else "s")


def rounded(count: int) -> str:
    """Return a planned count, to two significant digits above 20, since it is no more exact than that."""
    if count <= 20:
        return str(count)
    step = 10 ** (len(str(count)) - 2)
    return f"{math.ceil(count / step) * step:,}"
