"""The normal, Student, beta and binomial distributions, as far as intervals and tests need them, over arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chalknet.errors import ConfigError

FloatArray = NDArray[np.float64]

# Beyond this many degrees of freedom Student's distribution is taken from the normal one by Wallace's formula, whose
# error is then below 1e-9, while the continued fraction would need more steps and lose digits of a difference.
MANY_DEGREES = 1e5
SMALLEST = 1e-300  # stands for 0 in Lentz's method, which divides by what it carries
MOST_STEPS = 10_000
MOST_NEWTON_STEPS = 60

_erfc = np.frompyfunc(math.erfc, 1, 1)
_lgamma = np.frompyfunc(math.lgamma, 1, 1)


def normal_cdf(x: ArrayLike) -> FloatArray:
    """P(Z <= x) of the standard normal distribution: erfc(-x / sqrt(2)) / 2.

    Args:
        x: any shape; infinities are meant, nan stays nan.
    Returns:
        float64, the shape of x; relative error below 1e-13 in the lower tail too.
    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1 and 26.2.29.
    """
    return _floats(_erfc(-_floats(x) / math.sqrt(2.0))) / 2.0


def normal_quantile(p: ArrayLike) -> FloatArray:
    """The x for which `normal_cdf(x)` is p; -inf at 0 and inf at 1.

    Args:
        p: any shape, in [0, 1].
    Returns:
        float64, the shape of p; relative error about 1e-15.
    Raises:
        ConfigError: a p outside [0, 1].
    Source: Wichura, Algorithm AS 241, Applied Statistics 37 (1988), as the standard library has it.
    """
    from statistics import NormalDist  # imported here: nothing else needs it, and it brings decimal and fractions

    p = _probabilities(p)
    inner = NormalDist().inv_cdf
    ends = {0.0: -math.inf, 1.0: math.inf}
    values = [ends[one] if one in ends else inner(one) for one in p.ravel().tolist()]
    return np.array(values, dtype=np.float64).reshape(p.shape)


def incomplete_beta(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> FloatArray:
    """The regularised incomplete beta function I_x(a, b), the distribution function of Beta(a, b).

    I_x(a, b) = x^a (1-x)^b / (a B(a, b)) * F,  F the continued fraction A&S 26.5.8, by Lentz's method;
    where x > (a+1)/(a+b+2) it is 1 - I_{1-x}(b, a), for which the fraction converges quickly.

    Args:
        x: in [0, 1]; a, b: > 0; shapes that broadcast.
    Returns:
        float64 in [0, 1], the common shape.
    Raises:
        ConfigError: an x outside [0, 1], or an a or b that is not > 0.
    Source: Abramowitz and Stegun (1964), 26.5.8; Lentz, Applied Optics 15 (1976), in the form of Thompson and Barnett,
        Journal of Computational Physics 64 (1986).
    """
    x, a, b = np.broadcast_arrays(_probabilities(x), _floats(a), _floats(b))
    if not (np.all(a > 0) and np.all(b > 0)):
        raise ConfigError("a and b of the beta distribution must be > 0.")
    turned = x > (a + 1.0) / (a + b + 2.0)
    y, p, q = np.where(turned, 1.0 - x, x), np.where(turned, b, a), np.where(turned, a, b)
    with np.errstate(divide="ignore"):  # log(0) at the ends gives exp(-inf) = 0, which is right
        log_front = p * np.log(y) + q * np.log1p(-y) + log_gamma(p + q) - log_gamma(p) - log_gamma(q)
    value = np.exp(log_front) / p * _beta_fraction(y, p, q)
    return np.asarray(np.where(turned, 1.0 - value, value))


def _beta_fraction(x: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """1/(1+ d_1/(1+ d_2/(1+ ...))) of A&S 26.5.8, until no element moves by more than some rounding units."""
    tiny = SMALLEST
    c = np.ones_like(x)
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d.copy()
    for m in range(1, MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        change = np.ones_like(x)
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d, tiny)
            c = _away_from_zero(1.0 + term / c, tiny)
            change = c * d
            value = value * change
        if np.all(np.abs(change - 1.0) < 1e-14):
            break
    return value


def _away_from_zero(x: FloatArray, tiny: float) -> FloatArray:
    return np.asarray(np.where(np.abs(x) < tiny, tiny, x))


def student_cdf(t: ArrayLike, df: ArrayLike) -> FloatArray:
    """P(T <= t) of Student's distribution with df degrees of freedom, which need not be whole.

    P(T <= -|t|) = I_{df/(df + t^2)}(df/2, 1/2) / 2

    Args:
        t: any values; df: > 0, infinity meaning the normal distribution; shapes that broadcast.
    Returns:
        float64, the common shape.
    Raises:
        ConfigError: a df that is not > 0.
    Source: Abramowitz and Stegun (1964), 26.7.1 with 26.5.27; beyond 100,000 degrees of freedom
        Wallace, Annals of Mathematical Statistics 30 (1959).
    """
    t, df = np.broadcast_arrays(_floats(t), _floats(df))
    if not np.all(df > 0):
        raise ConfigError("degrees of freedom must be > 0.")
    size = np.abs(t)
    many = df > MANY_DEGREES
    # where the other formula holds, 1 stands for df, with which the fraction takes few steps
    tail = np.where(many, _tail_from_normal(size, df), _tail_from_beta(size, np.where(many, 1.0, df)))
    return np.asarray(np.where(t > 0, 1.0 - tail, tail))


def _tail_from_beta(size: FloatArray, df: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):  # the square of a huge t is infinite, and its tail 0
        return incomplete_beta(df / (df + size**2), df / 2.0, 0.5) / 2.0


def _tail_from_normal(size: FloatArray, df: FloatArray) -> FloatArray:
    finite = np.where(np.isinf(size), 0.0, size)
    many = np.clip(df, MANY_DEGREES, 1e15)  # at infinity the logarithm would be inf * 0
    normal = (8.0 * many + 1.0) / (8.0 * many + 3.0) * np.sqrt(many * np.log1p(finite**2 / many))
    return np.asarray(np.where(np.isinf(size), 0.0, normal_cdf(-normal)))


def student_quantile(p: ArrayLike, df: ArrayLike) -> FloatArray:
    """The t for which `student_cdf(t, df)` is p; -inf at 0 and inf at 1.

    Newton's steps on the logarithm of the tail, from the normal quantile, kept inside a bracket that each one narrows.

    Args:
        p: in [0, 1]; df: > 0; shapes that broadcast.
    Returns:
        float64, the common shape; relative error below 1e-10 for df >= 1.
    Raises:
        ConfigError: a p outside [0, 1], or a df that is not > 0.
    Source: as `student_cdf`; the density is Abramowitz and Stegun (1964), 26.7.2.
    """
    p, df = np.broadcast_arrays(_probabilities(p), _floats(df))
    tail = np.minimum(p, 1.0 - p)
    inside = (tail > 0.0) & (tail < 0.5)
    # 0.25 stands in where the answer is known without a search
    size = _tail_quantile(np.where(inside, tail, 0.25), df)
    size = np.where(tail == 0.0, np.inf, np.where(inside, size, 0.0))
    return np.asarray(np.where(p < 0.5, -size, size))


def _tail_quantile(tail: FloatArray, df: FloatArray) -> FloatArray:
    low, t = np.zeros_like(tail), -normal_quantile(tail)
    high = np.full_like(tail, np.inf)
    for _ in range(MOST_NEWTON_STEPS):
        found = np.maximum(student_cdf(-t, df), SMALLEST)
        low, high = np.where(found > tail, t, low), np.where(found > tail, high, t)
        # d log(tail) / d t = -density / tail; far out the tail is a power of t, and log(t) is the better unknown
        gain = (np.log(found) - np.log(tail)) * found / np.maximum(student_density(t, df), SMALLEST)
        step = np.where(t > 1.0, t * np.exp(np.clip(gain / np.maximum(t, 1.0), -40.0, 40.0)), t + gain)
        middle = np.where(np.isinf(high), 2.0 * t + 1.0, (low + high) / 2.0)
        new = np.where((step >= low) & (step <= high), step, middle)
        done = np.abs(new - t) <= 1e-12 * (1.0 + t)
        t = new
        if np.all(done):
            break
    return t


def student_density(t: ArrayLike, df: ArrayLike) -> FloatArray:
    """The density of Student's distribution with df degrees of freedom at t.

    f(t) = Gamma((df+1)/2) / (Gamma(df/2) sqrt(pi df)) (1 + t^2/df)^(-(df+1)/2)     (A&S 26.7.2)
    """
    t, df = np.broadcast_arrays(_floats(t), _floats(df))
    few = np.minimum(df, MANY_DEGREES)
    log_scale = log_gamma((few + 1.0) / 2.0) - log_gamma(few / 2.0) - 0.5 * np.log(math.pi * few)
    return np.asarray(np.exp(log_scale - (few + 1.0) / 2.0 * np.log1p(t**2 / few)))


def binomial_cdf(k: int, n: int, p: float = 0.5) -> float:
    """P(X <= k) of n independent trials that succeed with probability p: 1 - I_p(k+1, n-k).

    Args:
        k: any whole number; n: >= 0; p: in [0, 1].
    Raises:
        ConfigError: n is negative or p is outside [0, 1].
    Source: Abramowitz and Stegun (1964), 26.5.24.
    """
    if n < 0:
        raise ConfigError(f"the number of trials must be >= 0, got {n}.")
    if k < 0:
        return 0.0
    return 1.0 if k >= n else float(incomplete_beta(1.0 - p, n - k, k + 1.0))


def log_gamma(x: ArrayLike) -> FloatArray:
    """log Gamma(x), element by element, by the standard library's `math.lgamma`."""
    return _floats(_lgamma(_floats(x)))


def _floats(x: Any) -> FloatArray:
    found: FloatArray = np.asarray(x, dtype=np.float64)
    return found


def _probabilities(p: Any) -> FloatArray:
    found = _floats(p)
    if not np.all((found >= 0.0) & (found <= 1.0)):
        raise ConfigError("probabilities must lie in [0, 1].")
    return found
