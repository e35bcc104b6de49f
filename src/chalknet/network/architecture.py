"""A network's shape, and the forward and backward pass through all of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.activations import ACTIVATIONS
from chalknet.network.arrays import FloatArray
from chalknet.network.batch_norm import BatchNormGradients, batch_norm, moved_statistics, normalised
from chalknet.network.dense import dense
from chalknet.network.dropout import dropout

Parameters = dict[str, FloatArray]
STATISTICS = (".mean", ".variance")  # how the names of what is kept, and not learnt, end


@dataclass(frozen=True)
class Architecture:
    """Dense layers from n_inputs through the hidden widths to n_classes, each hidden one followed by its activation.

    Attributes:
        activations: one a hidden layer, of `activations.ACTIVATIONS`; relu everywhere where none is given.
        batch_norm: whether each hidden layer's values are normalised before its activation.

    Raises:
        ConfigError: a size below 1, fewer than two classes, or activations that are unknown or too few or many.
    """

    n_inputs: int
    hidden: tuple[int, ...]
    n_classes: int
    activations: tuple[str, ...] = ()
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if min(self.n_inputs, *self.hidden, self.n_classes - 1) < 1:
            raise ConfigError(
                f"a network needs sizes >= 1 and at least two classes, got {self.n_inputs} inputs, "
                f"hidden {list(self.hidden)}, {self.n_classes} classes."
            )
        object.__setattr__(self, "activations", self.activations or ("relu",) * len(self.hidden))
        if len(self.activations) != len(self.hidden) or not set(self.activations) <= set(ACTIVATIONS):
            raise ConfigError(
                f"activations must be one of {', '.join(ACTIVATIONS)} for each of {len(self.hidden)} hidden layers, "
                f"got {list(self.activations)}."
            )

    @property
    def layers(self) -> dict[str, tuple[int, int]]:
        """Layer name -> (outputs, inputs), from the input on: hidden1, hidden2, ..., output."""
        names = [f"hidden{i}" for i in range(1, len(self.hidden) + 1)] + ["output"]
        widths = (self.n_inputs, *self.hidden, self.n_classes)
        return {name: (widths[i + 1], widths[i]) for i, name in enumerate(names)}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape: "hidden1.weight" (F, I), "hidden1.bias" (F,), ..., "output.bias" (K,).

        With batch normalisation a hidden layer also has "hidden1.gain", and the running "hidden1.mean" and
        "hidden1.variance", which are kept and not learnt, all (F,).
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (n_out, n_in) in self.layers.items():
            shapes[f"{layer}.weight"] = (n_out, n_in)
            shapes[f"{layer}.bias"] = (n_out,)
            if self.batch_norm and layer != "output":
                shapes |= {f"{layer}.{kind}": (n_out,) for kind in ("gain", "mean", "variance")}
        return shapes

    @property
    def n_parameters(self) -> int:
        """How many numbers are learnt."""
        gains = sum(self.hidden) if self.batch_norm else 0
        return sum(n_out * (n_in + 1) for n_out, n_in in self.layers.values()) + gains

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


class ForwardPass(NamedTuple):
    """One batch through a network.

    Attributes:
        logits: (B, K).
        backward: grad_logits (B, K) -> gradient of everything learnt, by name.
        before: each hidden layer's values before its activation, (B, F).
        statistics: the running statistics of batch normalisation after this batch, by name; none in evaluation.
    """

    logits: FloatArray
    backward: Callable[[FloatArray], Parameters]
    before: tuple[FloatArray, ...]
    statistics: Parameters


def forward(
    parameters: Mapping[str, FloatArray], x: FloatArray, activations: Sequence[str] = ()
) -> tuple[FloatArray, Callable[[FloatArray], Parameters]]:
    """Logits of a batch, layer after layer: h = x W^T + b, g = relu(h), ..., o = g W^T + b.

    The derivative walks the same layers backwards (docs/derivation.md, N1 to N4): dL/do is handed to the last
    layer, which gives its own dL/dW and dL/db and hands dL/dx to the layer before it.

    Args:
        parameters: as `Architecture.shapes` names them, in its order.
        x: (B, I), dtype of the parameters.
        activations: one a hidden layer, relu where none is given.
    Returns:
        logits: (B, K).
        backward: grad_logits (B, K) -> gradient of every parameter that is learnt, by name.
    Raises:
        ShapeError: x does not fit the first layer, or a layer the one before.
    """
    whole = forward_pass(parameters, x, activations)
    return whole.logits, whole.backward


def forward_pass(
    parameters: Mapping[str, FloatArray],
    x: FloatArray,
    activations: Sequence[str] = (),
    *,
    keep: Sequence[FloatArray | None] = (),
    training: bool = False,
) -> ForwardPass:
    """`forward` with what training adds: dropout, and batch normalisation by the batch's own statistics.

    Args:
        keep: factors of D1, for the inputs and then each hidden layer's values after their activation; None or nothing
            where none are dropped.
        training: whether batch normalisation takes the batch's statistics (B1) instead of the running ones.
    Raises:
        ShapeError: as `forward`.
    """
    layers = [name.removesuffix(".weight") for name in parameters if name.endswith(".weight")]
    names = activations or ("relu",) * (len(layers) - 1)
    factors = [*keep, *[None] * (len(layers) - len(keep))]
    value, through_drop = _dropped(x, factors[0])
    before, backwards = [], []
    statistics: Parameters = {}
    for i, layer in enumerate(layers[:-1]):
        has_norm = f"{layer}.gain" in parameters  # its bias is then B3's: before B2 it would cancel
        bias = np.zeros_like(parameters[f"{layer}.bias"]) if has_norm else parameters[f"{layer}.bias"]
        h, through_dense = dense(value, parameters[f"{layer}.weight"], bias, layer)
        h, through_norm, moved = _normalised(parameters, layer, h, training)
        value, through_activation = ACTIVATIONS[names[i]](h)
        value, through_drop = _dropped(value, factors[i + 1])
        before.append(h)
        statistics |= moved
        backwards.append((layer, through_dense, through_norm, through_activation, through_drop))
    last = layers[-1]
    logits, through_output = dense(value, parameters[f"{last}.weight"], parameters[f"{last}.bias"], last)

    def backward(grad_logits: FloatArray) -> Parameters:
        grad_value, grad_weight, grad_bias = through_output(grad_logits)
        gradients = {f"{last}.weight": grad_weight, f"{last}.bias": grad_bias}
        for layer, through_dense, through_norm, through_activation, through_drop in reversed(backwards):
            grad_h = through_activation(through_drop(grad_value))
            if through_norm is None:
                grad_value, gradients[f"{layer}.weight"], gradients[f"{layer}.bias"] = through_dense(grad_h)
            else:
                grad_h, gradients[f"{layer}.gain"], gradients[f"{layer}.bias"] = through_norm(grad_h)
                grad_value, gradients[f"{layer}.weight"], _ = through_dense(grad_h)
        return {name: gradients[name] for name in parameters if not name.endswith(STATISTICS)}

    return ForwardPass(logits, backward, tuple(before), statistics)


def _dropped(value: FloatArray, keep: FloatArray | None) -> tuple[FloatArray, Callable[[FloatArray], FloatArray]]:
    return (value, lambda grad_value: grad_value) if keep is None else dropout(value, keep)


def _normalised(
    parameters: Mapping[str, FloatArray], layer: str, h: FloatArray, training: bool
) -> tuple[FloatArray, Callable[[FloatArray], BatchNormGradients] | None, Parameters]:
    """A layer's values after batch normalisation, where it has one, its derivative, and the statistics it leaves."""
    if f"{layer}.gain" not in parameters:
        return h, None, {}
    gain, bias = parameters[f"{layer}.gain"], parameters[f"{layer}.bias"]
    mean, variance = parameters[f"{layer}.mean"], parameters[f"{layer}.variance"]
    if not training:
        return *normalised(h, mean, variance, gain, bias), {}
    moved = dict(zip((f"{layer}.mean", f"{layer}.variance"), moved_statistics(mean, variance, h), strict=True))
    return *batch_norm(h, gain, bias), moved
