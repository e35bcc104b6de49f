"""The residual connection: the input of an earlier layer is added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass

import numpy as np

from chalknet.config import integer, setting
from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import PREDICTION, Layer, LayerPass, Mode, OnnxGraph, Shape

MAX_SKIPPED = 1_000


def residual(
    x: FloatArray, shortcut: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], tuple[FloatArray, FloatArray]]]:
    """Return the sum of the output of some layers and of their input, the shortcut.

    g_nai     = x_nai + u_n,Sa,i, with 0 where the shortcut u has no channel i  (docs/derivation.md, Y1)
    dL/dx     = dL/dg                                                           (Y2)
    dL/du_nti = dL/dg_nai where t = Sa, else 0                                  (Y3)

    If the layers make images smaller, the shortcut keeps every S-th row and column of pixels. If they
    add channels, the shortcut has zeros there. So it has no parameters.

    Args:
        x: (B, H, W, C) or (B, I), float32 or float64.
        shortcut: (B, H2, W2, C2) with C2 <= C, and H = ceil(H2 / S) and W = ceil(W2 / S) for a whole
            number S; or (B, I).

    Returns:
        g: shape of x.
        backward: grad_g -> (grad_x, grad_shortcut).

    Raises:
        ShapeError: the shapes do not fit together.

    Source: He, Zhang, Ren and Sun, Deep residual learning for image recognition (CVPR 2016), equation
    1, and option A of section 3.3.
    """
    if x.ndim < 2 or len(x) != len(shortcut):
        raise ShapeError(f"a residual connection needs two batches of equal size, got {x.shape} and {shortcut.shape}.")
    step = shortcut_stride(x.shape[1:], shortcut.shape[1:])
    if step == 0:
        raise ShapeError(f"a shortcut of shape {shortcut.shape} cannot be added to {x.shape}.")
    if x.ndim == 2:
        return x + shortcut, lambda grad_g: (grad_g, grad_g)
    value = x.copy()
    value[..., : shortcut.shape[3]] += shortcut[:, ::step, ::step]

    def backward(grad_g: FloatArray) -> tuple[FloatArray, FloatArray]:
        grad_shortcut = np.zeros(shortcut.shape, grad_g.dtype)
        grad_shortcut[:, ::step, ::step] = grad_g[..., : shortcut.shape[3]]
        return grad_g, grad_shortcut

    return value, backward


def shortcut_stride(shape: Shape, shortcut: Shape) -> int:
    """Return S of Y1 for the shapes of one sample, or 0 if the shortcut cannot be added."""
    if len(shape) != 3 or len(shortcut) != 3:
        return 1 if shape == shortcut else 0
    step = max(1, -(-shortcut[0] // shape[0]))
    fits = all(-(-size // step) == here for size, here in zip(shortcut[:2], shape[:2], strict=True))
    return step if fits and shortcut[2] <= shape[2] else 0


@dataclass(frozen=True)
class Residual(Layer):
    """A residual connection: the input of the layers before it is added to their output.

    Attributes:
        layers: how many layers the shortcut skips: those just before this one.
    """

    type = "residual"
    layers: int = setting(MISSING, integer(1, MAX_SKIPPED), "number of layers before it that the shortcut skips")
    predictor_source = '''
def residual(x, p):
    """x plus the input of the layers before it: every step-th pixel, and zeros for new channels."""
    shortcut = p["shortcut"]
    if x.ndim == 2:
        return x + shortcut
    step = max(1, -(-shortcut.shape[1] // x.shape[1]))
    value = x.copy()
    value[..., : shortcut.shape[3]] += shortcut[:, ::step, ::step]
    return value
'''

    @property
    def skipped_layers(self) -> int:
        """The number of layers that the shortcut skips."""
        return self.layers

    def check_shortcut(self, input_shape: Shape, shortcut: Shape) -> None:
        """Raise ConfigError unless a shortcut of this shape can be added to samples of input_shape."""
        if not shortcut_stride(input_shape, shortcut):
            raise ConfigError(
                f"layer residual: the input {shortcut} of the first of {self.layers} skipped layers cannot be added to "
                f"{input_shape}. Height and width may differ by one whole factor, and channels may only be added."
            )

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Add the shortcut of the mode to x; see `Layer.forward`."""
        del parameters
        if mode.shortcut is None:
            raise ShapeError("a residual connection needs mode.shortcut, the input of the layers that it skips.")
        value, backward = residual(x, mode.shortcut)
        return LayerPass(value, lambda grad: (backward(grad)[0], {}), shortcut_backward=lambda grad: backward(grad)[1])

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Add, after Slice and Pad where the shapes differ; see `Layer.to_onnx`."""
        shortcut = parameters["shortcut"]
        shape, earlier = graph.sample_shape(x), graph.sample_shape(shortcut)
        step = shortcut_stride(shape, earlier)
        if step > 1:
            ends, axes = graph.integers(*earlier[:2]), graph.integers(2, 3)
            shortcut = graph.add("Slice", [shortcut, graph.integers(0, 0), ends, axes, graph.integers(step, step)])
        if shape[-1] > earlier[-1]:
            pads = graph.integers(0, 0, 0, 0, 0, shape[-1] - earlier[-1], 0, 0)
            shortcut = graph.add("Pad", [shortcut, pads])
        return graph.add("Add", [x, shortcut])

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"residual connection around {self.layers} layers"
