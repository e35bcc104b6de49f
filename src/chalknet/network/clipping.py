"""Gradients that are too long are shortened, all by one factor, so that their direction stays."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from chalknet.network.arrays import FloatArray


def clip_factor(squared_norms: Iterable[float], max_norm: float) -> float:
    """What all gradients together are multiplied by so that their common length is at most `max_norm`.

    factor = min(1, max_norm / |g|),  |g|^2 = sum over all elements of g^2          (docs/derivation.md, U8)

    Args:
        squared_norms: one an array of the gradient. max_norm: > 0.
    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (ICML 2013), 3.2.
    """
    length = math.sqrt(sum(squared_norms))
    return min(1.0, max_norm / length) if length > 0 else 1.0


def squared_norm(gradient: FloatArray) -> float:
    """The sum of an array's squares, added up in float64."""
    return float(np.square(gradient, dtype=np.float64).sum())
