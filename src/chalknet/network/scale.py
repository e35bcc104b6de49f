"""The scale layer: a learned factor for each input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import (
    PREDICTION,
    Layer,
    LayerPass,
    Mode,
    OnnxGraph,
    Parameter,
    Shape,
    flat_size,
    learning_rate_multiplier_setting,
)


class ScaleGradients(NamedTuple):
    """The gradients dL/dx (B, I) and dL/dgamma (I,)."""

    grad_x: FloatArray
    grad_gamma: FloatArray


def scale(x: FloatArray, gamma: FloatArray) -> tuple[FloatArray, Callable[[FloatArray], ScaleGradients]]:
    """Return every column of x times its factor.

    value     = gamma x                                              (docs/derivation.md, C1)
    dL/dx     = gamma dL/dvalue                                      (C2)
    dL/dgamma = sum over rows of x dL/dvalue                         (C3)

    Args:
        x: (B, I) float32 or float64.
        gamma: (I,) factors.

    Returns:
        value: (B, I).
        backward: grad_value (B, I) -> ScaleGradients, summed over rows.

    Raises:
        ShapeError: the shapes do not fit together.

    Source: Holzmueller, Grinsztajn and Steinwart, Better by Default: Strong Pre-Tuned MLPs and Boosted
    Trees on Tabular Data (NeurIPS 2024), section 3.2.
    """
    if x.ndim != 2 or gamma.shape != x.shape[1:]:
        raise ShapeError(f"a scale layer needs x of shape (B, I) and gamma (I,), got {x.shape} and {gamma.shape}.")

    def backward(grad_value: FloatArray) -> ScaleGradients:
        return ScaleGradients(grad_value * gamma, (grad_value * x).sum(axis=0))

    return x * gamma, backward


@dataclass(frozen=True)
class Scale(Layer):
    """A learned factor for each input, which starts at 1.

    Attributes:
        learning_rate_multiplier: factor of the learning rate of gamma, >= 0.
    """

    type = "scale"
    learning_rate_multiplier: float = learning_rate_multiplier_setting("gamma")
    predictor_source = '''
def scale(x, p):
    """gamma x."""
    return p["gamma"] * x
'''

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return gamma; see `Layer.parameters`."""
        shape = (flat_size(self, input_shape),)
        return {"gamma": Parameter(shape, 1.0, learning_rate_multiplier=self.learning_rate_multiplier)}

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `scale` to x; see `Layer.forward`."""
        del mode
        value, through = scale(x, parameters["gamma"])

        def backward(grad_value: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            grad_x, grad_gamma = through(grad_value)
            return grad_x, {"gamma": grad_gamma}

        return LayerPass(value, backward)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return "a learned scale of each value"

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Mul; see `Layer.to_onnx`."""
        return graph.add("Mul", [x, parameters["gamma"]])
