"""The image layers of the numpy engine: convolution, pooling and what stands between them.

The layers in front of the first layer that reads flat samples are the image part of a network. It
works on tiles of a few images (`numpy_maps`). The number of images in a tile depends on the sizes of
the network alone.

Layers between two barriers pass over a tile one after the other. Only batch normalization in training
is a barrier, because it needs sums over all tiles of a batch. They are added in the order of the tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.batches import even_slices
from chalknet.engines.kernels import PIECEWISE_LINEAR, function_for, kernel_for
from chalknet.engines.numpy_convolution import ConvolutionWeights, convolution_kernel, convolution_weights
from chalknet.engines.numpy_kernels import ACTIVATION_FUNCTIONS, SourceKernel, sum_rows
from chalknet.engines.numpy_maps import (
    KERNELS,
    DrawMask,
    FeatureMap,
    MapKernel,
    TilePass,
    kernel_of,
    output_map,
)
from chalknet.engines.numpy_passes import Passes, Scratch, empty_array, window, windows
from chalknet.engines.parameter_layout import LayerArrays, Matrix, NetworkArrays, ParameterLayout
from chalknet.network.activation import Activation
from chalknet.network.architecture import Architecture, NamedLayer
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.batch_norm import EPSILON, RUNNING_DECAY, BatchNorm
from chalknet.network.conv2d import Conv2d
from chalknet.network.dropout import Dropout
from chalknet.network.flatten import Flatten
from chalknet.network.global_average_pool import GlobalAveragePool
from chalknet.network.layer import Shape
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.residual import Residual, shortcut_stride

# Values of the largest feature map of a tile, at most, and the most images of a tile. Constants, so
# that the order of all sums is the same for any number of threads.
TILE_VALUES = 201_000
MAX_TILE_IMAGES = 16
# Partial sums of the gradients of the image part, and so the most threads that can share it.
MAX_PARTIAL_SUMS = 8

# Runs tasks, on one or several threads. Each is called with the number of its thread.
Run = Callable[[Sequence[Callable[[int], Any]]], None]


class SamplesKernel(MapKernel):
    """The first map: a copy of the samples with images along the third axis."""

    def __init__(self, shape: Shape, n: int, dtype: Any) -> None:
        """Create the map."""
        self.values: FeatureMap = FeatureMap(shape, n, dtype)
        self.x: FeatureMap = self.values

    def forward(self, tile: TilePass) -> None:
        """Copy the samples."""
        images = tile.samples.reshape(tile.n, *self.values.shape)
        np.copyto(self.values.of(tile.n), images.transpose(1, 2, 0, 3))

    def backward(self, tile: TilePass) -> None:
        """Do nothing: samples have no gradient."""


@kernel_of(MaxPool2d)
class MaxPool2dKernel(MapKernel):
    """Max pooling (Q1, Q2)."""

    def __init__(self, named: NamedLayer, x: FeatureMap, n: int) -> None:
        """Create the map of outputs."""
        super().__init__(named, x, n)
        self.values: FeatureMap = output_map(named, x, n)
        self._stride = self.layer.stride or self.layer.size

    def forward(self, tile: TilePass) -> None:
        """Compute Q1."""
        tile.passes.largest(self.x.of(tile.n), self.layer.size, self._stride, self.values.of(tile.n))

    def backward(self, tile: TilePass) -> None:
        """Compute Q2."""
        if not self.needs_gradient:
            return
        size, stride = self.layer.size, self._stride
        pixels, grad = self.x.of(tile.n), self.values.of(tile.n)
        largest = tile.scratch.take("largest", *grad.shape)
        if stride < size:
            self._route_overlapping(tile, pixels, largest)
            return
        tile.passes.route(pixels, size, stride, grad, largest)
        rows, columns, _ = self.values.shape
        for row, column in np.ndindex(stride, stride):
            if max(row, column) >= size:  # pixels between windows
                window(pixels, row, column, rows, columns, stride)[...] = 0
        pixels[rows * stride :], pixels[:, columns * stride :] = 0, 0

    def _route_overlapping(self, tile: TilePass, pixels: Matrix, largest: Matrix) -> None:
        """Compute Q2 for windows that share pixels."""
        grad, size, stride = self.values.of(tile.n), self.layer.size, self._stride
        routed, grad_pixels = tile.scratch.take("routed", *grad.shape), tile.scratch.take("pixels", *pixels.shape)
        grad_pixels.fill(0)
        tile.passes.largest(pixels, size, stride, largest)
        of_pixels, of_gradient = windows(pixels, size, stride, grad), windows(grad_pixels, size, stride, grad)
        for one, grad_one in zip(of_pixels, of_gradient, strict=True):
            np.multiply(grad, one == largest, out=routed)
            np.add(grad_one, routed, out=grad_one)
            np.subtract(grad, routed, out=grad)
        np.copyto(pixels, grad_pixels)


@kernel_of(AveragePool2d)
class AveragePool2dKernel(MaxPool2dKernel):
    """Average pooling (Q3, Q4)."""

    def forward(self, tile: TilePass) -> None:
        """Compute Q3."""
        out = self.values.of(tile.n)
        first, *others = windows(self.x.of(tile.n), self.layer.size, self._stride, out)
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
        for one in windows(pixels, self.layer.size, self._stride, grad):
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
    """An activation, with the dropout after it, in place.

    Attributes:
        rate: of the dropout.
        stream: of the dropout.
        is_relu: whether it is relu.
        follows_norm: whether batch normalization applies it, and multiplies the gradient by the slope.
    """

    rate: float = 0.0
    stream: int = 0
    follows_norm: bool = False

    def __init__(self, named: NamedLayer, x: FeatureMap, n: int) -> None:
        """Create the buffers of slopes."""
        super().__init__(named, x, n)
        name = self.layer.type
        self._function = function_for(ACTIVATION_FUNCTIONS, name, "numpy", "reference")
        self.is_relu: bool = name == "relu"
        self._scales = name in PIECEWISE_LINEAR
        self._slope = empty_array(x.matrix.size, x.matrix.dtype).reshape(x.matrix.shape)
        self._scratch = np.empty(x.matrix.shape, bool)

    def forward(self, tile: TilePass) -> None:
        """Replace the values by activation and dropout, and keep the slope."""
        if self.is_relu and not tile.training:
            values = self.x.wide(tile.n)
            if not self.follows_norm:
                np.maximum(values, np.zeros(values.shape[1], values.dtype), out=values)  # faster than with a number
            return
        x = self.x.rows(tile.n)
        slope, scratch = self._slope[: len(x)], self._scratch[: len(x)]
        if self.is_relu and not self.follows_norm:
            tile.passes.relu(x, slope, scratch)
        elif not self.is_relu:
            self._function(x, x, slope, scratch)
            if self._scales:
                np.multiply(x, slope, out=x)
        mask = _mask(self, tile)
        if mask is not None:
            np.multiply(slope, mask, out=slope)
            np.multiply(x, mask, out=x)

    def backward(self, tile: TilePass) -> None:
        """Multiply the gradient by the slope."""
        if not self.follows_norm:
            grad = self.x.rows(tile.n)
            np.multiply(grad, self._slope[: len(grad)], out=grad)

    def buffers(self, n: int) -> tuple[Matrix, NDArray[Any]]:
        """Return the slopes of n images and as many booleans, both (H W, n C)."""
        shape, n_rows = (self.x.n_pixels, -1), self.x.n_pixels * n
        return self._slope[:n_rows].reshape(shape), self._scratch[:n_rows].reshape(shape)


@kernel_of(Dropout)
class MapDropoutKernel(MapKernel):
    """Dropout (D1, D2) that does not follow an activation, in place."""

    rate: float = 0.0
    stream: int = 0

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
        self.x = x
        self.values: FeatureMap = x
        self.kept: FeatureMap = FeatureMap(x.shape, n, x.matrix.dtype)

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

    A tile stores its values minus its own mean. So variances are sums of small numbers, and values
    far from 0 lose no digits.

    Attributes:
        means: (T, C) mean of each tile.
        squares: (T, C) sum of the squared deviations of each tile from its mean.
        offsets: (T, C) mean of each tile minus that of the batch.
        root: (C,) standard deviation of the batch, with epsilon.
        grads: (T, 2, C) each tile's part of the gradients of scale and bias.
        grad: (2, C) these gradients.
        n: number of pixels of the batch.
    """

    def __init__(self, place: LayerArrays, channels: int, dtype: Any) -> None:
        """Create sums without room for tiles."""
        assert place.learned is not None
        assert place.statistics is not None
        self.learned: int = place.learned
        self._statistics, self._dtype = place.statistics, dtype
        self.root: Matrix = np.empty(channels, dtype)
        self.grad: Matrix = np.empty((2, channels), dtype)
        self.n: int = 0
        self._counts = np.empty((0, 1))

    def begin(self, counts: list[int]) -> None:
        """Make room for the sums of tiles with these numbers of pixels."""
        self.n = sum(counts)
        if self._counts[:, 0].tolist() != counts:
            self._counts = np.array(counts, np.float64)[:, None]
            shape, channels = (len(counts), len(self.root)), len(self.root)
            self.means: NDArray[Any]
            self.squares: NDArray[Any]
            self.offsets: NDArray[Any]
            self.means, self.squares, self.offsets = (np.empty(shape, self._dtype) for _ in range(3))
            self.grads: NDArray[Any] = np.empty((len(counts), 2, channels), self._dtype)

    def combine(self, arrays: NetworkArrays) -> None:
        """Compute mean and deviation of the batch (B1, B2), and update the running statistics (B6)."""
        counts, n = self._counts, self.n
        mean = (counts * self.means).sum(axis=0) / n
        offsets = self.means - mean
        variance = (self.squares.sum(axis=0, dtype=np.float64) + (counts * offsets**2).sum(axis=0)) / n
        self.offsets[:] = offsets
        self.root[:] = np.sqrt(variance + EPSILON)
        unbiased = variance * (n / max(n - 1, 1))
        for kept, of_batch in zip(arrays.statistics[self._statistics], (mean, unbiased), strict=True):
            kept[:] = RUNNING_DECAY * kept + (1 - RUNNING_DECAY) * of_batch

    def use_running(self, arrays: NetworkArrays) -> None:
        """Use the running statistics, as in prediction, where values are not centered."""
        mean, variance = arrays.statistics[self._statistics]
        self.begin([1])
        np.negative(mean, out=self.offsets[0])
        np.sqrt(variance + variance.dtype.type(EPSILON), out=self.root)

    def combine_gradients(self, out: NetworkArrays) -> None:
        """Add up the gradients of scale and bias (B4)."""
        np.add.reduce(self.grads, axis=0, out=self.grad)
        out.learned[self.learned][:] = self.grad


