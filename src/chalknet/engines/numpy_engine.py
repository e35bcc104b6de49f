"""The default engine: plain NumPy at the machine's product rate, with the same bits at any number of workers.

Large batches are cut into tiles of rows; a fixed number of lanes each take every so many-th tile and add up its
gradients, and the lanes are added in their order. Small batches go through whole, and it is the units of a hidden layer
that are cut, into blocks of fixed width, so that no gradient has to be added up at all. Tiles, lanes and blocks depend
on the sizes alone; workers only decide who computes what and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.engines.engine import Batch, Part, SampleScores, UpdateRule
from chalknet.engines.tile import Matrix, Outcome, Tally, Tile
from chalknet.engines.workers import Workers
from chalknet.machine.blas import one_blas_thread
from chalknet.machine.kernels import warn_of_slow_kernels
from chalknet.machine.processor import available_cores
from chalknet.network.architecture import Parameters
from chalknet.records import Scores

# Of a large batch. Times differ by less than a tenth from 384 to 1,536 rows, at 16 to 4,000 units (docs/benchmarks.md),
# so one number serves every cache, and results do not depend on the machine's.
TILE_ROWS = 768
LANES = 8  # partial sums of a large batch, and so the most workers that can share one
BLOCK_UNITS = 512  # of a hidden layer that workers share out in a small batch
BAND_VALUES = 2**18  # of a matrix that one task updates
SMALL_OUTCOMES = 65_536  # samples of small batches whose scores are added up at a time
RESIDENT_BYTES = 64 * 2**20  # samples up to this size as floats are kept so; of more, each tile is turned when it comes


Labels = NDArray[np.integer[Any]]


class NumpyEngine:
    """`Engine` by tiles, threads and buffers.

    Args:
        parts: "train", "valid" and "test"; an absent or empty part is never scored. Inputs stay as they are and become
            floats a tile at a time, unless all of them together are few enough to be kept as floats too.
        parameters: initial values by name.
        rule: the optimiser.
        input_scale: raw inputs are divided by it.
        reduction: "sum" or "mean" over a batch, of the gradient.
        dtype: float32 or float64, of everything.
        workers: threads, by default one a core. Results do not depend on it.
        tile_rows: samples of a tile, and the most of a small batch. Another number adds in another order, so last
            digits may differ.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        *,
        input_scale: float = 1.0,
        reduction: str = "mean",
        dtype: DTypeLike = np.float32,
        workers: int | None = None,
        tile_rows: int = TILE_ROWS,
    ) -> None:
        warn_of_slow_kernels()
        self._parts = {name: part for name, part in parts.items() if len(part.labels)}
        self._rule, self._reduction = rule, reduction
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self._scale = np.asarray(input_scale, self._dtype)[()]  # a scalar of that type, so that quotients are too
        self._tile_rows = tile_rows
        weights = {name: value for name, value in parameters.items() if name.endswith(".weight")}
        self._shapes = {name.removesuffix(".weight"): value.shape for name, value in weights.items()}
        state = rule.start(dict(parameters))
        self._remembered = set(state)
        self._matrices, self._memory = self._as_matrices(parameters), self._as_matrices(state)
        self._gradients = [np.empty_like(matrix) for matrix in self._matrices]
        self._blocks = [even_cuts(matrix.shape[1], BLOCK_UNITS) for matrix in self._matrices]
        # Updates go over bands of whole rows, which lie together in memory; columns would take four times as long.
        self._bands = [
            (layer, band)
            for layer, matrix in enumerate(self._matrices)
            for band in even_cuts(len(matrix), max(1, BAND_VALUES // matrix.shape[1]))
        ]
        self._one_block = all(len(blocks) == 1 for blocks in self._blocks)
        self._workers = Workers(workers or available_cores())
        widths = [len(self._matrices[0]) - 1, *(matrix.shape[1] for matrix in self._matrices)]
        rows = min(tile_rows, max((len(part.labels) for part in self._parts.values()), default=1))
        self._tiles = [Tile(widths, rows, self._dtype) for _ in range(self._workers.n)]
        self._lanes: list[list[Matrix]] = []
        self._scratch: list[list[Matrix]] = []
        n_values = sum(part.inputs.size for part in self._parts.values())
        few = n_values * self._dtype.itemsize <= RESIDENT_BYTES
        self._floats = {name: self._as_floats(part.inputs[:]) for name, part in self._parts.items()} if few else {}

    def train_epoch(self, batches: Iterable[Batch]) -> Scores:
        labels = self._parts["train"].labels
        tally, small = Tally(), Outcome(max(self._tile_rows, SMALL_OUTCOMES), self._dtype)
        filled = 0
        with one_blas_thread():
            for batch in batches:
                batch_labels = labels[batch]
                n = len(batch_labels)
                if filled + n > len(small.true) or n > self._tile_rows:
                    tally.add(filled, [small.sums(filled)])
                    filled = 0
                if n > self._tile_rows:
                    tally.add(n, self._large_step(batch, batch_labels))
                else:
                    self._small_step(batch, batch_labels, small, filled)
                    filled += n
        tally.add(filled, [small.sums(filled)])
        return tally.scores()

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
        return self._as_named(self._matrices)

    def state(self) -> Parameters:
        return {name: value for name, value in self._as_named(self._memory).items() if name in self._remembered}

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        self._matrices = self._as_matrices(parameters)
        self._memory = self._as_matrices(state)

    def _tiles_of(self, part: str) -> list[slice]:
        return even_cuts(len(self._parts[part].labels), self._tile_rows)

    def _judge(self, part: str, rows: slice, outcome: Outcome, at: slice, worker: int) -> None:
        """Some samples of a part through the network, into a slice of the outcome."""
        tile = self._tiles[worker]
        self._put(tile, part, rows)
        tile.forward(self._matrices, rows.stop - rows.start)
        tile.judge(self._parts[part].labels[rows], outcome, at)

    def _large_step(self, batch: Batch, labels: Labels) -> list[tuple[float, float, float]]:
        """One update from a batch that is cut into tiles of rows, each lane adding up its own; every tile's sums."""
        tiles = even_cuts(len(labels), self._tile_rows)
        lanes = self._lane_sums(min(LANES, len(tiles)))
        sums = [(0.0, 0.0, 0.0)] * len(tiles)

        def add_up(lane: int, worker: int) -> None:
            tile, scratch = self._tiles[worker], self._scratch[worker]
            for number in range(lane, len(tiles), len(lanes)):
                rows, first = tiles[number], number == lane
                n = rows.stop - rows.start
                self._put(tile, "train", part_of_batch(batch, rows))
                out = lanes[lane] if first else scratch
                self._gradients_of_tile(tile, labels[rows], tile.outcome, slice(0, n), len(labels), out)
                sums[number] = tile.outcome.sums(n)
                for total, part in zip(lanes[lane], () if first else scratch, strict=False):
                    np.add(total, part, out=total)

        def join(layer: int, band: slice, worker: int) -> None:
            total = lanes[0][layer][band]
            for lane in lanes[1:]:
                np.add(total, lane[layer][band], out=total)
            self._update(lanes[0], layer, band, worker)

        self._workers.run([partial(add_up, lane) for lane in range(len(lanes))])
        self._workers.run([partial(join, layer, band) for layer, band in self._bands])
        return sums

    def _small_step(self, batch: Batch, labels: Labels, outcome: Outcome, start: int) -> None:
        """One update from a batch that goes through whole, the units of wide layers shared out in blocks."""
        n, tile = len(labels), self._tiles[0]
        at = slice(start, start + n)
        self._put(tile, "train", batch)
        if self._one_block:
            self._gradients_of_tile(tile, labels, outcome, at, n, self._gradients)
        else:
            self._gradients_in_blocks(tile, labels, outcome, at)
        updates = [partial(self._update, self._gradients, layer, band) for layer, band in self._bands]
        if self._one_block:
            for update in updates:  # too little work to share
                update(0)
        else:
            self._workers.run(updates)

    def _gradients_in_blocks(self, tile: Tile, labels: Labels, outcome: Outcome, at: slice) -> None:
        """`_gradients_of_tile` into `_gradients`, each hidden layer's units shared out in blocks."""
        n, hidden = len(labels), range(len(self._matrices) - 1)

        def forward_block(layer: int, columns: slice, _: int) -> None:
            tile.hidden(self._matrices, layer, n, columns)

        def backward_block(layer: int, columns: slice, _: int) -> None:
            tile.grad_hidden(self._matrices, layer, n, columns, self._gradients[layer][:, columns])

        for layer in hidden:
            self._workers.run([partial(forward_block, layer, columns) for columns in self._blocks[layer]])
        tile.output(self._matrices, n)
        self._grad_logits(tile, labels, outcome, at, n)
        tile.grad_output(n, self._gradients[-1])
        for layer in reversed(hidden):
            self._workers.run([partial(backward_block, layer, columns) for columns in self._blocks[layer]])

    def _gradients_of_tile(
        self, tile: Tile, labels: Labels, outcome: Outcome, at: slice, n_batch: int, out: Sequence[Matrix]
    ) -> None:
        n = len(labels)
        tile.forward(self._matrices, n)
        self._grad_logits(tile, labels, outcome, at, n_batch)
        tile.backward(self._matrices, n, out)

    def _grad_logits(self, tile: Tile, labels: Labels, outcome: Outcome, at: slice, n_batch: int) -> None:
        tile.judge(labels, outcome, at)
        tile.grad_logits(labels, outcome, at)
        if self._reduction == "mean":
            logits = tile.logits[: len(labels)]
            np.divide(logits, self._dtype.type(n_batch), out=logits)

    def _update(self, gradients: Sequence[Matrix], layer: int, band: slice, _: int) -> None:
        matrix = self._matrices[layer]
        has_bias = band.stop == len(matrix)
        self._rule.update(matrix[band], gradients[layer][band], self._memory[layer][band], has_bias)

    def _put(self, tile: Tile, part: str, where: Batch) -> None:
        """Some samples of a part as what the tile reads, scaled; without a copy where they lie ready in a run."""
        floats = self._floats.get(part)
        if floats is None:
            raw = self._parts[part].inputs[where]
            tile.x = tile.samples
            np.divide(raw, self._scale, out=tile.x[: len(raw), :-1])
        elif isinstance(where, slice):
            tile.x = floats[where]
        else:
            tile.x = tile.samples
            # mode "clip" writes straight into out; the positions are in range, being a permutation's.
            np.take(floats, where, axis=0, out=tile.x[: len(where)], mode="clip")

    def _as_floats(self, inputs: NDArray[Any]) -> Matrix:
        floats = np.ones((len(inputs), inputs.shape[1] + 1), self._dtype)
        np.divide(inputs, self._scale, out=floats[:, :-1])
        return floats

    def _lane_sums(self, n: int) -> list[list[Matrix]]:
        """Room for n lanes' gradients, and for one tile's at every worker; made once."""
        while len(self._lanes) < n:
            self._lanes.append([np.empty_like(matrix) for matrix in self._matrices])
        while len(self._scratch) < self._workers.n:
            self._scratch.append([np.empty_like(matrix) for matrix in self._matrices])
        return self._lanes[:n]

    def _as_matrices(self, named: Mapping[str, NDArray[Any]]) -> list[Matrix]:
        """Each layer's weight and bias as one (I+1, O) matrix; what has no name is 0."""
        matrices = []
        for layer, (n_out, n_in) in self._shapes.items():
            matrix = np.zeros((n_in + 1, n_out), self._dtype)
            if f"{layer}.weight" in named:
                matrix[:-1] = named[f"{layer}.weight"].T
            if f"{layer}.bias" in named:
                matrix[-1] = named[f"{layer}.bias"]
            matrices.append(matrix)
        return matrices

    def _as_named(self, matrices: Sequence[Matrix]) -> Parameters:
        named: Parameters = {}
        for layer, matrix in zip(self._shapes, matrices, strict=True):
            named[f"{layer}.weight"] = np.array(
                matrix[:-1].T, order="C"
            )  # a copy even where the transposed is contiguous
            named[f"{layer}.bias"] = matrix[-1].copy()
        return named


def even_cuts(n: int, most: int) -> list[slice]:
    """0..n in as few runs of at most `most` as there can be, all of nearly the same length."""
    bounds = np.linspace(0, n, -(-n // most) + 1).round().astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(bounds)]


def part_of_batch(batch: Batch, rows: slice) -> Batch:
    """Rows of a batch as positions of their own."""
    if isinstance(batch, slice):
        first = batch.start or 0
        return slice(first + rows.start, first + rows.stop)
    return batch[rows]
