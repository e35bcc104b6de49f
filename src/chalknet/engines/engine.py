"""The interface between training and the code that computes: `Engine`, its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.random_transforms import RandomTransforms
from chalknet.engines.scores import EpochScores
from chalknet.network.architecture import Architecture
from chalknet.network.layer import Parameters
from chalknet.network.objective import Objective
from chalknet.network.optimizers import Optimizer, Step
from chalknet.records import Scores

# Parameters and optimizer state in a form that only the engine that made it can read.
Snapshot = Any
# Positions in the training split. An engine reads a slice without copying the samples.
Batch = NDArray[np.int64] | slice


@dataclass(frozen=True, eq=False)
class SplitData:
    """The samples of one split (training, validation or test) as an engine receives them.

    Attributes:
        inputs: (n, I) array with the dtype of the file, not scaled yet; or an object that returns
            such arrays when indexed by a slice or an index array, such as `OnDiskSplit`.
        labels: (n,) integers in [0, K).
        weights: (n,) floats >= 0, the weight of each sample in the training loss, or None for
            equal weights. Reported scores always weigh samples equally.
    """

    inputs: Any
    labels: NDArray[np.integer[Any]]
    weights: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True, eq=False)
class SampleScores:
    """The scores of each sample of a split, in the order of the split.

    Attributes:
        loss: (n,) floats, the cross-entropy of each sample in nats.
        correct: (n,) bool, whether the predicted class is the label.
    """

    loss: NDArray[Any]
    correct: NDArray[np.bool_]


class Update(NamedTuple):
    """One update of the parameters.

    Attributes:
        batch: positions of the samples in the training split.
        step: number of the update over the whole training, and its learning rate.
    """

    batch: Batch
    step: Step


@dataclass(frozen=True, eq=False)
class EngineSpec:
    """Everything that an engine is constructed from.

    Attributes:
        architecture: the layers.
        parameters: initial values by name, with the shapes that `Architecture.shapes` states.
        optimizer: the formula of an update.
        splits: samples by split name, "train", "valid" or "test". An absent or empty split has no
            scores.
        scaling: from the inputs of a file to what the first layer reads.
        objective: the loss that is minimized.
        transforms: augmentation and mixup of training samples, and the seed of dropout masks.
        clip_norm: largest norm of the gradient; 0 for no limit.
        dtype: float32 or float64, of parameters and values.
        threads: number of threads; None for one per core. Results do not depend on it, except for
            the last digits of the torch engine.
        tile_rows: how many samples pass through the network at once, where an engine cuts batches
            into tiles.
        device: "auto", "cpu" or "cuda"; used by the torch engine only.
        precision: "float32", "bfloat16" or "tf32", of products; used by the torch engine only.
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
    """Trains and evaluates one network.

    tests/contracts/test_engines.py holds every engine to the numbers of the reference.
    """

    @property
    def device(self) -> str:
        """The device that computes: "cpu" or "cuda"."""

    def train_epoch(self, updates: Iterable[Update], start: EpochScores | None = None) -> Scores:
        """Make all updates and return the mean scores of their batches.

        The scores of a batch are computed before its own update, after random transforms and with
        dropout. The label of a sample with mixup is that of its larger part. An engine may stop as
        soon as the loss is not finite.

        Args:
            updates: the updates. Whenever the next one is asked for, parameters, state and
                `epoch_scores` are those after `epoch_scores().n_updates` updates.
            start: the scores of the epoch's earlier updates, if these are the rest of an epoch; None
                for a whole epoch.
        """

    def epoch_scores(self) -> EpochScores:
        """Return the scores of the current epoch so far; only for the iterator of updates."""

    def evaluate(self, split: str) -> Scores | None:
        """Return the scores of "train", "valid" or "test"; None if the split is empty."""

    def evaluate_samples(self, split: str) -> SampleScores | None:
        """Return the scores of each sample of a split; None if the split is empty."""

    def parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters by name, in the engine's dtype; the current ones or those of a snapshot."""

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters that `evaluate` uses.

        These are the current parameters, or their average if the optimizer keeps one.

        Args:
            of: a snapshot of this engine, to return its parameters instead of the current ones.
        """

    def state(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the optimizer state, now or in a snapshot, by names such as "velocity/output.bias"."""

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        """Replace parameters and optimizer state by copies of these.

        Args:
            parameters: all parameters, as `parameters` returns them.
            state: the optimizer state, as `state` returns it.
        """

    def snapshot(self) -> Snapshot:
        """Return a copy of parameters and state, ten times as fast as `parameters` and `state`."""

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Set parameters and state to those of a snapshot of this engine, which stays valid."""


EngineFactory = Callable[[EngineSpec], Engine]
