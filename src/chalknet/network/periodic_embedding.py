"""The periodic embedding of numbers, and its derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chalknet.config import MAX_UNITS, POSITIVE, integer, setting
from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.column_embedding import ColumnEmbedding
from chalknet.network.layer import (
    PREDICTION,
    LayerPass,
    Mode,
    Normal,
    OnnxGraph,
    Parameter,
    Shape,
    Uniform,
    learning_rate_multiplier_setting,
)


class PeriodicGradients(NamedTuple):
    """The gradients of x (B, I), frequency and phase (C, K), weight (C, J, K) and bias (C, J)."""

    grad_x: FloatArray
    grad_frequency: FloatArray
    grad_phase: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


def periodic_embedding(
    x: FloatArray, frequency: FloatArray, phase: FloatArray, weight: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], PeriodicGradients]]:
    """Return x, followed by an embedding h of each of its first C columns.

    angle        = 2 pi frequency x + phase, (B, C, K)               (docs/derivation.md, F1)
    h            = weight cos(angle) + bias, (B, C, J)               (F2)
    dL/dweight   = sum over rows of dL/dh cos(angle)                 (F3)
    dL/dbias     = sum over rows of dL/dh
    dL/dangle    = -sin(angle) dL/dh weight                          (F4)
    dL/dfrequency = 2 pi sum over rows of x dL/dangle                (F5)
    dL/dphase    = sum over rows of dL/dangle
    dL/dx        = dL/dvalue of x itself + 2 pi frequency dL/dangle  (F6)

    Each column i has its own frequencies, phases and weights; sums over K or J are left out above.

    Args:
        x: (B, I) float32 or float64.
        frequency: (C, K), in periods per unit of x; C <= I.
        phase: (C, K) radians.
        weight: (C, J, K).
        bias: (C, J).

    Returns:
        value: (B, I + C J): x, then J numbers for each of the first C columns.
        backward: grad_value (B, I + C J) -> PeriodicGradients, summed over rows.

    Raises:
        ShapeError: the shapes do not fit together.

    Source: Gorishniy, Rubachev and Babenko, On Embeddings for Numerical Features in Tabular Deep
    Learning (NeurIPS 2022), section 3.3; with the phases and x itself as in Holzmueller, Grinsztajn
    and Steinwart, Better by Default (NeurIPS 2024), section 3.2.
    """
    _check_shapes(x, frequency, phase, weight, bias)
    n_inputs, (n_columns, n_outputs, _) = x.shape[1], weight.shape
    first = x[:, :n_columns]
    angle = 2 * math.pi * (first[:, :, None] * frequency) + phase
    cosine = np.cos(angle)
    embedded = np.einsum("nik,ijk->nij", cosine, weight) + bias

    def backward(grad_value: FloatArray) -> PeriodicGradients:
        grad = grad_value[:, n_inputs:].reshape(-1, n_columns, n_outputs)
        grad_angle = -np.sin(angle) * np.einsum("nij,ijk->nik", grad, weight)
        grad_x = grad_value[:, :n_inputs].copy()
        grad_x[:, :n_columns] += 2 * math.pi * np.einsum("nik,ik->ni", grad_angle, frequency)
        return PeriodicGradients(
            grad_x=grad_x,
            grad_frequency=2 * math.pi * np.einsum("nik,ni->ik", grad_angle, first),
            grad_phase=grad_angle.sum(axis=0),
            grad_weight=np.einsum("nij,nik->ijk", grad, cosine),
            grad_bias=grad.sum(axis=0),
        )

    return np.concatenate([x, embedded.reshape(len(x), -1)], axis=1), backward


def _check_shapes(
    x: FloatArray, frequency: FloatArray, phase: FloatArray, weight: FloatArray, bias: FloatArray
) -> None:
    fits = weight.ndim == 3 and bias.shape == weight.shape[:2]
    fits = fits and frequency.shape == phase.shape == (weight.shape[0], weight.shape[2])
    if not fits or x.ndim != 2 or x.shape[1] < len(weight):
        raise ShapeError(
            "a periodic embedding needs x (B, I), frequency and phase (C, K), weight (C, J, K) and bias (C, J) with "
            f"C <= I, got {x.shape}, {frequency.shape}, {phase.shape}, {weight.shape} and {bias.shape}."
        )


@dataclass(frozen=True)
class PeriodicEmbedding(ColumnEmbedding):
    """A periodic embedding of the first inputs (PBLD); all inputs pass through unchanged.

    Attributes:
        columns: C, how many of the first inputs are embedded; 0 for all.
        frequencies: K, the number of frequencies of each input.
        outputs: J, the numbers that each input gets in addition to itself.
        sigma: standard deviation of the initial frequencies.
        learning_rate_multiplier: factor of the learning rate of all parameters, >= 0.
    """

    type = "periodic_embedding"
    columns: int = setting(0, integer(0, MAX_UNITS), "number of the first inputs that are embedded; 0 for all")
    frequencies: int = setting(16, integer(1, MAX_UNITS), "number of frequencies of each input")
    outputs: int = setting(3, integer(1, MAX_UNITS), "numbers that each input gets in addition to itself")
    sigma: float = setting(0.1, POSITIVE, "standard deviation of the initial frequencies")
    learning_rate_multiplier: float = learning_rate_multiplier_setting()
    predictor_source = '''
def periodic_embedding(x, p):
    """x, then weight cos(2 pi frequency x + phase) + bias for each of its first columns."""
    first = x[:, : len(p["weight"]), None]
    cosine = np.cos(DTYPE(2 * np.pi) * (first * p["frequency"]) + p["phase"])
    embedded = np.einsum("nik,ijk->nij", cosine, p["weight"]) + p["bias"]
    return np.concatenate([x, embedded.reshape(len(x), -1)], axis=1)
'''

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return frequency, phase, weight and bias; see `Layer.parameters`."""
        n, k, j, multiplier = (
            self.n_columns(input_shape),
            self.frequencies,
            self.outputs,
            self.learning_rate_multiplier,
        )
        linear = Uniform(1 / math.sqrt(k))
        return {
            "frequency": Parameter((n, k), Normal(self.sigma), learning_rate_multiplier=multiplier),
            "phase": Parameter((n, k), Uniform(math.pi), learning_rate_multiplier=multiplier),
            "weight": Parameter((n, j, k), linear, learning_rate_multiplier=multiplier),
            "bias": Parameter((n, j), linear, learning_rate_multiplier=multiplier),
        }

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `periodic_embedding` to x; see `Layer.forward`."""
        del mode
        names = ("frequency", "phase", "weight", "bias")
        value, through = periodic_embedding(x, *(parameters[name] for name in names))

        def backward(grad_value: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            grad_x, *gradients = through(grad_value)
            return grad_x, dict(zip(names, gradients, strict=True))

        return LayerPass(value, backward)

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the nodes of F1 and F2; see `Layer.to_onnx`."""
        first = x
        if self.columns:
            first = graph.add("Slice", [x, graph.integers(0), graph.integers(self.columns), graph.integers(1)])
        turns = graph.add("Mul", [graph.add("Unsqueeze", [first, graph.integers(2)]), parameters["frequency"]])
        angle = graph.add("Add", [graph.add("Mul", [turns, graph.scalar(2 * math.pi)]), parameters["phase"]])
        cosine = graph.add("Cos", [angle])
        product = graph.add("Einsum", [cosine, parameters["weight"]], equation="nik,ijk->nij")
        embedded = graph.add("Flatten", [graph.add("Add", [product, parameters["bias"]])], axis=1)
        return graph.add("Concat", [x, embedded], axis=1)
