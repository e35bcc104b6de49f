"""A network's shape, and the forward and backward pass through all of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.activations import relu
from chalknet.network.arrays import FloatArray
from chalknet.network.dense import dense

Parameters = dict[str, FloatArray]


@dataclass(frozen=True)
class Architecture:
    """Dense layers from n_inputs through the hidden widths to n_classes, with relu between them.

    Raises:
        ConfigError: a size below 1, or fewer than two classes.
    """

    n_inputs: int
    hidden: tuple[int, ...]
    n_classes: int

    def __post_init__(self) -> None:
        if min(self.n_inputs, *self.hidden, self.n_classes - 1) < 1:
            raise ConfigError(
                f"a network needs sizes >= 1 and at least two classes, got {self.n_inputs} inputs, "
                f"hidden {list(self.hidden)}, {self.n_classes} classes."
            )

    @property
    def layers(self) -> dict[str, tuple[int, int]]:
        """Layer name -> (outputs, inputs), from the input on: hidden1, hidden2, ..., output."""
        names = [f"hidden{i}" for i in range(1, len(self.hidden) + 1)] + ["output"]
        widths = (self.n_inputs, *self.hidden, self.n_classes)
        return {name: (widths[i + 1], widths[i]) for i, name in enumerate(names)}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape: "hidden1.weight" (F, I), "hidden1.bias" (F,), ..., "output.bias" (K,)."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (n_out, n_in) in self.layers.items():
            shapes[f"{layer}.weight"] = (n_out, n_in)
            shapes[f"{layer}.bias"] = (n_out,)
        return shapes

    @property
    def n_parameters(self) -> int:
        return sum(n_out * (n_in + 1) for n_out, n_in in self.layers.values())

    def __str__(self) -> str:
        return "-".join(str(width) for width in (self.n_inputs, *self.hidden, self.n_classes))


def check_parameters(architecture: Architecture, parameters: Mapping[str, FloatArray]) -> None:
    """Raises ShapeError unless parameters are exactly those of the architecture, each in its shape."""
    expected = architecture.shapes
    if set(parameters) != set(expected):
        raise ShapeError(f"network {architecture} has parameters {sorted(expected)}, got {sorted(parameters)}.")
    for name, shape in expected.items():
        if parameters[name].shape != shape:
            raise ShapeError(f"{name} of network {architecture} must be {shape}, got {parameters[name].shape}.")


def forward(
    parameters: Mapping[str, FloatArray], x: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], Parameters]]:
    """Logits of a batch, layer after layer: h = x W^T + b, g = relu(h), ..., o = g W^T + b.

    The derivative walks the same layers backwards (docs/derivation.md, N1 to N4): dL/do is handed to the last
    layer, which gives its own dL/dW and dL/db and hands dL/dx to the layer before it.

    Args:
        parameters: as `Architecture.shapes` names them, in its order.
        x: (B, I), dtype of the parameters.
    Returns:
        logits: (B, K).
        backward: grad_logits (B, K) -> gradient of every parameter, by name.
    Raises:
        ShapeError: x does not fit the first layer, or a layer the one before.
    """
    layers = [name.removesuffix(".weight") for name in parameters if name.endswith(".weight")]
    value, backwards = x, []
    for layer in layers:
        h, through_dense = dense(value, parameters[f"{layer}.weight"], parameters[f"{layer}.bias"], layer)
        value, through_relu = (h, None) if layer == layers[-1] else relu(h)
        backwards.append((layer, through_dense, through_relu))

    def backward(grad_logits: FloatArray) -> Parameters:
        grad_value, gradients = grad_logits, {}
        for layer, through_dense, through_relu in reversed(backwards):
            grad_h = grad_value if through_relu is None else through_relu(grad_value)
            grad_value, gradients[f"{layer}.weight"], gradients[f"{layer}.bias"] = through_dense(grad_h)
        return {name: gradients[name] for name in parameters}

    return value, backward
