"""Passes over feature maps and flat samples, by NumPy. `compiled.CompiledPasses` makes the same with compiled loops.

A pass writes to its arguments. Maps are matrices with a row for each pixel. The row holds the channels
of all images of a tile, and vectors have as many values.
"""

from __future__ import annotations

import math
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


def window(pixels: Matrix, row: int, column: int, rows: int, columns: int, stride: int) -> Matrix:
    """Return the pixels at one position of every window, (rows, columns, n, C)."""
    return pixels[row : row + stride * (rows - 1) + 1 : stride, column : column + stride * (columns - 1) + 1 : stride]


def windows(pixels: Matrix, size: int, stride: int, out: Matrix) -> list[Matrix]:
    """Return the pixels at each position of a window, from the top left; out has the rows and columns of windows."""
    rows, columns = out.shape[:2]
    return [window(pixels, row, column, rows, columns, stride) for row, column in np.ndindex(size, size)]


class Passes:
    """Passes by NumPy."""

    def center(self, x: Matrix, mean: Matrix, sums: Matrix, scratch: Matrix) -> None:
        """Subtract a vector from the rows of x, and write the sums over rows of the squares of what is left."""
        np.subtract(x, mean, out=x)
        np.multiply(x, x, out=scratch)
        np.add.reduce(scratch, axis=0, out=sums)

    def normalize(self, x: Matrix, factor: Matrix, shift: Matrix, out: Matrix) -> None:
        """Write factor x + shift."""
        np.multiply(x, factor, out=out)
        np.add(out, shift, out=out)

    def normalize_relu(
        self, x: Matrix, factor: Matrix, shift: Matrix, out: Matrix, slope: Matrix, scratch: NDArray[Any]
    ) -> None:
        """Write relu of factor x + shift, and its derivative as `relu` does."""
        self.normalize(x, factor, shift, out)
        self.relu(out, slope, scratch)

    def normalize_positive(self, x: Matrix, factor: Matrix, shift: Matrix, out: Matrix) -> None:
        """Write relu of factor x + shift."""
        self.normalize(x, factor, shift, out)
        np.maximum(out, np.zeros(out.shape[1], out.dtype), out=out)  # faster than with a number

    def gradient_sums(self, x: Matrix, grad: Matrix, slope: Matrix | None, sums: Matrix, scratch: Matrix) -> None:
        """Multiply grad by a slope, and write the sums over rows of x grad and of grad, (2, K)."""
        if slope is not None:
            np.multiply(grad, slope, out=grad)
        np.multiply(x, grad, out=scratch)
        np.add.reduce(scratch, axis=0, out=sums[0])
        np.add.reduce(grad, axis=0, out=sums[1])

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

    # Passes over the values of flat samples, which are rows.

    def scale_and_add(self, x: Matrix, scale: Matrix, bias: Matrix) -> None:
        """Replace x by scale x + bias; scale is an array without axes."""
        np.multiply(x, scale, out=x)
        np.add(x, bias, out=x)

    def parametric(self, x: Matrix, difference: Matrix, slope: Matrix, alpha: Matrix) -> None:
        """Apply a parametric activation (R19) in place.

        Args:
            x: the inputs, which become x + alpha (f(x) - x).
            difference: f(x), which becomes f(x) - x.
            slope: the derivative of f, which becomes that of the layer.
            alpha: a number for each column.
        """
        np.subtract(difference, x, out=difference)
        np.add(x, np.multiply(difference, alpha), out=x)
        np.subtract(slope, 1, out=slope)
        np.multiply(slope, alpha, out=slope)
        np.add(slope, 1, out=slope)

    def parametric_lines(self, x: Matrix, difference: Matrix, slope: Matrix, alpha: Matrix) -> None:
        """Do what `parametric` does for a function that is x times its slope; difference is only written."""
        np.subtract(slope, 1, out=slope)
        np.multiply(x, slope, out=difference)
        np.multiply(slope, alpha, out=slope)
        np.add(slope, 1, out=slope)
        np.multiply(x, slope, out=x)

    def largest(self, pixels: Matrix, size: int, stride: int, out: Matrix) -> None:
        """Write the largest of the pixels (H, W, n, C) of each window (Q1)."""
        first, *others = windows(pixels, size, stride, out)
        np.copyto(out, first)
        for one in others:
            np.maximum(out, one, out=out)

    def route(self, pixels: Matrix, size: int, stride: int, grad: Matrix, scratch: Matrix) -> None:
        """Replace the first largest of the pixels of each window by the gradient, and the others by 0 (Q2).

        Args:
            pixels: (H, W, n, C).
            size: of a window.
            stride: of windows that share no pixels.
            grad: (H', W', n, C), the gradient; it is overwritten.
            scratch: as large as grad.
        """
        self.largest(pixels, size, stride, scratch)
        for one in windows(pixels, size, stride, grad):
            np.multiply(grad, one == scratch, out=one)
            np.subtract(grad, one, out=grad)  # what a position takes is gone for those after it
