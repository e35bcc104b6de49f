"""The mish activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import OnnxGraph


def mish(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return every element times the hyperbolic tangent of its softplus.

    mish(x) = x t,  t = tanh(log(1 + e^x))                           (docs/derivation.md, R13)
    dL/dx   = dL/dmish (t + x (1 - t^2) sigmoid(x))                  (R14)

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.

    Source: Misra, Mish: A Self Regularized Non-Monotonic Activation Function (BMVC 2020), equation 1.
    """
    # logaddexp(x, 0) is log(1 + e^x) without overflow.
    t: FloatArray = np.tanh(np.logaddexp(x, x.dtype.type(0)))

    def backward(grad_value: FloatArray) -> FloatArray:
        s = (1 + np.tanh(x / 2)) / 2
        grad_x: FloatArray = grad_value * (t + x * ((1 - t * t) * s))
        return grad_x

    return x * t, backward


@dataclass(frozen=True)
class Mish(Activation):
    """x tanh(log(1 + e^x)) of every element."""

    type = "mish"
    function: ClassVar[Function] = staticmethod(mish)
    predictor_source = '''
def mish(x, p):
    """x tanh(log(1 + exp(x)))."""
    return x * np.tanh(np.logaddexp(x, DTYPE(0)))
'''

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the formula's nodes, as ONNX has a Mish operator only from opset 18 on."""
        del parameters
        return graph.add("Mul", [x, graph.add("Tanh", [graph.add("Softplus", [x])])])
