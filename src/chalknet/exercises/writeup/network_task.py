"""The task network_gradients: backpropagation through the whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chalknet.exercises import reference
from chalknet.exercises.calls import Case
from chalknet.exercises.reference import (
    Arrays,
    cross_entropy,
    cross_entropy_gradient,
    dense_backward,
    dense_forward,
    relu_backward,
    relu_forward,
    softmax,
)
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.exercises.writeup.softmax_task import ONE
from chalknet.network.arrays import FloatArray, LabelArray

_RNG = np.random.default_rng(15)


def _case(group: str, b: int, i: int, f: int, k: int) -> Case:
    parameters = {
        "W_h": _RNG.normal(size=(f, i)),
        "b_h": _RNG.normal(size=f),
        "W_o": _RNG.normal(size=(k, f)),
        "b_o": _RNG.normal(size=k),
    }
    return Case(group, {"x": _RNG.normal(size=(b, i)), "labels": _RNG.integers(0, k, b), "parameters": parameters})


def _variant(
    activate: Callable[..., Any] = relu_forward,
    through: Callable[..., Any] = relu_backward,
    logits_of: Callable[..., Any] = lambda o: o,
    grad_logits: Callable[..., Any] = cross_entropy_gradient,
    hidden_input: Callable[..., Any] = lambda x, h, g: x,
    output_input: Callable[..., Any] = lambda x, h, g: g,
) -> Callable[..., tuple[float, Arrays]]:
    """Return network_gradients with one step replaced."""

    def compute(x: FloatArray, labels: LabelArray, parameters: Mapping[str, FloatArray]) -> tuple[float, Arrays]:
        h = dense_forward(x, parameters["W_h"], parameters["b_h"])
        g = activate(h)
        o = logits_of(dense_forward(g, parameters["W_o"], parameters["b_o"]))
        grad_g, grad_w_o, grad_b_o = dense_backward(grad_logits(o, labels), output_input(x, h, g), parameters["W_o"])
        grad_h = through(grad_g, h)
        _, grad_w_h, grad_b_h = dense_backward(grad_h, hidden_input(x, h, g), parameters["W_h"])
        return cross_entropy(o, labels), {"W_h": grad_w_h, "b_h": grad_b_h, "W_o": grad_w_o, "b_o": grad_b_o}

    return compute


def _negative(x: FloatArray, labels: LabelArray, parameters: Mapping[str, FloatArray]) -> tuple[float, Arrays]:
    loss, gradients = reference.network_gradients(x, labels, parameters)
    return loss, {name: -value for name, value in gradients.items()}


def _summed(x: FloatArray, labels: LabelArray, parameters: Mapping[str, FloatArray]) -> tuple[float, Arrays]:
    loss, gradients = reference.network_gradients(x, labels, parameters)
    return loss, {name: len(x) * value for name, value in gradients.items()}


def _averaged_twice(x: FloatArray, labels: LabelArray, parameters: Mapping[str, FloatArray]) -> tuple[float, Arrays]:
    loss, gradients = reference.network_gradients(x, labels, parameters)
    return loss, {name: value / len(x) for name, value in gradients.items()}


def _loss(arguments: Mapping[str, Any]) -> float:
    return reference.network_gradients(arguments["x"], arguments["labels"], arguments["parameters"])[0]


NETWORK_GRADIENTS = Task(
    name="network_gradients",
    title="Backpropagation through the network",
    outputs=("loss", "gradients"),
    reference=reference.network_gradients,
    solution="network_gradients in chalknet/exercises/reference.py",
    helpers=(
        "softmax",
        "cross_entropy",
        "cross_entropy_gradient",
        "dense_forward",
        "dense_backward",
        "relu_forward",
        "relu_backward",
    ),
    cases=(
        _case(VALUES, 2, 2, 3, 2),
        _case(VALUES, 6, 4, 4, 4),
        _case(VALUES, 5, 4, 6, 3),
        _case(ONE, 1, 3, 5, 2),
    ),
    checks=(
        Check("a loss and four gradients with the right shapes", 1, SHAPE, (VALUES, ONE)),
        Check("loss", 1, VALUES, (VALUES, ONE), "loss"),
        Check("gradient of W_o", 2, VALUES, (VALUES, ONE), "gradients[W_o]"),
        Check("gradient of b_o", 1, VALUES, (VALUES, ONE), "gradients[b_o]"),
        Check("gradient of W_h", 3, VALUES, (VALUES, ONE), "gradients[W_h]"),
        Check("gradient of b_h", 2, VALUES, (VALUES, ONE), "gradients[b_h]"),
        Check("central differences", 2, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        _loss,
        {f"gradients[{name}]": f"parameters[{name}]" for name in ("W_h", "b_h", "W_o", "b_o")},
        own_function="network_gradients",
        own_loss=lambda value, _: float(value[0]),
    ),
    mistakes=(
        Mistake(
            "missing relu in the forward pass",
            "The output layer gets h. It needs g, the values after relu.",
            (_variant(activate=lambda h: h), _variant(activate=lambda h: h, through=lambda grad_g, _: grad_g)),
        ),
        Mistake(
            "missing relu in the backward pass",
            "The gradient goes from the output layer to the hidden layer as if there were no relu between them. "
            "Every step of the forward pass has its step in the backward pass, in the opposite order.",
            (_variant(through=lambda grad_g, _: grad_g),),
        ),
        Mistake(
            "softmax twice",
            "cross_entropy takes logits and applies softmax itself. Give it o, not the probabilities.",
            (
                _variant(logits_of=softmax),
                _variant(grad_logits=lambda o, labels: cross_entropy_gradient(softmax(o), labels)),
            ),
        ),
        Mistake(
            "relu after the output layer",
            "The logits went through relu. Only the hidden layer has an activation.",
            (
                _variant(logits_of=relu_forward),
                _variant(
                    logits_of=relu_forward,
                    grad_logits=lambda o, labels: relu_backward(cross_entropy_gradient(o, labels), o),
                ),
            ),
        ),
        Mistake(
            "h instead of g in the gradient of W_o",
            "The input of the output layer is g. Its weight gradient needs the input of its own layer.",
            (_variant(output_input=lambda x, h, g: h),),
        ),
        Mistake("sign", "All gradients have the wrong sign.", (_negative,)),
        Mistake(
            "missing mean",
            "The gradients are those of the sum over the samples. The loss is a mean.",
            (_summed,),
        ),
        Mistake(
            "divided by the number of samples twice",
            "The gradient of the loss already contains the division by the number of samples.",
            (_averaged_twice,),
        ),
    ),
)
