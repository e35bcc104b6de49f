"""The smooth clip, which bounds large values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import OnnxGraph

CLIP_BOUND = 3.0  # the bound of the result, as in the source


def smooth_clip(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return every element, with large values bounded by c = 3 without a corner.

    smooth_clip(x) = x r,  r = 1 / sqrt(1 + (x/c)^2)                 (docs/derivation.md, R22)
    dL/dx          = dL/dsmooth_clip r^3                             (R23)

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.

    Source: Holzmueller, Grinsztajn and Steinwart, Better by Default: Strong Pre-Tuned MLPs and Boosted
    Trees on Tabular Data (NeurIPS 2024), section 3.1.
    """
    ratio = 1 / np.sqrt(1 + np.square(x / CLIP_BOUND))

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * (ratio * ratio * ratio)
        return grad_x

    return x * ratio, backward


@dataclass(frozen=True)
class SmoothClip(Activation):
    """x / sqrt(1 + (x/3)^2) of every element. Before other layers it bounds outlying inputs."""

    type = "smooth_clip"
    function: ClassVar[Function] = staticmethod(smooth_clip)
    predictor_source = '''
def smooth_clip(x, p):
    """x / sqrt(1 + (x / 3)^2)."""
    return x / np.sqrt(1 + np.square(x / DTYPE(3)))
'''

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the nodes of R22; see `Layer.to_onnx`."""
        del parameters
        third = graph.add("Div", [x, graph.scalar(CLIP_BOUND)])
        root = graph.add("Sqrt", [graph.add("Add", [graph.add("Mul", [third, third]), graph.scalar(1.0)])])
        return graph.add("Div", [x, root])
