"""The leaky rectified linear unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import OnnxGraph

# The slope for x <= 0.
NEGATIVE_SLOPE = 0.01


def leaky_relu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the positive part and a hundredth of the negative part of every element.

    leaky(x) = x where x > 0, else 0.01 x                            (docs/derivation.md, R3)
    dL/dx    = dL/dleaky where x > 0, else 0.01 dL/dleaky            (R4)

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.

    Source: Maas, Hannun and Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models (ICML 2013).
    """
    # At exactly 0 the slope is the smaller one, as it is for relu.
    slope: FloatArray = np.where(x > 0, x.dtype.type(1), x.dtype.type(NEGATIVE_SLOPE))

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * slope
        return grad_x

    return x * slope, backward


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x where x > 0, else 0.01 x, of every element."""

    type = "leaky_relu"
    is_smooth = False
    function: ClassVar[Function] = staticmethod(leaky_relu)
    predictor_source: ClassVar[str] = f'''
def leaky_relu(x, p):
    """x where x > 0, else {NEGATIVE_SLOPE} x."""
    return np.where(x > 0, x, DTYPE({NEGATIVE_SLOPE}) * x)
'''

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's LeakyRelu; see `Layer.to_onnx`."""
        del parameters
        return graph.add("LeakyRelu", [x], alpha=NEGATIVE_SLOPE)
