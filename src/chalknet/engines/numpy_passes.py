"""Passes over feature maps, by NumPy. `compiled.CompiledPasses` makes the same ones with compiled loops.

A pass writes to its arguments. Maps are matrices with a row for each pixel. The row holds the channels
of all images of a tile, and vectors have as many values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.parameter_layout import Matrix
from chalknet.network.layer import Shape

# Bytes of a cache line. NumPy's arrays start at any multiple of 16, and vector instructions that read
# across two lines take longer.
LINE_BYTES = 64


def empty_array(size: int, dtype: Any) -> Matrix:
    """Return a flat array that starts with a cache line and may hold anything."""
    n_bytes = size * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + n_bytes].view(dtype)


class Scratch:
    """Arrays of one thread that are needed within one layer only, by name."""

    def __init__(self, dtype: Any) -> None:
        """Start without arrays."""
        self._dtype = dtype
        self._arrays: dict[str, Matrix] = {}
        self._bordered: dict[Any, tuple[Matrix, Matrix]] = {}

    def bordered(self, shape: Shape, inner: tuple[slice, ...]) -> tuple[Matrix, Matrix]:
        """Return an array of this shape with zeros outside of some slices, and the view of these slices."""
        key = (shape, *((one.start, one.stop) for one in inner))
        if key not in self._bordered:
            whole = empty_array(math.prod(shape), self._dtype).reshape(shape)
            whole.fill(0)
            self._bordered[key] = whole, whole[inner]
        return self._bordered[key]

    def take(self, name: str, *shape: int) -> Matrix:
        """Return an array of this shape, which may hold anything."""
        size = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = empty_array(size, self._dtype)
        return self._arrays[name][:size].reshape(shape)


class Passes:
    """Passes by NumPy."""

    def center(self, x: Matrix, mean: Matrix, squares: Matrix) -> None:
        """Subtract a vector from the rows of x, and write the squares of what is left."""
        np.subtract(x, mean, out=x)
        np.multiply(x, x, out=squares)

    def normalize(self, x: Matrix, factor: Matrix, shift: Matrix, out: Matrix) -> None:
        """Write factor x + shift."""
        np.multiply(x, factor, out=out)
        np.add(out, shift, out=out)

    def normalize_gradient(self, x: Matrix, grad: Matrix, of_x: Matrix, of_grad: Matrix, shift: Matrix) -> None:
        """Replace x by of_x x + of_grad grad + shift; grad may be overwritten."""
        np.multiply(x, of_x, out=x)
        np.multiply(grad, of_grad, out=grad)
        np.add(x, grad, out=x)
        np.add(x, shift, out=x)

    def relu(self, x: Matrix, slope: Matrix, scratch: NDArray[Any]) -> None:
        """Apply relu (R1) to x in place, and write its derivative to slope; scratch is a bool array."""
        np.greater(x, 0, out=scratch)
        np.copyto(slope, scratch)
        np.multiply(x, slope, out=x)

    def largest(self, windows: Sequence[Matrix], out: Matrix) -> None:
        """Write the largest of some arrays for each element (Q1)."""
        np.copyto(out, windows[0])
        for one in windows[1:]:
            np.maximum(out, one, out=out)

    def route(self, windows: Sequence[Matrix], largest: Matrix, grad: Matrix) -> None:
        """Replace the first largest of some arrays by the gradient, and the others by 0 (Q2).

        Args:
            windows: arrays that share no memory.
            largest: room for an array.
            grad: the gradient; it is overwritten.
        """
        self.largest(windows, largest)
        for one in windows:
            np.multiply(grad, one == largest, out=one)
            np.subtract(grad, one, out=grad)  # what a position takes is gone for those after it

    # The transformations of `numpy_convolution.WinogradKernel`. Blocks are (4, 4, W, H, n, C), and
    # take scratch arrays by name.

    def blocks(self, pixels: Matrix, out: Matrix, scratch: Scratch) -> None:
        """Write the transformed blocks B d B' of pixels (2 H + 2, 2 W + 2, n, C)."""
        _, _, wide, high, n, channels = out.shape
        by_row, transposed = scratch.take("rows", 4, 2 * wide + 2, high, n, channels), pixels.transpose(1, 0, 2, 3)
        _transform([transposed[:, start : start + 2 * high - 1 : 2] for start in range(4)], by_row)
        by_column = [by_row[:, start : start + 2 * wide - 1 : 2] for start in range(4)]
        _transform(by_column, out.transpose(1, 0, 2, 3, 4, 5))

    def outputs(self, products: Matrix, out: Matrix) -> None:
        """Write the outputs A m A' (2 H, 2 W, n, O) of blocks of products, which are overwritten."""
        first, second, third, last = (products[:, number] for number in range(4))
        np.add(first, second, out=first)
        np.add(first, third, out=first)
        np.subtract(second, third, out=second)
        np.add(second, last, out=second)
        first, second, third, last = products[:, :2]
        by_block = _by_block(out)
        np.add(first, second, out=first)
        np.add(first, third, out=by_block[0])
        np.subtract(second, third, out=second)
        np.add(second, last, out=by_block[1])

    def spread(self, grad: Matrix, out: Matrix, scratch: Scratch) -> None:
        """Write the gradient of blocks of products from that of the outputs (2 H, 2 W, n, O)."""
        by_block = _by_block(grad)
        by_row = scratch.take("rows", 4, *by_block.shape[1:])
        _spread(by_block[0], by_block[1], by_row)
        _spread(by_row[:, 0], by_row[:, 1], out.transpose(1, 0, 2, 3, 4, 5))

    def overlap(self, grad: Matrix, out: Matrix, scratch: Scratch) -> None:
        """Write the gradient of pixels (2 H + 2, 2 W + 2, n, C) from that of blocks, which is overwritten."""
        _, _, wide, high, n, channels = grad.shape
        by_column = scratch.take("rows", 2 * wide + 2, 4, high, n, channels)
        _add_overlap(grad.transpose(1, 2, 0, 3, 4, 5), by_column, scratch)
        _add_overlap(by_column.transpose(1, 2, 0, 3, 4), out, scratch)


