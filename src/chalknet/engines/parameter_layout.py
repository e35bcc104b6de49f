"""How engines store parameters: `ParameterLayout` converts between arrays by name and one matrix per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.engines.engine import AVERAGE, UpdateRule
from chalknet.network.architecture import Architecture, NamedLayer
from chalknet.network.layer import Parameters

Matrix = NDArray[Any]


@dataclass(eq=False)
class NetworkArrays:
    """Parameters, gradients or optimizer state as one matrix per layer.

    Attributes:
        learned: one (rows, O) matrix per layer with learned parameters: the weight, transposed, (I, O), then one row
            for each bias or scale.
        statistics: one (rows, O) matrix per layer with running statistics, one row for each.
    """

    learned: list[Matrix]
    statistics: list[Matrix] = field(default_factory=list)

    def like(self) -> NetworkArrays:
        """Return uninitialized arrays of the same shapes."""
        return NetworkArrays(*([np.empty_like(value) for value in values] for values in self._groups))

    def copy(self) -> NetworkArrays:
        """Return the same values in other arrays."""
        return NetworkArrays(*([value.copy() for value in values] for values in self._groups))

    def copy_from(self, other: NetworkArrays) -> None:
        """Copy values of the same shapes into these arrays."""
        for mine, theirs in zip(self._groups, other._groups, strict=True):
            for value, new in zip(mine, theirs, strict=True):
                np.copyto(value, new)

    @property
    def _groups(self) -> tuple[list[Matrix], list[Matrix]]:
        return self.learned, self.statistics


class LayerArrays(NamedTuple):
    """Where the parameters of one layer are stored.

    Attributes:
        learned: index in `NetworkArrays.learned`, or None without learned parameters.
        statistics: index in `NetworkArrays.statistics`, or None.
        n_weights: rows of the learned matrix that are weights; the others are biases and scales.
    """

    learned: int | None
    statistics: int | None
    n_weights: int


class ParameterLayout:
    """How the parameters of an architecture are stored.

    Attributes:
        layers: the place of each layer's parameters, one per layer of the architecture.
        n_weights: of each learned matrix, the rows that are weights.
        n_rows: of each learned matrix, all rows.
    """

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self.layers: list[LayerArrays] = []
        self.n_weights: list[int] = []
        self.n_rows: list[int] = []
        n_statistics = 0
        for layer in architecture.named_layers:
            learned = statistics = None
            n_weights = 0
            if _names(layer, True):
                learned, n_weights = len(self.n_weights), _n_weights(layer)
                self.n_weights.append(n_weights)
                self.n_rows.append(n_weights + len(_names(layer, True)) - ("weight" in layer.names))
            if _names(layer, False):
                statistics, n_statistics = n_statistics, n_statistics + 1
            self.layers.append(LayerArrays(learned, statistics, n_weights))

    def pack(self, named: Mapping[str, NDArray[Any]], dtype: DTypeLike) -> NetworkArrays:
        """Return parameters by name as matrices. Every parameter needs a value."""
        missing = [name for name in self._architecture.shapes if name not in named]
        assert not missing, f"parameters without a value: {missing}"
        return self._pack(named, dtype)

    def _pack(self, named: Mapping[str, NDArray[Any]], dtype: DTypeLike) -> NetworkArrays:
        arrays = NetworkArrays([], [])
        for layer in self._architecture.named_layers:
            for values, is_learned in ((arrays.learned, True), (arrays.statistics, False)):
                if names := _names(layer, is_learned):
                    values.append(_stack(layer, names, named, dtype))
        return arrays

    def unpack(self, arrays: NetworkArrays) -> Parameters:
        """Return copies of the parameters by name; the inverse of `pack`."""
        named: Parameters = {}
        for layer, place in zip(self._architecture.named_layers, self.layers, strict=True):
            if place.learned is not None:
                named |= _split(layer, _names(layer, True), arrays.learned[place.learned])
            if place.statistics is not None:
                named |= _split(layer, _names(layer, False), arrays.statistics[place.statistics])
        return {name: named[name] for name in self._architecture.shapes}

    def pack_state(
        self, rule: UpdateRule, state: Mapping[str, NDArray[Any]], dtype: DTypeLike
    ) -> dict[str, NetworkArrays]:
        """Return optimizer state by "slot/parameter" as matrices by slot; a parameter without a value is 0."""
        return {slot: self._pack(_of_slot(state, slot), dtype) for slot in rule.slots}

    def unpack_state(self, memory: Mapping[str, NetworkArrays]) -> Parameters:
        """Return optimizer state by "slot/parameter"; only the average has running statistics."""
        return {
            f"{slot}/{name}": value
            for slot, arrays in memory.items()
            for name, value in self.unpack(arrays).items()
            if slot == AVERAGE or name not in self._architecture.statistics
        }


def initial_state(rule: UpdateRule, architecture: Architecture, parameters: Mapping[str, NDArray[Any]]) -> Parameters:
    """Return the optimizer state before the first update; an average includes the running statistics."""
    statistics = architecture.statistics
    state = rule.start({name: value for name, value in parameters.items() if name not in statistics})
    if AVERAGE in rule.slots:
        state |= {f"{AVERAGE}/{name}": parameters[name].copy() for name in statistics}
    return state


def _names(layer: NamedLayer, is_learned: bool) -> list[str]:
    """Return the names of a layer's learned parameters, or of its statistics; the weight comes first."""
    found = [name for name, one in layer.parameters.items() if one.is_learned == is_learned]
    return sorted(found, key=lambda name: name != layer.names.get("weight"))


def _n_weights(layer: NamedLayer) -> int:
    weight = layer.names.get("weight")
    return 0 if weight is None else int(np.prod(layer.parameters[weight].shape[1:]))


def _stack(layer: NamedLayer, names: list[str], named: Mapping[str, NDArray[Any]], dtype: DTypeLike) -> Matrix:
    shapes = [layer.parameters[name].shape for name in names]
    matrix = np.zeros((sum(int(np.prod(shape[1:])) for shape in shapes), shapes[0][0]), dtype)
    for name, rows in _rows(layer, names, matrix):
        if name in named:
            rows[:] = named[name].reshape(len(named[name]), -1).T
    return matrix


def _split(layer: NamedLayer, names: list[str], matrix: Matrix) -> Parameters:
    shapes = {name: layer.parameters[name].shape for name in names}
    # A copy even where the transposed is contiguous.
    return {name: np.array(rows.T, order="C").reshape(shapes[name]) for name, rows in _rows(layer, names, matrix)}


def _rows(layer: NamedLayer, names: list[str], matrix: Matrix) -> list[tuple[str, Matrix]]:
    """Return each parameter with its rows of a layer's matrix, as a view."""
    found, start = [], 0
    for name in names:
        stop = start + int(np.prod(layer.parameters[name].shape[1:]))
        found.append((name, matrix[start:stop]))
        start = stop
    return found


def _of_slot(state: Mapping[str, NDArray[Any]], slot: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{slot}/"): value for name, value in state.items() if name.startswith(f"{slot}/")}
