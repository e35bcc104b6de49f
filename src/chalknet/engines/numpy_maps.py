"""Feature maps of the numpy engine: their layout in memory, and the interface of the layers on them.

A feature map of a tile is an array (H, W, n, C): pixels first, so that rows of pixels, or every second
one, are a few long runs of memory, and channels last, so that a product with a matrix (C, O) reads its
rows as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chalknet.engines.kernels import T, registered
from chalknet.engines.numpy_passes import Passes, Scratch, empty_array
from chalknet.engines.parameter_layout import Matrix, NetworkArrays
from chalknet.network.architecture import NamedLayer
from chalknet.network.layer import Layer, Shape

# (stream, rate, rows of the workspace, width) -> dropout mask (rows, width)
DrawMask = Callable[[int, float, slice, int], Matrix]


class FeatureMap:
    """The values of a tile between two layers, in the backward pass their gradient.

    Args:
        shape: (H, W, C).
        n: maximum number of images.
        dtype: float type.
    """

    def __init__(self, shape: Shape, n: int, dtype: Any) -> None:
        """Allocate the buffer."""
        self.shape = shape
        self.n_pixels: int = shape[0] * shape[1]
        self.matrix: Matrix = empty_array(math.prod(shape) * n, dtype).reshape(-1, shape[2])
        self._views: dict[int, Matrix] = {}

    def of(self, n: int) -> Matrix:
        """Return the values of n images, (H, W, n, C)."""
        if n not in self._views:
            height, width, channels = self.shape
            self._views[n] = self.rows(n).reshape(height, width, n, channels)
        return self._views[n]

    def rows(self, n: int) -> Matrix:
        """Return the values of n images with a row for each pixel, (H W n, C)."""
        return self.matrix[: self.n_pixels * n]

    def wide(self, n: int) -> Matrix:
        """Return the values of n images with a row for each position, (H W, n C).

        NumPy adds a vector to long rows faster than to short ones.
        """
        return self.rows(n).reshape(self.n_pixels, -1)


@dataclass
class TilePass:
    """What the layers of a tile need in one pass.

    Attributes:
        arrays: parameters.
        n: number of images.
        rows: their rows in the workspace.
        samples: (n, H W C) inputs of the network.
        features: (n, F) outputs of the image part, in the backward pass their gradient.
        training: whether this is training.
        draw_mask: draws a dropout mask for rows of the workspace; None outside of training.
        scratch: arrays of the thread.
        passes: the passes over maps, by NumPy or by compiled loops.
        worker: number of the thread.
        partial_sum: number of the partial sum to which the tile adds its gradients.
        is_first: whether it is the first tile of that sum.
    """

    arrays: NetworkArrays
    n: int
    rows: slice
    samples: Matrix
    features: Matrix
    training: bool
    draw_mask: DrawMask | None
    scratch: Scratch
    passes: Passes
    worker: int
    partial_sum: int = 0
    is_first: bool = True


class MapKernel:
    """One layer on the feature maps of a tile.

    Args:
        named: the layer.
        x: the map that it reads.
        n: maximum number of images.

    Attributes:
        values: the map that it writes: a new one, or x.
        needs_gradient: whether a layer before it has parameters, so that it must propagate.
    """

    needs_gradient = True

    def __init__(self, named: NamedLayer, x: FeatureMap, n: int) -> None:  # noqa: ARG002
        """Create the buffers of the layer."""
        self.layer: Any = named.layer
        self.x = x
        self.values = x

    def forward(self, tile: TilePass) -> None:
        """Compute the values from x, and keep what `backward` needs."""
        raise NotImplementedError

    def backward(self, tile: TilePass) -> None:
        """Replace the values of x by their gradient, and write the gradients of the parameters.

        When it is called, `values` holds the gradient of the values.
        """
        raise NotImplementedError


KERNELS: dict[type[Layer], type[MapKernel]] = {}


def kernel_of(layer: type[Layer]) -> Callable[[T], T]:
    """Return a decorator that registers a kernel for a layer type."""
    return registered(KERNELS, layer)


def output_map(named: NamedLayer, x: FeatureMap, n: int) -> FeatureMap:
    """Return a map for the outputs of a layer that reads x."""
    return FeatureMap(named.layer.output_shape(x.shape), n, x.matrix.dtype)
