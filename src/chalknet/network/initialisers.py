"""Initial weights: drawn by NumPy's legacy generator in float64, so that equal seeds mean equal weights everywhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from chalknet.config import INITIALISERS
from chalknet.errors import ConfigError
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


def initial_parameters(architecture: Architecture, seed: int, initialiser: str = "writeup") -> Parameters:
    """Weight, then bias, layer after layer, all from one legacy stream.

    writeup         normal, sd = sqrt(2 / (fan_in + fan_out)), the biases too    (docs/derivation.md, I1)
    glorot_normal   the same, biases 0                                            (I1)
    glorot_uniform  uniform within sqrt(6 / (fan_in + fan_out)), biases 0         (I2)
    he_normal       normal, sd = sqrt(2 / fan_in), biases 0                       (I3)
    he_uniform      uniform within sqrt(6 / fan_in), biases 0                     (I4)

    `numpy.random.RandomState(seed)` gives what `numpy.random.seed(seed)` and the module-level functions gave; NumPy has
    frozen these streams (NEP 19). Gains of batch normalisation are 1, running means 0, running variances 1.

    Args:
        seed: in [0, 2**32).
        initialiser: one of the five.
    Returns:
        float64 parameters by name, in the order of `architecture.shapes`.
    Raises:
        ConfigError: an unknown initialiser.
    Source: Glorot and Bengio (AISTATS 2010); He, Zhang, Ren and Sun, Delving Deep into Rectifiers (ICCV 2015).
    """
    if initialiser not in INITIALISERS:
        raise ConfigError(f"initialiser must be one of {', '.join(INITIALISERS)}, got {initialiser!r}.")
    rng = np.random.RandomState(seed)
    parameters: Parameters = {}
    for layer, (fan_out, fan_in) in architecture.layers.items():
        parameters[f"{layer}.weight"] = _drawn(rng, (fan_out, fan_in), fan_in, fan_out, initialiser)
        zero_bias = initialiser != "writeup"
        parameters[f"{layer}.bias"] = (
            np.zeros(fan_out) if zero_bias else glorot_normal(rng, (fan_out,), fan_in, fan_out)
        )
    for name, shape in architecture.shapes.items():
        kind = name.rsplit(".", 1)[1]
        if kind in START_OF_KIND:
            parameters[name] = np.full(shape, START_OF_KIND[kind])
    return {name: parameters[name] for name in architecture.shapes}


START_OF_KIND = {"gain": 1.0, "mean": 0.0, "variance": 1.0}  # of what only batch normalisation has


def _drawn(
    rng: np.random.RandomState, shape: tuple[int, ...], fan_in: int, fan_out: int, initialiser: str
) -> NDArray[np.float64]:
    """A weight; a uniform one has the deviation of the normal one, as its bound is sqrt(3) deviations."""
    deviation = math.sqrt(2.0 / fan_in) if initialiser.startswith("he") else glorot_deviation(fan_in, fan_out)
    if initialiser.endswith("uniform"):
        bound = math.sqrt(3.0) * deviation
        return rng.uniform(-bound, bound, shape)
    return rng.normal(0.0, deviation, shape)
