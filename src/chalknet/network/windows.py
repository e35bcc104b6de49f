"""The windows of images that convolution and pooling look at."""

from __future__ import annotations

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray


def n_windows(image: tuple[int, ...], window: tuple[int, int], stride: int, padding: int = 0) -> tuple[int, int]:
    """Return the numbers of rows and columns of windows in an image.

    Args:
        image: (H, W).
        window: height and width of a window.
        stride: pixels between two windows.
        padding: rows and columns of zeros on each side of the image.

    Raises:
        ShapeError: stride or padding is out of range, or the window is larger than the padded image.
    """
    if stride < 1 or padding < 0:
        raise ShapeError(f"stride must be at least 1 and padding at least 0, got {stride} and {padding}.")
    high, wide = ((side + 2 * padding - size) // stride + 1 for side, size in zip(image, window, strict=True))
    if min(window) < 1 or min(high, wide) < 1:
        raise ShapeError(
            f"a window of {window[0]} x {window[1]} pixels does not fit in an image of {image[0]} x {image[1]} with "
            f"{padding} pixels of padding."
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
