"""The default engine: NumPy on all cores, with bit-identical results for any number of threads.

A large batch is cut into tiles, runs of samples whose values stay in the cache of one core. Threads
compute tiles, and the gradients of the tiles are added up. Floating-point addition is not
associative, so the order of the additions is fixed by the sizes alone: with A accumulators,
accumulator a adds up tiles a, a + A, a + 2 A, ... in this order, and at the end the accumulators are
added in order of a. A thread takes one accumulator at a time. Threads change when a sum is computed
and not its order.

A small batch is one tile: cut further, every thread would have a whole gradient to add for a few
samples. Instead, threads share the columns (units) of each group of layers, in blocks of fixed
width. Each number is then computed by one thread, and no gradients have to be added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.batches import BatchBuilder, TrainingBatch, even_slices, slice_batch
from chalknet.engines.compiled import OptimizerSteps
from chalknet.engines.engine import Batch, EngineSpec, SampleScores, Snapshot, SplitData, Update
from chalknet.engines.numpy_kernels import ALL, Group, InPlaceKernel
from chalknet.engines.numpy_workspace import Workspace
from chalknet.engines.parameter_layout import (
    PARAMETERS,
    Matrix,
    NetworkArrays,
    ParameterLayout,
    arrays_to_evaluate,
    initial_state,
)
from chalknet.engines.scores import EpochScores, ScoreAccumulator, ScoreSums, SoftmaxTerms, TermsAccumulator
from chalknet.engines.thread_pool import ThreadPool
from chalknet.machine.blas import one_blas_thread
from chalknet.machine.kernels import warn_of_slow_kernels
from chalknet.machine.processor import available_cores
from chalknet.network.clipping import clip_factor, squared_norm
from chalknet.network.layer import Parameters
from chalknet.network.optimizers import AVERAGE, Step
from chalknet.records import Scores

# Sizes of pieces of work. They are constants, and not derived from the number of threads, so that
# the order of all sums is the same for any number of threads.

# Partial sums of the gradient of a large batch, and so the most threads that can share one batch.
MAX_ACCUMULATORS = 8
# Columns of a group that one task computes in a small batch.
BLOCK_UNITS = 512
# Values of a matrix that one task of the optimizer updates: rows that stay in the cache between the
# passes over parameters, gradient and state. With several state matrices there are fewer.
BAND_VALUES = 2**18
BAND_VALUES_OF_MANY = 2**16
# Samples of a small batch that one task augments or mixes.
ROWS_PER_FILL = 32
# Samples of images that pass through a network at once, at most. Feature maps take much more memory
# than rows.
MAX_IMAGE_ROWS = 128
# Samples of small batches whose scores are computed in one call.
SMALL_BATCH_TERMS = 65_536
# Samples up to this size are kept as floats. Larger sets are converted tile by tile.
RESIDENT_BYTES = 64 * 2**20


class NumpyEngine:
    """An `Engine` with tiles, threads and preallocated buffers.

    `EngineSpec.tile_rows` is the number of samples of a tile, and of the largest small batch. Times
    differ by less than a tenth from 384 to 1,536 rows, at 16 to 4,000 units (docs/benchmarks.md), so
    one number suits every cache. Another number changes the order of sums and so last digits. If a
    layer uses statistics of the whole batch, every batch is computed whole.

    Args:
        spec: what to train and evaluate.
    """

    device = "cpu"

    def __init__(self, spec: EngineSpec) -> None:
        """Create an engine with copies of the spec's parameters, and start its threads."""
        warn_of_slow_kernels()
        self._spec, self._optimizer, self._objective = spec, spec.optimizer, spec.objective
        self._dtype: np.dtype[Any] = np.dtype(spec.dtype)
        self._splits = {name: split for name, split in spec.splits.items() if len(split.labels)}
        self._whole_batches = spec.architecture.uses_batch_statistics
        reads_images = spec.architecture.reads_images
        self._tile_rows = min(spec.tile_rows, MAX_IMAGE_ROWS) if reads_images else spec.tile_rows
        self._layout = ParameterLayout(spec.architecture)
        state = initial_state(self._optimizer, spec.architecture, spec.parameters)
        self._state = self._layout.pack(self._optimizer, spec.parameters, state, self._dtype)
        self._gradients = self.arrays.map(np.empty_like)
        averages_statistics = AVERAGE in self._optimizer.state_names and bool(self.arrays.statistics)
        self._l2 = [self._objective.l2 + of_layer for of_layer in self._layout.l2]
        self._is_plain = not (any(self._l2) or spec.clip_norm or averages_statistics)
        self._pool = ThreadPool(spec.threads or available_cores())
        rows = min(self._tile_rows, max((len(split.labels) for split in self._splits.values()), default=1))
        self._workspaces = [self._new_workspace(rows) for _ in range(self._pool.n)]
        images = self._workspaces[0].images
        self._n_map_values = 0 if images is None else images.n_map_values
        groups = self._workspaces[0].groups
        # The last group is the output layer. It has few units and is computed by one thread.
        self._blocks = [
            even_slices(group.width, BLOCK_UNITS) if group.splits_columns else [ALL] for group in groups[:-1]
        ]
        # With one block per group, a small batch is too little work to share among threads.
        self._is_narrow = not reads_images and all(group.width <= BLOCK_UNITS for group in groups[:-1])
        self._bands = self._make_bands()
        self._steps = OptimizerSteps(self._optimizer, spec.architecture.n_parameters)
        self._whole_bands = self._band_views(self._gradients)
        self._accumulators: list[NetworkArrays] = []
        self._scratch: list[NetworkArrays] = []
        self._floats = resident_floats(self._splits, spec.scaling, self._dtype)
        self._builder = BatchBuilder(spec, self._floats.get("train"))
        self._epoch = ScoreAccumulator()  # the scores of the current epoch so far

    def _make_bands(self) -> list[tuple[int, slice, int, float]]:
        """Return the bands: what the tasks of an update share out.

        A band is a run of rows of one learned matrix. Rows are contiguous in memory; bands of
        columns would take four times as long. Bands depend on the sizes alone, because the norm for
        clipping is a sum over bands.

        Returns:
            For each band the index of its matrix, its rows, how many of them, the last ones, are
            not weights, and the multiplier of their learning rate.
        """
        at_once, bands = BAND_VALUES if len(self._optimizer.state_names) < 2 else BAND_VALUES_OF_MANY, []
        for index, (matrix, n_weights) in enumerate(zip(self.arrays.learned, self._layout.n_weights, strict=True)):
            for run, multiplier in self._layout.row_multipliers[index]:
                for cut in even_slices(run.stop - run.start, max(1, at_once // matrix.shape[1])):
                    rows = slice(run.start + cut.start, run.start + cut.stop)
                    bands.append((index, rows, max(0, rows.stop - max(n_weights, rows.start)), multiplier))
        return bands

    def _scalars(self, step: Step, n_batch: int) -> dict[float, list[NDArray[Any]]]:
        """Return the scalars of the optimizer for each multiplier of the learning rate, once an update.

        They are arrays without axes, which NumPy uses faster than Python floats.
        """
        self._steps.count_update(n_batch * self._n_map_values)
        found = {}
        for one in self._layout.multipliers:
            scalars = self._optimizer.step_scalars(step if one == 1 else step.multiplied(one))
            found[one] = [np.array(value, self._dtype) for value in scalars]
        return found

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def train_epoch(self, updates: Iterable[Update], start: EpochScores | None = None) -> Scores:
        """Make all updates and return the mean scores of their batches.

        Training stops at a loss that is not finite.
        """
        whole = len(self._splits["train"].labels) if self._whole_batches else 0
        total = TermsAccumulator(max(self._tile_rows, SMALL_BATCH_TERMS, whole), self._dtype, start)
        self._epoch = total
        with one_blas_thread():
            for update in updates:
                batch = self._builder.build(update)
                n = len(batch.labels)
                is_large = n > self._tile_rows and not self._whole_batches
                if is_large or not total.has_room(n):
                    total.sum_terms()
                    if not total.is_finite:
                        return total.scores()
                if is_large:
                    total.add(n, self._large_step(batch))
                else:
                    self._small_step(batch, total.terms, total.n_terms)
                    total.n_terms += n
                total.n_updates += 1
        total.sum_terms()
        return total.scores()

    def epoch_scores(self) -> EpochScores:
        """Return the scores of the current epoch so far."""
        return self._epoch.so_far()

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate(self, split: str) -> Scores | None:
        """Return the scores of a split; None if it is empty."""
        if split not in self._splits:
            return None
        terms, total = self._softmax_terms(split), ScoreAccumulator()
        total.add(len(terms.true), map(terms.sums, self._tiles(split)))
        return total.scores()

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate_samples(self, split: str) -> SampleScores | None:
        """Return the scores of each sample of a split; None if it is empty."""
        if split not in self._splits:
            return None
        terms = self._softmax_terms(split)
        return SampleScores(terms.losses(ALL), terms.correct)

    def parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters by name, now or in a snapshot."""
        return self._layout.unpack((self._state if of is None else of)[PARAMETERS])

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters that `evaluate` uses, now or in a snapshot."""
        return self._layout.unpack(arrays_to_evaluate(self._state if of is None else of))

    def snapshot(self) -> Snapshot:
        """Return copies of all matrices."""
        return {key: values.map(np.copy) for key, values in self._state.items()}

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Copy the values of a snapshot into the engine's matrices."""
        for key, values in snapshot.items():
            self._state[key].copy_from(values)

    def state(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the optimizer state by "state/parameter", now or in a snapshot."""
        return self._layout.unpack_state(self._state if of is None else of)

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        """Replace parameters and optimizer state by copies of these."""
        self._state = self._layout.pack(self._optimizer, parameters, state, self._dtype)
        # The bands are views of the matrices, which are new ones now.
        self._whole_bands = self._band_views(self._gradients)

    @property
    def arrays(self) -> NetworkArrays:
        """The current parameters as the engine stores them; not a copy."""
        return self._state[PARAMETERS]

    @property
    def evaluation_arrays(self) -> NetworkArrays:
        """The parameters that `evaluate` uses, as the engine stores them; not a copy."""
        return arrays_to_evaluate(self._state)

    def use_parameters(self, arrays: NetworkArrays) -> None:
        """Compute with the parameters of another engine from now on.

        They are neither copied nor changed.
        """
        self._state = {PARAMETERS: arrays}

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def gradient_of(
        self, update: Update, batch_positions: NDArray[np.int64], n_batch: int
    ) -> tuple[NetworkArrays, list[ScoreSums]]:
        """Return the gradient of some samples of a batch and the sums of their scores.

        Args:
            update: positions of these samples in the training split, and the step.
            batch_positions: their positions in the whole batch, ascending.
            n_batch: size of the whole batch, by which a mean loss is divided.

        Returns:
            gradient: buffers of the engine, valid until the next call.
            sums: sums of scores, a triple for each tile.
        """
        batch = self._builder.build(update, batch_positions, n_batch)
        n = len(batch.labels)
        with one_blas_thread():
            if n <= self._tile_rows:
                terms = SoftmaxTerms(n, self._dtype)
                self._small_gradient(batch, terms, 0)
                return self._gradients, [terms.sums(ALL)]
            accumulators, sums = self._large_gradient(batch)
            for accumulator in accumulators[1:]:
                for total, matrix in zip(accumulators[0].learned, accumulator.learned, strict=True):
                    np.add(total, matrix, out=total)
        return accumulators[0], sums

    def apply_gradients(self, gradients: Sequence[NetworkArrays], n_batch: int, step: Step) -> None:
        """Make one update from gradients that shard workers have computed.

        Args:
            gradients: the parts of the gradient; they are added in this order.
            n_batch: size of the whole batch.
            step: number and learning rate of the update.
        """
        for total, matrix in zip(self._gradients.learned, gradients[0].learned, strict=True):
            np.copyto(total, matrix)
        self._update_parameters([self._gradients, *gradients[1:]], n_batch, step, not self._is_narrow)

    def _band_views(self, gradients: NetworkArrays) -> list[tuple[Matrix, Matrix, list[Matrix], int, float]]:
        """Return views of parameters, gradient and state, the bias rows and the multiplier of each band."""
        found = []
        for index, rows, bias_rows, multiplier in self._bands:
            optimizer_state = [self._state[key].learned[index][rows] for key in self._optimizer.state_names]
            views = self.arrays.learned[index][rows], gradients.learned[index][rows]
            found.append((*views, optimizer_state, bias_rows, multiplier))
        return found

    def _tiles(self, split: str) -> list[slice]:
        """Return the tiles of a split."""
        return even_slices(len(self._splits[split].labels), self._tile_rows)

    def _softmax_terms(self, split: str) -> SoftmaxTerms:
        """Return the softmax terms of a split, computed with the evaluation parameters."""
        labels = self._splits[split].labels
        terms = SoftmaxTerms(len(labels), self._dtype)

        def score_tile(rows: slice, worker: int) -> None:
            workspace = self._workspaces[worker]
            self._read(workspace, split, rows)
            workspace.use_passes(self._steps.passes)
            workspace.forward(self.evaluation_arrays, rows.stop - rows.start)
            workspace.write_softmax_terms(labels[rows], terms, rows)

        with one_blas_thread():
            self._pool.run([partial(score_tile, rows) for rows in self._tiles(split)])
        return terms

    def _large_step(self, batch: TrainingBatch) -> list[ScoreSums]:
        """Make one update from a batch that is cut into tiles.

        Returns:
            The score sums of each tile.
        """
        accumulators, sums = self._large_gradient(batch)
        self._update_parameters(accumulators, len(batch.labels), batch.step, True)
        return sums

    def _large_gradient(self, batch: TrainingBatch) -> tuple[list[NetworkArrays], list[ScoreSums]]:
        """Return the gradient of a large batch in parts, and the score sums of each tile.

        The parts are the accumulators. `_update_parameters` adds them up, band by band, while the
        optimizer has a band in the cache anyway.
        """
        tiles = even_slices(len(batch.labels), self._tile_rows)
        accumulators = self._accumulator_arrays(min(MAX_ACCUMULATORS, len(tiles)))
        sums: list[ScoreSums] = [(0.0, 0.0, 0.0)] * len(tiles)

        def add_up(accumulator: int, worker: int) -> None:
            workspace, scratch = self._workspaces[worker], self._scratch[worker]
            for number in range(accumulator, len(tiles), len(accumulators)):
                rows, first = tiles[number], number == accumulator
                here = slice(0, rows.stop - rows.start)
                self._read_batch(workspace, batch, rows)
                self._prepare(workspace, batch, rows.start)
                for kernel in workspace.dropout_kernels:
                    self._draw_mask(kernel, batch, rows, worker)
                out = accumulators[accumulator] if first else scratch
                self._gradients_of_tile(workspace, batch, rows, workspace.terms, here, out)
                sums[number] = workspace.terms.sums(here)
                if not first:
                    for total, of_tile in zip(accumulators[accumulator].learned, scratch.learned, strict=True):
                        np.add(total, of_tile, out=total)

        self._pool.run([partial(add_up, accumulator) for accumulator in range(len(accumulators))])
        return accumulators, sums

    def _small_step(self, batch: TrainingBatch, terms: SoftmaxTerms, start: int) -> None:
        """Make one update from a batch that is computed whole; write its softmax terms at start."""
        self._small_gradient(batch, terms, start)
        if self._is_narrow and self._is_plain:
            # Too little work to share among threads, or to make the views of `_band_views` anew.
            scalars = self._scalars(batch.step, len(batch.labels))
            for matrix, gradient, optimizer_state, bias_rows, multiplier in self._whole_bands:
                self._steps.in_place(matrix, gradient, optimizer_state, bias_rows, scalars[multiplier])
        else:
            self._update_parameters([self._gradients], len(batch.labels), batch.step, not self._is_narrow)

    def _small_gradient(self, batch: TrainingBatch, terms: SoftmaxTerms, start: int) -> None:
        """Compute the gradient of a batch as a whole; threads share the columns of each group."""
        n = len(batch.labels)
        workspace = self._workspace_for(n)
        at, rows = slice(start, start + n), slice(0, n)
        shared = not self._is_narrow or self._spec.transforms.augmenter is not None
        if self._builder.changes_samples:
            workspace.set_inputs(workspace.samples)
            cuts = even_slices(n, ROWS_PER_FILL)
            self._pool.run([partial(self._fill, workspace.samples, batch, some) for some in cuts], shared)
        else:
            self._read(workspace, "train", batch.batch)
        self._prepare(workspace, batch, 0)
        if workspace.dropout_kernels:
            self._pool.run([partial(self._draw_mask, one, batch, rows) for one in workspace.dropout_kernels], shared)
        if self._is_narrow:
            self._gradients_of_tile(workspace, batch, rows, terms, at, self._gradients)
        else:
            self._gradients_in_blocks(workspace, batch, terms, at)

    def _gradients_in_blocks(self, workspace: Workspace, batch: TrainingBatch, terms: SoftmaxTerms, at: slice) -> None:
        """Compute what `_gradients_of_tile` does, with blocks of columns on different threads.

        Each `run` ends before the next begins: a group reads all columns of the group before it,
        and in the backward pass the gradient of all columns of the group after it.
        """
        n = len(batch.labels)

        def forward_block(group: Group, columns: slice, _: int) -> None:
            group.forward(self.arrays, n, columns, True)

        def backward_block(group: Group, columns: slice, _: int) -> None:
            group.backward(self.arrays, n, columns, self._gradients)

        *hidden, output = workspace.groups
        with_blocks = list(zip(hidden, self._blocks, strict=True))
        images = workspace.images
        if images is not None:
            images.compute(self.arrays, n, True, self._pool.run)
        for group, blocks in with_blocks:
            self._pool.run([partial(forward_block, group, columns) for columns in blocks])
        output.forward(self.arrays, n, ALL, True)
        self._grad_logits(workspace, batch, slice(0, n), terms, at)
        output.backward(self.arrays, n, ALL, self._gradients)
        for group, blocks in reversed(with_blocks):
            self._pool.run([partial(backward_block, group, columns) for columns in blocks])
        if images is not None:
            images.compute_gradients(self.arrays, n, self._gradients, self._pool.run)

    def _gradients_of_tile(
        self,
        workspace: Workspace,
        batch: TrainingBatch,
        rows: slice,
        terms: SoftmaxTerms,
        at: slice,
        out: NetworkArrays,
    ) -> None:
        """Write the gradient of one tile to out, and its softmax terms to a slice of terms."""
        n = rows.stop - rows.start
        workspace.forward(self.arrays, n, True)
        self._grad_logits(workspace, batch, rows, terms, at)
        workspace.backward(self.arrays, n, out)

    def _grad_logits(
        self, workspace: Workspace, batch: TrainingBatch, rows: slice, terms: SoftmaxTerms, at: slice
    ) -> None:
        targets = batch.targets(rows, self._objective.label_smoothing)
        workspace.write_softmax_terms(targets.labels, terms, at)
        workspace.grad_logits(targets, terms, at, batch.n_batch if self._objective.reduction == "mean" else 1)

    def _update_parameters(self, gradients: Sequence[NetworkArrays], n_batch: int, step: Step, shared: bool) -> None:
        """Add up the parts of the gradient, add the penalty, clip, and step, band by band.

        Everything that an update does to a band happens in one task, so that the band passes
        through the cache once. Only clipping needs a second round, because its factor depends on
        the norm over all bands.

        Args:
            gradients: the parts of the gradient; the sum is written over the first.
            n_batch: size of the batch; a summed loss has the penalty (P1) once per sample.
            step: number and learning rate of the update.
            shared: whether threads share the bands.
        """
        times = n_batch if self._objective.reduction == "sum" else 1
        squared_norms = [0.0] * len(self._bands)
        is_own = gradients[0] is self._gradients
        bands, scalars = self._whole_bands if is_own else self._band_views(gradients[0]), self._scalars(step, n_batch)

        def finish(number: int, worker: int) -> None:
            index, rows, bias_rows, _ = self._bands[number]
            matrix, gradient, *_ = bands[number]
            for other in gradients[1:]:
                np.add(gradient, other.learned[index][rows], out=gradient)
            if self._l2[index] and bias_rows < len(matrix):
                weights = matrix[: len(matrix) - bias_rows]
                gradient[: len(weights)] += self._l2[index] * times * weights
            if self._spec.clip_norm:
                squared_norms[number] = squared_norm(gradient)
            else:
                update(number, 1.0, worker)

        def update(number: int, factor: float, _: int) -> None:
            matrix, gradient, optimizer_state, bias_rows, multiplier = bands[number]
            if factor < 1:
                np.multiply(gradient, factor, out=gradient)
            self._steps.in_place(matrix, gradient, optimizer_state, bias_rows, scalars[multiplier])

        self._pool.run([partial(finish, number) for number in range(len(self._bands))], shared)
        if self._spec.clip_norm:
            factor = clip_factor(squared_norms, self._spec.clip_norm)
            self._pool.run([partial(update, number, factor) for number in range(len(self._bands))], shared)
        if AVERAGE in self._state:
            kept = self._optimizer.ema_decay(step.number)
            for average, present in zip(self._state[AVERAGE].statistics, self.arrays.statistics, strict=True):
                np.add(kept * average, (1 - kept) * present, out=average)

    def _read_batch(self, workspace: Workspace, batch: TrainingBatch, rows: slice) -> None:
        """Prepare some samples of a batch as inputs of the first layer."""
        if self._builder.changes_samples:
            workspace.set_inputs(workspace.samples)
            self._fill(workspace.samples, batch, rows, 0)
        else:
            self._read(workspace, "train", slice_batch(batch.batch, rows))

    def _fill(self, samples: Matrix, batch: TrainingBatch, rows: slice, _: int) -> None:
        """Write some samples after random transforms.

        A small batch has room for all its samples, and each is written to its own row. Samples of a
        tile are written to the first rows.
        """
        n = rows.stop - rows.start
        self._builder.fill(samples[rows if len(batch.labels) <= len(samples) else slice(0, n), :-1], batch, rows)

    def _prepare(self, workspace: Workspace, batch: TrainingBatch, start: int) -> None:
        """Choose the passes, and give the image part its dropout masks for a batch.

        Row 0 of the workspace is row `start` of the batch.
        """
        workspace.use_passes(self._steps.passes)
        if workspace.images is None:
            return

        def draw_mask(stream: int, rate: float, rows: slice, width: int) -> Matrix:
            step, at = batch.step, batch.positions_in_batch(slice(start + rows.start, start + rows.stop))
            rate = rate * step.dropout_multiplier
            return self._spec.transforms.dropout_mask(stream, rate, step.number, at, width, self._dtype)

        workspace.images.draw_mask = draw_mask

    def _draw_mask(self, kernel: InPlaceKernel, batch: TrainingBatch, rows: slice, _: int) -> None:
        """Draw the dropout mask of one layer for some rows of a batch."""
        width, step, mask = kernel.values.shape[1], batch.step, self._spec.transforms.dropout_mask
        rate = kernel.rate * step.dropout_multiplier
        kernel.mask = mask(kernel.stream, rate, step.number, batch.positions_in_batch(rows), width, self._dtype)

    def _read(self, workspace: Workspace, split: str, where: Batch) -> None:
        """Prepare some samples of a split as inputs of the first layer.

        A slice of resident floats is not copied.
        """
        floats = self._floats.get(split)
        if floats is None:
            raw = self._splits[split].inputs[where]
            self._spec.scaling.transform_into(raw, workspace.samples[: len(raw), :-1])
            workspace.set_inputs(workspace.samples)
        elif isinstance(where, slice):
            workspace.set_inputs(floats[where])
        else:
            # With mode "clip" NumPy writes to out directly; with "raise" it would need a buffer.
            # All positions are in range, because they come from a permutation.
            floats.take(where, 0, workspace.samples[: len(where)], "clip")
            workspace.set_inputs(workspace.samples)

    def _new_workspace(self, rows: int) -> Workspace:
        """Return buffers for this many samples."""
        return Workspace(self._spec.architecture, self._layout, rows, self._dtype)

    def _workspace_for(self, n: int) -> Workspace:
        """Return the workspace of the calling thread, enlarged for n samples if necessary."""
        if n > self._workspaces[0].rows:
            self._workspaces[0] = self._new_workspace(n)
        return self._workspaces[0]

    def _accumulator_arrays(self, n: int) -> list[NetworkArrays]:
        """Return n accumulators.

        Each thread also gets a scratch gradient. Both are allocated once.
        """
        while len(self._accumulators) < n:
            self._accumulators.append(self.arrays.map(np.empty_like))
        while len(self._scratch) < self._pool.n:
            self._scratch.append(self.arrays.map(np.empty_like))
        return self._accumulators[:n]


def resident_floats(splits: Mapping[str, SplitData], scaling: Scaling, dtype: np.dtype[Any]) -> dict[str, Matrix]:
    """Return every split as scaled floats with a last column of ones.

    Args:
        splits: samples by split name.
        scaling: from inputs to what the first layer reads.
        dtype: float type.

    Returns:
        (n, I + 1) arrays by split name; nothing if they would take more than `RESIDENT_BYTES`.
    """
    if sum(split.inputs.size for split in splits.values()) * dtype.itemsize > RESIDENT_BYTES:
        return {}
    floats = {}
    for name, split in splits.items():
        n, n_inputs = split.inputs.shape
        floats[name] = np.ones((n, n_inputs + 1), dtype)
        scaling.transform_into(split.inputs[:], floats[name][:, :-1])
    return floats
