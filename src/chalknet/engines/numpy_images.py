"""The image layers of the numpy engine: convolution, pooling and what stands between them.

The layers in front of the first layer that reads flat samples are the image part of a network. It
works on tiles of a few images, whose values stay in the cache of one core. A feature map of a tile is
an array (H, W, n, C): pixels first, so that a row of pixels, or every second one, is a few long runs
of memory, and channels last, so that a product with a matrix (C, O) reads its rows as they stand. The
number of images in a tile depends on the sizes of the network alone.

Layers between two barriers pass over a tile one after the other. Only batch normalization in training
is a barrier, because it needs sums over all tiles of a batch. They are added in the order of the tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from chalknet.engines.batches import even_slices
from chalknet.engines.kernels import T, kernel_for, registered
from chalknet.engines.numpy_kernels import ActivationKernel, SourceKernel, sum_rows
from chalknet.engines.parameter_layout import LayerArrays, Matrix, NetworkArrays, ParameterLayout
from chalknet.network.activation import Activation
from chalknet.network.architecture import Architecture, NamedLayer
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.batch_norm import EPSILON, RUNNING_DECAY, BatchNorm
from chalknet.network.conv2d import Conv2d
from chalknet.network.dropout import Dropout
from chalknet.network.flatten import Flatten
from chalknet.network.global_average_pool import GlobalAveragePool
from chalknet.network.layer import Layer, Shape
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.residual import Residual, shortcut_stride

# Values of the largest feature map of a tile, at most, and the most images of a tile. Constants, so
# that the order of all sums is the same for any number of threads.
TILE_VALUES = 100_000
MAX_TILE_IMAGES = 16
# Partial sums of the gradients of the image part, and so the most threads that can share it.
MAX_PARTIAL_SUMS = 8

# Runs tasks, on one or several threads. Each is called with the number of its thread.
Run = Callable[[Sequence[Callable[[int], Any]]], None]
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
        self.n_pixels = shape[0] * shape[1]
        self.matrix: Matrix = np.empty((self.n_pixels * n, shape[2]), dtype)
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


class Scratch:
    """Arrays of one thread that are needed within one layer only, by name."""

    def __init__(self, dtype: Any) -> None:
        """Start without arrays."""
        self._dtype = dtype
        self._arrays: dict[str, Matrix] = {}

    def take(self, name: str, *shape: int) -> Matrix:
        """Return an array of this shape, which may hold anything."""
        size = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, self._dtype)
        return self._arrays[name][:size].reshape(shape)


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
        out: where the backward pass writes the gradients of the parameters.
    """

    arrays: NetworkArrays
    n: int
    rows: slice
    samples: Matrix
    features: Matrix
    training: bool
    draw_mask: DrawMask | None
    scratch: Scratch
    out: NetworkArrays


class MapKernel:
    """One layer on the feature maps of a tile.

    Args:
        named: the layer.
        place: where its parameters are stored.
        x: the map that it reads.
        n: maximum number of images.

    Attributes:
        values: the map that it writes: a new one, or x.
        index: of its learned matrix, or None.
        needs_gradient: whether a layer before it has parameters, so that it must propagate.
    """

    needs_gradient = True

    def __init__(self, named: NamedLayer, place: LayerArrays, x: FeatureMap, n: int) -> None:  # noqa: ARG002
        """Create the buffers of the layer."""
        self.layer: Any = named.layer
        self.x = x
        self.index = place.learned
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


class SamplesKernel(MapKernel):
    """The first map: a copy of the samples with images along the third axis."""

    def __init__(self, shape: Shape, n: int, dtype: Any) -> None:
        """Create the map."""
        self.values = self.x = FeatureMap(shape, n, dtype)
        self.index = None

    def forward(self, tile: TilePass) -> None:
        """Copy the samples."""
        images = tile.samples.reshape(tile.n, *self.values.shape)
        np.copyto(self.values.of(tile.n), images.transpose(1, 2, 0, 3))

    def backward(self, tile: TilePass) -> None:
        """Do nothing: samples have no gradient."""


