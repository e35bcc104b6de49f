"""Loops of the numpy engine that Numba compiles: optimizer steps and passes over feature maps in one pass.

NumPy needs a pass over memory for every operation. These loops make the same operations in the same
order and precision for one element after the other, without fused multiply-adds, so that results
have the same bits as those of NumPy. This module imports Numba, so it is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

Loop = Callable[..., None]


def compiled(loop: Loop) -> Loop:
    """Return a loop that Numba compiles for each dtype when it is first called.

    The code is kept in Numba's cache, next to this file or in the user's cache folder, if one of
    them can be written.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        made: Loop = numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # no folder for a cache
        made = numba.njit(**options)(loop)
    return made


@compiled
def adam_loop(
    w: Any, grad: Any, mean: Any, square: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any, rate: Any, epsilon: Any
) -> None:
    """Make a step of Adam (U4, U5) for flat arrays; rate and epsilon have the bias corrections."""
    for i in range(w.size):
        mean[i] = mean[i] * beta1 + grad[i] * rest1
        square[i] = square[i] * beta2 + grad[i] * grad[i] * rest2
        w[i] -= mean[i] / (np.sqrt(square[i]) + epsilon) * rate


@compiled
def momentum_loop(w: Any, grad: Any, velocity: Any, momentum: Any, rate: Any) -> None:
    """Make a step of momentum (U1) for flat arrays."""
    for i in range(w.size):
        velocity[i] = velocity[i] * momentum + grad[i] * rate
        w[i] -= velocity[i]


@compiled
def nesterov_loop(w: Any, grad: Any, velocity: Any, momentum: Any, rate: Any) -> None:
    """Make a step of Nesterov momentum (U3) for flat arrays."""
    for i in range(w.size):
        change = grad[i] * rate
        velocity[i] = velocity[i] * momentum + change
        w[i] = w[i] - change - velocity[i] * momentum


@compiled
def average_loop(w: Any, average: Any, part: Any) -> None:
    """Move a parameter average toward the parameters (U7), for flat arrays."""
    for i in range(w.size):
        average[i] += (w[i] - average[i]) * part


# LLVM makes vector instructions only of loops in which few pairs of arrays could overlap, so the loops below
# are short, and pass over a row several times while it is in the innermost cache.


@compiled
def center_loop(x: Any, mean: Any, sums: Any) -> None:
    """Subtract a vector from the rows of x, and write the sums over rows of the squares of what is left."""
    for i in range(x.shape[0]):
        row = x[i]
        if i == 0:
            for k in range(row.size):
                row[k] -= mean[k]
                sums[k] = row[k] * row[k]
        else:
            for k in range(row.size):
                row[k] -= mean[k]
                sums[k] += row[k] * row[k]


@compiled
def gradient_sums_loop(x: Any, grad: Any, of_products: Any, of_grad: Any) -> None:
    """Write the sums over rows of x grad and of grad."""
    of_products[:] = x[0] * grad[0]
    of_grad[:] = grad[0]
    for i in range(1, x.shape[0]):
        row, grad_row = x[i], grad[i]
        for k in range(row.size):
            of_products[k] += row[k] * grad_row[k]
        for k in range(row.size):
            of_grad[k] += grad_row[k]


@compiled
def relu_gradient_sums_loop(x: Any, grad: Any, slope: Any, of_products: Any, of_grad: Any) -> None:
    """Multiply grad by a slope, and write the sums over rows of x grad and of grad."""
    for i in range(x.shape[0]):
        row, grad_row, slope_row = x[i], grad[i], slope[i]
        for k in range(row.size):
            grad_row[k] *= slope_row[k]
        if i == 0:
            of_products[:] = row * grad_row
            of_grad[:] = grad_row
        else:
            for k in range(row.size):
                of_products[k] += row[k] * grad_row[k]
            for k in range(row.size):
                of_grad[k] += grad_row[k]


@compiled
def normalize_positive_loop(x: Any, factor: Any, shift: Any, out: Any) -> None:
    """Write relu of factor x + shift; NaN stays NaN."""
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        row, to = x[i], out[i]
        for k in range(row.size):
            value = row[k] * factor[k] + shift[k]
            to[k] = zero if value < zero else value


