"""Sentences made from numbers by rules, about which configurations can be told apart and what it would take where they
cannot.

The rules, whose constants stand below; docs/statistics.md has them in full:

- "a beats b by 2.4 points (95 % interval 1.6 to 3.2; Holm over 6 pairs)" is said of a pair whose p-value, corrected
  by Holm's rule over all pairs, is below 0.05. The interval is that of the pair alone.
- "a, b and c cannot be told apart: largest difference ..." is said of each largest set of configurations of which no
  two are told apart, with the interval of its largest difference and what it would take to tell a difference of that
  size.
- With more than MAX_PAIRS_SAID pairs, only those of the best configuration are said; all stand in `Comparison.pairs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from chalknet.formatting import fixed, listed
from chalknet.studies.compare import IMAGES_ALONE, Comparison, Difference, PairwiseDifference, RequiredSampleSize

POWER = 0.8  # the chance with which the seeds or images that are "needed" would show the difference
MAX_PAIRS_SAID = 6  # all pairs of four configurations
MAX_SEEDS = 1_000  # more than this many seeds a configuration is not advice
MIN_POINTS = 0.05  # a difference that rounds to 0.0 points is not worth a plan


@dataclass(frozen=True)
class Finding:
    """One sentence and the numbers it is made of, ready for JSON.

    Attributes:
        kind: "significant_difference", "no_significant_difference", "over_fitting", "convergence" or "instability".
        labels: the configurations it is about.
        sentence: what is claimed, with its uncertainty.
        figures: the numbers in it, by name: shares and differences in [-1, 1], epochs, counts.
    """

    kind: str
    labels: tuple[str, ...]
    sentence: str
    figures: dict[str, float | int | None] = field(default_factory=dict)


def comparison_findings(comparison: Comparison, *, images: str = "test images") -> tuple[Finding, ...]:
    """What the comparison carries, as sentences: first who beats whom, then who cannot be told apart.

    Args:
        comparison: from `compare_configurations`; its labels are put into the sentences as they are.
        images: what the configurations were judged on, in words.
    """
    return (*_significant_differences(comparison), *_no_significant_differences(comparison, images))


def _significant_differences(comparison: Comparison) -> list[Finding]:
    apart = [pair for pair in comparison.pairs if pair.significantly_different]
    if len(comparison.pairs) > MAX_PAIRS_SAID:
        apart = [pair for pair in apart if pair.difference.first == comparison.configurations[0].label]
    return [_beats(pair, comparison) for pair in apart]


def _beats(pair: PairwiseDifference, comparison: Comparison) -> Finding:
    one = pair.difference
    details = [f"{_interval(one)}", *_correction(comparison), *_lack(one)]
    sentence = f"{one.first} beats {one.second} by {points(one.difference)} points ({'; '.join(details)})."
    return Finding("significant_difference", (one.first, one.second), sentence, _figures(one) | {"holm_p": pair.holm_p})


def _no_significant_differences(comparison: Comparison, images: str) -> list[Finding]:
    pairs = {(pair.difference.first, pair.difference.second): pair for pair in comparison.pairs}
    found = []
    for group in comparison.groups:
        inside = [pair for labels, pair in pairs.items() if set(labels) <= set(group)]
        if inside:
            found.append(_alike(group, max(inside, key=lambda pair: pair.difference.difference), comparison, images))
    return found


def _alike(group: tuple[str, ...], widest: PairwiseDifference, comparison: Comparison, images: str) -> Finding:
    one = widest.difference
    required = required_sample_size(one, alpha=(1.0 - comparison.level) / len(comparison.pairs))
    largest = "largest difference" if len(group) > 2 else "difference"
    correction = _correction(comparison)
    if correction and one.p_value < 1.0 - comparison.level:
        correction = [f"p = {one.p_value:.2g} alone, {widest.holm_p:.2g} by {correction[0]}"]
    parts = [f"{largest} {points(one.difference)} points, {_interval(one)}", *correction, *_lack(one)]
    sentence = f"{listed(group)} cannot be told apart: {'; '.join([*parts, *_advice(required, images)])}."
    figures = _figures(one) | {"holm_p": widest.holm_p}
    if required is not None:
        figures |= {"required_seeds": required.seeds, "required_images": required.images}
    return Finding("no_significant_difference", group, sentence, figures)


def required_sample_size(difference: Difference, *, alpha: float, power: float = POWER) -> RequiredSampleSize | None:
    """Seeds or images with which a true difference as large as this one would be told from none.

        V(S, M) = var_seed/S + var_image/M + var_rest/(SM)
        |d| >= (t_{1-alpha/2} + t_power) sqrt(V),   t with Satterthwaite's degrees of freedom of V for S and M

    Seeds first: the fewest S at the present M. Where no number up to `MAX_SEEDS` does, the fewest M at the present S,
    by normal quantiles; where the seeds alone are too much as well, each gets half of the allowed variance. The parts
    of the variance are estimates, so the numbers say the size of a study and no more.

    Args:
        difference: from `difference`; alpha: the two-sided level; power: the wanted chance, both in (0, 1).
    Returns:
        None where there is nothing to plan with: one seed, or a difference below 0.05 points.
    Source: Chow, Shao and Wang, Sample Size Calculations in Clinical Research (2008), chapter 3, with a second source
        of variance.
    """
    if math.isnan(difference.seed_variance) or 100 * abs(difference.difference) < MIN_POINTS:
        return None
    seeds = _required_seeds(difference, alpha, power)
    if seeds is not None:
        return RequiredSampleSize(seeds, None)
    z = float(special.ndtri(1.0 - alpha / 2.0) + special.ndtri(power))
    allowed = (difference.difference / z) ** 2
    seed, image, rest = difference.seed_variance, difference.image_variance, difference.rest_variance
    n_seeds, n_images = min(difference.n_seeds), difference.n_images
    if seed / n_seeds < allowed / 2:
        return RequiredSampleSize(
            None, max(math.ceil((image + rest / n_seeds) / (allowed - seed / n_seeds)), n_images + 1)
        )
    seeds = max(math.ceil(seed / (allowed / 2)), n_seeds)
    return RequiredSampleSize(seeds, max(math.ceil((image + rest / seeds) / (allowed / 2)), n_images + 1))


def _required_seeds(difference: Difference, alpha: float, power: float) -> int | None:
    """The fewest seeds, more than there are and at most `MAX_SEEDS`, that do with the present images."""
    n_images = difference.n_images
    n_seeds = np.arange(min(difference.n_seeds) + 1, MAX_SEEDS + 1)
    of_seeds, of_images = (
        difference.seed_variance / n_seeds,
        np.full(n_seeds.shape, difference.image_variance / n_images),
    )
    of_rest = difference.rest_variance / (n_seeds * n_images)
    variance = of_seeds + of_images + of_rest
    squares = (of_seeds + of_rest) ** 2 / (n_seeds - 1) + of_images**2 / (n_images - 1)
    df = np.maximum(np.where(squares > 0, variance**2 / np.where(squares > 0, squares, 1), n_images - 1), n_seeds - 1)
    t = special.stdtrit(df, 1.0 - alpha / 2.0) + special.stdtrit(df, power)
    enough = abs(difference.difference) >= t * np.sqrt(variance)
    return int(n_seeds[enough.argmax()]) if enough.any() else None


def _advice(required: RequiredSampleSize | None, images: str) -> list[str]:
    if required is None:
        return []
    if required.images is None:
        assert required.seeds is not None, "a plan asks for seeds, images or both"
        return [f"about {rounded(required.seeds)} seeds a configuration would be needed"]
    if required.seeds is None:
        return [f"more seeds alone would not do, about {rounded(required.images)} {images} would be needed"]
    return [
        f"about {rounded(required.seeds)} seeds a configuration and {rounded(required.images)} {images} would be needed"
    ]


def _lack(one: Difference) -> list[str]:
    return (
        [f"the interval carries {one.variance_sources}, not the seeds"] if one.variance_sources == IMAGES_ALONE else []
    )


def _correction(comparison: Comparison) -> list[str]:
    n = len(comparison.pairs)
    return [f"{comparison.correction} over {n} pairs"] if n > 1 else []


def _interval(one: Difference) -> str:
    return f"{100 * one.level:g} % interval {points(one.low)} to {points(one.high)}"


def _figures(one: Difference) -> dict[str, float | int | None]:
    return {"difference": one.difference, "low": one.low, "high": one.high, "p_value": one.p_value}


def points(share: float) -> str:
    """Return a fraction or a difference of fractions in points, without a sign when positive: 0.024 is "2.4"."""
    return fixed(100 * share, 1)


def rounded(count: int) -> str:
    """A planned count, to two significant digits above 20, since it is no more exact than that."""
    if count <= 20:
        return str(count)
    step = 10 ** (len(str(count)) - 2)
    return f"{math.ceil(count / step) * step:,}"