def _output_map(named: NamedLayer, x: FeatureMap, n: int) -> FeatureMap:
    return FeatureMap(named.layer.output_shape(x.shape), n, x.matrix.dtype)


def _window(pixels: Matrix, row: int, column: int, rows: int, columns: int, stride: int) -> Matrix:
    """Return the pixels at one position of every window, (rows, columns, n, C)."""
    return pixels[row : row + stride * (rows - 1) + 1 : stride, column : column + stride * (columns - 1) + 1 : stride]


@kernel_of(Conv2d)
class Conv2dKernel(MapKernel):
    """A convolution (K1 to K5).

    The windows of a group of channels are the columns of a matrix (R S I, pixels), which is filled one
    row at a time. A last row of ones multiplies the bias.
    """

    def __init__(self, named: NamedLayer, place: LayerArrays, x: FeatureMap, n: int) -> None:
        """Create the map of outputs."""
        super().__init__(named, place, x, n)
        self.values = _output_map(named, x, n)
        assert place.learned is not None
        layer, self._matrix = self.layer, place.learned
        self._in, self._out = x.shape[2] // layer.groups, layer.filters // layer.groups
        self._n_weights = place.n_weights

    def forward(self, tile: TilePass) -> None:
        """Compute K2."""
        matrix, values = tile.arrays.learned[self._matrix], self.values.rows(tile.n)
        for group in range(self.layer.groups):
            columns = slice(group * self._out, (group + 1) * self._out)
            patches = self._patches(tile, self._padded(tile), group)
            np.matmul(patches.T, matrix[:, columns], out=values[:, columns])

    def backward(self, tile: TilePass) -> None:
        """Compute K3, K4 and K5."""
        padded = self._padded(tile)
        for group in range(self.layer.groups):
            columns = slice(group * self._out, (group + 1) * self._out)
            patches, grad = self._patches(tile, padded, group), self.values.rows(tile.n)[:, columns]
            np.matmul(patches, grad, out=tile.out.learned[self._matrix][:, columns])
        if self.needs_gradient:
            self._propagate(tile)

    def _propagate(self, tile: TilePass) -> None:
        """Write the gradient of x (K5): that of every window is added to its pixels."""
        (height, width, _), (rows, columns, _) = self.x.shape, self.values.shape
        (above, left), weight = self.layer.zeros, tile.arrays.learned[self._matrix][: self._n_weights]
        grad_padded = tile.scratch.take("padded", height + 2 * above, width + 2 * left, tile.n, self.x.shape[2])
        grad_padded.fill(0)
        for group in range(self.layer.groups):
            outputs = slice(group * self._out, (group + 1) * self._out)
            grad = self.values.rows(tile.n)[:, outputs]
            windows = tile.scratch.take("patches", self._n_weights, len(grad))
            np.matmul(weight[:, outputs], grad.T, out=windows)
            for number, (row, column, channel) in enumerate(self._positions(group)):
                at = _window(grad_padded, row, column, rows, columns, self.layer.stride)[..., channel]
                np.add(at, windows[number].reshape(rows, columns, tile.n), out=at)
        np.copyto(self.x.of(tile.n), grad_padded[above : above + height, left : left + width])

    def _padded(self, tile: TilePass) -> Matrix:
        """Return x with zeros around it."""
        (height, width, channels), (above, left) = self.x.shape, self.layer.zeros
        if not (above or left):
            return self.x.of(tile.n)
        padded = tile.scratch.take("padded", height + 2 * above, width + 2 * left, tile.n, channels)
        padded.fill(0)
        np.copyto(padded[above : above + height, left : left + width], self.x.of(tile.n))
        return padded

    def _positions(self, group: int) -> Iterable[tuple[int, int, int]]:
        """Yield row, column and channel of each weight of a filter of a group."""
        high, wide = self.layer.kernel
        return (
            np.ndindex(high, wide, self._in)
            if not group
            else (
                (row, column, channel + group * self._in) for row, column, channel in np.ndindex(high, wide, self._in)
            )
        )

    def _patches(self, tile: TilePass, padded: Matrix, group: int) -> Matrix:
        """Return the windows as columns, (R S I, pixels), with a row of ones if there is a bias."""
        rows, columns, _ = self.values.shape
        n_rows = self._n_weights + (1 if self.layer.bias else 0)
        patches = tile.scratch.take("patches", n_rows, rows * columns * tile.n)
        for number, (row, column, channel) in enumerate(self._positions(group)):
            at = _window(padded, row, column, rows, columns, self.layer.stride)[..., channel]
            np.copyto(patches[number].reshape(rows, columns, tile.n), at)
        patches[self._n_weights :] = 1
        return patches


