"""The default engine: plain NumPy at the machine's product rate, with the same bits at any number of workers.

Large batches are cut into tiles of rows; a fixed number of lanes each take every so many-th tile and add up its
gradients, and the lanes are added in their order. Small batches go through whole, and it is the units of a hidden layer
that are cut, into blocks of fixed width, so that no gradient has to be added up at all. Tiles, lanes and blocks depend
on the sizes alone; workers only decide who computes what and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import AVERAGE, Batch, Part, SampleScores, Snapshot, Step, Update, UpdateRule
from chalknet.engines.layers import Layers, start_of
from chalknet.engines.lessons import Lesson, Lessons, even_cuts, part_of_batch
from chalknet.engines.noise import Noise
from chalknet.engines.tile import Matrix, Outcome, Tally, Tile, Weights
from chalknet.engines.workers import Workers
from chalknet.machine.blas import one_blas_thread
from chalknet.machine.kernels import warn_of_slow_kernels
from chalknet.machine.processor import available_cores
from chalknet.network.architecture import Parameters
from chalknet.network.clipping import clip_factor, squared_length
from chalknet.network.objective import Objective
from chalknet.records import Scores

# Of a large batch. Times differ by less than a tenth from 384 to 1,536 rows, at 16 to 4,000 units (docs/benchmarks.md),
# so one number serves every cache, and results do not depend on the machine's.
TILE_ROWS = 768
LANES = 8  # partial sums of a large batch, and so the most workers that can share one
BLOCK_UNITS = 512  # of a hidden layer that workers share out in a small batch
BAND_VALUES = 2**18  # of a matrix that one task updates,
BAND_VALUES_OF_MANY = 2**15  # and where a rule goes over it more than a few times, so that it stays in the cache
ROWS_MADE_AT_ONCE = 32  # samples of a small batch that one task changes or mixes
SMALL_OUTCOMES = 65_536  # samples of small batches whose scores are added up at a time
RESIDENT_BYTES = 64 * 2**20  # samples up to this size as floats are kept so; of more, each tile is turned when it comes


Sums = list[tuple[float, float, float]]  # what `Outcome.sums` gives of some samples each


class NumpyEngine:
    """`Engine` by tiles, threads and buffers; see `EngineMaker` for the arguments.

    Inputs stay as they are and become floats a tile at a time, unless all of them together are few enough to be kept as
    floats too. tile_rows are the samples of a tile, and the most of a small batch; another number adds in another
    order, so last digits may differ. With batch normalisation, whose statistics are a whole batch's, every batch is a
    small one.
    """

    device = "cpu"

    def __init__(
        self,
        parts: Mapping[str, Part],
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        *,
        scaling: Scaling = Scaling(),
        objective: Objective = Objective(),
        activations: Sequence[str] = (),
        noise: Noise = Noise(),
        clip_norm: float = 0.0,
        dtype: DTypeLike = np.float32,
        workers: int | None = None,
        tile_rows: int = TILE_ROWS,
    ) -> None:
        warn_of_slow_kernels()
        self._parts = {name: part for name, part in parts.items() if len(part.labels)}
        self._rule, self._objective, self._noise, self._clip_norm = rule, objective, noise, clip_norm
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self._scaling, self._activations, self._tile_rows = scaling, tuple(activations), tile_rows
        self._layers = Layers(parameters)
        self._batch_norm = self._layers.batch_norm
        self._weights = self._layers.weights(parameters, self._dtype)
        self._memory = self._layers.memory(rule, start_of(rule, parameters), self._dtype)
        self._gradients = self._weights.like()
        self._is_plain = not (objective.l2 or clip_norm or (AVERAGE in rule.slots and self._batch_norm))
        self._share_out_rows_and_units()
        self._workers = Workers(workers or available_cores())
        rows = min(tile_rows, max((len(part.labels) for part in self._parts.values()), default=1))
        self._tiles = [self._new_tile(rows) for _ in range(self._workers.n)]
        self._lanes: list[Weights] = []
        self._scratch: list[Weights] = []
        self._floats = resident_floats(self._parts, scaling, self._dtype)
        self._lessons = Lessons(parts["train"], noise, scaling, self._dtype, self._floats.get("train"))

    def _share_out_rows_and_units(self) -> None:
        """The blocks of units and the bands of rows that are a task each; they depend on the sizes alone."""
        matrices = self._weights.matrices
        self._blocks = [even_cuts(matrix.shape[1], BLOCK_UNITS) for matrix in matrices]
        self._one_block = all(len(blocks) == 1 for blocks in self._blocks)
        # Updates go over bands of whole rows, which lie together in memory; columns would take four times as long.
        at_once = values_at_once(self._rule)
        self._bands = [
            (group, number, band)
            for group, values in enumerate((matrices, self._weights.gains))
            for number, value in enumerate(values)
            for band in even_cuts(len(value), max(1, at_once // value.shape[1]))
        ]
        self._whole_bands = self._bands_of(self._gradients)

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        tally, small = Tally(), Outcome(max(self._tile_rows, SMALL_OUTCOMES), self._dtype)
        filled = 0
        with one_blas_thread():
            for update in updates:
                lesson = self._lessons.of(update)
                n = len(lesson.labels)
                is_large = n > self._tile_rows and not self._batch_norm
                if filled + n > len(small.true) or is_large:
                    tally.add(filled, [small.sums(filled)])
                    filled = 0
                    if not tally.is_finite:
                        return tally.scores()
                if is_large:
                    tally.add(n, self._large_step(lesson))
                elif n > len(small.true):
                    alone = Outcome(n, self._dtype)
                    self._small_step(lesson, alone, 0)
                    tally.add(n, [alone.sums(n)])
                else:
                    self._small_step(lesson, small, filled)
                    filled += n
        tally.add(filled, [small.sums(filled)])
        return tally.scores()

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate(self, part: str) -> Scores | None:
        if part not in self._parts:
            return None
        tiles = self._tiles_of(part)
        sums = [(0.0, 0.0, 0.0)] * len(tiles)

        def look(number: int, worker: int) -> None:
            rows, outcome = tiles[number], self._tiles[worker].outcome
            self._judge(part, rows, outcome, slice(0, rows.stop - rows.start), worker)
            sums[number] = outcome.sums(rows.stop - rows.start)

        with one_blas_thread():
            self._workers.run([partial(look, number) for number in range(len(tiles))])
        tally = Tally()
        tally.add(len(self._parts[part].labels), sums)
        return tally.scores()

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate_each(self, part: str) -> SampleScores | None:
        if part not in self._parts:
            return None
        n = len(self._parts[part].labels)
        outcome = Outcome(n, self._dtype)
        with one_blas_thread():
            tasks = [partial(self._judge, part, rows, outcome, rows) for rows in self._tiles_of(part)]
            self._workers.run(tasks)
        return SampleScores(outcome.losses(n), outcome.right)

    def parameters(self) -> Parameters:
        return self._layers.named(self._weights)

    def shown_parameters(self, of: Snapshot | None = None) -> Parameters:
        weights, memory = (self._weights, self._memory) if of is None else of
        return self._layers.named(memory.get(AVERAGE, weights))

    def snapshot(self) -> Snapshot:
        return self._weights.copy(), {slot: memory.copy() for slot, memory in self._memory.items()}

    def go_back(self, snapshot: Snapshot) -> None:
        weights, memory = snapshot
        self._weights.put(weights)
        for slot, values in memory.items():
            self._memory[slot].put(values)

    def state(self) -> Parameters:
        return self._layers.state(self._memory)

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        self._weights = self._layers.weights(parameters, self._dtype)
        self._memory = self._layers.memory(self._rule, state, self._dtype)
        self._whole_bands = self._bands_of(self._gradients)

    @property
    def weights(self) -> Weights:
        """The present parameters as the engine computes with them; not a copy."""
        return self._weights

    @property
    def shown_weights(self) -> Weights:
        """Those that `evaluate` uses; not a copy."""
        return self._memory.get(AVERAGE, self._weights)

    def borrow(self, weights: Weights) -> None:
        """Computes with another engine's weights from now on, without copying them; they can be looked at only."""
        self._weights = weights

    def share(self, update: Update, places: NDArray[np.int64], n_batch: int) -> tuple[Weights, Sums]:
        """The gradient that some samples of a batch of n_batch add, until the next call, and the sums of their scores.

        Args:
            update: its batch are these samples. places: where in the whole batch they are, ascending.
        """
        lesson = self._lessons.of(update, places, n_batch)
        n = len(lesson.labels)
        with one_blas_thread():
            if n <= self._tile_rows:
                outcome = Outcome(n, self._dtype)
                self._small_gradient(lesson, outcome, 0)
                return self._gradients, [outcome.sums(n)]
            lanes, sums = self._large_gradient(lesson)
            for lane in lanes[1:]:
                for total, matrix in zip(lanes[0].matrices, lane.matrices, strict=True):
                    np.add(total, matrix, out=total)
        return lanes[0], sums

    def move(self, shares: Sequence[Weights], n_batch: int, step: Step) -> None:
        """One update by a batch's gradient that others have computed, their shares added in this order."""
        for total, matrix in zip(self._gradients.matrices, shares[0].matrices, strict=True):
            np.copyto(total, matrix)
        self._move([self._gradients, *shares[1:]], n_batch, step, not self._one_block)

    def _bands_of(self, gradients: Weights) -> list[tuple[Matrix, Matrix, list[Matrix], bool]]:
        """For each band what the rule's update takes: the weights' rows, their gradient's, the memory's, has_bias."""
        found = []
        for group, layer, band in self._bands:
            matrix = self._weights.groups[group][layer]
            memory = [self._memory[slot].groups[group][layer][band] for slot in self._rule.slots]
            found.append((matrix[band], gradients.groups[group][layer][band], memory, band.stop == len(matrix)))
        return found

    def _tiles_of(self, part: str) -> list[slice]:
        return even_cuts(len(self._parts[part].labels), self._tile_rows)

    def _judge(self, part: str, rows: slice, outcome: Outcome, at: slice, worker: int) -> None:
        """Some samples of a part through the network, into a slice of the outcome."""
        tile = self._tiles[worker]
        self._put(tile, part, rows)
        tile.forward(self.shown_weights, rows.stop - rows.start)
        tile.judge(self._parts[part].labels[rows], outcome, at)

    def _large_step(self, lesson: Lesson) -> Sums:
        """One update from a batch that is cut into tiles of rows; every tile's sums."""
        lanes, sums = self._large_gradient(lesson)
        self._move(lanes, len(lesson.labels), lesson.step, True)
        return sums

    def _large_gradient(self, lesson: Lesson) -> tuple[list[Weights], Sums]:
        """The parts of a large batch's gradient, each lane's tiles added up, and every tile's sums."""
        tiles = even_cuts(len(lesson.labels), self._tile_rows)
        lanes = self._lane_sums(min(LANES, len(tiles)))
        sums = [(0.0, 0.0, 0.0)] * len(tiles)

        def add_up(lane: int, worker: int) -> None:
            tile, scratch = self._tiles[worker], self._scratch[worker]
            for number in range(lane, len(tiles), len(lanes)):
                rows, first = tiles[number], number == lane
                n = rows.stop - rows.start
                self._put_lesson(tile, lesson, rows)
                for layer in range(len(tile.keep)):
                    self._drop(tile, layer, lesson, rows, worker)
                out = lanes[lane] if first else scratch
                self._gradients_of_tile(tile, lesson, rows, tile.outcome, slice(0, n), out)
                sums[number] = tile.outcome.sums(n)
                for total, part in zip(lanes[lane].matrices, () if first else scratch.matrices, strict=False):
                    np.add(total, part, out=total)

        self._workers.run([partial(add_up, lane) for lane in range(len(lanes))])
        return lanes, sums

    def _small_step(self, lesson: Lesson, outcome: Outcome, start: int) -> None:
        """One update from a batch that goes through whole."""
        self._small_gradient(lesson, outcome, start)
        if self._one_block and self._is_plain:
            for matrix, gradient, memory, has_bias in self._whole_bands:  # too little work to share or to look up
                self._rule.update(matrix, gradient, memory, has_bias, lesson.step)
        else:
            self._move([self._gradients], len(lesson.labels), lesson.step, not self._one_block)

    def _small_gradient(self, lesson: Lesson, outcome: Outcome, start: int) -> None:
        """The gradient of a batch that goes through whole, the units of wide layers shared out in blocks."""
        n = len(lesson.labels)
        tile = self._tile_for(n)
        at, rows = slice(start, start + n), slice(0, n)
        if self._lessons.changes:
            tile.x = tile.samples
            cuts = even_cuts(n, ROWS_MADE_AT_ONCE)
            self._share_out([partial(self._make, tile.samples, lesson, part) for part in cuts])
        else:
            self._put(tile, "train", lesson.batch)
        if self._noise.dropout:
            self._share_out([partial(self._drop, tile, layer, lesson, rows) for layer in range(len(tile.keep))])
        if self._one_block:
            self._gradients_of_tile(tile, lesson, rows, outcome, at, self._gradients)
        else:
            self._gradients_in_blocks(tile, lesson, outcome, at)

    def _share_out(self, tasks: Sequence[Any]) -> None:
        """Tasks on all workers, or, where there is too little work to share, on this one."""
        if self._one_block and not self._noise.augmenter:
            for task in tasks:
                task(0)
        else:
            self._workers.run(tasks)

    def _gradients_in_blocks(self, tile: Tile, lesson: Lesson, outcome: Outcome, at: slice) -> None:
        """`_gradients_of_tile` into `_gradients`, each hidden layer's units shared out in blocks."""
        n, hidden = len(lesson.labels), range(len(self._layers.shapes) - 1)

        def forward_block(layer: int, columns: slice, _: int) -> None:
            tile.hidden(self._weights, layer, n, columns, True)

        def backward_block(layer: int, columns: slice, _: int) -> None:
            tile.grad_hidden(self._weights, layer, n, columns, self._gradients)

        for layer in hidden:
            self._workers.run([partial(forward_block, layer, columns) for columns in self._blocks[layer]])
        tile.output(self._weights, n)
        self._grad_logits(tile, lesson, slice(0, n), outcome, at)
        tile.grad_output(n, self._gradients)
        for layer in reversed(hidden):
            self._workers.run([partial(backward_block, layer, columns) for columns in self._blocks[layer]])

    def _gradients_of_tile(
        self, tile: Tile, lesson: Lesson, rows: slice, outcome: Outcome, at: slice, out: Weights
    ) -> None:
        n = rows.stop - rows.start
        tile.forward(self._weights, n, True)
        self._grad_logits(tile, lesson, rows, outcome, at)
        tile.backward(self._weights, n, out)

    def _grad_logits(self, tile: Tile, lesson: Lesson, rows: slice, outcome: Outcome, at: slice) -> None:
        targets = lesson.targets(rows, self._objective.label_smoothing)
        tile.judge(targets.labels, outcome, at)
        tile.grad_logits(targets, outcome, at)
        if self._objective.reduction == "mean":
            logits = tile.logits[: len(targets.labels)]
            np.divide(logits, self._dtype.type(lesson.n_batch), out=logits)

    def _move(self, parts: Sequence[Weights], n_batch: int, step: Step, shares: bool) -> None:
        """The gradient's parts added up into the first, the penalty, clipping and the update, a band at a time."""
        times = n_batch if self._objective.reduction == "sum" else 1
        lengths = [0.0] * len(self._bands)

        bands = self._bands_of(parts[0])

        def finish(number: int, worker: int) -> None:
            group, layer, band = self._bands[number]
            matrix, gradient, _, has_bias = bands[number]
            for part in parts[1:]:
                np.add(gradient, part.groups[group][layer][band], out=gradient)
            if self._objective.l2 and group == 0:
                weights = matrix[:-1] if has_bias else matrix
                gradient[: len(weights)] += self._objective.l2 * times * weights
            if self._clip_norm:
                lengths[number] = squared_length(gradient)
            else:
                update(number, 1.0, worker)

        def update(number: int, factor: float, _: int) -> None:
            matrix, gradient, memory, has_bias = bands[number]
            if factor < 1:
                np.multiply(gradient, factor, out=gradient)
            self._rule.update(matrix, gradient, memory, has_bias, step)

        run = self._workers.run if shares else _run_here
        run([partial(finish, number) for number in range(len(self._bands))])
        if self._clip_norm:
            factor = clip_factor(lengths, self._clip_norm)
            run([partial(update, number, factor) for number in range(len(self._bands))])
        if AVERAGE in self._memory:
            kept = self._rule.kept_of_average(step.number)
            for average, present in zip(self._memory[AVERAGE].statistics, self._weights.statistics, strict=True):
                np.add(kept * average, (1 - kept) * present, out=average)

    def _put_lesson(self, tile: Tile, lesson: Lesson, rows: slice) -> None:
        """Some of a lesson's samples as what the tile reads."""
        if self._lessons.changes:
            tile.x = tile.samples
            self._make(tile.samples, lesson, rows, 0)
        else:
            self._put(tile, "train", part_of_batch(lesson.batch, rows))

    def _make(self, samples: Matrix, lesson: Lesson, rows: slice, _: int) -> None:
        """Some of a lesson's changed samples into the rows of samples: of a small batch where they stand in it, of a
        tile of a large one at the front."""
        n = rows.stop - rows.start
        self._lessons.make(samples[rows if len(lesson.labels) <= len(samples) else slice(0, n), :-1], lesson, rows)

    def _drop(self, tile: Tile, layer: int, lesson: Lesson, rows: slice, _: int) -> None:
        width = tile.g[layer].shape[1]
        at = lesson.in_batch(rows)
        tile.keep[layer] = self._noise.keep(layer + 1, lesson.step.number, at, width, self._dtype)

    def _put(self, tile: Tile, part: str, where: Batch) -> None:
        """Some samples of a part as what the tile reads, scaled; without a copy where they lie ready in a run."""
        floats = self._floats.get(part)
        if floats is None:
            raw = self._parts[part].inputs[where]
            tile.x = tile.samples
            self._scaling.put(raw, tile.x[: len(raw), :-1])
        elif isinstance(where, slice):
            tile.x = floats[where]
        else:
            tile.x = tile.samples
            # mode "clip" writes straight into out; the positions are in range, being a permutation's.
            np.take(floats, where, axis=0, out=tile.x[: len(where)], mode="clip")

    def _new_tile(self, rows: int) -> Tile:
        matrices = self._weights.matrices
        widths = [len(matrices[0]) - 1, *(matrix.shape[1] for matrix in matrices)]
        return Tile(widths, rows, self._dtype, self._activations, self._batch_norm)

    def _tile_for(self, n: int) -> Tile:
        """The first worker's tile, made larger where a batch that must go through whole needs it."""
        if n > self._tiles[0].rows:
            self._tiles[0] = self._new_tile(n)
        return self._tiles[0]

    def _lane_sums(self, n: int) -> list[Weights]:
        """Room for n lanes' gradients, and for one tile's at every worker; made once."""
        while len(self._lanes) < n:
            self._lanes.append(self._weights.like())
        while len(self._scratch) < self._workers.n:
            self._scratch.append(self._weights.like())
        return self._lanes[:n]


def _run_here(tasks: Sequence[Any]) -> None:
    for task in tasks:
        task(0)


def resident_floats(parts: Mapping[str, Part], scaling: Scaling, dtype: np.dtype[Any]) -> dict[str, Matrix]:
    """Every part as floats with a last column of ones, where all together are few enough to be kept so."""
    if sum(part.inputs.size for part in parts.values()) * dtype.itemsize > RESIDENT_BYTES:
        return {}
    floats = {}
    for name, part in parts.items():
        n, n_inputs = part.inputs.shape
        floats[name] = np.ones((n, n_inputs + 1), dtype)
        scaling.put(part.inputs[:], floats[name][:, :-1])
    return floats


def values_at_once(rule: UpdateRule) -> int:
    """Of a matrix, that a rule's update goes over before the next."""
    return BAND_VALUES if len(rule.slots) < 2 else BAND_VALUES_OF_MANY
