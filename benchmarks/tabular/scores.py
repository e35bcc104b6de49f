"""Scores of the probabilities that a run predicts."""

from __future__ import annotations

from typing import Any

import numpy as np

# Bins of equal width of the expected calibration error.
ECE_BINS = 15
# Probabilities below this count as this in the log loss, and float32 ones of 0 with it.
MIN_PROBABILITY = 1e-7
# Scores of a run, with +1 where more is better and -1 where less is.
SCORES = {"accuracy": 1, "log_loss": -1, "balanced_accuracy": 1, "calibration_error": -1}


def scores_of(probabilities: Any, labels: Any) -> dict[str, float]:
    """Return the scores in SCORES.

    Args:
        probabilities: (N, K), rows of which sum to 1.
        labels: (N,) integers in [0, K).
    """
    p = np.asarray(probabilities, dtype=float)
    predicted = p.argmax(axis=1)
    recalls = [float((predicted[labels == k] == k).mean()) for k in np.unique(labels)]
    likelihoods = p[np.arange(len(labels)), labels]
    return {
        "accuracy": float((predicted == labels).mean()),
        "log_loss": float(-np.log(np.clip(likelihoods, MIN_PROBABILITY, 1)).mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "calibration_error": expected_calibration_error(p, labels),
    }


def expected_calibration_error(probabilities: Any, labels: Any, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error of the predicted class.

    ECE = sum_m n_m / N |accuracy_m - confidence_m| over bins of equal width of the largest probability;
    bin m holds confidences in (m / bins, (m + 1) / bins].

    Source: Guo et al., On calibration of modern neural networks, ICML (2017), equation 3.
    """
    p = np.asarray(probabilities, dtype=float)
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [abs((correct[numbers == m].astype(float) - confidence[numbers == m]).sum()) for m in np.unique(numbers)]
    return float(np.sum(gaps) / len(labels))