def _by_block(outputs: Matrix) -> Matrix:
    """Return a view (2, 2, W, H, n, O) of outputs (2 H, 2 W, n, O)."""
    high, wide = outputs.shape[0] // 2, outputs.shape[1] // 2
    return outputs.reshape(high, 2, wide, 2, *outputs.shape[2:]).transpose(1, 3, 2, 0, 4, 5)


def _transform(pixels: Sequence[Matrix], out: Matrix) -> None:
    """Write B d: four combinations of four pixels."""
    np.subtract(pixels[0], pixels[2], out=out[0])
    np.add(pixels[1], pixels[2], out=out[1])
    np.subtract(pixels[2], pixels[1], out=out[2])
    np.subtract(pixels[3], pixels[1], out=out[3])


def _spread(first: Matrix, second: Matrix, out: Matrix) -> None:
    """Write A' y: the gradient of four products from that of two outputs."""
    np.copyto(out[0], first)
    np.add(first, second, out=out[1])
    np.subtract(first, second, out=out[2])
    np.copyto(out[3], second)


def _add_overlap(grad: Matrix, out: Matrix, scratch: Scratch) -> None:
    """Write the gradient of a row of pixels from that of B d for each four of them; grad is overwritten.

    Args:
        grad: (4, blocks, ...).
        out: (2 blocks + 2, ...).
        scratch: for an array of blocks.
    """
    first, second, third, last = grad
    total = scratch.take("total", *second.shape)
    np.add(second, third, out=total)
    np.subtract(total, first, out=total)
    np.subtract(second, third, out=second)
    np.subtract(second, last, out=second)
    # Pixels 2 j and 2 j + 1 are the first two of block j, and the last two of block j - 1.
    np.add(first[1:], total[:-1], out=out[2:-2:2])
    np.add(second[1:], last[:-1], out=out[3:-2:2])
    out[0], out[1], out[-2], out[-1] = first[0], second[0], total[-1], last[-1]
