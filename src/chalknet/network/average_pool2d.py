"""Average pooling of images and its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalknet.config import MAX_KERNEL, OPTIONAL_STRIDE, integer, setting
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Buffers, Layer, LayerPass, Mode, OnnxGraph, Shape
from chalknet.network.windows import COPY_WORK, add_windows, pooled, pooled_shape, windows_of

Backward = Callable[[FloatArray], FloatArray]


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
class AveragePool2d(Layer):
    """The mean of each window and channel of images.

    Attributes:
        size: height and width of a window.
        stride: pixels between two windows; None for `size`, so that windows do not overlap.
    """

    type = "average_pool2d"
    reads_images = True
    size: int = setting(2, integer(1, MAX_KERNEL), "height and width of a window")
    stride: int | None = setting(None, OPTIONAL_STRIDE, "pixels between two windows, by default `size`")
    predictor_source = '''
def average_pool2d(x, p):
    """The mean of each window of the images x, (N, H, W, C)."""
    size = p.get("size", 2)
    step = p.get("stride", size)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::step, ::step].mean(axis=(4, 5))
'''

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (H', W', C); see `Layer.output_shape`."""
        return pooled_shape(self, input_shape, self.size, self.stride)

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `average_pool2d` to x; see `Layer.forward`."""
        del parameters, mode
        value, backward = average_pool2d(x, self.size, self.stride)
        return LayerPass(value, lambda grad_value: (backward(grad_value), {}))

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

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's AveragePool; see `Layer.to_onnx`."""
        del parameters
        return graph.add("AveragePool", [x], kernel_shape=[self.size] * 2, strides=[self.stride or self.size] * 2)

    def work(self, input_shape: Shape) -> int:
        """Return the number of values that are copied or combined; see `Layer.work`."""
        return COPY_WORK * self.size * math.prod(input_shape)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"average pooling of {self.size} x {self.size} pixels"

    def settings(self) -> dict[str, Any]:
        """Return the size, and the stride if it is another number."""
        return {"size": self.size} | ({} if self.stride in (None, self.size) else {"stride": self.stride})
