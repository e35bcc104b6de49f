"""What the layers of max and average pooling have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chalknet.config import MAX_KERNEL, OPTIONAL_STRIDE, integer, setting
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Layer, LayerPass, Mode, OnnxGraph, Shape
from chalknet.network.windows import COPY_WORK, pooled_shape

Backward = Callable[[FloatArray], FloatArray]
# (x, size, stride) -> the values of the windows, and the backward function.
Function = Callable[[FloatArray, int, int | None], tuple[FloatArray, Backward]]


@dataclass(frozen=True)
class Pooling2d(Layer):
    """A layer that makes one value of each window and channel of images.

    Attributes:
        size: height and width of a window.
        stride: pixels between two windows; None for `size`, so that windows do not overlap.

    Class attributes:
        function: computes the values (B, H', W', C) of the windows of images.
        onnx_operator: name of the ONNX operator that computes the layer.
    """

    reads_images = True
    function: ClassVar[Function]
    onnx_operator: ClassVar[str] = ""
    size: int = setting(2, integer(1, MAX_KERNEL), "height and width of a window")
    stride: int | None = setting(None, OPTIONAL_STRIDE, "pixels between two windows, by default `size`")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (H', W', C); see `Layer.output_shape`."""
        return pooled_shape(self, input_shape, self.size, self.stride)

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply the function to x; see `Layer.forward`."""
        del parameters, mode
        value, backward = type(self).function(x, self.size, self.stride)
        return LayerPass(value, lambda grad_value: (backward(grad_value), {}))

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the layer's ONNX operator; see `Layer.to_onnx`."""
        del parameters
        sizes = {"kernel_shape": [self.size] * 2, "strides": [self.stride or self.size] * 2}
        return graph.add(self.onnx_operator, [x], **sizes)

    def work(self, input_shape: Shape) -> int:
        """Return the number of values that are copied or combined; see `Layer.work`."""
        return COPY_WORK * self.size * math.prod(input_shape)

    def settings(self) -> dict[str, Any]:
        """Return the size, and the stride if it is another number."""
        return {"size": self.size} | ({} if self.stride in (None, self.size) else {"stride": self.stride})
