"""Max pooling of images and its derivative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Buffers
from chalknet.network.pooling import Backward, Function, Pooling2d
from chalknet.network.windows import add_windows, pooled, windows_of


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
    every, step = windows_of(x, size, stride)
    flat = every.reshape(*every.shape[:3], size * size, x.shape[3])
    first = first_largest(every)

    def backward(grad_g: FloatArray) -> FloatArray:
        is_first = np.arange(size * size)[:, None] == first[:, :, :, None]
        grad_windows = np.where(is_first, grad_g[:, :, :, None], grad_g.dtype.type(0))
        return add_windows(grad_windows.reshape(every.shape), x.shape, step)

    return np.take_along_axis(flat, first[:, :, :, None], axis=3)[:, :, :, 0], backward


def first_largest(every: FloatArray) -> NDArray[np.intp]:
    """Return the position of the largest value in each window, of equal values the first one.

    Args:
        every: (B, H', W', R, S, C) windows.

    Returns:
        (B, H', W', C) positions, counted in rows.
    """
    first: NDArray[np.intp] = every.reshape(*every.shape[:3], -1, every.shape[-1]).argmax(axis=3)
    return first


@dataclass(frozen=True)
class MaxPool2d(Pooling2d):
    """The largest value of each window and channel of images."""

    type = "max_pool2d"
    is_smooth = False
    function: ClassVar[Function] = staticmethod(max_pool2d)
    onnx_operator = "MaxPool"
    predictor_source = '''
def max_pool2d(x, p):
    """The largest value of each window of the images x, (N, H, W, C)."""
    size = p.get("size", 2)
    step = p.get("stride", size)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::step, ::step].max(axis=(4, 5))
'''

    def pieces(self, x: FloatArray, parameters: Mapping[str, FloatArray]) -> NDArray[Any]:
        """Return which value of each window is the first largest; see `Layer.pieces`."""
        del parameters
        return first_largest(windows_of(x, self.size, self.stride)[0])

    def predict(
        self,
        parameters: Mapping[str, FloatArray],
        x: FloatArray,
        buffers: Buffers,
        shortcut: FloatArray | None = None,
    ) -> FloatArray:
        """Return the largest values, first over rows and then over columns; see `Layer.predict`."""
        del parameters, shortcut
        step = self.stride or self.size
        return pooled(x, self.size, step, np.maximum, buffers)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"max pooling of {self.size} x {self.size} pixels"