@compiled
def normalize_relu_loop(x: Any, factor: Any, shift: Any, out: Any, slope: Any) -> None:
    """Write relu of factor x + shift, and its derivative."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.shape[0]):
        row, to, slope_row = x[i], out[i], slope[i]
        for k in range(row.size):
            to[k] = row[k] * factor[k] + shift[k]
        for k in range(row.size):
            slope_row[k] = one if to[k] > zero else zero
        for k in range(row.size):
            to[k] *= slope_row[k]


@compiled
def normalize_loop(x: Any, factor: Any, shift: Any, out: Any) -> None:
    """Write factor x + shift, for vectors that belong to the rows."""
    for i in range(x.shape[0]):
        row, to = x[i], out[i]
        for k in range(row.size):
            to[k] = row[k] * factor[k] + shift[k]


@compiled
def normalize_gradient_loop(x: Any, grad: Any, of_x: Any, of_grad: Any, shift: Any) -> None:
    """Replace x by of_x x + of_grad grad + shift, for vectors that belong to the rows."""
    for i in range(x.shape[0]):
        row, grad_row = x[i], grad[i]
        for k in range(row.size):
            row[k] = row[k] * of_x[k] + grad_row[k] * of_grad[k] + shift[k]


@compiled
def relu_loop(x: Any, slope: Any) -> None:
    """Apply relu (R1) to a flat array in place, and write its derivative to slope."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        slope[i] = one if x[i] > zero else zero
        x[i] = x[i] * slope[i]


@compiled
def largest_loop(pixels: Any, stride: int, out: Any) -> None:
    """Write the largest of the pixels (H, W, K) of each window of 2 x 2 (Q1); NaN is the largest."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            y, x, to = stride * i, stride * j, out[i, j]
            first, second, third, fourth = pixels[y, x], pixels[y, x + 1], pixels[y + 1, x], pixels[y + 1, x + 1]
            for k in range(to.size):
                one = second[k] if second[k] > first[k] or second[k] != second[k] else first[k]
                other = fourth[k] if fourth[k] > third[k] or fourth[k] != fourth[k] else third[k]
                to[k] = other if other > one or other != other else one


@compiled
def route_loop(pixels: Any, stride: int, grad: Any) -> None:
    """Replace the first largest of the pixels of each window of 2 x 2 by the gradient, and the others by 0 (Q2)."""
    is_largest, is_not = pixels.dtype.type(1), pixels.dtype.type(0)
    most = np.empty(pixels.shape[2], pixels.dtype)
    for i in range(grad.shape[0]):
        for j in range(grad.shape[1]):
            y, x, left = stride * i, stride * j, grad[i, j]
            first, second, third, fourth = pixels[y, x], pixels[y, x + 1], pixels[y + 1, x], pixels[y + 1, x + 1]
            for k in range(most.size):
                one = second[k] if second[k] > first[k] or second[k] != second[k] else first[k]
                other = fourth[k] if fourth[k] > third[k] or fourth[k] != fourth[k] else third[k]
                most[k] = other if other > one or other != other else one
            for k in range(most.size):
                first[k] = left[k] * (is_largest if first[k] == most[k] else is_not)
                left[k] -= first[k]
            for k in range(most.size):
                second[k] = left[k] * (is_largest if second[k] == most[k] else is_not)
                left[k] -= second[k]
            for k in range(most.size):
                third[k] = left[k] * (is_largest if third[k] == most[k] else is_not)
                left[k] -= third[k]
            for k in range(most.size):
                fourth[k] = left[k] * (is_largest if fourth[k] == most[k] else is_not)


@compiled
def scale_and_add_loop(x: Any, scale: Any, bias: Any) -> None:
    """Replace the rows of x by scale x + bias."""
    for i in range(x.shape[0]):
        row = x[i]
        for k in range(row.size):
            row[k] = row[k] * scale + bias[k]


@compiled
def parametric_loop(x: Any, difference: Any, slope: Any, alpha: Any) -> None:
    """Apply a parametric activation (R19) to rows in place, from the values f(x) and slopes of f."""
    one = x.dtype.type(1)
    for i in range(x.shape[0]):
        row, of_row, slopes = x[i], difference[i], slope[i]
        for k in range(row.size):
            of_row[k] = of_row[k] - row[k]
            row[k] = row[k] + of_row[k] * alpha[k]
            slopes[k] = (slopes[k] - one) * alpha[k] + one


@compiled
def parametric_lines_loop(x: Any, difference: Any, slope: Any, alpha: Any) -> None:
    """Apply a parametric activation (R19) to rows in place, from the slopes of f, where f is x times its slope."""
    one = x.dtype.type(1)
    for i in range(x.shape[0]):
        row, of_row, slopes = x[i], difference[i], slope[i]
        for k in range(row.size):
            of_row[k] = row[k] * (slopes[k] - one)
            slopes[k] = (slopes[k] - one) * alpha[k] + one
            row[k] = row[k] * slopes[k]
