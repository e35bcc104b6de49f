"""The embeddings in the numpy engine: source kernels that write their input, and embeddings of its columns.

Intermediate values of embeddings of numbers are (C, K, n), so that NumPy loops over the samples and BLAS
multiplies each column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chalknet.engines.kernels import T, registered
from chalknet.engines.numpy_kernels import SourceKernel
from chalknet.engines.parameter_layout import LayerArrays, Matrix, NetworkArrays
from chalknet.network.category_embedding import CategoryEmbedding, group_places, kept_inputs
from chalknet.network.column_embedding import ColumnEmbedding
from chalknet.network.layer import Layer, Shape
from chalknet.network.periodic_embedding import PeriodicEmbedding
from chalknet.network.piecewise_linear_embedding import PiecewiseLinearEmbedding


class NumberEmbeddingKernel(SourceKernel):
    """An embedding of each of the first columns, after the input itself.

    A subclass computes K values of each column of a sample, and a product of them with the weights.

    Args:
        layer: its specification.
        place: where its parameters are stored: in rows of C columns.
        input_shape: shape of one sample before the layer.
        rows: maximum number of samples at a time.
        dtype: float type of the values.
        x: the values that it reads, or None if it reads the samples.
    """

    splits_columns = False

    def __init__(
        self,
        layer: Any,
        place: LayerArrays,
        input_shape: Shape,
        rows: int,
        dtype: Any,
        x: Matrix | None,
    ) -> None:
        """Create the buffers of values and of embeddings by column."""
        assert isinstance(layer, ColumnEmbedding)
        assert place.learned is not None
        self._index, self._n_inputs = place.learned, input_shape[0]
        self._n_columns, self._n_outputs = layer.n_columns(input_shape), layer.outputs
        if x is not None:
            self.x = x
        self.values: Matrix = np.empty((rows, *layer.output_shape(input_shape)), dtype)
        self._by_output = np.empty(self._n_columns * layer.outputs * rows, dtype)

    def _write(self, weight: Matrix, between: Matrix, bias: Matrix, n: int) -> None:
        """Write the inputs and weight (C, J, K) times between (C, K, n), plus bias (C, J), to the values."""
        values, embedded = self.values[:n], self._embedded(n)
        np.copyto(values[:, : self._n_inputs], self.x[:n])
        np.matmul(weight, between, out=embedded)
        # One matrix, because a sum of arrays with three axes in different orders takes three times as long.
        np.add(embedded.reshape(-1, n).T, bias.reshape(-1), out=values[:, self._n_inputs :])

    def _write_gradients(self, between: Matrix, grad_weight: Matrix, grad_bias: Matrix, n: int) -> Matrix:
        """Write the gradients of weight and bias, and return that of the embeddings, (C, J, n)."""
        grad = self._embedded(n)
        np.copyto(grad.reshape(-1, n), self.values[:n, self._n_inputs :].T)
        grad_weight[...] = np.matmul(grad, between.transpose(0, 2, 1))
        grad_bias[...] = np.add.reduce(grad, axis=2)
        return grad

    def _embedded(self, n: int) -> Matrix:
        """Return the buffer of the embeddings without bias, or of their gradient, (C, J, n)."""
        return self._by_output[: self._n_columns * self._n_outputs * n].reshape(self._n_columns, self._n_outputs, n)

    def _view(self, values: Matrix, n: int) -> Matrix:
        """Return a view (C, K, n) of a buffer of C times K times the maximum number of samples."""
        k = len(values) // (len(self.values) * self._n_columns)
        return values[: self._n_columns * k * n].reshape(self._n_columns, k, n)


EMBEDDING_KERNELS: dict[type[Layer], Any] = {}


def embedding_of(layer: type[Layer]) -> Callable[[T], T]:
    """Return a decorator that registers the source kernel of an embedding."""
    return registered(EMBEDDING_KERNELS, layer)


@embedding_of(PeriodicEmbedding)
class PeriodicEmbeddingKernel(NumberEmbeddingKernel):
    """A periodic embedding (F1 to F6)."""

    def __init__(self, layer: Any, place: LayerArrays, input_shape: Shape, rows: int, dtype: Any, x: Any) -> None:
        """Create the buffers of angles and cosines."""
        super().__init__(layer, place, input_shape, rows, dtype, x)
        self._n_frequencies = layer.frequencies
        # For each embedded column, its values and a row of ones.
        self._x_and_ones = np.empty(2 * self._n_columns * rows, dtype)
        # The angles; in the backward pass first their sines, then the gradient of the angles.
        self._angles = np.empty(self._n_columns * layer.frequencies * rows, dtype)
        self._cosines = np.empty_like(self._angles)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice) -> None:
        """Compute F1 and F2, and copy the inputs."""
        weight, frequency, phase, bias = self._parameters(arrays)
        x_and_ones = self._view(self._x_and_ones, n)
        angles, cosines = self._view(self._angles, n), self._view(self._cosines, n)
        np.copyto(x_and_ones[:, 0], self.x[:n, : self._n_columns].T)
        x_and_ones[:, 1] = 1
        # A product with (x, 1) takes half the time of a product and a sum that broadcast.
        np.matmul(np.stack([2 * math.pi * frequency, phase], axis=2), x_and_ones, out=angles)
        np.cos(angles, out=cosines)
        self._write(weight, cosines, bias, n)

    def propagate(self, arrays: NetworkArrays, n: int, columns: slice, out: Matrix) -> None:
        """Write the gradient of its input (F6); `gradients` has left that of the angles."""
        start, stop, _ = columns.indices(self._n_inputs)
        np.copyto(out, self.values[:n, start:stop])
        stop = min(stop, self._n_columns)
        if start < stop:
            frequency = 2 * math.pi * self._parameters(arrays)[1][start:stop, None]
            through = np.matmul(frequency, self._view(self._angles, n)[start:stop])
            out[:, : stop - start] += through[:, 0].T

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradients of all parameters (F3 to F5)."""
        weight, *_ = self._parameters(arrays)
        grad_weight, grad_frequency, grad_phase, grad_bias = self._parameters(out)
        angles, cosines = self._view(self._angles, n), self._view(self._cosines, n)
        x_and_ones = self._view(self._x_and_ones, n)
        grad = self._write_gradients(cosines, grad_weight, grad_bias, n)
        np.sin(angles, out=angles)
        np.matmul(-weight.transpose(0, 2, 1), grad, out=cosines)
        np.multiply(angles, cosines, out=angles)
        grad_phase[...] = np.matmul(angles, x_and_ones[0, 1])
        np.multiply(np.matmul(angles, x_and_ones[:, 0, :, None])[:, :, 0], 2 * math.pi, out=grad_frequency)

    def _parameters(self, arrays: NetworkArrays) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """Return views of weight (C, J, K), frequency and phase (C, K), and bias (C, J)."""
        matrix, n_columns = arrays.learned[self._index], self._n_columns
        n_weights, k = self._n_outputs * self._n_frequencies, self._n_frequencies
        weight = matrix[:n_weights].reshape(self._n_outputs, k, n_columns).transpose(2, 0, 1)
        frequency, phase = matrix[n_weights : n_weights + k].T, matrix[n_weights + k : n_weights + 2 * k].T
        return weight, frequency, phase, matrix[n_weights + 2 * k :].T


