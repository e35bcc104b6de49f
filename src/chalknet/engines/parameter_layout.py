"""How engines store parameters: `ParameterLayout` converts between arrays by name and one matrix per layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.network.architecture import Architecture
from chalknet.network.layer import Parameters
from chalknet.network.optimizers import AVERAGE, Optimizer

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

    def map(self, function: Callable[[Any], Any]) -> NetworkArrays:
        """Return the results of a function of each matrix, in the same order."""
        return NetworkArrays([function(one) for one in self.learned], [function(one) for one in self.statistics])

    def copy_from(self, other: NetworkArrays) -> None:
        """Copy values of the same shapes into these matrices."""
        for mine, theirs in ((self.learned, other.learned), (self.statistics, other.statistics)):
            for value, new in zip(mine, theirs, strict=True):
                value[...] = new


PARAMETERS = "parameters"  # their key in a `NetworkState`
NetworkState = dict[str, NetworkArrays]  # the parameters, and each key of the optimizer


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
        # By is_learned: rows and columns of each matrix. By name: is_learned, the matrix, and the parameter's rows.
        self._sizes: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._places: dict[str, tuple[bool, int, slice]] = {}
        for layer in architecture.named_layers:
            weight, own = layer.names.get("weight"), dict[bool, int]()
            for name in sorted(layer.parameters, key=lambda name: name != weight):  # the weight comes first
                kind, shape = layer.parameters[name].is_learned, layer.parameters[name].shape
                index = own.setdefault(kind, len(self._sizes[kind]))
                start = self._sizes[kind].pop()[0] if index < len(self._sizes[kind]) else 0
                rows = slice(start, start + math.prod(shape[1:]))
                self._sizes[kind].append((rows.stop, shape[0]))
                self._places[name] = kind, index, rows
            n_weights = 0 if weight is None else self._places[weight][2].stop
            self.layers.append(LayerArrays(own.get(True), own.get(False), n_weights))
        self.n_weights = [layer.n_weights for layer in self.layers if layer.learned is not None]
        self.n_rows = [rows for rows, _ in self._sizes[True]]

    def pack(
        self,
        optimizer: Optimizer,
        parameters: Mapping[str, NDArray[Any]],
        state: Mapping[str, NDArray[Any]],
        dtype: Any,
    ) -> NetworkState:
        """Return parameters by name, and optimizer state by "state/parameter", as matrices.

        Every parameter needs a value; a state without one is 0.
        """
        missing = [name for name in self._architecture.shapes if name not in parameters]
        assert not missing, f"parameters without a value: {missing}"
        named = {PARAMETERS: parameters, **{key: _state_of(state, key) for key in optimizer.state_names}}
        return {key: self._pack(values, dtype) for key, values in named.items()}

    def _pack(self, named: Mapping[str, NDArray[Any]], dtype: DTypeLike) -> NetworkArrays:
        arrays = NetworkArrays(*([np.zeros(size, dtype) for size in self._sizes[kind]] for kind in (True, False)))
        for name, rows in self._rows(arrays).items():
            if name in named:
                rows[:] = named[name].reshape(len(named[name]), -1).T
        return arrays

    def unpack(self, arrays: NetworkArrays) -> Parameters:
        """Return copies of the parameters by name; the inverse of `pack`."""
        rows, shapes = self._rows(arrays), self._architecture.shapes
        # A copy even where the transposed is contiguous.
        return {name: np.array(rows[name].T, order="C").reshape(shape) for name, shape in shapes.items()}

    def _rows(self, arrays: NetworkArrays) -> dict[str, Matrix]:
        """Return each parameter's rows of its matrix, as a view."""
        matrices = {True: arrays.learned, False: arrays.statistics}
        return {name: matrices[kind][index][rows] for name, (kind, index, rows) in self._places.items()}

    def unpack_state(self, state: NetworkState) -> Parameters:
        """Return optimizer state by "state/parameter"; only the average has running statistics."""
        return {
            f"{key}/{name}": value
            for key, arrays in state.items()
            for name, value in (self.unpack(arrays).items() if key != PARAMETERS else ())
            if key == AVERAGE or name not in self._architecture.statistics
        }


def shown(state: NetworkState) -> NetworkArrays:
    """Return what `evaluate` uses: the parameters, or their average where there is one."""
    return state.get(AVERAGE, state[PARAMETERS])


def initial_state(
    optimizer: Optimizer, architecture: Architecture, parameters: Mapping[str, NDArray[Any]]
) -> Parameters:
    """Return the optimizer state before the first update; an average includes the running statistics."""
    statistics = architecture.statistics
    state = optimizer.initial_state({name: value for name, value in parameters.items() if name not in statistics})
    if AVERAGE in optimizer.state_names:
        state |= {f"{AVERAGE}/{name}": parameters[name].copy() for name in statistics}
    return state


def _state_of(state: Mapping[str, NDArray[Any]], key: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{key}/"): value for name, value in state.items() if name.startswith(f"{key}/")}
