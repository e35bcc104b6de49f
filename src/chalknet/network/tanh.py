"""The hyperbolic tangent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray


def tanh(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the hyperbolic tangent of every element.

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


@dataclass(frozen=True)
class Tanh(Activation):
    """The hyperbolic tangent of every element."""

    type = "tanh"
    function: ClassVar[Function] = staticmethod(tanh)
    onnx_operator = "Tanh"
    predictor_source = '''
def tanh(x, p):
    """The hyperbolic tangent of x."""
    return np.tanh(x)
'''
