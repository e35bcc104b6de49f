"""Raw samples made ready for products: flattened, scaled, and labels as one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.errors import ShapeError

PIXEL_SCALE = 255.0


def flatten(inputs: Any) -> NDArray[Any]:
    """(N, H, W) images as (N, H·W) rows, pixel rows one after the other; (N, I) rows as they are.

    Raises:
        ShapeError: anything but two or three dimensions.
    """
    array = np.asarray(inputs)
    if array.ndim not in (2, 3):
        raise ShapeError(f"samples must be (N, H, W) or (N, I), got {array.shape}.")
    return array.reshape(len(array), int(np.prod(array.shape[1:])))  # not -1, which NumPy refuses when N is 0


def input_scale(dtype: DTypeLike) -> float:
    """What raw values of a type are divided by before training: 255 for uint8 pixels, 1 for anything else."""
    return PIXEL_SCALE if np.dtype(dtype) == np.uint8 else 1.0


def scale_inputs(inputs: NDArray[Any], scale: float, dtype: DTypeLike) -> NDArray[Any]:
    """inputs / scale in dtype, shape kept; the division itself is done in dtype."""
    scaled = inputs.astype(dtype)
    if scale != 1:
        scaled /= scaled.dtype.type(scale)
    return scaled


def one_hot(labels: Any, n_classes: int | None = None) -> NDArray[np.float64]:
    """Rows of zeros with a one at the label: the write-up's targets.

    Args:
        labels: (N,) whole numbers in [0, n_classes).
        n_classes: K; the largest label + 1 when not given.
    Returns:
        (N, K) float64.
    Raises:
        ShapeError: labels are not (N,) whole numbers, or one of them names no class.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise ShapeError(f"labels must be (N,) whole numbers, got {labels.shape} {labels.dtype}.")
    k = n_classes if n_classes is not None else int(labels.max(initial=-1)) + 1
    bad = np.flatnonzero((labels < 0) | (labels >= k))
    if bad.size:
        raise ShapeError(f"labels[{bad[0]}] is {labels[bad[0]]}, which is not in 0..{k - 1}.")
    rows = np.zeros((len(labels), k))
    rows[np.arange(len(labels)), labels] = 1.0
    return rows