@kernel_of(MaxPool2d)
class MaxPool2dKernel(MapKernel):
    """Max pooling (Q1, Q2)."""

    def __init__(self, named: NamedLayer, place: LayerArrays, x: FeatureMap, n: int) -> None:
        """Create the map of outputs."""
        super().__init__(named, place, x, n)
        self.values = _output_map(named, x, n)
        self._stride = self.layer.stride or self.layer.size

    def _windows(self, pixels: Matrix) -> list[Matrix]:
        """Return the pixels at each position of a window, from the top left."""
        rows, columns, _ = self.values.shape
        return [
            _window(pixels, row, column, rows, columns, self._stride)
            for row, column in np.ndindex(self.layer.size, self.layer.size)
        ]

    def forward(self, tile: TilePass) -> None:
        """Compute Q1."""
        self._largest(self._windows(self.x.of(tile.n)), self.values.of(tile.n))

    def _largest(self, windows: list[Matrix], out: Matrix) -> None:
        np.copyto(out, windows[0])
        for one in windows[1:]:
            np.maximum(out, one, out=out)

    def backward(self, tile: TilePass) -> None:
        """Compute Q2: what a position takes is gone for those after it."""
        if not self.needs_gradient:
            return
        pixels, grad = self.x.of(tile.n), self.values.of(tile.n)
        largest, routed = (tile.scratch.take(name, *grad.shape) for name in ("largest", "routed"))
        grad_pixels = tile.scratch.take("pixels", *pixels.shape)
        grad_pixels.fill(0)
        windows = self._windows(pixels)
        self._largest(windows, largest)
        for one, grad_one in zip(windows, self._windows(grad_pixels), strict=True):
            np.multiply(grad, one == largest, out=routed)
            np.add(grad_one, routed, out=grad_one)
            np.subtract(grad, routed, out=grad)
        np.copyto(pixels, grad_pixels)


@kernel_of(AveragePool2d)
class AveragePool2dKernel(MaxPool2dKernel):
    """Average pooling (Q3, Q4)."""

    def forward(self, tile: TilePass) -> None:
        """Compute Q3."""
        first, *others = self._windows(self.x.of(tile.n))
        out = self.values.of(tile.n)
        np.copyto(out, first)
        for one in others:
            np.add(out, one, out=out)
        np.multiply(out, out.dtype.type(1 / self.layer.size**2), out=out)

    def backward(self, tile: TilePass) -> None:
        """Compute Q4."""
        if not self.needs_gradient:
            return
        pixels, grad = self.x.of(tile.n), self.values.of(tile.n)
        np.multiply(grad, grad.dtype.type(1 / self.layer.size**2), out=grad)
        pixels.fill(0)
        for one in self._windows(pixels):
            np.add(one, grad, out=one)


