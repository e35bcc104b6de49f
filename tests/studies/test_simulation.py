"""Simulated classifiers have the accuracy and the variance between seeds that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from chalknet.errors import ConfigError
from chalknet.studies.simulation import DIFFICULTIES, population, simulate


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("accuracy", [0.6, 0.92, 0.99])
def test_simulated_accuracy_is_the_requested_one(difficulty, accuracy):
    of = population(accuracy, 1.0, difficulty, 1_000)
    rng = np.random.default_rng(0)
    means = [simulate((accuracy, accuracy - 0.005), of, 10, 2_000, rng) for _ in range(60)]
    for c, truth in enumerate((accuracy, accuracy - 0.005)):
        found = np.array([study[c].mean() for study in means])
        assert found.mean() == pytest.approx(truth, abs=5 * found.std() / np.sqrt(60))


def test_the_seeds_spread_by_the_stated_multiple():
    of = population(0.9, 3.0, "graded", 1_000)
    (config,) = simulate((0.9,), of, 400, 20_000, np.random.default_rng(0))
    expected = 3.0 * np.sqrt(0.09 / 1_000)
    assert config.mean(axis=1).std() == pytest.approx(expected, rel=0.15)  # 400 seeds, and first order only


def test_simulated_configurations_share_their_images():
    of = population(0.9, 0.0, "graded", 1_000)
    first, second = simulate((0.9, 0.9), of, 20, 500, np.random.default_rng(0))
    assert np.corrcoef(first.mean(axis=0), second.mean(axis=0))[0, 1] > 0.9
    with pytest.raises(ConfigError, match="accuracy in"):
        population(1.0, 0.0, "graded", 10)
    with pytest.raises(ConfigError, match="fraction of easy images"):
        simulate((0.5,), population(0.99, 0.0, "hard", 10), 2, 10, np.random.default_rng(0))
