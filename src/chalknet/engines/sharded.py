"""One network whose samples are distributed over shards.

The gradient of a batch is a sum over its samples. The worker of each shard computes the sum over its
samples, and `ShardedEngine` adds these sums in the order of the shards and makes the update. The sum
is exact, so the network equals one that is trained in one place, to rounding. `Shards` is where the
workers run: in this process (`LocalShards`) or as Ray actors (`ray_shards.RayShards`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from chalknet.config import Recipe
from chalknet.data.on_disk import OnDiskSplit
from chalknet.engines.batches import batch_size
from chalknet.engines.engine import Batch, EngineSpec, SampleScores, SplitData, Update
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.engines.parameter_layout import NetworkArrays
from chalknet.engines.scores import EpochScores, ScoreAccumulator, ScoreSums
from chalknet.errors import ConfigError
from chalknet.formatting import listed
from chalknet.network.architecture import Architecture
from chalknet.network.metrics import mean_scores
from chalknet.network.optimizers import Optimizer
from chalknet.records import Scores


@dataclass(frozen=True)
class ShardLayout:
    """Which shard has which of n samples.

    The samples are divided into windows of consecutive samples, and every shard has one run of each
    window. Mini-batches are shuffled within windows, so every mini-batch has samples in each shard,
    and a shard whose samples stay on disk reads them once per epoch, from front to back.

    Attributes:
        n: number of samples of the split.
        n_shards: number of shards.
        window: number of samples of a window; the last window may be shorter.
    """

    n: int
    n_shards: int
    window: int

    def positions(self, shard: int) -> NDArray[np.int64]:
        """Return the positions in the split of a shard's samples, ascending."""
        first, stop = self._run(shard)
        runs = [np.arange(start + first, min(start + stop, self.n)) for start in range(0, self.n, self._width)]
        return np.concatenate([np.empty(0, np.int64), *runs])

    def samples_per_window(self, shard: int) -> int:
        """Return how many samples of a full window a shard has."""
        first, stop = self._run(shard)
        return stop - first

    def locate(self, batch: Batch, shard: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the samples of a batch that a shard has.

        Args:
            batch: positions in the split.
            shard: number of the shard.

        Returns:
            rows: their positions among the shard's samples.
            batch_positions: their positions in the batch, ascending.
        """
        positions = np.arange(batch.start or 0, batch.stop) if isinstance(batch, slice) else batch
        first, stop = self._run(shard)
        window, offset = np.divmod(positions, self._width)
        batch_positions = np.flatnonzero((first <= offset) & (offset < stop))
        return window[batch_positions] * (stop - first) + offset[batch_positions] - first, batch_positions

    @property
    def _width(self) -> int:
        return max(1, min(self.window, self.n))

    def _run(self, shard: int) -> tuple[int, int]:
        """Return first and end of a shard's run within a window."""
        bounds = np.linspace(0, self._width, self.n_shards + 1).round().astype(int).tolist()
        return bounds[shard], bounds[shard + 1]


@dataclass(frozen=True, eq=False)
class ShardSpec:
    """Everything that a shard worker is constructed from.

    Attributes:
        shard: number of the shard.
        layout: of the training split.
        engine: for a numpy engine with the shard's samples. Its optimizer is not used.
    """

    shard: int
    layout: ShardLayout
    engine: EngineSpec


class ShardGradient(NamedTuple):
    """A shard's part of an update.

    Attributes:
        n: number of its samples in the batch.
        gradient: the sum over these samples.
        sums: sums of their scores.
    """

    n: int
    gradient: NetworkArrays
    sums: list[ScoreSums]


class ShardWorker:
    """Computes gradients and scores of one shard's samples.

    Parameters come with every call and nothing is kept between calls, so a worker that is lost can
    be replaced by a new one at any time.

    Args:
        spec: its samples, and how to compute.
    """

    def __init__(self, spec: ShardSpec) -> None:
        """Create a worker; samples are read at the first call."""
        self._spec = spec
        self._sizes = {name: len(split.labels) for name, split in spec.engine.splits.items()}

    @cached_property
    def _engine(self) -> NumpyEngine:
        """The engine. It is created by the first call, which can then report unreadable samples."""
        return NumpyEngine(replace(self._spec.engine, optimizer=Optimizer()))

    def gradient(self, parameters: NetworkArrays, update: Update) -> ShardGradient | None:
        """Return the shard's part of an update; None if the batch has none of its samples."""
        rows, batch_positions = self._spec.layout.locate(update.batch, self._spec.shard)
        if not len(rows):
            return None
        self._engine.use_parameters(parameters)
        own: Batch = slice(int(rows[0]), int(rows[-1]) + 1) if _is_run(rows) else rows
        gradient, sums = self._engine.gradient_of(Update(own, update.step), batch_positions, batch_size(update.batch))
        return ShardGradient(len(rows), gradient, sums)

    def evaluate(self, parameters: NetworkArrays, split: str) -> tuple[int, Scores] | None:
        """Return number and mean scores of the shard's samples of a split; None if it has none."""
        self._engine.use_parameters(parameters)
        scores = self._engine.evaluate(split)
        return None if scores is None else (self._sizes[split], scores)

    def evaluate_samples(self, parameters: NetworkArrays, split: str) -> SampleScores | None:
        """Return the scores of each of the shard's samples of a split; None if it has none."""
        self._engine.use_parameters(parameters)
        return self._engine.evaluate_samples(split)


class Shards(Protocol):
    """The shard workers of one network, wherever they run."""

    @property
    def n(self) -> int:
        """The number of shards."""

    @property
    def threads(self) -> int | None:
        """The number of threads of each worker; None for one per core."""

    def start(self, spec_of: Callable[[int], ShardSpec]) -> None:
        """Start a worker for each shard, in place of earlier ones.

        Args:
            spec_of: from the number of a shard to its spec. It is called again for a shard whose
                worker was lost.
        """

    def call(self, method: str, parameters: NetworkArrays, argument: Update | str) -> Sequence[Any]:
        """Call a method of every `ShardWorker` and return the results in the order of the shards.

        Args:
            method: "gradient", "evaluate" or "evaluate_samples".
            parameters: the first argument of the method.
            argument: the second argument: an update, or the name of a split.
        """


class LocalShards:
    """Shard workers in this process, called one after the other.

    Args:
        n: number of shards.
    """

    threads: int | None = None

    def __init__(self, n: int) -> None:
        """Create shards without workers."""
        self.n = n
        self._workers: list[ShardWorker] = []

    def start(self, spec_of: Callable[[int], ShardSpec]) -> None:
        """Create a worker for each shard."""
        self._workers = [ShardWorker(spec_of(shard)) for shard in range(self.n)]

    def call(self, method: str, parameters: NetworkArrays, argument: Update | str) -> Sequence[Any]:
        """Return the results of a method of every worker, in order."""
        return [getattr(worker, method)(parameters, argument) for worker in self._workers]


class ShardedEngine(NumpyEngine):
    """An engine whose samples are held by shard workers.

    Parameters and optimizer stay here. The engine sends parameters out and gets gradients and scores
    back.

    Args:
        spec: what to train and evaluate; `threads` is the number of threads of each worker.
        shards: where the workers run. Workers are started anew.
        window: number of training samples among which mini-batches are shuffled.
    """

    def __init__(self, spec: EngineSpec, *, shards: Shards, window: int) -> None:
        """Distribute the samples and start the workers."""
        splits = {name: split for name, split in spec.splits.items() if len(split.labels)}
        self._shards = shards
        self._layouts = {
            name: ShardLayout(len(split.labels), shards.n, window if name == "train" else len(split.labels))
            for name, split in splits.items()
        }
        train = splits["train"]
        no_samples = {"train": SplitData(train.inputs[:0], train.labels[:0])}
        super().__init__(replace(spec, splits=no_samples, threads=None, tile_rows=EngineSpec.tile_rows))

        def spec_of(shard: int) -> ShardSpec:
            own = {name: _samples_of(split, self._layouts[name], shard) for name, split in splits.items()}
            threads = spec.threads or shards.threads
            # Clipping needs the norm of the whole gradient, so it is done here and not by workers.
            return ShardSpec(shard, self._layouts["train"], replace(spec, splits=own, clip_norm=0.0, threads=threads))

        shards.start(spec_of)

    def train_epoch(self, updates: Iterable[Update], start: EpochScores | None = None) -> Scores:
        """Make all updates and return the mean scores of their batches.

        Training stops at a loss that is not finite.
        """
        total = self._epoch = ScoreAccumulator(start)
        for update in updates:
            # Parameters change only after every worker has answered. A worker that is lost can
            # therefore be asked again, and gives the same answer.
            answers = self._shards.call("gradient", self.arrays, update)
            found: list[ShardGradient] = [one for one in answers if one is not None]
            self.apply_gradients([one.gradient for one in found], batch_size(update.batch), update.step)
            for one in found:
                total.add(one.n, one.sums)
            total.n_updates += 1
            if not total.is_finite:
                break
        return total.scores()

    def evaluate(self, split: str) -> Scores | None:
        """Return the scores of a split; None if it is empty."""
        if split not in self._layouts:
            return None
        answers = self._shards.call("evaluate", self.evaluation_arrays, split)
        sizes, scores = zip(*(one for one in answers if one is not None), strict=True)
        return mean_scores(scores, sizes)

    def evaluate_samples(self, split: str) -> SampleScores | None:
        """Return the scores of each sample of a split, in its order; None if it is empty."""
        if split not in self._layouts:
            return None
        layout = self._layouts[split]
        each = SampleScores(np.empty(layout.n, self.arrays.learned[0].dtype), np.empty(layout.n, bool))
        answers = self._shards.call("evaluate_samples", self.evaluation_arrays, split)
        for shard, one in enumerate(answers):
            if one is not None:
                positions = layout.positions(shard)
                each.loss[positions], each.correct[positions] = one.loss, one.correct
        return each


def check_shards(recipe: Recipe, architecture: Architecture) -> None:
    """Check that a recipe can be trained on shards.

    Raises:
        ConfigError: the engine is not numpy, or a layer or mixup needs the whole batch in one place.
    """
    if recipe.training.engine != "numpy":
        raise ConfigError(
            f"shards need the numpy engine, got engine {recipe.training.engine!r}. Use engine='numpy' (--engine numpy)."
        )
    if architecture.uses_batch_statistics:
        names = listed(sorted({layer.type for layer in architecture.layers if layer.uses_batch_statistics}))
        raise ConfigError(
            f"{names} needs the statistics of a whole batch, but each shard has only some of its samples. "
            f"Remove {names} from the layers, or train without shards."
        )
    if recipe.augmentation.mixup:
        raise ConfigError(
            "mixup mixes pairs of samples, which may be in different shards. Set mixup to 0, or train without shards."
        )


def _samples_of(split: SplitData, layout: ShardLayout, shard: int) -> SplitData:
    """Return a shard's samples of a split.

    Samples on disk stay there: the result says where they are. Samples in memory are copied.
    """
    positions = layout.positions(shard)
    weights = None if split.weights is None else split.weights[positions]
    if isinstance(split.inputs, OnDiskSplit):
        inputs: Any = split.inputs.some(positions, max(1, layout.samples_per_window(shard)))
    else:
        inputs = split.inputs[positions]
    return SplitData(inputs, split.labels[positions], weights)


def _is_run(rows: NDArray[np.int64]) -> bool:
    """Return whether rows are consecutive numbers, which a slice can stand for."""
    return int(rows[-1]) - int(rows[0]) == len(rows) - 1 and bool((np.diff(rows) == 1).all())
