"""The task conv_network_gradients: backpropagation through a network with a convolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.part2 import reference
from chalknet.exercises.part2.reference import (
    PADDING,
    POOL,
    conv2d_backward,
    conv2d_forward,
    dropout_backward,
    dropout_forward,
    max_pool_backward,
    max_pool_forward,
)
from chalknet.exercises.part2.window_tasks import ONE
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
from chalknet.network.arrays import FloatArray, LabelArray

NO_DROPOUT = "without dropout"
_RNG = np.random.default_rng(26)


def _case(group: str, shape: tuple[int, ...], channels: int, classes: int, rate: float) -> Case:
    n_inputs = (shape[1] // POOL) * (shape[2] // POOL) * channels
    parameters = {
        "W_c": _RNG.normal(size=(channels, 3, 3, shape[3])),
        "b_c": _RNG.normal(size=channels),
        "W_o": _RNG.normal(size=(classes, n_inputs)),
        "b_o": _RNG.normal(size=classes),
    }
    return Case(
        group,
        {
            "x": _RNG.normal(size=shape),
            "labels": _RNG.integers(0, classes, shape[0]),
            "parameters": parameters,
            "uniforms": _RNG.random((shape[0], n_inputs)),
            "rate": rate,
        },
    )


def _variant(
    activate: Callable[..., Any] = relu_forward,
    through_relu: Callable[..., Any] = relu_backward,
    drop: Callable[..., Any] = dropout_forward,
    through_dropout: Callable[..., Any] = dropout_backward,
    output_input: Callable[..., Any] = lambda before, after: after,
    flat: Callable[..., Any] = lambda q: q.reshape(len(q), -1),
    unflat: Callable[..., Any] = lambda grad, q: grad.reshape(q.shape),
    logits_of: Callable[..., Any] = lambda o: o,
    pooled_values: Callable[..., Any] = lambda h, g: g,
) -> Callable[..., tuple[float, Arrays]]:
    """Return conv_network_gradients with one step replaced."""

    def compute(
        x: FloatArray, labels: LabelArray, parameters: Mapping[str, FloatArray], uniforms: FloatArray, rate: float
    ) -> tuple[float, Arrays]:
        h = conv2d_forward(x, parameters["W_c"], parameters["b_c"], 1, PADDING)
        g = activate(h)
        q = max_pool_forward(g, POOL)
        before = flat(q)
        after, mask = drop(before, uniforms, rate)
        o = logits_of(dense_forward(after, parameters["W_o"], parameters["b_o"]))
        grad_f, grad_w_o, grad_b_o = dense_backward(
            cross_entropy_gradient(o, labels), output_input(before, after), parameters["W_o"]
        )
        grad_q = unflat(through_dropout(grad_f, mask), q)
        grad_h = through_relu(max_pool_backward(grad_q, pooled_values(h, g), POOL), h)
        _, grad_w_c, grad_b_c = conv2d_backward(grad_h, x, parameters["W_c"], 1, PADDING)
        return cross_entropy(o, labels), {"W_c": grad_w_c, "b_c": grad_b_c, "W_o": grad_w_o, "b_o": grad_b_o}

    return compute


def _scaled(factor: Callable[[FloatArray], float]) -> Callable[..., tuple[float, Arrays]]:
    def compute(x: FloatArray, *others: Any) -> tuple[float, Arrays]:
        loss, gradients = reference.conv_network_gradients(x, *others)
        return loss, {name: factor(x) * value for name, value in gradients.items()}

    return compute


def _without_dropout(g: FloatArray, uniforms: FloatArray, rate: float) -> tuple[FloatArray, FloatArray]:
    return g, np.ones_like(g)


def _channels_first(q: FloatArray) -> Any:
    return q.transpose(0, 3, 1, 2).reshape(len(q), -1)


def _from_channels_first(grad: FloatArray, q: FloatArray) -> Any:
    b, height, width, channels = q.shape
    return grad.reshape(b, channels, height, width).transpose(0, 2, 3, 1)


def _loss(arguments: Mapping[str, Any]) -> float:
    names = ("x", "labels", "parameters", "uniforms", "rate")
    return reference.conv_network_gradients(*(arguments[name] for name in names))[0]


CONV_NETWORK_GRADIENTS = Task(
    name="conv_network_gradients",
    title="Backpropagation through a network with a convolution",
    outputs=("loss", "gradients"),
    reference=reference.conv_network_gradients,
    solution="conv_network_gradients in chalknet/exercises/part2/reference.py",
    helpers=(
        "windows",
        "add_windows",
        "conv2d_forward",
        "conv2d_backward",
        "max_pool_forward",
        "max_pool_backward",
        "dropout_forward",
        "dropout_backward",
        "relu_forward",
        "relu_backward",
        "dense_forward",
        "dense_backward",
        "softmax",
        "cross_entropy",
        "cross_entropy_gradient",
    ),
    cases=(
        _case(VALUES, (2, 4, 4, 1), 2, 2, 0.3),
        _case(VALUES, (5, 4, 6, 2), 3, 4, 0.5),
        _case(VALUES, (4, 6, 4, 1), 2, 3, 0.2),
        _case(ONE, (1, 4, 4, 1), 2, 3, 0.4),
        _case(NO_DROPOUT, (3, 4, 4, 1), 2, 3, 0.0),
    ),
    checks=(
        Check("a loss and four gradients with the right shapes", 1, SHAPE, (VALUES, ONE)),
        Check("loss", 1, VALUES, (VALUES, ONE, NO_DROPOUT), "loss"),
        Check("gradient of W_o", 1, VALUES, (VALUES, ONE, NO_DROPOUT), "gradients[W_o]"),
        Check("gradient of b_o", 1, VALUES, (VALUES, ONE, NO_DROPOUT), "gradients[b_o]"),
        Check("gradient of W_c", 3, VALUES, (VALUES, ONE, NO_DROPOUT), "gradients[W_c]"),
        Check("gradient of b_c", 1, VALUES, (VALUES, ONE, NO_DROPOUT), "gradients[b_c]"),
        Check("central differences", 2, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        _loss,
        {f"gradients[{name}]": f"parameters[{name}]" for name in ("W_c", "b_c", "W_o", "b_o")},
        own_function="conv_network_gradients",
        own_loss=lambda value, _: float(value[0]),
    ),
    mistakes=(
        Mistake(
            "missing relu in the forward pass",
            "The pooling gets h. It needs g, the values after relu.",
            (_variant(activate=lambda h: h), _variant(activate=lambda h: h, through_relu=lambda grad, _: grad)),
        ),
        Mistake(
            "missing relu in the backward pass",
            "The gradient goes from the pooling to the convolution as if there were no relu between them. Every step "
            "of the forward pass has its step in the backward pass, in the opposite order.",
            (_variant(through_relu=lambda grad, _: grad),),
        ),
        Mistake(
            "missing dropout",
            "The dense layer gets the pooled values. It needs them after dropout.",
            (
                _variant(drop=_without_dropout),
                _variant(output_input=lambda before, after: before, drop=_without_dropout),
            ),
        ),
        Mistake(
            "mask not used in the backward pass",
            "Dropout is in the forward pass only. A value that was dropped has no effect on the loss, so its "
            "gradient is 0. Every step of the forward pass has its step in the backward pass.",
            (_variant(through_dropout=lambda grad, _: grad),),
        ),
        Mistake(
            "values before dropout in the gradient of W_o",
            "The input of the dense layer are the values after dropout. Its weight gradient needs its own input.",
            (_variant(output_input=lambda before, after: before),),
        ),
        Mistake(
            "channels before pixels",
            "The pooled values are flattened channel by channel. Flatten them in their own order: row, column, "
            "channel.",
            (_variant(flat=_channels_first, unflat=_from_channels_first), _variant(flat=_channels_first)),
        ),
        Mistake(
            "softmax twice",
            "cross_entropy takes logits and applies softmax itself. Give it o, not the probabilities.",
            (_variant(logits_of=softmax),),
        ),
        Mistake("sign", "All gradients have the wrong sign.", (_scaled(lambda _: -1.0),)),
        Mistake(
            "missing mean",
            "The gradients are those of the sum over the samples. The loss is a mean.",
            (_scaled(lambda x: float(len(x))),),
        ),
        Mistake(
            "divided by the number of samples twice",
            "The gradient of the loss already contains the division by the number of samples.",
            (_scaled(lambda x: 1 / len(x)),),
        ),
    ),
)
