"""The torch engine: one or many stacked networks, on a CPU or a GPU.

`TorchStack` trains M >= 1 networks at once; `TorchEngine` is a stack of one. Every network equals
itself trained alone, to rounding: a product of another shape adds up in another order.

A batch passes through the networks in tiles of rows. The gradients of the tiles are added up in the
order of the tiles, in the dtype of the weights. What may differ between networks (learning rate,
momentum, penalties, clipping, smoothing, class weights) is a tensor with one number per network, so
that one call of an optimizer updates all of them.

On a GPU, starting an operation takes longer than most operations of a small network. Therefore an
update is captured as a CUDA graph and replayed (`torch_device`), and the random numbers of many updates
are drawn at once (`torch_draws`). For the same reason the engine waits for the device once per epoch,
when it reads the scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from itertools import chain, groupby, islice
from typing import Any
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chalknet.engines.batches import BatchBuilder, TrainingBatch, batch_size, even_slices
from chalknet.engines.engine import Batch, EngineSpec, SampleScores, Snapshot, Update
from chalknet.engines.parameter_layout import (
    PARAMETERS,
    NetworkArrays,
    NetworkState,
    ParameterLayout,
    arrays_to_evaluate,
    initial_state,
)
from chalknet.engines.scores import EpochScores, ScoreAccumulator, Targets
from chalknet.engines.thread_pool import ThreadPool
from chalknet.engines.torch_device import (
    CapturedSteps,
    CapturedWork,
    StepFunction,
    TensorTypes,
    free_bytes,
    running,
    usable_device,
)
from chalknet.engines.torch_draws import DeviceDraws, DrawContext, NumpyDraws, UpdateDraws
from chalknet.engines.torch_kernels import TorchSoftmaxTerms, grad_logits, softmax_terms
from chalknet.engines.torch_layout import SIDE_BY_SIDE, StackedArrays, StackLayout, length
from chalknet.engines.torch_optimizers import FusedAdam, fused
from chalknet.engines.torch_samples import (
    DeviceSamples,
    Positions,
    capture_key,
    prepare_samples,
    slice_positions,
    stack_positions,
)
from chalknet.engines.torch_sources import plan_input_products, shared_input_product
from chalknet.engines.torch_workspace import StackWorkspace
from chalknet.machine.processor import available_cores
from chalknet.network.dropout import Dropout
from chalknet.network.layer import Parameters
from chalknet.network.optimizers import AVERAGE, Step
from chalknet.records import Scores

# The rows of a tile on a CPU: torch's threads share each product, so a tile has the rows of several
# tiles of the numpy engine. Networks of fewer than TILE_UNITS units get more rows, up to the same
# number of values.
TILES_AT_ONCE, TILE_UNITS = 8, 1000
# The least rows of a tile, however many networks there are.
MIN_ROWS = 64
# The most values of a tile's widest group on a GPU.
GPU_TILE_VALUES = 2**28
# Free memory of a GPU that a value of a group is planned with: the value, its gradient, and a
# reserve.
BYTES_PER_VALUE = 32
# The samples of a tile may take this many times the memory of a group's values.
SAMPLES_PER_VALUE = 4
# Values of a matrix that an optimizer updates at a time on a CPU, so that they stay in the cache.
BAND_VALUES = 2**18
# Updates that are made or replayed before the next ones are planned. Training can be interrupted in between.
CAPTURED_AT_ONCE = 256
# Types of device on which updates and evaluations are captured as CUDA graphs.
CAPTURE_ON = ("cuda",)
# Types of device on which torch draws random numbers. On a CPU, NumPy takes a fraction of the time.
DRAW_ON = ("cuda",)
# The attributes that `_lay_out` sets. They hold the parameters of all networks or buffers for them.
MADE_BY_LAYOUT = (
    "_state", "_arrays", "_evaluated", "_gradients", "_bands", "_workspace", "_steps", "_evaluations",
    "_numpy_draws", "_device_draws",
)  # fmt: skip


@dataclass(eq=False)
class StackMember:
    """One network of a stack.

    Attributes:
        spec: what the network is constructed from.
        order: key of the order of its batches.
        layout: where its parameters are.
        builder: builds its training batches.
        state: parameters and optimizer state. While the stack is laid out, these are views of the
            stack's tensors.
    """

    spec: EngineSpec
    order: Hashable
    layout: ParameterLayout
    builder: BatchBuilder
    state: NetworkState

    @property
    def needs_random_numbers(self) -> bool:
        """Whether each update needs random numbers: for random transforms or dropout."""
        layers = self.spec.architecture.layers
        return self.builder.changes_samples or any(isinstance(one, Dropout) and one.rate for one in layers)

    def step_scalars(self, update: Update) -> list[float]:
        """Return the optimizer's scalars for each multiplier, followed by the decay of the average."""
        optimizer, step = self.spec.optimizer, update.step
        scalars = [optimizer.step_scalars(step.multiplied(one)) for one in self.layout.multipliers]
        return [*chain.from_iterable(scalars), optimizer.ema_decay(step.number)]


