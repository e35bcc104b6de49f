"""The layers of the numpy engine: one kernel class per layer type, with buffers for a tile.

A network is a sequence of groups (`Workspace`). A group has one buffer of values. Its first kernel,
the source, writes the buffer: it is a dense layer, or copies the samples if another layer comes
first. The layers up to the next dense layer are in-place kernels that change the buffer. In the
backward pass the same buffer holds the gradient of the values that it held before.

`numpy_workspace` builds the groups, `numpy_embedding_kernels` has the embeddings of numbers, and
`numpy_images` the layers of images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.kernels import PIECEWISE_LINEAR, T, function_for, registered
from chalknet.engines.numpy_passes import Passes
from chalknet.engines.parameter_layout import LayerArrays, Matrix, NetworkArrays
from chalknet.network.activation import Activation
from chalknet.network.batch_norm import EPSILON, RUNNING_DECAY, BatchNorm
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.network.gelu import GELU_CUBE, GELU_SCALE
from chalknet.network.layer import Layer
from chalknet.network.leaky_relu import NEGATIVE_SLOPE
from chalknet.network.parametric_activation import ParametricActivation
from chalknet.network.residual import Residual
from chalknet.network.scale import Scale
from chalknet.network.selu import SELU_ALPHA, SELU_SCALE
from chalknet.network.smooth_clip import CLIP_BOUND

ALL = slice(None)  # all rows or columns


# Values of a product up to which dot is faster than matmul.
MAX_DOT_VALUES = 2**14
# OpenBLAS multiplies without copying the factors first if a product has at most this many
# multiplications. Larger products with a short side take up to twice as long.
MAX_SMALL_PRODUCT = 1_000_000
# Values of a weight from which a dense layer makes small products of it, and the most samples of a batch
# for which these take less time.
MIN_SPLIT_VALUES = 2**18
MAX_SPLIT_SAMPLES = 64
# Rows of a weight in one of these products.
SPLIT_ROWS = 32
# Ones of each float type, as many as were needed so far.
_ONES: dict[Any, Matrix] = {}


def sum_rows(matrix: Matrix, out: Matrix) -> None:
    """Write the sum of the rows of a matrix to out: a product with ones, twice as fast as a sum."""
    n = len(matrix)
    ones = _ONES.get(matrix.dtype)
    if ones is None or len(ones) < n:
        ones = _ONES[matrix.dtype] = np.ones(n, matrix.dtype)
    np.dot(ones[:n], matrix, out=out)


def multiply(a: Matrix, b: Matrix, out: Matrix) -> None:
    """Write the product of two matrices to out.

    Both functions call the same routine of the BLAS. dot takes half a microsecond less, which counts in small networks,
    but it sets the result to 0 first, and needs a contiguous result.
    """
    if out.size <= MAX_DOT_VALUES and out.flags.c_contiguous:
        np.dot(a, b, out=out)
    else:
        np.matmul(a, b, out=out)


class SourceKernel:
    """The first kernel of a group, which writes the group's values.

    Attributes:
        values: (rows, width) outputs; in the backward pass their gradient.
        x: what it reads: the samples (rows, I), with a last column of ones if it takes them, or the
            values of the previous group.
        takes_ones: whether x has a last column of ones if it reads the samples.
        splits_columns: whether threads may compute different columns.
        passes: the passes over the values.
    """

    passes: Passes = Passes()
    takes_ones = False
    splits_columns: ClassVar[bool] = True
    values: Matrix
    x: Matrix

    def forward(self, arrays: NetworkArrays, n: int, columns: slice) -> None:
        """Compute some columns of the values of the first n samples."""
        raise NotImplementedError

    def propagate(self, arrays: NetworkArrays, n: int, columns: slice, out: Matrix) -> None:
        """Write the gradient of some columns of its input to out, (n, columns)."""
        raise NotImplementedError

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradient of the parameters of some columns to out."""
        raise NotImplementedError


