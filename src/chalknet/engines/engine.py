"""The interface between training and the code that computes: `Engine`, and `EngineSpec` that one is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.random_transforms import RandomTransforms
from chalknet.network.architecture import Architecture
from chalknet.network.layer import Parameters
from chalknet.network.objective import Objective
from chalknet.records import Scores

Snapshot = Any  # parameters and state in an engine's own form, which that engine alone reads
Batch = NDArray[np.int64] | slice  # positions in the training part; a slice means a run of them, without a copy


@dataclass(frozen=True, eq=False)
class Part:
    """The samples of one part, flattened but as raw as they were read: inputs (n, I), labels (n,) whole numbers.

    inputs is an array, or what gives arrays for slices and positions, such as `StoredPart`. weights (n,) says what each
    sample counts in training, 1 where there are none; scores count every sample alike.
    """

    inputs: Any
    labels: NDArray[np.integer[Any]]
    weights: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True, eq=False)
class SampleScores:
    """Each sample's share in the scores of a part: loss (n,) float, nats; right (n,) bool, whether its class is."""

    loss: NDArray[Any]
    right: NDArray[np.bool_]


AVERAGE = "average"  # the slot that, where a rule has it, is evaluated and given out instead of the weights


@dataclass(frozen=True)
class Step:
    """What an update rule is told of an update: its number in the whole training, from 1 on, and the learning rate."""

    number: int
    learning_rate: float


@dataclass(frozen=True, eq=False)
class Update:
    """One update: the samples it learns from, and its step."""

    batch: Batch
    step: Step


class UpdateRule(Protocol):
    """What an engine asks of an optimiser: pure steps over named arrays, and the same in place."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of what is remembered of every parameter; `AVERAGE`, if it is one, comes last."""

    def start(self, parameters: Parameters) -> Parameters:
        """What is remembered before the first step, by "slot/parameter"."""

    def step(
        self, parameters: Parameters, gradients: Parameters, state: Parameters, step: Step
    ) -> tuple[Parameters, Parameters]:
        """Parameters and state after one step; the arrays handed in are not changed."""

    def update(
        self,
        matrix: NDArray[Any],
        gradient: NDArray[Any],
        memory: Sequence[NDArray[Any]],
        bias_rows: int,
        step: Step,
    ) -> None:
        """Make the same step in place, for some rows of a matrix of weights, biases and scales.

        Args:
            gradient: may be overwritten.
            memory: one matrix per slot.
            bias_rows: how many of these rows, the last ones, are not weights.
        """

    def numbers(self, step: Step) -> tuple[float, ...]:
        """All that a step takes from its number and its learning rate, the same count at every step."""

    def move(
        self, matrix: Any, gradient: Any, memory: Sequence[Any], bias_rows: int, numbers: Sequence[Any], xp: Any
    ) -> None:
        """`update` in the arrays of another library, whose functions xp has under NumPy's names.

        numbers: as `numbers` gives them, or arrays of one number each.
        """

    def kept_of_average(self, number: int) -> float:
        """The share of an average that update number keeps (docs/derivation.md, U7)."""


@dataclass(frozen=True, eq=False)
class EngineSpec:
    """Everything that an engine is constructed from.

    Attributes:
        architecture: the layers.
        parameters: initial values by name, as `Architecture.shapes` has them.
        optimizer: the update rule.
        splits: "train", "valid" and "test"; an absent or empty split is never scored.
        scaling: from raw inputs to what the first layer reads.
        objective: the training objective.
        transforms: random changes of training samples, and the seed of dropout masks.
        clip_norm: largest length of the gradient; 0 for no bound.
        dtype: float32 or float64, of all values.
        threads: None for one per core. Results do not depend on it, except for the torch engine's last digits.
        tile_rows: samples that pass through the network at a time, where an engine cuts batches.
        device, precision: of the torch engine, as in `TrainingConfig`.
    """

    architecture: Architecture
    parameters: Mapping[str, NDArray[Any]]
    optimizer: UpdateRule
    splits: Mapping[str, Part]
    scaling: Scaling = Scaling()
    objective: Objective = Objective()
    transforms: RandomTransforms = RandomTransforms()
    clip_norm: float = 0.0
    dtype: DTypeLike = np.float32
    threads: int | None = None
    tile_rows: int = 768
    device: str = "auto"
    precision: str = "float32"


class Engine(Protocol):
    """Trains and evaluates one network whose samples it holds ready.

    A contract suite (tests/contracts/test_engines.py) holds every engine to the reference engine.
    """

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda"."""

    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        """All updates; returns the scores of their batches together, each taken before its own update.

        They are scores of what the network then learnt from: with dropout, and on changed or mixed samples, of which
        the label is the larger share's. Updates are left off where the scores so far are no longer finite.
        """

    def evaluate(self, part: str) -> Scores | None:
        """The scores of "valid" or "test" (or "train") with the present parameters; None where the part is empty."""

    def evaluate_each(self, part: str) -> SampleScores | None:
        """What `evaluate` takes the mean of, sample by sample in the part's order."""

    def parameters(self) -> Parameters:
        """The present parameters as NumPy arrays by name, in the engine's float type."""

    def shown_parameters(self, of: Snapshot | None = None) -> Parameters:
        """The parameters that `evaluate` uses: the present ones, or their average where the rule keeps one.

        of: those of a snapshot instead.
        """

    def state(self) -> Parameters:
        """What the update rule remembers, by "slot/parameter"."""

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        """Puts parameters and state back as they were given out."""

    def snapshot(self) -> Snapshot:
        """Parameters and state as they are; plain copies, a tenth of the time that `parameters` and `state` take."""

    def go_back(self, snapshot: Snapshot) -> None:
        """Brings this engine to where it was when it gave that snapshot, which stays as it is."""


EngineFactory = Callable[[EngineSpec], Engine]
