"""Initial parameters, drawn in float64 from NumPy's legacy generator."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from chalknet.config import INITIALIZERS
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import BIAS, PREDICTION, WEIGHT, Even, Normal, Parameters, Uniform


def glorot_deviation(fan_in: int, fan_out: int) -> float:
    """Return the standard deviation of the Glorot (Xavier) initializer.

    sd = sqrt(2 / (fan_in + fan_out))                                (docs/derivation.md, I1)

    With it the variances of values and gradients change little from layer to layer.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks (AISTATS 2010).
    """
    return math.sqrt(2.0 / (fan_in + fan_out))


def glorot_normal(rng: np.random.RandomState, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
    """Draw float64 normal values with mean 0 and `glorot_deviation`, in row-major order."""
    return rng.normal(0.0, glorot_deviation(fan_in, fan_out), shape)


def initial_parameters(architecture: Architecture, seed: int, initializer: str = "writeup") -> Parameters:
    """Return the initial value of every parameter.

    writeup         normal, sd = sqrt(2 / (fan_in + fan_out)), biases too  (docs/derivation.md, I1)
    glorot_normal   the same, biases 0                                     (I1)
    glorot_uniform  uniform within sqrt(6 / (fan_in + fan_out)), biases 0  (I2)
    he_normal       normal, sd = sqrt(2 / fan_in), biases 0                (I3)
    he_uniform      uniform within sqrt(6 / fan_in), biases 0              (I4)

    All values come from one stream of the legacy generator, weight before bias, layer after layer.
    `numpy.random.RandomState(seed)` draws the same numbers as `numpy.random.seed(seed)` with the
    module-level functions, and NumPy has frozen these streams (NEP 19). Other parameters start at
    the number that their layer defines, such as 1 for a batch norm scale, or are drawn from its
    distribution: in NTK parametrization (I5), and in embeddings of numbers (I6, I7) and of
    categories (I8).

    Args:
        architecture: the layers.
        seed: integer in [0, 2**32).
        initializer: one of the five names above.

    Returns:
        float64 arrays by name, in the order of `architecture.shapes`.

    Raises:
        ConfigError: the initializer is unknown.

    Source: Glorot and Bengio (AISTATS 2010); He, Zhang, Ren and Sun, Delving Deep into Rectifiers
    (ICCV 2015).
    """
    if initializer not in INITIALIZERS:
        raise ConfigError(f"initializer must be one of {', '.join(INITIALIZERS)}, got {initializer!r}.")
    rng = np.random.RandomState(seed)
    values: Parameters = {}
    for layer in architecture.named_layers:
        fan_in, fan_out = layer.layer.fans(layer.input_shape)
        for name, parameter in layer.parameters.items():
            initial = parameter.initial
            if isinstance(initial, Normal):
                values[name] = rng.normal(0.0, initial.deviation, parameter.shape)
            elif isinstance(initial, Uniform):
                values[name] = rng.uniform(-initial.bound, initial.bound, parameter.shape)
            elif isinstance(initial, Even):
                values[name] = np.broadcast_to(np.linspace(*initial, parameter.shape[-1]), parameter.shape).copy()
            elif initial == WEIGHT:
                values[name] = _draw_weight(rng, parameter.shape, fan_in, fan_out, initializer)
            elif initial == BIAS and initializer == "writeup":
                values[name] = glorot_normal(rng, parameter.shape, fan_in, fan_out)
            else:
                values[name] = np.full(parameter.shape, 0.0 if initial == BIAS else initial)
    return values


def fit_parameters(architecture: Architecture, parameters: Parameters, x: FloatArray) -> Parameters:
    """Return initial parameters with those that layers compute from the training samples, such as edges of bins.

    A layer sees its own input, so layers before it act with their initial parameters.

    Args:
        architecture: the layers.
        parameters: arrays by name, from `initial_parameters`.
        x: (N, I) scaled training samples, float64.
    """
    last = max((at for at, named in enumerate(architecture.named_layers) if named.layer.is_fitted), default=-1)
    found, inputs, value = dict(parameters), list[FloatArray](), x.reshape(len(x), *architecture.input_shape)
    for named in architecture.named_layers[: last + 1]:
        found |= named.named(named.layer.fit(value))
        inputs.append(value)
        mode = PREDICTION._replace(shortcut=None if named.shortcut is None else inputs[named.shortcut])
        value = named.layer.forward(named.local(found), value, mode).value
    return found


def _draw_weight(
    rng: np.random.RandomState, shape: tuple[int, ...], fan_in: int, fan_out: int, initializer: str
) -> NDArray[np.float64]:
    """Draw a weight; normal and uniform initializers have the same standard deviation."""
    deviation = math.sqrt(2.0 / fan_in) if initializer.startswith("he") else glorot_deviation(fan_in, fan_out)
    if initializer.endswith("uniform"):
        bound = math.sqrt(3.0) * deviation  # the deviation of U(-bound, bound) is bound / sqrt(3)
        return rng.uniform(-bound, bound, shape)
    return rng.normal(0.0, deviation, shape)
