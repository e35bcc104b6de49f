"""Weights of training samples in the loss, from class weights and sample weights."""

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
    """Return the weight of each training sample in the loss, with mean 1, or None if all are equal.

    These are the weights omega_n of L5 in docs/derivation.md.

    weight_n = class_weight[y_n] sample_weight_n / (mean of these products)
    class_weight[k] = N / (K N_k) if balanced, with N_k samples of class k

    Args:
        labels: (N,) integers in [0, K), the labels of the training split.
        class_names: K names.
        class_weights: "equal", "balanced", or K numbers > 0.
        sample_weights: (N,) numbers >= 0, or None for 1 each.

    Raises:
        ConfigError: the number of class weights is not K.
        DataError: sample weights are invalid (see `checked_weights`) or all 0.

    Source: King and Zeng, Logistic Regression in Rare Events Data (2001), for the balanced weights.
    """
    if class_weights == "equal" and sample_weights is None:
        return None
    weights = _of_classes(class_weights, np.bincount(labels, minlength=len(class_names)), class_names)[labels]
    if sample_weights is not None:
        counted = checked_weights(sample_weights, len(labels))
        if not counted.any():
            raise DataError(
                "all sample weights of the training split are 0. Give at least one sample a weight above 0."
            )
        weights = relative_weights(weights) * relative_weights(counted)
    weights = relative_weights(weights)
    weights = weights / weights.mean()
    return None if (weights == 1).all() else weights


def relative_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights divided by the largest, and rounded so that w and 1000 w give bit-identical results.

    1000 w is rounded to 53 bits, so the quotients are rounded to 24 bits, which removes the
    difference.

    Args:
        weights: (N,) floats >= 0, at least one > 0.
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
    """Return sample weights as float64 after checking them.

    Args:
        sample_weights: (n,) numbers >= 0.
        n: number of samples.

    Raises:
        DataError: the shape is not (n,), or a weight is negative or not finite. The message has the
            position of the first such weight.
    """
    if sample_weights.shape != (n,) or sample_weights.dtype.kind not in "buif":
        raise DataError(f"sample weights must be ({n},) numbers, got {sample_weights.shape} {sample_weights.dtype}.")
    weights = sample_weights.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise DataError(f"sample weights must be finite and >= 0, got {weights[bad[0]]} at {bad[0]}.")
    return weights