@kernel_of(Flatten)
class FlattenKernel(MapKernel):
    """The end of the image part: images as rows of the matrix of features."""

    def _images(self, tile: TilePass) -> Matrix:
        """Return the features as a map."""
        return tile.features.reshape(tile.n, *self.x.shape).transpose(1, 2, 0, 3)

    def forward(self, tile: TilePass) -> None:
        """Copy the map to the features."""
        np.copyto(self._images(tile), self.x.of(tile.n))

    def backward(self, tile: TilePass) -> None:
        """Copy the gradient of the features to the map."""
        np.copyto(self.x.of(tile.n), self._images(tile))


@kernel_of(GlobalAveragePool)
class GlobalAveragePoolKernel(MapKernel):
    """The end of the image part: the mean of each channel (Q3, Q4)."""

    def forward(self, tile: TilePass) -> None:
        """Compute Q3."""
        pixels = self.x.of(tile.n).reshape(self.x.n_pixels, -1)
        np.multiply(np.add.reduce(pixels, axis=0).reshape(tile.n, -1), self._factor, out=tile.features)

    def backward(self, tile: TilePass) -> None:
        """Compute Q4."""
        np.multiply(tile.features, self._factor, out=self.x.of(tile.n))

    @property
    def _factor(self) -> Any:
        return self.x.matrix.dtype.type(1 / self.x.n_pixels)


@kernel_of(Activation)
class MapActivationKernel(MapKernel):
    """An activation, with the dropout after it, in place."""

    rate, stream = 0.0, 0

    def __init__(self, named: NamedLayer, place: LayerArrays, x: FeatureMap, n: int) -> None:
        """Create the kernel of flat samples, for which each pixel is a sample."""
        super().__init__(named, place, x, n)
        self._kernel = ActivationKernel(self.layer, place, x.matrix)

    def forward(self, tile: TilePass) -> None:
        """Replace the values by activation and dropout."""
        self._kernel.mask = _mask(self, tile)
        self._kernel.forward(tile.arrays, self.x.n_pixels * tile.n, slice(None), tile.training)

    def backward(self, tile: TilePass) -> None:
        """Multiply the gradient by the slope."""
        self._kernel.backward(tile.arrays, self.x.n_pixels * tile.n, slice(None), tile.arrays)


@kernel_of(Dropout)
class MapDropoutKernel(MapKernel):
    """Dropout (D1, D2) that does not follow an activation, in place."""

    rate, stream = 0.0, 0

    def forward(self, tile: TilePass) -> None:
        """Multiply the values by the mask in training."""
        self._mask = _mask(self, tile)
        self.backward(tile)

    def backward(self, tile: TilePass) -> None:
        """Multiply the gradient by the mask."""
        if self._mask is not None:
            np.multiply(self.x.rows(tile.n), self._mask, out=self.x.rows(tile.n))


def _mask(kernel: MapActivationKernel | MapDropoutKernel, tile: TilePass) -> Matrix | None:
    """Return the dropout mask of a tile, (H W n, C), or None without dropout."""
    if not (tile.training and kernel.rate):
        return None
    assert tile.draw_mask is not None
    shape = kernel.x.shape
    mask = tile.draw_mask(kernel.stream, kernel.rate, tile.rows, math.prod(shape))
    return mask.reshape(tile.n, *shape).transpose(1, 2, 0, 3).reshape(-1, shape[2])


class ShortcutKernel(MapKernel):
    """Keeps a map for a residual connection, and adds the gradient that comes back through it."""

    def __init__(self, x: FeatureMap, n: int) -> None:
        """Create the buffer of what is kept."""
        self.x = self.values = x
        self.index = None
        self.kept = FeatureMap(x.shape, n, x.matrix.dtype)

    def forward(self, tile: TilePass) -> None:
        """Keep the values."""
        np.copyto(self.kept.rows(tile.n), self.x.rows(tile.n))

    def backward(self, tile: TilePass) -> None:
        """Add the gradient of the shortcut."""
        if self.needs_gradient:
            np.add(self.x.rows(tile.n), self.kept.rows(tile.n), out=self.x.rows(tile.n))


