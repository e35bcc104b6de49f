"""What each training sample counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ConfigError, DataError


def training_weights(
    labels: NDArray[np.integer[Any]],
    class_names: Sequence[str],
    class_weights: str | tuple[float, ...],
    sample_weights: NDArray[Any] | None,
) -> NDArray[np.float64] | None:
    """The weights of L5 for the training samples, with mean 1; None where every sample counts the same.

    w_n = c_(y_n) s_n / mean(c_y s),  c_k = N / (K N_k) if balanced           (docs/derivation.md, L5)

    Args:
        labels: (N,) of the training part. class_names: K names.
        class_weights: "equal", "balanced", or K numbers c_k > 0.
        sample_weights: (N,) s_n >= 0, or None for 1 each.

    Raises:
        ConfigError: not K class weights.
        DataError: as `checked_weights`, or they are all 0.

    Source: King and Zeng, Logistic Regression in Rare Events Data (2001), for the balanced weights.
    """
    if class_weights == "equal" and sample_weights is None:
        return None
    weights = _of_classes(class_weights, np.bincount(labels, minlength=len(class_names)), class_names)[labels]
    if sample_weights is not None:
        counted = checked_weights(sample_weights, len(labels))
        if not counted.any():
            raise DataError("sample weights of the training part are all 0, so there is nothing to learn from.")
        weights = relative_weights(weights) * relative_weights(counted)
    weights = relative_weights(weights)
    weights = weights / weights.mean()
    return None if (weights == 1).all() else weights


def relative_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights >= 0 divided by the largest, so that w and 1000 w give the same bits.

    They are rounded to 24 bits, because 1000 w has been rounded to 53 bits.
    """
    fractions, exponents = np.frexp(weights / weights.max())
    rounded: NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(fractions, 24)), exponents - 24)
    return rounded


def _of_classes(
    class_weights: str | tuple[float, ...], counts: NDArray[np.integer[Any]], class_names: Sequence[str]
) -> NDArray[np.float64]:
    if class_weights == "equal":
        return np.ones(len(class_names))
    if class_weights == "balanced":
        balanced: NDArray[np.float64] = counts.sum() / (len(class_names) * np.maximum(counts, 1.0))
        return balanced
    if len(class_weights) != len(class_names):
        raise ConfigError(
            f"class_weights must be a number for each of {len(class_names)} classes ({', '.join(class_names)}), "
            f"got {len(class_weights)}."
        )
    return np.array(class_weights, dtype=np.float64)


def checked_weights(sample_weights: NDArray[Any], n: int) -> NDArray[np.float64]:
    """(n,) numbers s >= 0.

    Raises:
        DataError: of another number, negative or not finite, with the first such position.
    """
    if sample_weights.shape != (n,) or sample_weights.dtype.kind not in "buif":
        raise DataError(f"sample weights must be ({n},) numbers, got {sample_weights.shape} {sample_weights.dtype}.")
    weights = sample_weights.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise DataError(f"sample weights must be finite and >= 0, got {weights[bad[0]]} at {bad[0]}.")
    return weights
