"""Average pooling of images and its derivative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Buffers
from chalknet.network.pooling import Backward, Function, Pooling2d
from chalknet.network.windows import add_windows, pooled, windows_of


def average_pool2d(x: FloatArray, size: int = 2, stride: int | None = None) -> tuple[FloatArray, Backward]:
    """Return the mean of each window and channel.

    g_nai     = 1/size^2 sum over k of h_n,Sa+k,i                    (docs/derivation.md, Q3)
    dL/dh_nti = 1/size^2 sum of dL/dg_nai over all windows a with t  (Q4)

    Args:
        x: (B, H, W, C) float32 or float64.
        size: height and width of a window, >= 1.
        stride: pixels between two windows, by default `size`. Rows and columns that fill no window
            are left out.

    Returns:
        g: (B, H', W', C).
        backward: grad_g (B, H', W', C) -> grad_x (B, H, W, C).

    Raises:
        ShapeError: x is not (B, H, W, C), or a window is larger than the images.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition
    (1998), section II.B.
    """
    every, step = windows_of(x, size, stride)

    def backward(grad_g: FloatArray) -> FloatArray:
        share = grad_g[:, :, :, None, None] / grad_g.dtype.type(size * size)
        return add_windows(np.broadcast_to(share, every.shape), x.shape, step)

    return every.mean(axis=(3, 4)), backward


@dataclass(frozen=True)
class AveragePool2d(Pooling2d):
    """The mean of each window and channel of images."""

    type = "average_pool2d"
    function: ClassVar[Function] = staticmethod(average_pool2d)
    onnx_operator = "AveragePool"
    predictor_source = '''
def average_pool2d(x, p):
    """The mean of each window of the images x, (N, H, W, C)."""
    size = p.get("size", 2)
    step = p.get("stride", size)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::step, ::step].mean(axis=(4, 5))
'''

    def predict(
        self,
        parameters: Mapping[str, FloatArray],
        x: FloatArray,
        buffers: Buffers,
        shortcut: FloatArray | None = None,
    ) -> FloatArray:
        """Return the means, with sums first over rows and then over columns; see `Layer.predict`."""
        del parameters, shortcut
        total = pooled(x, self.size, self.stride or self.size, np.add, buffers)
        total *= x.dtype.type(1 / self.size**2)
        return total

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"average pooling of {self.size} x {self.size} pixels"
