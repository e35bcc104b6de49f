"""Whether probabilities mean what they say: reliability bins, the expected calibration error, the Brier score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray, LabelArray, check_logits_and_labels

BINS = 15  # as in Guo et al.


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers whose confidence, the probability of the predicted class, lies in (low, high].

    Attributes:
        count: n_m of them; correct: those that are correct.
        confidence: c_m, the mean of their confidences, and accuracy: a_m, the
            fraction that is correct; nan where there is none.
    """

    low: float
    high: float
    count: int
    correct: int
    confidence: float
    accuracy: float


def reliability_bins(confidence: Any, correct: Any, n_bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Answers by their confidence, in bins of equal width over (0, 1]; the figures that M4 is made of.

    Args:
        confidence: (N,) in [0, 1]; a confidence of 0 counts to the first bin.
        correct: (N,) bool, whether the predicted class is the true one.
        n_bins: M >= 1.
    Returns:
        M bins, from low confidence to high.
    Raises:
        ShapeError: the shapes are not (N,) with N >= 1. ConfigError: n_bins below 1, a confidence outside [0, 1].
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
    bin_of = np.searchsorted(edges, confidence, side="left")  # on an edge it belongs to the bin below
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
    """How far confidences are from the accuracies that they claim, on average over the answers.

    ECE = sum_m (n_m / N) |a_m - c_m|                                 (docs/derivation.md, M4)

    It depends on the bins; with few answers in them chance alone makes it larger than 0.

    Args:
        bins: of `reliability_bins`, at least one answer in all.
    Returns:
        float in [0, 1].
    Source: Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning (AAAI 2015);
        Guo et al. (ICML 2017), equation 3.
    """
    total = sum(one.count for one in bins)
    return sum(one.count / total * abs(one.accuracy - one.confidence) for one in bins if one.count)


def brier_score(probabilities: FloatArray, labels: LabelArray) -> float:
    """Mean squared distance of the probabilities from the one-hot rows of the true classes.

    Brier = (1/N) sum_n sum_k (p_nk - Y_nk)^2                         (docs/derivation.md, M5)

    Args:
        probabilities: (N, K), rows of sum 1.
        labels: (N,) integers in [0, K).
    Returns:
        float in [0, 2]: 0 where all is right and certain, 1 - 1/K where nothing is known.
    Raises:
        ShapeError: as `softmax_cross_entropy`.
    Source: Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78 (1950).
    """
    check_logits_and_labels(probabilities, labels)
    distance = probabilities.astype(np.float64)
    distance[np.arange(len(labels)), labels] -= 1.0
    return float(np.square(distance).sum(axis=1).mean())
