"""What a layer does to its values: relu and its kin, and softmax, each with its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray

Backward = Callable[[FloatArray], FloatArray]

LEAK = 0.01  # slope of leaky relu below 0
GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715  # of gelu's tanh form


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


def leaky_relu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """The positive part and a hundredth of the negative part of every element.

    leaky(x) = x where x > 0, else 0.01 x                            (docs/derivation.md, R3)
    dL/dx    = dL/dleaky where x > 0, else 0.01 dL/dleaky            (R4)

    Args:
        x: any shape, float32 or float64.
    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.
    Source: Maas, Hannun and Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models (ICML 2013).
    """
    slope: FloatArray = np.where(x > 0, x.dtype.type(1), x.dtype.type(LEAK))  # at exactly 0 the smaller is taken

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * slope
        return grad_x

    return x * slope, backward


def tanh(x: FloatArray) -> tuple[FloatArray, Backward]:
    """The hyperbolic tangent of every element.

    tanh(x) = (e^x - e^-x) / (e^x + e^-x)                            (docs/derivation.md, R5)
    dL/dx   = dL/dtanh (1 - tanh(x)^2)                               (R6)

    Args:
        x: any shape, float32 or float64.
    Returns:
        value: shape and dtype of x, in [-1, 1].
        backward: grad_value -> grad_x, both the shape of x.
    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.3.2.
    """
    value: FloatArray = np.tanh(x)

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * (1 - value * value)
        return grad_x

    return value, backward


def gelu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Every element times about the probability that a normal number is smaller: gelu in its tanh form.

    gelu(x) = x (1 + t) / 2,  t = tanh(u),  u = sqrt(2/pi) (x + 0.044715 x^3)             (docs/derivation.md, R7)
    dL/dx   = dL/dgelu ((1 + t) / 2 + x (1 - t^2) sqrt(2/pi) (1 + 0.134145 x^2) / 2)      (R8)

    The derivative is the exact one of this form. It differs from the form with the error function, which NumPy does
    not have, by at most 0.0005.

    Args:
        x: any shape, float32 or float64.
    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.
    Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2.
    """
    squared = x * x
    t: FloatArray = np.tanh(GELU_SCALE * x * (1 + GELU_CUBE * squared))

    def backward(grad_value: FloatArray) -> FloatArray:
        slope = (1 + t) / 2 + x * (1 - t * t) * (GELU_SCALE / 2 * (1 + 3 * GELU_CUBE * squared))
        grad_x: FloatArray = grad_value * slope
        return grad_x

    return x * ((1 + t) / 2), backward


def identity(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Every element as it is; layers with nothing between them are one affine map (docs/derivation.md, A1).

    Args:
        x: any shape, float32 or float64.
    Returns:
        value: x itself.
        backward: grad_value -> grad_value.
    """
    return x, lambda grad_value: grad_value


# By the name that a recipe and a model file give them.
ACTIVATIONS: dict[str, Callable[[FloatArray], tuple[FloatArray, Backward]]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "gelu": gelu,
    "tanh": tanh,
    "identity": identity,
}
KINKED = ("relu", "leaky_relu")  # those whose derivative jumps at 0


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
