"""Wilson, McNemar and Holm agree with statsmodels, hand examples and their definitions."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chalknet.errors import ConfigError, ShapeError
from chalknet.studies.intervals import holm, mcnemar, wilson
from chalknet.studies.random_effects import gain_of_averaging

counts = st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_limits_are_where_the_score_test_turns(case, level):
    n_correct, n = case
    found = wilson(n_correct, n, level)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    z = {0.5: 0.6744897501960817, 0.9: 1.6448536269514722, 0.95: 1.959963984540054, 0.99: 2.5758293035489004}[level]
    for limit in (found.low, found.high):
        if 0.0 < limit < 1.0:  # |p - limit| = z sqrt(limit (1-limit) / n), the definition
            assert abs(found.value - limit) == pytest.approx(z * (limit * (1 - limit) / n) ** 0.5, rel=1e-6, abs=1e-12)


def test_wilson_agrees_with_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for n_correct, n in ((0, 10), (9, 10), (2_500, 2_724), (1_000, 1_000)):
        found = wilson(n_correct, n)
        assert (found.low, found.high) == pytest.approx(proportion.proportion_confint(n_correct, n, method="wilson"))


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_exact_binomial(b, c):
    first = np.array([1] * b + [0] * c + [1, 0])
    second = np.array([0] * b + [1] * c + [1, 0])
    tail = sum(Fraction(comb(b + c, k), 2 ** (b + c)) for k in range(min(b, c) + 1))
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (b, c)
    assert found.p_value == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-10)


def test_mcnemar_agrees_with_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    rng = np.random.default_rng(0)
    first, second = rng.random(500) < 0.9, rng.random(500) < 0.86
    table = [[np.sum(first & second), np.sum(first & ~second)], [np.sum(~first & second), np.sum(~first & ~second)]]
    assert mcnemar(first, second).p_value == pytest.approx(tables.mcnemar(table, exact=True).pvalue)


def test_holm_by_hand():
    # sorted 0.01, 0.03, 0.04: times 3, 2, 1 is 0.03, 0.06, 0.04, and no later one may be smaller
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels_and_never_lowers(p_values):
    found = holm(p_values)
    assert all(after >= before for after, before in zip(found, p_values, strict=True))
    multiple = pytest.importorskip("statsmodels.stats.multitest")
    assert found == pytest.approx(tuple(multiple.multipletests(p_values, method="holm")[1]))


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match=r"got 11 of 10"):
        wilson(11, 10)
    with pytest.raises(ConfigError, match=r"such as 0\.95"):
        wilson(1, 10, level=95)
    with pytest.raises(ShapeError, match="same images"):
        mcnemar([1, 0], [1, 0, 1])
    with pytest.raises(ShapeError, match="right or wrong"):
        mcnemar([1, 2], [1, 0])
    with pytest.raises(ConfigError, match="p-values"):
        holm([0.5, 1.5])


def test_gain_of_averaging_is_a_paired_t_interval():
    rng = np.random.default_rng(0)
    members, together = rng.random((4, 60)) < 0.8, rng.random(60) < 0.9
    found = gain_of_averaging(together, members, 0.9)
    want = stats.ttest_1samp(together - members.mean(axis=0), 0.0)
    assert found.value == pytest.approx((together - members.mean(axis=0)).mean())
    limits = want.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))


def test_networks_that_agree_gain_nothing():
    correct = np.array([True, False, True])
    assert gain_of_averaging(correct, np.stack([correct, correct])).value == 0.0
    with pytest.raises(ShapeError, match=r"ensemble must be \(M,\) and members \(S, M\) with M >= 2, got \(1,\)"):
        gain_of_averaging([True], [[True]])
