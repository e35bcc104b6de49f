"""One network whose samples are shared out among several holders: each gives the gradient of its own, and they add up.

The gradient of a batch is a sum over its samples, so the sum over holders is exact, and a network trained this way
equals one trained in one place to rounding. `Shards` says where holders are.
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
from chalknet.engines.scores import ScoreAccumulator, Sums
from chalknet.errors import ConfigError
from chalknet.formatting import listed
from chalknet.network.architecture import Architecture
from chalknet.network.metrics import mean_scores
from chalknet.network.optimizers import Optimizer
from chalknet.records import Scores


@dataclass(frozen=True)
class ShardLayout:
    """n samples among holders: of each window of so many consecutive samples every holder has one run.

    Mini-batches are shuffled within windows, so each has samples at every holder, and a holder whose samples stay on
    disk reads them once an epoch, forwards.
    """

    n: int
    holders: int
    window: int

    def positions(self, holder: int) -> NDArray[np.int64]:
        """Those of a holder's samples, ascending."""
        first, stop = self._run(holder)
        runs = [np.arange(start + first, min(start + stop, self.n)) for start in range(0, self.n, self._width)]
        return np.concatenate([np.empty(0, np.int64), *runs])

    def samples_of_window(self, holder: int) -> int:
        """How many of a window a holder has."""
        first, stop = self._run(holder)
        return stop - first

    def of_batch(self, batch: Batch, holder: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A batch's samples that a holder has: where among its own they are, and where in the batch, ascending."""
        positions = np.arange(batch.start or 0, batch.stop) if isinstance(batch, slice) else batch
        first, stop = self._run(holder)
        window, offset = np.divmod(positions, self._width)
        places = np.flatnonzero((first <= offset) & (offset < stop))
        return window[places] * (stop - first) + offset[places] - first, places

    @property
    def _width(self) -> int:
        return max(1, min(self.window, self.n))

    def _run(self, holder: int) -> tuple[int, int]:
        bounds = np.linspace(0, self._width, self.holders + 1).round().astype(int).tolist()
        return bounds[holder], bounds[holder + 1]


@dataclass(frozen=True, eq=False)
class ShardSpec:
    """Everything that a holder is made from.

    Attributes:
        number: of the holder.
        cut: of the training split.
        spec: of a numpy engine with the holder's own samples; its optimizer is not used.
    """

    number: int
    cut: ShardLayout
    spec: EngineSpec


class ShardGradient(NamedTuple):
    """A holder's share in an update: of n samples the gradient and the sums of their scores."""

    n: int
    gradient: NetworkArrays
    sums: list[Sums]


class ShardWorker:
    """One holder's samples, and what it answers of them; it remembers nothing else, so another can take its place."""

    def __init__(self, work: ShardSpec) -> None:
        self._work, self._number, self._cut = work, work.number, work.cut
        self._sizes = {name: len(part.labels) for name, part in work.spec.splits.items()}

    @cached_property
    def _engine(self) -> NumpyEngine:
        """Made at the first question, whose answer may then be that the samples cannot be read."""
        return NumpyEngine(replace(self._work.spec, optimizer=Optimizer()))

    def learn(self, weights: NetworkArrays, update: Update) -> ShardGradient | None:
        """Its share in an update; None where the batch has none of its samples."""
        rows, places = self._cut.of_batch(update.batch, self._number)
        if not len(rows):
            return None
        self._engine.borrow(weights)
        own: Batch = slice(int(rows[0]), int(rows[-1]) + 1) if _is_run(rows) else rows
        gradient, sums = self._engine.gradient_of(Update(own, update.step), places, batch_size(update.batch))
        return ShardGradient(len(rows), gradient, sums)

    def evaluate(self, weights: NetworkArrays, part: str) -> tuple[int, Scores] | None:
        """Its number of samples of a part and their scores; None where it has none."""
        self._engine.borrow(weights)
        scores = self._engine.evaluate(part)
        return None if scores is None else (self._sizes[part], scores)

    def evaluate_samples(self, weights: NetworkArrays, part: str) -> SampleScores | None:
        """The scores of each of its samples of a part."""
        self._engine.borrow(weights)
        return self._engine.evaluate_samples(part)


class Shards(Protocol):
    """Where holders are. Each is made from its work, when it is first needed and when it was lost."""

    @property
    def n(self) -> int:
        """How many there are."""

    @property
    def threads(self) -> int | None:
        """Of each holder; None for one a core."""

    def fill(self, work_of: Callable[[int], ShardSpec]) -> None:
        """New holders in place of those there were."""

    def ask(self, what: str, weights: NetworkArrays, about: Update | str) -> Sequence[Any]:
        """What each holder answers, in their order: `ShardWorker`'s method of that name."""


class LocalShards:
    """`Shards` in this process, one after the other."""

    threads: int | None = None

    def __init__(self, n: int) -> None:
        self.n = n
        self._shards: list[ShardWorker] = []

    def fill(self, work_of: Callable[[int], ShardSpec]) -> None:
        self._shards = [ShardWorker(work_of(number)) for number in range(self.n)]

    def ask(self, what: str, weights: NetworkArrays, about: Update | str) -> Sequence[Any]:
        return [getattr(shard, what)(weights, about) for shard in self._shards]


class ShardedEngine(NumpyEngine):
    """An engine whose samples are with shard workers. Parameters and optimizer are here.

    Args:
        spec: `threads` are those of each holder.
        shards: the holders, which are filled anew.
        window: samples among which mini-batches are shuffled.
    """

    def __init__(self, spec: EngineSpec, *, shards: Shards, window: int) -> None:
        splits = {name: part for name, part in spec.splits.items() if len(part.labels)}
        self._shards = shards
        lengths = {name: len(part.labels) for name, part in splits.items()}
        self._cuts = {name: ShardLayout(n, shards.n, window if name == "train" else n) for name, n in lengths.items()}
        train = splits["train"]
        no_samples = {"train": SplitData(train.inputs[:0], train.labels[:0])}
        super().__init__(replace(spec, splits=no_samples, threads=None, tile_rows=EngineSpec.tile_rows))

        def work_of(number: int) -> ShardSpec:
            own = {name: _some(part, self._cuts[name], number) for name, part in splits.items()}
            threads = spec.threads or shards.threads
            return ShardSpec(number, self._cuts["train"], replace(spec, splits=own, clip_norm=0.0, threads=threads))

        shards.fill(work_of)

    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        tally = ScoreAccumulator()
        for update in updates:
            answers = self._shards.ask("learn", self.arrays, update)
            shares: list[ShardGradient] = [one for one in answers if one is not None]
            self.move([one.gradient for one in shares], batch_size(update.batch), update.step)
            for one in shares:
                tally.add(one.n, one.sums)
            if not tally.is_finite:
                break
        return tally.scores()

    def evaluate(self, part: str) -> Scores | None:
        if part not in self._cuts:
            return None
        answers = self._shards.ask("evaluate", self.evaluation_arrays, part)
        sizes, scores = zip(*(one for one in answers if one is not None), strict=True)
        return mean_scores(scores, sizes)

    def evaluate_samples(self, part: str) -> SampleScores | None:
        if part not in self._cuts:
            return None
        cut = self._cuts[part]
        each = SampleScores(np.empty(cut.n, self.arrays.learned[0].dtype), np.empty(cut.n, bool))
        for number, one in enumerate(self._shards.ask("evaluate_samples", self.evaluation_arrays, part)):
            if one is not None:
                positions = cut.positions(number)
                each.loss[positions], each.correct[positions] = one.loss, one.correct
        return each


def check_shards(recipe: Recipe, architecture: Architecture) -> None:
    """Raise ConfigError where a training needs more of a batch in one place than a holder's own samples."""
    if recipe.training.engine != "numpy":
        raise ConfigError(f"shards are of the numpy engine, got engine {recipe.training.engine!r}.")
    if architecture.uses_batch_statistics:
        names = listed(sorted({layer.type for layer in architecture.layers if layer.uses_batch_statistics}))
        raise ConfigError(f"{names} takes the statistics of a whole batch, which shards do not have. Leave it out.")
    if recipe.augmentation.mixup:
        raise ConfigError("mixup mixes samples of different shards, which they do not hand out. Set it to 0.")


def _some(part: SplitData, cut: ShardLayout, number: int) -> SplitData:
    """A holder's samples of a part: as arrays of its own, or, where they stay on disk, as where they are."""
    positions = cut.positions(number)
    weights = None if part.weights is None else part.weights[positions]
    if isinstance(part.inputs, OnDiskSplit):
        inputs: Any = part.inputs.some(positions, max(1, cut.samples_of_window(number)))
    else:
        inputs = part.inputs[positions]
    return SplitData(inputs, part.labels[positions], weights)


def _is_run(rows: NDArray[np.int64]) -> bool:
    return int(rows[-1]) - int(rows[0]) == len(rows) - 1 and bool((np.diff(rows) == 1).all())
