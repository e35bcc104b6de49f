"""Batch normalization and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import (
    PREDICTION,
    Buffers,
    Layer,
    LayerPass,
    Mode,
    OnnxGraph,
    Parameter,
    Parameters,
    Shape,
)

EPSILON = 1e-5  # added to variances, so that a unit with constant values is not divided by 0
RUNNING_DECAY = 0.9  # the fraction of the running statistics that each update keeps


class BatchNormGradients(NamedTuple):
    """The gradients dL/dh (B, F), dL/dgamma (F,) and dL/dbias (F,)."""

    grad_h: FloatArray
    grad_gamma: FloatArray
    grad_bias: FloatArray


def batch_norm(
    h: FloatArray, gamma: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], BatchNormGradients]]:
    """Normalize each unit over the batch, then scale and shift it.

    mu        = (1/B) sum_n h_n                                      (docs/derivation.md, B1)
    s^2       = (1/B) sum_n (h_n - mu)^2
    z         = (h - mu) / sqrt(s^2 + epsilon)                       (B2)
    value     = gamma z + bias                                       (B3)
    dL/dgamma = sum_n dL/dvalue_n z_n,  dL/dbias = sum_n dL/dvalue_n  (B4)
    dL/dh     = gamma / sqrt(s^2 + epsilon) (dL/dvalue - (1/B) dL/dbias - (1/B) z dL/dgamma)  (B5)

    Args:
        h: (B, F) float32 or float64. Adding a constant to a column does not change the value. For
            images, rows are pixels and columns are channels.
        gamma: (F,) scale.
        bias: (F,) mean of the normalized values.

    Returns:
        value: (B, F).
        backward: grad_value (B, F) -> BatchNormGradients.

    Raises:
        ShapeError: the shapes do not fit, or the batch is empty.

    Source: Ioffe and Szegedy, Batch Normalization (ICML 2015), with its derivative in section 3.
    """
    check_statistics(h, gamma, bias)
    mean, variance = moments(h)
    root = np.sqrt(variance + h.dtype.type(EPSILON))
    z = (h - mean) / root

    def backward(grad_value: FloatArray) -> BatchNormGradients:
        grad_gamma, grad_bias = (grad_value * z).sum(axis=0), grad_value.sum(axis=0)
        grad_h = gamma / root * (grad_value - grad_bias / len(h) - z * (grad_gamma / len(h)))
        return BatchNormGradients(grad_h, grad_gamma, grad_bias)

    return gamma * z + bias, backward


def moments(h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of each column, both (F,) (docs/derivation.md, B1)."""
    mean: FloatArray = h.mean(axis=0)
    variance: FloatArray = np.square(h - mean).mean(axis=0)
    return mean, variance


def normalize(
    h: FloatArray, mean: FloatArray, variance: FloatArray, gamma: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], BatchNormGradients]]:
    """Normalize with fixed statistics, as in prediction.

    value = gamma (h - mean) / sqrt(variance + epsilon) + bias       (docs/derivation.md, B2, B3)
    dL/dh = dL/dvalue gamma / sqrt(variance + epsilon)

    The derivative is simpler than B5, because the statistics do not depend on h.

    Args:
        h: (B, F) float32 or float64.
        mean: (F,) running mean.
        variance: (F,) running variance.
        gamma: (F,) scale.
        bias: (F,).

    Returns:
        value: (B, F).
        backward: grad_value -> BatchNormGradients.

    Raises:
        ShapeError: the shapes do not fit, or the batch is empty.
    """
    check_statistics(h, mean, variance, gamma, bias)
    root = np.sqrt(variance + h.dtype.type(EPSILON))
    z = (h - mean) / root

    def backward(grad_value: FloatArray) -> BatchNormGradients:
        grad_gamma, grad_bias = (grad_value * z).sum(axis=0), grad_value.sum(axis=0)
        return BatchNormGradients(grad_value * (gamma / root), grad_gamma, grad_bias)

    return gamma * z + bias, backward


