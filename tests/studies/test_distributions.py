"""Normal, Student, beta and binomial against SciPy, closed forms and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.errors import ConfigError
from chalknet.studies.distributions import (
    binomial_cdf,
    incomplete_beta,
    normal_cdf,
    normal_quantile,
    student_cdf,
    student_quantile,
)


def test_normal_and_student_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.uniform(0, 1, 300), 10 ** rng.uniform(-9, -1, 300)])
    df = np.exp(rng.uniform(0, math.log(1e7), 600))
    np.testing.assert_allclose(normal_quantile(p), stats.norm.ppf(p), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(normal_cdf(normal_quantile(p)), p, rtol=1e-12)
    # where df is near 1e5 the difference of two log-gammas has lost six of its digits, and near p = 1/2 t is near 0
    np.testing.assert_allclose(student_quantile(p, df), stats.t.ppf(p, df), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(student_cdf(stats.t.ppf(p, df), df), p, rtol=1e-8)


def test_incomplete_beta_and_binomial_agree_with_scipy():
    special, stats = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    x, a, b = rng.uniform(0, 1, 500), 10 ** rng.uniform(-1, 4, 500), 10 ** rng.uniform(-1, 4, 500)
    np.testing.assert_allclose(incomplete_beta(x, a, b), special.betainc(a, b, x), rtol=1e-8, atol=1e-11)
    for n in (1, 5, 1_000):
        for k in (-1, 0, n // 3, n // 2, n):
            assert binomial_cdf(k, n, 0.3) == pytest.approx(stats.binom.cdf(k, n, 0.3), rel=1e-11)


@given(st.floats(-50, 50))
def test_student_with_one_and_two_degrees_has_its_closed_form(t):
    assert float(student_cdf(t, 1)) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-13)
    assert float(student_cdf(t, 2)) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-13)


@given(st.floats(0.0005, 0.9995), st.floats(0.8, 1e6))
def test_the_quantile_inverts_the_distribution(p, df):
    assert float(student_cdf(student_quantile(p, df), df)) == pytest.approx(p, rel=1e-8)


def test_tables_of_student_and_the_ends():
    # Student's table as printed everywhere: 12.706, 4.303, 2.776, 2.262, 1.960
    found = student_quantile(0.975, [1, 2, 4, 9, np.inf])
    assert [round(value, 3) for value in found.tolist()] == [12.706, 4.303, 2.776, 2.262, 1.960]
    assert student_quantile([0.0, 0.5, 1.0], 3).tolist() == [-math.inf, 0.0, math.inf]
    assert student_cdf([-math.inf, math.inf], [3, math.inf]).tolist() == [0.0, 1.0]


def test_what_cannot_be_a_probability_or_degree_is_refused():
    with pytest.raises(ConfigError, match=r"\[0, 1\]"):
        normal_quantile(1.2)
    with pytest.raises(ConfigError, match="degrees of freedom"):
        student_cdf(1.0, 0.0)
    with pytest.raises(ConfigError, match="beta"):
        incomplete_beta(0.5, -1.0, 2.0)
    with pytest.raises(ConfigError, match="trials"):
        binomial_cdf(0, -1)