@kernel_of(Residual)
class MapResidualKernel(MapKernel):
    """A residual connection (Y1 to Y3), in place.

    Attributes:
        shortcut: the kernel that keeps the map to add.
    """

    shortcut: ShortcutKernel

    def _parts(self, n: int) -> tuple[Matrix, Matrix]:
        """Return the pixels and channels of values and shortcut that are added."""
        kept = self.shortcut.kept
        step = shortcut_stride(self.x.shape, kept.shape)
        return self.x.of(n)[..., : kept.shape[2]], kept.of(n)[::step, ::step]

    def forward(self, tile: TilePass) -> None:
        """Compute Y1."""
        values, kept = self._parts(tile.n)
        np.add(values, kept, out=values)

    def backward(self, tile: TilePass) -> None:
        """Compute Y3, and leave the gradient of the values as it is (Y2)."""
        grad, grad_kept = self._parts(tile.n)
        if grad_kept.shape[:2] != self.shortcut.kept.shape[:2]:
            self.shortcut.kept.rows(tile.n).fill(0)
        np.copyto(grad_kept, grad)


class BatchNormSums:
    """The sums of one batch normalization over all tiles of a batch.

    Attributes:
        tiles: (T, 2, C) of each tile mean and sum of squared deviations, in the backward pass the
            gradients of bias and scale.
        counts: number of pixels of each tile.
        mean: (C,) mean of the batch.
        root: (C,) its standard deviation, with epsilon.
        grad: (2, C) the gradients of scale and bias.
    """

    def __init__(self, place: LayerArrays, channels: int, dtype: Any) -> None:
        """Allocate the sums of a batch."""
        assert place.learned is not None
        assert place.statistics is not None
        self.learned, self.statistics = place.learned, place.statistics
        self._dtype = dtype
        self.tiles = np.empty((0, 2, channels), dtype)
        self.counts: list[int] = []
        self.mean, self.root = np.empty(channels, dtype), np.empty(channels, dtype)
        self.grad = np.empty((2, channels), dtype)

    def begin(self, counts: list[int]) -> None:
        """Make room for the sums of tiles with these numbers of pixels."""
        self.counts = counts
        if len(self.tiles) < len(counts):
            self.tiles = np.empty((len(counts), *self.tiles.shape[1:]), self._dtype)

    def combine(self, arrays: NetworkArrays) -> None:
        """Compute mean and deviation of the batch (B1, B2), and update the running statistics (B6)."""
        counts = np.array(self.counts, np.float64)[:, None]
        n, means, squares = counts.sum(), self.tiles[: len(counts), 0], self.tiles[: len(counts), 1]
        mean = (counts * means).sum(axis=0) / n
        variance = (squares.sum(axis=0, dtype=np.float64) + (counts * (means - mean) ** 2).sum(axis=0)) / n
        self.mean[:] = mean
        self.root[:] = np.sqrt(variance + EPSILON)
        unbiased = variance * (n / max(n - 1, 1))
        for kept, of_batch in zip(arrays.statistics[self.statistics], (mean, unbiased), strict=True):
            kept[:] = RUNNING_DECAY * kept + (1 - RUNNING_DECAY) * of_batch

    def use_running(self, arrays: NetworkArrays) -> None:
        """Use the running statistics, as in prediction."""
        mean, variance = arrays.statistics[self.statistics]
        self.mean[:] = mean
        np.sqrt(variance + variance.dtype.type(EPSILON), out=self.root)

    def combine_gradients(self, out: NetworkArrays) -> None:
        """Add up the gradients of scale and bias (B4)."""
        self.grad[:] = self.tiles[: len(self.counts)].sum(axis=0)
        out.learned[self.learned][:] = self.grad


