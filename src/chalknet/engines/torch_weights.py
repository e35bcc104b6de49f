"""Between parameters by name and the matrices that the torch engine keeps them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.engines.engine import AVERAGE, EngineSpec, UpdateRule
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture
from chalknet.network.dropout import Dropout
from chalknet.network.layer import Parameters

Matrix = NDArray[Any]


@dataclass(eq=False)
class Weights:
    """What a network is made of, layer by layer, as a tile reads it.

    Attributes:
        matrices: (I+1, O) each, the bias its last row.
        gains: (1, O) for each hidden layer, empty without batch normalisation.
        statistics: (2, O) for each of these, running mean and variance.
    """

    matrices: list[Matrix]
    gains: list[Matrix] = field(default_factory=list)
    statistics: list[Matrix] = field(default_factory=list)

    def like(self) -> Weights:
        """Room of the same shapes."""
        return Weights(*([np.empty_like(value) for value in values] for values in self.groups))

    def copy(self) -> Weights:
        """The same values in other arrays."""
        return Weights(*([value.copy() for value in values] for values in self.groups))

    def put(self, other: Weights) -> None:
        """Takes another's values, which are of the same shapes, into its own arrays."""
        for mine, theirs in zip(self.groups, other.groups, strict=True):
            for value, new in zip(mine, theirs, strict=True):
                np.copyto(value, new)

    @property
    def groups(self) -> tuple[list[Matrix], list[Matrix], list[Matrix]]:
        return self.matrices, self.gains, self.statistics


class Layers:
    """The layers of one network, as its parameters name them.

    Attributes:
        shapes: layer -> (outputs, inputs), in their order. batch_norm: whether hidden layers are normalised.
    """

    def __init__(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        self.shapes: dict[str, tuple[int, int]] = {
            name.removesuffix(".weight"): (value.shape[0], value.shape[1])
            for name, value in parameters.items()
            if name.endswith(".weight")
        }
        self.batch_norm = any(name.endswith(".gamma") for name in parameters)
        self._names = frozenset(parameters)

    def weights(self, named: Mapping[str, NDArray[Any]], dtype: DTypeLike) -> Weights:
        """Each layer's weight and bias as one (I+1, O) matrix, and what batch normalisation has; 0 without a name."""
        weights = Weights([])
        for layer, (n_out, n_in) in self.shapes.items():
            matrix = np.zeros((n_in + 1, n_out), dtype)
            if f"{layer}.weight" in named:
                matrix[:-1] = named[f"{layer}.weight"].T
            if f"{layer}.bias" in named:
                matrix[-1] = named[f"{layer}.bias"]
            weights.matrices.append(matrix)
            if f"{layer}.gamma" in self._names:
                zeros = np.zeros(n_out)
                gain, mean, variance = (named.get(f"{layer}.{kind}", zeros) for kind in ("gamma", "mean", "variance"))
                weights.gains.append(np.array(gain[None], dtype))
                weights.statistics.append(np.array([mean, variance], dtype))
        return weights

    def named(self, weights: Weights) -> Parameters:
        """The inverse: copies, by name."""
        named: Parameters = {}
        for number, (layer, matrix) in enumerate(zip(self.shapes, weights.matrices, strict=True)):
            # A copy even where the transposed is contiguous.
            named[f"{layer}.weight"] = np.array(matrix[:-1].T, order="C")
            named[f"{layer}.bias"] = matrix[-1].copy()
            if number < len(weights.gains):
                named[f"{layer}.gamma"] = weights.gains[number][0].copy()
                named[f"{layer}.mean"], named[f"{layer}.variance"] = (row.copy() for row in weights.statistics[number])
        return named

    def memory(self, rule: UpdateRule, state: Mapping[str, NDArray[Any]], dtype: DTypeLike) -> dict[str, Weights]:
        """What the rule remembers, a slot after the other; what has no name is 0."""
        return {slot: self.weights(_of_slot(state, slot), dtype) for slot in rule.slots}

    def state(self, memory: Mapping[str, Weights]) -> Parameters:
        """The inverse of `memory`, by "slot/parameter"; of running statistics only an average is remembered."""
        return {
            f"{slot}/{name}": value
            for slot, weights in memory.items()
            for name, value in self.named(weights).items()
            if slot == AVERAGE or not name.endswith((".mean", ".variance"))
        }


def start_of(rule: UpdateRule, parameters: Mapping[str, NDArray[Any]]) -> Parameters:
    """What the rule remembers of what is learnt, and the running statistics, of which an average is kept too."""
    learnt = {name: value for name, value in parameters.items() if not name.endswith((".mean", ".variance"))}
    statistics = {
        f"{AVERAGE}/{name}": value for name, value in parameters.items() if name.endswith((".mean", ".variance"))
    }
    return {**statistics, **rule.start(learnt)}


def check_short_form(spec: EngineSpec) -> float:
    """Return the dropout rate of hidden layers.

    Raises:
        ConfigError: the layers are not those of the short form.
    """
    layers = (
        spec.architecture.layers[1:] if isinstance(spec.architecture.layers[0], Dropout) else spec.architecture.layers
    )
    rates = [layer.rate for layer in layers if isinstance(layer, Dropout)]
    rate = rates[0] if rates else 0.0
    one = spec.architecture
    short = Architecture(one.n_inputs, one.hidden, one.n_classes, one.activations, one.uses_batch_statistics, rate)
    if short.layers != layers:
        raise ConfigError("the torch engine takes networks of the short form alone. Use --engine numpy.")
    return rate


def _of_slot(state: Mapping[str, NDArray[Any]], slot: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{slot}/"): value for name, value in state.items() if name.startswith(f"{slot}/")}
