"""Dropout, and random numbers that can be drawn again for any rows of any update alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.network.activations import Backward
from chalknet.network.arrays import FloatArray

WORDS = 4  # of 64 bits, that one step of the counter gives
PARTS = 16  # of 16 bits, in as many words
STEPS = 2**16  # in which a rate is rounded


def dropout(x: FloatArray, keep: FloatArray) -> tuple[FloatArray, Backward]:
    """Every element times its factor: 0 where it is dropped, 1 / (1 - rate) where it is kept.

    d     = x keep,  keep = 0 with probability rate, else 1 / (1 - rate)     (docs/derivation.md, D1)
    dL/dx = dL/dd keep                                                       (D2)

    The expectation of d is x, so a trained network uses x as it is.

    Args:
        x: (B, F); keep: the same shape, from `keep_factors`.
    Returns:
        value: (B, F); backward: grad_value -> grad_x.
    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting (JMLR 2014).
    """
    value: FloatArray = x * keep

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = grad_value * keep
        return grad_x

    return value, backward


def keep_factors(
    seed: int, stream: int, update: int, rows: slice, width: int, rate: float, dtype: DTypeLike
) -> FloatArray:
    """The factors of D1 for some rows of an update's batch, each row's own whatever the others are.

    Args:
        seed: in [0, 2**32); stream: which layer, or other purpose; update: from 1 on.
        rows: their positions in the batch. width: F.
        rate: of dropping, in [0, 1); rounded to a multiple of 2**-16, and kept elements are scaled by the rounded rate.
    Returns:
        (rows, F) of dtype.
    """
    threshold = round(rate * STEPS)
    steps = -(-width // PARTS)
    raw = random_words(seed, stream, update, rows, steps).astype("<u8", copy=False).view("<u2")
    kept = raw.reshape(rows.stop - rows.start, steps * PARTS)[:, :width] >= threshold
    factors: FloatArray = kept.astype(dtype)
    factors *= STEPS / (STEPS - threshold)
    return factors


def uniforms(seed: int, stream: int, update: int, rows: slice, n: int) -> NDArray[np.float64]:
    """(rows, n) numbers in [0, 1), each row's own whatever the others are; arguments as `keep_factors`."""
    steps = -(-n // WORDS)
    words = random_words(seed, stream, update, rows, steps).reshape(rows.stop - rows.start, steps * WORDS)
    return (words[:, :n] >> np.uint64(11)).astype(np.float64) * 2.0**-53


def generator_of(seed: int, stream: int, update: int) -> np.random.Generator:
    """A generator of one update's own, for what its samples share."""
    return np.random.Generator(_philox(seed, stream, update, 0))


def random_words(seed: int, stream: int, update: int, rows: slice, steps: int) -> NDArray[np.uint64]:
    """`steps` x 4 random 64-bit words for each of some rows, as one array.

    A counter-based generator gives the words of any row without those before it, so that tiles of a batch, and batches
    after an interruption, draw what the whole would have drawn. Source: Salmon et al., Parallel Random Numbers: As Easy
    as 1, 2, 3 (SC 2011).
    """
    words: Any = _philox(seed, stream, update, rows.start * steps).random_raw((rows.stop - rows.start) * steps * WORDS)
    raw: NDArray[np.uint64] = words
    return raw


def _philox(seed: int, stream: int, update: int, counter: int) -> np.random.Philox:
    key = np.array([seed, stream], np.uint64)
    return np.random.Philox(key=key, counter=np.array([counter, update, 0, 0], np.uint64))
