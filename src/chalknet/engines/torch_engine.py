"""The torch engine: one or many stacked networks, with products in bfloat16 or on a GPU.

`TorchStack` trains M >= 1 networks at once, and `TorchEngine` is a stack of one. Every network equals itself trained
alone to rounding, since products of other shapes add up in other orders. Batches pass in tiles of rows whose gradients
are added up in the dtype of the weights. What differs between networks (learning rate, momentum, penalties, clipping,
smoothing, class weights) is a tensor with one number per network, so that one call of the optimizer updates all.

Where no random numbers of NumPy are needed in an update, everything that changes from one update to the next lies in
tensors that stay in place, and a GPU records the update once and replays it. An epoch waits for the device once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chalknet.engines.batches import BatchBuilder, TrainingBatch, batch_size, even_cuts
from chalknet.engines.engine import Batch, EngineSpec, SampleScores, Snapshot, Update
from chalknet.engines.parameter_layout import (
    PARAMETERS,
    NetworkArrays,
    NetworkState,
    ParameterLayout,
    initial_state,
    shown,
)
from chalknet.engines.scores import ScoreAccumulator, Targets
from chalknet.engines.thread_pool import ThreadPool
from chalknet.engines.torch_device import (
    Recorded,
    RecordedSteps,
    StepFunction,
    TensorTypes,
    free_bytes,
    running,
    usable_device,
)
from chalknet.engines.torch_kernels import DropoutKernel, SoftmaxTensors, grad_logits, softmax_terms
from chalknet.engines.torch_layout import SIDE_BY_SIDE, StackedArrays, StackLayout, length
from chalknet.engines.torch_samples import (
    Positions,
    SampleRows,
    Samples,
    held_samples,
    kind_of_batch,
    positions_of,
    some_of,
)
from chalknet.engines.torch_workspace import StackWorkspace, readings_of, shared_reading
from chalknet.machine.processor import available_cores
from chalknet.network.dropout import Dropout
from chalknet.network.layer import Parameters
from chalknet.network.optimizers import AVERAGE
from chalknet.records import Scores

# Torch's threads share each product, so a tile has the rows of several of the numpy engine's tiles; with fewer than
# TILE_UNITS units, as many more as hold the same number of values.
TILES_AT_ONCE, TILE_UNITS = 8, 1000
MIN_ROWS = 64  # of a tile, however many networks there are
GPU_TILE_VALUES = 2**28  # of a tile's widest group on a GPU
BYTES_PER_VALUE = 32  # of a GPU's free memory: a value of a group, its gradient, and as much again to spare
SAMPLES_PER_VALUE = 4  # samples that are read may take this many times the memory of a group's values
BAND_VALUES = 2**18  # of a matrix that is updated at a time, so that it stays in the cache
ROWS_DRAWN_AT_ONCE = 32  # samples whose masks, or changed inputs, are one task of a worker
STATIC_ON = ("cuda",)  # kinds of device whose updates are recorded
# Everything that `_lay_out` makes: it holds the parameters of all networks, or room for their values.
MADE_BY_LAYOUT = (
    "_state", "_arrays", "_evaluated", "_gradients", "_bands", "_space", "_steps", "_evaluations",
)  # fmt: skip


@dataclass(eq=False)
class Member:
    """One network of a stack; state has views of the stack's tensors while it is laid out."""

    spec: EngineSpec
    order: Hashable
    layout: ParameterLayout
    builder: BatchBuilder
    state: NetworkState

    @property
    def draws(self) -> bool:
        """Whether NumPy draws random numbers for each update: changed samples or dropout masks."""
        layers = self.spec.architecture.layers
        return self.builder.changes_samples or any(isinstance(one, Dropout) and one.rate for one in layers)

    def numbers(self, update: Update) -> list[float]:
        """Return all numbers of an update, the fraction of an average that it keeps last."""
        rule = self.spec.optimizer
        return [*rule.step_scalars(update.step), rule.ema_decay(update.step.number)]


