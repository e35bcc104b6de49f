"""Findings follow from the numbers: wording, corrections, sample sizes, and rules with constants."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chalknet.studies.compare import compare_configurations, difference
from chalknet.studies.findings import (
    comparison_findings,
    detectable_difference,
    points,
    required_sample_size,
    rounded,
)
from chalknet.studies.simulation import population, simulate


def configurations(accuracies, n_seeds=5, n_images=2_724, seed=3, spread=0.6):
    of = population(0.91, spread, "graded", n_images)
    drawn = simulate(accuracies, of, n_seeds, n_images, np.random.default_rng(seed))
    return dict(zip((f"hidden {n}" for n in (100, 500, 1_000, 2_000)), drawn, strict=False))


def sentences(comparison):
    return [finding.sentence for finding in comparison_findings(comparison)]


def test_significant_difference_states_interval_and_correction():
    comparison = compare_configurations(configurations((0.85, 0.91)))
    (finding,) = comparison_findings(comparison)
    one = comparison.pairs[0].difference
    limits = f"{points(one.low)} to {points(one.high)}"
    by = f"{points(one.difference)} percentage points higher"
    assert finding.sentence == f"Test accuracy is {by} with hidden 500 than with hidden 100 (95 % interval {limits})."
    assert finding.figures["difference"] == one.difference


def test_many_pairs_name_holm_and_how_many():
    said = sentences(compare_configurations(configurations((0.80, 0.91, 0.91))))
    assert "higher with hidden 500 and hidden 1000 than with hidden 100." in said[0]
    assert said[0].endswith("Both differences are significant after Holm's correction for 3 pairs.")
    assert said[1].startswith("No significant difference in test accuracy was found between hidden")


def test_more_than_six_pairs_say_only_those_of_the_best():
    of = population(0.91, 0.5, "graded", 2_724)
    accuracies = (0.93, 0.85, 0.8, 0.75, 0.7)
    drawn = simulate(accuracies, of, 5, 2_724, np.random.default_rng(0))
    found = comparison_findings(compare_configurations(dict(zip("abcde", drawn, strict=True))))
    assert [finding.labels for finding in found if finding.kind == "significant_difference"] == [tuple("abcde")]


def test_one_seed_is_said_to_carry_no_seeds():
    (said,) = sentences(compare_configurations(configurations((0.85, 0.91), n_seeds=1)))
    assert "the interval covers the samples but not the seeds" in said


def test_only_significant_differences_get_a_winner():
    comparison = compare_configurations(configurations((0.91, 0.911)))
    assert not comparison.pairs[0].significantly_different
    (said,) = sentences(comparison)
    assert "higher" not in said


def test_pair_that_loses_significance_by_holm_shows_both_p():
    comparison = compare_configurations(configurations((0.90, 0.91, 0.91, 0.91)))
    for group in comparison_findings(comparison):
        p, corrected = group.figures["p_value"], group.figures["holm_p"]
        if group.kind == "no_significant_difference" and p < 0.05:
            said = f"p = {p:.2g} for this pair alone, {corrected:.2g} after Holm's correction for 6 pairs"
            assert said in group.sentence


def planned(**parts):
    first, second = configurations((0.90, 0.91), n_seeds=3).values()
    return replace(difference(first, second), difference=0.01, n_seeds=(3, 3), n_images=1_000, **parts)


def test_required_seeds_are_the_fewest_that_suffice():
    one = planned(seed_variance=1e-4, image_variance=1e-3, rest_variance=0.01)

    def is_enough(n_seeds):
        of_seeds, of_images = 1e-4 / n_seeds + 0.01 / (n_seeds * 1_000), 1e-6
        variance = of_seeds + of_images
        df = max(variance**2 / (of_seeds**2 / (n_seeds - 1) + of_images**2 / 999), n_seeds - 1)
        return (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * variance**0.5 <= 0.01

    seeds = required_sample_size(one, alpha=0.05).seeds
    assert is_enough(seeds)
    assert not is_enough(seeds - 1)
    # by normal quantiles 10 would do: (z_0.975 + z_0.8)^2 = 7.849, 1.1e-4 / (1e-4 / 7.849 - 1e-6) = 9.4
    assert 10 < seeds < 15


def test_more_images_are_required_if_seeds_do_not_suffice():
    one = planned(seed_variance=0.0, image_variance=0.05, rest_variance=0.0)
    required = required_sample_size(one, alpha=0.05)
    assert required.seeds is None
    assert required.images == math.ceil(0.05 / (1e-4 / 7.8489)) or required.images == pytest.approx(3925, abs=1)


def test_where_both_forbid_it_both_are_asked_for():
    required = required_sample_size(planned(seed_variance=1e-3, image_variance=0.05, rest_variance=0.0), alpha=0.05)
    assert required.seeds > 3
    assert required.images > 1_000


def test_one_seed_or_no_difference_gives_no_plan():
    assert required_sample_size(planned(seed_variance=float("nan")), alpha=0.05) is None
    assert required_sample_size(replace(planned(), difference=0.0001), alpha=0.05) is None


@given(st.floats(0, 1e-3), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_plan_reaches_what_it_was_made_for(seed, image, rest):
    required = required_sample_size(planned(seed_variance=seed, image_variance=image, rest_variance=rest), alpha=0.05)
    n_seeds, n_images = required.seeds or 3, required.images or 1_000
    variance = seed / n_seeds + image / n_images + rest / (n_seeds * n_images)
    assert variance <= (0.01**2 / 7.8488) * (1 + 1e-9)


def test_a_detectable_difference_is_what_the_required_seeds_detect():
    one = planned(seed_variance=1e-4, image_variance=1e-3, rest_variance=0.01)
    seeds = required_sample_size(one, alpha=0.05).seeds
    assert detectable_difference(one, seeds, alpha=0.05) <= 0.01 < detectable_difference(one, seeds - 1, alpha=0.05)
    smaller = required_sample_size(one, alpha=0.05, size=0.005)
    assert detectable_difference(one, smaller.seeds, alpha=0.05) <= 0.005
    assert math.isnan(detectable_difference(planned(seed_variance=float("nan")), 5, alpha=0.05))


def test_labels_are_joined_as_told():
    comparison = compare_configurations(configurations((0.80, 0.91, 0.91)))
    found = comparison_findings(comparison, join=" / ".join)
    assert "hidden 500 / hidden 1000 than with hidden 100" in found[0].sentence


def test_words_and_figures():
    assert points(0.024) == "2.4"
    assert points(-0.0001) == "0.0"
    assert [rounded(n) for n in (3, 20, 37, 137, 4_321)] == ["3", "20", "37", "140", "4,400"]


def test_sentences_name_the_split_that_was_compared():
    noisy = compare_configurations(configurations((0.90, 0.905), n_seeds=3))
    said = [one.sentence for one in comparison_findings(noisy, split="validation")]
    assert any("validation samples are needed" in one or "seeds per configuration" in one for one in said)
    assert not any("test" in one for one in said)
