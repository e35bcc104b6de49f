"""The two-dimensional convolution and its three derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from chalknet.config import BOOLEAN, KERNEL_SIZE, MAX_KERNEL, MAX_UNITS, PADDING, SAME, integer, setting
from chalknet.errors import ConfigError, ShapeError
from chalknet.network import winograd
from chalknet.network.arrays import VALUES_AT_ONCE, FloatArray
from chalknet.network.layer import (
    BIAS,
    PREDICTION,
    WEIGHT,
    Buffers,
    Layer,
    LayerPass,
    Mode,
    OnnxGraph,
    Parameter,
    Parameters,
    Shape,
    image_size,
    l2_setting,
)
from chalknet.network.windows import COPY_WORK, add_windows, n_windows, windows

COPIED_RUN = 16  # values of a row of a window from which on they are copied as a run
# A convolution is computed by blocks if it has so many input channels, if blocks need so many times fewer products,
# and in prediction of so many images. Otherwise the transformations take longer than the products they save.
MIN_WINOGRAD_CHANNELS, MIN_WINOGRAD_GAIN, MIN_WINOGRAD_IMAGES = 8, 2, 16
MAX_BLOCK_VALUES = 2**16  # values of transformed blocks that stay in the cache
GROUP_WORK = 2**18  # the time that a group takes in addition, in multiplications


class Conv2dGradients(NamedTuple):
    """The gradients dL/dx (B, H, W, C), dL/dW (O, R, S, C / groups) and dL/db (O,)."""

    grad_x: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


def conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: int = 1,
    padding: tuple[int, int] | int = 0,
    groups: int = 1,
) -> tuple[FloatArray, Callable[[FloatArray], Conv2dGradients]]:
    """Return the products of a kernel with every window of images, plus a bias.

    The kernel is not turned around, as in all libraries for neural networks, so this is a correlation.
    Each window becomes a row of a matrix, and the convolution is a dense layer of these rows.

    h_naj     = sum over k, i of X_n,Sa+k,i W_jki + b_j              (docs/derivation.md, K1)
    h         = P W^T + b, with a window of X in each row of P       (K2)
    dL/dW_jki = sum over n, a of D_naj X_n,Sa+k,i                    (K3)
    dL/db_j   = sum over n, a of D_naj                               (K4)
    dL/dX_nti = sum over j and all a, k with Sa+k = t of D_naj W_jki (K5)

    Here X is x with zeros around it, S is the stride, a and t are positions of pixels, k is a position
    in the kernel, i a channel of x, j a channel of h, and D is dL/dh.

    Args:
        x: (B, H, W, C) float32 or float64, images with the channels last.
        weight: (O, R, S, C / groups), one kernel of R x S pixels per output channel.
        bias: (O,).
        stride: pixels between two windows, >= 1, in both directions.
        padding: rows and columns of zeros on each side of an image, >= 0; one number for both.
        groups: number of groups of channels, which divides C and O. Output channels of a group see the
            input channels of the same group only. With C groups, the convolution is depthwise.

    Returns:
        h: (B, H', W', O), with H' = (H + 2 padding - R) // stride + 1, and W' likewise.
        backward: grad_h (B, H', W', O) -> Conv2dGradients, summed over the batch.

    Raises:
        ShapeError: the shapes, stride, padding and groups do not fit together.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), sections 9.1 and 9.5; Chellapilla,
    Puri and Simard, High performance convolutional neural networks for document processing (2006).
    """
    _check_shapes(x, weight, bias, groups)
    if groups > 1:
        return _grouped(x, weight, bias, stride, padding, groups)
    n_outputs, *kernel, n_channels = weight.shape
    above, left = (padding, padding) if isinstance(padding, int) else padding
    rows, columns = n_windows(x.shape[1:3], (kernel[0], kernel[1]), stride, (above, left))
    padded = np.pad(x, ((0, 0), (above, above), (left, left), (0, 0)))
    size = kernel[0] * kernel[1] * n_channels
    patches = windows(padded, (kernel[0], kernel[1]), stride).reshape(-1, size)
    flat = weight.reshape(n_outputs, size)

    def backward(grad_h: FloatArray) -> Conv2dGradients:
        grad = grad_h.reshape(-1, n_outputs)
        grad_patches = (grad @ flat).reshape(len(x), rows, columns, *kernel, n_channels)
        grad_padded = add_windows(grad_patches, padded.shape, stride)
        return Conv2dGradients(
            grad_x=grad_padded[:, above : above + x.shape[1], left : left + x.shape[2]],
            grad_weight=(grad.T @ patches).reshape(weight.shape),
            grad_bias=grad.sum(axis=0),
        )

    return (patches @ flat.T + bias).reshape(len(x), rows, columns, n_outputs), backward


def _grouped(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int, padding: tuple[int, int] | int, groups: int
) -> tuple[FloatArray, Callable[[FloatArray], Conv2dGradients]]:
    """Return the convolution of each group of channels."""
    parts = [
        conv2d(part, kernel, start, stride, padding)
        for part, kernel, start in zip(
            np.split(x, groups, axis=3), np.split(weight, groups), np.split(bias, groups), strict=True
        )
    ]

    def backward(grad_h: FloatArray) -> Conv2dGradients:
        gradients = [through(grad) for (_, through), grad in zip(parts, np.split(grad_h, groups, axis=3), strict=True)]
        grad_x, grad_weight, grad_bias = zip(*gradients, strict=True)
        return Conv2dGradients(np.concatenate(grad_x, 3), np.concatenate(grad_weight), np.concatenate(grad_bias))

    return np.concatenate([value for value, _ in parts], axis=3), backward


def _check_shapes(x: FloatArray, weight: FloatArray, bias: FloatArray, groups: int) -> None:
    if x.ndim != 4:
        raise ShapeError(f"a convolution expects images (B, H, W, C), with the channels last, got {x.shape}.")
    if weight.ndim != 4 or bias.shape != weight.shape[:1]:
        raise ShapeError(f"weight must be (O, R, S, C / groups) and bias (O,), got {weight.shape} and {bias.shape}.")
    if groups < 1 or x.shape[3] % groups or len(weight) % groups:
        raise ShapeError(
            f"groups must divide the {x.shape[3]} channels of x and the {len(weight)} of weight, got {groups}."
        )
    if x.shape[3] != weight.shape[3] * groups:
        raise ShapeError(
            f"x has {x.shape[3]} channels, but weight {weight.shape} with {groups} groups needs "
            f"{weight.shape[3] * groups}."
        )


def _tiles(rows: int, columns: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield parts (above, below, left, right) of the windows of an image, few enough to stay in the cache.

    Args:
        rows: windows from top to bottom.
        columns: windows from left to right.
        size: values of a window.
    """
    n_windows_at_once = max(1, VALUES_AT_ONCE // size)
    high, wide = max(1, n_windows_at_once // columns), min(columns, n_windows_at_once)
    for above in range(0, rows, high):
        for left in range(0, columns, wide):
            yield above, min(above + high, rows), left, min(left + wide, columns)


def _patches(x: FloatArray, kernel: tuple[int, int], stride: int, buffers: Buffers) -> FloatArray:
    """Return the windows of images as rows (B, H' W', R S C + 1) that end with a 1, in a buffer."""
    (n, height, width, channels), (high, wide) = x.shape, kernel
    rows, columns = n_windows((height, width), kernel, stride)
    run, size = wide * channels, high * wide * channels
    name = f"windows {rows} {columns}"
    if run >= COPIED_RUN or size >= COPIED_RUN**2:
        patches = buffers.array(name, (n, rows, columns, size + 1), x.dtype, 1.0)
        every = windows(x, kernel, stride)
        for row in range(high):
            target = patches[..., row * run : (row + 1) * run].reshape(n, rows, columns, wide, channels)
            np.copyto(target, every[:, :, :, row])
        return patches.reshape(n, rows * columns, size + 1)
    # A few values at a time are slow to copy. So a value of all windows at a time is copied.
    planes = buffers.array(name, (n, size + 1, rows, columns), x.dtype, 1.0)
    for position, (row, column, channel) in enumerate(np.ndindex(high, wide, channels)):
        below, right = row + stride * rows, column + stride * columns
        np.copyto(planes[:, position], x[:, row:below:stride, column:right:stride, channel])
    return planes.reshape(n, size + 1, rows * columns).transpose(0, 2, 1)


def _depthwise(x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int, out: FloatArray) -> FloatArray:
    """Write the convolution of each channel with its kernel, weight (C, R, S), to out, and return it."""
    _, rows, columns, _ = out.shape
    out[:] = bias
    for row, column in np.ndindex(weight.shape[1:]):
        below, right = row + stride * rows, column + stride * columns
        out += x[:, row:below:stride, column:right:stride] * weight[:, row, column]
    return out


@dataclass(frozen=True)
class Conv2d(Layer):
    """A two-dimensional convolution: the same small kernels at every position of an image.

    Attributes:
        filters: O, the number of output channels.
        kernel_size: height and width of a kernel, or one number for both.
        stride: pixels between two windows, in both directions.
        padding: rows and columns of zeros on each side; "same" for (kernel_size - 1) / 2, with which a
            convolution of stride 1 does not change height and width.
        groups: number of groups of channels, which divides the channels of input and output. With as
            many groups as input channels the convolution is depthwise.
        bias: whether a bias is added. It has no effect before batch normalization.
        l2: strength of an L2 penalty on the weight of this layer (docs/derivation.md, P1), >= 0.
    """

    type = "conv2d"
    reads_images = True
    block_name = "conv"
    filters: int = setting(MISSING, integer(1, MAX_UNITS), "number of output channels")
    kernel_size: int | tuple[int, int] = setting(3, KERNEL_SIZE, "height and width of a kernel, or one number for both")
    stride: int = setting(1, integer(1, MAX_KERNEL), "pixels between two windows")
    padding: int | str = setting(SAME, PADDING, "rows and columns of zeros on each side; same: (kernel_size - 1) / 2")
    groups: int = setting(1, integer(1, MAX_UNITS), "number of groups of channels; as many as channels: depthwise")
    bias: bool = setting(True, BOOLEAN, "whether a bias is added")
    l2: float = l2_setting()
    predictor_source = '''
def conv2d(x, p):
    """The products of every kernel with every window of the images x, (N, H, W, C), plus a bias."""
    weight, stride, groups = p["weight"], p.get("stride", 1), p.get("groups", 1)
    high, wide = weight.shape[1:3]
    above, left = ((high - 1) // 2, (wide - 1) // 2) if p.get("padding", "same") == "same" else (p["padding"],) * 2
    x = np.pad(x, ((0, 0), (above, above), (left, left), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (high, wide), (1, 2))[:, ::stride, ::stride]
    parts = []
    for image, kernels in zip(np.split(windows, groups, 3), np.split(weight, groups), strict=True):
        flat = image.transpose(0, 1, 2, 4, 5, 3).reshape(*image.shape[:3], -1)
        parts.append(flat @ kernels.reshape(len(kernels), -1).T)
    h = np.concatenate(parts, axis=3)
    return h + p["bias"] if "bias" in p else h
'''

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of a kernel."""
        return (self.kernel_size, self.kernel_size) if isinstance(self.kernel_size, int) else self.kernel_size

    @property
    def zeros(self) -> tuple[int, int]:
        """Rows of zeros above and below an image, and columns of zeros to the left and to the right."""
        if isinstance(self.padding, int):
            return self.padding, self.padding
        return (self.kernel[0] - 1) // 2, (self.kernel[1] - 1) // 2

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (H', W', filters); see `Layer.output_shape`."""
        height, width, channels = image_size(self, input_shape)
        if self.padding == SAME and not all(size % 2 for size in self.kernel):
            raise ConfigError(f'layer conv2d: padding "same" needs kernels of odd size, got {self.kernel_size}.')
        for name, count in (("channels of its input", channels), ("filters", self.filters)):
            if count % self.groups:
                raise ConfigError(f"layer conv2d: groups must divide the {count} {name}, got {self.groups}.")
        try:
            rows, columns = n_windows((height, width), self.kernel, self.stride, self.zeros)
        except ShapeError as error:
            raise ConfigError(f"layer conv2d: {error}") from None
        return rows, columns, self.filters

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return weight and bias; see `Layer.parameters`."""
        *_, channels = image_size(self, input_shape)
        weight = Parameter((self.filters, *self.kernel, channels // self.groups), WEIGHT, l2=self.l2)
        return {"weight": weight} | ({"bias": Parameter((self.filters,), BIAS)} if self.bias else {})

    def fans(self, input_shape: Shape) -> tuple[int, int]:
        """Return the values of a window and the outputs of a value; see `Layer.fans`."""
        *_, channels = image_size(self, input_shape)
        n_pixels = self.kernel[0] * self.kernel[1]
        return n_pixels * channels // self.groups, n_pixels * self.filters // self.groups

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `conv2d` to x; see `Layer.forward`."""
        del mode
        weight = parameters["weight"]
        value, through = conv2d(x, weight, self._bias(parameters), self.stride, self.zeros, self.groups)

        def backward(grad_value: FloatArray) -> tuple[FloatArray, Parameters]:
            grad_x, grad_weight, grad_bias = through(grad_value)
            return grad_x, {"weight": grad_weight} | ({"bias": grad_bias} if self.bias else {})

        return LayerPass(value, backward)

    def predict(
        self,
        parameters: Mapping[str, FloatArray],
        x: FloatArray,
        buffers: Buffers,
        shortcut: FloatArray | None = None,
    ) -> FloatArray:
        """Return the products of the kernels with all windows; see `Layer.predict`.

        A call for few images computes each on its own, one for many images computes blocks (`winograd`).
        """
        del shortcut
        weight = parameters["weight"]
        if buffers.n_samples >= MIN_WINOGRAD_IMAGES and self.has_blocks(x.shape[1:]):
            return self._predict_blocks(weight, self._bias(parameters), x, buffers)
        kernel, (above, left) = self.kernel, self.zeros
        if above or left:
            height, width = x.shape[1] + 2 * above, x.shape[2] + 2 * left
            padded = buffers.array("padded", (len(x), height, width, x.shape[3]), x.dtype, 0.0)
            padded[:, above : above + x.shape[1], left : left + x.shape[2]] = x
            x = padded
        rows, columns = n_windows(x.shape[1:3], kernel, self.stride)
        out = buffers.array("out", (len(x), rows, columns, self.filters), x.dtype)
        n_channels, n_filters = weight.shape[3], self.filters // self.groups
        if n_channels == n_filters == 1 and kernel[0] * kernel[1] <= self.groups:
            return _depthwise(x, weight[..., 0], self._bias(parameters), self.stride, out)
        # Each window has a 1 as one more value, and the bias is its weight. So the product adds the bias.
        matrix = np.concatenate([weight.reshape(self.filters, -1), self._bias(parameters)[:, None]], axis=1)
        for group in range(self.groups):
            own = slice(group * n_filters, (group + 1) * n_filters)
            channels = x[..., group * n_channels : (group + 1) * n_channels]
            for above, below, left, right in _tiles(rows, columns, matrix.shape[1]):
                tile = channels[
                    :,
                    above * self.stride : (below - 1) * self.stride + kernel[0],
                    left * self.stride : (right - 1) * self.stride + kernel[1],
                ]
                patches = _patches(tile, kernel, self.stride, buffers)
                target = out[:, above:below, left:right].reshape(len(x), -1, self.filters)[..., own]
                np.matmul(patches, matrix[own].T, out=target)
        return out

    def has_blocks(self, input_shape: Shape) -> bool:
        """Return whether blocks of outputs (`winograd`) take less time than all products."""
        rows, columns, _ = self.output_shape(input_shape)
        is_small = (self.kernel, self.stride, self.groups) == ((3, 3), 1, 1) and max(self.zeros) < 3
        n_products = math.prod(winograd.n_blocks(rows, columns)) * winograd.READ**2
        has_gain = MIN_WINOGRAD_GAIN * n_products <= 9 * rows * columns
        return is_small and has_gain and input_shape[2] >= MIN_WINOGRAD_CHANNELS

    def _predict_blocks(self, weight: FloatArray, bias: FloatArray, x: FloatArray, buffers: Buffers) -> FloatArray:
        """Return the outputs of images, computed by blocks; in memory they are (H, W, B, O)."""
        (n, height, width, channels), (above, left), take = x.shape, self.zeros, buffers.take(x.dtype)
        rows, columns, n_outputs = self.output_shape(x.shape[1:])
        high, wide = winograd.n_blocks(rows, columns)
        size, read = winograd.SIZE, winograd.READ
        shape = (size * high + 2, size * wide + 2, n, channels)
        padded = buffers.array(f"padded {n}", shape, x.dtype, 0.0)
        np.copyto(padded[above : above + height, left : left + width], x.transpose(1, 2, 0, 3))
        transformed = buffers.once("weight", lambda: winograd.transform_weights(weight.transpose(1, 2, 3, 0)))
        out = take("out", size * high, size * wide, n, n_outputs)
        at_once = max(1, MAX_BLOCK_VALUES // (read**2 * wide * n * max(channels, n_outputs)))
        for start in range(0, high, at_once):
            n_high = min(at_once, high - start)
            blocks = take("blocks", read, read, n_high, wide, n, channels)
            winograd.transform_pixels(padded, size * start, blocks, take)
            products = take("products", *blocks.shape[:-1], n_outputs)
            np.matmul(blocks.reshape(read**2, -1, channels), transformed, out=products.reshape(read**2, -1, n_outputs))
            products[1, 1] += bias  # the second column of A adds it to each output
            winograd.transform_products(products, out[size * start : size * (start + n_high)], take)
        return out[:rows, :columns].transpose(2, 0, 1, 3)

    def work(self, input_shape: Shape) -> int:
        """Return the number of products, and more for the windows that are copied; see `Layer.work`."""
        rows, columns, _ = self.output_shape(input_shape)
        n_values, _ = self.fans(input_shape)
        products, copied = rows * columns * n_values * self.filters, rows * columns * n_values * self.groups
        return products + COPY_WORK * copied + GROUP_WORK * self.groups

    def _bias(self, parameters: Mapping[str, FloatArray]) -> FloatArray:
        """Return the bias, or zeros if there is none."""
        return parameters["bias"] if "bias" in parameters else np.zeros(self.filters, parameters["weight"].dtype)

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's Conv; see `Layer.to_onnx`."""
        weight = graph.transposed(parameters["weight"], (0, 3, 1, 2))
        bias = [parameters["bias"]] if self.bias else []
        settings = {"strides": [self.stride] * 2, "pads": [*self.zeros, *self.zeros], "group": self.groups}
        return graph.add("Conv", [x, weight, *bias], kernel_shape=list(self.kernel), **settings)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"convolution with {self.filters:,} filters of {self.kernel[0]} x {self.kernel[1]} pixels"

    def settings(self) -> dict[str, Any]:
        """Return filters, and other settings where they are not the default."""
        changed = {item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default}
        return {"filters": self.filters} | changed
