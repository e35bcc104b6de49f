"""Networks of a study that are trained together in torch tensors: on a GPU hundreds of them.

Each equals itself trained alone by the torch engine to rounding: products of other shapes add up in other orders. Tests
hold losses and weights after some updates to a relative 1e-9 in float64 and 1e-4 in float32.

All that differs between networks (learning rate, momentum, penalties, clipping, smoothing, class weights) lies in
tensors with a number for each column of weights, so one call of the update rule moves all of them. Nothing within an
epoch waits for the device.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import groupby
from typing import Any
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chalknet.engines.batches import even_cuts
from chalknet.engines.engine import AVERAGE, Batch, EngineSpec, SampleScores, Snapshot, Update, UpdateRule
from chalknet.engines.random_transforms import RandomTransforms
from chalknet.engines.torch_device import (
    Learn,
    Recorded,
    Steps,
    copied,
    free_bytes,
    on_processor,
    running,
    scores_of,
    usable_device,
)
from chalknet.engines.torch_engine import BAND_VALUES, GPU_TILE_VALUES, TILE_UNITS, TILES_AT_ONCE
from chalknet.engines.torch_layout import Layout
from chalknet.engines.torch_pack_tile import (
    Stacks,
    TorchPackTile,
    by_network,
    grad_logits,
    readings_of,
    together,
)
from chalknet.engines.torch_samples import Samples, Where, held_samples, kind_of_batch, n_of, positions_of, some
from chalknet.engines.torch_tile import Tensors, Types, judge
from chalknet.engines.torch_weights import Layers, Weights, check_short_form, start_of
from chalknet.errors import ConfigError
from chalknet.machine.processor import available_cores
from chalknet.network.layer import Parameters
from chalknet.network.objective import Objective
from chalknet.records import Scores

LEAST_ROWS = 64  # of a tile, however many networks there are
BYTES_A_VALUE = 32  # of a GPU's free memory for a hidden value: itself, its derivative, and as much again to spare
# What holds the weights of all networks, or room for their values, or a recording that reads these.
MADE_BY_LAYOUT = (
    "_weights", "_gradients", "_memory", "_shown", "_present", "_shown_operands", "_bands",
    "_tile", "_outcomes", "_steps", "_looks",
)  # fmt: skip
READ_SHARE = 4  # samples that are read may take so many times the room of a layer's values
Lesson = tuple[Update, ...]  # of every network, its update of the same number


@dataclass(eq=False)
class TorchPacked:
    """One network of a pack, as an `Engine`; made by `TorchPack.join`.

    `TorchPack.train_epoch` trains it with the others; when it is alone in its pack, its own `train_epoch` does.
    """

    pack: TorchPack
    order: Hashable
    counts: NDArray[Any] | None  # (N,) what each training sample counts
    rule: UpdateRule
    objective: Objective
    transforms: RandomTransforms
    dropout: float
    clip_norm: float
    layers: Layers
    weights: Tensors
    memory: dict[str, Tensors]

    @property
    def device(self) -> str:
        return self.pack.device

    @property
    def hidden(self) -> tuple[int, ...]:
        return tuple(matrix.shape[1] for matrix in self.weights.matrices[:-1])

    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        return self.pack.train_epoch([updates])[0]

    def evaluate(self, part: str) -> Scores | None:
        return self.pack.scores(self, part)

    def evaluate_each(self, part: str) -> SampleScores | None:
        return self.pack.each(self, part)

    def parameters(self) -> Parameters:
        return self.layers.named(on_processor(self.weights))

    def shown_parameters(self, of: Snapshot | None = None) -> Parameters:
        weights, memory = (self.weights, self.memory) if of is None else of
        return self.layers.named(on_processor(memory.get(AVERAGE, weights)))

    def state(self) -> Parameters:
        return self.layers.state({slot: on_processor(weights) for slot, weights in self.memory.items()})

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        self.go_back(self.pack.moved(self.layers, parameters, self.rule, state))

    def snapshot(self) -> Snapshot:
        return self.pack.snapshot(self)

    def go_back(self, snapshot: Snapshot) -> None:
        weights, memory = snapshot
        for mine, theirs in ((self.weights, weights), *((self.memory[slot], memory[slot]) for slot in self.memory)):
            for value, other in zip(mine.matrices, theirs.matrices, strict=True):
                value.copy_(other)
        self.pack.forget()


class _Snapshot:
    """One network's weights, and by slot what is remembered of them, within copies of all networks' or in its own.

    What it holds is looked up when it is asked for: most snapshots never are.
    """

    def __init__(self, stacks: Sequence[Stacks], slots: Sequence[str], number: int) -> None:
        self._stacks, self._slots, self._number = stacks, slots, number
        self._own: list[Tensors] = []

    def __iter__(self) -> Iterator[Any]:
        weights, *memory = self._own or [Weights(stacks.network(self._number)) for stacks in self._stacks]
        return iter((weights, dict(zip(self._slots, memory, strict=True))))

    def part(self) -> None:
        """Makes copies of its own, so as not to keep those of the others."""
        weights, memory = self
        self._own = [copied(one) for one in (weights, *memory.values())]
        self._stacks = ()


class TorchPack:
    """Networks that are trained together; every `join` adds one, before the first is trained.

    All have the same samples, scaling, depth, activations, classes, tile_rows and float type, and rules that differ in
    nothing but numbers: `training.together.pack_key` says which recipes are so.

    Args:
        orders: of each network that will join what names its batches; those with equal ones are handed the same.
        device, precision: as of `TorchEngine`.
    """

    def __init__(self, orders: Sequence[Hashable], *, device: str = "auto", precision: str = "float32") -> None:
        self._orders, self._precision = list(orders), precision
        self._device = usable_device(device, precision)
        self._members: list[TorchPacked] = []
        self._is_laid_out = False
        self._samples: dict[str, Samples] = {}
        self._rows = 0
        self._fresh: dict[str, list[Scores]] = {}
        self._asked: set[str] = set()
        self._moment: list[Stacks] = []
        self._given: list[list[ref[_Snapshot]]] = []

    @property
    def device(self) -> str:
        return str(self._device.type)

    def join(self, spec: EngineSpec) -> TorchPacked:
        """Add one more network; the threads of the first are those of torch's products.

        Raises:
            ConfigError: a pack cannot train the network.
        """
        dropout, transforms, parameters, rule = check_short_form(spec), spec.transforms, spec.parameters, spec.optimizer
        is_changed = (
            transforms.augmenter is not None or transforms.mixup or spec.architecture.layers[0].type == "dropout"
        )
        if is_changed or spec.architecture.uses_batch_statistics:
            raise ConfigError("a pack takes no networks with batch norm or with inputs that are changed or mixed.")
        layers = Layers(parameters)
        if not self._members:
            self._parts = {name: part for name, part in spec.splits.items() if len(part.labels)}
            self._dtype: np.dtype[Any] = np.dtype(spec.dtype)
            self._scaling, self._tile_rows = spec.scaling, spec.tile_rows
            self._threads = spec.threads or available_cores()
            self._activations = spec.architecture.activations
            values = getattr(torch, self._dtype.name)
            operands = torch.bfloat16 if self._precision == "bfloat16" else values
            self._types = Types(values, operands, self._device)
        weights, memory = self.moved(layers, parameters, rule, start_of(rule, parameters))
        order = self._orders[len(self._members)]
        counts, clip_norm = spec.splits["train"].weights, spec.clip_norm
        member = TorchPacked(
            self, order, counts, rule, spec.objective, transforms, dropout, clip_norm, layers, weights, memory
        )
        self._members.append(member)
        return member

    def leave(self, leaving: Iterable[TorchPacked]) -> None:
        """Takes networks out, each into a pack of its own; the others lie together anew."""
        gone = list(leaving)
        if not gone:
            return
        self._members = [member for member in self._members if member not in gone]
        for member in gone:
            member.weights = copied(member.weights)
            member.memory = {slot: copied(weights) for slot, weights in member.memory.items()}
        self._forget_layout()
        for member in gone:
            member.pack = pack = copy(self)
            pack._members, pack._asked, pack._given = [member], set(), []

    def _forget_layout(self) -> None:
        """Frees what `_lay_out` makes anew: a pack and its networks refer to each other, so it would stay for long."""
        self._is_laid_out = False
        self._fresh, self._moment = {}, []
        for name in MADE_BY_LAYOUT:
            vars(self).pop(name, None)

    def snapshot(self, member: TorchPacked) -> Snapshot:
        """`Engine.snapshot` of one network; all are copied at once, tensor by tensor, when the first is asked for."""
        self._lay_out()
        if not self._moment:
            self._part_old_snapshots()
            self._moment = [stacks.copy() for stacks in (self._weights, *self._memory.values())]
            self._given.append([])
        made = _Snapshot(self._moment, tuple(self._memory), self._members.index(member))
        self._given[-1].append(ref(made))
        return made

    def _part_old_snapshots(self) -> None:
        """Snapshots that are still kept after two later ones become copies of their own, so as not to keep all."""
        for found in self._given.pop(0) if len(self._given) > 1 else ():
            snapshot = found()
            if snapshot is not None:
                snapshot.part()

    def forget(self) -> None:
        """What was judged, and copied, is no longer so."""
        self._fresh, self._moment = {}, []
        if self._is_laid_out:
            self._refresh()

    def moved(
        self,
        layers: Layers,
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        state: Mapping[str, NDArray[Any]],
    ) -> tuple[Tensors, dict[str, Tensors]]:
        """A network's parameters and state on the device."""
        memory = layers.memory(rule, state, self._dtype)
        return self._moved(layers.weights(parameters, self._dtype)), {k: self._moved(v) for k, v in memory.items()}

    def train_epoch(self, updates: Sequence[Iterable[Update]]) -> list[Scores]:
        """All updates of every network, in the order of joining; scores as `Engine.train_epoch`.

        All have the same number of updates, of batches of the same sizes. Where one is no longer finite the others go
        on.
        """
        lessons = list(zip(*updates, strict=True))
        self._lay_out()
        self._fresh, self._moment = {}, []
        with running(self._threads, self._precision == "tf32"):
            self._sums[0].zero_()
            n = sum(self._train(list(group)) for _, group in groupby(lessons, key=lambda one: kind_of_batch(one[0])))
            asked = sorted(self._asked)
            for part in asked:  # as after the epoch before; read together, the device is waited for once
                self._look_at(part)
            sums = self._sums.tolist()
        self._asked.clear()
        self._fresh = {part: self._scores(part, sums[self._line[part]]) for part in asked}
        return [scores_of(own, n) for own in sums[0]]

    def scores(self, member: TorchPacked, part: str) -> Scores | None:
        """`Engine.evaluate` of one network; all are judged when the first is asked for."""
        if part not in self._parts:
            return None
        self._asked.add(part)
        self._judge(part)
        return self._fresh[part][self._members.index(member)]

    def each(self, member: TorchPacked, part: str) -> SampleScores | None:
        """`Engine.evaluate_each` of one network."""
        if part not in self._parts:
            return None
        self._judge(part)
        if part not in self._read:
            losses, right = self._outcomes[part]
            self._read[part] = losses.cpu().numpy(), right.cpu().numpy()
        number = self._members.index(member)
        losses, right = self._read[part]
        return SampleScores(losses[number].copy(), right[number].copy())

    def _judge(self, part: str) -> None:
        """What every network makes of a part, if that is not known."""
        if part in self._fresh:
            return
        self._lay_out()
        with running(self._threads, self._precision == "tf32"):
            self._look_at(part)
            self._fresh[part] = self._scores(part, self._sums[self._line[part]].tolist())

    def _scores(self, part: str, sums: Sequence[Sequence[float]]) -> list[Scores]:
        return [scores_of(own, len(self._parts[part].labels)) for own in sums]

    def _moved(self, weights: Weights) -> Tensors:
        return Weights([torch.tensor(value, device=self._device) for value in weights.matrices])

    # Where everything lies.

    def _lay_out(self) -> None:
        """Puts all networks where they lie while they train, and makes what is made once."""
        if self._is_laid_out:
            return
        self._is_laid_out = True
        members = self._members
        first, last = members[0].weights.matrices[0], members[0].weights.matrices[-1]
        hidden, orders = tuple(one.hidden for one in members), tuple(one.order for one in members)
        self._layout = Layout(len(first) - 1, last.shape[1], hidden)
        self._distinct = list(dict.fromkeys(orders))
        self._leaders = [orders.index(order) for order in self._distinct]
        which = [self._distinct.index(order) for order in orders]
        self._of_order = torch.tensor(which, device=self._device)
        self._all_read = together(self._layout)
        self._readings = readings_of(self._layout, which, self._device) if len(self._distinct) > 1 else self._all_read
        self._put_in_stacks()
        self._prepare_rules()
        self._make_room()

    def _put_in_stacks(self) -> None:
        """The weights and memory of all networks into tensors that they share, of which each has views."""
        slots = self._members[0].rule.slots
        self._weights, self._gradients = self._stacks(), self._stacks()
        self._memory = {slot: self._stacks() for slot in slots}
        for number, member in enumerate(self._members):
            held = [(self._weights, member.weights), *((self._memory[slot], member.memory[slot]) for slot in slots)]
            for stacks, own in held:
                for mine, theirs in zip(stacks.network(number), own.matrices, strict=True):
                    mine.copy_(theirs)
            member.weights = Weights(self._weights.network(number))
            member.memory = {slot: Weights(self._memory[slot].network(number)) for slot in slots}
        self._shown = self._memory.get(AVERAGE, self._weights)
        self._present = self._operands_like(self._weights)
        self._shown_operands = self._present if self._shown is self._weights else self._operands_like(self._shown)
        self._refresh()

    def _stacks(self, dtype: Any = None) -> Stacks:
        return Stacks(self._layout, self._types, dtype or self._types.values)

    def _operands_like(self, weights: Stacks) -> Stacks:
        """The matrices as products take them: themselves, or copies that `_refresh` renews."""
        return self._stacks(self._types.operands) if self._types.differ else weights

    def _refresh(self) -> None:
        if self._types.differ:
            self._present.copy_(self._weights)
            if self._shown is not self._weights:
                self._shown_operands.copy_(self._shown)

    def _prepare_rules(self) -> None:
        """What is each network's own, as tensors that fit its columns."""
        members, layout = self._members, self._layout
        widths = [columns.stop - columns.start for columns in layout.columns]
        of_column = torch.repeat_interleave(torch.arange(len(members)), torch.tensor(widths))
        self._of_column = of_column.to(self._device)
        rules = [member.rule for member in members]
        self._bands: list[tuple[int, UpdateRule, Tensor, Tensor, list[Tensor], bool]] = []
        for number, matrix in enumerate(self._weights.tensors):
            merged = self._merged(rules, number)
            at_once = len(matrix) if self._device.type == "cuda" else max(1, BAND_VALUES // matrix[0].numel())
            for band in even_cuts(len(matrix), at_once):
                memory = [self._memory[slot].tensors[number][band] for slot in rules[0].slots]
                gradient = self._gradients.tensors[number][band]
                self._bands.append((number, merged, matrix[band], gradient, memory, band.stop == len(matrix)))
        objectives = [member.objective for member in members]
        self._smoothing = self._column([one.label_smoothing for one in objectives])
        self._l2_mean = self._numbers_of([0.0 if one.reduction == "sum" else one.l2 for one in objectives])
        self._l2_sum = self._numbers_of([one.l2 if one.reduction == "sum" else 0.0 for one in objectives])
        self._is_mean = self._numbers_of([float(one.reduction == "mean") for one in objectives])
        self._clip_norms = self._numbers_of([member.clip_norm or np.inf for member in members], torch.float64)
        self._has_means = any(one.reduction == "mean" for one in objectives)
        self._has_l2 = any(one.l2 for one in objectives)
        self._clips = any(member.clip_norm for member in members)
        self._counts = self._all_counts()

    def _merged(self, rules: Sequence[Any], number: int) -> Any:
        """One rule for all networks' columns of a tensor: what differs between theirs is a tensor in it."""
        changed = {}
        for field in fields(rules[0]):
            values = [getattr(rule, field.name) for rule in rules]
            if is_dataclass(values[0]):
                changed[field.name] = self._merged(values, number)
            elif any(value != values[0] for value in values):
                changed[field.name] = self._spread(self._numbers_of(values), number)
        return replace(rules[0], **changed)

    def _spread(self, values: Tensor, number: int) -> Tensor:
        """(..., networks) as (..., what stretches over rows of the stacks' tensor of that number)."""
        if number == 0:
            return values.index_select(-1, self._of_column)
        networks = self._layout.runs[(number - 1) % len(self._layout.runs)]
        return values[..., networks].unsqueeze(-1)

    def _numbers_of(self, values: Sequence[float], dtype: Any = None) -> Tensor:
        return torch.tensor(values, dtype=dtype or self._types.values, device=self._device)

    def _column(self, values: Sequence[float]) -> Tensor | None:
        """(networks, 1), or None where all are 0."""
        return self._numbers_of(values)[:, None] if any(values) else None

    def _all_counts(self) -> Tensor | None:
        """(networks, N) what training samples count, or None where all count alike."""
        if all(member.counts is None for member in self._members):
            return None
        ones = np.ones(len(self._parts["train"].labels))
        rows = [ones if member.counts is None else member.counts for member in self._members]
        return torch.tensor(np.array(rows, self._dtype), device=self._device)

    def _make_room(self) -> None:
        """Samples, buffers and sums; what was recorded is so no longer."""
        rows = self._rows_at_once()
        if self._samples:
            self._rows = min(self._rows, rows)  # for which the samples have room
        else:
            self._rows = rows
            most = rows * len(self._distinct)
            self._samples = held_samples(self._parts, self._scaling, self._types, self._dtype, most)
            self._labels = {
                name: torch.tensor(part.labels.astype(np.int64), device=self._device)
                for name, part in self._parts.items()
            }
        self._tile = TorchPackTile(self._layout, self._rows, self._activations, self._types)
        n_networks = len(self._members)
        self._sums = torch.zeros(1 + len(self._parts), n_networks, 3, dtype=torch.float64, device=self._device)
        self._line = {name: line for line, name in enumerate(self._parts, start=1)}
        self._outcomes = {
            name: (
                torch.empty(n_networks, len(part.labels), dtype=self._types.values, device=self._device),
                torch.empty(n_networks, len(part.labels), dtype=torch.bool, device=self._device),
            )
            for name, part in self._parts.items()
        }
        self._read: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._steps: dict[Any, Steps] = {}
        self._looks: dict[str, Recorded] = {}

    def _rows_at_once(self) -> int:
        """Of a tile, by what its widest layer and the batches of all orders take."""
        n_units = self._layout.columns[-1].stop
        read = len(self._distinct) * (self._layout.n_inputs + 1) // READ_SHARE if len(self._distinct) > 1 else 1
        values = TILES_AT_ONCE * TILE_UNITS * self._tile_rows
        if self._device.type == "cuda":
            at_once = free_bytes(self._device) // (BYTES_A_VALUE * len(self._activations))
            values = max(values, min(GPU_TILE_VALUES, at_once))
        most = max(len(part.labels) for part in self._parts.values())
        return min(most, max(LEAST_ROWS, values // int(max(n_units, read))))

    # An epoch.

    def _train(self, lessons: Sequence[Lesson]) -> int:
        """Updates of one size, one after the other; gives out the samples of one network."""
        batch = lessons[0][0].batch
        n = n_of(batch)
        numbers = torch.tensor([self._numbers(lesson) for lesson in lessons], dtype=torch.float64)
        positions = positions_of([[lesson[leader].batch for leader in self._leaders] for lesson in lessons])
        if any(member.dropout for member in self._members) or not self._samples["train"].is_held:
            numbers = numbers.to(self._device)
            for i, lesson in enumerate(lessons):
                where = batch if positions is None else positions[i].to(self._device)
                self._learn(where, n, numbers[i], lesson)
        else:
            kind = (kind_of_batch(lessons[0][0]), len(lessons))
            if kind not in self._steps:
                self._steps[kind] = Steps(self._device)
            self._steps[kind].run(self._step_of(batch), numbers, positions)
        return n * len(lessons)

    def _step_of(self, batch: Batch) -> Learn:
        """`_learn` for batches like this one, as `Steps` calls it."""
        n = n_of(batch)

        def learn(positions: Tensor | None, numbers: Tensor) -> None:
            self._learn(batch if positions is None else positions, n, numbers)

        return learn

    def _numbers(self, lesson: Lesson) -> list[list[float]]:
        """(numbers of a step, networks)."""
        rows = [m.rule.numbers(update.step) for m, update in zip(self._members, lesson, strict=True)]
        return [list(column) for column in zip(*rows, strict=True)]

    def _learn(self, where: Where, n: int, numbers: Tensor, lesson: Lesson | None = None) -> None:
        """One update of every network.

        Args:
            where: the samples of all, or positions (orders, n). numbers: as `_numbers`.
            lesson: where something of it is drawn on the processor.
        """
        for number, rows in enumerate(even_cuts(n, self._rows)):
            here = some(where, rows)
            x = self._inputs("train", here)
            logits = self._tile.forward(x, self._readings, self._present, self._keep(rows, lesson))
            labels = self._labels_of("train", here)
            judged = judge(logits, labels, self._types.values)
            self._sums[0].add_(judged.sums())
            grad = grad_logits(judged, labels, self._smoothing, self._scale(here, n))
            self._tile.backward(grad, x, self._readings, self._present, self._gradients, number == 0)
        self._move(numbers, n)

    def _inputs(self, part: str, here: Where) -> Tensor:
        """(n, >= I+1) samples that all networks read, or (orders, n, >= I+1)."""
        if isinstance(here, slice) or len(here) == 1:
            x: Tensor = self._samples[part].rows(here if isinstance(here, slice) else here[0], back=False).x
            return x
        return self._samples[part].rows(here.reshape(-1), back=False).x.unflatten(0, here.shape)

    def _labels_of(self, part: str, here: Where) -> Tensor:
        """(networks, n)."""
        labels = self._labels[part][here]
        if labels.dim() == 1 or len(labels) == 1:
            return labels.expand(len(self._members), -1)
        return labels.index_select(0, self._of_order)

    def _scale(self, here: Where, n: int) -> Tensor | None:
        """What dL/do is multiplied by: what samples count, over n where the objective is a mean."""
        if self._counts is None and not self._has_means:
            return None
        divisors = 1 + self._is_mean * (n - 1)
        scale = divisors.reciprocal()[:, None]
        if self._counts is None:
            return scale
        if isinstance(here, slice):
            return self._counts[:, here] * scale
        return self._counts.gather(1, here.index_select(0, self._of_order)) * scale

    def _keep(self, rows: slice, lesson: Lesson | None) -> list[list[Tensor]]:
        """Dropout's factors of every hidden layer as its values lie, each network's drawn as it draws them alone."""
        if lesson is None or not any(member.dropout for member in self._members):
            return []
        layout = self._layout
        found = []
        for layer in range(len(self._activations)):
            drawn = []
            for member, update in zip(self._members, lesson, strict=True):
                width = member.hidden[layer]
                rate, number = member.dropout, update.step.number
                drawn.append(member.transforms.dropout_mask(layer + 1, rate, number, rows, width, self._dtype))
            if layer == 0:
                found.append([self._operands(np.concatenate(drawn, axis=1))])
            else:
                found.append([self._operands(np.stack(drawn[networks])) for networks in layout.runs])
        return found

    def _operands(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device, self._types.operands)

    def _move(self, numbers: Tensor, n: int) -> None:
        """The penalty, clipping and the update of all networks."""
        if self._has_l2:
            strength = self._l2_mean + self._l2_sum * n
            for number, (matrix, gradient) in enumerate(
                zip(self._weights.tensors, self._gradients.tensors, strict=True)
            ):
                gradient[:-1].addcmul_(matrix[:-1], self._spread(strength, number))
        if self._clips:
            factors = self._clip_factors()
            for number, gradient in enumerate(self._gradients.tensors):
                gradient.mul_(self._spread(factors, number))
        numbers = numbers.to(self._types.values)
        spread = [self._spread(numbers, number).unbind(0) for number in range(len(self._weights.tensors))]
        for number, rule, matrix, gradient, memory, has_bias in self._bands:
            rule.move(matrix, gradient, memory, has_bias, spread[number], torch)
        if self._types.differ:
            self._present.copy_(self._weights)

    def _clip_factors(self) -> Tensor:
        """(networks,) U8."""
        found = []
        for run in range(len(self._layout.runs)):
            values = [by_network(self._gradients.first, self._layout, run)]
            values += [self._gradients.later_of(layer, run) for layer in range(len(self._activations))]
            lengths = [torch.linalg.vector_norm(one, dim=(1, 2), dtype=torch.float64) for one in values]
            found.append(torch.stack(lengths).norm(dim=0))
        return torch.clamp(self._clip_norms / torch.cat(found), max=1.0).to(self._types.values)

    # Looking at a part.

    def _look_at(self, part: str) -> None:
        """What every network makes of a part, into its outcomes and its line of the sums."""
        self._read.pop(part, None)
        if part not in self._looks:
            device = self._device if self._samples[part].is_held else torch.device("cpu")
            self._looks[part] = Recorded(device)
        self._looks[part](lambda: self._add_up(part))

    def _add_up(self, part: str) -> None:
        if self._types.differ and self._shown is not self._weights:
            self._shown_operands.copy_(self._shown)
        losses, right = self._outcomes[part]
        line = self._sums[self._line[part]]
        line.zero_()
        for rows in even_cuts(len(self._labels[part]), self._rows):
            logits = self._tile.forward(self._inputs(part, rows), self._all_read, self._shown_operands)
            judged = judge(logits, self._labels_of(part, rows), self._types.values)
            line.add_(judged.sums())
            losses[:, rows].copy_(judged.losses)
            right[:, rows].copy_(judged.right)
