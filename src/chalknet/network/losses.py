"""Cross-entropy from logits, and its derivative."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chalknet.errors import ConfigError
from chalknet.network.activations import log_softmax
from chalknet.network.arrays import FloatArray, LabelArray, check_logits_and_labels


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
