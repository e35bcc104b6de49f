"""The formulas in torch tensors: products in bfloat16 on processors that have them, and the same network on a GPU.

Batches go through in tiles of rows whose gradients are added up in the type of the weights. Where nothing of an update
has to come from the processor, all that changes from one update to the next lies in tensors of fixed place, and a GPU
records the update once and replays it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chalknet.data.preprocess import Scaling
from chalknet.engines.batches import BatchBuilder, TrainingBatch, even_cuts
from chalknet.engines.engine import AVERAGE, Batch, EngineSpec, Part, SampleScores, Snapshot, Update
from chalknet.engines.torch_device import (
    Learn,
    Recorded,
    Steps,
    copied,
    on_processor,
    running,
    scores_of,
    usable_device,
)
from chalknet.engines.torch_samples import Where, held_samples, kind_of_batch, n_of, positions_of, some
from chalknet.engines.torch_tile import Aims, Rows, Tensors, TorchTile, Types, grad_logits, judge
from chalknet.engines.torch_weights import Layers, Weights, check_short_form, start_of
from chalknet.engines.workers import Workers
from chalknet.machine.processor import available_cores
from chalknet.network.layer import Parameters
from chalknet.records import Scores

# Of the numpy engine's tiles that go through together, for torch's threads share each product; and of narrower layers
# than TILE_UNITS as many more as hold the same number of values.
TILES_AT_ONCE, TILE_UNITS = 8, 1000
GPU_TILE_VALUES = 2**28  # of a tile's widest layer on a GPU
BAND_VALUES = 2**18  # of a matrix that is updated at a time, so that it stays in the cache
ROWS_DRAWN_AT_ONCE = 32  # samples whose chances, or changed images, are one task of a worker's
STATIC_ON = ("cuda",)  # kinds of device whose updates are recorded


class TorchEngine:
    """`Engine` in torch tensors; see `EngineMaker` for the other arguments.

    Last digits may depend on the number of workers, and on which kernels torch takes for a product's shape. With batch
    normalisation, whose statistics are a whole batch's, batches are not cut.

    Args:
        device: auto (CUDA where there is one), cpu or cuda.
        precision: of the products' operands where dtype is float32: float32, bfloat16, or tf32 on CUDA.
    Raises:
        ConfigError: no such device, or a precision that does not go with dtype or device.
    """

    def __init__(self, spec: EngineSpec) -> None:
        dropout = check_short_form(spec)
        parts, parameters, scaling, dtype = spec.splits, spec.parameters, spec.scaling, spec.dtype
        device, precision = spec.device, spec.precision
        self._dtype = np.dtype(dtype)
        self._device = usable_device(device, precision)
        self._workers, self._tf32 = spec.threads or available_cores(), precision == "tf32"
        self._rule, self._objective, self._transforms = spec.optimizer, spec.objective, spec.transforms
        self._dropout, self._clip_norm = dropout, spec.clip_norm
        values = getattr(torch, self._dtype.name)
        self._types = Types(values, torch.bfloat16 if precision == "bfloat16" else values, self._device)
        self._layers = Layers(parameters)
        self._begin_at(parameters)
        shapes = list(self._layers.shapes.values())
        widths = [shapes[0][1], *(n_out for n_out, _ in shapes)]
        self._tile_rows = spec.tile_rows * TILES_AT_ONCE * max(1, TILE_UNITS // max(widths[1:]))
        if self._device.type == "cuda":
            self._tile_rows = max(self._tile_rows, GPU_TILE_VALUES // max(widths))
        rows = self._hold(parts, scaling)
        self._tile = TorchTile(widths, rows, spec.architecture.activations, self._layers.batch_norm, self._types)
        self._builder = BatchBuilder(spec)
        self._crew = Workers(self._workers if self._builder.changes_samples or dropout else 1)
        self._is_static = (
            self._device.type in STATIC_ON
            and not self._builder.changes_samples
            and not dropout
            and all(samples.is_held for samples in self._samples.values())
        )
        self._fresh: dict[str, Scores] = {}
        self._asked: set[str] = set()
        self._recorded: dict[Any, Any] = {}

    def _begin_at(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        """All that is learnt and remembered, its gradients, and both as products and updates take them."""
        self._weights = self._moved(self._layers.weights(parameters, self._dtype))
        started = self._layers.memory(self._rule, start_of(self._rule, parameters), self._dtype)
        self._memory = {slot: self._moved(weights) for slot, weights in started.items()}
        self._gradients: Tensors = Weights(*([torch.empty_like(v) for v in group] for group in self._weights.groups))
        first, *later = self._gradients.matrices
        # Products give the first layer's gradient with rows beyond its I+1, of which no update takes notice.
        self._gradient_rooms = Weights([self._with_zero_rows(first), *later], self._gradients.gains)
        self._gradients.matrices[0] = self._gradient_rooms.matrices[0][: len(first)]
        self._present = self._new_operands(self._weights)
        self._shown_operands = self._new_operands(self._shown) if AVERAGE in self._memory else self._present
        self._bands = self._cut_in_bands()

    def _hold(self, parts: Mapping[str, Part], scaling: Scaling) -> int:
        """Samples, labels and room for the sums of every part that is not empty; gives the most rows of a tile."""
        present = {name: part for name, part in parts.items() if len(part.labels)}
        most = max((len(part.labels) for part in present.values()), default=1)
        rows = most if self._layers.batch_norm else min(most, self._tile_rows)
        self._samples = held_samples(present, scaling, self._types, self._dtype, rows)
        self._labels = {
            name: torch.tensor(part.labels.astype(np.int64), device=self._device) for name, part in present.items()
        }
        counts = present["train"].weights if "train" in present else None
        self._counts = None if counts is None else torch.tensor(counts.astype(self._dtype), device=self._device)
        self._sums = torch.zeros(1 + len(present), 3, dtype=torch.float64, device=self._device)
        self._line = {name: line for line, name in enumerate(present, start=1)}  # of the sums, 0 being the updates'
        return rows

    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        self._fresh.clear()
        with running(self._workers, self._tf32):
            self._sums[0].zero_()
            n = self._train_static(updates) if self._is_static else self._train_each(updates)
            asked = sorted(self._asked) if self._is_static else []
            if asked:  # as after the epoch before; read together, the device is waited for once
                self._look_at(*asked)
            sums = self._sums.tolist()
        self._asked.clear()
        self._fresh = {part: scores_of(sums[self._line[part]], len(self._samples[part])) for part in asked}
        return scores_of(sums[0], n)

    def evaluate(self, part: str) -> Scores | None:
        if part not in self._samples:
            return None
        self._asked.add(part)
        if part not in self._fresh:
            with running(self._workers, self._tf32):
                self._look_at(part)
                self._fresh[part] = scores_of(self._sums[self._line[part]].tolist(), len(self._samples[part]))
        return self._fresh[part]

    def evaluate_each(self, part: str) -> SampleScores | None:
        if part not in self._samples:
            return None
        with running(self._workers, self._tf32):
            self._refresh(self._shown_operands, self._shown)
            found = [(judged.losses, judged.right) for judged in self._judged(part)]
            losses, right = (torch.cat(values).cpu().numpy() for values in zip(*found, strict=True))
        return SampleScores(losses, right)

    def parameters(self) -> Parameters:
        return self._layers.named(on_processor(self._weights))

    def shown_parameters(self, of: Snapshot | None = None) -> Parameters:
        weights, memory = (self._weights, self._memory) if of is None else of
        return self._layers.named(on_processor(memory.get(AVERAGE, weights)))

    def snapshot(self) -> Snapshot:
        return copied(self._weights), {slot: copied(weights) for slot, weights in self._memory.items()}

    def go_back(self, snapshot: Snapshot) -> None:
        weights, memory = snapshot
        self._put(weights, memory)

    def state(self) -> Parameters:
        return self._layers.state({slot: on_processor(weights) for slot, weights in self._memory.items()})

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        weights, memory = (
            self._layers.weights(parameters, self._dtype),
            self._layers.memory(self._rule, state, self._dtype),
        )
        self._put(self._moved(weights), {slot: self._moved(values) for slot, values in memory.items()})

    def _put(self, weights: Tensors, memory: Mapping[str, Tensors]) -> None:
        """Takes the values of other tensors, in place, where a recorded step reads."""
        self._fresh.clear()
        for mine, theirs in ((self._weights, weights), *((self._memory[slot], memory[slot]) for slot in self._memory)):
            for values, new in zip(mine.groups, theirs.groups, strict=True):
                for value, other in zip(values, new, strict=True):
                    value.copy_(other)
        self._refresh(self._present, self._weights)

    @property
    def device(self) -> str:
        return str(self._device.type)

    @property
    def _shown(self) -> Tensors:
        return self._memory.get(AVERAGE, self._weights)

    def _moved(self, weights: Weights) -> Tensors:
        """NumPy's matrices on the device."""
        return Weights(*([torch.tensor(value, device=self._device) for value in group] for group in weights.groups))

    def _with_zero_rows(self, matrix: Any) -> Any:
        """The values of a first layer's matrix, and zeros in the rows that products have beyond it."""
        room = matrix.new_zeros(self._types.aligned(len(matrix)), matrix.shape[1])
        room[: len(matrix)] = matrix
        return room

    def _new_operands(self, weights: Tensors) -> list[Any]:
        """Each layer's matrix as products take it: the matrix itself, or a copy that `_refresh` renews."""
        operands = [matrix.to(self._types.operands) for matrix in weights.matrices]
        if self._types.gpu_forms:
            last = operands[-1]
            operands[0] = self._with_zero_rows(operands[0])
            operands[-1] = last.new_zeros(last.shape[1], self._types.aligned(len(last))).t()[: len(last)].copy_(last)
        return operands

    def _refresh(self, operands: list[Any], weights: Tensors) -> None:
        for operand, matrix in zip(operands, weights.matrices, strict=True):
            if operand is not matrix:
                operand[: len(matrix)].copy_(matrix)

    def _cut_in_bands(self) -> list[tuple[Any, Any, list[Any], bool]]:
        """What the rule's update takes at a time: rows of weights, of their gradient and of the memory, has_bias.

        On a GPU, which waits for each operation to begin, whole matrices.
        """
        found = []
        for group, values in enumerate((self._weights.matrices, self._weights.gains)):
            for number, value in enumerate(values):
                at_once = len(value) if self._device.type == "cuda" else max(1, BAND_VALUES // value.shape[1])
                for band in even_cuts(len(value), at_once):
                    memory = [self._memory[slot].groups[group][number][band] for slot in self._rule.slots]
                    gradient = self._gradients.groups[group][number][band]
                    found.append((value[band], gradient, memory, band.stop == len(value)))
        return found

    def _train_each(self, updates: Iterable[Update]) -> int:
        """Update after update; what chance adds is drawn by NumPy, the same on every device. Gives out the samples."""
        total = 0
        for update in updates:
            lesson = self._builder.build(update)
            batch = update.batch
            where = batch if isinstance(batch, slice) else torch.from_numpy(np.asarray(batch)).to(self._device)
            self._learn(where, len(lesson.labels), self._numbers(update), lesson)
            total += len(lesson.labels)
            if self._device.type == "cpu" and not math.isfinite(self._sums[0, 0].item()):
                break  # a GPU, which would have to be waited for, makes all of them
        return total

    def _train_static(self, updates: Iterable[Update]) -> int:
        """Updates as `Steps`, of which there are some for each size of batch; nothing is waited for.

        Gives out the samples.
        """
        total = 0
        for kind, group in groupby(updates, key=kind_of_batch):
            chosen = list(group)
            steps = self._recorded.get((kind, len(chosen)))
            if steps is None:
                steps = self._recorded[kind, len(chosen)] = Steps(self._device)
            numbers = torch.tensor([self._numbers(update) for update in chosen], dtype=torch.float64)
            steps.run(self._step_of(chosen[0].batch), numbers, positions_of([[update.batch] for update in chosen]))
            total += n_of(chosen[0].batch) * len(chosen)
        return total

    def _step_of(self, batch: Batch) -> Learn:
        """`_learn` for batches like this one, as `Steps` calls it."""
        n = n_of(batch)

        def learn(positions: Tensor | None, numbers: Tensor) -> None:
            self._learn(batch if positions is None else positions[0], n, numbers.unbind())

        return learn

    def _numbers(self, update: Update) -> tuple[float, ...]:
        """All that this update's step takes, the share of an average that it keeps last."""
        return (*self._rule.numbers(update.step), self._rule.kept_of_average(update.step.number))

    def _learn(self, where: Where, n: int, numbers: Sequence[Any], lesson: TrainingBatch | None = None) -> None:
        """One update from the n samples at some positions; a lesson has what chance does to them."""
        cuts = even_cuts(n, n if self._layers.batch_norm else self._tile_rows)
        divisor = n if self._objective.reduction == "mean" else 1
        for number, rows in enumerate(cuts):
            here = some(where, rows)
            samples = self._rows(here, rows, lesson)
            logits = self._tile.forward(samples.x, self._weights, self._present, self._keep(rows, lesson), learns=True)
            aims = self._aims(here, rows, lesson)
            judged = judge(logits, aims.labels, self._types.values)
            self._sums[0].add_(judged.sums())
            grad = grad_logits(judged, aims, divisor)
            self._tile.backward(grad, self._present, self._gradient_rooms, samples, number == 0)
        self._move(numbers, n)

    def _rows(self, here: Where, rows: slice, lesson: TrainingBatch | None) -> Rows:
        """Some of an update's samples as they are learnt."""
        samples = self._samples["train"]
        if lesson is None or not self._builder.changes_samples:
            return samples.rows(here)
        made = np.empty((rows.stop - rows.start, samples.n_inputs), self._dtype)

        def make(part: slice) -> None:
            self._builder.fill(made[part.start - rows.start : part.stop - rows.start], lesson, part)

        self._share_out(rows, make)
        return samples.operands_of(torch.from_numpy(made).to(self._device))

    def _aims(self, here: Where, rows: slice, lesson: TrainingBatch | None) -> Aims:
        labels = self._labels["train"][here]
        counts = None if self._counts is None else self._counts[here]
        partners, share = None, 1.0
        if lesson is not None and lesson.mixing is not None:
            chosen = lesson.labels[lesson.mixing.partners[rows]].astype(np.int64)
            partners, share = torch.from_numpy(chosen).to(self._device), lesson.mixing.share
        return Aims(labels, partners, share, counts, self._objective.label_smoothing)

    def _keep(self, rows: slice, lesson: TrainingBatch | None) -> list[Any]:
        """Dropout's factors for each hidden layer, or none at all."""
        if lesson is None or not self._dropout:
            return []
        found = []
        for layer, (width, _) in enumerate(list(self._layers.shapes.values())[:-1], start=1):
            factors = np.empty((rows.stop - rows.start, width), self._dtype)
            self._share_out(rows, partial(self._draw, factors, rows.start, layer, lesson.step.number))
            found.append(torch.from_numpy(factors).to(self._device, self._types.operands))
        return found

    def _draw(self, factors: NDArray[Any], start: int, layer: int, number: int, part: slice) -> None:
        """Dropout's factors of some rows, whose first is start."""
        drawn = self._transforms.dropout_mask(layer, self._dropout, number, part, factors.shape[1], self._dtype)
        factors[part.start - start : part.stop - start] = drawn

    def _share_out(self, rows: slice, work: Callable[[slice], None]) -> None:
        """Work of NumPy's on some rows, on all workers in pieces that do not depend on their number."""
        cuts = even_cuts(rows.stop - rows.start, ROWS_DRAWN_AT_ONCE)

        def task(cut: slice, _: int) -> None:
            work(slice(rows.start + cut.start, rows.start + cut.stop))

        self._crew.run([partial(task, cut) for cut in cuts])

    def _move(self, numbers: Sequence[Any], n: int) -> None:
        """The penalty, clipping and the update of everything learnt; the average of running statistics."""
        if self._objective.l2:
            times = n if self._objective.reduction == "sum" else 1
            for matrix, gradient in zip(self._weights.matrices, self._gradients.matrices, strict=True):
                gradient[:-1].add_(matrix[:-1], alpha=self._objective.l2 * times)
        if self._clip_norm:
            learnt = [*self._gradients.matrices, *self._gradients.gains]
            length = torch.stack([torch.linalg.vector_norm(value, dtype=torch.float64) for value in learnt]).norm()
            factor = torch.clamp(self._clip_norm / length, max=1.0)
            for gradient in learnt:
                gradient.mul_(factor)
        for matrix, gradient, memory, has_bias in self._bands:
            self._rule.move(matrix, gradient, memory, has_bias, numbers[:-1], torch)
        if AVERAGE in self._memory:
            kept = numbers[-1]
            for average, present in zip(self._memory[AVERAGE].statistics, self._weights.statistics, strict=True):
                average.copy_(kept * average + (1 - kept) * present)
        self._refresh(self._present, self._weights)

    def _look_at(self, *parts: str) -> None:
        """The sums of these parts' scores into their lines."""
        if self._is_static:
            if parts not in self._recorded:
                self._recorded[parts] = Recorded(self._device)
            self._recorded[parts](lambda: self._add_up(parts))
        else:
            self._add_up(parts)

    def _add_up(self, parts: Sequence[str]) -> None:
        if self._shown is not self._weights:
            self._refresh(self._shown_operands, self._shown)
        for part in parts:
            first, *others = (judged.sums() for judged in self._judged(part))
            self._sums[self._line[part]] = sum(others, start=first)

    def _judged(self, part: str) -> Iterator[Any]:
        """A part's samples judged, tile after tile."""
        for rows in even_cuts(len(self._samples[part]), self._tile_rows):
            x = self._samples[part].rows(rows, back=False).x
            logits = self._tile.forward(x, self._shown, self._shown_operands, learns=False)
            yield judge(logits, self._labels[part][rows], self._types.values)
