"""The narrow waist between training and the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.network.architecture import Parameters
from chalknet.records import Scores

Batch = NDArray[np.int64] | slice  # positions in the training part; a slice means a run of them, without a copy


@dataclass(frozen=True, eq=False)
class Part:
    """The samples of one part, flattened but as raw as they were read: inputs (n, I), labels (n,) whole numbers.

    inputs is an array, or what gives arrays for slices and positions, such as `StoredPart`.
    """

    inputs: Any
    labels: NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class SampleScores:
    """Each sample's share in the scores of a part: loss (n,) float, nats; right (n,) bool, whether its class is."""

    loss: NDArray[Any]
    right: NDArray[np.bool_]


class UpdateRule(Protocol):
    """What an engine asks of an optimiser: pure steps over named arrays."""

    def start(self, parameters: Parameters) -> Parameters:
        """What is remembered before the first step, by name."""

    def step(self, parameters: Parameters, gradients: Parameters, state: Parameters) -> tuple[Parameters, Parameters]:
        """Parameters and state after one step; the arrays handed in are not changed."""

    def update(self, matrix: NDArray[Any], gradient: NDArray[Any], memory: NDArray[Any], has_bias: bool) -> None:
        """The same step in place, for some rows of a layer's (I+1, O) matrix of weights and bias.

        has_bias says that the last of these rows is the bias. gradient may be written over; memory holds what `start`
        made, and 0 where it made nothing.
        """


class EngineMaker(Protocol):
    """How every engine is made; see the engines for what each argument means."""

    def __call__(
        self,
        parts: Mapping[str, Part],
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        *,
        input_scale: float = ...,
        reduction: str = ...,
        dtype: DTypeLike = ...,
        workers: int | None = ...,
        tile_rows: int = ...,
    ) -> Engine: ...


class Engine(Protocol):
    """Trains and evaluates one network whose samples it holds ready.

    A contract suite (tests/contracts/test_engines.py) holds every engine to the reference engine.
    """

    def train_epoch(self, batches: Iterable[Batch]) -> Scores:
        """One update a batch; returns the scores of all batches, each taken before its own update."""

    def evaluate(self, part: str) -> Scores | None:
        """The scores of "valid" or "test" (or "train") with the present parameters; None where the part is empty."""

    def evaluate_each(self, part: str) -> SampleScores | None:
        """What `evaluate` takes the mean of, sample by sample in the part's order."""

    def parameters(self) -> Parameters:
        """The present parameters as NumPy arrays by name, in the engine's float type."""

    def state(self) -> Parameters:
        """What the update rule remembers, by name."""

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        """Puts parameters and state back as they were given out."""
