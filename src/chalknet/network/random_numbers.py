"""Random numbers that can be drawn again for any rows of any update: dropout masks and uniforms."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.network.arrays import FloatArray

WORDS_PER_STEP = 4  # 64-bit words that the generator makes per step of its counter
NUMBERS_PER_STEP = 16  # 16-bit numbers in these words
RATE_STEPS = 2**16  # a dropout rate is rounded to a multiple of 1 / RATE_STEPS


def dropout_mask(
    seed: int, stream: int, update: int, rows: slice, width: int, rate: float, dtype: DTypeLike
) -> FloatArray:
    """Return the dropout mask (docs/derivation.md, D1) for some rows of a batch.

    The mask of a row does not depend on the other rows that are drawn with it.

    Args:
        seed: integer in [0, 2**32).
        stream: number of the dropout layer, `NamedLayer.stream`.
        update: number of the update over the whole training, starting at 1.
        rows: positions in the batch.
        width: F, the number of columns.
        rate: probability of 0, in [0, 1). It is rounded to a multiple of 2**-16, and the scale of
            the kept values follows from the rounded rate.
        dtype: float type of the mask.

    Returns:
        (rows, F) array of dtype.
    """
    threshold = round(rate * RATE_STEPS)
    steps = -(-width // NUMBERS_PER_STEP)
    raw = random_words(seed, stream, update, rows, steps).astype("<u8", copy=False).view("<u2")
    kept = raw.reshape(rows.stop - rows.start, steps * NUMBERS_PER_STEP)[:, :width] >= threshold
    mask: FloatArray = kept.astype(dtype)
    mask *= RATE_STEPS / (RATE_STEPS - threshold)
    return mask


def uniforms(seed: int, stream: int, update: int, rows: slice, n: int) -> NDArray[np.float64]:
    """Return (rows, n) float64 numbers, uniform in [0, 1); arguments as for `dropout_mask`."""
    steps = -(-n // WORDS_PER_STEP)
    words = random_words(seed, stream, update, rows, steps).reshape(rows.stop - rows.start, steps * WORDS_PER_STEP)
    return (words[:, :n] >> np.uint64(11)).astype(np.float64) * 2.0**-53


def generator_for(seed: int, stream: int, update: int) -> np.random.Generator:
    """Return a generator for numbers that all samples of one update have in common."""
    return np.random.Generator(_philox(seed, stream, update, 0))


def random_words(seed: int, stream: int, update: int, rows: slice, steps: int) -> NDArray[np.uint64]:
    """Return 4 `steps` random 64-bit words for each row, as one flat array.

    The generator is counter-based: it draws the words of any row without the words before it.
    Therefore parts of a batch, other engines and resumed runs draw the same numbers.

    Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
    """
    # A new generator takes as long as thousands of words, so each thread sets the state of its own.
    words: NDArray[np.uint64] = _OF_THREAD.philox_at(seed, stream, update, rows.start * steps).random_raw(
        (rows.stop - rows.start) * steps * WORDS_PER_STEP
    )
    return words


def _philox(seed: int, stream: int, update: int, counter: int) -> np.random.Philox:
    key = np.array([seed, stream], np.uint64)
    return np.random.Philox(key=key, counter=np.array([counter, update, 0, 0], np.uint64))


class _ThreadGenerator(threading.local):
    """A generator of each thread, whose key and counter can be set."""

    def __init__(self) -> None:
        self._philox = _philox(0, 0, 0, 0)
        self._state: Any = self._philox.state

    def philox_at(self, seed: int, stream: int, update: int, counter: int) -> Any:
        """Return the thread's generator with a key and a counter, as `_philox` makes it."""
        self._state["state"]["key"][:] = seed, stream
        self._state["state"]["counter"][:] = counter, update, 0, 0
        self._philox.state = self._state
        return self._philox


_OF_THREAD = _ThreadGenerator()
