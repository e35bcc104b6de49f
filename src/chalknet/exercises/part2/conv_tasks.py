"""The tasks conv2d_forward and conv2d_backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.part2 import reference
from chalknet.exercises.part2.window_tasks import (
    EVERY,
    FLOAT32,
    ONE,
    PADDING,
    PADDING_IGNORED,
    STRIDE,
    STRIDE_IGNORED,
    inside,
    n_windows,
    placed,
)
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.exercises.variants import in_order, scaled, with_output
from chalknet.network.arrays import FloatArray

_RNG = np.random.default_rng(22)
Gradients = tuple[FloatArray, FloatArray, FloatArray]
Forward = Callable[[FloatArray, FloatArray, FloatArray, int, int], Any]
Backward = Callable[[FloatArray, FloatArray, FloatArray, int, int], Any]


def _case(
    group: str, shape: tuple[int, ...], outputs: int, size: int, stride: int, padding: int, dtype: str = "float64"
) -> Case:
    arrays = {
        "x": _RNG.normal(size=shape),
        "weight": _RNG.normal(size=(outputs, size, size, shape[3])),
        "bias": _RNG.normal(size=outputs),
    }
    return Case(
        group, {**{name: one.astype(dtype) for name, one in arrays.items()}, "stride": stride, "padding": padding}
    )


def _backward_case(
    group: str, shape: tuple[int, ...], outputs: int, size: int, stride: int, padding: int, dtype: str = "float64"
) -> Case:
    arrays = {
        "grad_h": _RNG.normal(size=(shape[0], *n_windows(shape, size, stride, padding), outputs)),
        "x": _RNG.normal(size=shape),
        "weight": _RNG.normal(size=(outputs, size, size, shape[3])),
    }
    return Case(
        group, {**{name: one.astype(dtype) for name, one in arrays.items()}, "stride": stride, "padding": padding}
    )


def _with_weight(change: Callable[[FloatArray], Any]) -> Forward:
    """Return conv2d_forward with a changed kernel."""
    return lambda x, weight, bias, stride, padding: reference.conv2d_forward(x, change(weight), bias, stride, padding)


def _with_bias(factor: Callable[[FloatArray], float]) -> Forward:
    return lambda x, weight, bias, stride, padding: reference.conv2d_forward(
        x, weight, factor(weight) * bias, stride, padding
    )


def _with_result(change: Callable[[FloatArray], Any]) -> Forward:
    return lambda *arguments: change(reference.conv2d_forward(*arguments))


def _scrambled(h: FloatArray) -> Any:
    """Return (O, B H' W') reshaped instead of transposed."""
    return np.ascontiguousarray(h.reshape(-1, h.shape[3]).T).reshape(h.shape)


def _rows_scrambled(weight: FloatArray) -> Any:
    """Return the kernels as reshape(-1, O) makes columns of them, in the form of kernels."""
    return np.ascontiguousarray(weight.reshape(-1, len(weight)).T).reshape(weight.shape)


def _averaged(x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int, padding: int) -> Any:
    return reference.conv2d_forward(x, weight / weight[0].size, bias, stride, padding)


def _reshaped_to_images(x: FloatArray, *others: Any) -> Any:
    return reference.conv2d_forward(x, *others).reshape(*x.shape[:3], -1)


def _channels_first(weight: FloatArray) -> Any:
    """Return kernels whose numbers are read as (C, R, S)."""
    outputs, rows, columns, channels = weight.shape
    return weight.reshape(outputs, channels, rows, columns).transpose(0, 2, 3, 1)


CONV2D_FORWARD = Task(
    name="conv2d_forward",
    title="Convolution, forward",
    outputs=("h",),
    reference=reference.conv2d_forward,
    solution="conv2d in chalknet/network/conv2d.py",
    helpers=("windows", "add_windows"),
    cases=(
        Case(
            VALUES,
            {
                "x": np.arange(1.0, 7.0).reshape(1, 2, 3, 1),
                "weight": np.array([1.0, 0.0, 2.0, -1.0]).reshape(1, 2, 2, 1),
                "bias": np.array([10.0]),
                "stride": 1,
                "padding": 0,
            },
        ),
        _case(VALUES, (2, 4, 5, 3), 2, 2, 1, 0),
        _case(VALUES, (2, 4, 4, 2), 2, 3, 1, 0),
        _case(STRIDE, (1, 3, 3, 1), 1, 1, 2, 0),
        _case(STRIDE, (2, 6, 7, 2), 3, 3, 2, 0),
        _case(PADDING, (1, 2, 2, 1), 1, 2, 1, 1),
        _case(PADDING, (2, 4, 3, 2), 3, 3, 1, 1),
        _case(PADDING, (2, 5, 4, 1), 2, 3, 2, 2),
        _case(ONE, (1, 3, 3, 2), 2, 3, 1, 0),
        _case(FLOAT32, (2, 3, 4, 1), 2, 2, 1, 0, "float32"),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 5, VALUES, (VALUES, ONE, FLOAT32)),
        Check("values with a stride above 1", 2, VALUES, (STRIDE,)),
        Check("values with padding", 2, VALUES, (PADDING,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "kernel turned around",
            "The kernel is turned by 180 degrees, as in the convolution of mathematics. Formula K1 multiplies the "
            "upper left weight with the upper left pixel of the window.",
            (_with_weight(lambda weight: weight[:, ::-1, ::-1]),),
        ),
        Mistake(
            "transposed kernel",
            "Rows and columns of the kernel are exchanged.",
            (_with_weight(lambda weight: weight.transpose(0, 2, 1, 3)),),
        ),
        Mistake("missing bias", "The products are right, but the bias is not added.", (_with_bias(lambda _: 0.0),)),
        Mistake("sign of the bias", "The bias is subtracted. Formula K1 adds it.", (_with_bias(lambda _: -1.0),)),
        Mistake(
            "bias in every product",
            "The bias is added once for each pixel or weight of the kernel, and so is in the sum several times. "
            "Formula K1 adds it once, after the sum.",
            (
                _with_bias(lambda weight: float(weight[0].size)),
                _with_bias(lambda weight: float(weight.shape[1] * weight.shape[2])),
                _with_bias(lambda weight: float(weight.shape[3])),
            ),
        ),
        Mistake(
            "channels before pixels in the kernel",
            "The weights of a kernel and the numbers of a window are in a different order. The axes of the weight are "
            "(O, size, size, C), so its channels come last.",
            (
                _with_weight(_channels_first),
                _with_weight(lambda weight: weight.transpose(0, 3, 1, 2).reshape(weight.shape)),
            ),
        ),
        Mistake(
            "mean instead of sum over the window",
            "The products of a window are averaged. Formula K1 adds them.",
            (_averaged, _with_result(lambda h: h / h.shape[3])),
        ),
        Mistake(
            "channels first in the result",
            "Your result is (B, O, H', W'). The channels are the last axis here: (B, H', W', O).",
            (_with_result(lambda h: h.transpose(0, 3, 1, 2)),),
        ),
        Mistake(
            "one row for each window in the result",
            "The numbers are right, but they are rows of one matrix. The result is an image again: (B, H', W', O).",
            (
                _with_result(lambda h: h.reshape(-1, h.shape[3])),
                _with_result(lambda h: h.reshape(len(h), -1, h.shape[3])),
            ),
        ),
        Mistake(
            "reshape to the size of the images",
            "The result has as many rows and columns as there are windows, H' and W', and not as many as x. Compute "
            "them as in `windows`.",
            (_reshaped_to_images,),
        ),
        Mistake(
            "reshape instead of transpose",
            "reshape keeps the order of the numbers. It does not exchange axes: (O, N) becomes (N, O) by .T.",
            (_with_result(_scrambled), _with_weight(_rows_scrambled)),
        ),
        Mistake(
            "last windows missing",
            "The last row and column of the result are missing. Compare your counts with H' and W'.",
            (_with_result(lambda h: h[:, :-1, :-1]),),
        ),
        Mistake(
            STRIDE_IGNORED,
            "The windows are 1 pixel apart. They have to be `stride` pixels apart.",
            (lambda x, weight, bias, stride, padding: reference.conv2d_forward(x, weight, bias, 1, padding),),
            (STRIDE,),
        ),
        Mistake(
            PADDING_IGNORED,
            "The convolution is that of the images without zeros around them.",
            (lambda x, weight, bias, stride, padding: reference.conv2d_forward(x, weight, bias, stride, 0),),
            (PADDING,),
        ),
    ),
)


_changed = partial(with_output, reference.conv2d_backward)
_scaled = partial(scaled, reference.conv2d_backward)
_in_order = partial(in_order, reference.conv2d_backward)


def _turned(grad_h: FloatArray, x: FloatArray, weight: FloatArray, stride: int, padding: int, _: Gradients) -> Any:
    return reference.conv2d_backward(grad_h, x, weight[:, ::-1, ::-1], stride, padding)[0]


def _grad_rows(grad_h: FloatArray, weight: FloatArray) -> Any:
    return grad_h.reshape(-1, len(weight)) @ weight.reshape(len(weight), -1)


def _padded_grad_x(is_added: bool = True, step: int = 0) -> Callable[..., Any]:
    """Return a function of `_changed` for grad_x with the padding."""

    def change(grad_h: FloatArray, x: FloatArray, weight: FloatArray, stride: int, padding: int, _: Gradients) -> Any:
        rows = _grad_rows(grad_h, weight)
        return placed(rows, x.shape, weight.shape[1], stride, padding, is_added=is_added, step=step)

    return change


def _cut(part: Callable[[FloatArray, tuple[int, ...], int], Any], **how: Any) -> Backward:
    whole = _padded_grad_x(**how)
    return _changed(
        0,
        lambda grad_h, x, weight, stride, padding, right: part(
            whole(grad_h, x, weight, stride, padding, right), x.shape, padding
        ),
    )


def _loss(arguments: Mapping[str, Any]) -> float:
    h = reference.conv2d_forward(*(arguments[name] for name in ("x", "weight", "bias", "stride", "padding")))
    return float((arguments["grad_h"] * h).sum())


CONV2D_BACKWARD = Task(
    name="conv2d_backward",
    title="Convolution, backward",
    outputs=("grad_x", "grad_weight", "grad_bias"),
    reference=reference.conv2d_backward,
    solution="conv2d in chalknet/network/conv2d.py",
    helpers=("windows", "add_windows"),
    cases=(
        Case(
            VALUES,
            {
                "grad_h": np.array([1.0, 10.0]).reshape(1, 1, 2, 1),
                "x": np.arange(1.0, 7.0).reshape(1, 2, 3, 1),
                "weight": np.array([1.0, 0.0, 2.0, -1.0]).reshape(1, 2, 2, 1),
                "stride": 1,
                "padding": 0,
            },
        ),
        _backward_case(VALUES, (2, 4, 5, 3), 2, 2, 1, 0),
        _backward_case(VALUES, (2, 4, 4, 2), 2, 3, 1, 0),
        _backward_case(STRIDE, (1, 1, 3, 1), 1, 1, 2, 0),
        _backward_case(STRIDE, (2, 6, 7, 2), 3, 3, 2, 0),
        _backward_case(PADDING, (1, 1, 2, 1), 1, 2, 1, 1),
        _backward_case(PADDING, (2, 4, 3, 2), 3, 3, 1, 1),
        _backward_case(PADDING, (2, 5, 4, 1), 2, 3, 2, 2),
        _backward_case(ONE, (1, 3, 3, 2), 2, 3, 1, 0),
        _backward_case(FLOAT32, (2, 3, 4, 1), 2, 2, 1, 0, "float32"),
    ),
    checks=(
        Check("shapes and types", 1, SHAPE, EVERY),
        Check("values of grad_x", 3, VALUES, (VALUES, ONE, FLOAT32), "grad_x"),
        Check("values of grad_x with stride and padding", 2, VALUES, (STRIDE, PADDING), "grad_x"),
        Check("values of grad_weight", 3, VALUES, (VALUES, ONE, FLOAT32), "grad_weight"),
        Check("values of grad_weight with stride and padding", 1, VALUES, (STRIDE, PADDING), "grad_weight"),
        Check("values of grad_bias", 3, VALUES, EVERY, "grad_bias"),
        Check("central differences", 2, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        _loss,
        {"grad_x": "x", "grad_weight": "weight", "grad_bias": "bias"},
        extra=lambda arguments: {"bias": np.zeros(len(arguments["weight"]))},
        own_function="conv2d_forward",
        own_arguments=lambda arguments: {
            name: arguments[name] for name in ("x", "weight", "bias", "stride", "padding")
        },
        own_loss=lambda value, arguments: float((arguments["grad_h"] * value).sum()),
    ),
    mistakes=(
        Mistake(
            "divided by the number of samples",
            "The mean over the samples is already a part of grad_h: the gradient of the loss has divided by their "
            "number. A convolution only adds up.",
            (_scaled(lambda grad_h: 1 / len(grad_h)),),
        ),
        Mistake("sign", "All three gradients have the wrong sign.", (_scaled(lambda _: -1.0),)),
        Mistake(
            "wrong order of the results",
            "The right arrays are returned, in another order. Return grad_x, grad_weight, grad_bias.",
            (_in_order(1, 2, 0), _in_order(1, 0, 2), _in_order(2, 1, 0), _in_order(0, 2, 1), _in_order(2, 0, 1)),
        ),
        Mistake(
            "kernel not turned around in grad_x",
            "The kernel has the wrong direction. A pixel is under the first weight in the last window that holds it, "
            "and under the last weight in the first one. So if grad_x is computed as a convolution of grad_h, the "
            "kernel has to be turned (K5).",
            (_changed(0, _turned),),
            part="grad_x",
        ),
        Mistake(
            "overlapping windows overwrite in grad_x",
            "A pixel that is in several windows has the gradient of the last one only. It changes the loss through "
            "every one of them: what does the chain rule do with several paths?",
            (_cut(lambda image, shape, padding: inside(image, padding), is_added=False),),
            part="grad_x",
        ),
        Mistake(
            "slice that ends at -0",
            "The border is cut off with a slice such as padding:-padding. With a padding of 0 that is 0:0, which is "
            "empty. Count the end from the start, as padding + H.",
            (_cut(lambda image, shape, padding: image[:, padding:-padding, padding:-padding]),),
            part="grad_x",
        ),
        Mistake(
            "positions without the stride in grad_x",
            "The windows are added at distances of 1 pixel. At which pixel does window number a begin?",
            (_cut(lambda image, shape, padding: inside(image, padding), step=1),),
            (STRIDE,),
            "grad_x",
        ),
        Mistake(
            "padding not cut off in grad_x",
            "grad_x is the gradient of the images with zeros around them. The zeros are no pixels of x: only the part "
            "inside belongs to x.",
            (_changed(0, _padded_grad_x()),),
            (PADDING,),
            "grad_x",
        ),
        Mistake(
            "wrong part cut off in grad_x",
            "The padding is on all four sides. You cut it off on one side only, or cut off too much.",
            (
                _cut(lambda image, shape, padding: image[:, : shape[1], : shape[2]]),
                _cut(lambda image, shape, padding: image[:, 2 * padding :, 2 * padding :]),
                _cut(lambda image, shape, padding: image[:, padding:, padding:]),
            ),
            (PADDING,),
            "grad_x",
        ),
        Mistake(
            "kernel turned around in grad_weight",
            "grad_weight is turned by 180 degrees. The weight at position k meets the pixel at position k of each "
            "window (K3).",
            (_changed(1, lambda *a: a[-1][1][:, ::-1, ::-1]),),
            part="grad_weight",
        ),
        Mistake(
            "mean over the samples in grad_weight",
            "The mean over the samples is already a part of grad_h. grad_weight is a sum over samples and windows "
            "(K3).",
            (_changed(1, lambda *a: a[-1][1] / len(a[1])),),
            part="grad_weight",
        ),
        Mistake(
            "mean over the windows in grad_weight",
            "A weight is used in every window of every sample, so its gradient is a sum over all of them (K3).",
            (
                _changed(1, lambda *a: a[-1][1] / (a[0].shape[1] * a[0].shape[2])),
                _changed(1, lambda *a: a[-1][1] / (a[0].size / len(a[2]))),
            ),
            part="grad_weight",
        ),
        Mistake(
            "grad_weight as a matrix",
            "The numbers are right, but grad_weight needs the shape of the weight, (O, size, size, C).",
            (
                _changed(1, lambda *a: a[-1][1].reshape(len(a[2]), -1)),
                _changed(1, lambda *a: a[-1][1].reshape(len(a[2]), -1).T),
            ),
            part="grad_weight",
        ),
        Mistake(
            "channels before pixels in grad_weight",
            "The numbers of a row of windows are in the order (size, size, C). grad_weight has another order.",
            (
                _changed(1, lambda *a: a[-1][1].transpose(0, 3, 1, 2)),
                _changed(1, lambda *a: a[-1][1].transpose(0, 3, 1, 2).reshape(a[2].shape)),
            ),
            part="grad_weight",
        ),
        Mistake(
            "reshape instead of transpose in grad_weight",
            "The product is (size * size * C, O). reshape keeps the order of its numbers and does not exchange axes. "
            "Transpose it first, or exchange the factors.",
            (_changed(1, lambda *a: np.ascontiguousarray(a[-1][1].reshape(len(a[2]), -1).T).reshape(a[2].shape)),),
            part="grad_weight",
        ),
        Mistake(
            "sum over the samples only in grad_bias",
            "The bias is used at every position of every sample. Its gradient is (O,), a sum over both. Yours has one "
            "number for each position.",
            (_changed(2, lambda *a: a[0].sum(axis=0)),),
            (VALUES, PADDING),
            part="grad_bias",
        ),
        Mistake(
            "sum over the positions only in grad_bias",
            "Yours has one number for each sample and output channel. The bias is the same in all samples: what "
            "happens to their derivatives?",
            (_changed(2, lambda *a: a[0].sum(axis=(1, 2))), _changed(2, lambda *a: a[0].mean(axis=(1, 2)))),
            (VALUES, PADDING),
            part="grad_bias",
        ),
        Mistake(
            "mean instead of sum in grad_bias",
            "The bias is used at every position of every sample, so its gradient is a sum over both (K4). The mean "
            "over the samples is already a part of grad_h.",
            (
                _changed(2, lambda *a: a[0].mean(axis=(0, 1, 2))),
                _changed(2, lambda *a: a[0].sum(axis=0).mean(axis=(0, 1))),
                _changed(2, lambda *a: a[0].sum(axis=(1, 2)).mean(axis=0)),
            ),
            (VALUES, PADDING),
            part="grad_bias",
        ),
        Mistake(
            "one number in grad_bias",
            "The sum runs over the output channels too. Each channel has its own bias.",
            (_changed(2, lambda *a: a[0].sum()),),
            (VALUES, PADDING),
            part="grad_bias",
        ),
        Mistake(
            "keepdims in grad_bias",
            "grad_bias is (O,), as the bias. Yours has axes of length 1.",
            (
                _changed(2, lambda *a: a[0].sum(axis=(0, 1, 2), keepdims=True)),
                _changed(2, lambda *a: a[0].reshape(-1, len(a[2])).sum(axis=0, keepdims=True)),
            ),
            (VALUES, PADDING),
            part="grad_bias",
        ),
        Mistake(
            "missing sum in grad_bias",
            "grad_bias is (O,), as the bias. The same bias is used at every position of every sample: what happens to "
            "the derivatives?",
            (_changed(2, lambda *a: a[0]),),
            (VALUES, PADDING),
            part="grad_bias",
        ),
    ),
)
