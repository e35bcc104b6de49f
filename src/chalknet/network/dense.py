"""The dense layer and its three derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray


class DenseGradients(NamedTuple):
    """dL/dx (B, I), dL/dW (O, I) and dL/db (O,), each the shape of what it is the gradient of."""

    grad_x: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


def dense(
    x: FloatArray, weight: FloatArray, bias: FloatArray, name: str = "dense"
) -> tuple[FloatArray, Callable[[FloatArray], DenseGradients]]:
    """An affine map of each row: every output unit weighs all inputs and adds its bias.

    h     = x W^T + b                                                (docs/derivation.md, A1)
    dL/dx = (dL/dh) W                                                (A2)
    dL/dW = (dL/dh)^T x                                              (A3)
    dL/db = sum over rows of dL/dh                                   (A4)

    Args:
        x: (B, I) float32 or float64.
        weight: (O, I), one row an output unit.
        bias: (O,).
        name: the layer's, for messages.
    Returns:
        h: (B, O).
        backward: grad_h (B, O) -> DenseGradients; the sums over rows are sums, not means.
    Raises:
        ShapeError: the three shapes do not fit together.
    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.5.
    """
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ShapeError(f"layer {name!r}: weight must be (O, I) and bias (O,), got {weight.shape} and {bias.shape}.")
    if x.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ShapeError(
            f"layer {name!r} expects x of shape (B, {weight.shape[1]}), got {x.shape}."
            + (" Flatten first: chalknet.flatten(x)." if x.ndim == 3 else "")
        )

    def backward(grad_h: FloatArray) -> DenseGradients:
        return DenseGradients(
            grad_x=grad_h @ weight,
            grad_weight=grad_h.T @ x,
            grad_bias=grad_h.sum(axis=0),
        )

    return x @ weight.T + bias, backward
