"""Softmax and its logarithm, computed without overflow."""

from __future__ import annotations

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.activation import Backward
from chalknet.network.arrays import FloatArray


def log_softmax(logits: FloatArray) -> FloatArray:
    """Return the logarithm of `softmax` without computing the softmax, which can round to 0.

    log softmax(o)_k = (o_k - c) - log sum_j exp(o_j - c),  c = max_j o_j  (docs/derivation.md, S3)

    Args:
        logits: (K,) or (B, K), float32 or float64, any finite values.

    Returns:
        Shape and dtype of logits, always finite: values below the lowest number of the dtype are
        replaced by it.

    Raises:
        ShapeError: logits has no or more than two dimensions, or no classes.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 4.1.
    """
    if logits.ndim not in (1, 2) or not logits.shape[-1]:
        raise ShapeError(f"logits must be (K,) or (B, K) with K >= 1, got {logits.shape}.")
    # The largest shifted logit is 0, so exp cannot overflow. The difference itself can, where two
    # finite logits are further apart than the largest float; it is then set to the smallest float.
    with np.errstate(over="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
    lowest = np.finfo(shifted.dtype).min
    shifted = np.maximum(shifted, lowest)
    normalizer = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    log_probabilities: FloatArray = np.maximum(shifted - normalizer, lowest)
    return log_probabilities


def softmax(logits: FloatArray) -> tuple[FloatArray, Backward]:
    """Return class probabilities from logits, one distribution per row.

    softmax(o)_k = exp(o_k) / sum_j exp(o_j)                         (docs/derivation.md, S1)
                 = exp(o_k - c) / sum_j exp(o_j - c),  c = max_j o_j (S2)
    dL/do_k      = p_k (dL/dp_k - sum_j dL/dp_j p_j)                 (S5)

    The shifted form is computed, because its exponentials cannot overflow.

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
