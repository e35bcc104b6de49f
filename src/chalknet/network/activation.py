"""The base class of activations: element-wise functions without parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Layer, LayerPass, Mode, OnnxGraph

Backward = Callable[[FloatArray], FloatArray]


# What `staticmethod` makes of such a function, in the class of its layer.
Function: TypeAlias = "staticmethod[[FloatArray], tuple[FloatArray, Backward]]"


@dataclass(frozen=True)
class Activation(Layer):
    """A layer that applies one function to every element.

    Class attributes:
        function: x -> the function's value for every element, and the backward function, which turns
            grad_value into grad_x. All have the shape of x, and value has its dtype, float32 or
            float64.
        onnx_operator: name of the ONNX operator that computes the function. A subclass without
            such an operator overrides `to_onnx`.
    """

    function: ClassVar[Function]
    onnx_operator: ClassVar[str] = ""

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply the function to x; see `Layer.forward`."""
        del parameters, mode
        value, backward = type(self).function(x)
        return LayerPass(value, lambda grad_value: (backward(grad_value), {}))

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the function's ONNX operator; see `Layer.to_onnx`."""
        del parameters
        return graph.add(self.onnx_operator, [x])
