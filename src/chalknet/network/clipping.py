"""Gradient clipping by norm: one factor scales all gradients, so their direction stays."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from chalknet.network.arrays import FloatArray


def clip_factor(squared_norms: Iterable[float], max_norm: float) -> float:
    """Return the factor that scales all gradients together to a norm of at most `max_norm`.

    factor = min(1, max_norm / |G|)                                  (docs/derivation.md, U8)
    |G|^2  = sum of the squares of all elements

    Args:
        squared_norms: the squared norm of each gradient array.
        max_norm: largest norm, > 0.

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks
    (ICML 2013), section 3.2.
    """
    norm = math.sqrt(sum(squared_norms))
    return min(1.0, max_norm / norm) if norm > 0 else 1.0


def squared_norm(gradient: FloatArray) -> float:
    """Return the sum of squares of an array, computed in float64, where float32 could overflow."""
    return float(np.square(gradient, dtype=np.float64).sum())
