"""Rows of samples on their way through every network of a pack, in torch tensors.

The first layers lie side by side and read a batch that they share in one product; later layers, and first layers that
read batches of their own, are one batched product for each run of networks of equal widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.engines.torch_layout import Layout, runs_of
from chalknet.engines.torch_tile import FEW, Backward, Judged, Types, activated, product, put, relu_layer

WORTH_ONE = 4  # networks that read the same samples: a product of their own then saves copies of these


class Stacks:
    """The matrices of all networks of a pack, weights or what is shaped as they are, the biases their last rows.

    Args:
        types, dtype: of what; dtype is that of values or of operands.
    Attributes:
        first: (I+1, units of all first layers). whole: the same and rows of zeros beyond, as products take it.
        later: of each other layer one (F+1, networks, O) for each run, so that an update rule, which takes rows, moves
            all networks at once.
    """

    def __init__(self, layout: Layout, types: Types, dtype: Any) -> None:
        self._layout, self._types = layout, types
        room = partial(torch.zeros, dtype=dtype, device=types.device)
        n_units = layout.columns[-1].stop
        self.whole = room(types.aligned(layout.n_inputs + 1), n_units)
        self.first = self.whole[: layout.n_inputs + 1]
        self.later: list[list[Tensor]] = [[] for _ in layout.hidden[0]]
        for run, networks in enumerate(layout.runs):
            widths = layout.widths(run)
            for layer, stacks in enumerate(self.later):
                n_rows, count, n_out = widths[layer] + 1, networks.stop - networks.start, widths[layer + 1]
                if types.gpu_forms and stacks is self.later[-1]:  # classes before units
                    stacks.append(room(count, n_out, types.aligned(n_rows)).permute(2, 0, 1)[:n_rows])
                else:
                    stacks.append(room(n_rows, count, n_out))

    @property
    def tensors(self) -> list[Tensor]:
        """The first, and then layer after layer and run after run."""
        return [self.first, *(stack for stacks in self.later for stack in stacks)]

    def network(self, number: int) -> list[Tensor]:
        """(I+1, O) each: the matrices of one network, as views."""
        run, place = self._layout.places[number]
        return [self.first[:, self._layout.columns[number]], *(stacks[run][:, place] for stacks in self.later)]

    def first_of(self, run: int) -> Tensor:
        """(networks, >= I+1, F): the first layers of a run, as products take them."""
        return by_network(self.whole, self._layout, run)

    def later_of(self, layer: int, run: int) -> Tensor:
        """(networks, F+1, O): a later layer of a run."""
        return self.later[layer][run].transpose(0, 1)

    def copy(self) -> Stacks:
        """The same values in other tensors."""
        made = Stacks(self._layout, self._types, self.first.dtype)
        made.copy_(self)
        return made

    def copy_(self, other: Stacks) -> None:
        """Takes another's values."""
        for mine, theirs in zip(self.tensors, other.tensors, strict=True):
            mine.copy_(theirs)


class Reading(NamedTuple):
    """One product of first layers: whose columns, and which samples they read.

    run: that is multiplied as a batch, or None for one product of all these columns. orders: which of the batches of
    samples it reads, one for all columns, or for each network of the run.
    """

    columns: slice
    run: int | None
    orders: Any


def together(layout: Layout) -> list[Reading]:
    """All first layers in one product, of samples that all read."""
    return [Reading(slice(0, layout.columns[-1].stop), None, 0)]


