"""The layer that makes a row of the pixels of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Layer, LayerPass, Mode, OnnxGraph, Shape, image_size


@dataclass(frozen=True)
class Flatten(Layer):
    """Images (H, W, C) as rows of H W C values: row by row, pixel by pixel, channel by channel."""

    type = "flatten"
    reads_images = True
    predictor_source = '''
def flatten(x, p):
    """The images x, (N, H, W, C), as rows."""
    return x.reshape(len(x), -1)
'''

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (H W C,); see `Layer.output_shape`."""
        return (math.prod(image_size(self, input_shape)),)

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Return x as rows; see `Layer.forward`."""
        del parameters, mode
        return LayerPass(x.reshape(len(x), -1), lambda grad_value: (grad_value.reshape(x.shape), {}))

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Transpose, because channels are last here, and Flatten; see `Layer.to_onnx`."""
        del parameters
        return graph.add("Flatten", [graph.add("Transpose", [x], perm=[0, 2, 3, 1])], axis=1)
