"""A tile of samples on its way through all networks of a stack: heads, groups, and the passes through them.

A head fills the values of its group. The first head reads the samples: networks that read the same batch share one
product, others are one batched product for each run of equal widths. `StackWorkspace` builds the groups, which is the
one step that fuses layers: on a GPU, the relu after a dense layer is part of its product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.engines.kernels import kernel_for
from chalknet.engines.torch_device import TensorTypes
from chalknet.engines.torch_kernels import FEW, KERNELS, DropoutKernel, FusedReluKernel, Kernel, product, put
from chalknet.engines.torch_layout import StackedArrays, StackedLayer, StackLayout, length, runs_of
from chalknet.engines.torch_samples import SampleRows
from chalknet.network.dense import Dense
from chalknet.network.relu import Relu

NETWORKS_PER_PRODUCT = 4  # networks that read the same samples: a product of their own then saves copies of these


class Reading(NamedTuple):
    """One product of first layers.

    Attributes:
        columns: of the first group that it computes.
        run: that is multiplied as a batch, or None for one product of all these columns.
        orders: the batches of samples that it reads: the number of one, or one for each network of the run.
    """

    columns: slice
    run: int | None
    orders: Any


def shared_reading(layout: StackLayout) -> list[Reading]:
    """Return one product, of samples that all networks read."""
    return [Reading(slice(0, layout.n_units), None, 0)]


def readings_of(layout: StackLayout, orders: Sequence[int], device: Any) -> list[Reading]:
    """Return the products of networks that read the batches of these orders: as few as possible."""
    groups = runs_of(orders)
    if len(groups) <= max(len(layout.runs), len(orders) // NETWORKS_PER_PRODUCT):
        return [Reading(layout.columns_of(group), None, orders[group.start]) for group in groups]
    found = []
    for run, networks in enumerate(layout.runs):
        wanted, start, columns = list(orders[networks]), orders[networks.start], layout.columns_of(networks)
        if len(wanted) == 1:
            found.append(Reading(columns, None, start))
            continue
        are_neighbors = wanted == list(range(start, start + len(wanted)))
        which: Any = slice(start, start + len(wanted)) if are_neighbors else torch.tensor(wanted, device=device)
        found.append(Reading(columns, run, which))
    return found


class Buffers:
    """Tensors of operands that are made once, for the most rows: recorded work must find them in their place."""

    def __init__(self, rows: int, types: TensorTypes) -> None:
        self._rows, self.types = rows, types
        self._made: dict[Any, Tensor] = {}
        self._views: dict[Any, Tensor] = {}

    def __call__(self, key: Any, n: int, width: int, count: int = 1) -> Tensor:
        """Return (n, width) values, or (count, n, width) if count > 1."""
        view = self._views.get((key, n))
        if view is None:
            values = self._empty(key, self._rows * width * count)[: n * width * count]
            view = self._views[key, n] = values.view(n, width) if count == 1 else values.view(count, n, width)
        return view

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the product of two matrices; on processors a multiple of 16 rows begins where vectors do."""
        n_rows, width = len(left), right.shape[1]
        out = self._empty(("product", n_rows, width), -(-n_rows // 16) * 16 * width)[: n_rows * width]
        return torch.mm(left, right, out=out.view(n_rows, width))

    @property
    def tensors(self) -> list[Tensor]:
        """All buffers."""
        return list(self._made.values())

    def _empty(self, key: Any, size: int) -> Tensor:
        if key not in self._made:
            self._made[key] = torch.empty(size, dtype=self.types.operands, device=self.types.device)
        return self._made[key]


def add_product(total: Tensor, left: Tensor, right: Tensor, first: bool, buffers: Buffers) -> None:
    """Add left @ right, of matrices or of batches of them, to total; the first of several replaces it.

    Where operands have a dtype of their own, left may have more rows than total, which are not added.
    """
    types, n_rows = buffers.types, total.shape[-2]
    if not types.differ:
        work = torch.baddbmm if left.dim() == 3 else torch.addmm
        work(total, left, right, beta=0 if first else 1, out=total)
    elif right.shape[-1] <= FEW:  # the product is faster the other way round
        across = product(right.transpose(-1, -2), left.transpose(-1, -2), total.dtype)
        put(total, across.transpose(-1, -2)[..., :n_rows, :], first)
    elif types.gpu_forms or left.dim() == 3:
        put(total, product(left, right, total.dtype), first)
    else:
        put(total, buffers.product(left, right)[:n_rows], first)


class Head:
    """Fills the values of a group: copies of the samples, where another layer than a dense one comes first.

    Args:
        layer: the dense layer, or any layer of the first group if the group begins with the samples.
    Attributes:
        applies_relu: whether the head computes the relu that follows it.
        rows, readings: what the head of the first group reads.
    """

    applies_relu = False
    rows: SampleRows
    readings: Sequence[Reading]

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        self.group, self.layout, self.buffers = layer.group, layout, buffers
        self.index = layer.place.learned or 0
        self.has_bias = isinstance(layer.layer, Dense) and layer.layer.bias

    def forward(self, operands: StackedArrays) -> list[Tensor]:
        """Return the values of each block."""
        del operands
        x, n_inputs = self.rows.x[..., : self.layout.n_inputs], self.layout.n_inputs
        values = self.room("value", x.shape[-2], 0)
        for reading in self.readings:
            by_network = values[:, reading.columns].unflatten(1, (-1, n_inputs)).transpose(0, 1)
            by_network.copy_(_read(x, reading))
        return [values]

    def gradients(self, grads: Sequence[Tensor], total: StackedArrays, first: bool) -> None:
        """Add the gradients of the parameters to total, from those of the values; the first of several replaces it."""

    def room(self, kind: str, n: int, block: int) -> Tensor:
        """Return room for the values of a block, or for their gradient."""
        networks, widths = self.layout.networks(block), self.layout.widths
        if not self.group:
            return self.buffers((kind, 0), n, self.layout.n_units)
        return self.buffers((kind, self.group, block), n, widths[networks.start][self.group], length(networks))


class SamplesDenseHead(Head):
    """A dense layer that reads the samples. The column of ones in these multiplies the bias (A1)."""

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        super().__init__(layer, layout, buffers)
        self._no_bias = torch.zeros(layout.n_units, dtype=buffers.types.operands, device=buffers.types.device)

    def forward(self, operands: StackedArrays) -> list[Tensor]:
        rows, readings = self.rows, self.readings
        values, whole = self.room("value", rows.x.shape[-2], 0), operands.whole
        if len(readings) == 1 and readings[0].run is None:
            x = _read(rows.x, readings[0])
            bias = self._no_bias if self.applies_relu else None
            return [_multiply(x, whole, bias, values, self.applies_relu)]
        for reading in readings:
            columns, run = reading.columns, reading.run
            left, out = whole[:, columns], values[:, columns]
            if run is not None:
                left, out = self.layout.of_run(whole, run), self.layout.of_run(values, run)
            _multiply(_read(rows.x, reading), left, None, out, False)
        return [values.clamp_(min=0) if self.applies_relu else values]

    def gradients(self, grads: Sequence[Tensor], total: StackedArrays, first: bool) -> None:
        """A3 and A4. Rows of the whole matrix beyond the parameters' get values that no update reads."""
        whole, grad, rows = total.whole, grads[0], self.rows
        for reading in self.readings:
            columns, run = reading.columns, reading.run
            left = _read(rows.x, reading).transpose(-1, -2) if rows.across is None else rows.across
            if run is not None:
                out, right = self.layout.of_run(whole, run), self.layout.of_run(grad, run)
            elif len(self.readings) == 1:
                out, right = whole, grad
            else:
                out, right = whole[:, columns], grad[:, columns]
            add_product(out, left, right, first, self.buffers)


class DenseHead(Head):
    """A dense layer that reads the values of the group before.

    Attributes:
        inputs: these values, for each run.
    """

    inputs: list[Tensor]

    def forward(self, operands: StackedArrays) -> list[Tensor]:
        """A1."""
        values = []
        for block, x in enumerate(self.inputs):
            weights, bias = self._parameters(operands, block)
            values.append(_multiply(x, weights, bias, self.room("value", x.shape[-2], block), self.applies_relu))
        return values

    def propagate(self, grads: Sequence[Tensor], operands: StackedArrays, out: Sequence[Tensor]) -> None:
        """A2: write the gradients of the inputs into out."""
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            _multiply(grad, self._parameters(operands, block)[0].transpose(-1, -2), None, one, False)

    def gradients(self, grads: Sequence[Tensor], total: StackedArrays, first: bool) -> None:
        """A3 and A4."""
        for block, (x, grad) in enumerate(zip(self.inputs, grads, strict=True)):
            weights, _ = self._parameters(total, block)
            add_product(weights, x.transpose(-1, -2), grad, first, self.buffers)
        if self.has_bias:
            for block, grad in enumerate(self._bias_gradients(grads)):
                put(total.learned[self.index][block][-1], grad, first)

    def _bias_gradients(self, grads: Sequence[Tensor]) -> list[Tensor]:
        # A product with ones is the fastest sum over rows.
        ones = (grad.new_ones(*grad.shape[:-2], 1, grad.shape[-2]) for grad in grads)
        values = self.buffers.types.values
        return [product(row, grad, values).squeeze(-2) for row, grad in zip(ones, grads, strict=True)]

    def _parameters(self, arrays: StackedArrays, block: int) -> tuple[Tensor, Tensor | None]:
        """Return (..., F, O) weights and (..., 1, O) bias of a block."""
        matrix = arrays.learned[self.index][block]
        if matrix.dim() == 3:
            matrix = matrix.transpose(0, 1)
        return (matrix[..., :-1, :], matrix[..., -1:, :]) if self.has_bias else (matrix, None)


class OutputHead(DenseHead):
    """The last dense layer, whose values are the logits. On a GPU classes come before samples."""

    def logits(self, operands: StackedArrays) -> Tensor:
        """Return (M, K, n)."""
        n, n_networks, n_classes = self.inputs[0].shape[-2], self.layout.n_networks, self.layout.n_classes
        if not self.buffers.types.gpu_forms:
            values = self.buffers(("value", self.group), n, n_classes, n_networks).view(n_networks, n, n_classes)
            for block, x in enumerate(self.inputs):
                weights, bias = self._parameters(operands, block)
                _multiply(x, weights, bias, self._of_block(values, block), False)
            return values.transpose(1, 2)
        dtype = self.buffers.types.values
        logits = self.inputs[0].new_empty(n_networks, n_classes, n, dtype=dtype)
        for block, x in enumerate(self.inputs):
            weights, bias = self._parameters(operands, block)
            assert bias is not None
            value = product(weights.transpose(-1, -2), x.transpose(-1, -2), dtype)
            torch.add(value, bias.transpose(-1, -2), out=self._of_block(logits, block))
        return logits

    def operand_gradients(self, grad_logits: Tensor) -> list[Tensor]:
        """Return (..., n, K) for each run, from (M, K, n)."""
        types, self._grad_logits = self.buffers.types, grad_logits
        if types.gpu_forms:
            grad = grad_logits.to(types.operands).transpose(1, 2)
        else:
            grad = grad_logits.transpose(1, 2).to(types.operands, memory_format=torch.contiguous_format)
        return [self._of_block(grad, block) for block in range(len(self.layout.runs))]

    def _bias_gradients(self, grads: Sequence[Tensor]) -> list[Tensor]:
        sums = self._grad_logits.sum(-1)  # in the dtype of weights
        return [self._of_block(sums, block) for block in range(len(grads))]

    def _of_block(self, values: Tensor, block: int) -> Tensor:
        networks = self.layout.runs[block]
        return values[networks] if length(networks) > 1 else values[networks.start]


class Group:
    """A head, and the kernels of each block for every layer that follows it."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.kernels: list[list[Kernel]] = []


class StackWorkspace:
    """The groups of all networks with buffers for a tile of samples, and the passes through them.

    Args:
        rows: the most samples at a time. With batch normalization, training needs a whole batch at a time.
    Attributes:
        droppers: the kernels of each dropout layer, one for each block.
    """

    def __init__(self, layout: StackLayout, rows: int, types: TensorTypes) -> None:
        self._layout, self._types = layout, types
        self.buffers = Buffers(rows, types)
        self._groups: list[Group] = []
        for layer in layout.layers:
            if isinstance(layer.layer, Dense):
                kind: type[Head] = SamplesDenseHead if not layer.group else DenseHead
                kind = OutputHead if layer.group and layer.group == layout.n_groups - 1 else kind
                self._groups.append(Group(kind(layer, layout, self.buffers)))
                continue
            if not self._groups:
                self._groups.append(Group(Head(layer, layout, self.buffers)))
            self._groups[-1].kernels.append(self._kernels(layer, self._groups[-1]))
        made = [kernels for group in self._groups for kernels in group.kernels]
        self.droppers = [[one for one in kernels if isinstance(one, DropoutKernel)] for kernels in made]
        self.droppers = [kernels for kernels in self.droppers if kernels]

    def _kernels(self, layer: StackedLayer, group: Group) -> list[Kernel]:
        """Return the kernels of a layer, and fuse a relu with the dense layer before it."""
        blocks = range(len(self._layout.blocks(layer.group)))
        if isinstance(layer.layer, Relu) and self._types.gpu_forms and not group.kernels:
            group.head.applies_relu = type(group.head) is not Head
            if group.head.applies_relu:
                return [FusedReluKernel(layer, block, self._types) for block in blocks]
        kernel = kernel_for(KERNELS, type(layer.layer), "torch", "numpy")
        return [kernel(layer, block, self._types) for block in blocks]

    def forward(
        self, rows: SampleRows, readings: Sequence[Reading], arrays: StackedArrays, *, training: bool
    ) -> Tensor:
        """Return the logits (M, K, n).

        Args:
            rows: samples that all networks read, or (orders, n, >= I+1).
        """
        operands = arrays.operands
        values: list[Tensor] = []
        self._groups[0].head.rows, self._groups[0].head.readings = rows, readings
        for group in self._groups:
            head = group.head
            if isinstance(head, DenseHead):
                head.inputs = values if head.group > 1 else self._by_run(values[0])
            if isinstance(head, OutputHead):
                return head.logits(operands)
            values = head.forward(operands)
            for kernels in group.kernels:
                values = [one.forward(x, arrays, training) for one, x in zip(kernels, values, strict=True)]
        layout = self._layout  # the only dense layer reads the samples
        return values[0].unflatten(1, (layout.n_networks, layout.n_classes)).permute(1, 2, 0)

    def backward(self, grad_logits: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of all parameters to total, after `forward`; the first of several replaces it."""
        n = grad_logits.shape[2]
        last = self._groups[-1].head
        if isinstance(last, OutputHead):
            grads = last.operand_gradients(grad_logits)
        else:
            grads = [grad_logits.permute(2, 0, 1).reshape(n, -1).to(self._types.operands)]
        for group in reversed(self._groups):
            for kernels in reversed(group.kernels):
                grads = [one.backward(grad, arrays, total, first) for one, grad in zip(kernels, grads, strict=True)]
            head = group.head
            head.gradients(grads, total, first)
            if isinstance(head, DenseHead):
                before = self._groups[head.group - 1].head
                blocks = range(len(self._layout.blocks(before.group)))
                rooms = [before.room("grad", n, block) for block in blocks]
                head.propagate(grads, arrays.operands, rooms if before.group else self._by_run(rooms[0]))
                grads = rooms

    def _by_run(self, values: Tensor) -> list[Tensor]:
        """Return values of the first group as blocks of runs."""
        return [self._layout.of_run(values, run) for run in range(len(self._layout.runs))]


def _read(x: Tensor, reading: Reading) -> Tensor:
    """Return the samples of a product: (n, >= I+1), or (networks, n, >= I+1)."""
    return x if x.dim() == 2 else x[reading.orders]


def _multiply(x: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor, with_relu: bool) -> Tensor:
    """Write x @ weights + bias, of matrices or of batches of them, into out, with relu if wanted."""
    if x.dim() == 3 or out.dim() == 3:
        if bias is None:
            torch.bmm(x, weights, out=out)
        else:
            torch.baddbmm(bias, x, weights, out=out)
    elif with_relu and bias is not None:
        # PyTorch has no public function for it, and a product with relu after it goes over all values once more.
        fused: Tensor = torch._addmm_activation(bias.reshape(-1), x, weights, out=out)
        return fused
    elif bias is None:
        torch.mm(x, weights, out=out)
    else:
        torch.addmm(bias, x, weights, out=out)
    return out.clamp_(min=0) if with_relu else out
