"""Calibration of probabilities: reliability bins, calibration error, Brier score and the temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray, LabelArray, check_logits_and_labels
from chalknet.network.softmax import log_softmax

BINS = 15  # the number that Guo et al. use
# The loss of validation samples that are all predicted correctly falls with the temperature T. The lower
# bound keeps such samples from making a network nearly certain of everything; regularized networks
# need about 0.6. The loss of labels that nothing predicts falls while T rises.
# With the upper bound, logits that differ by 10 still differ by 1; Guo et al. needed 1 to 3.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.25, 10.0
TEMPERATURE_STEPS = 26  # halvings of log(MAX / MIN), after which log T is known to 1e-7


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions whose confidence lies in (low, high].

    The confidence of a prediction is the probability of its predicted class.

    Attributes:
        low: lower edge of the bin, excluded.
        high: upper edge of the bin, included.
        count: number of predictions in the bin.
        correct: number of these predictions that are correct.
        confidence: mean confidence of the predictions, nan for an empty bin.
        accuracy: fraction of correct predictions, nan for an empty bin.
    """

    low: float
    high: float
    count: int
    correct: int
    confidence: float
    accuracy: float


def reliability_bins(confidence: Any, correct: Any, n_bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Group predictions by their confidence, in bins of equal width over (0, 1].

    Args:
        confidence: (N,) floats in [0, 1]. A confidence of 0 belongs to the first bin.
        correct: (N,) bool, whether the predicted class is the true one.
        n_bins: number of bins, >= 1.

    Returns:
        One `ReliabilityBin` per bin, from low confidence to high.

    Raises:
        ShapeError: the shapes differ, or are not (N,) with N >= 1.
        ConfigError: n_bins is below 1, or a confidence is outside [0, 1].

    Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks (ICML 2017), section 2.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    if confidence.shape != correct.shape or confidence.ndim != 1 or not confidence.size:
        raise ShapeError(
            f"confidence and correct must be (N,) with N >= 1, got {confidence.shape} and {correct.shape}."
        )
    if n_bins < 1:
        raise ConfigError(f"n_bins must be an integer >= 1, got {n_bins}.")
    if not (confidence.min() >= 0.0 and confidence.max() <= 1.0):
        raise ConfigError(f"confidence must lie in [0, 1], got {confidence.min()} to {confidence.max()}.")
    edges = np.arange(1, n_bins) / n_bins
    bin_of = np.searchsorted(edges, confidence, side="left")  # "left": an edge belongs to the bin below it
    counts = np.bincount(bin_of, minlength=n_bins)
    correct_counts = np.bincount(bin_of, weights=correct, minlength=n_bins).astype(np.int64)
    with np.errstate(invalid="ignore"):
        means, accuracies = np.bincount(bin_of, weights=confidence, minlength=n_bins) / counts, correct_counts / counts
    ends = [0.0, *edges.tolist(), 1.0]
    return tuple(
        ReliabilityBin(
            ends[m], ends[m + 1], int(counts[m]), int(correct_counts[m]), float(means[m]), float(accuracies[m])
        )
        for m in range(n_bins)
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the expected calibration error: the mean difference between accuracy and confidence.

    ECE = sum over bins of (count / N) |accuracy - confidence|       (docs/derivation.md, M4)

    The value depends on the bins. With few predictions in a bin, chance alone makes it larger
    than 0.

    Args:
        bins: from `reliability_bins`.

    Returns:
        A float in [0, 1].

    Source: Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian
    Binning (AAAI 2015); Guo et al. (ICML 2017), equation 3.
    """
    total = sum(one.count for one in bins)
    return sum(one.count / total * abs(one.accuracy - one.confidence) for one in bins if one.count)


def brier_score(probabilities: FloatArray, labels: LabelArray) -> float:
    """Return the Brier score: the mean squared distance from the one-hot rows of the true classes.

    Brier = (1/N) sum_n sum_k (p_nk - Y_nk)^2                         (docs/derivation.md, M5)

    Args:
        probabilities: (N, K), rows of sum 1.
        labels: (N,) integers in [0, K).

    Returns:
        A float in [0, 2]: 0 if every prediction is correct with probability 1, and 1 - 1/K if
        every class always has probability 1/K.

    Raises:
        ShapeError: as for `softmax_cross_entropy`.

    Source: Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather
    Review 78 (1950).
    """
    check_logits_and_labels(probabilities, labels)
    distance = probabilities.astype(np.float64)
    distance[np.arange(len(labels)), labels] -= 1.0
    return float(np.square(distance).sum(axis=1).mean())


def temperature_loss(
    inverse: float, logits: FloatArray, labels: LabelArray, weights: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Return the mean loss of logits times an inverse temperature, and its derivative by it.

    p_i    = softmax(inverse o_i)                                     (docs/derivation.md, M6)
    loss   = -(1/N) sum_n log( (1/M) sum_i p_in[y_n] )                (M7)
    dloss/dinverse = (1/N) sum_n sum_i c_in (sum_k p_ink o_ink - o_in[y_n])
                     c_in = p_in[y_n] / sum_i p_in[y_n]               (M8)

    With one network per sample (M = 1) the loss is a convex function of the inverse.

    Args:
        inverse: the inverse of the temperature, > 0.
        logits: (M, N, K), the logits o of each sample by M networks, whose probabilities are averaged.
        labels: (N,) integers in [0, K).
        weights: (N,) weights of the samples, or None for equal ones.

    Returns:
        loss: in nats per sample.
        derivative: by the inverse.

    Raises:
        ShapeError: the shapes are others.

    Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks (ICML 2017), section 4.2.
    """
    if logits.ndim != 3:
        raise ShapeError(f"logits must be (M, N, K), got {logits.shape}.")
    for of_network in logits:
        check_logits_and_labels(of_network, labels)
    outputs = logits.astype(np.float64)
    log_p = log_softmax((inverse * outputs).reshape(-1, outputs.shape[2])).reshape(outputs.shape)
    samples = np.arange(len(labels))
    of_true = log_p[:, samples, labels]
    largest = of_true.max(axis=0)
    ratios = np.exp(of_true - largest)
    losses = math.log(len(logits)) - largest - np.log(ratios.sum(axis=0))
    part = ratios / ratios.sum(axis=0)
    slopes = (part * ((np.exp(log_p) * outputs).sum(axis=2) - outputs[:, samples, labels])).sum(axis=0)
    return float(np.average(losses, weights=weights)), float(np.average(slopes, weights=weights))


def find_temperature(logits: FloatArray, labels: LabelArray, weights: NDArray[np.float64] | None = None) -> float:
    """Return the temperature between the bounds at which `temperature_loss` is smallest.

    The sign of the derivative (M8) says on which side the minimum lies, and log T is halved between
    the bounds. With several networks per sample there can be more than one minimum. The result
    is 1 if the minimum found is not lower than the loss at T = 1.

    Args:
        logits: (M, N, K), as for `temperature_loss`.
        labels: (N,) integers in [0, K).
        weights: (N,) weights of the samples, or None.

    Raises:
        ShapeError: as for `temperature_loss`.
    """
    low, high = math.log(1 / MAX_TEMPERATURE), math.log(1 / MIN_TEMPERATURE)
    for _ in range(TEMPERATURE_STEPS):
        middle = (low + high) / 2
        if temperature_loss(math.exp(middle), logits, labels, weights)[1] < 0:
            low = middle
        else:
            high = middle
    inverse = math.exp((low + high) / 2)
    is_lower = temperature_loss(inverse, logits, labels, weights)[0] < temperature_loss(1.0, logits, labels, weights)[0]
    return 1 / inverse if is_lower else 1.0
