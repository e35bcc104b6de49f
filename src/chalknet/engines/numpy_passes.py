"""Passes over feature maps, by NumPy. `compiled.CompiledPasses` makes the same ones with compiled loops.

A pass writes to its arguments. Arrays of maps are (P, K): a row for each position of a pixel, with the
images and channels of a tile in it, so that vectors of K values belong to the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.parameter_layout import Matrix


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
