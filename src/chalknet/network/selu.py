"""The scaled exponential linear unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import OnnxGraph

# The constants for which mean 0 and variance 1 are a fixed point (the source's equation 14).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def selu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the scaled exponential linear unit of every element.

    selu(x) = c1 x where x > 0, else c1 c2 (e^x - 1)                 (docs/derivation.md, R17)
    dL/dx   = dL/dselu c1 where x > 0, else dL/dselu c1 c2 e^x       (R18)
    c1 = SELU_SCALE = 1.05070..., c2 = SELU_ALPHA = 1.67326...

    With these constants outputs keep mean 0 and variance 1 from layer to layer.

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, Self-Normalizing Neural Networks (NeurIPS
    2017), equation 2.
    """
    negative: FloatArray = (SELU_SCALE * SELU_ALPHA) * np.expm1(np.minimum(x, x.dtype.type(0)))

    def backward(grad_value: FloatArray) -> FloatArray:
        slope = np.where(x > 0, x.dtype.type(SELU_SCALE), negative + x.dtype.type(SELU_SCALE * SELU_ALPHA))
        grad_x: FloatArray = grad_value * slope
        return grad_x

    return SELU_SCALE * np.maximum(x, x.dtype.type(0)) + negative, backward


@dataclass(frozen=True)
class Selu(Activation):
    """The scaled exponential linear unit of every element."""

    type = "selu"
    is_smooth = False
    function: ClassVar[Function] = staticmethod(selu)
    predictor_source: ClassVar[str] = f'''
def selu(x, p):
    """c x where x > 0, else c a (exp(x) - 1)."""
    a, c = DTYPE({SELU_ALPHA}), DTYPE({SELU_SCALE})
    return c * np.maximum(x, 0) + c * a * np.expm1(np.minimum(x, 0))
'''

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Selu; see `Layer.to_onnx`."""
        del parameters
        return graph.add("Selu", [x], alpha=SELU_ALPHA, gamma=SELU_SCALE)
