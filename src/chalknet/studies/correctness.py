"""Check the input of the statistics: which images each seed classifies correctly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import DataError, ShapeError

FloatArray = NDArray[np.float64]


def checked_correct(correct: Any, name: str = "correct") -> FloatArray:
    """Return correct as an (S, M) float64 array.

    Args:
        correct: (S, M) bool, or numbers in [0, 1]; row s is a seed, column i an image. A single run
            may be (M,).
        name: what the array is called in messages.

    Raises:
        ShapeError: the array is not (S, M) with S >= 1 seeds and M >= 2 images.
        DataError: a value is not in [0, 1].
    """
    found = np.asarray(correct)
    if found.dtype.kind not in "buif":
        raise DataError(f"{name} must be bool or numbers in [0, 1], got dtype {found.dtype}.")
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or found.shape[0] < 1 or found.shape[1] < 2:
        raise ShapeError(f"{name} must be (S, M) with S >= 1 seeds and M >= 2 samples, got {np.shape(correct)}.")
    values = found.astype(np.float64)
    if not np.all((values >= 0.0) & (values <= 1.0)):
        raise DataError(f"{name} must be bool or numbers in [0, 1].")
    return values


def checked_configurations(
    configs: Mapping[str, Any] | Sequence[Any], noun: str = "configuration"
) -> dict[str, FloatArray]:
    """Return the (S, M) float64 array of each configuration by label.

    Args:
        configs: arrays as in `checked_correct`, by label or in order. A sequence is labeled "0",
            "1", ...
        noun: what messages call a configuration.

    Raises:
        ShapeError: there is no configuration, an array is not (S, M), or the numbers of images
            differ.
        DataError: a value is not in [0, 1].
    """
    named = configs if isinstance(configs, Mapping) else {str(i): config for i, config in enumerate(configs)}
    checked = {str(label): checked_correct(config, f"{noun} {label!r}") for label, config in named.items()}
    if not checked:
        raise ShapeError(f"there must be at least one {noun}, got none.")
    sizes = {label: config.shape[1] for label, config in checked.items()}
    if len(set(sizes.values())) > 1:
        raise ShapeError(f"every {noun} must be scored on the same samples, got {sizes} samples.")
    return checked