def fold_batch_norm(product: Parameters, statistics: Parameters) -> Parameters:
    """Return weight and bias of a layer that gives what its output is after batch normalization in prediction.

    gamma (w x + b - mean) / root + bias = (gamma / root w) x + gamma / root (b - mean) + bias, with the
    root of variance + epsilon.

    Args:
        product: weight (F, ...), and bias (F,) if there is one.
        statistics: gamma, bias, mean and variance, all (F,).
    """
    weight, gamma, bias, mean = product["weight"], *(statistics[name] for name in ("gamma", "bias", "mean"))
    factor = gamma / np.sqrt(statistics["variance"] + weight.dtype.type(EPSILON))
    start = product.get("bias", np.zeros_like(mean))
    columns = factor.reshape(-1, *(1 for _ in weight.shape[1:]))
    return {"weight": weight * columns, "bias": factor * (start - mean) + bias}


def update_running_statistics(mean: FloatArray, variance: FloatArray, h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the running mean and variance after one more batch.

    mean     <- 0.9 mean + 0.1 mu                                    (docs/derivation.md, B6)
    variance <- 0.9 variance + 0.1 B/(B - 1) s^2

    Args:
        mean: (F,) running mean before the batch.
        variance: (F,) running variance before the batch.
        h: (B, F) values of the batch before normalization.
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
            f"batch norm needs h of shape (B, F) with B >= 1 and vectors (F,), got {h.shape} and {shapes}."
        )


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization of every unit, or of every channel of images over all pixels.

    Training uses the statistics of the batch, prediction the running statistics.
    """

    type = "batch_norm"
    uses_batch_statistics = True
    predictor_source: ClassVar[str] = f'''
def batch_norm(x, p):
    """gamma (x - mean) / sqrt(variance + epsilon) + bias."""
    root = np.sqrt(p["variance"] + DTYPE({EPSILON}))
    return p["gamma"] * ((x - p["mean"]) / root) + p["bias"]
'''

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return gamma, bias and the running statistics; see `Layer.parameters`."""
        units = input_shape[-1:]
        learned = {"gamma": Parameter(units, 1.0), "bias": Parameter(units, 0.0)}
        return learned | {"mean": Parameter(units, 0.0, False), "variance": Parameter(units, 1.0, False)}

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Normalize x by the batch or the running statistics; see `Layer.forward`."""
        gamma, bias, mean, variance = (parameters[name] for name in ("gamma", "bias", "mean", "variance"))
        h = x.reshape(-1, x.shape[-1])  # every pixel is a row
        value, through = batch_norm(h, gamma, bias) if mode.training else normalize(h, mean, variance, gamma, bias)

        def backward(grad_value: FloatArray) -> tuple[FloatArray, Parameters]:
            grad_h, grad_gamma, grad_bias = through(grad_value.reshape(h.shape))
            return grad_h.reshape(x.shape), {"gamma": grad_gamma, "bias": grad_bias}

        if not mode.training:
            return LayerPass(value.reshape(x.shape), backward)
        new_mean, new_variance = update_running_statistics(mean, variance, h)
        return LayerPass(value.reshape(x.shape), backward, {"mean": new_mean, "variance": new_variance})

    def predict(
        self,
        parameters: Mapping[str, FloatArray],
        x: FloatArray,
        buffers: Buffers,
        shortcut: FloatArray | None = None,
    ) -> FloatArray:
        """Normalize x by the running statistics; see `Layer.predict`."""
        del buffers, shortcut
        if x.ndim == 2:
            return self.forward(parameters, x).value
        gamma, bias, mean, variance = (parameters[name] for name in ("gamma", "bias", "mean", "variance"))
        factor = gamma / np.sqrt(variance + x.dtype.type(EPSILON))
        # Whole rows of an image at once: loops over a few channels would be slow.
        rows = x.reshape(len(x), x.shape[1], -1)
        rows *= np.tile(factor, x.shape[2])
        rows += np.tile(bias - mean * factor, x.shape[2])
        return rows.reshape(x.shape)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return "batch normalization"

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add ONNX's BatchNormalization; see `Layer.to_onnx`."""
        names = [parameters[name] for name in ("gamma", "bias", "mean", "variance")]
        return graph.add("BatchNormalization", [x, *names], epsilon=EPSILON)
