"""Global average pooling of images and its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Layer, LayerPass, Mode, OnnxGraph, Shape, image_size
from chalknet.network.windows import check_images

Backward = Callable[[FloatArray], FloatArray]


def global_average_pool(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the mean of each channel over all pixels: average pooling with one window.

    g_ni      = 1/Q sum over t of h_nti, with Q pixels               (docs/derivation.md, Q3)
    dL/dh_nti = 1/Q dL/dg_ni                                         (Q4)

    Args:
        x: (B, H, W, C) float32 or float64.

    Returns:
        g: (B, C).
        backward: grad_g (B, C) -> grad_x (B, H, W, C).

    Raises:
        ShapeError: x is not (B, H, W, C), or has no pixel.

    Source: Lin, Chen and Yan, Network in network (2014), section 3.2.
    """
    check_images(x)
    n_pixels = x.shape[1] * x.shape[2]

    def backward(grad_g: FloatArray) -> FloatArray:
        return np.broadcast_to(grad_g[:, None, None] / grad_g.dtype.type(n_pixels), x.shape).copy()

    return x.mean(axis=(1, 2)), backward


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean of each channel over all pixels, which makes one value of each channel."""

    type = "global_average_pool"
    reads_images = True
    predictor_source = '''
def global_average_pool(x, p):
    """The mean of each channel of the images x, (N, H, W, C)."""
    return x.mean(axis=(1, 2))
'''

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (C,); see `Layer.output_shape`."""
        return image_size(self, input_shape)[2:]

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `global_average_pool` to x; see `Layer.forward`."""
        del parameters, mode
        value, backward = global_average_pool(x)
        return LayerPass(value, lambda grad_value: (backward(grad_value), {}))

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's GlobalAveragePool; see `Layer.to_onnx`."""
        del parameters
        return graph.add("Flatten", [graph.add("GlobalAveragePool", [x])], axis=1)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return "global average pooling"
