"""Reported scores, which are never differentiated: accuracy and the write-up's printed loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray, LabelArray, check_logits_and_labels
from chalknet.network.losses import softmax_cross_entropy
from chalknet.network.softmax import log_softmax, softmax
from chalknet.records import Scores

PRINTED_LOSS_TINY = 1e-20  # the constant in the write-up's logarithm


def accuracy(predictions: Any, targets: Any) -> float:
    """Return the fraction of samples whose predicted class is the true one.

    accuracy = (1/N) #{n : prediction_n = target_n}                  (docs/derivation.md, M1)

    Args:
        predictions: (N,) class indices or names; or (N, K) scores or one-hot rows, of which the
            largest counts (the first, if several are equal).
        targets: true classes in the same form and shape.

    Returns:
        A float in [0, 1].

    Raises:
        ShapeError: (a ValueError) the shapes differ, are not (N,) or (N, K), or there are no
            samples.
    """
    predictions, targets = np.asarray(predictions), np.asarray(targets)
    if predictions.shape != targets.shape:
        raise ShapeError(f"predictions {predictions.shape} and targets {targets.shape} must have the same shape.")
    if predictions.ndim not in (1, 2) or not predictions.size:
        raise ShapeError(f"predictions and targets must be (N,) or (N, K) with N >= 1, got {predictions.shape}.")
    if predictions.ndim == 2:
        predictions, targets = predictions.argmax(axis=1), targets.argmax(axis=1)
    return float(np.mean(predictions == targets))


def printed_loss(probabilities: FloatArray, labels: LabelArray) -> float:
    """Return what the write-up printed as its loss: a cross-entropy with swapped arguments.

    printed = -(1/B) sum_n sum_k p_nk log(onehot(y_n)_k + 1e-20)
            = -log(1e-20) (1 - (1/B) sum_n p_n[y_n])                 (docs/derivation.md, M2)

    It starts near 41.4 with ten classes and falls while the probabilities of the true classes
    grow. Unlike the cross-entropy, it does not rise when a network overfits.

    Args:
        probabilities: (B, K), rows of sum 1.
        labels: (B,) integers in [0, K).

    Returns:
        A float in [0, 46.06].

    Raises:
        ShapeError: as for `softmax_cross_entropy`.
    """
    check_logits_and_labels(probabilities, labels)
    true_class = probabilities[np.arange(len(labels)), labels]
    return printed_loss_of_mean(float(true_class.mean(dtype=np.float64)))


def printed_loss_of_mean(true_class: float) -> float:
    """Return `printed_loss` from the mean probability of the true classes (M2)."""
    return -math.log(PRINTED_LOSS_TINY) * (1.0 - true_class)


def double_softmax_loss(logits: FloatArray, labels: LabelArray) -> float:
    """Return the cross-entropy that results if softmax is applied twice, in nats.

    loss = (1/N) sum_n (log sum_k exp(p_nk) - p_n[y_n]),  p = softmax(logits)   (docs/derivation.md, M9)

    Networks that end with a softmax layer report this value if their loss expects logits. It is never
    smaller than `double_softmax_floor`.

    Args:
        logits: (N, K) float32 or float64, before the first softmax.
        labels: (N,) integers in [0, K).

    Raises:
        ShapeError: as for `softmax_cross_entropy`.
    """
    return softmax_cross_entropy(softmax(logits)[0], labels)[0]


def double_softmax_floor(n_classes: int) -> float:
    """Return the smallest value of `double_softmax_loss`: log(e + K - 1) - 1, 1.461 for ten classes (M9)."""
    return math.log(math.e + n_classes - 1) - 1


def sample_losses(logits: FloatArray, labels: LabelArray) -> FloatArray:
    """Return the cross-entropy of each sample, in nats; the loss (L2) is their mean.

    loss_n = -log softmax(logits_n)[y_n]                             (docs/derivation.md, L1)

    Args:
        logits: (B, K) float32 or float64.
        labels: (B,) integers in [0, K).

    Returns:
        (B,) losses in the dtype of logits.

    Raises:
        ShapeError: as for `softmax_cross_entropy`.
    """
    check_logits_and_labels(logits, labels)
    losses: FloatArray = -log_softmax(logits)[np.arange(len(labels)), labels]
    return losses


def score(logits: FloatArray, labels: LabelArray) -> Scores:
    """Return the reported scores of samples from their logits.

    Args:
        logits: (B, K) float32 or float64.
        labels: (B,) integers in [0, K).

    Raises:
        ShapeError: as for `softmax_cross_entropy`.
    """
    return Scores(
        loss=softmax_cross_entropy(logits, labels)[0],
        accuracy=accuracy(logits.argmax(axis=1), labels),
        printed_loss=printed_loss(softmax(logits)[0], labels),
    )


def mean_scores(scores: Sequence[Scores], sizes: Sequence[int]) -> Scores:
    """Return the scores of several batches together: means weighted by batch size.

    Args:
        scores: the scores of each batch, at least one.
        sizes: the number of samples of each batch.
    """
    weights = [size / sum(sizes) for size in sizes]
    return Scores(
        loss=sum(weight * one.loss for weight, one in zip(weights, scores, strict=True)),
        accuracy=sum(weight * one.accuracy for weight, one in zip(weights, scores, strict=True)),
        printed_loss=sum(weight * one.printed_loss for weight, one in zip(weights, scores, strict=True)),
    )