@kernel_of(BatchNorm)
class MapBatchNormKernel(MapKernel):
    """Batch normalization of each channel (B1 to B6).

    Attributes:
        sums: of all tiles.
        number: of this tile.
    """

    sums: BatchNormSums
    number: int

    def __init__(self, named: NamedLayer, place: LayerArrays, x: FeatureMap, n: int) -> None:
        """Create the map of outputs. In training, x holds deviations from the mean after `forward`."""
        super().__init__(named, place, x, n)
        self.values = _output_map(named, x, n)

    def measure(self, tile: TilePass) -> None:
        """Compute mean and sum of squared deviations of a tile."""
        x = self.x.rows(tile.n)
        mean, squares = self.sums.tiles[self.number]
        sum_rows(x, mean)
        np.divide(mean, len(x), out=mean)
        deviation = tile.scratch.take("pixels", *x.shape)
        np.subtract(x, mean, out=deviation)
        np.multiply(deviation, deviation, out=deviation)
        sum_rows(deviation, squares)

    def forward(self, tile: TilePass) -> None:
        """Compute B2 and B3."""
        x, values = self.x.rows(tile.n), self.values.rows(tile.n)
        gamma, bias = tile.arrays.learned[self.sums.learned]
        np.subtract(x, self.sums.mean, out=x)
        np.multiply(x, gamma / self.sums.root, out=values)
        np.add(values, bias, out=values)

    def measure_gradients(self, tile: TilePass) -> None:
        """Compute a tile's part of the gradients of scale and bias (B4)."""
        x, grad = self.x.rows(tile.n), self.values.rows(tile.n)
        grad_gamma, grad_bias = self.sums.tiles[self.number]
        products = np.multiply(x, grad, out=tile.scratch.take("pixels", *x.shape))
        sum_rows(products, grad_gamma)
        np.divide(grad_gamma, self.sums.root, out=grad_gamma)
        sum_rows(grad, grad_bias)

    def backward(self, tile: TilePass) -> None:
        """Compute B5."""
        if not self.needs_gradient:
            return
        x, grad, sums = self.x.rows(tile.n), self.values.rows(tile.n), self.sums
        n, gamma = sum(sums.counts), tile.arrays.learned[sums.learned][0]
        grad_gamma, grad_bias = sums.grad
        np.multiply(x, -gamma * grad_gamma / (sums.root**2 * n), out=x)
        np.multiply(grad, gamma / sums.root, out=grad)
        np.add(x, grad, out=x)
        np.subtract(x, gamma * grad_bias / (sums.root * n), out=x)


class ImageTile:
    """The layers of the image part with buffers for a tile.

    Args:
        part: the layers, with the places of their parameters.
        shape: (H, W, C) of the samples.
        n: maximum number of images.
        dtype: float type.
        sums: of each batch normalization by position.
        number: of the tile in the batch.
    """

    def __init__(
        self,
        part: Sequence[tuple[NamedLayer, LayerArrays]],
        shape: Shape,
        n: int,
        dtype: Any,
        sums: dict[int, BatchNormSums],
        number: int,
    ) -> None:
        """Create the kernels."""
        self.kernels: list[MapKernel] = [SamplesKernel(shape, n, dtype)]
        shortcuts: dict[int, ShortcutKernel] = {}
        learns = False
        for position, (named, place) in enumerate(part):
            layer, x = named.layer, self.kernels[-1].values
            for other, (residual, _) in enumerate(part):
                if residual.shortcut == position:
                    shortcuts[other] = ShortcutKernel(x, n)
                    shortcuts[other].needs_gradient = learns
                    self.kernels.append(shortcuts[other])
            if isinstance(layer, Dropout) and (position == 0 or not layer.rate):
                continue
            kernel = self.kernels[-1]
            if not (isinstance(layer, Dropout) and isinstance(kernel, MapActivationKernel) and not kernel.rate):
                kernel = kernel_for(KERNELS, type(layer), "numpy", "reference")(named, place, x, n)
                kernel.needs_gradient = learns
                self.kernels.append(kernel)
            if isinstance(kernel, (MapActivationKernel, MapDropoutKernel)) and isinstance(layer, Dropout):
                kernel.rate, kernel.stream = layer.rate, named.stream
            if isinstance(kernel, MapResidualKernel):
                kernel.shortcut = shortcuts[position]
            if isinstance(kernel, MapBatchNormKernel):
                kernel.sums, kernel.number = sums[position], number
            learns = learns or place.learned is not None
        self.kernels[-1].needs_gradient = learns
        barriers = [position for position, kernel in enumerate(self.kernels) if isinstance(kernel, MapBatchNormKernel)]
        bounds = [0, *barriers, len(self.kernels)]
        # The layers between two barriers. The layer after a barrier is the first of its stage.
        self.stages = [self.kernels[start:stop] for start, stop in pairwise(bounds)]