class StackedEngine:
    """`Engine` of one network of a stack; made by `TorchStack.add`.

    `TorchStack.train_epoch` trains it with the others. Where it is alone in its stack, its own `train_epoch` does.

    Attributes:
        stack: that trains it; after `TorchStack.remove`, one of its own.
    """

    def __init__(self, stack: TorchStack, member: Member) -> None:
        self.stack, self.member = stack, member

    @property
    def device(self) -> str:
        return self.stack.device

    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        return self.stack.train_epoch([updates])[0]

    def evaluate(self, part: str) -> Scores | None:
        return self.stack.scores(self.member, part)

    def evaluate_samples(self, part: str) -> SampleScores | None:
        return self.stack.sample_scores(self.member, part)

    def parameters(self) -> Parameters:
        return self.member.layout.unpack(_to_numpy(self.member.state[PARAMETERS]))

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        return self.member.layout.unpack(_to_numpy(shown(self.member.state if of is None else of.state)))

    def state(self) -> Parameters:
        return self.member.layout.unpack_state({key: _to_numpy(one) for key, one in self.member.state.items()})

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        self._set(self.stack.to_device(self.member.layout, self.member.spec, parameters, state))

    def snapshot(self) -> Snapshot:
        return self.stack.snapshot(self.member)

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        self._set(snapshot.state)

    def _set(self, state: NetworkState) -> None:
        for key, values in self.member.state.items():
            values.copy_from(state[key])
        self.stack.discard_scores()


class TorchEngine(StackedEngine):
    """A network that is trained alone: a stack of one.

    Last digits may depend on the number of threads, and on the kernels that torch takes for a product's shape.

    Raises:
        ConfigError: the device or the precision of the spec is not available.
    """

    def __init__(self, spec: EngineSpec) -> None:
        stack = TorchStack()
        super().__init__(stack, stack.add(spec).member)


class StackSnapshot:
    """The parameters and the state of one network, within copies of all networks' or in copies of its own.

    They are looked up when they are asked for, since most snapshots are never used.
    """

    def __init__(self, stacked: Mapping[str, StackedArrays], number: int) -> None:
        self._stacked, self._number = stacked, number
        self._own: NetworkState = {}

    @property
    def state(self) -> NetworkState:
        return self._own or {key: arrays.network(self._number) for key, arrays in self._stacked.items()}

    def separate(self) -> None:
        """Copy what belongs to this network, and release the copies of the others."""
        self._own = {key: arrays.map(torch.clone) for key, arrays in self.state.items()}
        self._stacked = {}


