"""relu and softmax, each with its derivative."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray

Backward = Callable[[FloatArray], FloatArray]


def relu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """The positive part of every element.

    relu(x) = max(x, 0)                                              (docs/derivation.md, R1)
    dL/dx   = dL/drelu where x > 0, else 0                           (R2)

    Args:
        x: any shape, float32 or float64.
    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.
    Source: Nair and Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines (ICML 2010).
    """
    positive = x > 0  # the gradient at exactly 0 is taken as 0; tests/network/test_activations.py pins it

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = np.where(positive, grad_value, grad_value.dtype.type(0))
        return grad_x

    return np.maximum(x, x.dtype.type(0)), backward


def log_softmax(logits: FloatArray) -> FloatArray:
    """The logarithm of `softmax`, without ever taking the logarithm of a small number.

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
    normaliser = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    log_probabilities: FloatArray = np.maximum(shifted - normaliser, np.finfo(shifted.dtype).min)
    return log_probabilities


def softmax(logits: FloatArray) -> tuple[FloatArray, Backward]:
    """Probabilities that are proportional to the exponentials of the logits; one distribution a row.

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
