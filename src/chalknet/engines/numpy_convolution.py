"""Convolutions of the numpy engine.

Three kernels compute the same sums (docs/derivation.md, K1 to K5):

- `WinogradKernel`, for kernels of 3 x 3 pixels with stride 1: 2 x 2 outputs from 4 x 4 pixels by 16
  products of matrices instead of 36.
- `DepthwiseKernel`, for one input channel per group: a product and a sum for each weight.
- `WindowKernel`, for all others: the windows as the columns of a matrix, and one product.

Source: Winograd, Arithmetic complexity of computations (1980); Lavin and Gray, Fast algorithms for
convolutional neural networks (CVPR 2016), sections 4.1 and 4.2; Chellapilla, Puri and Simard, High
performance convolutional neural networks for document processing (2006).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.batches import even_slices
from chalknet.engines.numpy_kernels import MAX_SMALL_PRODUCT, sum_rows
from chalknet.engines.numpy_maps import FeatureMap, MapKernel, TilePass, output_map, window
from chalknet.engines.parameter_layout import LayerArrays, Matrix, NetworkArrays
from chalknet.network.architecture import NamedLayer

# Values of a matrix of windows, at most; 2 MiB in float32.
MAX_WINDOW_VALUES = 2**19
# Input channels from which the transformations take less time than the multiplications they save.
MIN_WINOGRAD_CHANNELS = 8


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

    def padded(self, tile: TilePass, height: int, width: int) -> Matrix:
        """Return x with zeros around it, (height, width, n, C)."""
        (above, left), shape = self.layer.zeros, self.x.shape
        if self.x.shape[:2] == (height, width):
            return self.x.of(tile.n)
        inner_slices = slice(above, above + shape[0]), slice(left, left + shape[1])
        padded, inner = tile.scratch.bordered((height, width, tile.n, shape[2]), inner_slices)
        np.copyto(inner, self.x.of(tile.n))
        return padded


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
        return self.padded(tile, height + 2 * above, width + 2 * left)

    def _by_multiple(self, values: Matrix) -> Matrix:
        """Return a view (H, W, n, C, O / C) of outputs: several of each input channel."""
        return values.reshape(*values.shape[:3], self.x.shape[2], -1)

    def _positions(self, padded: Matrix) -> list[Matrix]:
        """Return the pixels at each position of all windows, (H', W', n, C)."""
        rows, columns, _ = self.values.shape
        high, wide = self.layer.kernel
        return [window(padded, row, column, rows, columns, self.layer.stride) for row, column in np.ndindex(high, wide)]


# For four pixels d in a row and three weights w, the two outputs are A m, where m are the products of the
# elements of B d and of G w:
#   B = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]],  A = [[1, 1, 1, 0], [0, 1, -1, 1]]
# In two dimensions, first the columns of pixels and weights are transformed, and then their rows.
TRANSFORM_WEIGHTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # G


class WinogradWeights(ConvolutionWeights):
    """The weights of a 3 x 3 convolution after the transformation G.

    Attributes:
        transformed: (16, I, O).
        transposed: (16, O, I), the same.
    """

    def prepare(self, arrays: NetworkArrays) -> None:
        """Transform these parameters."""
        super().prepare(arrays)
        g = TRANSFORM_WEIGHTS.astype(self._dtype)
        vertical = np.matmul(g, self.matrix[: self.n_weights].reshape(3, -1))
        both = np.matmul(g, vertical.reshape(4, 3, -1))
        self.transformed: NDArray[Any] = both.reshape(16, self.n_channels, -1)
        self.transposed: NDArray[Any] = np.ascontiguousarray(self.transformed.transpose(0, 2, 1))

    @property
    def n_rows(self) -> int:
        """Number of rows of the gradient that the tiles compute: that of `transformed`, and of the biases."""
        return 16 * self.n_channels + (1 if self.layer.bias else 0)

    def _write(self, total: Matrix, grad_matrix: Matrix) -> None:
        """Write the gradient of the weights from that of the transformed ones."""
        g = np.ascontiguousarray(TRANSFORM_WEIGHTS.T.astype(self._dtype))
        horizontal = np.matmul(g, total[: 16 * self.n_channels].reshape(4, 4, -1))
        np.matmul(g, horizontal.reshape(4, -1), out=grad_matrix[: self.n_weights].reshape(3, -1))
        if self.layer.bias:
            np.copyto(grad_matrix[-1], total[-1])


class WinogradKernel(ConvolutionKernel):
    """A 3 x 3 convolution with stride 1, by blocks of 2 x 2 outputs.

    A block reads 4 x 4 pixels d. Its outputs are A ((G w G') * (B d B')) A', with the product * of
    elements summed over the input channels. Arrays of blocks are (4, 4, W / 2, H / 2, n, C): the first
    two axes are the rows and columns within a block after the transformation.
    """

    def forward(self, tile: TilePass) -> None:
        """Compute the outputs of all blocks."""
        products = self._take(tile, "products", self.layer.filters)
        _multiply(self._transformed_x(tile), self.weights.transformed, products)
        if self.weights.bias is not None:
            # A adds up the first three rows, so this adds the bias to each output.
            np.add(products[1, 1], self.weights.bias, out=products[1, 1])
        outputs = self._outputs(tile)
        tile.passes.outputs(products, outputs)
        if outputs.shape != self.values.of(tile.n).shape:
            rows, columns, _ = self.values.shape
            np.copyto(self.values.of(tile.n), outputs[:rows, :columns])

    def backward(self, tile: TilePass) -> None:
        """Compute the gradients by the transposed matrices in reverse order."""
        transformed, grad = self._transformed_x(tile), self._take(tile, "products", self.layer.filters)
        outputs = self._outputs(tile)
        if outputs.shape != self.values.of(tile.n).shape:
            rows, columns, _ = self.values.shape
            outputs[rows:], outputs[:, columns:] = 0, 0
            np.copyto(outputs[:rows, :columns], self.values.of(tile.n))
        tile.passes.spread(outputs, grad, tile.scratch)
        grad_weights, n_channels = self.weights.gradient_of(tile), self.weights.n_channels
        _sum_products(transformed, grad, grad_weights[: 16 * n_channels].reshape(16, n_channels, -1))
        if self.layer.bias:
            sum_rows(self.values.rows(tile.n), grad_weights[-1])
        self.weights.add_gradient_of(tile)
        if self.needs_gradient:
            _multiply(grad, self.weights.transposed, transformed)
            high, wide = self._n_blocks
            grad_pixels = tile.scratch.take("pixels", 2 * high + 2, 2 * wide + 2, tile.n, n_channels)
            tile.passes.overlap(transformed, grad_pixels, tile.scratch)
            (above, left), (height, width, _) = self.layer.zeros, self.x.shape
            np.copyto(self.x.of(tile.n), grad_pixels[above : above + height, left : left + width])

    def _transformed_x(self, tile: TilePass) -> Matrix:
        """Return B d B' of all blocks, (4, 4, W / 2, H / 2, n, C)."""
        high, wide = self._n_blocks
        blocks = self._take(tile, "blocks", self.x.shape[2])
        tile.passes.blocks(self.padded(tile, 2 * high + 2, 2 * wide + 2), blocks, tile.scratch)
        return blocks

    @property
    def _n_blocks(self) -> tuple[int, int]:
        """Number of rows and columns of blocks."""
        return (self.values.shape[0] + 1) // 2, (self.values.shape[1] + 1) // 2

    def _take(self, tile: TilePass, name: str, channels: int) -> Matrix:
        """Return an array of blocks."""
        high, wide = self._n_blocks
        return tile.scratch.take(name, 4, 4, wide, high, tile.n, channels)

    def _outputs(self, tile: TilePass) -> Matrix:
        """Return the values, or room for outputs of an even height and width."""
        high, wide = self._n_blocks
        if self.values.shape[:2] == (2 * high, 2 * wide):
            return self.values.of(tile.n)
        return tile.scratch.take("whole", 2 * high, 2 * wide, tile.n, self.layer.filters)


