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


@compiled
def center_loop(x: Any, mean: Any, squares: Any) -> None:
    """Subtract a vector from the rows of x, and write the squares of what is left."""
    for i in range(x.shape[0]):
        row, squared = x[i], squares[i]
        for k in range(row.size):
            row[k] -= mean[k]
            squared[k] = row[k] * row[k]


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
def largest_loop(a: Any, b: Any, c: Any, d: Any, out: Any) -> None:
    """Write the largest of four arrays (H, W, K) for each element (Q1); NaN is the largest."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            first, second, third, fourth, to = a[i, j], b[i, j], c[i, j], d[i, j], out[i, j]
            for k in range(to.size):
                one = second[k] if second[k] > first[k] or second[k] != second[k] else first[k]
                other = fourth[k] if fourth[k] > third[k] or fourth[k] != fourth[k] else third[k]
                to[k] = other if other > one or other != other else one


@compiled
def route_loop(a: Any, b: Any, c: Any, d: Any, grad: Any) -> None:
    """Replace the first largest of four arrays (H, W, K) by the gradient, and the others by 0 (Q2)."""
    is_largest, is_not = a.dtype.type(1), a.dtype.type(0)
    most = np.empty(a.shape[2], a.dtype)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            first, second, third, fourth, left = a[i, j], b[i, j], c[i, j], d[i, j], grad[i, j]
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


# The transformations of `numpy_convolution.WinogradKernel`. Each block goes through a buffer that stays
# in the innermost cache. Loops write one array each, because LLVM makes vector instructions of them only if
# few pairs of arrays could overlap. Arrays have K values, the channels of all images of a tile, in the last axis.


@compiled
def blocks_loop(pixels: Any, out: Any) -> None:
    """Write the transformed blocks (4, 4, W, H, K) of pixels (2 H + 2, 2 W + 2, K)."""
    wide, high, n = out.shape[2], out.shape[3], out.shape[4]
    rows = np.empty((4, 4, n), pixels.dtype)
    for h in range(high):
        for w in range(wide):
            for j in range(4):
                d0, d1, d2, d3 = (
                    pixels[2 * h, 2 * w + j],
                    pixels[2 * h + 1, 2 * w + j],
                    pixels[2 * h + 2, 2 * w + j],
                    pixels[2 * h + 3, 2 * w + j],
                )
                t0, t1, t2, t3 = rows[0, j], rows[1, j], rows[2, j], rows[3, j]
                for k in range(n):
                    t0[k] = d0[k] - d2[k]
                for k in range(n):
                    t1[k] = d1[k] + d2[k]
                for k in range(n):
                    t2[k] = d2[k] - d1[k]
                for k in range(n):
                    t3[k] = d3[k] - d1[k]
            for i in range(4):
                e0, e1, e2, e3 = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
                o0, o1, o2, o3 = out[i, 0, w, h], out[i, 1, w, h], out[i, 2, w, h], out[i, 3, w, h]
                for k in range(n):
                    o0[k] = e0[k] - e2[k]
                for k in range(n):
                    o1[k] = e1[k] + e2[k]
                for k in range(n):
                    o2[k] = e2[k] - e1[k]
                for k in range(n):
                    o3[k] = e3[k] - e1[k]


@compiled
def outputs_loop(products: Any, out: Any) -> None:
    """Write the outputs (2 H, 2 W, K) of products (4, 4, W, H, K)."""
    wide, high, n = products.shape[2], products.shape[3], products.shape[4]
    rows = np.empty((4, 2, n), products.dtype)
    for h in range(high):
        for w in range(wide):
            for i in range(4):
                m0, m1, m2, m3 = products[i, 0, w, h], products[i, 1, w, h], products[i, 2, w, h], products[i, 3, w, h]
                o0, o1 = rows[i, 0], rows[i, 1]
                for k in range(n):
                    o0[k] = m0[k] + m1[k] + m2[k]
                for k in range(n):
                    o1[k] = m1[k] - m2[k] + m3[k]
            for j in range(2):
                m0, m1, m2, m3 = rows[0, j], rows[1, j], rows[2, j], rows[3, j]
                o0, o1 = out[2 * h, 2 * w + j], out[2 * h + 1, 2 * w + j]
                for k in range(n):
                    o0[k] = m0[k] + m1[k] + m2[k]
                for k in range(n):
                    o1[k] = m1[k] - m2[k] + m3[k]


@compiled
def spread_loop(grad: Any, out: Any) -> None:
    """Write the gradient of products (4, 4, W, H, K) from that of outputs (2 H, 2 W, K)."""
    wide, high, n = out.shape[2], out.shape[3], out.shape[4]
    rows = np.empty((4, 2, n), grad.dtype)
    for h in range(high):
        for w in range(wide):
            for j in range(2):
                a, b = grad[2 * h, 2 * w + j], grad[2 * h + 1, 2 * w + j]
                rows[0, j], rows[3, j] = a, b
                t1, t2 = rows[1, j], rows[2, j]
                for k in range(n):
                    t1[k] = a[k] + b[k]
                for k in range(n):
                    t2[k] = a[k] - b[k]
            for i in range(4):
                a, b = rows[i, 0], rows[i, 1]
                out[i, 0, w, h], out[i, 3, w, h] = a, b
                o1, o2 = out[i, 1, w, h], out[i, 2, w, h]
                for k in range(n):
                    o1[k] = a[k] + b[k]
                for k in range(n):
                    o2[k] = a[k] - b[k]


@compiled
def overlap_loop(grad: Any, out: Any) -> None:
    """Write the gradient of pixels (2 H + 2, 2 W + 2, K) from that of transformed blocks (4, 4, W, H, K)."""
    wide, high, n = grad.shape[2], grad.shape[3], grad.shape[4]
    columns = np.empty((2 * wide + 2, 4, n), grad.dtype)
    total = np.empty(n, grad.dtype)
    above = np.empty((2, 2 * wide + 2, n), grad.dtype)
    for h in range(high):
        for i in range(4):
            for w in range(wide):
                g0, g1, g2, g3 = grad[i, 0, w, h], grad[i, 1, w, h], grad[i, 2, w, h], grad[i, 3, w, h]
                o0, o1 = columns[2 * w, i], columns[2 * w + 1, i]
                if w == 0:
                    o0[:] = g0
                    for k in range(n):
                        o1[k] = g1[k] - g2[k] - g3[k]
                else:
                    last = grad[i, 3, w - 1, h]
                    for k in range(n):
                        o0[k] = g0[k] + total[k]
                    for k in range(n):
                        o1[k] = g1[k] - g2[k] - g3[k] + last[k]
                for k in range(n):
                    total[k] = g1[k] + g2[k] - g0[k]
            columns[2 * wide, i] = total
            columns[2 * wide + 1, i] = grad[i, 3, wide - 1, h]
        for c in range(2 * wide + 2):
            g0, g1, g2, g3 = columns[c, 0], columns[c, 1], columns[c, 2], columns[c, 3]
            o0, o1, total_above, last_above = out[2 * h, c], out[2 * h + 1, c], above[0, c], above[1, c]
            if h == 0:
                o0[:] = g0
                for k in range(n):
                    o1[k] = g1[k] - g2[k] - g3[k]
            else:
                for k in range(n):
                    o0[k] = g0[k] + total_above[k]
                for k in range(n):
                    o1[k] = g1[k] - g2[k] - g3[k] + last_above[k]
            for k in range(n):
                total_above[k] = g1[k] + g2[k] - g0[k]
            last_above[:] = g3
    out[2 * high], out[2 * high + 1] = above[0], above[1]
