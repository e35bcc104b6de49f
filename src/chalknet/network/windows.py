"""The windows of images that convolution and pooling look at."""

from __future__ import annotations

import numpy as np

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Buffers, Layer, Shape, image_size

COPY_WORK = 32  # the time of a value that is copied, in multiplications


def n_windows(
    image: tuple[int, ...], window: tuple[int, int], stride: int, padding: tuple[int, int] = (0, 0)
) -> tuple[int, int]:
    """Return the numbers of rows and columns of windows in an image.

    Args:
        image: (H, W).
        window: height and width of a window.
        stride: pixels between two windows.
        padding: rows of zeros above and below the image, and columns of zeros to its left and right.

    Raises:
        ShapeError: stride or padding is out of range, or the window is larger than the padded image.
    """
    if stride < 1 or min(padding) < 0:
        raise ShapeError(f"stride must be at least 1 and padding at least 0, got {stride} and {min(padding)}.")
    high, wide = (
        (side + 2 * zeros - size) // stride + 1 for side, size, zeros in zip(image, window, padding, strict=True)
    )
    if min(window) < 1 or min(high, wide) < 1:
        raise ShapeError(
            f"a window of {window[0]} x {window[1]} pixels does not fit in an image of {image[0]} x {image[1]} with "
            f"{max(padding)} pixels of padding."
        )
    return high, wide


def windows(x: FloatArray, window: tuple[int, int], stride: int) -> FloatArray:
    """Return a view of the windows of images.

    Args:
        x: (B, H, W, C).
        window: (R, S), the height and width of a window.
        stride: pixels between two windows.

    Returns:
        (B, H', W', R, S, C) windows, from left to right and from top to bottom.
    """
    every = np.lib.stride_tricks.sliding_window_view(x, window, axis=(1, 2))[:, ::stride, ::stride]
    return every.transpose(0, 1, 2, 4, 5, 3)


def add_windows(grad_windows: FloatArray, shape: tuple[int, ...], stride: int) -> FloatArray:
    """Return the gradient of images from that of their windows: a pixel's is the sum over all windows with it.

    Args:
        grad_windows: (B, H', W', R, S, C), the gradient of `windows`.
        shape: (B, H, W, C), the shape of the images.
        stride: pixels between two windows.
    """
    _, rows, columns, height, width, _ = grad_windows.shape
    grad_x = np.zeros(shape, grad_windows.dtype)
    for row in range(height):
        for column in range(width):
            # Windows do not overlap at one position of the window, so the additions cannot collide.
            grad_x[:, row : row + stride * rows : stride, column : column + stride * columns : stride] += grad_windows[
                :, :, :, row, column
            ]
    return grad_x


def windows_of(x: FloatArray, size: int, stride: int | None) -> tuple[FloatArray, int]:
    """Return the windows (B, H', W', size, size, C) of images, and the stride, by default the size.

    Raises:
        ShapeError: x is not (B, H, W, C), or a window is larger than the images.
    """
    check_images(x)
    step = size if stride is None else stride
    n_windows(x.shape[1:3], (size, size), step)
    return windows(x, (size, size), step), step


def pooled(x: FloatArray, size: int, stride: int, combine: np.ufunc, buffers: Buffers) -> FloatArray:
    """Return the values of each window combined by maximum or addition, first over rows and then over columns.

    Args:
        x: (B, H, W, C).
        size: height and width of a window.
        stride: pixels between two windows.
        combine: np.maximum or np.add.
        buffers: arrays of the layer.
    """
    n, height, width, channels = x.shape
    rows, columns = n_windows((height, width), (size, size), stride)
    is_inside = x.strides[0] < x.strides[1]  # the images of a pixel are next to each other in memory

    def buffer(name: str, wide: int) -> FloatArray:
        """Return an array of pixels (rows, wide, n, C), in memory as x is."""
        if is_inside:
            return buffers.array(f"{name} {n}", (rows, wide, n, channels), x.dtype)
        return buffers.array(name, (n, rows, wide, channels), x.dtype).transpose(1, 2, 0, 3)

    pixels, high, out = x.transpose(1, 2, 0, 3), buffer("rows", width), buffer("out", columns)
    np.copyto(high, pixels[: stride * rows : stride])
    for row in range(1, size):
        combine(high, pixels[row : row + stride * rows : stride], out=high)
    np.copyto(out, high[:, : stride * columns : stride])
    for column in range(1, size):
        combine(out, high[:, column : column + stride * columns : stride], out=out)
    return out.transpose(2, 0, 1, 3)


def check_images(x: FloatArray) -> None:
    """Raise ShapeError unless x is (B, H, W, C) with at least one pixel."""
    if x.ndim != 4 or not (x.shape[1] and x.shape[2]):
        raise ShapeError(f"pooling expects images (B, H, W, C), with the channels last, got {x.shape}.")


def pooled_shape(layer: Layer, input_shape: Shape, size: int, stride: int | None) -> Shape:
    """Return the shape (H', W', C) of an image after pooling.

    Raises:
        ConfigError: the samples are no images, or a window is larger than the images.
    """
    height, width, channels = image_size(layer, input_shape)
    try:
        rows, columns = n_windows((height, width), (size, size), stride or size)
    except ShapeError as error:
        raise ConfigError(f"layer {layer.type}: {error}") from None
    return rows, columns, channels
