"""The interface between training and the code that computes: `Engine`, and `EngineSpec` that one is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.random_transforms import RandomTransforms
from chalknet.network.architecture import Architecture
from chalknet.network.layer import Parameters
from chalknet.network.objective import Objective
from chalknet.network.optimizers import Optimizer, Step
from chalknet.records import Scores

Snapshot = Any  # parameters and state in a form that only the engine that made it can read
Batch = NDArray[np.int64] | slice  # positions in the training split; a slice is contiguous and needs no copy


@dataclass(frozen=True, eq=False)
class SplitData:
    """The samples of one split (training, validation or test) as an engine receives them.

    Attributes:
        inputs: (n, I) array with the dtype of the file, not scaled yet; or an object that returns such arrays when
            indexed by a slice or an index array, such as `OnDiskSplit`.
        labels: (n,) integers in [0, K).
        weights: (n,) floats >= 0, the weight of each sample in the training loss, or None for equal weights. Reported
            scores always weigh samples equally.
    """

    inputs: Any
    labels: NDArray[np.integer[Any]]
    weights: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True, eq=False)
class SampleScores:
    """The loss of each sample of a split, and whether its class is predicted.

    Attributes:
        loss: (n,) float, nats.
        correct: (n,) bool.
    """

    loss: NDArray[Any]
    correct: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Update:
    """One update of the parameters: a batch and a step."""

    batch: Batch
    step: Step


@dataclass(frozen=True, eq=False)
class EngineSpec:
    """Everything that an engine is constructed from.

    Attributes:
        architecture: the layers.
        parameters: initial values by name, as `Architecture.shapes` has them.
        optimizer: makes the steps.
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
    optimizer: Optimizer
    splits: Mapping[str, SplitData]
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
    """Trains and evaluates one network. tests/contracts/test_engines.py compares every engine with the reference."""

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda"."""

    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        """Run all updates, and return the scores of their batches, each computed before its own update.

        Scores are those of the samples after random transforms, with dropout; the label of a mixed sample is that of
        its larger share. An engine may stop once the scores are no longer finite.
        """

    def evaluate(self, part: str) -> Scores | None:
        """Return the scores of "train", "valid" or "test" with the present parameters; None if the split is empty."""

    def evaluate_samples(self, part: str) -> SampleScores | None:
        """Return per-sample scores in the order of the split; `evaluate` returns their means."""

    def parameters(self) -> Parameters:
        """Return the present parameters as NumPy arrays by name, in the engine's float type."""

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return the parameters that `evaluate` uses: the present ones, or their average where there is one.

        Args:
            of: a snapshot whose parameters are returned instead.
        """

    def state(self) -> Parameters:
        """Return the optimizer state, by "state/parameter"."""

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        """Restore parameters and optimizer state."""

    def snapshot(self) -> Snapshot:
        """Return copies of parameters and state, in a tenth of the time that `parameters` and `state` take."""

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Return to the state of a snapshot of this engine, which is not changed."""


EngineFactory = Callable[[EngineSpec], Engine]
