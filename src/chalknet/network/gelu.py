"""The Gaussian error linear unit, in its tanh form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import OnnxGraph

GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def gelu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return every element times the standard normal distribution function of it, approximately.

    gelu(x) = x (1 + t) / 2                                          (docs/derivation.md, R7)
    t       = tanh(sqrt(2/pi) (x + 0.044715 x^3))
    dL/dx   = dL/dgelu ((1 + t) / 2 + x (1 - t^2) sqrt(2/pi) (1 + 0.134145 x^2) / 2)        (R8)

    This is the tanh form, because NumPy has no error function. It differs from the exact gelu by
    at most 0.0005. The derivative is exact for the tanh form.

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


@dataclass(frozen=True)
class Gelu(Activation):
    """The Gaussian error linear unit of every element, in its tanh form."""

    type = "gelu"
    function: ClassVar[Function] = staticmethod(gelu)
    predictor_source: ClassVar[str] = f'''
def gelu(x, p):
    """x (1 + t) / 2,  t = tanh(sqrt(2/pi) (x + {GELU_CUBE} x^3))."""
    t = np.tanh(DTYPE({GELU_SCALE}) * x * (1 + DTYPE({GELU_CUBE}) * x * x))
    return x * ((1 + t) / 2)
'''

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the formula's nodes, as ONNX has a Gelu operator only from opset 20 on."""
        del parameters
        squared = graph.add("Mul", [x, x])
        inner = graph.add("Add", [graph.add("Mul", [squared, graph.scalar(GELU_CUBE)]), graph.scalar(1.0)])
        u = graph.add("Mul", [graph.add("Mul", [x, graph.scalar(GELU_SCALE)]), inner])
        half = graph.add("Mul", [graph.add("Add", [graph.add("Tanh", [u]), graph.scalar(1.0)]), graph.scalar(0.5)])
        return graph.add("Mul", [x, half])
