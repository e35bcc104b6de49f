"""The sigmoid linear unit, also called swish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import OnnxGraph


def silu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return every element times its logistic sigmoid.

    silu(x) = x s,  s = sigmoid(x)                                   (docs/derivation.md, R11)
    dL/dx   = dL/dsilu (s + x s (1 - s))                             (R12)

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.

    Source: Elfwing, Uchibe and Doya, Sigmoid-Weighted Linear Units for Neural Network Function
    Approximation in Reinforcement Learning (Neural Networks 107, 2018).
    """
    s: FloatArray = (1 + np.tanh(x / 2)) / 2

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * (s + x * (s * (1 - s)))
        return grad_x

    return x * s, backward


@dataclass(frozen=True)
class Silu(Activation):
    """x sigmoid(x) of every element."""

    type = "silu"
    function: ClassVar[Function] = staticmethod(silu)
    predictor_source = '''
def silu(x, p):
    """x sigmoid(x)."""
    return x * ((1 + np.tanh(x / 2)) / 2)
'''

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add x times ONNX's Sigmoid; see `Layer.to_onnx`."""
        del parameters
        return graph.add("Mul", [x, graph.add("Sigmoid", [x])])
