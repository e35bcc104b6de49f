"""Softmax and its logarithm, computed without overflow."""

from __future__ import annotations

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.activation import Backward
from chalknet.network.arrays import FloatArray


def log_softmax(logits: FloatArray) -> FloatArray:
    """Return the logarithm of `softmax`, without taking the logarithm of a small number.

    log softmax(o)_k = (o_k - m) - log sum_j exp(o_j - m),  m = max_j o_j     (docs/derivation.md, S3)

    Args:
        logits: (K,) or (B, K), float32 or float64, any finite values.
    Returns:
        shape and dtype of logits; finite.
    Raises:
        ShapeError: logits has no or more than two dimensions, or no classes.
    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 4.1.
    """
    if logits.ndim not in (1, 2) or not logits.shape[-1]:
        raise ShapeError(f"logits must be (K,) or (B, K) with K >= 1, got {logits.shape}.")
    with np.errstate(over="ignore"):  # two finite logits can lie further apart than the largest number there is
        shifted = logits - logits.max(axis=-1, keepdims=True)  # the largest is 0, so exp cannot overflow
    shifted = np.maximum(shifted, np.finfo(shifted.dtype).min)
    normalizer = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    log_probabilities: FloatArray = np.maximum(shifted - normalizer, np.finfo(shifted.dtype).min)
    return log_probabilities


def softmax(logits: FloatArray) -> tuple[FloatArray, Backward]:
    """Return probabilities that are proportional to the exponentials of the logits, one distribution per row.

    softmax(o)_k = exp(o_k - m) / sum_j exp(o_j - m),  m = max_j o_j          (docs/derivation.md, S1, S2)
    dL/do_k      = p_k (dL/dp_k - sum_j dL/dp_j p_j)                          (S5)

    Args:
        logits: (K,) or (B, K), float32 or float64, any finite values.
    Returns:
        probabilities: shape and dtype of logits, each row >= 0 with sum 1.
        backward: grad_probabilities -> grad_logits, both the shape of logits.
    Raises:
        ShapeError: logits has no or more than two dimensions, or no classes.
    Source: Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs (1990).
    """
    probabilities: FloatArray = np.exp(log_softmax(logits))

    def backward(grad_probabilities: FloatArray) -> FloatArray:
        inner = (grad_probabilities * probabilities).sum(axis=-1, keepdims=True)
        grad_logits: FloatArray = probabilities * (grad_probabilities - inner)
        return grad_logits

    return probabilities, backward
