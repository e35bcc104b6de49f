"""The dense layer and its three derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from chalknet.config import BOOLEAN, MAX_UNITS, integer, setting
from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import (
    BIAS,
    PREDICTION,
    WEIGHT,
    Layer,
    LayerPass,
    Mode,
    OnnxGraph,
    Parameter,
    Shape,
    flat_size,
    learning_rate_multiplier_setting,
)


class DenseGradients(NamedTuple):
    """The gradients dL/dx (B, I), dL/dW (O, I) and dL/db (O,)."""

    grad_x: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


def dense(
    x: FloatArray, weight: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], DenseGradients]]:
    """Return the affine map x W^T + b of each row.

    h     = x W^T + b                                                (docs/derivation.md, A1)
    dL/dx = (dL/dh) W                                                (A2)
    dL/dW = (dL/dh)^T x                                              (A3)
    dL/db = sum over rows of dL/dh                                   (A4)

    Args:
        x: (B, I) float32 or float64.
        weight: (O, I), one row per output.
        bias: (O,).

    Returns:
        h: (B, O).
        backward: grad_h (B, O) -> DenseGradients, summed over rows.

    Raises:
        ShapeError: the three shapes do not fit together.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.5.
    """
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ShapeError(f"weight must be (O, I) and bias (O,), got {weight.shape} and {bias.shape}.")
    if x.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ShapeError(
            f"a dense layer expects x of shape (B, {weight.shape[1]}), got {x.shape}."
            + (" Flatten first: chalknet.flatten(x)." if x.ndim == 3 else "")
        )

    def backward(grad_h: FloatArray) -> DenseGradients:
        return DenseGradients(
            grad_x=grad_h @ weight,
            grad_weight=grad_h.T @ x,
            grad_bias=grad_h.sum(axis=0),
        )

    return x @ weight.T + bias, backward


@dataclass(frozen=True)
class Dense(Layer):
    """An affine map of all inputs, h = x W^T + b.

    Attributes:
        units: O, the number of outputs.
        bias: whether b is added. It has no effect before batch normalization, which subtracts the
            mean, so set it to False there.
        learning_rate_multiplier: factor of the learning rate of weight and bias, >= 0.
        bias_learning_rate_multiplier: a further factor of the learning rate of the bias, >= 0.
    """

    type = "dense"
    units: int = setting(MISSING, integer(1, MAX_UNITS), "number of outputs")
    bias: bool = setting(True, BOOLEAN, "whether a bias is added")
    learning_rate_multiplier: float = learning_rate_multiplier_setting("weight and bias")
    bias_learning_rate_multiplier: float = learning_rate_multiplier_setting("the bias alone")
    predictor_source = '''
def dense(x, p):
    """x W^T + b."""
    return x @ p["weight"].T + p["bias"] if "bias" in p else x @ p["weight"].T
'''

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (units,); see `Layer.output_shape`."""
        flat_size(self, input_shape)
        return (self.units,)

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return weight and bias; see `Layer.parameters`."""
        shape, multiplier = (self.units, flat_size(self, input_shape)), self.learning_rate_multiplier
        weight = {"weight": Parameter(shape, WEIGHT, learning_rate_multiplier=multiplier)}
        multiplier *= self.bias_learning_rate_multiplier
        bias = Parameter((self.units,), BIAS, learning_rate_multiplier=multiplier)
        return weight | ({"bias": bias} if self.bias else {})

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `dense` to x; see `Layer.forward`."""
        del mode
        weight = parameters["weight"]
        bias = parameters["bias"] if self.bias else np.zeros(len(weight), weight.dtype)
        value, through = dense(x, weight, bias)

        def backward(grad_value: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            grad_x, grad_weight, grad_bias = through(grad_value)
            return grad_x, {"weight": grad_weight} | ({"bias": grad_bias} if self.bias else {})

        return LayerPass(value, backward)

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Gemm; see `Layer.to_onnx`."""
        return graph.add("Gemm", [x, *parameters.values()], transB=1)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"dense of {self.units:,} units{'' if self.bias else ' without bias'}"

    def settings(self) -> dict[str, Any]:
        """Return units, and other settings where they are not the default.

        So files and digests of networks that do not use a newer setting are the same as before.
        """
        changed = {item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default}
        return {"units": self.units} | changed
