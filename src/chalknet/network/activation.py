"""What all activations have in common: an element-wise function without parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Layer, LayerPass, Mode, OnnxGraph

Backward = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Activation(Layer):
    """A layer that applies one function to every element.

    Class attributes:
        onnx_operator: name of an ONNX operator that computes it, unless `to_onnx` is overridden.
    """

    onnx_operator: ClassVar[str] = ""

    @staticmethod
    def function(x: FloatArray) -> tuple[FloatArray, Backward]:
        """Return the value of every element, and its derivative."""
        raise NotImplementedError

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        del parameters, mode
        value, backward = type(self).function(x)
        return LayerPass(value, lambda grad_value: (backward(grad_value), {}))

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        del parameters
        return graph.add(self.onnx_operator, [x])
