"""The tasks windows and add_windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.part2 import reference
from chalknet.exercises.parts import Returned
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.network.arrays import FloatArray

ONE, FLOAT32, STRIDE, PADDING = "one sample", "float32", "stride", "padding"
EVERY = (VALUES, STRIDE, PADDING, ONE, FLOAT32)
SAMPLES_INSIDE = "samples inside windows"
SAMPLES_INSIDE_HINT = (
    "All windows of the first sample come first, then those of the second one. Yours has the first window of every "
    "sample, then the second window of every sample. The axes of the samples and windows have to be in the order "
    "(B, H', W') before they become one axis."
)
CHANNELS_FIRST_HINT = (
    "A row lists pixel by pixel, and for each pixel its channels. Yours lists one channel after the other. The axes "
    "of a window have to be in the order (size, size, C) before they become one axis. Print the shape before reshape."
)
STRIDE_IGNORED = "stride ignored"
PADDING_IGNORED = "padding ignored"
_RNG = np.random.default_rng(21)
Shape = tuple[int, ...]


def n_windows(shape: Shape, size: int, stride: int, padding: int) -> tuple[int, int]:
    """Return H' and W' of images of a shape (B, H, W, C)."""
    return (shape[1] + 2 * padding - size) // stride + 1, (shape[2] + 2 * padding - size) // stride + 1


def _case(group: str, shape: Shape, size: int, stride: int, padding: int, dtype: str = "float64") -> Case:
    x = _RNG.normal(size=shape).astype(dtype)
    return Case(group, {"x": x, "size": size, "stride": stride, "padding": padding})


def _split(x: FloatArray, size: int, stride: int, padding: int) -> Any:
    """Return the right windows with an axis for each index, (B, H', W', size, size, C)."""
    rows, columns = n_windows(x.shape, size, stride, padding)
    return reference.windows(x, size, stride, padding).reshape(len(x), rows, columns, size, size, x.shape[3])


def _reordered(*axes: int) -> Callable[..., Any]:
    """Return `windows` with the axes (B, H', W', row, column, channel) in another order."""

    def windows(x: FloatArray, size: int, stride: int, padding: int) -> Any:
        every = _split(x, size, stride, padding).transpose(axes)
        return every.reshape(-1, size * size * x.shape[3])

    return windows


def _with_padding(pad: Callable[[FloatArray, int], FloatArray]) -> Callable[..., Any]:
    return lambda x, size, stride, padding: reference.windows(pad(x, padding), size, stride, 0)


def _last_missing(x: FloatArray, size: int, stride: int, padding: int) -> Any:
    return _split(x, size, stride, padding)[:, :-1, :-1].reshape(-1, size * size * x.shape[3])


def _has_too_few_windows(found: Sequence[Returned]) -> bool:
    """Return whether a row and a column of windows are missing in all cases without stride and padding."""
    for one, case in zip(found, WINDOWS.cases, strict=False):
        value = one.parts["rows"].value if "rows" in one.parts else None
        if case.group == VALUES and (value is None or value.size != _last_missing(*case.arguments.values()).size):
            return False
    return True


def _samples_second(x: FloatArray, size: int, stride: int, padding: int) -> Any:
    """Return the windows as an array of (number of windows, B, length)."""
    return _reordered(1, 2, 0, 3, 4, 5)(x, size, stride, padding).reshape(-1, len(x), size * size * x.shape[3])


def _first_positions(x: FloatArray, size: int, stride: int, padding: int) -> Any:
    """Return as many windows as the stride asks for, but at distances of 1 pixel."""
    rows, columns = n_windows(x.shape, size, stride, padding)
    return _split(x, size, 1, padding)[:, :rows, :columns].reshape(-1, size * size * x.shape[3])


def _counted_without_padding(x: FloatArray, size: int, stride: int, padding: int) -> Any:
    rows, columns = n_windows(x.shape, size, stride, 0)
    return _split(x, size, stride, padding)[:, :rows, :columns].reshape(-1, size * size * x.shape[3])


WINDOWS = Task(
    name="windows",
    title="Windows of images as rows",
    outputs=("rows",),
    reference=reference.windows,
    solution="windows in chalknet/network/windows.py",
    cases=(
        Case(VALUES, {"x": np.arange(1.0, 7.0).reshape(1, 2, 3, 1), "size": 2, "stride": 1, "padding": 0}),
        Case(VALUES, {"x": np.arange(1.0, 13.0).reshape(1, 2, 3, 2), "size": 2, "stride": 1, "padding": 0}),
        _case(VALUES, (2, 4, 5, 3), 2, 1, 0),
        _case(VALUES, (2, 4, 4, 2), 3, 1, 0),
        Case(STRIDE, {"x": np.arange(1.0, 10.0).reshape(1, 3, 3, 1), "size": 1, "stride": 2, "padding": 0}),
        _case(STRIDE, (2, 6, 7, 2), 2, 3, 0),
        _case(STRIDE, (1, 5, 6, 1), 2, 2, 0),
        Case(PADDING, {"x": np.array([[[[5.0], [6.0]]]]), "size": 1, "stride": 1, "padding": 1}),
        _case(PADDING, (2, 3, 4, 2), 3, 1, 1),
        _case(PADDING, (2, 5, 4, 2), 3, 2, 2),
        _case(ONE, (1, 3, 3, 1), 3, 1, 0),
        _case(FLOAT32, (2, 3, 4, 1), 2, 1, 0, "float32"),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 4, VALUES, (VALUES, ONE, FLOAT32)),
        Check("values with a stride above 1", 2, VALUES, (STRIDE,)),
        Check("values with padding", 3, VALUES, (PADDING,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake("channels before pixels", CHANNELS_FIRST_HINT, (_reordered(0, 1, 2, 5, 3, 4),)),
        Mistake(SAMPLES_INSIDE, SAMPLES_INSIDE_HINT, (_reordered(1, 2, 0, 3, 4, 5), _samples_second)),
        Mistake(
            "windows from top to bottom first",
            "The windows go from left to right, and then from top to bottom, as one reads. Yours go down first.",
            (_reordered(0, 2, 1, 3, 4, 5), _reordered(2, 1, 0, 3, 4, 5)),
        ),
        Mistake(
            "columns before rows in a window",
            "The pixels of a window are listed from left to right, and then from top to bottom. Yours go down first: "
            "the image or the window is transposed.",
            (_reordered(0, 1, 2, 4, 3, 5), _reordered(0, 2, 1, 4, 3, 5)),
        ),
        Mistake(
            "windows as columns",
            "Each window is a column of your result. It has to be a row: (number of windows, size * size * C).",
            (lambda x, size, stride, padding: reference.windows(x, size, stride, padding).T,),
        ),
        Mistake(
            "too many axes",
            "The numbers are right, but the result has more than two axes. All windows of all samples are rows of one "
            "matrix. reshape(-1, length) makes an array of rows of one length.",
            (
                _split,
                lambda x, size, stride, padding: _split(x, size, stride, padding).reshape(
                    len(x), -1, size * size * x.shape[3]
                ),
                lambda x, size, stride, padding: reference.windows(x, size, stride, padding).reshape(
                    len(x), *n_windows(x.shape, size, stride, padding), -1
                ),
                lambda x, size, stride, padding: reference.windows(x, size, stride, padding).reshape(
                    -1, size, size, x.shape[3]
                ),
            ),
        ),
        Mistake(
            "last windows missing",
            "The last row and column of windows are missing. In a side of 3 pixels, windows of 2 begin at 0 and at 1. "
            "range(n) ends with n - 1. Compare your count with H' in the description.",
            (_last_missing,),
            symptom=_has_too_few_windows,
        ),
        Mistake(
            "windows that do not overlap",
            "The windows are `size` pixels apart. They have to be `stride` pixels apart.",
            (lambda x, size, stride, padding: reference.windows(x, size, size, padding),),
        ),
        Mistake(
            STRIDE_IGNORED,
            "With a stride of 2, every second window is left out, in both directions. Yours are all there.",
            (lambda x, size, stride, padding: reference.windows(x, size, 1, padding),),
            (STRIDE,),
        ),
        Mistake(
            "positions without the stride",
            "The number of windows is right, but they are 1 pixel apart. At which pixel does window number a begin?",
            (_first_positions,),
            (STRIDE,),
        ),
        Mistake(
            PADDING_IGNORED,
            "The windows are those of the images without zeros around them. Put the zeros there first.",
            (lambda x, size, stride, padding: reference.windows(x, size, stride, 0),),
            (PADDING,),
        ),
        Mistake(
            "padding on one side only",
            "The zeros are on one side only. They belong above and below, and to the left and the right.",
            (
                _with_padding(lambda x, p: np.pad(x, ((0, 0), (p, 0), (p, 0), (0, 0)))),
                _with_padding(lambda x, p: np.pad(x, ((0, 0), (0, p), (0, p), (0, 0)))),
                _with_padding(lambda x, p: np.pad(x, ((0, 0), (p, p), (0, 0), (0, 0)))),
                _with_padding(lambda x, p: np.pad(x, ((0, 0), (0, 0), (p, p), (0, 0)))),
            ),
            (PADDING,),
        ),
        Mistake(
            "padding of samples or channels",
            "np.pad(x, padding) adds zeros along every axis, so there are more samples and channels than before. Give "
            "it a pair (before, after) for each axis.",
            (
                _with_padding(lambda x, p: np.pad(x, p)),
                _with_padding(lambda x, p: np.pad(x, ((0, 0), (p, p), (p, p), (p, p)))),
                _with_padding(lambda x, p: np.pad(x, ((p, p), (p, p), (p, p), (0, 0)))),
            ),
            (PADDING,),
        ),
        Mistake(
            "padding with pixels instead of zeros",
            "The border repeats or reflects pixels of the image. It has to be 0.",
            (
                _with_padding(lambda x, p: np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), mode="edge")),
                _with_padding(lambda x, p: np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), mode="wrap")),
            ),
            (PADDING,),
        ),
        Mistake(
            "padding not counted",
            "The zeros are there, but H' and W' were computed without them, so windows are missing.",
            (_counted_without_padding,),
            (PADDING,),
        ),
    ),
)

Add = Callable[[FloatArray, Shape, int, int, int], Any]


def _add_case(group: str, shape: Shape, size: int, stride: int, padding: int, dtype: str = "float64") -> Case:
    rows, columns = n_windows(shape, size, stride, padding)
    grad_rows = _RNG.normal(size=(shape[0] * rows * columns, size * size * shape[3])).astype(dtype)
    return Case(group, {"grad_rows": grad_rows, "shape": shape, "size": size, "stride": stride, "padding": padding})


def padded_shape(shape: Shape, padding: int) -> Shape:
    """Return the shape of images with padding."""
    return (shape[0], shape[1] + 2 * padding, shape[2] + 2 * padding, shape[3])


def placed(
    grad_rows: FloatArray, shape: Shape, size: int, stride: int, padding: int, *, is_added: bool = True, step: int = 0
) -> Any:
    """Return the padded images with all windows put at their places one after the other.

    Args:
        grad_rows: the rows.
        shape: the shape of the images.
        size: size of the windows.
        stride: stride that gives the number of windows.
        padding: padding.
        is_added: whether windows are added to what is there, or overwrite it.
        step: pixels between two windows; 0 for stride.
    """
    rows, columns = n_windows(shape, size, stride, padding)
    every = grad_rows.reshape(shape[0], rows, columns, size, size, shape[3])
    step = step or stride
    image = np.zeros(padded_shape(shape, padding))
    for a in range(rows):
        for b in range(columns):
            window = (slice(None), slice(a * step, a * step + size), slice(b * step, b * step + size))
            image[window] = every[:, a, b] + (image[window] if is_added else 0)
    return image


def inside(image: FloatArray, padding: int) -> Any:
    """Return images without their border."""
    return image[:, padding : image.shape[1] - padding, padding : image.shape[2] - padding]


def _rows_in_order(*axes: int) -> Add:
    """Return `add_windows` for rows whose axes are in another order than (B, H', W', row, column, channel)."""

    def add(grad_rows: FloatArray, shape: Shape, size: int, stride: int, padding: int) -> Any:
        lengths = (shape[0], *n_windows(shape, size, stride, padding), size, size, shape[3])
        every = grad_rows.reshape([lengths[axis] for axis in axes]).transpose(np.argsort(axes))
        return reference.add_windows(every.reshape(grad_rows.shape), shape, size, stride, padding)

    return add


def _overwriting(grad_rows: FloatArray, shape: Shape, size: int, stride: int, padding: int) -> Any:
    return inside(placed(grad_rows, shape, size, stride, padding, is_added=False), padding)


def _averaged(grad_rows: FloatArray, shape: Shape, size: int, stride: int, padding: int) -> Any:
    total = placed(grad_rows, shape, size, stride, padding)
    counts = placed(np.ones_like(grad_rows), shape, size, stride, padding)
    return inside(total / np.maximum(counts, 1), padding)


def _cut(part: Callable[[FloatArray, Shape, int], FloatArray]) -> Add:
    """Return `add_windows` with another part of the padded images."""
    return lambda grad_rows, shape, size, stride, padding: part(
        placed(grad_rows, shape, size, stride, padding), shape, padding
    )


def _loss(arguments: Mapping[str, Any]) -> float:
    rows = reference.windows(arguments["x"], arguments["size"], arguments["stride"], arguments["padding"])
    return float((arguments["grad_rows"] * rows).sum())


ADD_WINDOWS = Task(
    name="add_windows",
    title="Gradient of the windows",
    outputs=("grad_x",),
    reference=reference.add_windows,
    solution="add_windows in chalknet/network/windows.py",
    cases=(
        Case(
            VALUES,
            {
                "grad_rows": np.array([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]]),
                "shape": (1, 2, 3, 1),
                "size": 2,
                "stride": 1,
                "padding": 0,
            },
        ),
        _add_case(VALUES, (2, 4, 5, 3), 2, 1, 0),
        _add_case(VALUES, (2, 4, 4, 2), 3, 1, 0),
        _add_case(STRIDE, (1, 1, 3, 1), 1, 2, 0),
        _add_case(STRIDE, (2, 6, 7, 2), 3, 2, 0),
        _add_case(STRIDE, (2, 5, 6, 1), 2, 2, 0),
        _add_case(PADDING, (1, 1, 2, 1), 1, 1, 1),
        _add_case(PADDING, (2, 3, 4, 2), 3, 1, 1),
        _add_case(PADDING, (2, 5, 4, 2), 3, 2, 2),
        _add_case(ONE, (1, 3, 3, 1), 3, 1, 0),
        _add_case(FLOAT32, (2, 3, 4, 1), 2, 1, 0, "float32"),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 3, VALUES, (VALUES, ONE, FLOAT32)),
        Check("values with a stride above 1", 2, VALUES, (STRIDE,)),
        Check("values with padding", 2, VALUES, (PADDING,)),
        Check("central differences", 2, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        _loss,
        {"grad_x": "x"},
        extra=lambda arguments: {"x": np.ones(arguments["shape"])},
        own_function="windows",
        own_arguments=lambda arguments: {name: arguments[name] for name in ("x", "size", "stride", "padding")},
        own_loss=lambda value, arguments: float((arguments["grad_rows"] * value).sum()),
    ),
    mistakes=(
        Mistake(
            "overlapping windows overwrite",
            "A pixel that is in several windows has the gradient of the last one only. It changes the loss through "
            "every one of them: what does the chain rule do with several paths?",
            (_overwriting,),
        ),
        Mistake(
            "mean of the overlapping windows",
            "A pixel that is in several windows has the mean of their gradients. It changes the loss through every "
            "one of them, so the gradients add up.",
            (_averaged,),
        ),
        Mistake(
            "slice that ends at -0",
            "The border is cut off with a slice such as padding:-padding. With a padding of 0 that is 0:0, which is "
            "empty. Count the end from the start, as padding + H.",
            (_cut(lambda image, shape, padding: image[:, padding:-padding, padding:-padding]),),
        ),
        Mistake("channels before pixels", CHANNELS_FIRST_HINT, (_rows_in_order(0, 1, 2, 5, 3, 4),)),
        Mistake(SAMPLES_INSIDE, SAMPLES_INSIDE_HINT, (_rows_in_order(1, 2, 0, 3, 4, 5),)),
        Mistake(
            "windows from top to bottom first",
            "The rows list the windows from left to right, and then from top to bottom. You read them the other way.",
            (_rows_in_order(0, 2, 1, 3, 4, 5),),
        ),
        Mistake(
            "columns before rows in a window",
            "A row lists the pixels of a window from left to right, and then from top to bottom. You read it the other "
            "way.",
            (_rows_in_order(0, 1, 2, 4, 3, 5),),
        ),
        Mistake(
            "positions without the stride",
            "The windows are added at distances of 1 pixel. At which pixel does window number a begin?",
            (
                lambda grad_rows, shape, size, stride, padding: inside(
                    placed(grad_rows, shape, size, stride, padding, step=1), padding
                ),
            ),
            (STRIDE,),
        ),
        Mistake(
            "padding not cut off",
            "The result is the gradient of the images with zeros around them. The zeros are no pixels of x: only the "
            "part inside belongs to x.",
            (_cut(lambda image, shape, padding: image),),
            (PADDING,),
        ),
        Mistake(
            "wrong part cut off",
            "The padding is on all four sides. You cut it off on one side only, or cut off too much.",
            (
                _cut(lambda image, shape, padding: image[:, : shape[1], : shape[2]]),
                _cut(lambda image, shape, padding: image[:, 2 * padding :, 2 * padding :]),
                _cut(lambda image, shape, padding: image[:, padding:, padding:]),
            ),
            (PADDING,),
        ),
    ),
)
