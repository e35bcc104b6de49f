"""Compact storage of the losses of single samples: two bytes each where their range allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Earlier versions stored float16 only and clipped larger losses to its largest number.
LOSS_TYPES = ("<f2", "<f4", "<f8")


def compact_losses(losses: NDArray[Any]) -> NDArray[Any]:
    """Return losses in the narrowest of float16, float32 and float64 that can hold them all.

    Rounding to float16 does not change a mean over many samples noticeably. Clipping to its largest
    number would, so a training with very large losses is stored wider.

    Args:
        losses: (E, M) float, each >= 0, in nats.

    Returns:
        (E, M) array with a dtype of `LOSS_TYPES`.
    """
    for kind in LOSS_TYPES[:-1]:
        with np.errstate(over="ignore"):  # values that become inf fail the check below
            narrow: NDArray[Any] = losses.astype(kind)
        if bool((narrow < np.finfo(kind).max).all()):
            return narrow
    return losses.astype(LOSS_TYPES[-1])


def are_clipped(losses: NDArray[Any]) -> bool:
    """Return whether losses come from an old file in which values above 65504 were clipped to it."""
    return losses.dtype == np.float16 and bool((losses >= np.finfo(np.float16).max).any())