def _multiply(blocks: Matrix, weights: Matrix, out: Matrix) -> None:
    """Multiply blocks (4, 4, W, H, n, I) by weights (16, I, O) in products small enough for the fast routine."""
    n_blocks, (_, n_in, n_out) = blocks[0, 0, ..., 0].size, weights.shape
    parts = _n_parts(n_blocks, n_in * n_out)
    np.matmul(blocks.reshape(16, parts, -1, n_in), weights[:, None], out=out.reshape(16, parts, -1, n_out))


def _sum_products(blocks: Matrix, grad: Matrix, out: Matrix) -> None:
    """Write the sums over blocks of products, (16, I, O), of blocks (4, 4, W, H, n, I) and grad (..., O)."""
    n_blocks, (_, n_in, n_out) = blocks[0, 0, ..., 0].size, out.shape
    parts = _n_parts(n_blocks, n_in * n_out)
    left, right = blocks.reshape(16, parts, -1, n_in).transpose(0, 1, 3, 2), grad.reshape(16, parts, -1, n_out)
    if parts == 1:
        np.matmul(left[:, 0], right[:, 0], out=out)
    else:
        np.add.reduce(np.matmul(left, right), axis=1, out=out)


def _n_parts(n_rows: int, size: int) -> int:
    """Return the smallest number of equal parts of some rows for which a product is small."""
    parts = max(1, -(-n_rows * size // MAX_SMALL_PRODUCT))
    return next((one for one in range(parts, min(n_rows, 2 * parts) + 1) if n_rows % one == 0), 1)


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
    has_shape = layer.kernel == (3, 3) and layer.stride == 1 and layer.groups == 1
    return has_shape and named.input_shape[2] >= MIN_WINOGRAD_CHANNELS