@kernel_of(BatchNorm)
class MapBatchNormKernel(MapKernel):
    """Batch normalization of each channel (B1 to B6).

    Attributes:
        sums: of all tiles.
        number: of this tile.
        relu: the next layer if it is a relu, which is computed in the same passes, or None.
    """

    sums: BatchNormSums
    number: int
    relu: MapActivationKernel | None = None

    def __init__(self, named: NamedLayer, x: FeatureMap, n: int) -> None:
        """Create the map of outputs."""
        super().__init__(named, x, n)
        self.values: FeatureMap = output_map(named, x, n)

    def measure(self, tile: TilePass) -> None:
        """Compute mean and sum of squared deviations of a tile, and subtract the mean."""
        x, wide, mean = self.x.rows(tile.n), self.x.wide(tile.n), self.sums.means[self.number]
        sum_rows(x, mean)
        np.divide(mean, len(x), out=mean)
        sums = tile.scratch.take("sums", wide.shape[1])
        tile.passes.center(wide, np.tile(mean, tile.n), sums, tile.scratch.take("pixels", *wide.shape))
        np.add.reduce(sums.reshape(tile.n, -1), axis=0, out=self.sums.squares[self.number])

    def forward(self, tile: TilePass) -> None:
        """Compute B2 and B3."""
        gamma, bias = tile.arrays.learned[self.sums.learned]
        factor = gamma / self.sums.root
        shift = factor * self.sums.offsets[self.number] + bias
        x, values = self.x.wide(tile.n), self.values.wide(tile.n)
        factor, shift = np.tile(factor, tile.n), np.tile(shift, tile.n)
        if self.relu is None:
            tile.passes.normalize(x, factor, shift, values)
        elif tile.training:
            tile.passes.normalize_relu(x, factor, shift, values, *self.relu.buffers(tile.n))
        else:
            tile.passes.normalize_positive(x, factor, shift, values)

    def measure_gradients(self, tile: TilePass) -> None:
        """Compute a tile's part of the gradients of scale and bias (B4)."""
        x, grad, sums = self.x.wide(tile.n), self.values.wide(tile.n), self.sums
        slope = None if self.relu is None else self.relu.buffers(tile.n)[0]
        of_images = tile.scratch.take("sums", 2, x.shape[1])
        tile.passes.gradient_sums(x, grad, slope, of_images, tile.scratch.take("pixels", *x.shape))
        np.add.reduce(of_images.reshape(2, tile.n, -1), axis=1, out=sums.grads[self.number])
        grad_gamma, grad_bias = sums.grads[self.number]
        grad_gamma += sums.offsets[self.number] * grad_bias
        np.divide(grad_gamma, sums.root, out=grad_gamma)

    def backward(self, tile: TilePass) -> None:
        """Compute B5."""
        if not self.needs_gradient:
            return
        x, grad, sums = self.x.wide(tile.n), self.values.wide(tile.n), self.sums
        factor = tile.arrays.learned[sums.learned][0] / sums.root
        grad_gamma, grad_bias = sums.grad / sums.n
        of_x = -factor * grad_gamma / sums.root
        shift = of_x * sums.offsets[self.number] - factor * grad_bias
        tile.passes.normalize_gradient(x, grad, *(np.tile(one, tile.n) for one in (of_x, factor, shift)))


