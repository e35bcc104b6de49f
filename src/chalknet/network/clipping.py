"""Gradients that are too long are shortened, all by one factor, so that their direction stays."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from chalknet.network.arrays import FloatArray


def clip_factor(squared_lengths: Iterable[float], most: float) -> float:
    """What all gradients together are multiplied by so that their common length is at most `most`.

    factor = min(1, most / |g|),  |g|^2 = sum over all elements of g^2          (docs/derivation.md, U8)

    Args:
        squared_lengths: one an array of the gradient. most: > 0.
    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (ICML 2013), 3.2.
    """
    length = math.sqrt(sum(squared_lengths))
    return min(1.0, most / length) if length > 0 else 1.0


def squared_length(gradient: FloatArray) -> float:
    """The sum of an array's squares, added up in float64."""
    return float(np.square(gradient, dtype=np.float64).sum())