@embedding_of(PiecewiseLinearEmbedding)
class PiecewiseLinearEmbeddingKernel(NumberEmbeddingKernel):
    """A piecewise-linear embedding (V1 to V5)."""

    def __init__(self, layer: Any, place: LayerArrays, input_shape: Shape, rows: int, dtype: Any, x: Any) -> None:
        """Create the buffers of inputs by column and of encodings."""
        super().__init__(layer, place, input_shape, rows, dtype, x)
        assert place.statistics is not None
        self._statistics, self._n_bins = place.statistics, layer.bins
        self._by_column = np.empty(self._n_columns * rows, dtype)
        # The encodings; after `gradients` the gradient of the encodings.
        self._encoded = np.empty(self._n_columns * layer.bins * rows, dtype)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice) -> None:
        """Compute V1 to V3, and copy the inputs."""
        x, encoded, edges = self._view(self._by_column, n), self._view(self._encoded, n), self._edges(arrays)
        np.copyto(x[:, 0], self.x[:n, : self._n_columns].T)
        np.subtract(x, edges[:, :-1], out=encoded)
        np.divide(encoded, edges[:, 1:] - edges[:, :-1], out=encoded)
        np.maximum(encoded[:, 1:], 0, out=encoded[:, 1:])
        np.minimum(encoded[:, :-1], 1, out=encoded[:, :-1])
        weight, bias = self._parameters(arrays)
        self._write(weight, encoded, bias, n)

    def propagate(self, arrays: NetworkArrays, n: int, columns: slice, out: Matrix) -> None:
        """Write the gradient of its input (V5); `gradients` has left that of the encodings."""
        start, stop, _ = columns.indices(self._n_inputs)
        np.copyto(out, self.values[:n, start:stop])
        stop = min(stop, self._n_columns)
        if start < stop:
            x, edges = self._view(self._by_column, n)[start:stop], self._edges(arrays)[start:stop]
            own = (x >= edges[:, 1:-1]).sum(axis=1, keepdims=True)  # the bin of each x
            grad = np.take_along_axis(self._view(self._encoded, n)[start:stop], own, axis=1)[:, 0]
            out[:, : stop - start] += (grad / np.take_along_axis(np.diff(edges, axis=1)[:, :, 0], own[:, 0], axis=1)).T

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradients of weight and bias (V4)."""
        encoded = self._view(self._encoded, n)
        grad = self._write_gradients(encoded, *self._parameters(out), n)
        np.matmul(self._parameters(arrays)[0].transpose(0, 2, 1), grad, out=encoded)

    def _parameters(self, arrays: NetworkArrays) -> tuple[Matrix, Matrix]:
        """Return views of weight (C, J, T) and bias (C, J)."""
        matrix, n_weights = arrays.learned[self._index], self._n_outputs * self._n_bins
        weight = matrix[:n_weights].reshape(self._n_outputs, self._n_bins, self._n_columns).transpose(2, 0, 1)
        return weight, matrix[n_weights:].T

    def _edges(self, arrays: NetworkArrays) -> Matrix:
        """Return a view (C, T + 1, 1) of the edges."""
        return arrays.statistics[self._statistics].T[:, :, None]


@embedding_of(CategoryEmbedding)
class CategoryEmbeddingKernel(SourceKernel):
    """An embedding of categories (Z1 to Z3): a small product for each group of inputs.

    To look for the category of a sample among its inputs takes several times as long as this product,
    because a column has at most 256 categories.

    Args:
        layer: its specification.
        place: where its weight is stored: a row for each input of a group.
        input_shape: shape of one sample before the layer.
        rows: maximum number of samples at a time.
        dtype: float type of the values.
        x: the values that it reads, or None if it reads the samples.
    """

    splits_columns = False

    def __init__(self, layer: Any, place: LayerArrays, input_shape: Shape, rows: int, dtype: Any, x: Any) -> None:
        """Create the buffers of values and of the gradient of the input."""
        assert isinstance(layer, CategoryEmbedding)
        assert place.learned is not None
        self._index, n_inputs = place.learned, input_shape[0]
        self._kept = kept_inputs(layer.groups, n_inputs)
        self._places = list(group_places(layer.groups, n_inputs, layer.outputs))
        if x is not None:
            self.x = x
        self.values: Matrix = np.empty((rows, *layer.output_shape(input_shape)), dtype)
        self._grad = np.empty((rows if x is not None else 0, n_inputs), dtype)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice) -> None:
        """Copy the inputs that are in no group, and compute Z1."""
        x, weight, values = self.x, arrays.learned[self._index], self.values
        for source, target in self._kept:
            np.copyto(values[:n, target], x[:n, source])
        for inputs, weights, outputs in self._places:
            np.matmul(x[:n, inputs], weight[weights], out=values[:n, outputs])

    def propagate(self, arrays: NetworkArrays, n: int, columns: slice, out: Matrix) -> None:
        """Write the gradient of some columns of its input (Z3)."""
        grad, weight, values = self._grad[:n], arrays.learned[self._index], self.values
        for source, target in self._kept:
            np.copyto(grad[:, source], values[:n, target])
        for inputs, weights, outputs in self._places:
            np.matmul(values[:n, outputs], weight[weights].T, out=grad[:, inputs])
        np.copyto(out, grad[:, columns])

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradient of the weight (Z2)."""
        for inputs, weights, outputs in self._places:
            np.matmul(self.x[:n, inputs].T, self.values[:n, outputs], out=out.learned[self._index][weights])
