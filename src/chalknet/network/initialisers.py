"""Initial weights: drawn by NumPy's legacy generator in float64, so that equal seeds mean equal weights everywhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from chalknet.network.architecture import Architecture, Parameters


def glorot_deviation(fan_in: int, fan_out: int) -> float:
    """Standard deviation that keeps the variance of a layer's values and of its gradients about level.

    sd = sqrt(2 / (fan_in + fan_out))                                (docs/derivation.md, I1)

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks (AISTATS 2010).
    """
    return math.sqrt(2.0 / (fan_in + fan_out))


def glorot_normal(rng: np.random.RandomState, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
    """Normal values of mean 0 and `glorot_deviation`, float64, drawn from rng in row-major order."""
    return rng.normal(0.0, glorot_deviation(fan_in, fan_out), shape)


def initial_parameters(architecture: Architecture, seed: int) -> Parameters:
    """The write-up's start: weight, then bias, layer after layer, all from one legacy stream.

    The biases are drawn with their layer's deviation too. `numpy.random.RandomState(seed)` gives what
    `numpy.random.seed(seed)` and the module-level functions gave; NumPy has frozen these streams (NEP 19).

    Args:
        seed: in [0, 2**32).
    Returns:
        float64 parameters by name, in the order of `architecture.shapes`.
    """
    rng = np.random.RandomState(seed)
    parameters: Parameters = {}
    for layer, (fan_out, fan_in) in architecture.layers.items():
        parameters[f"{layer}.weight"] = glorot_normal(rng, (fan_out, fan_in), fan_in, fan_out)
        parameters[f"{layer}.bias"] = glorot_normal(rng, (fan_out,), fan_in, fan_out)
    return parameters
