"""The tasks max_pool_forward and max_pool_backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.part2 import reference
from chalknet.exercises.part2.window_tasks import FLOAT32, ONE
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.network.arrays import FloatArray

REST, TIES = "incomplete windows", "equal values"
_RNG = np.random.default_rng(23)
_NEGATIVE = np.array([[-1.0, -4.0, 2.0, 3.0], [-2.0, -3.0, 5.0, 1.0]]).reshape(1, 2, 4, 1)


def _values(shape: tuple[int, ...], dtype: str = "float64") -> FloatArray:
    """Return different numbers of both signs, so that no window has equal values near each other."""
    return (_RNG.permutation(int(np.prod(shape))).reshape(shape) * 0.25 - 2.125).astype(dtype)


def _backward_case(group: str, shape: tuple[int, ...], size: int, dtype: str = "float64") -> Case:
    pooled = (shape[0], shape[1] // size, shape[2] // size, shape[3])
    grad_g = _RNG.normal(size=pooled).astype(dtype)
    return Case(group, {"grad_g": grad_g, "h": _values(shape, dtype), "size": size})


def _whole(h: FloatArray, size: int) -> Any:
    """Return the complete windows with an axis for each index: (B, H', size, W', size, C)."""
    b, height, width, c = h.shape
    rows, columns = height // size, width // size
    return h[:, : rows * size, : columns * size].reshape(b, rows, size, columns, size, c)


def _padded(h: FloatArray, size: int, fill: float) -> FloatArray:
    below, right = -h.shape[1] % size, -h.shape[2] % size
    return np.pad(h, ((0, 0), (0, below), (0, right), (0, 0)), constant_values=fill)


def _overlapping(h: FloatArray, size: int) -> Any:
    every = np.lib.stride_tricks.sliding_window_view(h, (size, size), axis=(1, 2))
    return every.max(axis=(4, 5))


MAX_POOL_FORWARD = Task(
    name="max_pool_forward",
    title="Max pooling, forward",
    outputs=("g",),
    reference=reference.max_pool_forward,
    solution="max_pool2d in chalknet/network/max_pool2d.py",
    helpers=("windows", "add_windows"),
    cases=(
        Case(VALUES, {"h": _NEGATIVE, "size": 2}),
        Case(VALUES, {"h": _values((1, 2, 2, 2)), "size": 2}),
        Case(VALUES, {"h": _values((2, 4, 6, 3)), "size": 2}),
        Case(VALUES, {"h": _values((2, 6, 3, 2)), "size": 3}),
        Case(ONE, {"h": _values((1, 2, 2, 1)), "size": 2}),
        Case(FLOAT32, {"h": _values((2, 4, 2, 1), "float32"), "size": 2}),
        Case(REST, {"h": _values((1, 3, 3, 1)), "size": 2}),
        Case(REST, {"h": _values((2, 5, 4, 2)), "size": 2}),
        Case(REST, {"h": _values((1, 5, 7, 1)), "size": 3}),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 4, VALUES, (VALUES, ONE, FLOAT32)),
        Check("rows and columns that fill no window", 2, VALUES, (REST,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "mean instead of maximum",
            "This is average pooling. Max pooling keeps the largest value of a window.",
            (lambda h, size: _whole(h, size).mean(axis=(2, 4)),),
        ),
        Mistake(
            "minimum instead of maximum",
            "This is the smallest value of each window.",
            (lambda h, size: _whole(h, size).min(axis=(2, 4)),),
        ),
        Mistake(
            "maximum over the channels",
            "The maximum runs over all channels of a window. Each channel is pooled on its own, so the result has as "
            "many channels as h.",
            (
                lambda h, size: _whole(h, size).max(axis=(2, 4, 5)),
                lambda h, size: _whole(h, size).max(axis=(2, 4, 5))[..., None],
                lambda h, size: _whole(h, size).max(axis=(2, 4, 5)).ravel(),
                lambda h, size: np.broadcast_to(
                    _whole(h, size).max(axis=(2, 4, 5))[..., None], (*_whole(h, size)[:, :, 0, :, 0].shape,)
                ),
            ),
        ),
        Mistake(
            "one row for each window in the result",
            "The maxima are right, but they are rows of one matrix. The result is an image again: (B, H', W', C).",
            (
                lambda h, size: _whole(h, size).max(axis=(2, 4)).reshape(-1, h.shape[3]),
                lambda h, size: _whole(h, size).max(axis=(2, 4)).ravel(),
            ),
        ),
        Mistake(
            "maximum over the samples",
            "The maximum runs over the samples too. Each sample is pooled on its own.",
            (
                lambda h, size: _whole(h, size).max(axis=(0, 2, 4)),
                lambda h, size: _whole(h, size).max(axis=(0, 2, 4))[None],
            ),
        ),
        Mistake(
            "never below 0",
            "Windows with negative values only give 0. Their maximum is negative. Is there a 0 among the values that "
            "are compared, for example from np.zeros or from padding?",
            (lambda h, size: np.maximum(_whole(h, size).max(axis=(2, 4)), 0),),
        ),
        Mistake(
            "largest absolute value",
            "Negative values are compared without their sign.",
            (
                lambda h, size: np.abs(_whole(h, size)).max(axis=(2, 4)),
                lambda h, size: np.where(
                    _whole(h, size).max(axis=(2, 4)) >= -_whole(h, size).min(axis=(2, 4)),
                    _whole(h, size).max(axis=(2, 4)),
                    _whole(h, size).min(axis=(2, 4)),
                ),
            ),
        ),
        Mistake(
            "position instead of value",
            "argmax returns the position of the largest value. The result holds the value itself.",
            (
                lambda h, size: (
                    _whole(h, size)
                    .transpose(0, 1, 3, 2, 4, 5)
                    .reshape(len(h), h.shape[1] // size, h.shape[2] // size, -1, h.shape[3])
                    .argmax(axis=3)
                ),
            ),
        ),
        Mistake(
            "overlapping windows",
            "The windows are 1 pixel apart. They have to be `size` pixels apart, so that they do not overlap.",
            (_overlapping,),
        ),
        Mistake(
            "first value instead of maximum",
            "This is one pixel of each window, and not its largest value.",
            (lambda h, size: h[:, ::size, ::size],),
        ),
        Mistake(
            "channels first in the result",
            "Your result is (B, C, H', W'). The channels are the last axis here: (B, H', W', C).",
            (lambda h, size: _whole(h, size).max(axis=(2, 4)).transpose(0, 3, 1, 2),),
        ),
        Mistake(
            "rows and columns that fill no window",
            "If the height is no multiple of size, the last rows are left out, and so are the last columns. H' is "
            "H // size, without the rest.",
            (
                lambda h, size: _whole(_padded(h, size, -np.inf), size).max(axis=(2, 4)),
                lambda h, size: _whole(_padded(h, size, 0.0), size).max(axis=(2, 4)),
            ),
            (REST,),
        ),
        Mistake(
            "reshape of incomplete windows",
            "If the height is no multiple of size, reshape fails. Leave out the rows and columns that fill no window "
            "first.",
            (
                lambda h, size: h.reshape(
                    h.shape[0], h.shape[1] // size, size, h.shape[2] // size, size, h.shape[3]
                ).max(axis=(2, 4)),
            ),
            (REST,),
        ),
    ),
)


def _spread(share: Callable[[FloatArray, FloatArray], FloatArray]) -> Callable[..., Any]:
    """Return max_pool_backward with the gradient of each window times share(windows, largest values)."""

    def backward(grad_g: FloatArray, h: FloatArray, size: int) -> Any:
        every = _whole(h, size)
        largest = every.max(axis=(2, 4), keepdims=True)
        grad = np.zeros(h.shape)
        rows, columns = every.shape[1] * size, every.shape[3] * size
        grads = grad_g[:, :, None, :, None] * share(every, largest)
        grad[:, :rows, :columns] = grads.reshape(len(h), rows, columns, h.shape[3])
        return grad

    return backward


def _is_largest(every: FloatArray, largest: FloatArray) -> Any:
    return (every == largest).astype(float)


def _split_evenly(every: FloatArray, largest: FloatArray) -> Any:
    found = _is_largest(every, largest)
    return found / found.sum(axis=(2, 4), keepdims=True)


def _last(grad_g: FloatArray, h: FloatArray, size: int) -> Any:
    """Return the gradient at the last of equal values."""
    rows, columns = h.shape[1] // size * size, h.shape[2] // size * size
    grad = np.zeros(h.shape)
    turned = reference.max_pool_backward(grad_g[:, ::-1, ::-1], h[:, :rows, :columns][:, ::-1, ::-1], size)
    grad[:, :rows, :columns] = turned[:, ::-1, ::-1]
    return grad


def _over_channels(grad_g: FloatArray, h: FloatArray, size: int) -> Any:
    return _spread(lambda every, largest: (every == largest.max(axis=5, keepdims=True)).astype(float))(grad_g, h, size)


def _cut_to_windows(grad_g: FloatArray, h: FloatArray, size: int) -> Any:
    rows, columns = h.shape[1] // size * size, h.shape[2] // size * size
    return reference.max_pool_backward(grad_g, h, size)[:, :rows, :columns]


def _loss(arguments: Mapping[str, Any]) -> float:
    return float((arguments["grad_g"] * reference.max_pool_forward(arguments["h"], arguments["size"])).sum())


MAX_POOL_BACKWARD = Task(
    name="max_pool_backward",
    title="Max pooling, backward",
    outputs=("grad_h",),
    reference=reference.max_pool_backward,
    solution="max_pool2d in chalknet/network/max_pool2d.py",
    helpers=("windows", "add_windows", "max_pool_forward"),
    cases=(
        Case(VALUES, {"grad_g": np.array([10.0, 20.0]).reshape(1, 1, 2, 1), "h": _NEGATIVE, "size": 2}),
        _backward_case(VALUES, (1, 2, 2, 2), 2),
        _backward_case(VALUES, (2, 4, 6, 3), 2),
        _backward_case(VALUES, (2, 6, 3, 2), 3),
        _backward_case(ONE, (1, 2, 2, 1), 2),
        _backward_case(FLOAT32, (2, 4, 2, 1), 2, "float32"),
        _backward_case(REST, (1, 3, 3, 1), 2),
        _backward_case(REST, (2, 5, 4, 2), 2),
        Case(
            TIES,
            {
                "grad_g": np.array([10.0, 20.0]).reshape(1, 1, 2, 1),
                "h": np.array([[1.0, 3.0, 0.0, 0.0], [3.0, 3.0, 0.0, 0.0]]).reshape(1, 2, 4, 1),
                "size": 2,
            },
        ),
        Case(
            TIES,
            {
                "grad_g": _RNG.normal(size=(2, 2, 2, 2)),
                "h": np.maximum(_RNG.integers(-2, 3, (2, 4, 4, 2)), 0.0),
                "size": 2,
            },
        ),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 3, VALUES, (VALUES, ONE, FLOAT32)),
        Check("rows and columns that fill no window", 1, VALUES, (REST,)),
        Check("equal values", 2, VALUES, (TIES,)),
        Check("central differences", 2, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        _loss,
        {"grad_h": "h"},
        own_function="max_pool_forward",
        own_arguments=lambda arguments: {name: arguments[name] for name in ("h", "size")},
        own_loss=lambda value, arguments: float((arguments["grad_g"] * value).sum()),
    ),
    mistakes=(
        Mistake(
            "gradient spread over the window",
            "Each value of the window gets an equal part of the gradient: that is average pooling. A small change of a "
            "value that is not the largest does not change the maximum.",
            (_spread(lambda every, largest: np.full(every.shape, 1 / (every.shape[2] * every.shape[4]))),),
        ),
        Mistake(
            "gradient to the whole window",
            "Every value of the window gets the whole gradient. A small change of a value that is not the largest does "
            "not change the maximum.",
            (_spread(lambda every, largest: np.ones(every.shape)),),
        ),
        Mistake(
            "missing chain rule",
            "This is 1 at the largest values. The chain rule multiplies it by the gradient that arrives, grad_g.",
            (lambda grad_g, h, size: reference.max_pool_backward(np.ones_like(grad_g), h, size),),
        ),
        Mistake(
            "multiplied by the value",
            "The gradient is multiplied by the largest value. The maximum changes as much as its largest value does, "
            "so the factor is 1.",
            (_spread(lambda every, largest: _is_largest(every, largest) * every),),
        ),
        Mistake(
            "maximum over the channels",
            "The gradient goes to the largest value of all channels. Each channel is pooled on its own.",
            (_over_channels,),
        ),
        Mistake(
            "values instead of the gradient",
            "The largest values themselves are returned at their places. The gradient grad_g belongs there.",
            (lambda grad_g, h, size: reference.max_pool_backward(reference.max_pool_forward(h, size), h, size),),
        ),
        Mistake("sign", "The gradient has the wrong sign.", (lambda *a: -reference.max_pool_backward(*a),)),
        Mistake(
            "shape without the incomplete windows",
            "grad_h has the shape of h. Rows and columns that fill no window have a gradient too: it is 0.",
            (_cut_to_windows,),
            (REST,),
        ),
        Mistake(
            "gradient to all equal values",
            "If several values of a window are the largest, each of them gets the whole gradient. This course gives it "
            "to the first one only, so that the gradients of a window have the sum of grad_g.",
            (_spread(_is_largest),),
            (TIES,),
        ),
        Mistake(
            "gradient shared by equal values",
            "If several values of a window are the largest, they share the gradient. This course gives all of it to "
            "the first one.",
            (_spread(_split_evenly),),
            (TIES,),
        ),
        Mistake(
            "last of equal values",
            "If several values of a window are the largest, the last one gets the gradient. This course gives it to "
            "the first one, in rows from the top left. Is a comparison >= where it should be >?",
            (_last,),
            (TIES,),
        ),
    ),
)