class CopyKernel(SourceKernel):
    """The source of a first group that does not begin with a dense layer: a copy of the samples."""

    def __init__(self, n_inputs: int, rows: int, dtype: Any) -> None:
        """Create a buffer for this many samples."""
        self.values: Matrix = np.empty((rows, n_inputs), dtype)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice) -> None:
        """Copy some columns of the first n samples."""
        np.copyto(self.values[:n, columns], self.x[:n, columns])

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Do nothing, because there are no parameters."""


class DenseKernel(SourceKernel):
    """A dense layer (A1 to A7).

    Args:
        layer: its specification.
        place: where its parameters are stored.
        rows: maximum number of samples at a time.
        dtype: float type of the values.
        x: the values that it reads, or None if it reads the samples.
    """

    def __init__(self, layer: Dense, place: LayerArrays, rows: int, dtype: Any, x: Matrix | None) -> None:
        """Create the buffer of values."""
        assert place.learned is not None
        self._index, self._n_weights, self._has_bias = place.learned, place.n_weights, layer.bias
        self._factor = layer.factor(place.n_weights)
        # In NTK parametrization the bias has another factor than the weights, so it is added.
        self.takes_ones: bool = x is None and not layer.is_ntk
        self._reads_samples = self.takes_ones
        if x is not None:
            self.x = x
        self.values: Matrix = np.empty((rows, layer.units), dtype)
        self._scale = np.array(self._factor, dtype)
        self._parameters, self._gradients = _DenseViews(), _DenseViews()
        splits = x is not None and place.n_weights * layer.units >= MIN_SPLIT_VALUES
        self._most_split = min(MAX_SPLIT_SAMPLES, MAX_SMALL_PRODUCT // (SPLIT_ROWS * layer.units)) if splits else 0
        # The gradient with units as rows, of batches so small that `propagate` makes small products.
        self._grad_by_unit = np.empty(layer.units * min(rows, self._most_split), dtype)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice) -> None:
        """Compute A1. If it reads the samples, their column of ones multiplies the bias."""
        matrix, out = arrays.learned[self._index], self.values[:n, columns]
        if self._reads_samples:
            multiply(self._samples(n), matrix if columns is ALL else matrix[:, columns], out)
            return
        weight, bias = self._parameters.of(matrix, self._n_weights, columns)
        multiply(self.x[:n], weight, out)
        if self._factor != 1 and self._has_bias:
            self.passes.scale_and_add(out, self._scale, bias)
        elif self._factor != 1:
            np.multiply(out, self._scale, out=out)
        elif self._has_bias:
            np.add(out, bias, out=out)

    def propagate(self, arrays: NetworkArrays, n: int, columns: slice, out: Matrix) -> None:
        """Write the gradient of its input (A2), after `gradients` of all columns."""
        weight, _ = self._parameters.of(arrays.learned[self._index], self._n_weights, ALL)
        weight = weight if columns is ALL else weight[columns]
        n_split = len(weight) // SPLIT_ROWS * SPLIT_ROWS if n <= self._most_split else 0
        if n_split:
            blocks = weight[:n_split].reshape(-1, SPLIT_ROWS, weight.shape[1])
            by_input = np.matmul(blocks, self._grad_by_unit[: weight.shape[1] * n].reshape(-1, n))
            np.copyto(out[:, :n_split], by_input.reshape(n_split, n).T)
        if n_split < len(weight):
            multiply(self.values[:n], weight[n_split:].T, out[:, n_split:] if n_split else out)
        if self._factor != 1:
            np.multiply(out, self._scale, out=out)

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradient of weight (A3) and bias (A4)."""
        grad, grad_matrix = self.values[:n, columns], out.learned[self._index]
        if self._reads_samples:
            multiply(self._samples(n).T, grad, grad_matrix if columns is ALL else grad_matrix[:, columns])
            return
        grad_weight, grad_bias = self._gradients.of(grad_matrix, self._n_weights, columns)
        n_split = len(grad_weight) // SPLIT_ROWS * SPLIT_ROWS if n <= self._most_split else 0
        if n_split:
            blocks = self.x[:n, :n_split].reshape(n, -1, SPLIT_ROWS).transpose(1, 2, 0)
            np.matmul(blocks, grad, out=grad_weight[:n_split].reshape(-1, SPLIT_ROWS, grad.shape[1]))
        if n_split < len(grad_weight):
            multiply(self.x[:n, n_split:].T, grad, grad_weight[n_split:])
        if n <= self._most_split:
            np.copyto(self._grad_by_unit[: self.values.shape[1] * n].reshape(-1, n)[columns], grad.T)
        if self._factor != 1:
            np.multiply(grad_weight, self._scale, out=grad_weight)
        if self._has_bias:
            sum_rows(grad, grad_bias)

    def _samples(self, n: int) -> Matrix:
        """Return the samples with the column of ones, or without it if there is no bias."""
        return self.x[:n] if self._has_bias else self.x[:n, :-1]