class StackedEngine:
    """The `Engine` of one network of a stack; `TorchStack.add` creates it.

    `TorchStack.train_epoch` trains all networks of a stack. The `train_epoch` of this class is for a
    network that is alone in its stack.

    Attributes:
        stack: the stack of this network. `TorchStack.remove` gives it a stack of its own.
        member: the network in the stack.
    """

    def __init__(self, stack: TorchStack, member: StackMember) -> None:
        """Create the engine of a network that is in the stack."""
        self.stack: TorchStack = stack
        self.member: StackMember = member

    @property
    def device(self) -> str:
        """The device that computes: "cpu" or "cuda"."""
        return self.stack.device

    def train_epoch(self, updates: Iterable[Update], start: EpochScores | None = None) -> Scores:
        """Make all updates of a network that is alone in its stack; return the mean scores."""
        return self.stack.train_epoch([updates], None if start is None else [start])[0]

    def epoch_scores(self) -> EpochScores:
        """Return the scores of the current epoch so far."""
        return self.stack.epoch_scores(self.member)

    def evaluate(self, split: str) -> Scores | None:
        """Return the scores of a split; None if it is empty."""
        return self.stack.scores(self.member, split)

    def evaluate_samples(self, split: str) -> SampleScores | None:
        """Return the scores of each sample of a split; None if it is empty."""
        return self.stack.sample_scores(self.member, split)

    def parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters by name, now or in a snapshot."""
        return self.member.layout.unpack(_to_numpy((self.member.state if of is None else of.state)[PARAMETERS]))

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters that `evaluate` uses, now or in a snapshot."""
        return self.member.layout.unpack(_to_numpy(arrays_to_evaluate(self.member.state if of is None else of.state)))

    def state(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the optimizer state by "state/parameter", now or in a snapshot."""
        found = self.member.state if of is None else of.state
        return self.member.layout.unpack_state({key: _to_numpy(one) for key, one in found.items()})

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        """Replace parameters and optimizer state by copies of these."""
        self._set(self.stack.to_device(self.member.layout, self.member.spec, parameters, state))

    def snapshot(self) -> Snapshot:
        """Return a copy of parameters and state on the device."""
        return self.stack.snapshot(self.member)

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Set parameters and state to those of a snapshot."""
        self._set(snapshot.state)

    def _set(self, state: NetworkState) -> None:
        """Copy values into the network's tensors, which stay in place for captured updates."""
        for key, values in self.member.state.items():
            values.copy_from(state[key])
        self.stack.discard_scores()


class TorchEngine(StackedEngine):
    """The engine of a network that is trained alone: a stack of one.

    Last digits may depend on the number of threads and on the kernels that torch chooses for the
    shape of a product.

    Args:
        spec: what to train and evaluate.

    Raises:
        ConfigError: the device or the precision of the spec is not available.
    """

    def __init__(self, spec: EngineSpec) -> None:
        """Create a stack with this network."""
        stack = TorchStack()
        super().__init__(stack, stack.add(spec).member)


class StackSnapshot:
    """The parameters and the state of one network at one time.

    All networks of a stack are copied together, which costs a few operations for any number of them.
    A snapshot refers to these copies and looks up its network only when it is used, because most
    snapshots never are. A snapshot that is kept for long copies its own network and releases the
    copies of the others (`separate`).

    Args:
        stacked: copies of the parameters and of each state, of all networks.
        number: number of this network.
    """

    def __init__(self, stacked: Mapping[str, StackedArrays], number: int) -> None:
        """Create a snapshot of one network."""
        self._stacked, self._number = stacked, number
        self._own: NetworkState = {}

    @property
    def state(self) -> NetworkState:
        """The parameters and the optimizer state."""
        return self._own or {key: arrays.network(self._number) for key, arrays in self._stacked.items()}

    def separate(self) -> None:
        """Copy this network, and release the copies of all networks."""
        self._own = {key: arrays.map(torch.clone) for key, arrays in self.state.items()}
        self._stacked = {}


class TorchStack:
    """M >= 1 networks that are trained at once.

    All have the same samples, scaling, device, dtypes and layers. They may differ in units, dropout
    and seeds, and in the numbers of their optimizers and objectives. Networks of equal widths should
    be added one after the other, so that they share products.

    Networks are laid out in shared tensors at the first epoch or evaluation, and anew whenever some
    have been removed. Scores are cached until parameters change: the networks of a stack are asked
    for them one by one, but evaluated together.
    """

    def __init__(self) -> None:
        """Create a stack without networks."""
        self._members: list[StackMember] = []
        self._is_laid_out = self._captures = False
        # Updates of the current epoch that were made, and their samples.
        self._n_updates = self._n_trained = 0
        self._samples: dict[str, DeviceSamples] = {}
        self._rows = 0
        # Scores of all networks by split, until parameters change.
        self._scores: dict[str, list[Scores]] = {}
        self._sample_scores: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        # Splits that were evaluated since the last epoch.
        self._requested: set[str] = set()
        # Copies of all networks that the next snapshots share, until parameters change; and the
        # snapshots that were taken of the latest two copies.
        self._latest_copies: dict[str, StackedArrays] = {}
        self._snapshots: list[list[ref[StackSnapshot]]] = []

    @property
    def device(self) -> str:
        """The device that computes: "cpu" or "cuda"."""
        return str(self._device.type)

    def add(self, spec: EngineSpec, order: Hashable = None) -> StackedEngine:
        """Add a network; only before the first epoch.

        Args:
            spec: what the network is constructed from. The stack takes samples, scaling, threads,
                device and precision from its first network.
            order: key of the order of its batches. Networks with equal keys must get equal batches;
                they read the samples together. None for an order of its own.

        Returns:
            The engine of this network.

        Raises:
            ConfigError: the device or the precision is not available, or the layers differ from
                those of the other networks.
        """
        if not self._members:
            self._device = usable_device(spec.device, spec.precision)
            self._first, self._dtype = spec, np.dtype(spec.dtype)
            self._splits = {name: split for name, split in spec.splits.items() if len(split.labels)}
            self._threads = spec.threads or available_cores()
            values = getattr(torch, self._dtype.name)
            operands = torch.bfloat16 if spec.precision == "bfloat16" else values
            self._types = TensorTypes(values, operands, self._device)
        StackLayout([*(member.spec.architecture for member in self._members[:1]), spec.architecture])
        layout = ParameterLayout(spec.architecture)
        state = initial_state(spec.optimizer, spec.architecture, spec.parameters)
        own = self.to_device(layout, spec, spec.parameters, state)
        order = object() if order is None else order
        self._members.append(StackMember(spec, order, layout, BatchBuilder(spec), own))
        return StackedEngine(self, self._members[-1])

    def remove(self, engines: Iterable[StackedEngine]) -> None:
        """Move each of some networks to a stack of its own; the rest is laid out anew."""
        removed = list(engines)
        if not removed:
            return
        for engine in removed:
            engine.member.state = {key: arrays.map(torch.clone) for key, arrays in engine.member.state.items()}
            engine.stack = copy(self)
            engine.stack._reset([engine.member])
            engine.stack._requested, engine.stack._snapshots = set(), []
        gone = [engine.member for engine in removed]
        self._reset([member for member in self._members if member not in gone])

    def _reset(self, members: list[StackMember]) -> None:
        """Make these the networks of the stack; they are laid out when they are needed."""
        self._members, self._is_laid_out = members, False
        self._scores, self._sample_scores, self._latest_copies = {}, {}, {}
        for name in MADE_BY_LAYOUT:
            # Free the old tensors now: a GPU may not have memory for the old and the new ones.
            vars(self).pop(name, None)

    def to_device(
        self,
        layout: ParameterLayout,
        spec: EngineSpec,
        parameters: Mapping[str, NDArray[Any]],
        state: Mapping[str, NDArray[Any]],
    ) -> NetworkState:
        """Return parameters and optimizer state of a network as tensors on the device."""
        packed = layout.pack(spec.optimizer, parameters, state, self._dtype)
        return {key: one.map(partial(torch.tensor, device=self._device)) for key, one in packed.items()}

    def train_epoch(
        self, updates: Sequence[Iterable[Update]], starts: Sequence[EpochScores] | None = None
    ) -> list[Scores]:
        """Make all updates of an epoch.

        A network whose loss is not finite does not stop the others.

        Args:
            updates: for each network, in the order of `add`, its updates. All networks must have the
                same number of updates, with batches of the same sizes.
            starts: for each network, the scores of the epoch's earlier updates, if these are the rest
                of an epoch. All networks must have made the same number. None for a whole epoch.

        Returns:
            The mean scores of each network, as `Engine.train_epoch` returns them.
        """
        self._lay_out()
        self._scores, self._sample_scores, self._latest_copies = {}, {}, {}
        with running(self._threads, self._first.precision == "tf32"):
            self._begin_epoch(starts)
            steps = zip(*updates, strict=True)
            if self._captures or self._device_draws is not None:
                self._train_at_once(steps)
            else:
                self._train(steps)
            asked = sorted(self._requested)
            # The splits that were evaluated after the last epoch are likely to be evaluated again.
            # They are evaluated here, so that all scores are read from the device at once.
            for split in asked:
                self._evaluate(split)
            sums = self._sums.tolist()
        self._requested.clear()
        self._scores = {split: self._scores_of(split, sums) for split in asked}
        return [_scores_of(own, self._n_trained) for own in sums[0]]

    def _begin_epoch(self, starts: Sequence[EpochScores] | None) -> None:
        """Set the scores of the epoch to those of its earlier updates."""
        self._sums[0].zero_()
        self._n_updates = self._n_trained = 0
        if starts is not None:
            found = [ScoreAccumulator(start).so_far() for start in starts]
            self._sums[0].copy_(torch.tensor([one.sums for one in found], dtype=torch.float64))
            self._n_updates, self._n_trained = found[0].n_updates, found[0].n

    def epoch_scores(self, member: StackMember) -> EpochScores:
        """Return the scores of a network in the current epoch so far."""
        loss, correct, true_class = self._sums[0, self._members.index(member)].tolist()
        return EpochScores(self._n_updates, self._n_trained, (loss, correct, true_class))

    def scores(self, member: StackMember, split: str) -> Scores | None:
        """Return the scores of a network; the first request evaluates all networks of the stack."""
        if split not in self._splits:
            return None
        self._requested.add(split)
        if split not in self._scores:
            self._lay_out()
            with running(self._threads, self._first.precision == "tf32"):
                self._evaluate(split)
                self._scores[split] = self._scores_of(split, self._sums.tolist())
        return self._scores[split][self._members.index(member)]

    def sample_scores(self, member: StackMember, split: str) -> SampleScores | None:
        """Return the scores of each sample.

        The first request evaluates all networks of the stack.
        """
        if split not in self._splits:
            return None
        if split not in self._sample_scores:
            self._lay_out()
            with running(self._threads, self._first.precision == "tf32"):
                found = [(terms.losses, terms.correct) for terms in self._terms(split)]
                losses, correct = (torch.cat(values, 1).cpu().numpy() for values in zip(*found, strict=True))
            self._sample_scores[split] = losses, correct
        number = self._members.index(member)
        losses, correct = self._sample_scores[split]
        return SampleScores(losses[number].copy(), correct[number].copy())

    def snapshot(self, member: StackMember) -> StackSnapshot:
        """Return a snapshot of a network; the first request after a change copies all networks."""
        self._lay_out()
        if not self._latest_copies:
            self._separate_old_snapshots()
            self._latest_copies = {key: arrays.copy() for key, arrays in self._state.items()}
            self._snapshots.append([])
        made = StackSnapshot(self._latest_copies, self._members.index(member))
        # A weak reference, so that a snapshot is freed as soon as nobody else uses it.
        self._snapshots[-1].append(ref(made))
        return made

    def discard_scores(self) -> None:
        """Discard cached scores and shared copies, because parameters have changed."""
        self._scores, self._sample_scores, self._latest_copies = {}, {}, {}
        if self._is_laid_out:
            self._arrays.refresh()

    def _separate_old_snapshots(self) -> None:
        """Separate the snapshots that are still in use after two later ones were taken."""
        for found in self._snapshots.pop(0) if len(self._snapshots) > 1 else ():
            snapshot = found()
            if snapshot is not None and len(self._members) > 1:
                snapshot.separate()

    def _scores_of(self, split: str, sums: Sequence[Sequence[Sequence[float]]]) -> list[Scores]:
        """Return the scores of all networks on a split from the sums that were read."""
        return [_scores_of(own, len(self._splits[split].labels)) for own in sums[self._sum_rows[split]]]

    # Storage.

    def _lay_out(self) -> None:
        """Lay out all networks in the stack's tensors, and allocate everything else.

        This happens once for each set of networks.
        """
        if self._is_laid_out:
            return
        self._is_laid_out = True
        members = self._members
        self._layout = StackLayout([member.spec.architecture for member in members])
        self._changes_samples = any(member.builder.changes_samples for member in members)
        # Networks of one order share their samples, unless random transforms change them: then
        # every network has samples of its own. A leader is the first network of its order.
        orders = [member if self._changes_samples else member.order for member in members]
        distinct = list(dict.fromkeys(orders))
        self._leaders = [orders.index(order) for order in distinct]
        which = [distinct.index(order) for order in orders]
        self._of_order = torch.tensor(which, device=self._device)
        self._shared_input_product = shared_input_product(self._layout)
        self._input_products = self._shared_input_product
        if len(distinct) > 1:
            self._input_products = plan_input_products(self._layout, which, self._device)
        self._store_arrays()
        self._prepare_objectives()
        self._bands = list(self._cut_bands())
        self._runs = {run for _, _, run, _ in self._blocks()}
        draws = any(member.needs_random_numbers for member in members)
        draws_on_device = draws and self._device.type in DRAW_ON
        self._prepare_samples(("train",) if draws_on_device and self._changes_samples else ())
        self._numpy_draws: Callable[[Sequence[TrainingBatch]], UpdateDraws] | None = None
        self._device_draws: DeviceDraws | None = None
        if draws:
            context = self._draw_context()
            if draws_on_device:
                self._device_draws = DeviceDraws(context)
            else:
                self._numpy_draws = partial(NumpyDraws, context, ThreadPool(self._threads))
        # A captured update can read only what is on the device.
        self._captures = (
            self._device.type in CAPTURE_ON
            and self._numpy_draws is None
            and all(samples.is_on_device for samples in self._samples.values())
        )

    def _draw_context(self) -> DrawContext:
        """Return what random numbers are drawn for."""
        return DrawContext(
            [member.spec for member in self._members],
            [member.builder for member in self._members],
            self._layout,
            self._types,
            self._dtype,
            self._samples["train"],
            self._workspace.dropout_kernels,
        )

    def _store_arrays(self) -> None:
        """Copy parameters and state to shared tensors, and give each network its views."""
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
        """Collect the settings of objectives and clipping, as one number or one per network."""
        specs = [member.spec for member in self._members]
        objectives = [spec.objective for spec in specs]
        self._of_column = torch.repeat_interleave(
            torch.arange(len(specs)), torch.tensor([widths[0] for widths in self._layout.widths])
        ).to(self._device)
        self._smoothing = self._common_value([one.label_smoothing for one in objectives])
        self._penalties = [
            self._common_value([one.l2 + matrix.penalty for one in objectives]) for matrix in self._layout.learned
        ]
        self._is_mean = self._common_value([float(one.reduction == "mean") for one in objectives])
        self._clips = any(spec.clip_norm for spec in specs)
        clip_norms = [spec.clip_norm or np.inf for spec in specs]
        self._clip_norms = torch.tensor(clip_norms, dtype=torch.float64, device=self._device)
        weights = [spec.splits["train"].weights if "train" in spec.splits else None for spec in specs]
        self._weights: Tensor | None = None
        if any(one is not None for one in weights):
            ones = np.ones(len(self._splits["train"].labels))
            rows = np.array([ones if one is None else one for one in weights], self._dtype)
            self._weights = torch.tensor(rows, device=self._device)

    def _common_value(self, values: Sequence[float]) -> Any:
        """Return the number that all networks have, or a tensor (M,) if they differ."""
        if all(value == values[0] for value in values):
            return values[0]
        return torch.tensor(values, dtype=self._types.values, device=self._device)

    def _expand(self, values: Any, block: int) -> Any:
        """Return a tensor (..., M) in a shape that broadcasts over the rows of a block.

        A number is returned as it is.
        """
        if not isinstance(values, Tensor):
            return values
        if block == SIDE_BY_SIDE:
            return values.index_select(-1, self._of_column)
        networks = self._layout.runs[block]
        if self._layout.is_batch(block):
            return values[..., networks].unsqueeze(-1)
        return values[..., networks.start : networks.stop]

    def _blocks(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield matrix, block, run and rows of weights of each block of learned parameters."""
        for index, matrix in enumerate(self._layout.learned):
            for number, run in enumerate(self._layout.blocks(matrix.group)):
                yield index, number, run, matrix.n_weights[self._layout.networks(run).start]

    def _cut_bands(self) -> Iterator[tuple[int, Any, Tensor, Tensor, list[Tensor], int, slice]]:
        """Yield the bands that the optimizer updates one after the other.

        A band is a run of rows of one block, small enough for the cache of a CPU. It is a whole block if
        the step is one pass, and on a GPU, where each operation takes time to start.

        Yields:
            The run, its optimizer, views of parameters, gradient and state, the number of rows, the
            last ones, that are not weights, and which of the scalars of an update are theirs.
        """
        optimizers, multipliers = (
            [member.spec.optimizer for member in self._members],
            self._members[0].layout.multipliers,
        )
        n_scalars = len(optimizers[0].step_scalars(Step(1, 0.0)))
        for index, number, run, n_weights in self._blocks():
            matrix, optimizer = self._arrays.learned[index][number], self._merge_optimizers(optimizers, run)
            # The rows of the last layer are not contiguous in the forms of a GPU, which tests use on a CPU too.
            if self._device.type == "cpu" and len(optimizers) == 1 and matrix.is_contiguous():
                optimizer = fused(optimizer)
            is_whole = self._device.type == "cuda" or isinstance(optimizer, FusedAdam)
            at_once = len(matrix) if is_whole else max(1, BAND_VALUES // matrix[0].numel())
            row_multipliers = self._layout.learned[index].row_multipliers[self._layout.networks(run).start]
            for rows, multiplier in _cut(row_multipliers, at_once):
                optimizer_state = [self._state[key].learned[index][number][rows] for key in optimizers[0].state_names]
                gradient = self._gradients.learned[index][number][rows]
                bias_rows = max(0, rows.stop - max(n_weights, rows.start))
                first = multipliers.index(multiplier) * n_scalars
                scalars = slice(first, first + n_scalars)
                yield run, optimizer, matrix[rows], gradient, optimizer_state, bias_rows, scalars

    def _merge_optimizers(self, optimizers: Sequence[Any], run: int) -> Any:
        """Return one optimizer for the networks of a block.

        A setting that differs becomes a tensor.
        """
        changed = {}
        for field in fields(optimizers[0]):
            values = [getattr(optimizer, field.name) for optimizer in optimizers]
            if is_dataclass(values[0]):
                changed[field.name] = self._merge_optimizers(values, run)
            elif any(value != values[0] for value in values):
                changed[field.name] = self._expand(self._common_value(values), run)
        return replace(optimizers[0], **changed)

    def _prepare_samples(self, raw: Container[str]) -> None:
        """Prepare samples, labels, buffers and sums.

        Args:
            raw: names of the splits whose samples are needed as they were read.
        """
        rows = self._rows_at_once()
        if self._samples:
            # The samples were prepared for at most this many rows.
            self._rows = min(self._rows, rows)
        else:
            self._rows, types = rows, self._types
            most = rows * len(self._leaders)
            self._samples = prepare_samples(self._splits, self._first.scaling, types, self._dtype, most, raw)
            self._labels = {
                name: torch.tensor(split.labels.astype(np.int64), device=self._device)[None]
                for name, split in self._splits.items()
            }
        self._workspace = StackWorkspace(self._layout, self._rows, self._types)
        shape = (1 + len(self._splits), len(self._members), 3)
        self._sums = torch.zeros(shape, dtype=torch.float64, device=self._device)
        # Row 0 of the sums is for training.
        self._sum_rows = {name: row for row, name in enumerate(self._splits, start=1)}
        self._steps: dict[Any, CapturedSteps] = {}
        self._evaluations: dict[str, CapturedWork] = {}

    def _rows_at_once(self) -> int:
        """Return the rows of a tile.

        A tile is limited by the values of its widest group, over all networks, and by its samples, of
        which there is a copy for each order. In training with batch normalization a tile is a whole
        batch, however large.
        """
        most = max((len(split.labels) for split in self._splits.values()), default=1)
        n_units: int = max(self._layout.n_between, *(sum(widths) for widths in zip(*self._layout.widths, strict=True)))
        n_orders = len(self._leaders)
        read = n_orders * (self._layout.n_inputs + 1) // SAMPLES_PER_VALUE if n_orders > 1 else 1
        least: int = self._first.tile_rows * TILES_AT_ONCE
        values = least * TILE_UNITS
        if self._device.type == "cuda":
            at_once = free_bytes(self._device) // (BYTES_PER_VALUE * max(1, self._layout.n_groups - 1))
            values = max(values, min(GPU_TILE_VALUES, at_once))
        is_small = len(self._members) == 1 and not self._first.architecture.reads_images
        least = least if is_small else MIN_ROWS
        return min(most, max(least, values // max(n_units, read)))

    # Training.

    def _train(self, steps: Iterable[Sequence[Update]]) -> None:
        """Make all updates one by one."""
        for updates in steps:
            where: Positions = updates[0].batch
            n = batch_size(where)
            if not isinstance(where, slice):
                batches = [updates[leader].batch for leader in self._leaders]
                where = torch.from_numpy(np.asarray(batches[0] if len(batches) == 1 else batches)).to(self._device)
            draws = None
            if self._numpy_draws is not None:
                built = [member.builder.build(one) for member, one in zip(self._members, updates, strict=True)]
                draws = self._numpy_draws(built)
            scalars = [member.step_scalars(one) for member, one in zip(self._members, updates, strict=True)]
            self._step(where, n, self._as_tensors(scalars), draws)
            self._n_trained += n
            self._n_updates += 1
            if len(self._members) == 1 and self.device == "cpu" and not math.isfinite(self._sums[0, 0, 0].item()):
                # The loss is not finite. With a GPU or several networks all updates are made: to
                # look would mean to wait for the device, and other networks may be fine.
                break

    def _as_tensors(self, scalars: Sequence[Sequence[float]]) -> Sequence[Any]:
        """Return the scalars of an update: numbers for one network, or tensors (M,)."""
        if len(scalars) == 1:
            return scalars[0]
        return list(torch.tensor(scalars, dtype=self._types.values, device=self._device).unbind(1))

    def _train_at_once(self, steps: Iterable[Sequence[Update]]) -> None:
        """Make all updates from tensors on the device, at most `CAPTURED_AT_ONCE` at a time.

        If updates are captured, there is a graph for each batch size and number of updates, because
        the tensors of positions, scalars and random numbers have fixed shapes. An epoch needs up to
        three: its batches are of equal size, except perhaps the last, and the last updates may be fewer.
        """
        for kind, group in groupby(steps, key=lambda updates: capture_key(updates[0].batch)):
            n = batch_size(slice(*kind)) if isinstance(kind, tuple) else kind
            most = CAPTURED_AT_ONCE if self._device_draws is None else self._device_draws.updates_at_once(n)
            while chosen := list(islice(group, min(CAPTURED_AT_ONCE, most))):
                self._make_updates(kind, chosen)

    def _make_updates(self, kind: Hashable, chosen: Sequence[Sequence[Update]]) -> None:
        """Make some updates with batches of one kind."""
        batch = chosen[0][0].batch
        n = batch_size(batch)
        of_networks = [[m.step_scalars(one) for m, one in zip(self._members, step, strict=True)] for step in chosen]
        scalars = torch.tensor(of_networks, dtype=torch.float64)
        positions = stack_positions([[updates[leader].batch for leader in self._leaders] for updates in chosen])
        key = kind, len(chosen)
        if key not in self._steps:
            self._steps[key] = CapturedSteps(self._device, self._captures)
        draws = None if self._device_draws is None else self._device_draws.draw(chosen, n)
        self._steps[key].run(self._step_of(batch), scalars, positions, draws)
        self._n_trained += n * len(chosen)
        self._n_updates += len(chosen)

    def _step_of(self, batch: Batch) -> StepFunction:
        """Return a function that makes an update from positions, scalars and random numbers on the device."""
        n = batch_size(batch)

        def step(positions: Tensor | None, scalars: Tensor, draws: Mapping[Any, Tensor]) -> None:
            single = scalars[0] if len(scalars) == 1 else scalars.to(self._types.values).t()
            where = batch if positions is None else positions if len(positions) > 1 else positions[0]
            drawn = None if self._device_draws is None else self._device_draws.of_update(draws)
            self._step(where, n, single.unbind(), drawn)

        return step

    def _step(self, where: Positions, n: int, scalars: Sequence[Any], draws: UpdateDraws | None) -> None:
        """Make one update of every network.

        Args:
            where: the batch: a slice, or positions (n,), or (orders, n) if orders differ.
            n: size of the batch.
            scalars: scalars of the optimizer for each multiplier of the learning rate, numbers for
                one network or tensors (M,), and the decay of the average.
            draws: the random numbers of the update, or None if it needs none.
        """
        # n for a mean loss, 1 for a sum. Gradients of tiles are divided by the size of the whole
        # batch, so that their sum is the gradient of the batch.
        divisor = 1 + self._is_mean * (n - 1)
        at_once = n if self._first.architecture.uses_batch_statistics else self._rows
        for number, rows in enumerate(even_slices(n, at_once)):
            here = slice_positions(where, rows)
            if draws is not None and self._changes_samples:
                samples = draws.changed_samples(where, rows)
            else:
                samples = self._samples["train"].rows(here, backward=True)
            if draws is not None:
                draws.set_masks(rows)
            logits = self._workspace.forward(samples, self._input_products, self._arrays, training=True)
            targets = self._targets(where, rows, draws)
            terms = softmax_terms(logits, targets.labels, self._types.values)
            self._sums[0].add_(terms.sums())
            grad = grad_logits(terms, targets, divisor)
            # The first tile replaces the gradients, the others are added in their order.
            self._workspace.backward(grad, self._arrays, self._gradients, number == 0)
        self._update(scalars, n)

    def _targets(self, where: Positions, rows: slice, draws: UpdateDraws | None) -> Targets:
        """Return the targets of some rows of a batch, for all networks."""
        here = slice_positions(where, rows)
        labels, weights = self._labels_of("train", here), self._weights
        if weights is not None and isinstance(here, slice):
            weights = weights[:, here]
        elif weights is not None:
            by_network = here.expand(len(weights), -1) if here.dim() == 1 else here.index_select(0, self._of_order)
            weights = weights.gather(1, by_network)
        mixup = None if draws is None else draws.mixup(rows)
        if mixup is None:
            return Targets(labels, None, 1.0, weights, self._smoothing)
        partners = self._labels_of("train", where).gather(1, mixup.partners)
        fraction = mixup.fraction
        if not isinstance(fraction, Tensor):
            fraction = self._common_value(fraction)
        return Targets(labels, partners, fraction, weights, self._smoothing)

    def _labels_of(self, split: str, here: Positions) -> Tensor:
        """Return the labels at some positions of a split, (M, n)."""
        labels = self._labels[split]
        if not isinstance(here, slice) and here.dim() == 2:
            return labels[0][here].index_select(0, self._of_order)
        chosen = labels[:, here] if isinstance(here, slice) else labels.index_select(1, here)
        return chosen if len(self._members) == 1 else chosen.expand(len(self._members), -1)

    def _update(self, scalars: Sequence[Any], n: int) -> None:
        """Add penalties, clip, step, and average running statistics, for all networks."""
        # A summed loss has the penalty once per sample (docs/derivation.md, P1).
        times = n - self._is_mean * (n - 1)
        for index, number, run, n_weights in self._blocks():
            penalty = self._penalties[index]
            if not n_weights or not (isinstance(penalty, Tensor) or penalty):
                continue
            weights = self._arrays.learned[index][number][:n_weights]
            gradient, own = self._gradients.learned[index][number][:n_weights], self._expand(penalty * times, run)
            if isinstance(own, Tensor):
                gradient.addcmul_(weights, own)
            else:
                gradient.add_(weights, alpha=own)
        if self._clips:
            factors = self._clip_factors()
            for index, number, run, _ in self._blocks():
                self._gradients.learned[index][number].mul_(self._expand(factors, run))
        if len(self._members) == 1:
            spread = dict.fromkeys(self._runs, scalars)
        else:
            spread = {run: [self._expand(one, run) for one in scalars] for run in self._runs}
        for run, optimizer, matrix, gradient, optimizer_state, bias_rows, own in self._bands:
            optimizer.step_in_place(matrix, gradient, optimizer_state, bias_rows, spread[run][own], torch)
        if AVERAGE in self._state:
            averages = zip(self._layout.statistics, self._evaluated.statistics, self._arrays.statistics, strict=True)
            for place, old, new in averages:
                for run, average, present in zip(self._layout.blocks(place.group), old, new, strict=True):
                    kept = spread[run][-1]
                    average.copy_(kept * average + (1 - kept) * present)
        self._arrays.refresh()

    def _clip_factors(self) -> Tensor:
        """Return the factor of U8 for each network, (M,)."""
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

    def _evaluate(self, split: str) -> None:
        """Compute the score sums of a split, for all networks, in its row of `_sums`."""
        if split not in self._evaluations:
            device = self._device if self._samples[split].is_on_device else torch.device("cpu")
            self._evaluations[split] = CapturedWork(device)
        self._evaluations[split](lambda: self._add_up(split))

    def _add_up(self, split: str) -> None:
        """Add up the score sums of a split, tile by tile."""
        line = self._sums[self._sum_rows[split]]
        line.zero_()
        for terms in self._terms(split):
            line.add_(terms.sums())

    def _terms(self, split: str) -> Iterator[TorchSoftmaxTerms]:
        """Yield the softmax terms of each tile of a split."""
        if self._evaluated is not self._arrays:
            self._evaluated.refresh()
        for rows in even_slices(len(self._splits[split].labels), self._rows):
            samples = self._samples[split].rows(rows, backward=False)
            logits = self._workspace.forward(samples, self._shared_input_product, self._evaluated, training=False)
            yield softmax_terms(logits, self._labels_of(split, rows), self._types.values)


def _cut(runs: Sequence[tuple[slice, float]], at_once: int) -> Iterator[tuple[slice, float]]:
    """Yield runs of rows with their multiplier, cut into pieces of at most `at_once` rows."""
    for run, multiplier in runs:
        for cut in even_slices(run.stop - run.start, at_once):
            yield slice(run.start + cut.start, run.start + cut.stop), multiplier


def _scores_of(sums: Sequence[float], n: int) -> Scores:
    """Return the mean scores of n samples from their sums."""
    total = ScoreAccumulator()
    total.add(n, [(sums[0], sums[1], sums[2])])
    return total.scores()


def _to_numpy(arrays: NetworkArrays) -> NetworkArrays:
    """Return the arrays as NumPy arrays in memory."""
    return arrays.map(lambda value: value.cpu().numpy())
