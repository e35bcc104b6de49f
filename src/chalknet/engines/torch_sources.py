"""The source kernels of the torch engine, which write the values of a group, and their buffers.

Networks that read the same batch share one product of the first group, and others get one batched
product for each run of equal widths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.engines.kernels import T, registered
from chalknet.engines.torch_device import TensorTypes
from chalknet.engines.torch_kernels import NARROW, add_or_copy, product
from chalknet.engines.torch_layout import StackedArrays, StackedLayer, StackLayout, length, runs_of
from chalknet.engines.torch_samples import SampleRows
from chalknet.network.category_embedding import CategoryEmbedding, group_places, kept_inputs
from chalknet.network.column_embedding import ColumnEmbedding
from chalknet.network.dense import Dense
from chalknet.network.layer import Layer, Shape
from chalknet.network.periodic_embedding import PeriodicEmbedding
from chalknet.network.piecewise_linear_embedding import PiecewiseLinearEmbedding

# If so many networks on average read the same batch, each batch gets a product of its own. One
# batched product would need a copy of the samples for each network.
NETWORKS_PER_PRODUCT = 4
# Values of a large product on a CPU that are computed and added at a time.
PRODUCT_VALUES = 2**20


class InputProduct(NamedTuple):
    """One product of samples and the weights of first layers.

    Attributes:
        columns: the columns of the first group that it computes.
        run: the run that it computes as a batched product, or None for one plain product of all these
            columns.
        orders: the number of the order whose batch it reads, or those of all networks of the run.
    """

    columns: slice
    run: int | None
    orders: Any


def shared_input_product(layout: StackLayout) -> list[InputProduct]:
    """Return the product for samples that all networks read: one for all columns."""
    return [InputProduct(slice(0, layout.n_units), None, 0)]


def plan_input_products(layout: StackLayout, orders: Sequence[int], device: Any) -> list[InputProduct]:
    """Return the products of first layers, as few as possible.

    Args:
        layout: the networks.
        orders: for each network, the number of the order of its batches.
        device: where indexes are needed.
    """
    groups = runs_of(orders)
    if len(groups) <= max(len(layout.runs), len(orders) // NETWORKS_PER_PRODUCT):
        return [InputProduct(layout.columns_of(group), None, orders[group.start]) for group in groups]
    found = []
    for run, networks in enumerate(layout.runs):
        wanted, start, columns = list(orders[networks]), orders[networks.start], layout.columns_of(networks)
        if len(wanted) == 1:
            found.append(InputProduct(columns, None, start))
            continue
        are_neighbors = wanted == list(range(start, start + len(wanted)))
        which: Any = slice(start, start + len(wanted)) if are_neighbors else torch.tensor(wanted, device=device)
        found.append(InputProduct(columns, run, which))
    return found


class Buffers:
    """Buffers of operands, each allocated once for the largest number of rows.

    Captured work reads and writes the same addresses in every replay, so no buffer may move. For more
    rows than planned, as in a large batch with batch normalization, a second buffer is allocated.

    Args:
        rows: the most samples at a time.
        types: dtypes and device.
    """

    def __init__(self, rows: int, types: TensorTypes) -> None:
        """Create a set without buffers."""
        self.types: TensorTypes = types
        self._rows = rows
        self._made: dict[Any, Tensor] = {}
        self._views: dict[Any, Tensor] = {}

    def __call__(self, key: Any, n: int, width: int, count: int = 1) -> Tensor:
        """Return a buffer (n, width), or (count, n, width) if count > 1, by its key."""
        view = self._views.get((key, n))
        if view is None:
            kept = key if n <= self._rows else (key, n)
            values = self._empty(kept, max(n, self._rows) * width * count)[: n * width * count]
            view = self._views[key, n] = values.view(n, width) if count == 1 else values.view(count, n, width)
        return view

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the product of two matrices in a buffer of a multiple of 16 rows."""
        n_rows, width = len(left), right.shape[1]
        out = self._empty(("product", n_rows, width), -(-n_rows // 16) * 16 * width)[: n_rows * width]
        return torch.mm(left, right, out=out.view(n_rows, width))

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors of all buffers."""
        return list(self._made.values())

    def _empty(self, key: Any, size: int) -> Tensor:
        """Return the tensor of a key; the first call allocates it."""
        if key not in self._made:
            self._made[key] = torch.empty(size, dtype=self.types.operands, device=self.types.device)
        return self._made[key]


def add_product(total: Tensor, left: Tensor, right: Tensor, first: bool, buffers: Buffers, factor: float = 1.0) -> None:
    """Add left @ right, times a factor, to total, for matrices or batches of matrices.

    Args:
        total: the sum, in the dtype of weights.
        left: operands. If they have a dtype of their own, there may be more rows than in total; the
            rest is not added.
        right: operands.
        first: whether this is the first product, which replaces total.
        buffers: where a product is kept before it is added.
        factor: factor of the product.
    """
    types, n_rows = buffers.types, total.shape[-2]
    if not types.differ:
        work = torch.baddbmm if left.dim() == 3 else torch.addmm
        work(total, left, right, beta=0 if first else 1, alpha=factor, out=total)
        return
    if right.shape[-1] <= NARROW:  # a narrow product is faster transposed
        value = product(right.transpose(-1, -2), left.transpose(-1, -2), total.dtype)
        value = value.transpose(-1, -2)[..., :n_rows, :]
    elif types.gpu_forms or left.dim() == 3:
        value = product(left, right, total.dtype)
    else:
        # In pieces that are still in the cache when they are added. Multiples of 16 rows are fast.
        at_once = max(16, PRODUCT_VALUES // right.shape[1] // 16 * 16)
        for start in range(0, n_rows, at_once):
            out, value = total[start : start + at_once], buffers.product(left[start : start + at_once], right)
            add_or_copy(out, value[: len(out)] if factor == 1 else value[: len(out)] * factor, first)
        return
    add_or_copy(total, value if factor == 1 else value * factor, first)


class SourceKernel:
    """The first kernel of a group, which writes the group's values.

    This base class copies the samples, for a first group that does not begin with a dense layer.

    Args:
        layer: the dense layer, or any layer of the first group if it begins with the samples.
        layout: where everything is.
        buffers: the buffers of all groups.

    Attributes:
        applies_relu: whether it computes the relu that follows it.
        rows: the samples that the source of the first group reads.
        input_products: the products by which it reads them.
    """

    applies_relu = False
    rows: SampleRows
    input_products: Sequence[InputProduct]

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        """Create the source of a group."""
        self.group: int = layer.group
        self.layout: StackLayout = layout
        self.buffers: Buffers = buffers
        self.index: int = layer.place.learned or 0
        self.has_bias: bool = isinstance(layer.layer, Dense) and layer.layer.bias
        self._layer = layer.layer

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the values of each block."""
        del arrays
        x, n_inputs = self.rows.x[..., : self.layout.n_inputs], self.layout.n_inputs
        values = self.buffer("value", x.shape[-2], 0)
        for input_product in self.input_products:
            by_network = values[:, input_product.columns].unflatten(1, (-1, n_inputs)).transpose(0, 1)
            by_network.copy_(_read(x, input_product))
        return [values]

    def gradients(self, grads: Sequence[Tensor], arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of the parameters to total, given those of the values.

        The first tile replaces it.
        """

    def buffer(self, kind: str, n: int, block: int) -> Tensor:
        """Return the buffer for the values of a block, or for their gradient, by kind."""
        networks, widths = self.layout.networks(block), self.layout.widths
        if not self.group:
            return self.buffers((kind, 0), n, self.layout.n_units)
        return self.buffers((kind, self.group, block), n, widths[networks.start][self.group], length(networks))


class InputDenseKernel(SourceKernel):
    """A dense layer that reads the samples. Their column of ones multiplies the bias (A1)."""

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        """Create the source of the first group."""
        super().__init__(layer, layout, buffers)
        self._no_bias = torch.zeros(layout.n_units, dtype=buffers.types.operands, device=buffers.types.device)

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the values of all networks, side by side."""
        rows, input_products = self.rows, self.input_products
        values, whole = self.buffer("value", rows.x.shape[-2], 0), arrays.operands.whole
        if len(input_products) == 1 and input_products[0].run is None:
            x = _read(rows.x, input_products[0])
            bias = self._no_bias if self.applies_relu else None
            return [_multiply(x, whole, bias, values, self.applies_relu)]
        for input_product in input_products:
            columns, run = input_product.columns, input_product.run
            left, out = whole[:, columns], values[:, columns]
            if run is not None:
                left, out = self.layout.run_view(whole, run), self.layout.run_view(values, run)
            _multiply(_read(rows.x, input_product), left, None, out, False)
        return [values.clamp_(min=0) if self.applies_relu else values]

    def gradients(self, grads: Sequence[Tensor], arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of weights (A3) and biases (A4) to total.

        Rows of the whole matrix beyond those of the parameters get values that no update reads.
        """
        del arrays
        whole, grad, rows = total.whole, grads[0], self.rows
        for input_product in self.input_products:
            columns, run = input_product.columns, input_product.run
            left = _read(rows.x, input_product).transpose(-1, -2) if rows.transposed is None else rows.transposed
            if run is not None:
                out, right = self.layout.run_view(whole, run), self.layout.run_view(grad, run)
            elif len(self.input_products) == 1:
                out, right = whole, grad
            else:
                out, right = whole[:, columns], grad[:, columns]
            add_product(out, left, right, first, self.buffers)


class LaterSourceKernel(SourceKernel):
    """The source of a later group, which reads the values of the previous group.

    Attributes:
        inputs: these values, one tensor per run.
    """

    inputs: list[Tensor]

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        """Create the source of a later group."""
        super().__init__(layer, layout, buffers)
        self.shapes: list[Shape] = layer.shapes

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the gradients of the inputs, after `gradients`; they may be written to out."""
        raise NotImplementedError


SOURCE_KERNELS: dict[type[Layer], type[LaterSourceKernel]] = {}


def source_of(layer: type[Layer]) -> Callable[[T], T]:
    """Return a decorator that registers the source kernel of a layer type."""
    return registered(SOURCE_KERNELS, layer)


class NumberEmbeddingKernel(LaterSourceKernel):
    """An embedding of each of the first columns, after the input itself, computed in the dtype of weights."""

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        """Create the source of a group."""
        super().__init__(layer, layout, buffers)
        assert isinstance(layer.layer, ColumnEmbedding)
        self._embedding: Any = layer.layer
        columns = layout.learned[self.index].columns
        self._n_columns = [columns[networks.start] for networks in layout.runs]  # C of each run

    def _columns(self, block: int) -> Tensor:
        """Return the embedded inputs of a run, (..., C, 1, n)."""
        first = self.inputs[block][..., : self._n_columns[block]]
        return first.to(self.buffers.types.values).transpose(-1, -2).unsqueeze(-2)

    def _written(self, block: int, embedded: Tensor) -> Tensor:
        """Return the values of a run: its inputs and embeddings (..., C, J, n)."""
        inputs = self.inputs[block]
        out = self.buffer("value", inputs.shape[-2], block)
        out[..., : inputs.shape[-1]].copy_(inputs)
        self._by_output(out, block).copy_(embedded)
        return out

    def _by_output(self, values: Tensor, block: int) -> Tensor:
        """Return a view (..., C, J, n) of the embeddings in the values of a run, (..., n, width)."""
        shape = self._n_columns[block], self._embedding.outputs
        embedded = values[..., values.shape[-1] - math.prod(shape) :]
        return embedded.unflatten(-1, shape).movedim(-3, -1)


@source_of(PeriodicEmbedding)
class PeriodicEmbeddingKernel(NumberEmbeddingKernel):
    """A periodic embedding (F1 to F6)."""

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the inputs and the embeddings of each run (F1, F2)."""
        values = []
        # For each run the inputs (..., C, 1, n); the angles (..., C, K, n), and after `gradients`
        # their gradients; and the cosines.
        self._x: list[Tensor] = []
        self._angles: list[Tensor] = []
        self._cosines: list[Tensor] = []
        for block in range(len(self.inputs)):
            weight, frequency, phase, bias = self._parameters(arrays, block)
            x = self._columns(block)
            angles = (2 * math.pi * frequency.unsqueeze(-1)) * x + phase.unsqueeze(-1)
            cosines = torch.cos(angles)
            self._x.append(x)
            self._angles.append(angles)
            self._cosines.append(cosines)
            values.append(self._written(block, torch.matmul(weight, cosines).add_(bias.unsqueeze(-1))))
        return values

    def gradients(self, grads: Sequence[Tensor], arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of all parameters (F3 to F5) to total, and keep those of the angles."""
        for block, both in enumerate(grads):
            weight, *_ = self._parameters(arrays, block)
            grad, angles = self._by_output(both, block).to(self.buffers.types.values), self._angles[block]
            grad_weight = torch.matmul(grad, self._cosines[block].transpose(-1, -2))
            angles.sin_().neg_().mul_(torch.matmul(weight.transpose(-1, -2), grad))
            grad_frequency = 2 * math.pi * (angles * self._x[block]).sum(-1)
            parts = [grad_weight.flatten(-2), grad_frequency, angles.sum(-1), grad.sum(-1)]
            rows = torch.cat(parts, -1).movedim(-1, 0)  # as in storage, where parameters are rows
            add_or_copy(total.learned[self.index][block], rows, first)

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Write the gradients of the inputs (F6) to out."""
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            frequency = 2 * math.pi * self._parameters(arrays, block)[1].unsqueeze(-2)
            one.copy_(grad[..., : one.shape[-1]])
            through = torch.matmul(frequency, self._angles[block]).squeeze(-2)
            one[..., : self._n_columns[block]].add_(through.transpose(-1, -2))
        return out

    def _parameters(self, arrays: StackedArrays, block: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return weight (..., C, J, K), frequency and phase (..., C, K), and bias (..., C, J)."""
        j, k = self._embedding.outputs, self._embedding.frequencies
        by_column = arrays.learned[self.index][block].movedim(0, -1)
        weight, frequency, phase, bias = by_column.split([j * k, k, k, j], -1)
        return weight.unflatten(-1, (j, k)), frequency, phase, bias


@source_of(PiecewiseLinearEmbedding)
class PiecewiseLinearEmbeddingKernel(NumberEmbeddingKernel):
    """A piecewise-linear embedding (V1 to V5)."""

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        """Create the source of a group."""
        super().__init__(layer, layout, buffers)
        assert layer.place.statistics is not None
        self._statistics = layer.place.statistics

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the inputs and the embeddings of each run (V1 to V3)."""
        values = []
        # For each run the inputs (..., C, 1, n), the encodings (..., C, T, n) and their gradients.
        self._x: list[Tensor] = []
        self._encoded: list[Tensor] = []
        self._grads: list[Tensor] = []
        for block in range(len(self.inputs)):
            (weight, bias), edges, x = self._parameters(arrays, block), self._edges(arrays, block), self._columns(block)
            encoded = (x - edges[..., :-1, :]) / (edges[..., 1:, :] - edges[..., :-1, :])
            encoded[..., 1:, :].clamp_(min=0)
            encoded[..., :-1, :].clamp_(max=1)
            self._x.append(x)
            self._encoded.append(encoded)
            values.append(self._written(block, torch.matmul(weight, encoded).add_(bias.unsqueeze(-1))))
        return values

    def gradients(self, grads: Sequence[Tensor], arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of weight and bias (V4) to total, and keep those of the encodings."""
        for block, both in enumerate(grads):
            grad = self._by_output(both, block).to(self.buffers.types.values)
            grad_weight = torch.matmul(grad, self._encoded[block].transpose(-1, -2))
            rows = torch.cat([grad_weight.flatten(-2), grad.sum(-1)], -1).movedim(-1, 0)
            add_or_copy(total.learned[self.index][block], rows, first)
            self._grads.append(torch.matmul(self._parameters(arrays, block)[0].transpose(-1, -2), grad))

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Write the gradients of the inputs (V5) to out."""
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            edges, grad_encoded = self._edges(arrays, block), self._grads[block]
            one.copy_(grad[..., : one.shape[-1]])
            own = (self._x[block] >= edges[..., 1:-1, :]).sum(-2, keepdim=True)  # the bin of each x
            slopes = grad_encoded / (edges[..., 1:, :] - edges[..., :-1, :])
            one[..., : self._n_columns[block]].add_(slopes.gather(-2, own).squeeze(-2).transpose(-1, -2))
        return out

    def _parameters(self, arrays: StackedArrays, block: int) -> tuple[Tensor, Tensor]:
        """Return weight (..., C, J, T) and bias (..., C, J)."""
        j, n_bins = self._embedding.outputs, self._embedding.bins
        weight, bias = arrays.learned[self.index][block].movedim(0, -1).split([j * n_bins, j], -1)
        return weight.unflatten(-1, (j, n_bins)), bias

    def _edges(self, arrays: StackedArrays, block: int) -> Tensor:
        """Return the edges, (..., C, T + 1, 1)."""
        return arrays.statistics[self._statistics][block].movedim(0, -1).unsqueeze(-1)


@source_of(CategoryEmbedding)
class CategoryEmbeddingKernel(LaterSourceKernel):
    """An embedding of categories (Z1 to Z3): a small product for each group of inputs.

    Products need no position of a category, so captured work never depends on the samples.
    """

    def __init__(self, layer: StackedLayer, layout: StackLayout, buffers: Buffers) -> None:
        """Create the source of a group."""
        super().__init__(layer, layout, buffers)
        assert isinstance(layer.layer, CategoryEmbedding)
        groups, outputs = layer.layer.groups, layer.layer.outputs
        self._kept = [kept_inputs(groups, shape[0]) for shape in layer.shapes]  # for each run
        self._places = [list(group_places(groups, shape[0], outputs)) for shape in layer.shapes]

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the inputs that are in no group, and the vectors of the others, of each run (Z1)."""
        values = []
        for block, x in enumerate(self.inputs):
            out, weight = self.buffer("value", x.shape[-2], block), self._weight(arrays.operands, block)
            for source, target in self._kept[block]:
                out[..., target].copy_(x[..., source])
            for inputs, weights, outputs in self._places[block]:
                out[..., outputs].copy_(torch.matmul(x[..., inputs], weight[..., weights, :]))
            values.append(out)
        return values

    def gradients(self, grads: Sequence[Tensor], arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradient of the weight (Z2) to total."""
        del arrays
        for block, (x, grad) in enumerate(zip(self.inputs, grads, strict=True)):
            room = self._weight(total, block)
            for inputs, weights, outputs in self._places[block]:
                value = product(x[..., inputs].transpose(-1, -2), grad[..., outputs], self.buffers.types.values)
                add_or_copy(room[..., weights, :], value, first)

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Write the gradients of the inputs (Z3) to out."""
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            weight = self._weight(arrays.operands, block).transpose(-1, -2)
            for source, target in self._kept[block]:
                one[..., source].copy_(grad[..., target])
            for inputs, weights, outputs in self._places[block]:
                one[..., inputs].copy_(torch.matmul(grad[..., outputs], weight[..., weights]))
        return out

    def _weight(self, arrays: StackedArrays, block: int) -> Tensor:
        """Return the weight of a run, (..., S, J)."""
        matrix = arrays.learned[self.index][block]
        return matrix.transpose(0, 1) if matrix.dim() == 3 else matrix


@source_of(Dense)
class DenseKernel(LaterSourceKernel):
    """A dense layer that reads the values of the previous group."""

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the values of each run (A1)."""
        values, operands = [], arrays.operands
        for block, x in enumerate(self.inputs):
            weights, bias = self._parameters(operands, block)
            out = self.buffer("value", x.shape[-2], block)
            values.append(_multiply(x, weights, bias, out, self.applies_relu, self._factor(block)))
        return values

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Write the gradients of the inputs (A2) to out."""
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            weights = self._parameters(arrays.operands, block)[0].transpose(-1, -2)
            _multiply(grad, weights, None, one, False, self._factor(block))
        return out

    def gradients(self, grads: Sequence[Tensor], arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of weights (A3) and biases (A4) to total."""
        del arrays
        for block, (x, grad) in enumerate(zip(self.inputs, grads, strict=True)):
            weights, _ = self._parameters(total, block)
            add_product(weights, x.transpose(-1, -2), grad, first, self.buffers, self._factor(block))
        if self.has_bias:
            for block, grad in enumerate(self._bias_gradients(grads)):
                add_or_copy(total.learned[self.index][block][-1], grad, first)

    def _factor(self, block: int) -> float:
        """Return the factor of the products of a run (A5)."""
        assert isinstance(self._layer, Dense)
        return self._layer.factor(self.inputs[block].shape[-1])

    def _bias_gradients(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of the gradients over the samples, one tensor per run."""
        # A product with ones is the fastest sum over rows.
        ones = (grad.new_ones(*grad.shape[:-2], 1, grad.shape[-2]) for grad in grads)
        values = self.buffers.types.values
        return [product(row, grad, values).squeeze(-2) for row, grad in zip(ones, grads, strict=True)]

    def _parameters(self, arrays: StackedArrays, block: int) -> tuple[Tensor, Tensor | None]:
        """Return the weights (..., F, O) and the bias (..., 1, O) of a block.

        Without a bias, the second is None.
        """
        matrix = arrays.learned[self.index][block]
        if matrix.dim() == 3:
            matrix = matrix.transpose(0, 1)
        return (matrix[..., :-1, :], matrix[..., -1:, :]) if self.has_bias else (matrix, None)


class OutputKernel(DenseKernel):
    """The last dense layer, whose values are the logits.

    On a GPU they are computed by class, (M, K, n).
    """

    def logits(self, arrays: StackedArrays) -> Tensor:
        """Return the logits of all networks, (M, K, n)."""
        operands = arrays.operands
        n, n_networks, n_classes = self.inputs[0].shape[-2], self.layout.n_networks, self.layout.n_classes
        if not self.buffers.types.gpu_forms:
            values = self.buffers(("value", self.group), n, n_classes, n_networks).view(n_networks, n, n_classes)
            for block, x in enumerate(self.inputs):
                weights, bias = self._parameters(operands, block)
                _multiply(x, weights, bias, self._of_block(values, block), False, self._factor(block))
            return values.transpose(1, 2)
        dtype = self.buffers.types.values
        logits = self.inputs[0].new_empty(n_networks, n_classes, n, dtype=dtype)
        for block, x in enumerate(self.inputs):
            weights, bias = self._parameters(operands, block)
            assert bias is not None
            value = product(weights.transpose(-1, -2), x.transpose(-1, -2), dtype)
            out = self._of_block(logits, block)
            torch.add(bias.transpose(-1, -2), value, alpha=self._factor(block), out=out)
        return logits

    def operand_gradients(self, grad_logits: Tensor) -> list[Tensor]:
        """Return the gradient of the logits (M, K, n) as operands, (..., n, K) for each run."""
        types, self._grad_logits = self.buffers.types, grad_logits
        if types.gpu_forms:
            grad = grad_logits.to(types.operands).transpose(1, 2)
        else:
            grad = grad_logits.transpose(1, 2).to(types.operands, memory_format=torch.contiguous_format)
        return [self._of_block(grad, block) for block in range(len(self.layout.runs))]

    def _bias_gradients(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums over the samples, in the dtype of weights."""
        sums = self._grad_logits.sum(-1)
        return [self._of_block(sums, block) for block in range(len(grads))]

    def _of_block(self, values: Tensor, block: int) -> Tensor:
        """Return a view of the networks of a run in values (M, ...)."""
        networks = self.layout.runs[block]
        return values[networks] if length(networks) > 1 else values[networks.start]


def _read(x: Tensor, input_product: InputProduct) -> Tensor:
    """Return the samples of a product: (n, >= I+1), or (networks, n, >= I+1)."""
    return x if x.dim() == 2 else x[input_product.orders]


def _multiply(
    x: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor, with_relu: bool, factor: float = 1.0
) -> Tensor:
    """Write factor x @ weights + bias, with relu if asked, to out; for matrices or batches of them."""
    if x.dim() == 3 or out.dim() == 3:
        if bias is None:
            torch.bmm(x, weights, out=out)
        else:
            torch.baddbmm(bias, x, weights, alpha=factor, out=out)
    elif with_relu and bias is not None:
        # PyTorch has no public function for a product with relu. A relu of its own would be one
        # more pass over all values.
        fused: Tensor = torch._addmm_activation(bias.reshape(-1), x, weights, alpha=factor, out=out)
        return fused
    elif bias is None:
        torch.mm(x, weights, out=out)
    else:
        torch.addmm(bias, x, weights, alpha=factor, out=out)
    if bias is None and factor != 1:
        out.mul_(factor)
    return out.clamp_(min=0) if with_relu else out
