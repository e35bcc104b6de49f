"""Cross-entropy from logits, with hard or soft targets, and the penalty on weights; each with its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray, LabelArray, check_logits_and_labels
from chalknet.network.softmax import log_softmax


def softmax_cross_entropy(
    logits: FloatArray, labels: LabelArray, reduction: str = "mean"
) -> tuple[float, Callable[[], FloatArray]]:
    """Negative log-likelihood of the true classes in nats, per sample ("mean") or of the whole batch ("sum").

    loss  = -(1/B) sum_b log softmax(o_b)[y_b]                       (docs/derivation.md, L2)
    dL/do = (softmax(o) - onehot(y)) / B                             (L4)

    With reduction "sum" neither is divided by B: the write-up's gradients are sums.

    Args:
        logits: (B, K) float32 or float64, any finite values; not probabilities.
        labels: (B,) integers in [0, K).
        reduction: "mean" or "sum".
    Returns:
        loss: float, finite for finite logits.
        backward: () -> grad_logits, (B, K), dtype of logits, 1/B applied for "mean".
    Raises:
        ShapeError: logits is not (B, K) with B >= 1, or labels is not (B,) class indices.
        ConfigError: an unknown reduction.
    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.2.2.3.
    """
    check_logits_and_labels(logits, labels)
    if reduction not in ("mean", "sum"):
        raise ConfigError(f"reduction must be one of mean, sum, got {reduction!r}.")
    divisor = len(labels) if reduction == "mean" else 1
    log_probabilities = log_softmax(logits)
    rows = np.arange(len(labels))
    # In float64, since a sum over many float32 samples would lose the last digits of each; divided before it is summed,
    # since a sum of finite losses need not be finite.
    loss = -float((log_probabilities[rows, labels].astype(np.float64) / divisor).sum())

    def backward() -> FloatArray:
        grad_logits: FloatArray = np.exp(log_probabilities)
        grad_logits[rows, labels] -= 1
        grad_logits /= divisor
        return grad_logits

    return loss, backward


def soft_cross_entropy(
    logits: FloatArray, targets: FloatArray, weights: FloatArray | None = None, reduction: str = "mean"
) -> tuple[float, Callable[[], FloatArray]]:
    """Cross-entropy to target distributions, each sample with a weight; the mean over B samples, or their sum.

    loss  = -(1/B) sum_b w_b sum_k T_bk log softmax(o_b)_k           (docs/derivation.md, L5)
    dL/do = (1/B) w_b (softmax(o_b) - T_b)                           (L6)

    Args:
        logits: (B, K) float32 or float64, any finite values.
        targets: (B, K), each row >= 0 with sum 1.
        weights: (B,) >= 0, or None for 1 each.
        reduction: "mean" or "sum".
    Returns:
        loss: float; backward: () -> grad_logits, (B, K).
    Raises:
        ShapeError: the shapes do not fit together. ConfigError: an unknown reduction.
    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision (CVPR 2016), section 7.
    """
    if logits.ndim != 2 or not len(logits) or targets.shape != logits.shape:
        raise ShapeError(f"logits must be (B, K) with B >= 1 and targets too, got {logits.shape}, {targets.shape}.")
    if weights is not None and weights.shape != logits.shape[:1]:
        raise ShapeError(f"weights must be {logits.shape[:1]}, one a row of logits, got {weights.shape}.")
    if reduction not in ("mean", "sum"):
        raise ConfigError(f"reduction must be one of mean, sum, got {reduction!r}.")
    divisor = len(logits) if reduction == "mean" else 1
    log_probabilities = log_softmax(logits)
    shares = np.ones(len(logits), logits.dtype) if weights is None else weights
    each = -(targets * log_probabilities).sum(axis=1, dtype=np.float64)
    loss = float((shares * each / divisor).sum())

    def backward() -> FloatArray:
        grad_logits: FloatArray = (np.exp(log_probabilities) - targets) * shares[:, None]
        grad_logits /= divisor
        return grad_logits

    return loss, backward


def smoothed_targets(labels: LabelArray, n_classes: int, smoothing: float = 0.0) -> FloatArray:
    """One-hot rows, a share of each spread evenly over all classes.

    T_bk = (1 - epsilon) onehot(y_b)_k + epsilon / K                 (docs/derivation.md, L7)

    Args:
        labels: (B,) integers in [0, n_classes); smoothing: epsilon, in [0, 1).
    Returns:
        (B, K) float64.
    Source: Szegedy et al. (CVPR 2016), section 7.
    """
    targets = np.full((len(labels), n_classes), smoothing / n_classes)
    targets[np.arange(len(labels)), labels] += 1.0 - smoothing
    return targets


def mixup(first: FloatArray, second: FloatArray, fraction: float) -> FloatArray:
    """share of the first and the rest of the second: of inputs, and of targets alike.

    x = lambda x_1 + (1 - lambda) x_2,  T = lambda T_1 + (1 - lambda) T_2        (docs/derivation.md, L8)

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization (ICLR 2018).
    """
    mixture: FloatArray = fraction * first + (1 - fraction) * second
    return mixture


def l2_penalty(
    parameters: Mapping[str, FloatArray], strength: float
) -> tuple[float, Callable[[], dict[str, FloatArray]]]:
    """Half the squared length of all weights, times a strength; biases and gains are free.

    penalty = (strength / 2) sum W^2                                 (docs/derivation.md, P1)
    d/dW    = strength W                                             (P2)

    It is added to the mean loss of a batch, so its strength does not depend on the batch's size; where a batch's
    gradient is a sum, the penalty counts once a sample.

    Args:
        parameters: by name; those that end in ".weight" are weights.
    Returns:
        penalty: float, never part of a reported loss; backward: () -> gradients by the weights' names.
    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 7.1.1.
    """
    weights = {name: value for name, value in parameters.items() if name.endswith(".weight")}
    penalty = strength / 2 * sum(float(np.square(value, dtype=np.float64).sum()) for value in weights.values())
    return penalty, lambda: {name: strength * value for name, value in weights.items()}
