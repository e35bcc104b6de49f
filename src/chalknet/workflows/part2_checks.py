"""Check each derivative formula of the convolutional network of part 2 by central differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.preprocess import Scaling, input_scale
from chalknet.network.batch_norm import BatchNormGradients, batch_norm
from chalknet.network.conv2d import conv2d
from chalknet.network.dense import dense
from chalknet.network.dropout import dropout
from chalknet.network.losses import l2_penalty, softmax_cross_entropy
from chalknet.network.max_pool2d import max_pool2d
from chalknet.network.relu import relu
from chalknet.workflows.formula_checks import Cases, Values, formula_errors

# Sizes of the network that is checked. The formulas are the same for all sizes.
FILTERS, KERNEL, UNITS = 4, 3, 16
KEEP, STRENGTH = 0.5, 0.1
# Standard deviation of the noise that is added to values before they are changed. Without it, windows of max
# pooling hold equal values, where the maximum has no derivative.
NOISE = 0.1

Named = Mapping[str, Values]
# The layers in their order: (value, parameters) -> (value, backward).
LAYERS: dict[str, Callable[[Any, Named], tuple[Any, Callable[[Any], Any]]]] = {
    "conv": lambda value, p: conv2d(value, p["conv.weight"], p["conv.bias"], padding=KERNEL // 2),
    "relu": lambda value, _: relu(value),
    "norm": lambda value, p: _channel_norm(value, p["gamma"], p["norm.bias"]),
    "pool": lambda value, _: max_pool2d(value),
    "flatten": lambda value, _: (value.reshape(len(value), -1), lambda grad: grad.reshape(value.shape)),
    "dense": lambda value, p: dense(value, p["dense.weight"], p["dense.bias"]),
    "hidden relu": lambda value, _: relu(value),
    "dropout": lambda value, p: dropout(value, p["mask"]),
    "output": lambda value, p: dense(value, p["output.weight"], p["output.bias"]),
    "loss": lambda value, p: _loss(value, p["labels"]),
}


def check_part2_formulas(data: Dataset, recipe: Recipe, n_samples: int = 20) -> dict[str, float]:
    """Return the relative error (G3) of each derivative formula of a small convolutional network.

    The network has the layers of part 2, with fewer filters and units. Each formula is checked alone,
    in float64, as in `check_formulas`.

    Args:
        data: images.
        recipe: the recipe, whose seed draws samples, weights and noise.
        n_samples: size of the batch; at most the data's.

    Returns:
        Label of the formula -> relative error.
    """
    rng = np.random.default_rng(recipe.training.seed)
    chosen = rng.choice(len(data), min(n_samples, len(data)), replace=False)
    images = data.inputs[chosen].reshape(len(chosen), *(*data.inputs.shape[1:], 1)[:3])
    x = Scaling(input_scale(data.inputs.dtype))(images, np.float64)
    p: dict[str, Any] = _parameters(rng, x.shape[1:], data.n_classes)
    p |= {"labels": data.labels[chosen], "mask": (rng.random((len(x), UNITS)) < KEEP) / KEEP}
    x = x + rng.normal(0, NOISE, x.shape)
    inputs, gradients = _both_passes("conv", x, p)

    def case_at(layer: str) -> tuple[Callable[[Values], float], Values, Values]:
        """Return loss, point and gradient for the input of a layer."""
        value = inputs[layer] + rng.normal(0, NOISE, inputs[layer].shape)
        return lambda changed: _loss_from(layer, changed, p), value, _first(_both_passes(layer, value, p)[1][layer])

    def case_of(name: str, gradient: Values) -> tuple[Callable[[Values], float], Values, Values]:
        """Return loss, point and gradient for a parameter."""
        return lambda changed: _loss_from("conv", x, {**p, name: changed}), p[name], gradient

    conv, norm, hidden, output = (gradients[name] for name in ("conv", "norm", "dense", "output"))
    name = "dense.weight"
    penalty = l2_penalty({name: p[name]}, STRENGTH)[1]
    cases: Cases = {
        "L4": [case_at("loss")],
        "A2": [case_at("output"), case_at("dense")],
        "A3": [case_of("output.weight", output.grad_weight), case_of("dense.weight", hidden.grad_weight)],
        "A4": [case_of("output.bias", output.grad_bias), case_of("dense.bias", hidden.grad_bias)],
        "D2": [case_at("dropout")],
        "R2": [case_at("hidden relu"), case_at("relu")],
        "Q2": [case_at("pool")],
        "B4": [case_of("gamma", norm.grad_gamma), case_of("norm.bias", norm.grad_bias)],
        "B5": [case_at("norm")],
        "K3": [case_of("conv.weight", conv.grad_weight)],
        "K4": [case_of("conv.bias", conv.grad_bias)],
        "K5": [case_at("conv")],
        "P2": [(lambda changed: l2_penalty({name: changed}, STRENGTH)[0], p[name], penalty()[name])],
    }
    return formula_errors(cases, rng)


def _parameters(rng: np.random.Generator, image: tuple[int, ...], n_classes: int) -> dict[str, Any]:
    """Return random parameters of the network, so large that no layer is nearly constant."""
    height, width, channels = image
    n_flat = (height // 2) * (width // 2) * FILTERS
    return {
        "conv.weight": rng.normal(0, 0.5, (FILTERS, KERNEL, KERNEL, channels)),
        "conv.bias": rng.normal(0, 0.5, FILTERS),
        "gamma": rng.normal(1, 0.1, FILTERS),
        "norm.bias": rng.normal(0, 0.1, FILTERS),
        "dense.weight": rng.normal(0, n_flat**-0.5, (UNITS, n_flat)),
        "dense.bias": rng.normal(0, 0.1, UNITS),
        "output.weight": rng.normal(0, UNITS**-0.5, (n_classes, UNITS)),
        "output.bias": rng.normal(0, 0.1, n_classes),
    }


def _both_passes(start: str, value: Any, p: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the input of each layer from `start` on, and what its backward function returns."""
    names = list(LAYERS)[list(LAYERS).index(start) :]
    inputs: dict[str, Any] = {}
    backward: dict[str, Callable[[Any], Any]] = {}
    for name in names:
        inputs[name] = value
        value, backward[name] = LAYERS[name](value, p)
    gradients: dict[str, Any] = {}
    grad: Any = 1.0
    for name in reversed(names):
        gradients[name] = backward[name](grad)
        grad = _first(gradients[name])
    return inputs, gradients


def _loss_from(start: str, value: Any, p: Named) -> float:
    """Return the loss if the input of a layer is this value."""
    for name in list(LAYERS)[list(LAYERS).index(start) :]:
        value, _ = LAYERS[name](value, p)
    return float(value)


def _first(gradients: Any) -> Values:
    """Return the gradient of a layer's input, which is the first of several."""
    found: Values = gradients[0] if isinstance(gradients, tuple) else gradients
    return found


def _channel_norm(value: Values, gamma: Values, bias: Values) -> tuple[Values, Callable[[Values], BatchNormGradients]]:
    """Normalize each channel of images over all pixels and samples."""
    rows, through = batch_norm(value.reshape(-1, value.shape[-1]), gamma, bias)

    def backward(grad: Values) -> BatchNormGradients:
        found = through(grad.reshape(rows.shape))
        return found._replace(grad_h=found.grad_h.reshape(value.shape))

    return rows.reshape(value.shape), backward


def _loss(logits: Values, labels: Any) -> tuple[float, Callable[[Any], Values]]:
    """Return the cross-entropy with a backward function like that of a layer."""
    loss, backward = softmax_cross_entropy(logits, labels)
    return loss, lambda grad: grad * backward()
