"""Calibration of probabilities: reliability bins, expected calibration error and Brier score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray, LabelArray, check_logits_and_labels

BINS = 15  # the number that Guo et al. use


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
