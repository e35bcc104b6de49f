import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from strategies import logits_and_labels, seeds

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.calibration import (
    BINS,
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    brier_score,
    expected_calibration_error,
    find_temperature,
    reliability_bins,
    temperature_loss,
)
from chalknet.network.softmax import softmax


def loop_ece(confidence, correct, n_bins):
    """Return the calibration error by its definition, one prediction and one bin at a time."""
    total = 0.0
    for m in range(1, n_bins + 1):
        inside = [n for n, c in enumerate(confidence) if (m - 1) / n_bins < c <= m / n_bins]
        if inside:
            accuracy = sum(bool(correct[n]) for n in inside) / len(inside)
            mean = math.fsum(float(confidence[n]) for n in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


def test_calibration_error_by_hand():
    # (0.5, 0.75]: confidences 0.6 and 0.7, one right, |0.5 - 0.65| = 0.15; (0.75, 1]: 0.9 and 1, both right, 0.05
    bins = reliability_bins([0.6, 0.9, 0.7, 1.0], [True, True, False, True], 4)
    assert [one.count for one in bins] == [0, 0, 2, 2]
    assert (bins[2].correct, bins[2].accuracy, bins[2].confidence) == (1, 0.5, pytest.approx(0.65))
    assert math.isnan(bins[0].accuracy)
    assert math.isnan(bins[0].confidence)
    assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)


@given(seeds, st.integers(1, 200), st.integers(1, 20))
def test_calibration_error_equals_a_slow_loop(seed, n, n_bins):
    rng = np.random.default_rng(seed)
    confidence = np.concatenate([rng.uniform(1e-9, 1, n), np.arange(1, n_bins + 1) / n_bins])  # edges too
    correct = rng.random(len(confidence)) < confidence
    error = expected_calibration_error(reliability_bins(confidence, correct, n_bins))
    assert error == pytest.approx(loop_ece(confidence, correct, n_bins), abs=1e-12)
    assert 0 <= error <= 1


def test_calibration_error_of_calibrated_and_overconfident():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 200_000)
    honest = reliability_bins(confidence, rng.random(len(confidence)) < confidence)
    # a bin of 14,000 answers strays by 0.004 or less; the error is the mean of fifteen such
    assert len(honest) == BINS
    assert expected_calibration_error(honest) < 0.005
    boasting = reliability_bins(confidence, rng.random(len(confidence)) < confidence - 0.1)
    assert expected_calibration_error(boasting) == pytest.approx(0.1, abs=0.01)


def test_an_edge_belongs_to_the_lower_bin_and_0_to_the_first():
    bins = reliability_bins([0.0, 0.25, 0.5, 0.75, 1.0], [True] * 5, 4)
    assert [one.count for one in bins] == [2, 1, 1, 1]
    assert [(one.low, one.high) for one in bins] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]


@pytest.mark.parametrize(
    ("confidence", "correct", "n_bins", "error", "message"),
    [
        ([0.5], [True, False], 15, ShapeError, r"got \(1,\) and \(2,\)"),
        ([], [], 15, ShapeError, "N >= 1"),
        ([0.5], [True], 0, ConfigError, "n_bins must be"),
        ([1.5], [True], 15, ConfigError, r"must lie in \[0, 1\]"),
        ([math.nan], [True], 15, ConfigError, r"must lie in \[0, 1\]"),
    ],
)
def test_invalid_confidences_and_bins_are_refused(confidence, correct, n_bins, error, message):
    with pytest.raises(error, match=message):
        reliability_bins(confidence, correct, n_bins)


def test_brier_score_by_hand():
    assert brier_score(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0])) == pytest.approx((0.08 + 0.72) / 2)
    assert brier_score(np.eye(3), np.arange(3)) == 0.0
    assert brier_score(np.eye(2), np.array([1, 0])) == 2.0
    assert brier_score(np.full((5, 4), 0.25), np.zeros(5, int)) == pytest.approx(1 - 1 / 4)


@given(logits_and_labels(dtype=np.float32))
def test_brier_score_equals_a_slow_loop(case):
    logits, labels = case
    probabilities = softmax(logits)[0]
    before = probabilities.copy()
    total = sum(
        (float(p) - (k == label)) ** 2
        for row, label in zip(probabilities, labels, strict=True)
        for k, p in enumerate(row)
    )
    assert brier_score(probabilities, labels) == pytest.approx(total / len(labels), rel=1e-12)
    np.testing.assert_array_equal(probabilities, before)


def random_logits(seed, n_networks=1, n_samples=60, size=2.0):
    """Return logits (M, N, K) and labels that follow them, so that the best temperature is near `size`."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(n_samples, 4))
    labels = (clean + rng.gumbel(size=clean.shape)).argmax(axis=1)
    return size * (clean + 0.3 * rng.normal(size=(n_networks, n_samples, 4))), labels


@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("inverse", [0.1, 1.0, 3.0])
def test_the_slope_of_the_temperature_loss_is_its_derivative(n_networks, inverse):
    logits, labels = random_logits(0, n_networks)
    weights = np.random.default_rng(1).random(len(labels))
    step = 1e-5
    for each in (None, weights):
        ends = [temperature_loss(inverse + one, logits, labels, each)[0] for one in (step, -step)]
        slope = temperature_loss(inverse, logits, labels, each)[1]
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-9)


def test_the_temperature_loss_is_the_loss_of_mean_probabilities():
    logits, labels = random_logits(2, 3)
    p = np.exp(logits / 2.5)
    p = (p / p.sum(axis=2, keepdims=True)).mean(axis=0)
    want = -np.log(p[np.arange(len(labels)), labels]).mean()
    assert temperature_loss(1 / 2.5, logits, labels)[0] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_networks", [1, 3])
def test_the_temperature_has_the_smallest_loss(seed, n_networks):
    logits, labels = random_logits(seed, n_networks, size=3.0)

    def loss(log_t):
        return temperature_loss(np.exp(-log_t), logits, labels)[0]

    bounds = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    want = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    found = find_temperature(logits, labels)
    assert np.log(found) == pytest.approx(want.x, abs=1e-5)  # near a minimum, rounding hides smaller steps
    assert find_temperature(logits, labels, np.ones(len(labels))) == pytest.approx(found)
    twice = np.arange(len(labels)) % 2
    repeated = np.repeat(np.arange(len(labels)), 1 + twice)
    weighted = find_temperature(logits, labels, 1.0 + twice)
    assert weighted == pytest.approx(find_temperature(logits[:, repeated], labels[repeated]), rel=1e-6)


def test_the_temperature_stays_within_its_bounds():
    sure = np.where(np.eye(3, dtype=bool), 1.0, 0.0)[None]
    assert find_temperature(sure, np.arange(3)) == pytest.approx(MIN_TEMPERATURE, rel=1e-6)  # all are correct
    assert find_temperature(sure, np.array([1, 2, 0])) == pytest.approx(MAX_TEMPERATURE, rel=1e-6)  # none is
    assert find_temperature(np.zeros((1, 3, 3)), np.arange(3)) == 1.0  # no temperature changes anything


def test_the_temperature_of_huge_logits_is_finite():
    logits, labels = random_logits(4)
    assert np.isfinite(temperature_loss(1.0, 1e300 * logits, labels)[0])


def test_logits_of_other_shapes_have_no_temperature():
    logits, labels = random_logits(5)
    with pytest.raises(ShapeError, match=r"logits must be \(M, N, K\)"):
        find_temperature(logits[0], labels)
