"""The default engine: multithreaded NumPy, with the same bits for any number of threads.

Large batches are cut into tiles of rows. Of L lanes, lane k computes the tiles k, k + L, k + 2 L, ... and adds up their
gradients, and the lanes are added in their order. Small batches pass whole, and the columns of each group of layers are
cut into blocks of fixed width, so that no gradients have to be added up. Tiles, lanes and blocks depend on the sizes
alone. Threads change the schedule only, not the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.batches import BatchBuilder, TrainingBatch, even_cuts, part_of_batch
from chalknet.engines.engine import Batch, EngineSpec, SampleScores, Snapshot, SplitData, Update
from chalknet.engines.numpy_kernels import EVERY, Group, InPlaceKernel, Workspace
from chalknet.engines.parameter_layout import (
    PARAMETERS,
    Matrix,
    NetworkArrays,
    ParameterLayout,
    initial_state,
    shown,
)
from chalknet.engines.scores import ScoreAccumulator, SoftmaxTerms, Sums
from chalknet.engines.thread_pool import ThreadPool
from chalknet.machine.blas import one_blas_thread
from chalknet.machine.kernels import warn_of_slow_kernels
from chalknet.machine.processor import available_cores
from chalknet.network.clipping import clip_factor, squared_norm
from chalknet.network.layer import Parameters
from chalknet.network.optimizers import AVERAGE, Step
from chalknet.records import Scores

LANES = 8  # partial sums of a large batch, and so the most threads that can share one
BLOCK_UNITS = 512  # columns of a group that one task computes in a small batch
BAND_VALUES = 2**18  # values of a matrix that one task updates
BAND_VALUES_OF_MANY = 2**15  # the same for an optimizer with several state matrices, so that all stay in the cache
ROWS_MADE_AT_ONCE = 32  # samples of a small batch that one task augments or mixes
SMALL_BATCH_TERMS = 65_536  # samples of small batches whose scores are added up at a time
RESIDENT_BYTES = 64 * 2**20  # samples up to this size are kept as floats; more are converted a tile at a time


class NumpyEngine:
    """`Engine` with tiles, threads and preallocated buffers.

    Inputs keep their type and become floats a tile at a time, unless all of them together are few enough to be kept as
    floats. `EngineSpec.tile_rows` is the size of a tile, and the largest small batch. Times differ by less than a tenth
    from 384 to 1,536 rows, at 16 to 4,000 units (docs/benchmarks.md), so one number serves every cache. Another number
    adds gradients in another order, so last digits may differ. Where a layer uses statistics of the whole batch, every
    batch passes whole.
    """

    device = "cpu"

    def __init__(self, spec: EngineSpec) -> None:
        warn_of_slow_kernels()
        self._spec, self._optimizer, self._objective = spec, spec.optimizer, spec.objective
        self._dtype: np.dtype[Any] = np.dtype(spec.dtype)
        self._splits = {name: part for name, part in spec.splits.items() if len(part.labels)}
        self._whole_batches = spec.architecture.uses_batch_statistics
        self._layout = ParameterLayout(spec.architecture)
        state = initial_state(self._optimizer, spec.architecture, spec.parameters)
        self._state = self._layout.pack(self._optimizer, spec.parameters, state, self._dtype)
        self._gradients = self.arrays.map(np.empty_like)
        averages_statistics = AVERAGE in self._optimizer.state_names and bool(self.arrays.statistics)
        self._is_plain = not (self._objective.l2 or spec.clip_norm or averages_statistics)
        self._workers = ThreadPool(spec.threads or available_cores())
        rows = min(spec.tile_rows, max((len(part.labels) for part in self._splits.values()), default=1))
        self._spaces = [self._new_workspace(rows) for _ in range(self._workers.n)]
        groups = self._spaces[0].groups
        # The output layer has few units and is computed whole.
        self._blocks = [
            even_cuts(group.width, BLOCK_UNITS) if group.splits_columns else [EVERY] for group in groups[:-1]
        ]
        # Then a small batch is too little work to share.
        self._is_narrow = all(group.width <= BLOCK_UNITS for group in groups[:-1])
        self._bands = self._cut_bands()
        self._whole_bands = self._bands_of(self._gradients)
        self._lanes: list[NetworkArrays] = []
        self._scratch: list[NetworkArrays] = []
        self._floats = resident_floats(self._splits, spec.scaling, self._dtype)
        self._builder = BatchBuilder(spec, self._floats.get("train"))

    def _cut_bands(self) -> list[tuple[int, slice, int]]:
        """Return what one task updates: a learned matrix, some of its rows, and how many of these are not weights.

        Bands depend on the sizes alone. Rows are contiguous in memory; bands of columns would take four times as long.
        """
        at_once, bands = BAND_VALUES if len(self._optimizer.state_names) < 2 else BAND_VALUES_OF_MANY, []
        for index, (matrix, n_weights) in enumerate(zip(self.arrays.learned, self._layout.n_weights, strict=True)):
            cuts = even_cuts(len(matrix), max(1, at_once // matrix.shape[1]))
            bands += [(index, rows, max(0, rows.stop - max(n_weights, rows.start))) for rows in cuts]
        return bands

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        total = ScoreAccumulator()
        whole = len(self._splits["train"].labels) if self._whole_batches else 0
        small = SoftmaxTerms(max(self._spec.tile_rows, SMALL_BATCH_TERMS, whole), self._dtype)
        filled = 0
        with one_blas_thread():
            for update in updates:
                batch = self._builder.build(update)
                n = len(batch.labels)
                is_large = n > self._spec.tile_rows and not self._whole_batches
                if filled + n > len(small.true) or is_large:
                    total.add(filled, [small.sums(slice(0, filled))])
                    filled = 0
                    if not total.is_finite:
                        return total.scores()
                if is_large:
                    total.add(n, self._large_step(batch))
                else:
                    self._small_step(batch, small, filled)
                    filled += n
        total.add(filled, [small.sums(slice(0, filled))])
        return total.scores()

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate(self, part: str) -> Scores | None:
        if part not in self._splits:
            return None
        terms, total = self._terms_of(part), ScoreAccumulator()
        total.add(len(terms.true), map(terms.sums, self._tiles_of(part)))
        return total.scores()

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate_samples(self, part: str) -> SampleScores | None:
        if part not in self._splits:
            return None
        terms = self._terms_of(part)
        return SampleScores(terms.losses(EVERY), terms.correct)

    def parameters(self) -> Parameters:
        return self._layout.unpack(self.arrays)

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        return self._layout.unpack(shown(self._state if of is None else of))

    def snapshot(self) -> Snapshot:
        return {key: values.map(np.copy) for key, values in self._state.items()}

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        for key, values in snapshot.items():
            self._state[key].copy_from(values)

    def state(self) -> Parameters:
        return self._layout.unpack_state(self._state)

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        self._state = self._layout.pack(self._optimizer, parameters, state, self._dtype)
        self._whole_bands = self._bands_of(self._gradients)

    @property
    def arrays(self) -> NetworkArrays:
        """The present parameters as the engine computes with them; not a copy."""
        return self._state[PARAMETERS]

    @property
    def evaluation_arrays(self) -> NetworkArrays:
        """The parameters that `evaluate` uses; not a copy."""
        return shown(self._state)

    def borrow(self, arrays: NetworkArrays) -> None:
        """Compute with the parameters of another engine from now on, without copying or changing them."""
        self._state = {PARAMETERS: arrays}

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def gradient_of(self, update: Update, places: NDArray[np.int64], n_batch: int) -> tuple[NetworkArrays, list[Sums]]:
        """Return the gradient of some samples of a batch, valid until the next call, and the sums of their scores.

        Args:
            update: its batch are these samples.
            places: their positions in the whole batch of n_batch samples, ascending.
        """
        batch = self._builder.build(update, places, n_batch)
        n = len(batch.labels)
        with one_blas_thread():
            if n <= self._spec.tile_rows:
                terms = SoftmaxTerms(n, self._dtype)
                self._small_gradient(batch, terms, 0)
                return self._gradients, [terms.sums(EVERY)]
            lanes, sums = self._large_gradient(batch)
            for lane in lanes[1:]:
                for total, matrix in zip(lanes[0].learned, lane.learned, strict=True):
                    np.add(total, matrix, out=total)
        return lanes[0], sums

    def move(self, gradients: Sequence[NetworkArrays], n_batch: int, step: Step) -> None:
        """Apply one update from gradients that shard workers have computed, added in this order."""
        for total, matrix in zip(self._gradients.learned, gradients[0].learned, strict=True):
            np.copyto(total, matrix)
        self._move([self._gradients, *gradients[1:]], n_batch, step, not self._is_narrow)

    def _bands_of(self, gradients: NetworkArrays) -> list[tuple[Matrix, Matrix, list[Matrix], int]]:
        """Return the rows of weights, gradient and state of each band, and how many of them are not weights."""
        found = []
        for index, rows, bias_rows in self._bands:
            optimizer_state = [self._state[key].learned[index][rows] for key in self._optimizer.state_names]
            found.append((self.arrays.learned[index][rows], gradients.learned[index][rows], optimizer_state, bias_rows))
        return found

    def _tiles_of(self, part: str) -> list[slice]:
        return even_cuts(len(self._splits[part].labels), self._spec.tile_rows)

    def _terms_of(self, part: str) -> SoftmaxTerms:
        """Return the softmax terms of all samples of a split."""
        labels = self._splits[part].labels
        terms = SoftmaxTerms(len(labels), self._dtype)

        def score_tile(rows: slice, worker: int) -> None:
            space = self._spaces[worker]
            self._read(space, part, rows)
            space.forward(self.evaluation_arrays, rows.stop - rows.start)
            space.score(labels[rows], terms, rows)

        with one_blas_thread():
            self._workers.run([partial(score_tile, rows) for rows in self._tiles_of(part)])
        return terms

    def _large_step(self, batch: TrainingBatch) -> list[Sums]:
        """Make one update from a batch that is cut into tiles, and return the sums of every tile."""
        lanes, sums = self._large_gradient(batch)
        self._move(lanes, len(batch.labels), batch.step, True)
        return sums

    def _large_gradient(self, batch: TrainingBatch) -> tuple[list[NetworkArrays], list[Sums]]:
        """Return the gradient of a large batch in parts, one per lane, and the sums of every tile."""
        tiles = even_cuts(len(batch.labels), self._spec.tile_rows)
        lanes = self._lane_arrays(min(LANES, len(tiles)))
        sums: list[Sums] = [(0.0, 0.0, 0.0)] * len(tiles)

        def add_up(lane: int, worker: int) -> None:
            space, scratch = self._spaces[worker], self._scratch[worker]
            for number in range(lane, len(tiles), len(lanes)):
                rows, first = tiles[number], number == lane
                here = slice(0, rows.stop - rows.start)
                self._read_batch(space, batch, rows)
                for kernel in space.dropout_kernels:
                    self._draw_mask(kernel, batch, rows, worker)
                out = lanes[lane] if first else scratch
                self._gradients_of_tile(space, batch, rows, space.terms, here, out)
                sums[number] = space.terms.sums(here)
                for total, part in zip(lanes[lane].learned, () if first else scratch.learned, strict=False):
                    np.add(total, part, out=total)

        self._workers.run([partial(add_up, lane) for lane in range(len(lanes))])
        return lanes, sums

    def _small_step(self, batch: TrainingBatch, terms: SoftmaxTerms, start: int) -> None:
        """Make one update from a batch that passes whole."""
        self._small_gradient(batch, terms, start)
        if self._is_narrow and self._is_plain:
            for (
                matrix,
                gradient,
                optimizer_state,
                bias_rows,
            ) in self._whole_bands:  # too little work to share or to look up
                self._optimizer.step_in_place(
                    matrix, gradient, optimizer_state, bias_rows, self._optimizer.step_scalars(batch.step)
                )
        else:
            self._move([self._gradients], len(batch.labels), batch.step, not self._is_narrow)

    def _small_gradient(self, batch: TrainingBatch, terms: SoftmaxTerms, start: int) -> None:
        """Compute the gradient of a batch that passes whole, blocks of columns on different threads."""
        n = len(batch.labels)
        space = self._space_for(n)
        at, rows = slice(start, start + n), slice(0, n)
        shared = not self._is_narrow or self._spec.transforms.augmenter is not None
        if self._builder.changes_samples:
            space.read(space.samples)
            cuts = even_cuts(n, ROWS_MADE_AT_ONCE)
            self._workers.run([partial(self._fill, space.samples, batch, part) for part in cuts], shared)
        else:
            self._read(space, "train", batch.batch)
        if space.dropout_kernels:
            self._workers.run([partial(self._draw_mask, one, batch, rows) for one in space.dropout_kernels], shared)
        if self._is_narrow:
            self._gradients_of_tile(space, batch, rows, terms, at, self._gradients)
        else:
            self._gradients_in_blocks(space, batch, terms, at)

    def _gradients_in_blocks(self, space: Workspace, batch: TrainingBatch, terms: SoftmaxTerms, at: slice) -> None:
        """Do what `_gradients_of_tile` does, blocks of columns on different threads."""
        n = len(batch.labels)

        def forward_block(group: Group, columns: slice, _: int) -> None:
            group.forward(self.arrays, n, columns, True)

        def backward_block(group: Group, columns: slice, _: int) -> None:
            group.backward(self.arrays, n, columns, self._gradients)

        *hidden, output = space.groups
        with_blocks = list(zip(hidden, self._blocks, strict=True))
        for group, blocks in with_blocks:
            self._workers.run([partial(forward_block, group, columns) for columns in blocks])
        output.forward(self.arrays, n, EVERY, True)
        self._grad_logits(space, batch, slice(0, n), terms, at)
        output.backward(self.arrays, n, EVERY, self._gradients)
        for group, blocks in reversed(with_blocks):
            self._workers.run([partial(backward_block, group, columns) for columns in blocks])

    def _gradients_of_tile(
        self, space: Workspace, batch: TrainingBatch, rows: slice, terms: SoftmaxTerms, at: slice, out: NetworkArrays
    ) -> None:
        n = rows.stop - rows.start
        space.forward(self.arrays, n, True)
        self._grad_logits(space, batch, rows, terms, at)
        space.backward(self.arrays, n, out)

    def _grad_logits(self, space: Workspace, batch: TrainingBatch, rows: slice, terms: SoftmaxTerms, at: slice) -> None:
        targets = batch.targets(rows, self._objective.label_smoothing)
        space.score(targets.labels, terms, at)
        space.grad_logits(targets, terms, at, batch.n_batch if self._objective.reduction == "mean" else 1)

    def _move(self, gradients: Sequence[NetworkArrays], n_batch: int, step: Step, shared: bool) -> None:
        """Add the parts of the gradient into the first, then penalize, clip and update, a band at a time."""
        times = n_batch if self._objective.reduction == "sum" else 1
        squared_norms = [0.0] * len(self._bands)
        bands = self._bands_of(gradients[0])

        def finish(number: int, worker: int) -> None:
            index, rows, bias_rows = self._bands[number]
            matrix, gradient, _, _ = bands[number]
            for part in gradients[1:]:
                np.add(gradient, part.learned[index][rows], out=gradient)
            if self._objective.l2 and bias_rows < len(matrix):
                weights = matrix[: len(matrix) - bias_rows]
                gradient[: len(weights)] += self._objective.l2 * times * weights
            if self._spec.clip_norm:
                squared_norms[number] = squared_norm(gradient)
            else:
                update(number, 1.0, worker)

        def update(number: int, factor: float, _: int) -> None:
            matrix, gradient, optimizer_state, bias_rows = bands[number]
            if factor < 1:
                np.multiply(gradient, factor, out=gradient)
            self._optimizer.step_in_place(
                matrix, gradient, optimizer_state, bias_rows, self._optimizer.step_scalars(step)
            )

        self._workers.run([partial(finish, number) for number in range(len(self._bands))], shared)
        if self._spec.clip_norm:
            factor = clip_factor(squared_norms, self._spec.clip_norm)
            self._workers.run([partial(update, number, factor) for number in range(len(self._bands))], shared)
        if AVERAGE in self._state:
            kept = self._optimizer.ema_decay(step.number)
            for average, present in zip(self._state[AVERAGE].statistics, self.arrays.statistics, strict=True):
                np.add(kept * average, (1 - kept) * present, out=average)

    def _read_batch(self, space: Workspace, batch: TrainingBatch, rows: slice) -> None:
        """Let the first layer read some samples of a batch."""
        if self._builder.changes_samples:
            space.read(space.samples)
            self._fill(space.samples, batch, rows, 0)
        else:
            self._read(space, "train", part_of_batch(batch.batch, rows))

    def _fill(self, samples: Matrix, batch: TrainingBatch, rows: slice, _: int) -> None:
        """Write some changed samples of a batch: of a small batch to their own rows, of a tile to the first rows."""
        n = rows.stop - rows.start
        self._builder.fill(samples[rows if len(batch.labels) <= len(samples) else slice(0, n), :-1], batch, rows)

    def _draw_mask(self, kernel: InPlaceKernel, batch: TrainingBatch, rows: slice, _: int) -> None:
        width, number = kernel.values.shape[1], batch.step.number
        mask = self._spec.transforms.dropout_mask
        kernel.mask = mask(kernel.stream, kernel.rate, number, batch.in_batch(rows), width, self._dtype)

    def _read(self, space: Workspace, part: str, where: Batch) -> None:
        """Let the first layer read some samples of a split, scaled; without a copy where a slice of them is kept."""
        floats = self._floats.get(part)
        if floats is None:
            raw = self._splits[part].inputs[where]
            self._spec.scaling.transform_into(raw, space.samples[: len(raw), :-1])
            space.read(space.samples)
        elif isinstance(where, slice):
            space.read(floats[where])
        else:
            # mode "clip" writes straight into out; the positions are in range, being a permutation's.
            np.take(floats, where, axis=0, out=space.samples[: len(where)], mode="clip")
            space.read(space.samples)

    def _new_workspace(self, rows: int) -> Workspace:
        return Workspace(self._spec.architecture, self._layout, rows, self._dtype)

    def _space_for(self, n: int) -> Workspace:
        """Return the first thread's workspace, made larger where a batch that must pass whole needs it."""
        if n > self._spaces[0].rows:
            self._spaces[0] = self._new_workspace(n)
        return self._spaces[0]

    def _lane_arrays(self, n: int) -> list[NetworkArrays]:
        """Return room for the gradients of n lanes; made once, with room for one tile's at every thread."""
        while len(self._lanes) < n:
            self._lanes.append(self.arrays.map(np.empty_like))
        while len(self._scratch) < self._workers.n:
            self._scratch.append(self.arrays.map(np.empty_like))
        return self._lanes[:n]


def resident_floats(splits: Mapping[str, SplitData], scaling: Scaling, dtype: np.dtype[Any]) -> dict[str, Matrix]:
    """Return every split as floats with a last column of ones, or nothing where they would take too much memory."""
    if sum(part.inputs.size for part in splits.values()) * dtype.itemsize > RESIDENT_BYTES:
        return {}
    floats = {}
    for name, part in splits.items():
        n, n_inputs = part.inputs.shape
        floats[name] = np.ones((n, n_inputs + 1), dtype)
        scaling.transform_into(part.inputs[:], floats[name][:, :-1])
    return floats