def readings_of(layout: Layout, orders: Sequence[int], device: Any) -> list[Reading]:
    """The products of first layers of which network i reads the batch orders[i]: as few as there can be."""
    groups = runs_of(orders)
    if len(groups) <= max(len(layout.runs), len(orders) // WORTH_ONE):
        return [Reading(layout.columns_of(group), None, orders[group.start]) for group in groups]
    found = []
    for run, networks in enumerate(layout.runs):
        wanted, start = list(orders[networks]), orders[networks.start]
        in_a_row = wanted == list(range(start, start + len(wanted)))
        which: Any = slice(start, start + len(wanted)) if in_a_row else torch.tensor(wanted, device=device)
        found.append(Reading(layout.columns_of(networks), run, which))
    return found


class TorchPackTile:
    """Buffers for rows of samples of every network of a pack, and the passes that use them.

    Args:
        rows: the most samples at a time. activations: one a hidden layer.
    """

    def __init__(self, layout: Layout, rows: int, activations: Sequence[str], types: Types) -> None:
        self._layout, self._rows, self._activations, self._types = layout, rows, tuple(activations), types
        self._no_bias = torch.zeros(layout.columns[-1].stop, dtype=types.operands, device=types.device)
        self._rooms: dict[Any, Tensor] = {}
        self._values: list[list[Tensor]] = []  # of each hidden layer: of the first one for all, of others one a run
        self._through: list[Any] = []

    def forward(
        self, x: Tensor, readings: Sequence[Reading], operands: Stacks, keep: Sequence[Sequence[Tensor]] = ()
    ) -> Tensor:
        """The logits (networks, K, n).

        Args:
            x: (n, >= I+1) samples that all networks read, or (orders, n, >= I+1).
            keep: dropout's factors, where there are any, for each hidden layer as its values lie.
        """
        layout, self._values, self._through = self._layout, [], []
        n = x.shape[-2]
        first, *later = self._activations
        self._keep_layer([self._first(first, x, readings, operands)], keep[0] if keep else ())
        for layer, name in enumerate(later, start=1):
            before, found = self._by_run(layer - 1), []
            for run in range(len(layout.runs)):
                h = self._dense(operands, layer - 1, run, before[run], self._room("value", layer, run, n))
                found.append(activated(name, h, self._types))
            self._keep_layer(found, keep[layer] if keep else ())
        values = self._by_run(-1)
        if self._types.gpu_forms:
            logits = x.new_empty(len(layout.hidden), layout.n_classes, n, dtype=self._types.values)
            for run, networks in enumerate(layout.runs):
                last = operands.later_of(-1, run).transpose(1, 2)
                logits_of_run = product(last[..., :-1], values[run].transpose(1, 2), self._types.values)
                torch.add(logits_of_run, last[..., -1:], out=logits[networks])
            return logits
        room = self._take("logits", n, len(layout.hidden), layout.n_classes).view(-1, n, layout.n_classes)
        for run, networks in enumerate(layout.runs):
            self._dense(operands, -1, run, values[run], room[networks])
        return room.transpose(1, 2)

    def backward(
        self,
        grad: Tensor,
        x: Tensor,
        readings: Sequence[Reading],
        operands: Stacks,
        total: Stacks,
        first: bool,
    ) -> None:
        """N1 to N4 after `forward`, from dL/do (networks, K, n), into the sums of gradients: added, or if first put."""
        layout, last = self._layout, len(self._activations) - 1
        runs, n = range(len(layout.runs)), grad.shape[-1]
        if self._types.gpu_forms:
            grad_o = grad.to(self._types.operands).transpose(1, 2)
        else:
            grad_o = grad.transpose(1, 2).to(self._types.operands, memory_format=torch.contiguous_format)
        grad_bias = grad.sum(2)
        grads = [grad_o[networks] for networks in layout.runs]
        for run, networks in enumerate(layout.runs):
            self._add_layer(total, last, run, self._by_run(last)[run], grads[run], grad_bias[networks], first)
        for layer in reversed(range(last + 1)):
            whole, rooms = self._grad_rooms(layer, n)
            for run in runs:
                torch.bmm(grads[run], operands.later_of(layer, run)[:, :-1].transpose(1, 2), out=rooms[run])
            whole = [through(one) for through, one in zip(self._through[layer], whole, strict=True)]
            if layer == 0:
                self._add_first(whole[0], x, readings, total, first)
                return
            grads = whole
            for run, one in enumerate(grads):
                bias = one.sum(1, dtype=self._types.values)
                self._add_layer(total, layer - 1, run, self._by_run(layer - 1)[run], one, bias, first)

    def _first(self, name: str, x: Tensor, readings: Sequence[Reading], operands: Stacks) -> tuple[Tensor, Backward]:
        """A1 and the activation of all first layers, (n, units)."""
        values = self._take("value", x.shape[-2], self._layout.columns[-1].stop)
        if name == "relu" and self._types.gpu_forms and len(readings) == 1 and readings[0].run is None:
            return relu_layer(_read(x, readings[0]), operands.whole, self._no_bias, values)
        for reading in readings:
            read = _read(x, reading)
            if reading.run is None:
                torch.mm(read, operands.whole[:, reading.columns], out=values[:, reading.columns])
            else:
                out = by_network(values, self._layout, reading.run)
                torch.bmm(read, operands.first_of(reading.run), out=out)
        return activated(name, values, self._types)

    def _add_first(self, grad: Tensor, x: Tensor, readings: Sequence[Reading], total: Stacks, first: bool) -> None:
        """A3 and A4 of all first layers."""
        for reading in readings:
            read = _read(x, reading)
            if reading.run is None:
                add_product(total.whole[:, reading.columns], read.t(), grad[:, reading.columns], first, self._types)
            else:
                of_run = by_network(grad, self._layout, reading.run)
                add_product(total.first_of(reading.run), read.transpose(1, 2), of_run, first, self._types)

    def _dense(self, operands: Stacks, layer: int, run: int, before: Tensor, out: Tensor) -> Tensor:
        """A1 of a later layer of a run's networks."""
        matrices = operands.later_of(layer, run)
        return torch.baddbmm(matrices[:, -1:], before, matrices[:, :-1], out=out)

    def _add_layer(
        self, total: Stacks, layer: int, run: int, before: Tensor, grad: Tensor, bias: Tensor, first: bool
    ) -> None:
        """A3 and A4 of a later layer of a run's networks."""
        out = total.later_of(layer, run)
        add_product(out[:, :-1], before.transpose(1, 2), grad, first, self._types)
        put(out[:, -1], bias, first)

    def _keep_layer(self, found: Sequence[tuple[Tensor, Backward]], keep: Sequence[Tensor]) -> None:
        """D1 of a layer's values, and the way back through both it and the activation."""
        ways = []
        for part, (g, through) in enumerate(found):
            if keep:
                g.mul_(keep[part])
            ways.append(_way_back(through, keep[part] if keep else None))
        self._values.append([g for g, _ in found])
        self._through.append(ways)

    def _by_run(self, layer: int) -> list[Tensor]:
        """A hidden layer's values as (networks, n, F), one a run."""
        values = self._values[layer]
        if layer % len(self._activations):
            return values
        return [by_network(values[0], self._layout, run) for run in range(len(self._layout.runs))]

    def _grad_rooms(self, layer: int, n: int) -> tuple[list[Tensor], list[Tensor]]:
        """Room for a hidden layer's derivatives as its values lie, and the same by run."""
        runs = range(len(self._layout.runs))
        if layer:
            rooms = [self._room("grad", layer, run, n) for run in runs]
            return rooms, rooms
        whole = self._take("grad", n, self._layout.columns[-1].stop)
        return [whole], [by_network(whole, self._layout, run) for run in runs]

    def _room(self, kind: str, layer: int, run: int, n: int) -> Tensor:
        """(networks, n, F) of a run's later hidden layer."""
        networks = self._layout.runs[run]
        count, width = networks.stop - networks.start, self._layout.widths(run)[layer]
        return self._take((kind, layer, run), n, count, width).view(count, n, width)

    def _take(self, key: Any, n: int, *widths: int) -> Tensor:
        """(n, product of widths) operands, made once for the most rows: what is recorded must find them there."""
        width = 1
        for one in widths:
            width *= one
        if key not in self._rooms:
            self._rooms[key] = torch.empty(self._rows * width, dtype=self._types.operands, device=self._types.device)
        return self._rooms[key][: n * width].view(n, width)


def by_network(values: Tensor, layout: Layout, run: int) -> Tensor:
    """(networks, n, F) of a run, a view of values (n, units of all first layers)."""
    networks = layout.runs[run]
    shape = (networks.stop - networks.start, layout.widths(run)[0])
    return values[:, layout.columns_of(networks)].unflatten(1, shape).transpose(0, 1)


def _read(x: Tensor, reading: Reading) -> Tensor:
    """The samples of a product: (n, >= I+1), or (networks, n, >= I+1)."""
    return x if x.dim() == 2 else x[reading.orders]


def _way_back(through: Backward, keep: Tensor | None) -> Backward:
    return through if keep is None else lambda grad: through(grad.mul_(keep))


def add_product(total: Tensor, left: Tensor, right: Tensor, first: bool, types: Types) -> None:
    """left @ right, of matrices or batches of them, into total."""
    is_batch = left.dim() == 3
    if not types.differ:
        work = torch.baddbmm if is_batch else torch.addmm
        work(total, left, right, beta=0 if first else 1, out=total)
    elif types.gpu_forms and right.shape[-1] <= FEW:  # the product is faster the other way round
        across = product(right.transpose(-1, -2), left.transpose(-1, -2), total.dtype)
        put(total, across.transpose(-1, -2), first)
    else:
        put(total, product(left, right, total.dtype), first)


def grad_logits(judged: Judged, labels: Tensor, smoothing: Tensor | None, scale: Tensor | None) -> Tensor:
    """(networks, K, n) L6, w (p - T), in place of what was judged.

    Args:
        labels: (networks, n). smoothing: (networks, 1). scale: (networks, n) or (networks, 1), what samples count over
            what is divided by.
    """
    grad = judged.powers.div_(judged.total.unsqueeze(1))
    taken = grad.new_full((1, 1, 1), -1.0)
    if smoothing is not None:
        grad.sub_(smoothing[:, None] / grad.shape[1])
        taken = smoothing[:, None] - 1
    grad.scatter_add_(1, labels.unsqueeze(1), taken.expand_as(grad[:, :1]))
    return grad if scale is None else grad.mul_(scale.unsqueeze(1))
