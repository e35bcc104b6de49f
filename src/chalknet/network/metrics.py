"""What is counted and reported, and never differentiated: accuracy and the write-up's printed loss."""

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
    """Share of samples whose predicted class is the true one, in [0, 1].

    accuracy = (1/N) #{n : prediction_n = target_n}                  (docs/derivation.md, M1)

    Args:
        predictions, targets: both (N,) class indices or names; or both (N, K) scores or one-hot rows, of which the
            largest counts (the first of equals).
    Returns:
        float.
    Raises:
        ShapeError: (a ValueError) the shapes differ, are not (N,) or (N, K), or there are no samples.
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
    """The figure that the write-up printed as its loss: a cross-entropy with its arguments swapped.

    printed = -(1/B) sum_b sum_k p_bk log(onehot(y_b)_k + 1e-20)
            = -log(1e-20) (1 - (1/B) sum_b p_b[y_b])                 (docs/derivation.md, M2)

    It falls while the network grows surer of the true classes, starts near 41.4 for ten classes, and does not rise
    when over-fitting sets in, as the cross-entropy does.

    Args:
        probabilities: (B, K), rows of sum 1.
        labels: (B,) integers in [0, K).
    Returns:
        float in [0, 46.06].
    Raises:
        ShapeError: as `softmax_cross_entropy`.
    """
    check_logits_and_labels(probabilities, labels)
    true_class = probabilities[np.arange(len(labels)), labels]
    return printed_loss_of_mean(float(true_class.mean(dtype=np.float64)))


def printed_loss_of_mean(true_class: float) -> float:
    """`printed_loss` from the mean probability of the true classes alone (M2)."""
    return -math.log(PRINTED_LOSS_TINY) * (1.0 - true_class)


def sample_losses(logits: FloatArray, labels: LabelArray) -> FloatArray:
    """(B,) negative log-likelihoods of the true classes in nats, of which L2 is the mean.

    loss_b = -log softmax(logits_b)[y_b]                              (docs/derivation.md, L2)

    Args:
        logits: (B, K); labels: (B,) integers in [0, K).
    Raises:
        ShapeError: as `softmax_cross_entropy`.
    """
    check_logits_and_labels(logits, labels)
    losses: FloatArray = -log_softmax(logits)[np.arange(len(labels)), labels]
    return losses


def score(logits: FloatArray, labels: LabelArray) -> Scores:
    """All that is reported of one set of samples, from its logits in one go.

    Args:
        logits: (B, K); labels: (B,) integers in [0, K).
    Raises:
        ShapeError: as `softmax_cross_entropy`.
    """
    return Scores(
        loss=softmax_cross_entropy(logits, labels)[0],
        accuracy=accuracy(logits.argmax(axis=1), labels),
        printed_loss=printed_loss(softmax(logits)[0], labels),
    )


def mean_scores(scores: Sequence[Scores], sizes: Sequence[int]) -> Scores:
    """The scores of several batches as those of all their samples together: means weighted by the batches' sizes.

    Args:
        scores, sizes: one a batch, at least one.
    """
    shares = [size / sum(sizes) for size in sizes]
    return Scores(
        loss=sum(share * one.loss for share, one in zip(shares, scores, strict=True)),
        accuracy=sum(share * one.accuracy for share, one in zip(shares, scores, strict=True)),
        printed_loss=sum(share * one.printed_loss for share, one in zip(shares, scores, strict=True)),
    )
