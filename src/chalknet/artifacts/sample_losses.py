"""The losses of single samples as they are kept: in two bytes each, and wider where two bytes cannot hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A file of before knew float16 alone, and a larger loss became its largest.
LOSS_TYPES = ("<f2", "<f4", "<f8")


def compact_losses(losses: NDArray[Any]) -> NDArray[Any]:
    """Losses in the narrowest of float16, float32 and float64 that holds all of them below its largest number.

    Rounding to float16 is what no mean over many samples shows; a largest number in its place is. So a training that
    diverges without ceasing to be finite costs more room, and its means stay what they were.

    Args:
        losses: (E, M) float, each >= 0.
    Returns:
        (E, M) of one of `LOSS_TYPES`.
    """
    for kind in LOSS_TYPES[:-1]:
        with np.errstate(over="ignore"):  # what becomes inf is kept wider
            narrow: NDArray[Any] = losses.astype(kind)
        if bool((narrow < np.finfo(kind).max).all()):
            return narrow
    return losses.astype(LOSS_TYPES[-1])


def are_clipped(losses: NDArray[Any]) -> bool:
    """Whether losses were read from a file of before that has float16's largest number in place of larger ones."""
    return losses.dtype == np.float16 and bool((losses >= np.finfo(np.float16).max).any())
