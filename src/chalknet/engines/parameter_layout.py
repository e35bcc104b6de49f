"""How engines store parameters: one matrix per layer instead of one array per parameter."""

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

    With the bias as the last row of the weight matrix, an optimizer makes one step per layer. In
    the first layer one product computes x W + b, because samples have a last column of ones.

    Attributes:
        learned: one (rows, O) matrix per layer with learned parameters: the transposed weight
            (I, O), then one row for each bias or scale.
        statistics: one (rows, O) matrix per layer with running statistics, one row for each, or with edges
            of bins, one row for each edge.
    """

    learned: list[Matrix]
    statistics: list[Matrix] = field(default_factory=list)

    def map(self, function: Callable[[Any], Any]) -> NetworkArrays:
        """Return the results of a function of each matrix, in the same order."""
        return NetworkArrays([function(one) for one in self.learned], [function(one) for one in self.statistics])

    def copy_from(self, other: NetworkArrays) -> None:
        """Overwrite these matrices with the values of matrices of the same shapes."""
        for mine, theirs in ((self.learned, other.learned), (self.statistics, other.statistics)):
            for value, new in zip(mine, theirs, strict=True):
                value[...] = new


# Everything that training changes: the parameters under this key, and each array of the optimizer
# state under its name, such as "velocity".
PARAMETERS = "parameters"
NetworkState = dict[str, NetworkArrays]


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
    """Where each parameter of an architecture is stored, and the conversion in both directions.

    Attributes:
        layers: where the parameters of each layer are, one entry per layer of the architecture.
        n_weights: for each learned matrix, how many of its rows are weights.
        n_rows: for each learned matrix, how many rows it has.
        n_columns: for each learned matrix, how many columns it has.
        statistics_shapes: for each matrix of statistics, its rows and columns.
        row_multipliers: for each learned matrix, the runs of rows whose learning rates have the same
            multiplier, in order, each with the multiplier.
        l2: for each learned matrix, the strength of the L2 penalty that its layer sets for its weights.
        multipliers: the different multipliers, in the order of their first rows.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Assign rows to the parameters of an architecture."""
        self._architecture = architecture
        self.layers: list[LayerArrays] = []
        self.l2: list[float] = []
        # The (rows, columns) of each matrix, by whether it is learned. For each parameter, by name:
        # whether it is learned, the index of its matrix and its rows there.
        self._sizes: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._places: dict[str, tuple[bool, int, slice]] = {}
        for layer in architecture.named_layers:
            weight, own = layer.names.get("weight"), dict[bool, int]()
            for name in sorted(layer.parameters, key=lambda name: name != weight):  # weights are the first rows
                kind, shape = layer.parameters[name].is_learned, layer.parameters[name].shape
                index = own.setdefault(kind, len(self._sizes[kind]))
                start = self._sizes[kind].pop()[0] if index < len(self._sizes[kind]) else 0
                rows = slice(start, start + math.prod(shape[1:]))
                self._sizes[kind].append((rows.stop, shape[0]))
                self._places[name] = kind, index, rows
            n_weights = 0 if weight is None else self._places[weight][2].stop
            if True in own:
                self.l2.append(0.0 if weight is None else layer.parameters[weight].l2)
            self.layers.append(LayerArrays(own.get(True), own.get(False), n_weights))
        self.n_weights: list[int] = [layer.n_weights for layer in self.layers if layer.learned is not None]
        self.n_rows: list[int] = [rows for rows, _ in self._sizes[True]]
        self.n_columns: list[int] = [columns for _, columns in self._sizes[True]]
        self.statistics_shapes: list[tuple[int, int]] = list(self._sizes[False])
        self.row_multipliers: list[list[tuple[slice, float]]] = self._runs_of_multipliers()
        self.multipliers: tuple[float, ...] = tuple(
            dict.fromkeys(one for runs in self.row_multipliers for _, one in runs)
        )

    def _runs_of_multipliers(self) -> list[list[tuple[slice, float]]]:
        found: list[list[tuple[slice, float]]] = [[] for _ in self.n_rows]
        learned = sorted((index, rows.start, rows, name) for name, (kind, index, rows) in self._places.items() if kind)
        for index, start, rows, name in learned:
            multiplier = self._architecture.parameters[name].learning_rate_multiplier
            if found[index] and found[index][-1][1] == multiplier:
                start = found[index].pop()[0].start
            found[index].append((slice(start, rows.stop), multiplier))
        return found

    def pack(
        self,
        optimizer: Optimizer,
        parameters: Mapping[str, NDArray[Any]],
        state: Mapping[str, NDArray[Any]],
        dtype: Any,
    ) -> NetworkState:
        """Return parameters and optimizer state as matrices.

        Args:
            optimizer: whose state it is.
            parameters: a value for every parameter, by name.
            state: optimizer state by "state/parameter"; what is missing becomes 0.
            dtype: float type of the matrices.
        """
        missing = [name for name in self._architecture.shapes if name not in parameters]
        assert not missing, f"parameters without a value: {missing}"
        named = {PARAMETERS: parameters, **{key: arrays_of_kind(state, key) for key in optimizer.state_names}}
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
        # np.array copies even where the transposed matrix is contiguous, as a vector is. Callers
        # may write to what they get.
        return {name: np.array(rows[name].T, order="C").reshape(shape) for name, shape in shapes.items()}

    def _rows(self, arrays: NetworkArrays) -> dict[str, Matrix]:
        """Return each parameter's rows of its matrix, as a view."""
        matrices = {True: arrays.learned, False: arrays.statistics}
        return {name: matrices[kind][index][rows] for name, (kind, index, rows) in self._places.items()}

    def unpack_state(self, state: NetworkState) -> Parameters:
        """Return copies of the optimizer state by "state/parameter".

        Running statistics are not learned, so only the parameter average has entries for them.
        """
        return {
            f"{key}/{name}": value
            for key, arrays in state.items()
            for name, value in (self.unpack(arrays).items() if key != PARAMETERS else ())
            if key == AVERAGE or name not in self._architecture.statistics
        }


def arrays_to_evaluate(state: NetworkState) -> NetworkArrays:
    """Return the arrays that `evaluate` uses: the average of the parameters, or the parameters."""
    return state.get(AVERAGE, state[PARAMETERS])


def initial_state(
    optimizer: Optimizer, architecture: Architecture, parameters: Mapping[str, NDArray[Any]]
) -> Parameters:
    """Return the optimizer state before the first update, by "state/parameter".

    A parameter average also averages running statistics, which the optimizer does not step.
    """
    statistics = architecture.statistics
    state = optimizer.initial_state({name: value for name, value in parameters.items() if name not in statistics})
    if AVERAGE in optimizer.state_names:
        state |= {f"{AVERAGE}/{name}": parameters[name].copy() for name in statistics}
    return state


def arrays_of_kind(arrays: Mapping[str, NDArray[Any]], kind: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a kind, such as those named "velocity/...", by their names without it."""
    return {name.removeprefix(f"{kind}/"): value for name, value in arrays.items() if name.startswith(f"{kind}/")}