class ImageTile:
    """The layers of the image part with buffers for a tile.

    Args:
        part: the layers, with the places of their parameters.
        shape: (H, W, C) of the samples.
        n: maximum number of images.
        dtype: float type.
        shared: what all tiles share, by the position of the layer.
        number: of the tile in the batch.
    """

    def __init__(
        self,
        part: Sequence[tuple[NamedLayer, LayerArrays]],
        shape: Shape,
        n: int,
        dtype: Any,
        shared: Mapping[int, BatchNormSums | ConvolutionWeights],
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
                of_layer = shared.get(position)
                if isinstance(of_layer, ConvolutionWeights):
                    kernel = convolution_kernel(named, x, n, of_layer)
                else:
                    kernel = kernel_for(KERNELS, type(layer), "numpy", "reference")(named, x, n)
                kernel.needs_gradient = learns
                self.kernels.append(kernel)
            if isinstance(kernel, (MapActivationKernel, MapDropoutKernel)) and isinstance(layer, Dropout):
                kernel.rate, kernel.stream = layer.rate, named.stream
            if isinstance(kernel, MapResidualKernel):
                kernel.shortcut = shortcuts[position]
            if isinstance(kernel, MapBatchNormKernel):
                assert isinstance(of_layer, BatchNormSums)
                kernel.sums, kernel.number = of_layer, number
            before = self.kernels[-2]
            if isinstance(before, MapBatchNormKernel) and isinstance(kernel, MapActivationKernel) and kernel.is_relu:
                before.relu, kernel.follows_norm = kernel, True
            learns = learns or place.learned is not None
        self.kernels[-1].needs_gradient = learns
        barriers = [position for position, kernel in enumerate(self.kernels) if isinstance(kernel, MapBatchNormKernel)]
        bounds = [0, *barriers, len(self.kernels)]
        # The layers between two barriers. The layer after a barrier is the first of its stage.
        self.stages: list[list[MapKernel]] = [self.kernels[start:stop] for start, stop in pairwise(bounds)]


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
        n_map_values: values of all feature maps of an image.
        draw_mask: draws dropout masks; set before a pass of training.
        passes: the passes over maps.
    """

    draw_mask: DrawMask | None = None
    passes: Passes = Passes()

    def __init__(self, architecture: Architecture, layout: ParameterLayout, rows: int, dtype: Any) -> None:
        """Allocate the features. Tiles are allocated when they are needed."""
        named_layers = architecture.named_layers
        ends = [isinstance(named.layer, (Flatten, GlobalAveragePool)) for named in named_layers]
        self.n_layers: int = ends.index(True) + 1
        self._part = list(zip(named_layers, layout.layers, strict=True))[: self.n_layers]
        last = self._part[-1][0]
        self.values: Matrix = np.empty((rows, *last.layer.output_shape(last.input_shape)), dtype)
        self._shape, self._dtype = architecture.input_shape, dtype
        self._tile_images = images_of_tile(architecture)
        self.n_map_values: int = sum(math.prod(named.layer.output_shape(named.input_shape)) for named, _ in self._part)
        self._sums = {
            position: BatchNormSums(place, named.input_shape[2], dtype)
            for position, (named, place) in enumerate(self._part)
            if isinstance(named.layer, BatchNorm)
        }
        self._weights = {
            position: convolution_weights(named, place, dtype)
            for position, (named, place) in enumerate(self._part)
            if isinstance(named.layer, Conv2d)
        }
        self._tiles: list[ImageTile] = []
        self._scratch: dict[int, Scratch] = {}

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
            shared: dict[int, BatchNormSums | ConvolutionWeights] = {**self._sums, **self._weights}
            self._tiles.append(ImageTile(self._part, self._shape, self._tile_images, self._dtype, shared, number))
        for weights in self._weights.values():
            weights.prepare(arrays)
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
        for weights in self._weights.values():
            weights.begin_gradients(n_sums)

        def backward(stage: int, first: int, worker: int) -> None:
            for number in range(first, len(tiles), n_sums):
                tile, stages = self._tile_pass(arrays, cuts[number], True, worker), tiles[number].stages
                tile.partial_sum, tile.is_first = first, number == first
                if stage + 1 < len(stages):
                    _barrier(stages[stage + 1]).backward(tile)
                for kernel in reversed(stages[stage]):
                    if isinstance(kernel, MapBatchNormKernel):
                        kernel.measure_gradients(tile)
                    else:
                        kernel.backward(tile)

        for stage in reversed(range(len(tiles[0].stages))):
            run([partial(backward, stage, first) for first in range(n_sums)])
            if stage:
                _barrier(tiles[0].stages[stage]).sums.combine_gradients(out)

        def finish(weights: ConvolutionWeights, _: int) -> None:
            weights.finish_gradients(n_sums, out)

        run([partial(finish, weights) for weights in reversed(self._weights.values())])  # the last ones are the largest

    def _tile_pass(self, arrays: NetworkArrays, rows: slice, training: bool, worker: int) -> TilePass:
        scratch = self._scratch.setdefault(worker, Scratch(self._dtype))
        n, x, features = rows.stop - rows.start, self.x[rows], self.values[rows]
        return TilePass(arrays, n, rows, x, features, training, self.draw_mask, scratch, self.passes, worker)


def _barrier(stage: Sequence[MapKernel]) -> MapBatchNormKernel:
    """Return the batch normalization that a stage, which is not the first, begins with."""
    assert isinstance(stage[0], MapBatchNormKernel)
    return stage[0]


def images_of_tile(architecture: Architecture) -> int:
    """Return the maximum number of images of a tile, from the sizes of the network alone."""
    sizes = [math.prod(named.input_shape) for named in architecture.named_layers if len(named.input_shape) == 3]
    return max(1, min(MAX_TILE_IMAGES, TILE_VALUES // max(sizes)))
