"""Array types of the network's functions, and the shape check that they share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ShapeError

FloatArray = NDArray[np.floating[Any]]
LabelArray = NDArray[np.integer[Any]]
# Layers of images take so many values at a time in prediction that they stay in the cache of a core.
VALUES_AT_ONCE = 2**17


def check_logits_and_labels(logits: FloatArray, labels: LabelArray) -> None:
    """Raise ShapeError unless logits are (B, K), B >= 1, and labels (B,) integers in [0, K)."""
    if logits.ndim != 2 or not len(logits):
        raise ShapeError(f"logits must be (B, K) with at least one row, got {logits.shape}.")
    if labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"labels must be {logits.shape[:1]}, one per row of logits {logits.shape}, got {labels.shape}."
        )
    if labels.dtype.kind not in "ui":
        raise ShapeError(f"labels must be integers (class indices, not one-hot rows), got dtype {labels.dtype}.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ShapeError(f"labels must lie in 0..{logits.shape[1] - 1}, got {labels.min()} to {labels.max()}.")
