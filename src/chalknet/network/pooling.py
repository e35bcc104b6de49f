"""Maximum, average and global average pooling of images, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.windows import add_windows, n_windows, windows

Backward = Callable[[FloatArray], FloatArray]


def max_pool2d(x: FloatArray, size: int = 2, stride: int | None = None) -> tuple[FloatArray, Backward]:
    """Return the largest value of each window and channel.

    g_nai     = max over k of h_n,Sa+k,i                             (docs/derivation.md, Q1)
    dL/dh_nti = sum of dL/dg_nai over all windows a whose first
                largest value is at t                                (Q2)

    Here S is the stride, a and t are positions of pixels, k is a position in a window, and i a channel.
    Where several values of a window are equal, the first one in rows from the top left gets the
    gradient.

    Args:
        x: (B, H, W, C) float32 or float64, images with the channels last.
        size: height and width of a window, >= 1.
        stride: pixels between two windows, by default `size`. Rows and columns that fill no window
            are left out.

    Returns:
        g: (B, H', W', C), with H' = (H - size) // stride + 1, and W' likewise.
        backward: grad_g (B, H', W', C) -> grad_x (B, H, W, C).

    Raises:
        ShapeError: x is not (B, H, W, C), or a window is larger than the images.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), section 9.3.
    """
    every, step = _windows_of(x, size, stride)
    flat = every.reshape(*every.shape[:3], size * size, x.shape[3])
    first = flat.argmax(axis=3)  # of equal values the first one

    def backward(grad_g: FloatArray) -> FloatArray:
        is_first = np.arange(size * size)[:, None] == first[:, :, :, None]
        grad_windows = np.where(is_first, grad_g[:, :, :, None], grad_g.dtype.type(0))
        return add_windows(grad_windows.reshape(every.shape), x.shape, step)

    return np.take_along_axis(flat, first[:, :, :, None], axis=3)[:, :, :, 0], backward


def average_pool2d(x: FloatArray, size: int = 2, stride: int | None = None) -> tuple[FloatArray, Backward]:
    """Return the mean of each window and channel.

    g_nai     = 1/size^2 sum over k of h_n,Sa+k,i                    (docs/derivation.md, Q3)
    dL/dh_nti = 1/size^2 sum of dL/dg_nai over all windows a with t  (Q4)

    Args:
        x: (B, H, W, C) float32 or float64.
        size: as in `max_pool2d`.
        stride: as in `max_pool2d`.

    Returns:
        g: (B, H', W', C).
        backward: grad_g (B, H', W', C) -> grad_x (B, H, W, C).

    Raises:
        ShapeError: as `max_pool2d`.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition
    (1998), section II.B.
    """
    every, step = _windows_of(x, size, stride)

    def backward(grad_g: FloatArray) -> FloatArray:
        share = grad_g[:, :, :, None, None] / grad_g.dtype.type(size * size)
        return add_windows(np.broadcast_to(share, every.shape), x.shape, step)

    return every.mean(axis=(3, 4)), backward


def global_average_pool(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the mean of each channel over all pixels: Q3 and Q4 of docs/derivation.md with one window.

    Args:
        x: (B, H, W, C) float32 or float64.

    Returns:
        g: (B, C).
        backward: grad_g (B, C) -> grad_x (B, H, W, C).

    Raises:
        ShapeError: x is not (B, H, W, C), or has no pixel.

    Source: Lin, Chen and Yan, Network in network (2014), section 3.2.
    """
    _check_images(x)
    n_pixels = x.shape[1] * x.shape[2]

    def backward(grad_g: FloatArray) -> FloatArray:
        return np.broadcast_to(grad_g[:, None, None] / grad_g.dtype.type(n_pixels), x.shape).copy()

    return x.mean(axis=(1, 2)), backward


def _windows_of(x: FloatArray, size: int, stride: int | None) -> tuple[FloatArray, int]:
    """Return the windows (B, H', W', size, size, C) of images, and the stride."""
    _check_images(x)
    step = size if stride is None else stride
    n_windows(x.shape[1:3], (size, size), step)
    return windows(x, (size, size), step), step


def _check_images(x: FloatArray) -> None:
    if x.ndim != 4 or not (x.shape[1] and x.shape[2]):
        raise ShapeError(f"pooling expects images (B, H, W, C), with the channels last, got {x.shape}.")
