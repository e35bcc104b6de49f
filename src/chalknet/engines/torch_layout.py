"""How the parameters and values of stacked networks are stored.

A network is a sequence of groups. A group is a layer that makes a new number of values (dense,
embedding, convolution, pooling) and the layers up to the next of these. A first group that does not
begin with a dense layer in standard parametrization begins with the samples.

- In the first group the units of all networks lie side by side in one matrix, (rows, units of all
  networks). All networks that read the same samples are then computed by one product.
- In later groups each network reads its own values. Neighboring networks of equal widths form a run,
  and each run has one block with the network as an axis, (networks, rows, units), for batched
  products. A run of one network has no such axis.
- Images lie in rows (H, W, C), channels last. No layer for images is in the first group.

`StackLayout` says where everything is, and `StackedArrays` holds the values.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.engines.parameter_layout import LayerArrays, NetworkArrays, ParameterLayout
from chalknet.engines.torch_device import TensorTypes
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture, layer_kinds
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.network.flatten import Flatten
from chalknet.network.global_average_pool import GlobalAveragePool
from chalknet.network.identity import Identity
from chalknet.network.layer import Layer, Shape
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.periodic_embedding import PeriodicEmbedding
from chalknet.network.piecewise_linear_embedding import PiecewiseLinearEmbedding


class Copy(Identity):
    """A layer of the stack alone: it begins a group with a copy of the samples, which are images."""


@dataclass(frozen=True)
class Shortcut(Identity):
    """A layer of the stack alone: the values here are added by residual connections later.

    Attributes:
        number: which shortcut of the network it is.
        is_last: whether no layer of its group follows, so that nothing overwrites the values.
    """

    number: int = 0
    is_last: bool = False


# Layers that begin a group.
SOURCES = (
    Dense,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    CategoryEmbedding,
    Conv2d,
    MaxPool2d,
    AveragePool2d,
    GlobalAveragePool,
    Copy,
)
# In place of the number of a run: the block of the first group, in which all networks lie side by
# side.
SIDE_BY_SIDE = -1
NO_ARRAYS = LayerArrays(None, None, 0)
# Rate and random stream of each dropout layer between two other layers of a network.
Dropouts = list[tuple[float, int]]


class StackedLayer(NamedTuple):
    """One layer of all networks of a stack.

    Attributes:
        layer: the specification, taken from the first network.
        place: where its parameters are in the arrays of one network.
        group: number of its group.
        masks: for dropout, the dropout layers of each network at this place; an empty list for a
            network without dropout there.
        shapes: for each run, the shape of a sample before the layer.
        shortcut: number of the shortcut that a residual connection adds.
    """

    layer: Layer
    place: LayerArrays
    group: int
    masks: list[Dropouts]
    shapes: list[Shape]
    shortcut: int | None = None


class StackedMatrix(NamedTuple):
    """The sizes of one matrix of `NetworkArrays` in each network.

    Attributes:
        group: number of the layer's group.
        rows: for each network, the number of rows.
        columns: for each network, the number of columns.
        n_weights: for each network, the number of rows that are weights.
        row_multipliers: for each network, runs of rows with their multiplier, as in
            `ParameterLayout`.
        penalty: strength of the L2 penalty on the weights of this layer alone, in every network.
        reads_samples: whether it belongs to a dense layer that reads the samples.
        is_output: whether it belongs to the last layer, and that layer does not read the samples.
    """

    group: int
    rows: list[int]
    columns: list[int]
    n_weights: list[int]
    row_multipliers: list[list[tuple[slice, float]]]
    penalty: float = 0.0
    reads_samples: bool = False
    is_output: bool = False


class StackLayout:
    """Where the parameters and values of stacked networks are.

    Args:
        architectures: one per network. They may differ in units, filters and dropout only.

    Attributes:
        layers: the layers of all networks, from the input on. Dropout of the samples is not one of
            them, because `BatchBuilder` applies it.
        widths: for each network, the number of units of each group.
        n_inputs: number of inputs, of every network.
        n_classes: number of classes, of every network.
        n_groups: number of groups, of every network.
        n_units: number of columns of the first group.
        n_between: number of the values of a sample that embeddings compute in between.
        runs: slices of neighboring networks of equal widths.
        columns: for each network, its columns in the first group.
        learned: the learned matrices, in the order of `NetworkArrays`.
        statistics: the matrices of running statistics, in the order of `NetworkArrays`.

    Raises:
        ConfigError: the layers are not the same.
    """

    def __init__(self, architectures: Sequence[Architecture]) -> None:
        """Assign places to the parameters and values of these networks."""
        stripped = [_stripped(one) for one in architectures]
        _check_layers(architectures, stripped)
        first = architectures[0]
        self.n_inputs: int = first.n_inputs
        self.n_classes: int = first.n_classes
        multiplies_samples = _multiplies_samples(stripped[0].layers[0].layer) and not any(
            0 in one.masks for one in stripped
        )
        self.widths: list[tuple[int, ...]] = [
            (() if multiplies_samples else (self.n_inputs,)) + one.source_widths for one in stripped
        ]
        self.n_groups: int = len(self.widths[0])
        self.n_units: int = sum(widths[0] for widths in self.widths)
        named_layers = [named for one in architectures for named in one.named_layers]
        self.n_between: int = sum(_n_between(named.layer, named.input_shape) for named in named_layers)
        self.runs: list[slice] = runs_of(self.widths)
        self.layers: list[StackedLayer] = _stacked_layers(stripped, self.runs)
        self.columns: list[slice] = _slices([widths[0] for widths in self.widths])
        self._places = [(run, i) for run, networks in enumerate(self.runs) for i in range(length(networks))]
        layouts = [ParameterLayout(one) for one in architectures]
        self.learned: list[StackedMatrix] = []
        self.statistics: list[StackedMatrix] = []
        for layer, place, group, *_ in self.layers:
            if place.learned is not None:
                is_dense = isinstance(layer, Dense)
                rows = [one.n_rows[place.learned] for one in layouts]
                columns = [one.n_columns[place.learned] for one in layouts]
                n_weights = [one.n_weights[place.learned] for one in layouts]
                multipliers = [one.row_multipliers[place.learned] for one in layouts]
                is_output = is_dense and group == self.n_groups - 1
                reads_samples = is_dense and group == 0
                self.learned.append(
                    StackedMatrix(
                        group,
                        rows,
                        columns,
                        n_weights,
                        multipliers,
                        layouts[0].l2[place.learned],
                        reads_samples,
                        is_output,
                    )
                )
            if place.statistics is not None:
                sizes = [one.statistics_shapes[place.statistics] for one in layouts]
                rows, columns = [n for n, _ in sizes], [n for _, n in sizes]
                self.statistics.append(StackedMatrix(group, rows, columns, [0] * len(layouts), []))

    @property
    def n_networks(self) -> int:
        """The number of networks, M."""
        return len(self.widths)

    def blocks(self, group: int) -> list[int]:
        """Return the run of each block of a group; `SIDE_BY_SIDE` for the first group."""
        return list(range(len(self.runs))) if group else [SIDE_BY_SIDE]

    def networks(self, block: int) -> slice:
        """Return the networks of a block, given by its run."""
        return slice(0, self.n_networks) if block == SIDE_BY_SIDE else self.runs[block]

    def is_batch(self, block: int) -> bool:
        """Return whether a block has the network as an axis."""
        return block != SIDE_BY_SIDE and length(self.runs[block]) > 1

    def columns_of(self, networks: slice) -> slice:
        """Return the columns of some neighboring networks in the first group."""
        return slice(self.columns[networks.start].start, self.columns[networks.stop - 1].stop)

    def run_view(self, values: Tensor, run: int) -> Tensor:
        """Return a view of a run in the first group, in the shape of its blocks in later groups.

        Args:
            values: (n, units of the first group).
            run: number of the run.
        """
        networks = self.runs[run]
        if len(self.runs) > 1:
            values = values[:, self.columns_of(networks)]
        count = length(networks)
        return values if count == 1 else values.unflatten(1, (count, -1)).transpose(0, 1)

    def network_view(self, blocks: Sequence[Any], group: int, number: int, axis: int) -> Any:
        """Return a view of the values of one network.

        Args:
            blocks: the values of a group, one array per block.
            group: number of the group.
            number: number of the network.
            axis: the axis of networks, in blocks that have one.
        """
        if not group:
            return blocks[0][:, self.columns[number]]
        run, i = self._places[number]
        return blocks[run][(slice(None),) * axis + (i,)] if self.is_batch(run) else blocks[run]


class StackedArrays:
    """The parameters of all networks of a stack, or other values of the same shapes.

    Args:
        layout: where everything is.
        types: dtypes and device.
        dtype: dtype of these arrays.
        multiplied: whether products read these arrays. Then there are copies of them if operands
            have a dtype of their own.

    Attributes:
        learned: for each learned matrix of `NetworkArrays` a list of blocks: (rows, units of all
            networks) in the first group, (rows, networks, O) or (rows, O) for each run in later
            groups. Rows come first, so that an optimizer, which takes rows, updates all networks of
            a block at once.
        statistics: the same for the matrices of running statistics.
        whole: the matrix that multiplies the samples, with rows of zeros up to the width of the
            samples, or None if the first layer is not dense.
    """

    def __init__(self, layout: StackLayout, types: TensorTypes, dtype: Any, multiplied: bool = False) -> None:
        """Allocate arrays of zeros."""
        self._layout, self._types, self._dtype = layout, types, dtype
        self._copies = StackedArrays(layout, types, types.operands) if multiplied and types.differ else None
        self.whole: Any = None
        self.learned: list[list[Any]] = [self._new_blocks(matrix) for matrix in layout.learned]
        self.statistics: list[list[Any]] = [self._new_blocks(matrix) for matrix in layout.statistics]

    @property
    def operands(self) -> StackedArrays:
        """What products read: these arrays, or copies as of the last `refresh`."""
        return self if self._copies is None else self._copies

    def refresh(self) -> None:
        """Copy the current values to the copies that products read; needed after every change."""
        if self._copies is not None:
            self._copies.copy_from(self)

    @property
    def tensors(self) -> list[Tensor]:
        """The blocks of all matrices."""
        return [block for blocks in (*self.learned, *self.statistics) for block in blocks]

    def network(self, number: int) -> NetworkArrays:
        """Return views of the matrices of one network."""
        layout = self._layout
        return NetworkArrays(
            *(
                [
                    layout.network_view(blocks, one.group, number, 1)
                    for one, blocks in zip(matrices, values, strict=True)
                ]
                for matrices, values in ((layout.learned, self.learned), (layout.statistics, self.statistics))
            )
        )

    def copy(self) -> StackedArrays:
        """Return a copy, without copies for products."""
        made = StackedArrays(self._layout, self._types, self._dtype)
        made.copy_from(self)
        return made

    def copy_from(self, other: StackedArrays) -> None:
        """Overwrite these arrays with the values of arrays of the same layout."""
        for mine, theirs in zip(self.tensors, other.tensors, strict=True):
            mine.copy_(theirs)

    def _new_blocks(self, matrix: StackedMatrix) -> list[Tensor]:
        """Return zeros for the blocks of a matrix."""
        layout, types = self._layout, self._types
        zeros = partial(torch.zeros, dtype=self._dtype, device=types.device)
        if not matrix.group:
            n_rows = types.aligned(layout.n_inputs + 1) if matrix.reads_samples else matrix.rows[0]
            whole = zeros(n_rows, layout.n_units)
            self.whole = whole if matrix.reads_samples else self.whole
            return [whole[: matrix.rows[0]]]
        made = []
        for run, networks in enumerate(layout.runs):
            n_rows, width = matrix.rows[networks.start], matrix.columns[networks.start]
            axes = [length(networks)] if layout.is_batch(run) else []
            if types.gpu_forms and matrix.is_output:
                # In memory classes come before units, as a GPU computes logits by class.
                made.append(zeros(*axes, width, types.aligned(n_rows)).movedim(-1, 0)[:n_rows])
            else:
                made.append(zeros(n_rows, *axes, width))
        return made


def runs_of(values: Sequence[Hashable]) -> list[slice]:
    """Return slices of equal neighbors, which together cover all values."""
    return _slices([len(list(equal)) for _, equal in groupby(values)])


def length(networks: slice) -> int:
    """Return the number of networks of a slice."""
    return int(networks.stop - networks.start)


def _slices(lengths: Sequence[int]) -> list[slice]:
    """Return consecutive slices of these lengths, from 0 on."""
    return [slice(a, b) for a, b in pairwise(accumulate(lengths, initial=0))]


def _check_layers(architectures: Sequence[Architecture], stripped: Sequence[_Stripped]) -> None:
    """Raise ConfigError unless all networks have the same layers."""
    kinds = {
        (layer_kinds(one), tuple(type(kept.layer) for kept in own.layers))
        for one, own in zip(architectures, stripped, strict=True)
    }
    if len(kinds) > 1:
        raise ConfigError(
            "networks of one stack must have the same layers; only units, filters and dropout may differ."
        )


def _stacked_layers(stripped: Sequence[_Stripped], runs: Sequence[slice]) -> list[StackedLayer]:
    """Return the layers of all networks, with dropout wherever at least one network has it."""
    layers: list[StackedLayer] = []
    group = -1
    for position, (layer, place, _, shortcut) in enumerate(stripped[0].layers):
        shapes = [stripped[run.start].layers[position].shape for run in runs]
        masks = [one.masks.get(position, []) for one in stripped]
        if any(masks):
            group = max(group, 0)
            layers.append(StackedLayer(Dropout(), NO_ARRAYS, group, masks, shapes))
        if isinstance(layer, SOURCES):
            group += 2 if group < 0 and not _multiplies_samples(layer) else 1
        group = max(group, 0)
        layers.append(StackedLayer(layer, place, group, [], shapes, shortcut))
    return layers


def _n_between(layer: Layer, input_shape: Shape) -> int:
    """Return the number of angles (F1) or values of bins (V1) of an embedding for one sample, 0 for other layers."""
    if isinstance(layer, PeriodicEmbedding):
        return layer.n_columns(input_shape) * layer.frequencies
    return layer.n_columns(input_shape) * layer.bins if isinstance(layer, PiecewiseLinearEmbedding) else 0


def _multiplies_samples(layer: Layer) -> bool:
    """Return whether a first layer is a product with the samples as they are stored."""
    # In NTK parametrization the column of ones would not multiply the bias by 1.
    return isinstance(layer, Dense) and not layer.is_ntk


class _Kept(NamedTuple):
    """A layer of one network that is not dropout, with the arguments of `StackedLayer` that are its own."""

    layer: Layer
    place: LayerArrays
    shape: Shape
    shortcut: int | None = None


class _Stripped(NamedTuple):
    """The layers of one network without dropout, and dropout by the index of the layer after it."""

    layers: list[_Kept]
    masks: dict[int, Dropouts]

    @property
    def source_widths(self) -> tuple[int, ...]:
        """The number of values of a sample after each layer that begins a group."""
        return tuple(
            math.prod(one.layer.output_shape(one.shape)) for one in self.layers if isinstance(one.layer, SOURCES)
        )


def _stripped(architecture: Architecture) -> _Stripped:
    """Return the layers of a network as a stack has them.

    Dropout is separate. Flattening is left out, because images are rows already. There is a layer where
    a shortcut begins, and one that copies images if no other layer begins a group with them.

    Raises:
        ConfigError: a shortcut begins before dropout of the samples, which are never without it here.
    """
    kept: list[_Kept] = []
    masks: dict[int, Dropouts] = {}
    named_layers = architecture.named_layers
    begins = sorted({one.shortcut for one in named_layers if one.shortcut is not None})
    for position, (named, place) in enumerate(zip(named_layers, ParameterLayout(architecture).layers, strict=True)):
        layer, shape = named.layer, named.input_shape
        if position in begins:
            if not position and isinstance(layer, Dropout) and layer.rate:
                raise ConfigError("the torch engine has no residual connections around dropout of the inputs.")
            is_last = isinstance(layer, SOURCES) or (not position and architecture.reads_images)
            kept.append(_Kept(Shortcut(begins.index(position), is_last), NO_ARRAYS, shape))
        if isinstance(layer, Dropout):
            if position and layer.rate:
                masks.setdefault(len(kept), []).append((layer.rate, named.stream))
        elif not isinstance(layer, Flatten):
            if (
                architecture.reads_images
                and not isinstance(layer, SOURCES)
                and all(isinstance(one.layer, Shortcut) for one in kept)
            ):
                kept.append(_Kept(Copy(), NO_ARRAYS, shape))
            kept.append(_Kept(layer, place, shape, None if named.shortcut is None else begins.index(named.shortcut)))
    return _Stripped(kept, masks)