class _DenseViews:
    """The weight and the last row of a dense layer's matrix, as views that are kept while they are asked for again."""

    def __init__(self) -> None:
        self._last: tuple[Matrix | None, slice, tuple[Matrix, Matrix]] | None = None

    def of(self, matrix: Matrix, n_weights: int, columns: slice) -> tuple[Matrix, Matrix]:
        """Return views of some columns. Threads that ask for different columns do not disturb each other."""
        last = self._last
        if last is None or last[0] is not matrix or last[1] is not columns:
            last = self._last = matrix, columns, (matrix[:n_weights, columns], matrix[-1, columns])
        return last[2]


class OutputKernel(DenseKernel):
    """The last dense layer. With few classes, the product of A3 is faster with classes as rows."""

    def __init__(self, layer: Dense, place: LayerArrays, rows: int, dtype: Any, x: Matrix | None) -> None:
        """Create the buffers of values and of the gradient by class."""
        super().__init__(layer, place, rows, dtype, x)
        n_rows = place.n_weights + (1 if self._reads_samples else 0)
        self._grad_by_class = np.empty((layer.units, n_rows), dtype)
        self._most_split = 0

    def gradients(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradient of weight and bias, for all columns."""
        grad, grad_matrix, by_class = self.values[:n], out.learned[self._index], self._grad_by_class
        multiply(grad.T, self.x[:n], by_class)
        if self._factor != 1:
            np.multiply(by_class, self._scale, out=by_class)
        np.copyto(grad_matrix[: by_class.shape[1]], by_class.T)
        if not self._reads_samples:
            sum_rows(grad, grad_matrix[-1])


class InPlaceKernel:
    """A layer that changes the values of its group in place.

    `forward` replaces the values by the layer's outputs, and `backward` replaces their gradient by
    that of the layer's inputs. A kernel keeps what `backward` needs in its own buffers. Only the
    first n rows of all buffers are valid.

    Args:
        layer: its specification.
        place: where its parameters are stored.
        values: (rows, width), the group's buffer.

    Attributes:
        splits_columns: whether threads may compute different columns. If False, `columns` is always
            all of them.
        rate: of dropout, 0 in other kernels.
        stream: number of the random stream of dropout.
        mask: (rows, width) dropout mask of the current samples, or None without dropout.
        passes: the passes over the values.
    """

    splits_columns: ClassVar[bool] = True
    passes: Passes = Passes()

    def __init__(self, layer: Layer, place: LayerArrays, values: Matrix) -> None:
        """Create a kernel that works on this buffer."""
        del layer, place
        self.values = values
        self.rate: float = 0.0
        self.stream: int = 0
        self.mask: Matrix | None = None

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Replace some columns of the values of the first n samples by the outputs."""
        raise NotImplementedError

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Replace the gradient of some columns by that of the inputs.

        The gradient of the parameters is written to out.
        """
        raise NotImplementedError


KERNELS: dict[type[Layer], type[InPlaceKernel]] = {}


def kernel_of(layer: type[Layer]) -> Callable[[T], T]:
    """Return a decorator that registers a kernel for a layer type."""
    return registered(KERNELS, layer)


@kernel_of(Dropout)
class DropoutKernel(InPlaceKernel):
    """Dropout (D1, D2) that does not follow an activation."""

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Multiply the values by the mask in training."""
        if training and self.mask is not None:
            np.multiply(self.values[:n, columns], self.mask[:n, columns], out=self.values[:n, columns])

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Multiply the gradient by the mask."""
        self.forward(arrays, n, columns, True)


@kernel_of(BatchNorm)
class BatchNormKernel(InPlaceKernel):
    """Batch normalization (B1 to B6). In training the first n samples are the whole batch."""

    def __init__(self, layer: Layer, place: LayerArrays, values: Matrix) -> None:
        """Create the buffers of normalized values and deviations."""
        super().__init__(layer, place, values)
        assert place.learned is not None
        assert place.statistics is not None
        self._learned, self._statistics = place.learned, place.statistics
        self._z = np.empty_like(values)
        self._root = np.empty(values.shape[1], values.dtype)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Normalize by the batch in training, and by the running statistics otherwise."""
        h, z, root = self.values[:n, columns], self._z[:n, columns], self._root[columns]
        running = arrays.statistics[self._statistics][:, columns]
        gamma, bias = arrays.learned[self._learned][:, columns]
        mean, variance = np.add.reduce(h, axis=0) / n if training else running[0], running[1]
        np.subtract(h, mean, out=z)
        if training:
            variance = np.add.reduce(np.multiply(z, z, out=h), axis=0) / n
            unbiased = variance * (n / max(n - 1, 1))
            for kept, of_batch in zip(running, (mean, unbiased), strict=True):
                np.multiply(kept, RUNNING_DECAY, out=kept)
                np.add(kept, (1 - RUNNING_DECAY) * of_batch, out=kept)
        np.sqrt(variance + h.dtype.type(EPSILON), out=root)
        np.divide(z, root, out=z)
        np.multiply(z, gamma, out=h)
        np.add(h, bias, out=h)

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Replace the gradient by that of the inputs, and write those of scale and bias."""
        grad, z, root = self.values[:n, columns], self._z[:n, columns], self._root[columns]
        grad_bias = np.add.reduce(grad, axis=0)
        grad_gamma = np.einsum("ij,ij->j", grad, z)
        grad_learned = out.learned[self._learned]
        grad_learned[0, columns], grad_learned[1, columns] = grad_gamma, grad_bias
        np.multiply(z, grad_gamma / n, out=z)
        np.subtract(grad, z, out=grad)
        np.subtract(grad, grad_bias / n, out=grad)
        np.multiply(grad, arrays.learned[self._learned][0, columns] / root, out=grad)


@kernel_of(Scale)
class ScaleKernel(InPlaceKernel):
    """A learned factor for each column (C1 to C3)."""

    def __init__(self, layer: Layer, place: LayerArrays, values: Matrix) -> None:
        """Create the buffer of inputs."""
        super().__init__(layer, place, values)
        assert place.learned is not None
        self._index = place.learned
        self._x = np.empty_like(values)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Multiply the values by the factors, and keep the values in training."""
        h = self.values[:n, columns]
        if training:
            np.copyto(self._x[:n, columns], h)
        np.multiply(h, arrays.learned[self._index][0, columns], out=h)

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradient of the factors, and multiply that of the values by the factors."""
        grad, x = self.values[:n, columns], self._x[:n, columns]
        np.multiply(x, grad, out=x)
        sum_rows(x, out.learned[self._index][0, columns])
        np.multiply(grad, arrays.learned[self._index][0, columns], out=grad)


@kernel_of(Activation)
class ActivationKernel(InPlaceKernel):
    """An activation and the dropout after it.

    The slope is the derivative times the dropout mask.
    """

    def __init__(self, layer: Layer, place: LayerArrays, values: Matrix) -> None:
        """Create the buffer of slopes."""
        super().__init__(layer, place, values)
        self._function = function_for(ACTIVATION_FUNCTIONS, layer.type, "numpy", "reference")
        self._scales, self._is_relu = layer.type in PIECEWISE_LINEAR, layer.type == "relu"
        self._slope = np.empty_like(values)
        self._scratch = np.empty(values.shape, bool)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Replace the values by activation and dropout, and keep the slope."""
        h, slope = self.values[:n, columns], self._slope[:n, columns]
        drops = training and self.mask is not None
        if self._is_relu and not drops:
            self.passes.relu(h, slope, self._scratch[:n, columns])
            return
        self._function(h, h, slope, self._scratch[:n, columns])
        if training and self.mask is not None:
            mask = self.mask[:n, columns]
            np.multiply(slope, mask, out=slope)
            if not self._scales:
                np.multiply(h, mask, out=h)
        if self._scales:
            np.multiply(h, slope, out=h)

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Multiply the gradient by the slope."""
        grad = self.values[:n, columns]
        np.multiply(grad, self._slope[:n, columns], out=grad)


class ShortcutKernel(InPlaceKernel):
    """Keeps the values for a residual connection, and adds the gradient that comes back through it.

    It stands in front of the layers that the connection skips.
    """

    def __init__(self, values: Matrix) -> None:
        """Create the buffer of what is kept: values, in the backward pass their gradient."""
        self.values = values
        self.rate: float = 0.0
        self.stream: int = 0
        self.mask: Matrix | None = None
        self.kept: Matrix = np.empty_like(values)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Keep the values."""
        np.copyto(self.kept[:n, columns], self.values[:n, columns])

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Add the gradient of the shortcut."""
        np.add(self.values[:n, columns], self.kept[:n, columns], out=self.values[:n, columns])


@kernel_of(Residual)
class ResidualKernel(InPlaceKernel):
    """A residual connection of flat samples (Y1 to Y3).

    Attributes:
        shortcut: the kernel that keeps the values to add.
    """

    shortcut: ShortcutKernel

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Add the shortcut."""
        np.add(self.values[:n, columns], self.shortcut.kept[:n, columns], out=self.values[:n, columns])

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Give the gradient to the shortcut too."""
        np.copyto(self.shortcut.kept[:n, columns], self.values[:n, columns])


@kernel_of(ParametricActivation)
class ParametricActivationKernel(InPlaceKernel):
    """A parametric activation (R19 to R21)."""

    def __init__(self, layer: ParametricActivation, place: LayerArrays, values: Matrix) -> None:
        """Create the buffers of slopes and of differences f(x) - x."""
        super().__init__(layer, place, values)
        assert place.learned is not None
        self._index = place.learned
        self._function = function_for(ACTIVATION_FUNCTIONS, layer.activation, "numpy", "reference")
        self._scales = layer.activation in PIECEWISE_LINEAR
        self._slope, self._difference = np.empty_like(values), np.empty_like(values)
        self._scratch = np.empty(values.shape, bool)

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Replace the values by x + alpha (f(x) - x), and keep slope and difference."""
        x, slope, difference = self.values[:n, columns], self._slope[:n, columns], self._difference[:n, columns]
        alpha = arrays.learned[self._index][0, columns]
        self._function(x, difference, slope, self._scratch[:n, columns])
        if self._scales:
            self.passes.parametric_lines(x, difference, slope, alpha)
        elif training:
            self.passes.parametric(x, difference, slope, alpha)
        else:
            np.subtract(difference, x, out=difference)
            np.add(x, np.multiply(difference, alpha), out=x)

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Write the gradient of alpha, and multiply that of the values by the slope."""
        grad, difference = self.values[:n, columns], self._difference[:n, columns]
        np.multiply(difference, grad, out=difference)
        sum_rows(difference, out.learned[self._index][0, columns])
        np.multiply(grad, self._slope[:n, columns], out=grad)


# A function of (x, value, slope, scratch) that writes the derivative at x to slope, and the value to
# value, which may be x itself. A piecewise linear activation writes no value, because the value is
# x * slope. scratch is a bool array that may be overwritten.
#
# Functions use the passes that are fast in NumPy: exp and tanh have vector instructions in float32,
# but expm1, log1p and logaddexp take nine times as long as exp, and a copy with where= takes thirty
# times as long as a product. exp may overflow, and the functions are then at their limits.
ActivationFunction = Callable[[Matrix, Matrix, Matrix, NDArray[np.bool_]], None]
ACTIVATION_FUNCTIONS: dict[str, ActivationFunction] = {}


def activation_of(name: str) -> Callable[[T], T]:
    """Return a decorator that registers the function of an activation."""
    return registered(ACTIVATION_FUNCTIONS, name)


# From here on tanh(log(1 + e^x)) rounds to 1 in float64 and in float32.
MISH_LIMIT = 20.0


@activation_of("relu")
def _relu(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    # The caller multiplies by this slope. In NumPy a comparison and a product by 1 or 0 are faster
    # than maximum, and the slope is needed anyway.
    np.greater(x, 0, out=scratch)
    np.copyto(slope, scratch)


@activation_of("leaky_relu")
def _leaky_relu(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    np.greater(x, 0, out=scratch)
    np.multiply(scratch, x.dtype.type(1 - NEGATIVE_SLOPE), out=slope)
    np.add(slope, NEGATIVE_SLOPE, out=slope)


@activation_of("identity")
def _identity(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    slope.fill(1)


@activation_of("tanh")
def _tanh(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    np.tanh(x, out=value)
    np.multiply(value, value, out=slope)
    np.subtract(1, slope, out=slope)


@activation_of("gelu")
def _gelu(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    # (1 + t) / 2 of R7 is the sigmoid s of 2 u, and R8 is s + x s (1 - s) 2 u'.
    squared, s = np.multiply(x, x), slope
    np.multiply(squared, 2 * GELU_SCALE * GELU_CUBE, out=s)
    np.add(s, 2 * GELU_SCALE, out=s)
    np.multiply(s, x, out=s)
    _logistic(s, s)
    np.multiply(squared, 6 * GELU_SCALE * GELU_CUBE, out=squared)
    np.add(squared, 2 * GELU_SCALE, out=squared)
    np.multiply(x, s, out=value)
    np.multiply(squared, value, out=squared)
    rest = np.subtract(1, s)
    np.multiply(squared, rest, out=squared)
    np.add(s, squared, out=slope)


def _logistic(x: Matrix, out: Matrix) -> None:
    """Write 1 / (1 + e^-x), which is R9, to out, which may be x."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.divide(1, out, out=out)


@activation_of("sigmoid")
def _sigmoid(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    _logistic(x, value)
    np.subtract(1, value, out=slope)
    np.multiply(slope, value, out=slope)


@activation_of("smooth_clip")
def _smooth_clip(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    ratio = np.multiply(x, 1 / CLIP_BOUND)
    np.multiply(ratio, ratio, out=ratio)
    np.add(ratio, 1, out=ratio)
    np.sqrt(ratio, out=ratio)
    np.divide(1, ratio, out=ratio)
    np.multiply(x, ratio, out=value)
    np.multiply(ratio, ratio, out=slope)
    np.multiply(slope, ratio, out=slope)


@activation_of("silu")
def _silu(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    _logistic(x, slope)
    rest = np.subtract(1, slope)
    np.multiply(x, slope, out=value)
    np.multiply(rest, value, out=rest)
    np.add(slope, rest, out=slope)


@activation_of("mish")
def _mish(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    # With u = e^x and n = u (u + 2), tanh(log(1 + u)) is t = n / (n + 2), and the derivative R14 is
    # t + 4 x (n - u) / (n + 2)^2.
    u = np.minimum(x, MISH_LIMIT, out=slope)
    np.exp(u, out=u)
    n = np.add(u, 2)
    np.multiply(n, u, out=n)
    np.subtract(n, u, out=slope)
    below = np.add(n, 2)
    np.divide(n, below, out=n)
    np.divide(slope, below, out=slope)
    np.divide(slope, below, out=slope)
    np.multiply(slope, x, out=slope)
    np.multiply(slope, 4, out=slope)
    np.add(slope, n, out=slope)
    np.multiply(x, n, out=value)


@activation_of("elu")
def _elu(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    _exponential_part(x, value, slope)
    np.subtract(slope, 1, out=slope)  # 0 where x > 0, so that the sum is x there
    np.add(value, slope, out=value)
    np.add(slope, 1, out=slope)


@activation_of("selu")
def _selu(x: Matrix, value: Matrix, slope: Matrix, scratch: NDArray[np.bool_]) -> None:
    np.greater(x, 0, out=scratch)
    _exponential_part(x, value, slope)
    np.subtract(slope, 1, out=slope)
    np.multiply(slope, SELU_SCALE * SELU_ALPHA, out=slope)
    np.multiply(value, SELU_SCALE, out=value)
    np.add(value, slope, out=value)
    np.add(slope, SELU_SCALE * SELU_ALPHA, out=slope)
    # Where x > 0, the slope is now c1 c2 instead of c1.
    np.add(slope, np.multiply(scratch, slope.dtype.type(SELU_SCALE - SELU_SCALE * SELU_ALPHA)), out=slope)


def _exponential_part(x: Matrix, value: Matrix, slope: Matrix) -> None:
    """Write e^x where x < 0, else 1, to slope, and the larger of x and 0 to value, which may be x.

    e^x - 1 differs from expm1 by half a unit in the last place of 1.
    """
    np.minimum(x, 0, out=slope)
    np.subtract(x, slope, out=value)
    np.exp(slope, out=slope)


class Group:
    """A source kernel and the in-place kernels that follow it.

    Attributes:
        source: the kernel that writes the group's values.
        kernels: the kernels that change them, in the order of the forward pass.
        next: the group that reads the values, or None for the last group.
    """

    def __init__(self, source: SourceKernel) -> None:
        """Create a group without in-place kernels."""
        self.source = source
        self.kernels: list[InPlaceKernel] = []
        self.next: Group | None = None

    @property
    def splits_columns(self) -> bool:
        """Whether threads may compute different columns."""
        return self.source.splits_columns and all(kernel.splits_columns for kernel in self.kernels)

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.source.values.shape[1])

    def forward(self, arrays: NetworkArrays, n: int, columns: slice, training: bool) -> None:
        """Compute some columns of the values of the first n samples."""
        self.source.forward(arrays, n, columns)
        for kernel in self.kernels:
            kernel.forward(arrays, n, columns, training)

    def backward(self, arrays: NetworkArrays, n: int, columns: slice, out: NetworkArrays) -> None:
        """Compute the gradients of some columns of the values and of the group's parameters.

        The gradient of the values comes from the next group. The last group holds it already: it is
        the gradient of the logits.
        """
        if self.next is not None:
            self.next.source.propagate(arrays, n, columns, self.source.values[:n, columns])
        for kernel in reversed(self.kernels):
            kernel.backward(arrays, n, columns, out)
        self.source.gradients(arrays, n, columns, out)
