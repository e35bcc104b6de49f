"""Convolutions of the numpy engine.

Three kernels compute the same sums (docs/derivation.md, K1 to K5):

- `WinogradKernel`, for kernels of 3 x 3 pixels with stride 1: 4 x 4 outputs from 6 x 6 pixels by 36
  products of matrices instead of 144 (`network.winograd`).
- `DepthwiseKernel`, for one input channel per group: a product and a sum for each weight.
- `WindowKernel`, for all others: the windows as the columns of a matrix, and one product.

Source: Chellapilla, Puri and Simard, High performance convolutional neural networks for document
processing (2006).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.batches import even_slices
from chalknet.engines.numpy_kernels import sum_rows
from chalknet.engines.numpy_maps import FeatureMap, MapKernel, TilePass, output_map
from chalknet.engines.numpy_passes import window
from chalknet.engines.parameter_layout import LayerArrays, Matrix, NetworkArrays
from chalknet.network.architecture import NamedLayer
from chalknet.network.layer import Shape
from chalknet.network.winograd import (
    READ,
    SIZE,
    n_blocks,
    transform_output_gradient,
    transform_pixels,
    transform_products,
    transform_weights,
    weight_gradient,
)

# Values of a matrix of windows, at most; 2 MiB in float32.
MAX_WINDOW_VALUES = 2**19
# Transformed values of some rows of blocks, at most; 512 KiB in float32.
MAX_BLOCK_VALUES = 2**17


class ConvolutionWeights:
    """The weights of a convolution as its kernels read them, and the partial sums of their gradient.

    There is one object for all tiles of a workspace.

    Args:
        named: the layer.
        place: where its parameters are stored.
        dtype: float type.

    Attributes:
        matrix: (R S I, O) the weights, and a last row of biases if there are any.
        n_weights: R S I.
    """

    def __init__(self, named: NamedLayer, place: LayerArrays, dtype: Any) -> None:
        """Create an object without weights; `prepare` sets them."""
        assert place.learned is not None
        self.layer: Any = named.layer
        self.n_weights: int = place.n_weights
        self.n_channels: int = named.input_shape[2]
        self.matrix: Matrix
        self._index, self._dtype = place.learned, dtype
        self._partial_sums: list[Matrix] = []
        self._of_tile: dict[int, Matrix] = {}

    @property
    def n_rows(self) -> int:
        """Number of rows of the gradient that the tiles compute."""
        return self.n_weights + (1 if self.layer.bias else 0)

    @property
    def bias(self) -> Matrix | None:
        """The biases (O,), or None."""
        return self.matrix[-1] if self.layer.bias else None

    def prepare(self, arrays: NetworkArrays) -> None:
        """Use these parameters from now on."""
        self.matrix = arrays.learned[self._index]

    def begin_gradients(self, n_sums: int) -> None:
        """Make room for this many partial sums."""
        while len(self._partial_sums) < n_sums:
            self._partial_sums.append(np.empty((self.n_rows, self.layer.filters), self._dtype))

    def gradient_of(self, tile: TilePass) -> Matrix:
        """Return the matrix that a tile has to write its gradient to, before it calls `add_gradient_of`."""
        if tile.is_first:
            return self._partial_sums[tile.partial_sum]
        if tile.worker not in self._of_tile:
            self._of_tile[tile.worker] = np.empty((self.n_rows, self.layer.filters), self._dtype)
        return self._of_tile[tile.worker]

    def add_gradient_of(self, tile: TilePass) -> None:
        """Add the gradient of a tile to its partial sum."""
        if not tile.is_first:
            total = self._partial_sums[tile.partial_sum]
            np.add(total, self._of_tile[tile.worker], out=total)

    def finish_gradients(self, n_sums: int, out: NetworkArrays) -> None:
        """Write the sum of the partial sums to out."""
        self._write(self._total(n_sums), out.learned[self._index])

    def _total(self, n_sums: int) -> Matrix:
        total, *others = self._partial_sums[:n_sums]
        for one in others:
            np.add(total, one, out=total)
        return total

    def _write(self, total: Matrix, grad_matrix: Matrix) -> None:
        np.copyto(grad_matrix, total)


class ConvolutionKernel(MapKernel):
    """A convolution on a tile.

    Args:
        named: the layer.
        x: the map that it reads.
        n: maximum number of images.
        weights: shared with the other tiles.
    """

    def __init__(self, named: NamedLayer, x: FeatureMap, n: int, weights: Any) -> None:
        """Create the map of outputs."""
        super().__init__(named, x, n)
        self.values: FeatureMap = output_map(named, x, n)
        self.weights = weights


class WindowKernel(ConvolutionKernel):
    """A convolution as one product (K2): each column of a matrix (R S I, pixels) is a window.

    The matrix is filled for some rows of the image at a time. A last row of ones multiplies the bias.
    The input is copied with the channels first, so that the rows of the matrix are long runs of memory.
    """

    def forward(self, tile: TilePass) -> None:
        """Compute K2."""
        by_channel, values = self._by_channel(tile), self.values.rows(tile.n)
        for rows in self._row_blocks(tile.n):
            at = self._pixels(rows, tile.n)
            for group, outputs in enumerate(self._outputs_of_groups()):
                windows = self._windows(tile, by_channel, rows, group)
                np.matmul(windows.T, self.weights.matrix[:, outputs], out=values[at, outputs])

    def backward(self, tile: TilePass) -> None:
        """Compute K3, K4 and K5."""
        by_channel, grad = self._by_channel(tile), self.values.rows(tile.n)
        grad_matrix = self.weights.gradient_of(tile)
        for number, rows in enumerate(self._row_blocks(tile.n)):
            at = self._pixels(rows, tile.n)
            for group, outputs in enumerate(self._outputs_of_groups()):
                windows = self._windows(tile, by_channel, rows, group)
                if number:
                    grad_matrix[:, outputs] += windows @ grad[at, outputs]
                else:
                    np.matmul(windows, grad[at, outputs], out=grad_matrix[:, outputs])
        self.weights.add_gradient_of(tile)
        if self.needs_gradient:
            self._propagate(tile)

    def _propagate(self, tile: TilePass) -> None:
        """Write the gradient of x (K5): that of every window is added to its pixels."""
        (height, width, channels), (above, left), layer = self.x.shape, self.layer.zeros, self.layer
        grad, weight, n_channels = self.values.rows(tile.n), self.weights.matrix, channels // layer.groups
        grad_x = tile.scratch.take("by_channel", channels, height + 2 * above, width + 2 * left, tile.n)
        grad_x.fill(0)
        columns = self.values.shape[1]
        for rows in self._row_blocks(tile.n):
            at, n_rows = self._pixels(rows, tile.n), rows.stop - rows.start
            for group, outputs in enumerate(self._outputs_of_groups()):
                windows = tile.scratch.take("windows", self.weights.n_weights, n_rows * columns * tile.n)
                np.matmul(weight[: self.weights.n_weights, outputs], grad[at, outputs].T, out=windows)
                grad_windows = windows.reshape(*layer.kernel, n_channels, n_rows, columns, tile.n)
                pixels = grad_x[group * n_channels : (group + 1) * n_channels, rows.start * layer.stride :]
                for row, column in np.ndindex(*layer.kernel):
                    to = _channel_window(pixels, row, column, n_rows, columns, layer.stride)
                    np.add(to, grad_windows[row, column], out=to)
        inner = grad_x[:, above : above + height, left : left + width]
        np.copyto(self.x.of(tile.n), inner.transpose(1, 2, 3, 0))

    def _by_channel(self, tile: TilePass) -> Matrix:
        """Return x with zeros around it and the channels first, (C, H, W, n)."""
        (height, width, channels), (above, left) = self.x.shape, self.layer.zeros
        inner_slices = slice(None), slice(above, above + height), slice(left, left + width)
        padded, inner = tile.scratch.bordered((channels, height + 2 * above, width + 2 * left, tile.n), inner_slices)
        np.copyto(inner, self.x.of(tile.n).transpose(3, 0, 1, 2))
        return padded

    def _row_blocks(self, n: int) -> list[slice]:
        """Return the rows of the outputs for which the matrix of windows is filled at a time."""
        rows, columns, _ = self.values.shape
        return even_slices(rows, max(1, MAX_WINDOW_VALUES // (self.weights.n_rows * columns * n)))

    def _pixels(self, rows: slice, n: int) -> slice:
        """Return where the pixels of some rows are in `values.rows(n)`."""
        width = self.values.shape[1] * n
        return slice(rows.start * width, rows.stop * width)

    def _outputs_of_groups(self) -> list[slice]:
        """Return the output channels of each group."""
        n_outputs = self.layer.filters // self.layer.groups
        return [slice(start, start + n_outputs) for start in range(0, self.layer.filters, n_outputs)]

    def _windows(self, tile: TilePass, by_channel: Matrix, rows: slice, group: int) -> Matrix:
        """Return the windows of some rows of the outputs as columns, with a row of ones if there is a bias."""
        layer, n_channels, columns = self.layer, self.x.shape[2] // self.layer.groups, self.values.shape[1]
        n_rows, n_weights = rows.stop - rows.start, self.weights.n_weights
        windows = tile.scratch.take("windows", self.weights.n_rows, n_rows * columns * tile.n)
        windows[n_weights:] = 1
        by_position = windows[:n_weights].reshape(*layer.kernel, n_channels, n_rows, columns, tile.n)
        pixels = by_channel[group * n_channels : (group + 1) * n_channels, rows.start * layer.stride :]
        for row, column in np.ndindex(*layer.kernel):
            np.copyto(by_position[row, column], _channel_window(pixels, row, column, n_rows, columns, layer.stride))
        return windows


def _channel_window(pixels: Matrix, row: int, column: int, rows: int, columns: int, stride: int) -> Matrix:
    """Return the pixels (C, H, W, n) at one position of every window, (C, rows, columns, n)."""
    down, right = row + stride * (rows - 1) + 1, column + stride * (columns - 1) + 1
    return pixels[:, row:down:stride, column:right:stride]


class DepthwiseKernel(ConvolutionKernel):
    """A convolution whose groups have one input channel each: no products of matrices, but of channels."""

    def forward(self, tile: TilePass) -> None:
        """Compute K1."""
        values, weight = self._by_multiple(self.values.of(tile.n)), self.weights.matrix
        product = tile.scratch.take("product", *values.shape)
        values[...] = 0 if self.weights.bias is None else self.weights.bias.reshape(values.shape[3:])
        for number, pixels in enumerate(self._positions(self._padded_x(tile))):
            np.multiply(pixels[..., None], weight[number].reshape(values.shape[3:]), out=product)
            np.add(values, product, out=values)

    def backward(self, tile: TilePass) -> None:
        """Compute K3, K4 and K5."""
        grad, grad_matrix = self._by_multiple(self.values.of(tile.n)), self.weights.gradient_of(tile)
        product = tile.scratch.take("product", *grad.shape)
        padded = self._padded_x(tile)
        for number, pixels in enumerate(self._positions(padded)):
            np.multiply(pixels[..., None], grad, out=product)
            sum_rows(product.reshape(-1, self.layer.filters), grad_matrix[number])
        if self.layer.bias:
            sum_rows(self.values.rows(tile.n), grad_matrix[-1])
        self.weights.add_gradient_of(tile)
        if not self.needs_gradient:
            return
        grad_padded = tile.scratch.take("by_channel", *padded.shape)
        grad_padded.fill(0)
        for number, pixels in enumerate(self._positions(grad_padded)):
            np.multiply(grad, self.weights.matrix[number].reshape(grad.shape[3:]), out=product)
            for multiple in range(product.shape[4]):
                np.add(pixels, product[..., multiple], out=pixels)
        (above, left), (height, width, _) = self.layer.zeros, self.x.shape
        np.copyto(self.x.of(tile.n), grad_padded[above : above + height, left : left + width])

    def _padded_x(self, tile: TilePass) -> Matrix:
        (above, left), (height, width, _) = self.layer.zeros, self.x.shape
        return _padded(tile, self.x, self.layer.zeros, (height + 2 * above, width + 2 * left))

    def _by_multiple(self, values: Matrix) -> Matrix:
        """Return a view (H, W, n, C, O / C) of outputs: several of each input channel."""
        return values.reshape(*values.shape[:3], self.x.shape[2], -1)

    def _positions(self, padded: Matrix) -> list[Matrix]:
        """Return the pixels at each position of all windows, (H', W', n, C)."""
        rows, columns, _ = self.values.shape
        high, wide = self.layer.kernel
        return [window(padded, row, column, rows, columns, self.layer.stride) for row, column in np.ndindex(high, wide)]


class WinogradWeights(ConvolutionWeights):
    """The weights of a 3 x 3 convolution after the transformation G.

    Attributes:
        transformed: (36, I, O).
        turned: (36, O, I), the kernels turned by 180 degrees, with which the gradient of the outputs is convolved.
    """

    def prepare(self, arrays: NetworkArrays) -> None:
        """Transform these parameters."""
        super().prepare(arrays)
        kernels = self.matrix[: self.n_weights].reshape(3, 3, self.n_channels, -1)
        self.transformed: NDArray[Any] = transform_weights(kernels)

    def begin_gradients(self, n_sums: int) -> None:
        """Make room for this many partial sums, and turn the kernels."""
        super().begin_gradients(n_sums)
        kernels = self.matrix[: self.n_weights].reshape(3, 3, self.n_channels, -1)
        self.turned: NDArray[Any] = transform_weights(kernels[::-1, ::-1].transpose(0, 1, 3, 2))

    @property
    def n_rows(self) -> int:
        """Number of rows of the gradient that the tiles compute: that of `transformed`, and of the biases."""
        return READ**2 * self.n_channels + (1 if self.layer.bias else 0)

    def _write(self, total: Matrix, grad_matrix: Matrix) -> None:
        """Write the gradient of the weights from that of the transformed ones."""
        weight_gradient(total[: READ**2 * self.n_channels], grad_matrix[: self.n_weights])
        if self.layer.bias:
            np.copyto(grad_matrix[-1], total[-1])


class WinogradKernel(ConvolutionKernel):
    """A 3 x 3 convolution with stride 1, by blocks of 4 x 4 outputs (`network.winograd`).

    The transformed values of some rows of blocks at a time stay in the cache.
    """

    def forward(self, tile: TilePass) -> None:
        """Compute the outputs of all blocks."""
        self._convolve(tile, self.x, self.values, self.layer.zeros, self.weights.transformed, self.weights.bias)

    def backward(self, tile: TilePass) -> None:
        """Compute the gradients of weights and biases (K3, K4), and that of x as a convolution (K5)."""
        grad_weights, n_channels = self.weights.gradient_of(tile), self.weights.n_channels
        self._sum_products(tile, grad_weights[: READ**2 * n_channels].reshape(READ**2, n_channels, -1))
        if self.layer.bias:
            sum_rows(self.values.rows(tile.n), grad_weights[-1])
        self.weights.add_gradient_of(tile)
        if self.needs_gradient:
            above, left = self.layer.zeros
            self._convolve(tile, self.values, self.x, (2 - above, 2 - left), self.weights.turned, None)

    def _convolve(
        self, tile: TilePass, x: FeatureMap, to: FeatureMap, zeros: Shape, weights: Matrix, bias: Matrix | None
    ) -> None:
        """Write the convolution of a map, with zeros around it, to another map."""
        (rows, columns, _), (_, n_in, n_out), scratch = to.shape, weights.shape, tile.scratch
        high, wide = n_blocks(rows, columns)
        padded = _padded(tile, x, zeros, (SIZE * high + 2, SIZE * wide + 2))
        values = to.of(tile.n)
        for part in _row_blocks(high, wide * tile.n * max(n_in, n_out)):
            blocks = scratch.take("blocks", READ, READ, part.stop - part.start, wide, tile.n, n_in)
            transform_pixels(padded, SIZE * part.start, blocks, scratch.take)
            products = scratch.take("products", *blocks.shape[:-1], n_out)
            np.matmul(blocks.reshape(READ**2, -1, n_in), weights, out=products.reshape(READ**2, -1, n_out))
            if bias is not None:
                np.add(products[1, 1], bias, out=products[1, 1])  # the second column of A adds it to each output
            here = values[SIZE * part.start : SIZE * part.stop]
            if columns % SIZE == 0 and len(here) % SIZE == 0:
                transform_products(products, here, scratch.take)
            else:
                whole = scratch.take("whole", SIZE * (part.stop - part.start), SIZE * wide, tile.n, n_out)
                transform_products(products, whole, scratch.take)
                np.copyto(here, whole[: len(here), :columns])

    def _sum_products(self, tile: TilePass, out: Matrix) -> None:
        """Write the gradient of the transformed weights, (36, I, O): sums over all blocks."""
        (rows, columns, n_out), n_in, scratch = self.values.shape, self.x.shape[2], tile.scratch
        high, wide = n_blocks(rows, columns)
        padded = _padded(tile, self.x, self.layer.zeros, (SIZE * high + 2, SIZE * wide + 2))
        grad = _padded(tile, self.values, (0, 0), (SIZE * high, SIZE * wide))
        for part in _row_blocks(high, wide * tile.n * max(n_in, n_out)):
            blocks = scratch.take("blocks", READ, READ, part.stop - part.start, wide, tile.n, n_in)
            transform_pixels(padded, SIZE * part.start, blocks, scratch.take)
            products = scratch.take("products", *blocks.shape[:-1], n_out)
            transform_output_gradient(grad, (SIZE * part.start, 0), products, scratch.take)
            left, right = blocks.reshape(READ**2, -1, n_in), products.reshape(READ**2, -1, n_out)
            total = scratch.take("total", *out.shape) if part.start else out
            np.matmul(left.transpose(0, 2, 1), right, out=total)
            if part.start:
                np.add(out, total, out=out)


def _padded(tile: TilePass, x: FeatureMap, zeros: Shape, size: Shape) -> Matrix:
    """Return a map (height, width, n, C) with zeros around it."""
    (height, width, channels), (above, left) = x.shape, zeros
    if (height, width) == size:
        return x.of(tile.n)
    inner_slices = slice(above, above + height), slice(left, left + width)
    padded, inner = tile.scratch.bordered((*size, tile.n, channels), inner_slices)
    np.copyto(inner, x.of(tile.n))
    return padded


def _row_blocks(high: int, row: int) -> list[slice]:
    """Return the rows of blocks that are transformed at a time, for blocks with this many values in a row."""
    return even_slices(high, max(1, MAX_BLOCK_VALUES // (READ**2 * row)))


def convolution_weights(named: NamedLayer, place: LayerArrays, dtype: Any) -> ConvolutionWeights:
    """Return the weights of a convolution in the form that its kernel needs."""
    return (WinogradWeights if _is_winograd(named) else ConvolutionWeights)(named, place, dtype)


def convolution_kernel(named: NamedLayer, x: FeatureMap, n: int, weights: ConvolutionWeights) -> ConvolutionKernel:
    """Return the kernel that is the fastest for a convolution."""
    layer: Any = named.layer
    if _is_winograd(named):
        return WinogradKernel(named, x, n, weights)
    is_depthwise = 1 < layer.groups == named.input_shape[2]
    return (DepthwiseKernel if is_depthwise else WindowKernel)(named, x, n, weights)


def _is_winograd(named: NamedLayer) -> bool:
    layer: Any = named.layer
    has_blocks: bool = layer.has_blocks(named.input_shape)
    return has_blocks
