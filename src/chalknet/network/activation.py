"""The base class of activations: element-wise functions without parameters."""

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
        onnx_operator: name of the ONNX operator that computes the function. A subclass without
            such an operator overrides `to_onnx`.
    """

    onnx_operator: ClassVar[str] = ""

    @staticmethod
    def function(x: FloatArray) -> tuple[FloatArray, Backward]:
        """Return the function's value for every element, and the backward function.

        Args:
            x: any shape, float32 or float64.

        Returns:
            value: shape and dtype of x.
            backward: grad_value -> grad_x, both the shape of x.
        """
        raise NotImplementedError

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply the function to x; see `Layer.forward`."""
        del parameters, mode
        value, backward = type(self).function(x)
        return LayerPass(value, lambda grad_value: (backward(grad_value), {}))

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the function's ONNX operator; see `Layer.to_onnx`."""
        del parameters
        return graph.add(self.onnx_operator, [x])
