"""Loops of the numpy engine that Numba compiles: whole optimizer steps in one pass over the arrays.

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
