"""The logistic sigmoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray


def sigmoid(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the logistic sigmoid of every element.

    sigmoid(x) = 1 / (1 + e^-x) = (1 + tanh(x/2)) / 2                (docs/derivation.md, R9)
    dL/dx      = dL/dsigmoid sigmoid(x) (1 - sigmoid(x))             (R10)

    The second form is computed, because tanh cannot overflow.

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x, in [0, 1].
        backward: grad_value -> grad_x, both the shape of x.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.2.2.2.
    """
    value: FloatArray = (1 + np.tanh(x / 2)) / 2

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * (value * (1 - value))
        return grad_x

    return value, backward


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + e^-x) of every element."""

    type = "sigmoid"
    function: ClassVar[Function] = staticmethod(sigmoid)
    onnx_operator = "Sigmoid"
    predictor_source = '''
def sigmoid(x, p):
    """1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2."""
    return (1 + np.tanh(x / 2)) / 2
'''
