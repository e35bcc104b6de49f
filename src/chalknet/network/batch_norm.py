"""Batch normalisation and its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray

EPSILON = 1e-5  # added to variances, so that a unit that never changes is not divided by 0
KEPT_SHARE = 0.9  # of the running statistics at each update


class BatchNormGradients(NamedTuple):
    """dL/dh (B, F), dL/dgain (F,) and dL/dbias (F,)."""

    grad_h: FloatArray
    grad_gain: FloatArray
    grad_bias: FloatArray


def batch_norm(
    h: FloatArray, gain: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], BatchNormGradients]]:
    """Each unit's values brought to mean 0 and variance 1 over the batch, then to a scale and a mean that are learnt.

    mu = (1/B) sum_b h_b,  s^2 = (1/B) sum_b (h_b - mu)^2                             (docs/derivation.md, B1)
    z = (h - mu) / sqrt(s^2 + epsilon)                                                (B2)
    n = gain z + bias                                                                 (B3)
    dL/dgain = sum_b dL/dn z,  dL/dbias = sum_b dL/dn                                 (B4)
    dL/dh = gain / sqrt(s^2 + epsilon) (dL/dn - (1/B) dL/dbias - (1/B) z dL/dgain)    (B5)

    Args:
        h: (B, F) float32 or float64; what is added to all of a unit's values cancels.
        gain, bias: (F,).
    Returns:
        n: (B, F).
        backward: grad_n (B, F) -> BatchNormGradients.
    Raises:
        ShapeError: the shapes do not fit, or the batch is empty.
    Source: Ioffe and Szegedy, Batch Normalization (ICML 2015), with its derivative in section 3.
    """
    check_statistics(h, gain, bias)
    mean, variance = moments(h)
    root = np.sqrt(variance + h.dtype.type(EPSILON))
    z = (h - mean) / root

    def backward(grad_n: FloatArray) -> BatchNormGradients:
        grad_gain, grad_bias = (grad_n * z).sum(axis=0), grad_n.sum(axis=0)
        grad_h = gain / root * (grad_n - grad_bias / len(h) - z * (grad_gain / len(h)))
        return BatchNormGradients(grad_h, grad_gain, grad_bias)

    return gain * z + bias, backward


def moments(h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (the mean squared distance from it) of each column, both (F,) (docs/derivation.md, B1)."""
    mean: FloatArray = h.mean(axis=0)
    variance: FloatArray = np.square(h - mean).mean(axis=0)
    return mean, variance


def normalised(
    h: FloatArray, mean: FloatArray, variance: FloatArray, gain: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], BatchNormGradients]]:
    """B2 and B3 with statistics that were kept: what a trained network computes, sample by sample.

    n     = gain (h - mean) / sqrt(variance + epsilon) + bias         (docs/derivation.md, B2, B3)
    dL/dh = dL/dn gain / sqrt(variance + epsilon)                     (B3, the statistics being constants)

    Args:
        h: (B, F); mean, variance, gain, bias: (F,).
    Returns:
        n: (B, F); backward: grad_n -> BatchNormGradients.
    Raises:
        ShapeError: the shapes do not fit.
    """
    check_statistics(h, mean, variance, gain, bias)
    root = np.sqrt(variance + h.dtype.type(EPSILON))
    z = (h - mean) / root

    def backward(grad_n: FloatArray) -> BatchNormGradients:
        return BatchNormGradients(grad_n * (gain / root), (grad_n * z).sum(axis=0), grad_n.sum(axis=0))

    return gain * z + bias, backward


def moved_statistics(mean: FloatArray, variance: FloatArray, h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Running mean and variance after one more batch.

    m <- 0.9 m + 0.1 mu,  v <- 0.9 v + 0.1 B/(B - 1) s^2              (docs/derivation.md, B6)

    Args:
        mean, variance: (F,), before; h: (B, F), the batch's values before B2.
    """
    of_batch = moments(h)
    unbiased = of_batch[1] * (len(h) / max(len(h) - 1, 1))
    moved = KEPT_SHARE * mean + (1 - KEPT_SHARE) * of_batch[0]
    return moved, KEPT_SHARE * variance + (1 - KEPT_SHARE) * unbiased


def check_statistics(h: FloatArray, *columns: FloatArray) -> None:
    """Raises ShapeError unless h is (B, F) with B >= 1 and each of the columns (F,)."""
    shapes = [column.shape for column in columns]
    if h.ndim != 2 or not len(h) or any(shape != h.shape[1:] for shape in shapes):
        raise ShapeError(f"batch norm needs h (B, F) with B >= 1 and (F,) a unit, got {h.shape} and {shapes}.")
