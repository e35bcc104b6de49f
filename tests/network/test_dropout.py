import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes, seeds

from chalknet.network.dropout import dropout
from chalknet.network.random_numbers import RATE_STEPS, dropout_mask, generator_for, uniforms


def test_dropout_by_hand():
    value, backward = dropout(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 0.0, 2.0]]))
    assert value.tolist() == [[2.0, 0.0, 6.0]]
    assert backward(np.array([[5.0, 5.0, 5.0]])).tolist() == [[10.0, 0.0, 10.0]]


@given(seeds, st.integers(1, 70), st.integers(0, 20), st.integers(1, 20), dtypes)
def test_masks_of_some_rows_equal_those_of_the_whole_batch(seed, width, start, n, dtype):
    whole = dropout_mask(seed, 3, 7, slice(0, 50), width, 0.3, dtype)
    part = dropout_mask(seed, 3, 7, slice(start, start + n), width, 0.3, dtype)
    assert part.dtype == dtype
    np.testing.assert_array_equal(part, whole[start : start + n])
    numbers = uniforms(seed, 3, 7, slice(0, 50), width)
    np.testing.assert_array_equal(uniforms(seed, 3, 7, slice(start, start + n), width), numbers[start : start + n])


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_the_dropped_fraction_is_the_rate_and_the_mean_is_kept(rate):
    factors = dropout_mask(0, 1, 1, slice(0, 1000), 1000, rate, np.float64)
    kept = factors > 0
    n = factors.size
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / n) + 1 / RATE_STEPS  # four deviations
    assert np.unique(factors[kept]).tolist() == [RATE_STEPS / (RATE_STEPS - round(rate * RATE_STEPS))]
    assert abs(factors.mean() - 1) < 4 * np.sqrt(rate / (1 - rate) / n)


def test_seeds_streams_and_updates_give_independent_masks():
    draws = [
        uniforms(seed, stream, update, slice(0, 200), 50).ravel()
        for seed, stream, update in [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2), (0, 2**32, 1), (2**32 - 1, 0, 1)]
    ]
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 4.5 / np.sqrt(10_000)  # 15 pairs of 10,000 independent numbers


def test_uniform_numbers_are_uniform():
    numbers = np.sort(uniforms(5, 0, 1, slice(0, 100), 100).ravel())
    assert 0 <= numbers[0] < numbers[-1] < 1
    # Kolmogorov's statistic at a level of 1 in 1,000: 1.95 / sqrt(n).
    assert np.abs(numbers - (np.arange(10_000) + 0.5) / 10_000).max() < 1.95 / 100


def test_the_first_random_numbers_never_change():
    assert uniforms(1, 2, 3, slice(4, 5), 2).tolist() == FIRST
    assert generator_for(1, 2, 3).integers(0, 1000, 3).tolist() == FIRST_OF_GENERATOR


FIRST = [[0.8023431679793755, 0.6825007163308827]]
FIRST_OF_GENERATOR = [733, 137, 571]