class ImageSource(SourceKernel):
    """The image part of a network, as the source of its first group.

    `values` are the features, with a row for each sample. They are not computed column by column in
    `forward`, but tile by tile in `compute`, which has to be called before the groups, and
    `compute_gradients` after them.

    Args:
        architecture: the layers.
        layout: where their parameters are stored.
        rows: maximum number of samples at a time.
        dtype: float type of the values.

    Attributes:
        n_layers: number of layers of the image part.
        draw_mask: draws dropout masks; set before a pass of training.
    """

    draw_mask: DrawMask | None = None

    def __init__(self, architecture: Architecture, layout: ParameterLayout, rows: int, dtype: Any) -> None:
        """Allocate the features. Tiles are allocated when they are needed."""
        named_layers = architecture.named_layers
        ends = [isinstance(named.layer, (Flatten, GlobalAveragePool)) for named in named_layers]
        self.n_layers = ends.index(True) + 1
        self._part = list(zip(named_layers, layout.layers, strict=True))[: self.n_layers]
        last = self._part[-1][0]
        self.values = np.empty((rows, *last.layer.output_shape(last.input_shape)), dtype)
        self._shape, self._dtype = architecture.input_shape, dtype
        self._tile_images = images_of_tile(architecture)
        self._sums = {
            position: BatchNormSums(place, named.input_shape[2], dtype)
            for position, (named, place) in enumerate(self._part)
            if isinstance(named.layer, BatchNorm)
        }
        self._indexes = sorted({place.learned for _, place in self._part if place.learned is not None})
        self._tiles: list[ImageTile] = []
        self._scratch: dict[int, Scratch] = {}
        self._partial_sums: list[NetworkArrays] = []
        self._of_tile: dict[int, NetworkArrays] = {}

    def forward(self, arrays: NetworkArrays, n: int, columns: slice) -> None:
        """Do nothing; see `compute`."""

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Do nothing; see `compute_gradients`."""

    def compute(self, arrays: NetworkArrays, n: int, training: bool, run: Run) -> None:
        """Compute the features of the first n samples.

        Args:
            arrays: parameters.
            n: number of samples. In training with batch normalization they are the whole batch.
            training: whether values are kept for `compute_gradients`.
            run: runs the tasks of a stage.
        """
        cuts = even_slices(n, self._tile_images)
        for number in range(len(self._tiles), len(cuts) if training else 1):
            self._tiles.append(ImageTile(self._part, self._shape, self._tile_images, self._dtype, self._sums, number))
        if not training:
            for sums in self._sums.values():
                sums.use_running(arrays)
            for rows in cuts:
                tile = self._tile_pass(arrays, rows, False, 0)
                for kernel in self._tiles[0].kernels:
                    kernel.forward(tile)
            return
        tiles = self._tiles[: len(cuts)]

        def forward(stage: int, number: int, worker: int) -> None:
            tile, stages = self._tile_pass(arrays, cuts[number], True, worker), tiles[number].stages
            for kernel in stages[stage]:
                kernel.forward(tile)
            if stage + 1 < len(stages):
                _barrier(stages[stage + 1]).measure(tile)

        for stage in range(len(tiles[0].stages)):
            if stage:
                _barrier(tiles[0].stages[stage]).sums.combine(arrays)
            if stage + 1 < len(tiles[0].stages):
                barrier = _barrier(tiles[0].stages[stage + 1])
                barrier.sums.begin([barrier.x.n_pixels * (rows.stop - rows.start) for rows in cuts])
            run([partial(forward, stage, number) for number in range(len(tiles))])

    def compute_gradients(self, arrays: NetworkArrays, n: int, out: NetworkArrays, run: Run) -> None:
        """Write the gradients of the parameters of the image part to out.

        `values` holds the gradient of the features. The gradients of the tiles are added up as those
        of tiles of rows are (`numpy_engine`): partial sum a adds tiles a, a + A, a + 2 A, ...
        """
        cuts = even_slices(n, self._tile_images)
        tiles, n_sums = self._tiles[: len(cuts)], min(MAX_PARTIAL_SUMS, len(cuts))
        while len(self._partial_sums) < n_sums:
            self._partial_sums.append(self._empty_gradients(arrays))

        def backward(stage: int, first: int, worker: int) -> None:
            for number in range(first, len(tiles), n_sums):
                tile = self._tile_pass(arrays, cuts[number], True, worker)
                total = self._partial_sums[first]
                tile.out = total if number == first else self._own_gradients(arrays, worker)
                if stage + 1 < len(tiles[number].stages):
                    _barrier(tiles[number].stages[stage + 1]).backward(tile)
                for kernel in reversed(tiles[number].stages[stage]):
                    if isinstance(kernel, MapBatchNormKernel):
                        kernel.measure_gradients(tile)
                        continue
                    kernel.backward(tile)
                    if tile.out is not total and kernel.index is not None:
                        sums = total.learned[kernel.index]
                        np.add(sums, tile.out.learned[kernel.index], out=sums)

        for stage in reversed(range(len(tiles[0].stages))):
            run([partial(backward, stage, first) for first in range(n_sums)])
            if stage:
                _barrier(tiles[0].stages[stage]).sums.combine_gradients(out)
        normalized = {sums.learned for sums in self._sums.values()}
        for index in self._indexes:
            if index not in normalized:
                np.copyto(out.learned[index], self._partial_sums[0].learned[index])
                for other in self._partial_sums[1:n_sums]:
                    np.add(out.learned[index], other.learned[index], out=out.learned[index])

    def _empty_gradients(self, arrays: NetworkArrays) -> NetworkArrays:
        """Return gradients of the image part; those of other layers are empty."""
        return NetworkArrays(
            [
                np.empty_like(matrix) if index in self._indexes else matrix[:0]
                for index, matrix in enumerate(arrays.learned)
            ]
        )

    def _own_gradients(self, arrays: NetworkArrays, worker: int) -> NetworkArrays:
        """Return the gradients of one tile, of a thread."""
        if worker not in self._of_tile:
            self._of_tile[worker] = self._empty_gradients(arrays)
        return self._of_tile[worker]

    def _tile_pass(self, arrays: NetworkArrays, rows: slice, training: bool, worker: int) -> TilePass:
        scratch = self._scratch.setdefault(worker, Scratch(self._dtype))
        n, x, features = rows.stop - rows.start, self.x[rows], self.values[rows]
        return TilePass(arrays, n, rows, x, features, training, self.draw_mask, scratch, arrays)


def _barrier(stage: Sequence[MapKernel]) -> MapBatchNormKernel:
    """Return the batch normalization that a stage, which is not the first, begins with."""
    assert isinstance(stage[0], MapBatchNormKernel)
    return stage[0]


def images_of_tile(architecture: Architecture) -> int:
    """Return the maximum number of images of a tile, from the sizes of the network alone."""
    sizes = [math.prod(named.input_shape) for named in architecture.named_layers if len(named.input_shape) == 3]
    return max(1, min(MAX_TILE_IMAGES, TILE_VALUES // max(sizes)))
