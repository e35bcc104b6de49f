"""Dropout and its derivative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chalknet.config import DROPOUT_RATE, setting
from chalknet.network.activation import Backward
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Layer, LayerPass, Mode, OnnxGraph


def dropout(x: FloatArray, mask: FloatArray) -> tuple[FloatArray, Backward]:
    """Return every element times its mask: 0 where it is dropped, else 1 / (1 - rate).

    value = x mask,  mask = 0 with probability rate, else 1 / (1 - rate)   (docs/derivation.md, D1)
    dL/dx = dL/dvalue mask                                                 (D2)

    The expectation of the value is x, so prediction uses x unchanged.

    Args:
        x: (B, F) float32 or float64.
        mask: (B, F), from `random_numbers.dropout_mask`.

    Returns:
        value: (B, F).
        backward: grad_value -> grad_x, both (B, F).

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting
    (JMLR 2014).
    """
    value: FloatArray = x * mask

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * mask
        return grad_x

    return value, backward


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout in training, the identity in prediction.

    Attributes:
        rate: probability that an element is dropped, from 0 to 0.999.
    """

    type = "dropout"
    acts_in_prediction = False
    rate: float = setting(0.5, DROPOUT_RATE, "probability that a value is set to 0 in training")

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply the mask of the mode to x, if there is one; see `Layer.forward`."""
        del parameters
        if mode.mask is None:
            return LayerPass(x, lambda grad_value: (grad_value, {}))
        value, backward = dropout(x, mode.mask)
        return LayerPass(value, lambda grad_value: (backward(grad_value), {}))

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"dropout of rate {self.rate:g}"

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Return x, as dropout does nothing in prediction."""
        del graph, parameters
        return x
