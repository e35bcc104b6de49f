"""Mean squares agree with slow loops, variances with expectations, intervals with closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chalknet.errors import ConfigError, ShapeError
from chalknet.studies.intervals import wilson
from chalknet.studies.random_effects import (
    MeanSquares,
    Spread,
    accuracy_limits,
    mean_limits,
    mean_squares,
    spread_of_difference,
    spread_of_mean,
    variance_of_mean,
)


def mean_squares_by_loops(values):
    n_seeds, n_images = values.shape
    mean = values.mean()
    seeds = images = rest = 0.0
    for s in range(n_seeds):
        for i in range(n_images):
            row, column = values[s].mean() - mean, values[:, i].mean() - mean
            seeds += row**2
            images += column**2
            rest += (values[s, i] - mean - row - column) ** 2
    return seeds / (n_seeds - 1), images / (n_images - 1), rest / ((n_seeds - 1) * (n_images - 1))


@given(st.integers(2, 5), st.integers(2, 9), st.integers(0, 10_000))
def test_mean_squares_are_those_of_a_slow_loop(n_seeds, n_images, seed):
    values = np.random.default_rng(seed).normal(size=(n_seeds, n_images))
    found = mean_squares(values)
    assert (found.seeds, found.images, found.rest) == pytest.approx(mean_squares_by_loops(values), rel=1e-9, abs=1e-12)


def test_mean_squares_agree_with_statsmodels():
    pytest.importorskip("statsmodels")
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = np.random.default_rng(0).normal(size=(4, 7))
    frame = pd.DataFrame({"y": values.ravel(), "s": np.repeat(range(4), 7), "i": np.tile(range(7), 4)})
    table = anova_lm(ols("y ~ C(s) + C(i)", frame).fit())
    found = mean_squares(values)
    assert [found.seeds, found.images, found.rest] == pytest.approx(table["mean_sq"].tolist())


def test_the_variance_of_the_mean_is_unbiased_where_seeds_matter():
    rng = np.random.default_rng(3)
    seed_sd, image_sd, rest_sd, n_seeds, n_images, n = 0.5, 1.0, 0.7, 4, 30, 4_000
    values = seed_sd * rng.normal(size=(n, n_seeds, 1)) + image_sd * rng.normal(size=(n, 1, n_images))
    values = values + rest_sd * rng.normal(size=(n, n_seeds, n_images))
    true = seed_sd**2 / n_seeds + image_sd**2 / n_images + rest_sd**2 / (n_seeds * n_images)
    found = spread_of_mean(mean_squares(values))
    # 4,000 draws of a variance with few degrees of freedom: the mean's own error is 1.2 %
    assert found.variance.mean() == pytest.approx(true, rel=0.04)
    assert mean_squares(values).mean.var() == pytest.approx(true, rel=0.08)


def test_seeds_alone_use_student_t_over_their_means():
    # every image alike within a seed: images and rest are 0, and S - 1 degrees of freedom are left
    by_seed = np.array([0.90, 0.92, 0.93])
    squares = mean_squares(np.repeat(by_seed[:, None], 50, axis=1))
    spread = spread_of_mean(squares)
    assert float(spread.df) == pytest.approx(2.0)
    half = 4.302652729911275 * by_seed.std(ddof=1) / np.sqrt(3)
    assert mean_limits(squares.mean, spread, 0.95)[1] - by_seed.mean() == pytest.approx(half, rel=1e-6)


def test_one_seed_gives_wilson_and_students_t_over_images():
    correct = (np.arange(200) < 180).astype(float)[None]
    squares = mean_squares(correct)
    low, high = accuracy_limits(squares, 0.95)
    assert (low, high) == pytest.approx((wilson(180, 200).low, wilson(180, 200).high))
    spread = spread_of_mean(squares)
    assert float(spread.df) == 199.0
    assert float(spread.variance) == pytest.approx(correct.var(ddof=1) / 200)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_values_have_the_interval_of_one_run(value):
    low, high = accuracy_limits(mean_squares(np.full((3, 100), value)), 0.95)
    expected = wilson(100 * value, 100)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high))


def test_logit_interval_is_symmetric_in_accuracy_and_error():
    correct = (np.random.default_rng(0).random((4, 300)) < 0.95).astype(float)
    low, high = accuracy_limits(mean_squares(correct), 0.95)
    low_errors, high_errors = accuracy_limits(mean_squares(1.0 - correct), 0.95)
    assert (low, high) == pytest.approx((1 - high_errors, 1 - low_errors))
    assert 0.0 < low < correct.mean() < high < 1.0


def test_degrees_of_freedom_add_up_for_equal_seed_variances():
    def configuration(seeds):
        return MeanSquares(3, 1_000, np.float64(0.9), np.float64(seeds), np.float64(0.0), np.float64(0.0))

    alike = variance_of_mean(np.float64(0.0), 1_000, [configuration(1.0), configuration(1.0)])
    alone = variance_of_mean(np.float64(0.0), 1_000, [configuration(1.0), configuration(0.0)])
    assert (float(alike.df), float(alone.df)) == (4.0, 2.0)


def test_many_studies_at_once_are_the_same_as_one_by_one():
    values = (np.random.default_rng(5).random((6, 3, 40)) < 0.8).astype(float)
    together = accuracy_limits(mean_squares(values), 0.9)
    for n, one in enumerate(values):
        assert accuracy_limits(mean_squares(one), 0.9) == pytest.approx((together[0][n], together[1][n]))


@given(st.integers(0, 10_000))
def test_the_spread_of_a_difference_does_not_depend_on_the_order(seed):
    rng = np.random.default_rng(seed)
    first, second = (rng.random((3, 60)) < 0.8).astype(float), (rng.random((4, 60)) < 0.7).astype(float)
    parts = [mean_squares(first), mean_squares(second)]
    by_image = first.mean(axis=0) - second.mean(axis=0)
    one, other = spread_of_difference(by_image, parts), spread_of_difference(-by_image, parts[::-1])
    assert float(one.variance) == pytest.approx(float(other.variance))
    assert float(one.df) == pytest.approx(float(other.df))
    assert float(one.variance) > 0.0


def test_a_wider_level_is_wider_and_bad_ones_are_refused():
    spread = Spread(np.float64(1e-4), np.float64(5.0))
    low, high = mean_limits(np.float64(0.0), spread, 0.95)
    assert high == pytest.approx(stats.t.ppf(0.975, 5) * 0.01)
    assert mean_limits(np.float64(0.0), spread, 0.99)[1] > high > 0 > low
    with pytest.raises(ConfigError, match=r"such as 0\.95, got 1"):
        mean_limits(np.float64(0.0), spread, 1)
    with pytest.raises(ShapeError, match=r"M >= 2 images, got \(3, 1\)"):
        mean_squares(np.ones((3, 1)))
