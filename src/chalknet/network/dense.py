"""The dense layer and its three derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from chalknet.config import BOOLEAN, MAX_UNITS, PARAMETRIZATIONS, integer, one_of, setting
from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import (
    BIAS,
    PREDICTION,
    WEIGHT,
    Layer,
    LayerPass,
    Mode,
    Normal,
    OnnxGraph,
    Parameter,
    Shape,
    flat_size,
    l2_setting,
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


def ntk_dense(
    x: FloatArray, weight: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], DenseGradients]]:
    """Return the affine map x W^T / sqrt(I) + b of each row, the NTK parametrization.

    h     = x W^T / sqrt(I) + b                                      (docs/derivation.md, A5)
    dL/dx = (dL/dh) W / sqrt(I)                                      (A6)
    dL/dW = (dL/dh)^T x / sqrt(I)                                    (A7)
    dL/db = sum over rows of dL/dh                                   (A4)

    With weights from N(0, 1), values have about the same size in every layer, and a step of an
    optimizer such as Adam changes them by about as much whatever I is.

    Args:
        x: (B, I) float32 or float64.
        weight: (O, I), one row per output.
        bias: (O,).

    Returns:
        h: (B, O).
        backward: grad_h (B, O) -> DenseGradients, summed over rows.

    Raises:
        ShapeError: the three shapes do not fit together.

    Source: Jacot, Gabriel and Hongler, Neural Tangent Kernel (NeurIPS 2018), section 2.
    """
    factor = 1 / math.sqrt(weight.shape[-1])
    value, through = dense(x, weight * factor, bias)

    def backward(grad_h: FloatArray) -> DenseGradients:
        grad_x, grad_weight, grad_bias = through(grad_h)
        return DenseGradients(grad_x, grad_weight * factor, grad_bias)

    return value, backward


@dataclass(frozen=True)
class Dense(Layer):
    """An affine map of all inputs, h = x W^T + b, or h = x W^T / sqrt(I) + b.

    Attributes:
        units: O, the number of outputs.
        bias: whether b is added. It has no effect before batch normalization, which subtracts the
            mean, so set it to False there.
        learning_rate_multiplier: factor of the learning rate of weight and bias, >= 0.
        bias_learning_rate_multiplier: a further factor of the learning rate of the bias, >= 0.
        parametrization: "ntk" to divide by sqrt(I). Weight and bias then start from N(0, 1), whatever
            the initializer (docs/derivation.md, I5).
        zero_start: whether weight and bias start from 0. In the output layer, the first prediction is
            then the same probability for every class.
        l2: strength of an L2 penalty on the weight of this layer (docs/derivation.md, P1), >= 0.
    """

    type = "dense"
    units: int = setting(MISSING, integer(1, MAX_UNITS), "number of outputs")
    bias: bool = setting(True, BOOLEAN, "whether a bias is added")
    learning_rate_multiplier: float = learning_rate_multiplier_setting("weight and bias")
    bias_learning_rate_multiplier: float = learning_rate_multiplier_setting("the bias, in addition")
    parametrization: str = setting(
        "standard",
        one_of(*PARAMETRIZATIONS),
        "ntk: products are divided by the root of the number of inputs, and weight and bias start from N(0, 1)",
    )
    zero_start: bool = setting(False, BOOLEAN, "whether weight and bias start from 0, for the output layer")
    l2: float = l2_setting()
    predictor_source = '''
def dense(x, p):
    """x W^T + b, or x W^T / sqrt(I) + b in NTK parametrization."""
    h = x @ p["weight"].T
    if p.get("parametrization") == "ntk":
        h = h / np.sqrt(DTYPE(x.shape[1]))
    return h + p["bias"] if "bias" in p else h
'''

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (units,); see `Layer.output_shape`."""
        flat_size(self, input_shape)
        return (self.units,)

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return weight and bias; see `Layer.parameters`."""
        shape, multiplier = (self.units, flat_size(self, input_shape)), self.learning_rate_multiplier
        start: str | float | Normal = Normal(1.0) if self.is_ntk else WEIGHT
        bias_start: str | float | Normal = Normal(1.0) if self.is_ntk else BIAS
        if self.zero_start:
            start = bias_start = 0.0
        weight = {"weight": Parameter(shape, start, learning_rate_multiplier=multiplier, l2=self.l2)}
        multiplier *= self.bias_learning_rate_multiplier
        bias = Parameter((self.units,), bias_start, learning_rate_multiplier=multiplier)
        return weight | ({"bias": bias} if self.bias else {})

    @property
    def is_ntk(self) -> bool:
        """Whether products are divided by sqrt(I)."""
        return self.parametrization == "ntk"

    def factor(self, n_inputs: int) -> float:
        """Return the factor of products with this many inputs: 1, or 1 / sqrt(I) (A5)."""
        return 1 / math.sqrt(n_inputs) if self.is_ntk else 1.0

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `dense` or `ntk_dense` to x; see `Layer.forward`."""
        del mode
        weight = parameters["weight"]
        bias = parameters["bias"] if self.bias else np.zeros(len(weight), weight.dtype)
        value, through = (ntk_dense if self.is_ntk else dense)(x, weight, bias)

        def backward(grad_value: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            grad_x, grad_weight, grad_bias = through(grad_value)
            return grad_x, {"weight": grad_weight} | ({"bias": grad_bias} if self.bias else {})

        return LayerPass(value, backward)

    def predict_row_by_row(self, parameters: Mapping[str, FloatArray], x: FloatArray) -> FloatArray:
        """Return the value of `forward` with a product for each row of x (B, I) on its own."""
        weight = parameters["weight"]
        if self.is_ntk:
            weight = weight * self.factor(weight.shape[-1])
        product: FloatArray = np.matmul(x[:, None, :], weight.T)[:, 0, :]
        return product + parameters["bias"] if self.bias else product

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Gemm; see `Layer.to_onnx`."""
        alpha = {"alpha": self.factor(graph.size(parameters["weight"], 1))} if self.is_ntk else {}
        return graph.add("Gemm", [x, *parameters.values()], transB=1, **alpha)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        parametrization = " in NTK parametrization" if self.is_ntk else ""
        return f"dense of {self.units:,} units{'' if self.bias else ' without bias'}{parametrization}"

    def settings(self) -> dict[str, Any]:
        """Return units, and other settings where they are not the default.

        So files and digests of networks that do not use a newer setting are the same as before.
        """
        changed = {item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default}
        return {"units": self.units} | changed
