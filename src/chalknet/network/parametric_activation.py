"""The parametric activation: a learned mix of an activation and the identity for each unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from functools import cached_property
from typing import NamedTuple

from chalknet.config import ACTIVATION_NAMES, one_of, setting
from chalknet.errors import ShapeError
from chalknet.network.activation import Activation, Backward
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


class ParametricGradients(NamedTuple):
    """The gradients dL/dx (B, F) and dL/dalpha (F,)."""

    grad_x: FloatArray
    grad_alpha: FloatArray


def parametric_activation(
    x: FloatArray, alpha: FloatArray, function: Callable[[FloatArray], tuple[FloatArray, Backward]]
) -> tuple[FloatArray, Callable[[FloatArray], ParametricGradients]]:
    """Return every element moved from x toward f(x) by the factor of its unit.

    value     = x + alpha (f(x) - x)                                 (docs/derivation.md, R19)
    dL/dx     = (1 - alpha) dL/dvalue + alpha dL/dvalue f'(x)        (R20)
    dL/dalpha = sum over rows of dL/dvalue (f(x) - x)                (R21)

    Args:
        x: (B, F) float32 or float64.
        alpha: (F,) factors: 0 for the identity, 1 for f.
        function: f, which returns its value and backward function, such as `relu.relu`.

    Returns:
        value: (B, F).
        backward: grad_value (B, F) -> ParametricGradients, summed over rows.

    Raises:
        ShapeError: the shapes do not fit together.

    Source: Holzmueller, Grinsztajn and Steinwart, Better by Default: Strong Pre-Tuned MLPs and Boosted
    Trees on Tabular Data (NeurIPS 2024), section 3.2.
    """
    if x.ndim != 2 or alpha.shape != x.shape[1:]:
        raise ShapeError(
            f"a parametric activation needs x of shape (B, F) and alpha (F,), got {x.shape} and {alpha.shape}."
        )
    value, through = function(x)
    difference = value - x

    def backward(grad_value: FloatArray) -> ParametricGradients:
        grad_x = (1 - alpha) * grad_value + through(alpha * grad_value)
        return ParametricGradients(grad_x, (grad_value * difference).sum(axis=0))

    return x + alpha * difference, backward


@dataclass(frozen=True)
class ParametricActivation(Layer):
    """An activation with a learned factor alpha for each unit, which starts at 1.

    Attributes:
        activation: name of the activation f.
        learning_rate_multiplier: factor of the learning rate of alpha, >= 0.
    """

    type = "parametric_activation"
    activation: str = setting(MISSING, one_of(*ACTIVATION_NAMES), "activation that alpha weights")
    learning_rate_multiplier: float = learning_rate_multiplier_setting("alpha")
    predictor_source = '''
def parametric_activation(x, p):
    """x + alpha (f(x) - x), where f is the activation of this name."""
    return x + p["alpha"] * (globals()[p["activation"]](x, p) - x)
'''

    @cached_property
    def inner(self) -> Activation:
        """The activation f as a layer."""
        from chalknet.network.layer_types import ACTIVATIONS  # imports this module

        return ACTIVATIONS[self.activation]()

    @property
    def is_smooth(self) -> bool:  # type: ignore[override]
        """Whether f has no kink; see `Layer`."""
        return self.inner.is_smooth

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return alpha; see `Layer.parameters`."""
        shape = (flat_size(self, input_shape),)
        return {"alpha": Parameter(shape, 1.0, learning_rate_multiplier=self.learning_rate_multiplier)}

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `parametric_activation` to x; see `Layer.forward`."""
        del mode
        value, through = parametric_activation(x, parameters["alpha"], type(self.inner).function)

        def backward(grad_value: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            grad_x, grad_alpha = through(grad_value)
            return grad_x, {"alpha": grad_alpha}

        return LayerPass(value, backward)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"parametric {self.inner}"

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the nodes of f and of R19; see `Layer.to_onnx`."""
        difference = graph.add("Sub", [self.inner.to_onnx(graph, {}, x), x])
        return graph.add("Add", [x, graph.add("Mul", [difference, parameters["alpha"]])])

    def predictor_functions(self) -> dict[str, str]:
        """Return the functions of f and of this layer; see `Layer.predictor_functions`."""
        return self.inner.predictor_functions() | super().predictor_functions()
