"""The exponential linear unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import OnnxGraph


def elu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the positive part of every element, and e^x - 1 where it is negative.

    elu(x) = x where x > 0, else e^x - 1                             (docs/derivation.md, R15)
    dL/dx  = dL/delu where x > 0, else dL/delu e^x                   (R16)

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x, at least -1.
        backward: grad_value -> grad_x, both the shape of x.

    Source: Clevert, Unterthiner and Hochreiter, Fast and Accurate Deep Network Learning by
    Exponential Linear Units (ICLR 2016), equation 15 with alpha = 1.
    """
    # The minimum is 0 where x > 0, so the exponential cannot overflow.
    negative: FloatArray = np.expm1(np.minimum(x, x.dtype.type(0)))

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * (negative + 1)
        return grad_x

    return np.maximum(x, x.dtype.type(0)) + negative, backward


@dataclass(frozen=True)
class Elu(Activation):
    """x where x > 0, else e^x - 1, of every element."""

    type = "elu"
    is_smooth = False
    function: ClassVar[Function] = staticmethod(elu)
    predictor_source = '''
def elu(x, p):
    """x where x > 0, else exp(x) - 1."""
    return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))
'''

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Elu; see `Layer.to_onnx`."""
        del parameters
        return graph.add("Elu", [x], alpha=1.0)
