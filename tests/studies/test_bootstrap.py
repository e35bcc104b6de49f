"""The Multi-Bootstrap is compared with a slow loop and its exact moments, and tried at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from chalknet.errors import ConfigError, DataError, ShapeError
from chalknet.studies.bootstrap import _counts, choice_optimism, multi_bootstrap
from chalknet.studies.simulation import population, simulate


def made_configurations(n_seeds, n_images, seed=0, accuracies=(0.9, 0.88)):
    of = population(0.9, 1.0, "graded", n_images)
    return simulate(accuracies, of, n_seeds, n_images, np.random.default_rng(seed))


def multi_bootstrap_by_loops(configs, rng, n_resamples):
    """One resample after the other by drawing rows and columns; the same stream is not asked for, the law is."""
    found = np.empty((n_resamples, len(configs)))
    for r in range(n_resamples):
        images = rng.integers(0, configs[0].shape[1], configs[0].shape[1])
        for c, config in enumerate(configs):
            found[r, c] = config[rng.integers(0, len(config), len(config))][:, images].mean()
    return found


def test_counts_are_multinomial():
    counts = _counts(np.random.default_rng(0), 4_000, 7)
    assert (counts.sum(axis=1) == 7).all()
    # mean 1, variance 1 - 1/7, covariance -1/7; 28,000 counts put the errors near 0.006
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.07)
    assert np.cov(counts.T)[0, 0] == pytest.approx(6 / 7, abs=0.08)
    assert np.cov(counts.T)[0, 1] == pytest.approx(-1 / 7, abs=0.05)


def test_it_has_the_mean_and_covariance_of_the_slow_loop():
    configs = made_configurations(3, 60)
    fast = multi_bootstrap(configs, np.random.default_rng(1), n_resamples=4_000)
    slow = multi_bootstrap_by_loops(configs, np.random.default_rng(2), 4_000)
    error = 5 * slow.std(axis=0) / np.sqrt(4_000)
    assert (np.abs(fast.mean(axis=0) - [config.mean() for config in configs]) < error).all()
    assert np.cov(fast.T) == pytest.approx(np.cov(slow.T), rel=0.15)


def test_one_seed_is_the_bootstrap_of_its_images():
    config = made_configurations(1, 400)[0]
    found = multi_bootstrap([config], np.random.default_rng(0), n_resamples=5_000)[:, 0]
    p = config.mean()
    assert found.std() == pytest.approx(np.sqrt(p * (1 - p) / 400), rel=0.05)
    low, high = np.quantile(found, [0.025, 0.975])
    assert low < p < high


def test_images_are_paired_between_configurations():
    config = made_configurations(1, 300)[0]
    found = multi_bootstrap({"a": config, "b": config}, np.random.default_rng(0), n_resamples=300)
    assert np.array_equal(found[:, 0], found[:, 1])


def test_seeds_are_not_paired_between_configurations():
    config = made_configurations(4, 300)[0]
    found = multi_bootstrap([config, config], np.random.default_rng(0), n_resamples=100)
    assert not np.array_equal(found[:, 0], found[:, 1])


def test_same_generator_gives_same_resamples():
    configs = [config * 0.5 for config in made_configurations(3, 50)]
    first = multi_bootstrap(configs, np.random.default_rng(4), n_resamples=1_200)
    assert np.array_equal(first, multi_bootstrap(configs, np.random.default_rng(4), n_resamples=1_200))
    whole = multi_bootstrap(made_configurations(3, 50), np.random.default_rng(4), n_resamples=1_200)
    assert first == pytest.approx(whole / 2)


def test_optimism_is_small_for_a_clear_winner_only():
    clear = choice_optimism(
        dict(zip("ab", made_configurations(5, 1_000, accuracies=(0.95, 0.8)), strict=True)), np.random.default_rng(0)
    )
    assert clear.chosen == "a"
    assert clear.win_rate == {"a": 1.0, "b": 0.0}
    assert abs(clear.optimism) < 0.001
    close = choice_optimism(
        dict(zip("abcd", made_configurations(3, 500, accuracies=[0.9] * 4), strict=True)), np.random.default_rng(0)
    )
    assert 0.001 < close.optimism < 0.02
    assert close.corrected == pytest.approx(close.accuracy - close.optimism)
    assert sum(close.win_rate.values()) == pytest.approx(1.0)


def test_optimism_is_the_mean_excess_of_the_best_per_resample():
    configs = dict(zip("abc", made_configurations(3, 200, accuracies=(0.9, 0.895, 0.88)), strict=True))
    found = choice_optimism(configs, np.random.default_rng(7), n_resamples=300)
    as_found = {label: config.mean() for label, config in configs.items()}
    gains = []
    for row in multi_bootstrap(configs, np.random.default_rng(7), n_resamples=300):
        winner = list(configs)[list(row).index(max(row))]  # the first of equals
        gains.append(max(row) - as_found[winner])
    assert found.optimism == pytest.approx(np.mean(gains))


def test_one_configuration_is_no_choice():
    assert choice_optimism({"only": made_configurations(3, 100)[0]}, np.random.default_rng(0)).optimism == 0.0


def test_bad_input_is_named():
    rng = np.random.default_rng(0)
    with pytest.raises(ShapeError, match="at least one configuration"):
        multi_bootstrap([], rng)
    with pytest.raises(ShapeError, match="same samples"):
        multi_bootstrap([np.ones((2, 5)), np.ones((2, 6))], rng)
    with pytest.raises(DataError, match=r"numbers in \[0, 1\]"):
        multi_bootstrap([np.full((2, 5), np.nan)], rng)
    with pytest.raises(DataError, match="dtype"):
        multi_bootstrap([np.full((2, 5), "yes")], rng)
    with pytest.raises(ConfigError, match="n_resamples"):
        multi_bootstrap([np.ones((2, 5))], rng, n_resamples=0)
