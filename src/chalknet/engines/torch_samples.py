"""The samples of each split as the torch engine reads them.

There are three forms, from the fastest to the smallest: operands, which products read as they are;
raw samples on the device, which become operands batch by batch; and the inputs where they came from,
in memory or on disk.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chalknet.data.preprocess import Scaling, arithmetic_type
from chalknet.engines.batches import even_slices, slice_batch
from chalknet.engines.engine import Batch, SplitData
from chalknet.engines.torch_device import TensorTypes, free_bytes

# On a CPU, samples up to this size are kept as operands.
RESIDENT_BYTES = 256 * 2**20
# On a GPU, operands take at most 1/4 of the free memory, and raw samples at most 2/4.
GPU_DIVISOR = 4
# Samples that are converted to operands at a time.
SCALED_AT_ONCE = 4096
# NumPy's names of the dtypes of raw samples that torch can hold.
TORCH_TYPES = ("uint8", "int8", "int16", "int32", "int64", "float32", "float64")
# Positions in a split: a slice, or a tensor of integers on the device, (n,) or (orders, n).
Positions = Any


class SampleRows(NamedTuple):
    """Samples that pass through the network together.

    Attributes:
        x: (n, >= I+1) operands, or (orders, n, >= I+1) if networks read different batches. Column I
            is 1, and the columns after it are 0.
        transposed: (>= I+1, n) the transpose of x for the product of the backward pass, or None if
            it is not kept.
    """

    x: Tensor
    transposed: Tensor | None = None


def prepare_samples(
    splits: Mapping[str, SplitData],
    scaling: Scaling,
    types: TensorTypes,
    dtype: np.dtype[Any],
    rows: int,
    raw: Container[str] = (),
) -> dict[str, DeviceSamples]:
    """Return the samples of each split in the fastest form that there is memory for.

    Args:
        splits: samples by split name.
        scaling: from inputs to what the network reads.
        types: dtypes and device.
        dtype: float type of scaled samples.
        rows: the most samples that are read at a time.
        raw: names of the splits whose samples are not kept as operands, but raw.
    """
    operand_bytes = torch.empty(0, dtype=types.operands).element_size()
    n_bytes = sum(split.inputs.size for split in splits.values()) * operand_bytes
    raw_bytes = sum(split.inputs.size * split.inputs.dtype.itemsize for split in splits.values())
    most, most_raw = RESIDENT_BYTES, 0
    if types.device.type == "cuda":
        free = free_bytes(types.device)
        most, most_raw = free // GPU_DIVISOR, 2 * free // GPU_DIVISOR
    found = {}
    for name, split in splits.items():
        as_operands, as_raw = n_bytes <= most, raw_bytes <= most_raw
        if name in raw:
            as_operands, as_raw = False, as_raw or raw_bytes <= most
        found[name] = DeviceSamples(split, scaling, types, dtype, rows, as_operands, as_raw)
    return found


class DeviceSamples:
    """The samples of one split, in one of the forms of this module.

    Args:
        split: the samples.
        scaling: from inputs to what the network reads.
        types: dtypes and device of the operands.
        dtype: float type of scaled samples, before they become operands.
        rows: the most samples that are read at a time.
        as_operands: whether to keep all samples as operands.
        as_raw: whether to keep raw samples on the device, unless they are kept as operands.
    """

    def __init__(
        self,
        split: SplitData,
        scaling: Scaling,
        types: TensorTypes,
        dtype: np.dtype[Any],
        rows: int,
        as_operands: bool,
        as_raw: bool,
    ) -> None:
        """Convert or copy the samples, if they are kept."""
        self._inputs, self._types, self._n = split.inputs, types, len(split.labels)
        self.n_inputs: int = int(split.inputs.shape[1])
        self._columns = types.aligned(self.n_inputs + 1)
        self._kind = arithmetic_type(split.inputs.dtype, dtype)
        scale, shift = np.asarray(scaling.scale, self._kind), scaling.shift
        self._scale = torch.tensor(scale, device=types.device)
        self._shift = None if shift is None else torch.tensor(shift.astype(self._kind), device=types.device)
        self._fill = None
        if scaling.fill is not None:
            self._fill = torch.tensor(scaling.fill.astype(self._kind), device=types.device)
        self._raw = self._tensor(split.inputs[:]) if as_raw and not as_operands else None
        self._operands = self._all_operands() if as_operands else None
        self._transposed: dict[tuple[int, int], Tensor] = {}
        self._made: dict[int, Tensor] = {}
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._n

    @property
    def is_on_device(self) -> bool:
        """Whether the device holds the samples, as operands or raw."""
        return self._operands is not None or self._raw is not None

    def rows(self, where: Positions, *, backward: bool) -> SampleRows:
        """Return the samples at some positions.

        Args:
            where: positions in the split.
            backward: whether a backward pass will read the samples.
        """
        if not isinstance(where, slice) and where.dim() == 2:
            x = self.rows(where.reshape(-1), backward=False).x
            return SampleRows(x.unflatten(0, where.shape))
        if self._operands is not None:
            if not isinstance(where, slice):
                return SampleRows(self._operands.index_select(0, where)[:, : self._columns])
            return SampleRows(self._operands[where, : self._columns], self._transposed_run(where) if backward else None)
        return self.operands_of(self.scaled(self.raw(where)))

    def raw(self, where: Positions) -> Tensor:
        """Return the samples at some positions as they were read, (..., I), on the device.

        Args:
            where: positions in the split. Those of samples that are kept as operands cannot be read.
        """
        if self._raw is not None:
            return self._raw[where]
        return self._tensor(self._inputs[where if isinstance(where, slice) else where.cpu().numpy()])

    def operands_of(self, scaled: Tensor) -> SampleRows:
        """Return scaled samples (n, I) as operands; they are valid until the next call."""
        # Captured work may read the rows of an earlier call, so these are kept when more are needed.
        size = max(self._rows, len(scaled))
        if size not in self._made:
            self._made[size] = self._new_rows(size)
        x = self._made[size][: len(scaled), : self._columns]
        x[:, : self.n_inputs].copy_(scaled)
        return SampleRows(x)

    def _new_rows(self, n: int) -> Tensor:
        """Return n empty rows: inputs of 0, then a 1, then zeros up to a multiple of 16 columns.

        So each row begins at a boundary of a CPU's vectors.
        """
        width = -(-(self.n_inputs + 1) // 16) * 16
        rows = torch.zeros(n, width, dtype=self._types.operands, device=self._types.device)
        rows[:, self.n_inputs] = 1
        return rows

    def _all_operands(self) -> Tensor:
        """Return all samples as operands."""
        ready = self._new_rows(self._n)
        for rows in even_slices(self._n, SCALED_AT_ONCE):
            ready[rows, : self.n_inputs].copy_(self.scaled(self._tensor(self._inputs[rows])))
        return ready

    def _transposed_run(self, where: slice) -> Tensor | None:
        """Return the transpose of a run of samples, and keep it.

        With it, bfloat16 products of the backward pass are twice as fast on a CPU. All transposes
        together have at most as many samples as the split; mini-batches at other positions get none.
        """
        if not self._types.differ or self._types.device.type != "cpu" or self._operands is None:
            return None
        key = (where.start, where.stop)
        if key not in self._transposed:
            if sum(values.shape[1] for values in self._transposed.values()) + where.stop - where.start > self._n:
                return None
            self._transposed[key] = self._operands[where].t().contiguous()
        return self._transposed[key]

    def _tensor(self, raw: NDArray[Any]) -> Tensor:
        """Return raw samples as a tensor on the device, in their own dtype if torch has it."""
        if raw.dtype.name not in TORCH_TYPES or not raw.dtype.isnative:
            raw = raw.astype(self._kind)
        return torch.tensor(raw, device=self._types.device)

    def scaled(self, raw: Tensor) -> Tensor:
        """Return raw samples (..., I) scaled, in the dtype in which `Scaling` computes."""
        values = raw.to(self._scale.dtype, copy=True)
        if self._fill is not None:
            values = torch.where(values.isnan(), self._fill, values)
        if self._shift is not None:
            values.sub_(self._shift)
        return values.div_(self._scale)


def slice_positions(where: Positions, rows: slice) -> Positions:
    """Return the positions of some rows of a batch, or of the batches of all orders."""
    return slice_batch(where, rows) if isinstance(where, slice) else where[..., rows]


def capture_key(batch: Batch) -> Any:
    """Return what two batches must have in common to use the same captured update.

    A slice is part of the captured work, so it must be the same; positions are data, so only their
    number matters.
    """
    return (batch.start, batch.stop) if isinstance(batch, slice) else len(batch)


def stack_positions(batches: Sequence[Sequence[Batch]]) -> Tensor | None:
    """Return positions (updates, orders, n) of batches of equal sizes; None for slices."""
    if isinstance(batches[0][0], slice):
        return None
    return torch.from_numpy(np.array(batches, np.int64))