class TorchStack:
    """M >= 1 networks that are trained at once.

    All have the same samples, scaling, device, dtypes and layers. They may differ in units, dropout, seeds, and in the
    numbers of their optimizers and objectives. Networks of equal widths should be neighbors.
    """

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._is_laid_out = self._is_static = False
        self._samples: dict[str, Samples] = {}
        self._rows = 0
        self._scores: dict[str, list[Scores]] = {}
        self._sample_scores: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._asked: set[str] = set()
        self._latest: dict[str, StackedArrays] = {}
        self._given: list[list[ref[StackSnapshot]]] = []

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda"."""
        return str(self._device.type)

    def add(self, spec: EngineSpec, order: Hashable = None) -> StackedEngine:
        """Add a network before the first epoch.

        Args:
            spec: samples, scaling, threads, device and precision of the first one are those of the stack.
            order: name of the order of its batches; networks with equal orders must get equal batches. None for an
                order of its own.
        Raises:
            ConfigError: a device or precision that is not available, or layers unlike those of the others.
        """
        if not self._members:
            self._device = usable_device(spec.device, spec.precision)
            self._first, self._dtype = spec, np.dtype(spec.dtype)
            self._splits = {name: part for name, part in spec.splits.items() if len(part.labels)}
            self._threads = spec.threads or available_cores()
            values = getattr(torch, self._dtype.name)
            operands = torch.bfloat16 if spec.precision == "bfloat16" else values
            self._types = TensorTypes(values, operands, self._device)
        StackLayout([*(member.spec.architecture for member in self._members[:1]), spec.architecture])
        layout = ParameterLayout(spec.architecture)
        state = initial_state(spec.optimizer, spec.architecture, spec.parameters)
        own = self.to_device(layout, spec, spec.parameters, state)
        order = object() if order is None else order
        self._members.append(Member(spec, order, layout, BatchBuilder(spec), own))
        return StackedEngine(self, self._members[-1])

    def remove(self, engines: Iterable[StackedEngine]) -> None:
        """Move networks into stacks of their own; the others are laid out anew."""
        removed = list(engines)
        if not removed:
            return
        for engine in removed:
            engine.member.state = {key: arrays.map(torch.clone) for key, arrays in engine.member.state.items()}
            engine.stack = copy(self)
            engine.stack._reset([engine.member])
            engine.stack._asked, engine.stack._given = set(), []
        gone = [engine.member for engine in removed]
        self._reset([member for member in self._members if member not in gone])

    def _reset(self, members: list[Member]) -> None:
        """Train these networks from now on, which are laid out when they are needed."""
        self._members, self._is_laid_out = members, False
        self._scores, self._sample_scores, self._latest = {}, {}, {}
        for name in MADE_BY_LAYOUT:  # a GPU's memory must be free before networks are laid out anew
            vars(self).pop(name, None)

    def to_device(
        self,
        layout: ParameterLayout,
        spec: EngineSpec,
        parameters: Mapping[str, NDArray[Any]],
        state: Mapping[str, NDArray[Any]],
    ) -> NetworkState:
        """Return a network's parameters and optimizer state as tensors."""
        packed = layout.pack(spec.optimizer, parameters, state, self._dtype)
        return {key: one.map(partial(torch.tensor, device=self._device)) for key, one in packed.items()}

    def train_epoch(self, updates: Sequence[Iterable[Update]]) -> list[Scores]:
        """Make all updates of every network, in the order of `add`, and return scores as `Engine.train_epoch`.

        All networks must have the same number of updates, of batches of the same sizes. A network whose loss is not
        finite does not stop the others.
        """
        self._lay_out()
        self._scores, self._sample_scores, self._latest = {}, {}, {}
        with running(self._threads, self._first.precision == "tf32"):
            self._sums[0].zero_()
            steps = zip(*updates, strict=True)
            n = self._train_recorded(steps) if self._is_static else self._train(steps)
            asked = sorted(self._asked)  # as after the epoch before: read together, the device is waited for once
            for part in asked:
                self._evaluate(part)
            sums = self._sums.tolist()
        self._asked.clear()
        self._scores = {part: self._scores_of(part, sums) for part in asked}
        return [_scores_of(own, n) for own in sums[0]]

    def scores(self, member: Member, part: str) -> Scores | None:
        """Return `Engine.evaluate` of one network; all are evaluated when the first is asked for."""
        if part not in self._splits:
            return None
        self._asked.add(part)
        if part not in self._scores:
            self._lay_out()
            with running(self._threads, self._first.precision == "tf32"):
                self._evaluate(part)
                self._scores[part] = self._scores_of(part, self._sums.tolist())
        return self._scores[part][self._members.index(member)]

    def sample_scores(self, member: Member, part: str) -> SampleScores | None:
        """Return `Engine.evaluate_samples` of one network; all are evaluated when the first is asked for."""
        if part not in self._splits:
            return None
        if part not in self._sample_scores:
            self._lay_out()
            with running(self._threads, self._first.precision == "tf32"):
                found = [(terms.losses, terms.correct) for terms in self._terms(part)]
                losses, correct = (torch.cat(values, 1).cpu().numpy() for values in zip(*found, strict=True))
            self._sample_scores[part] = losses, correct
        number = self._members.index(member)
        losses, correct = self._sample_scores[part]
        return SampleScores(losses[number].copy(), correct[number].copy())

    def snapshot(self, member: Member) -> StackSnapshot:
        """Return `Engine.snapshot` of one network; all are copied at once when the first is asked for."""
        self._lay_out()
        if not self._latest:
            self._separate_old_snapshots()
            self._latest = {key: arrays.copy() for key, arrays in self._state.items()}
            self._given.append([])
        made = StackSnapshot(self._latest, self._members.index(member))
        self._given[-1].append(ref(made))
        return made

    def discard_scores(self) -> None:
        """Discard scores and snapshots to share, because parameters have changed."""
        self._scores, self._sample_scores, self._latest = {}, {}, {}
        if self._is_laid_out:
            self._arrays.refresh()

    def _separate_old_snapshots(self) -> None:
        """Let snapshots that are still kept after two later ones hold their own network only."""
        for found in self._given.pop(0) if len(self._given) > 1 else ():
            snapshot = found()
            if snapshot is not None and len(self._members) > 1:
                snapshot.separate()

    def _scores_of(self, part: str, sums: Sequence[Sequence[Sequence[float]]]) -> list[Scores]:
        return [_scores_of(own, len(self._splits[part].labels)) for own in sums[self._line[part]]]

    # Where everything is stored.

    def _lay_out(self) -> None:
        """Store all networks as they are trained, and make everything that is made once."""
        if self._is_laid_out:
            return
        self._is_laid_out = True
        members = self._members
        self._layout = StackLayout([member.spec.architecture for member in members])
        self._changes_samples = any(member.builder.changes_samples for member in members)
        orders = [member if self._changes_samples else member.order for member in members]
        distinct = list(dict.fromkeys(orders))
        self._leaders = [orders.index(order) for order in distinct]
        which = [distinct.index(order) for order in orders]
        self._of_order = torch.tensor(which, device=self._device)
        self._shared_reading = shared_reading(self._layout)
        self._readings = self._shared_reading
        if len(distinct) > 1:
            self._readings = readings_of(self._layout, which, self._device)
        self._store_arrays()
        self._prepare_objectives()
        self._bands = list(self._cut_bands())
        self._runs = {run for _, _, run, _ in self._blocks()}
        self._hold_samples()
        draws = any(member.draws for member in members)
        self._draws, self._workers = draws, ThreadPool(self._threads if draws else 1)
        self._is_static = (
            self._device.type in STATIC_ON and not draws and all(samples.is_held for samples in self._samples.values())
        )

    def _store_arrays(self) -> None:
        """Copy the parameters and the state of all networks into tensors that they share, and give each its views."""
        new = partial(StackedArrays, self._layout, self._types, self._types.values)
        used = {PARAMETERS, AVERAGE}
        self._state = {key: new(multiplied=key in used) for key in self._members[0].state}
        self._gradients, self._arrays = new(), self._state[PARAMETERS]
        self._evaluated = self._state.get(AVERAGE, self._arrays)
        for number, member in enumerate(self._members):
            own = {key: stacked.network(number) for key, stacked in self._state.items()}
            for key, arrays in own.items():
                arrays.copy_from(member.state[key])
            member.state = own
        self._arrays.refresh()

    def _prepare_objectives(self) -> None:
        """Prepare what objectives and clipping need: a number where all networks agree, else one for each."""
        specs = [member.spec for member in self._members]
        objectives = [spec.objective for spec in specs]
        self._of_column = torch.repeat_interleave(
            torch.arange(len(specs)), torch.tensor([widths[0] for widths in self._layout.widths])
        ).to(self._device)
        self._smoothing = self._number([one.label_smoothing for one in objectives])
        self._l2 = self._number([one.l2 for one in objectives])
        self._is_mean = self._number([float(one.reduction == "mean") for one in objectives])
        self._clips = any(spec.clip_norm for spec in specs)
        clip_norms = [spec.clip_norm or np.inf for spec in specs]
        self._clip_norms = torch.tensor(clip_norms, dtype=torch.float64, device=self._device)
        weights = [spec.splits["train"].weights if "train" in spec.splits else None for spec in specs]
        self._weights: Tensor | None = None
        if any(one is not None for one in weights):
            ones = np.ones(len(self._splits["train"].labels))
            rows = np.array([ones if one is None else one for one in weights], self._dtype)
            self._weights = torch.tensor(rows, device=self._device)

    def _number(self, values: Sequence[float]) -> Any:
        """Return the number that all networks have, or (M,) numbers."""
        if all(value == values[0] for value in values):
            return values[0]
        return torch.tensor(values, dtype=self._types.values, device=self._device)

    def _spread(self, values: Any, block: int) -> Any:
        """Return numbers (..., M) as they go with the rows of a block's matrices; a number as it is."""
        if not isinstance(values, Tensor):
            return values
        if block == SIDE_BY_SIDE:
            return values.index_select(-1, self._of_column)
        networks = self._layout.runs[block]
        if self._layout.is_batch(block):
            return values[..., networks].unsqueeze(-1)
        return values[..., networks.start : networks.stop]

    def _blocks(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield of every block of learned parameters: matrix, block of the matrix, run, and rows that are weights."""
        for index, matrix in enumerate(self._layout.learned):
            for number, run in enumerate(self._layout.blocks(matrix.group)):
                yield index, number, run, matrix.n_weights[self._layout.networks(run).start]

    def _cut_bands(self) -> Iterator[tuple[int, Any, Tensor, Tensor, list[Tensor], int]]:
        """Yield what the optimizer takes at a time: run, rule, rows of weights, gradient and state, and bias rows.

        On a GPU, where each operation has to begin, these are whole matrices.
        """
        rules = [member.spec.optimizer for member in self._members]
        for index, number, run, n_weights in self._blocks():
            matrix, rule = self._arrays.learned[index][number], self._merged(rules, run)
            at_once = len(matrix) if self._device.type == "cuda" else max(1, BAND_VALUES // matrix[0].numel())
            for rows in even_cuts(len(matrix), at_once):
                optimizer_state = [self._state[key].learned[index][number][rows] for key in rules[0].state_names]
                gradient = self._gradients.learned[index][number][rows]
                bias_rows = max(0, rows.stop - max(n_weights, rows.start))
                yield run, rule, matrix[rows], gradient, optimizer_state, bias_rows

    def _merged(self, rules: Sequence[Any], run: int) -> Any:
        """Return one optimizer for a block's networks, in which everything that differs is a tensor."""
        changed = {}
        for field in fields(rules[0]):
            values = [getattr(rule, field.name) for rule in rules]
            if is_dataclass(values[0]):
                changed[field.name] = self._merged(values, run)
            elif any(value != values[0] for value in values):
                changed[field.name] = self._spread(self._number(values), run)
        return replace(rules[0], **changed)

    def _hold_samples(self) -> None:
        """Make samples, buffers and sums."""
        rows = self._rows_at_once()
        if self._samples:
            self._rows = min(self._rows, rows)  # the samples have room for this many
        else:
            self._rows, types = rows, self._types
            most = rows * len(self._leaders)
            self._samples = held_samples(self._splits, self._first.scaling, types, self._dtype, most)
            self._labels = {
                name: torch.tensor(part.labels.astype(np.int64), device=self._device)[None]
                for name, part in self._splits.items()
            }
        self._space = StackWorkspace(self._layout, self._rows, self._types)
        shape = (1 + len(self._splits), len(self._members), 3)
        self._sums = torch.zeros(shape, dtype=torch.float64, device=self._device)
        self._line = {name: line for line, name in enumerate(self._splits, start=1)}  # of the sums; 0 for training
        self._steps: dict[Any, RecordedSteps] = {}
        self._evaluations: dict[str, Recorded] = {}

    def _rows_at_once(self) -> int:
        """Return the rows of a tile, from the memory that its widest group and the samples of all orders take."""
        most = max((len(part.labels) for part in self._splits.values()), default=1)
        if self._members[0].spec.architecture.uses_batch_statistics:
            return most
        n_units: int = max(sum(widths) for widths in zip(*self._layout.widths, strict=True))
        n_orders = len(self._leaders)
        read = n_orders * (self._layout.n_inputs + 1) // SAMPLES_PER_VALUE if n_orders > 1 else 1
        least: int = self._first.tile_rows * TILES_AT_ONCE
        values = least * TILE_UNITS
        if self._device.type == "cuda":
            at_once = free_bytes(self._device) // (BYTES_PER_VALUE * max(1, self._layout.n_groups - 1))
            values = max(values, min(GPU_TILE_VALUES, at_once))
        least = least if len(self._members) == 1 else MIN_ROWS
        return min(most, max(least, values // max(n_units, read)))

    # An epoch.

    def _train(self, steps: Iterable[Sequence[Update]]) -> int:
        """Make one update after the other, and return the samples of each network."""
        total = 0
        for updates in steps:
            where: Positions = updates[0].batch
            n = batch_size(where)
            if not isinstance(where, slice):
                batches = [updates[leader].batch for leader in self._leaders]
                where = torch.from_numpy(np.asarray(batches[0] if len(batches) == 1 else batches)).to(self._device)
            built = None
            if self._draws:
                built = [member.builder.build(one) for member, one in zip(self._members, updates, strict=True)]
            numbers = [member.numbers(one) for member, one in zip(self._members, updates, strict=True)]
            self._step(where, n, self._as_tensors(numbers), built)
            total += n
            if len(self._members) == 1 and self.device == "cpu" and not math.isfinite(self._sums[0, 0, 0].item()):
                break  # a GPU, which would have to be waited for, makes all of them, as several networks do
        return total

    def _as_tensors(self, numbers: Sequence[Sequence[float]]) -> Sequence[Any]:
        """Return the numbers of an update, each a number of one network or (M,)."""
        if len(numbers) == 1:
            return numbers[0]
        return list(torch.tensor(numbers, dtype=self._types.values, device=self._device).unbind(1))

    def _train_recorded(self, steps: Iterable[Sequence[Update]]) -> int:
        """Make updates as `RecordedSteps`, one for each size of batch, and return the samples of each network."""
        total = 0
        for kind, group in groupby(steps, key=lambda updates: kind_of_batch(updates[0].batch)):
            chosen = list(group)
            batch = chosen[0][0].batch
            of_networks = [[m.numbers(one) for m, one in zip(self._members, step, strict=True)] for step in chosen]
            numbers = torch.tensor(of_networks, dtype=torch.float64)
            positions = positions_of([[updates[leader].batch for leader in self._leaders] for updates in chosen])
            key = kind, len(chosen)
            if key not in self._steps:
                self._steps[key] = RecordedSteps(self._device)
            self._steps[key].run(self._step_of(batch), numbers, positions)
            total += batch_size(batch) * len(chosen)
        return total

    def _step_of(self, batch: Batch) -> StepFunction:
        """Return `_step` for batches like this one, as `RecordedSteps` calls it."""
        n = batch_size(batch)

        def step(positions: Tensor | None, numbers: Tensor) -> None:
            single = numbers[0] if len(numbers) == 1 else numbers.to(self._types.values).t()
            where = batch if positions is None else positions if len(positions) > 1 else positions[0]
            self._step(where, n, single.unbind(), None)

        return step

    def _step(self, where: Positions, n: int, numbers: Sequence[Any], batches: Sequence[TrainingBatch] | None) -> None:
        """Make one update of every network.

        Args:
            where: a run of samples, or positions (n,) or (orders, n).
            numbers: of the update, each a number of one network or (M,).
            batches: of every network, where something is drawn for them.
        """
        divisor = 1 + self._is_mean * (n - 1)
        for number, rows in enumerate(even_cuts(n, self._rows)):
            here = some_of(where, rows)
            samples = self._changed_rows(rows, batches) if batches and self._changes_samples else None
            if samples is None:
                samples = self._samples["train"].rows(here, backward=True)
            for kernels in self._space.droppers if batches else ():
                self._draw_masks(kernels, rows, batches or ())
            logits = self._space.forward(samples, self._readings, self._arrays, training=True)
            targets = self._targets(here, rows, batches)
            terms = softmax_terms(logits, targets.labels, self._types.values)
            self._sums[0].add_(terms.sums())
            grad = grad_logits(terms, targets, divisor)
            self._space.backward(grad, self._arrays, self._gradients, number == 0)
        self._update(numbers, n)

    def _targets(self, here: Positions, rows: slice, batches: Sequence[TrainingBatch] | None) -> Targets:
        labels, weights = self._labels_of("train", here), self._weights
        if weights is not None and isinstance(here, slice):
            weights = weights[:, here]
        elif weights is not None:
            by_network = here.expand(len(weights), -1) if here.dim() == 1 else here.index_select(0, self._of_order)
            weights = weights.gather(1, by_network)
        partners, mixup_fraction = None, 1.0
        if batches and any(batch.mixup is not None for batch in batches):
            own = [np.arange(rows.start, rows.stop) if b.mixup is None else b.mixup.partners[rows] for b in batches]
            chosen = np.array([b.labels[which] for b, which in zip(batches, own, strict=True)], np.int64)
            partners = torch.from_numpy(chosen).to(self._device)
            mixup_fraction = self._number([1.0 if batch.mixup is None else batch.mixup.fraction for batch in batches])
        return Targets(labels, partners, mixup_fraction, weights, self._smoothing)

    def _labels_of(self, part: str, here: Positions) -> Tensor:
        """Return (M, n) labels."""
        labels = self._labels[part]
        if not isinstance(here, slice) and here.dim() == 2:
            return labels[0][here].index_select(0, self._of_order)
        chosen = labels[:, here] if isinstance(here, slice) else labels.index_select(1, here)
        return chosen if len(self._members) == 1 else chosen.expand(len(self._members), -1)

    def _changed_rows(self, rows: slice, batches: Sequence[TrainingBatch]) -> SampleRows:
        """Return some samples of an update, as chance changes them for every network."""
        samples = self._samples["train"]
        made = np.empty((len(batches), rows.stop - rows.start, samples.n_inputs), self._dtype)

        def fill(number: int, part: slice) -> None:
            out = made[number, part.start - rows.start : part.stop - rows.start]
            self._members[number].builder.fill(out, batches[number], part)

        self._share_out(rows, fill)
        x = samples.operands_of(torch.from_numpy(made.reshape(-1, samples.n_inputs)).to(self._device)).x
        return SampleRows(x if len(batches) == 1 else x.unflatten(0, made.shape[:2]))

    def _draw_masks(self, kernels: Sequence[DropoutKernel], rows: slice, batches: Sequence[TrainingBatch]) -> None:
        """Draw the masks of a dropout layer, each network's as it draws them alone."""
        layer, layout, n = kernels[0].layer, self._layout, rows.stop - rows.start
        drawn = []
        for block in layout.blocks(layer.group):
            networks = layout.networks(block)
            width = layout.n_units if block == SIDE_BY_SIDE else layout.widths[networks.start][layer.group]
            axes = [length(networks)] if layout.is_batch(block) else []
            drawn.append(np.ones((*axes, n, width), self._dtype))

        def draw(number: int, part: slice) -> None:
            mask = layout.of_network(drawn, layer.group, number, 0)[part.start - rows.start : part.stop - rows.start]
            update = batches[number].step.number
            for rate, stream in layer.masks[number]:
                transforms = self._members[number].spec.transforms
                mask *= transforms.dropout_mask(stream, rate, update, part, mask.shape[1], self._dtype)

        self._share_out(rows, draw)
        for kernel, values in zip(kernels, drawn, strict=True):
            kernel.mask = torch.from_numpy(values).to(self._device, self._types.operands)

    def _share_out(self, rows: slice, work: Callable[[int, slice], None]) -> None:
        """Do work of NumPy's on rows of every network with all workers, in tasks that do not depend on their number."""

        def task(number: int, cut: slice, _: int) -> None:
            work(number, slice(rows.start + cut.start, rows.start + cut.stop))

        cuts = even_cuts(rows.stop - rows.start, ROWS_DRAWN_AT_ONCE)
        self._workers.run([partial(task, number, cut) for number in range(len(self._members)) for cut in cuts])

    def _update(self, numbers: Sequence[Any], n: int) -> None:
        """Penalize, clip and update the parameters of all networks, and average the running statistics."""
        if isinstance(self._l2, Tensor) or self._l2:
            # The penalty of a sum counts once per sample (docs/derivation.md, L5).
            strength = self._l2 * (n - self._is_mean * (n - 1))
            for index, number, run, n_weights in self._blocks():
                weights = self._arrays.learned[index][number][:n_weights]
                gradient, own = self._gradients.learned[index][number][:n_weights], self._spread(strength, run)
                if isinstance(own, Tensor):
                    gradient.addcmul_(weights, own)
                else:
                    gradient.add_(weights, alpha=own)
        if self._clips:
            factors = self._clip_factors()
            for index, number, run, _ in self._blocks():
                self._gradients.learned[index][number].mul_(self._spread(factors, run))
        if len(self._members) == 1:
            spread = dict.fromkeys(self._runs, numbers)
        else:
            spread = {run: [self._spread(one, run) for one in numbers] for run in self._runs}
        for run, rule, matrix, gradient, optimizer_state, bias_rows in self._bands:
            rule.step_in_place(matrix, gradient, optimizer_state, bias_rows, spread[run][:-1], torch)
        if AVERAGE in self._state:
            averages = zip(self._layout.statistics, self._evaluated.statistics, self._arrays.statistics, strict=True)
            for place, old, new in averages:
                for run, average, present in zip(self._layout.blocks(place.group), old, new, strict=True):
                    kept = spread[run][-1]
                    average.copy_(kept * average + (1 - kept) * present)
        self._arrays.refresh()

    def _clip_factors(self) -> Tensor:
        """Return (M,) factors of U8."""
        layout = self._layout
        squares = torch.zeros(len(self._members), dtype=torch.float64, device=self._device)
        for index, number, run, _ in self._blocks():
            gradient = self._gradients.learned[index][number]
            columns = torch.linalg.vector_norm(gradient, dim=0, dtype=torch.float64).square_()
            for one in range(len(layout.runs)) if run == SIDE_BY_SIDE else (run,):
                networks = layout.runs[one]
                own = columns[layout.columns_of(networks)] if run == SIDE_BY_SIDE else columns
                squares[networks].add_(own.reshape(length(networks), -1).sum(1))
        return torch.clamp(self._clip_norms / squares.sqrt_(), max=1.0).to(self._types.values)

    # Evaluation.

    def _evaluate(self, part: str) -> None:
        """Write the sums of all networks' scores of a split into its line."""
        if part not in self._evaluations:
            device = self._device if self._samples[part].is_held else torch.device("cpu")
            self._evaluations[part] = Recorded(device)
        self._evaluations[part](lambda: self._add_up(part))

    def _add_up(self, part: str) -> None:
        line = self._sums[self._line[part]]
        line.zero_()
        for terms in self._terms(part):
            line.add_(terms.sums())

    def _terms(self, part: str) -> Iterator[SoftmaxTensors]:
        """Yield the softmax terms of a split, one tile after the other."""
        if self._evaluated is not self._arrays:
            self._evaluated.refresh()
        for rows in even_cuts(len(self._splits[part].labels), self._rows):
            samples = self._samples[part].rows(rows, backward=False)
            logits = self._space.forward(samples, self._shared_reading, self._evaluated, training=False)
            yield softmax_terms(logits, self._labels_of(part, rows), self._types.values)


def _scores_of(sums: Sequence[float], n: int) -> Scores:
    total = ScoreAccumulator()
    total.add(n, [(sums[0], sums[1], sums[2])])
    return total.scores()


def _to_numpy(arrays: NetworkArrays) -> NetworkArrays:
    return arrays.map(lambda value: value.cpu().numpy())
