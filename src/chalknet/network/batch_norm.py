"""Batch normalization and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import (
    PREDICTION,
    Layer,
    LayerPass,
    Mode,
    OnnxGraph,
    Parameter,
    Parameters,
    Shape,
    flat_size,
)

EPSILON = 1e-5  # added to variances, so that a constant unit is not divided by 0
RUNNING_DECAY = 0.9  # fraction of the running statistics that an update keeps


class BatchNormGradients(NamedTuple):
    """The gradients dL/dh (B, F), dL/dgamma (F,) and dL/dbias (F,)."""

    grad_h: FloatArray
    grad_gamma: FloatArray
    grad_bias: FloatArray


def batch_norm(
    h: FloatArray, gamma: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], BatchNormGradients]]:
    """Normalize each unit over the batch, then scale and shift it.

    mu = (1/B) sum_b h_b,  s^2 = (1/B) sum_b (h_b - mu)^2                             (docs/derivation.md, B1)
    z = (h - mu) / sqrt(s^2 + epsilon)                                                (B2)
    n = gamma z + bias                                                                 (B3)
    dL/dgamma = sum_b dL/dn z,  dL/dbias = sum_b dL/dn                                 (B4)
    dL/dh = gamma / sqrt(s^2 + epsilon) (dL/dn - (1/B) dL/dbias - (1/B) z dL/dgamma)    (B5)

    Args:
        h: (B, F) float32 or float64. Adding a constant to a unit does not change n.
        gamma, bias: (F,).
    Returns:
        n: (B, F).
        backward: grad_n (B, F) -> BatchNormGradients.
    Raises:
        ShapeError: the shapes do not fit, or the batch is empty.
    Source: Ioffe and Szegedy, Batch Normalization (ICML 2015), with its derivative in section 3.
    """
    check_statistics(h, gamma, bias)
    mean, variance = moments(h)
    root = np.sqrt(variance + h.dtype.type(EPSILON))
    z = (h - mean) / root

    def backward(grad_n: FloatArray) -> BatchNormGradients:
        grad_gamma, grad_bias = (grad_n * z).sum(axis=0), grad_n.sum(axis=0)
        grad_h = gamma / root * (grad_n - grad_bias / len(h) - z * (grad_gamma / len(h)))
        return BatchNormGradients(grad_h, grad_gamma, grad_bias)

    return gamma * z + bias, backward


def moments(h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance (biased) of each column, both (F,) (docs/derivation.md, B1)."""
    mean: FloatArray = h.mean(axis=0)
    variance: FloatArray = np.square(h - mean).mean(axis=0)
    return mean, variance


def normalize(
    h: FloatArray, mean: FloatArray, variance: FloatArray, gamma: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], BatchNormGradients]]:
    """Normalize with fixed statistics, as in prediction.

    n     = gamma (h - mean) / sqrt(variance + epsilon) + bias         (docs/derivation.md, B2, B3)
    dL/dh = dL/dn gamma / sqrt(variance + epsilon)                     (B3, the statistics being constants)

    Args:
        h: (B, F); mean, variance, gamma, bias: (F,).
    Returns:
        n: (B, F); backward: grad_n -> BatchNormGradients.
    Raises:
        ShapeError: the shapes do not fit.
    """
    check_statistics(h, mean, variance, gamma, bias)
    root = np.sqrt(variance + h.dtype.type(EPSILON))
    z = (h - mean) / root

    def backward(grad_n: FloatArray) -> BatchNormGradients:
        return BatchNormGradients(grad_n * (gamma / root), (grad_n * z).sum(axis=0), grad_n.sum(axis=0))

    return gamma * z + bias, backward


def update_running_statistics(mean: FloatArray, variance: FloatArray, h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return running mean and variance after one more batch.

    m <- 0.9 m + 0.1 mu,  v <- 0.9 v + 0.1 B/(B - 1) s^2              (docs/derivation.md, B6)

    Args:
        mean, variance: (F,), before the batch. h: (B, F), its values before B2.
    """
    batch = moments(h)
    unbiased = batch[1] * (len(h) / max(len(h) - 1, 1))
    new_mean = RUNNING_DECAY * mean + (1 - RUNNING_DECAY) * batch[0]
    return new_mean, RUNNING_DECAY * variance + (1 - RUNNING_DECAY) * unbiased


def check_statistics(h: FloatArray, *columns: FloatArray) -> None:
    """Raise ShapeError unless h is (B, F) with B >= 1 and every column (F,)."""
    shapes = [column.shape for column in columns]
    if h.ndim != 2 or not len(h) or any(shape != h.shape[1:] for shape in shapes):
        raise ShapeError(
            f"batch norm needs h (B, F) with B >= 1 and vectors of shape (F,), got {h.shape} and {shapes}."
        )


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization of every unit: statistics of the batch in training, running statistics in prediction."""

    type = "batch_norm"
    uses_batch_statistics = True
    predictor_source = f'''
def batch_norm(x, p):
    """gamma (x - mean) / sqrt(variance + epsilon) + bias."""
    root = np.sqrt(p["variance"] + DTYPE({EPSILON}))
    return p["gamma"] * ((x - p["mean"]) / root) + p["bias"]
'''

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        units = (flat_size(self, input_shape),)
        learned = {"gamma": Parameter(units, 1.0), "bias": Parameter(units, 0.0)}
        return learned | {"mean": Parameter(units, 0.0, False), "variance": Parameter(units, 1.0, False)}

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        gamma, bias, mean, variance = (parameters[name] for name in ("gamma", "bias", "mean", "variance"))
        value, through = batch_norm(x, gamma, bias) if mode.training else normalize(x, mean, variance, gamma, bias)

        def backward(grad_value: FloatArray) -> tuple[FloatArray, Parameters]:
            grad_x, grad_gamma, grad_bias = through(grad_value)
            return grad_x, {"gamma": grad_gamma, "bias": grad_bias}

        if not mode.training:
            return LayerPass(value, backward)
        new_mean, new_variance = update_running_statistics(mean, variance, x)
        return LayerPass(value, backward, {"mean": new_mean, "variance": new_variance})

    def __str__(self) -> str:
        return "batch normalization"

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        names = [parameters[name] for name in ("gamma", "bias", "mean", "variance")]
        return graph.add("BatchNormalization", [x, *names], epsilon=EPSILON)
