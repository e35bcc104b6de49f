"""Cross-entropy from logits, with class labels or soft targets, and the L2 penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray, LabelArray, check_logits_and_labels
from chalknet.network.softmax import log_softmax


def softmax_cross_entropy(
    logits: FloatArray, labels: LabelArray, reduction: str = "mean"
) -> tuple[float, Callable[[], FloatArray]]:
    """Return the cross-entropy of the true classes, in nats.

    loss  = -(1/B) sum_n log softmax(o_n)[y_n]                       (docs/derivation.md, L2)
    dL/do = (softmax(o) - onehot(y)) / B                             (L4)

    With reduction "sum" there is no division by B, as in the write-up, whose gradients are sums.
    The numpy engine computes the same in `Workspace.score` and `Workspace.grad_logits`, the torch
    engine in `softmax_terms` and `grad_logits`.

    Args:
        logits: (B, K) float32 or float64, any finite values; not probabilities.
        labels: (B,) integers in [0, K).
        reduction: "mean" for the mean per sample, or "sum" for the sum over the batch.

    Returns:
        loss: float, finite for finite logits.
        backward: () -> grad_logits, (B, K), dtype of logits, 1/B applied for "mean".

    Raises:
        ShapeError: logits is not (B, K) with B >= 1, or labels is not (B,) class indices.
        ConfigError: reduction is not "mean" or "sum".

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.2.2.3.
    """
    check_logits_and_labels(logits, labels)
    if reduction not in ("mean", "sum"):
        raise ConfigError(f"reduction must be one of mean, sum, got {reduction!r}.")
    divisor = len(labels) if reduction == "mean" else 1
    log_probabilities = log_softmax(logits)
    rows = np.arange(len(labels))
    # The sum is in float64, because a float32 sum over many samples loses digits. The division
    # comes first, because a sum of finite losses can overflow.
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
    """Return the cross-entropy to target distributions, with a weight per sample, in nats.

    loss    = -(1/B) sum_n weight_n sum_k T_nk log softmax(o_n)_k    (docs/derivation.md, L5)
    dL/do_n = (1/B) weight_n (softmax(o_n) - T_n)                    (L6)

    Args:
        logits: (B, K) float32 or float64, any finite values.
        targets: (B, K), T, each row >= 0 with sum 1.
        weights: (B,) floats >= 0, or None for 1 each.
        reduction: "mean" for the mean over B samples, or "sum" for their sum without 1/B.

    Returns:
        loss: float.
        backward: () -> grad_logits, (B, K).

    Raises:
        ShapeError: logits is not (B, K) with B >= 1, targets differ in shape, or weights is not (B,).
        ConfigError: reduction is not "mean" or "sum".

    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision (CVPR 2016),
    section 7.
    """
    if logits.ndim != 2 or not len(logits) or targets.shape != logits.shape:
        raise ShapeError(f"logits and targets must both be (B, K) with B >= 1, got {logits.shape} and {targets.shape}.")
    if weights is not None and weights.shape != logits.shape[:1]:
        raise ShapeError(f"weights must be {logits.shape[:1]}, one per row of logits, got {weights.shape}.")
    if reduction not in ("mean", "sum"):
        raise ConfigError(f"reduction must be one of mean, sum, got {reduction!r}.")
    divisor = len(logits) if reduction == "mean" else 1
    log_probabilities = log_softmax(logits)
    weights = np.ones(len(logits), logits.dtype) if weights is None else weights
    each = -(targets * log_probabilities).sum(axis=1, dtype=np.float64)
    loss = float((weights * each / divisor).sum())

    def backward() -> FloatArray:
        grad_logits: FloatArray = (np.exp(log_probabilities) - targets) * weights[:, None]
        grad_logits /= divisor
        return grad_logits

    return loss, backward


def smoothed_targets(labels: LabelArray, n_classes: int, smoothing: float = 0.0) -> FloatArray:
    """Return one-hot rows with label smoothing.

    T_nk = (1 - smoothing) onehot(y_n)_k + smoothing / K             (docs/derivation.md, L7)

    Args:
        labels: (B,) integers in [0, n_classes).
        n_classes: K.
        smoothing: the fraction of each target that is spread evenly over all classes, in [0, 1).

    Returns:
        (B, K) float64, rows with sum 1.

    Source: Szegedy et al. (CVPR 2016), section 7.
    """
    targets = np.full((len(labels), n_classes), smoothing / n_classes)
    targets[np.arange(len(labels)), labels] += 1.0 - smoothing
    return targets


def mixup(first: FloatArray, second: FloatArray, fraction: float) -> FloatArray:
    """Return a mixture of two arrays, for inputs and for targets alike.

    x = fraction x_1 + (1 - fraction) x_2                            (docs/derivation.md, L8)
    T = fraction T_1 + (1 - fraction) T_2

    Args:
        first: (B, ...) inputs or targets.
        second: the arrays that are mixed in, of the same shape.
        fraction: the fraction of first, in [0, 1].

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization (ICLR 2018).
    """
    mixture: FloatArray = fraction * first + (1 - fraction) * second
    return mixture


def l2_penalty(
    parameters: Mapping[str, FloatArray], strength: float
) -> tuple[float, Callable[[], dict[str, FloatArray]]]:
    """Return the L2 penalty on all weights; biases and batch norm scales have none.

    penalty = (strength / 2) sum W^2                                 (docs/derivation.md, P1)
    d/dW    = strength W                                             (P2)

    The penalty is added to the mean loss of a batch, so its effect does not depend on the batch
    size. Where the gradient of a batch is a sum, it is added once per sample.

    Args:
        parameters: arrays by name; those whose name ends in ".weight" are weights.
        strength: >= 0.

    Returns:
        penalty: float; it is never part of a reported loss.
        backward: () -> gradients by the names of the weights.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 7.1.1.
    """
    weights = {name: value for name, value in parameters.items() if name.endswith(".weight")}
    penalty = strength / 2 * sum(float(np.square(value, dtype=np.float64).sum()) for value in weights.values())
    return penalty, lambda: {name: strength * value for name, value in weights.items()}
