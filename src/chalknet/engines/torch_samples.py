"""The samples of each split as torch reads them: as operands, raw on the device, or where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chalknet.data.preprocess import Scaling, arithmetic_type
from chalknet.engines.batches import even_cuts, part_of_batch
from chalknet.engines.engine import Batch, SplitData
from chalknet.engines.torch_device import TensorTypes, free_bytes

RESIDENT_BYTES = 256 * 2**20  # samples up to this size are kept in memory as operands
GPU_SHARE = 4  # on a GPU operands take at most 1/4 of the free memory, and raw samples at most 2/4
SCALED_AT_ONCE = 4096  # samples that become operands at a time
TORCH_TYPES = ("uint8", "int8", "int16", "int32", "int64", "float32", "float64")  # of raw samples, as NumPy names them
Positions = Any  # in a split: a slice, or a tensor of integers on the device, (n,) or (orders, n)


class SampleRows(NamedTuple):
    """Samples that pass through the network together.

    Attributes:
        x: (n, >= I+1) operands, or (orders, n, >= I+1) where networks read unlike batches. Column I is 1, and the
            columns after it are 0.
        across: (>= I+1, n), the same with samples along the second axis, where it is kept; the product of the backward
            pass reads it. Otherwise None.
    """

    x: Tensor
    across: Tensor | None = None


def held_samples(
    splits: Mapping[str, SplitData], scaling: Scaling, types: TensorTypes, dtype: np.dtype[Any], rows: int
) -> dict[str, Samples]:
    """Return the samples of every split in the best form that there is memory for; arguments as of `Samples`."""
    operand_bytes = torch.empty(0, dtype=types.operands).element_size()
    n_bytes = sum(part.inputs.size for part in splits.values()) * operand_bytes
    raw_bytes = sum(part.inputs.size * part.inputs.dtype.itemsize for part in splits.values())
    most, most_raw = RESIDENT_BYTES, 0
    if types.device.type == "cuda":
        free = free_bytes(types.device)
        most, most_raw = free // GPU_SHARE, 2 * free // GPU_SHARE
    return {
        name: Samples(part, scaling, types, dtype, rows, n_bytes <= most, raw_bytes <= most_raw)
        for name, part in splits.items()
    }


class Samples:
    """The samples of one split: operands if there is memory for them, or raw on the device, or where they came from.

    Args:
        part: the split.
        scaling: from raw inputs to what the network reads.
        types, dtype: of the operands, and of the scaled samples that they are made from.
        rows: the most samples at a time.
        as_operands, as_raw: what there is memory for.
    """

    def __init__(
        self,
        part: SplitData,
        scaling: Scaling,
        types: TensorTypes,
        dtype: np.dtype[Any],
        rows: int,
        as_operands: bool,
        as_raw: bool,
    ) -> None:
        self._inputs, self._types, self._n = part.inputs, types, len(part.labels)
        self.n_inputs = int(part.inputs.shape[1])
        self._columns = types.aligned(self.n_inputs + 1)
        self._kind = arithmetic_type(part.inputs.dtype, dtype)
        scale, shift = np.asarray(scaling.scale, self._kind), scaling.shift
        self._scale = torch.tensor(scale, device=types.device)
        self._shift = None if shift is None else torch.tensor(shift.astype(self._kind), device=types.device)
        self._raw = self._tensor(part.inputs[:]) if as_raw and not as_operands else None
        self._ready = self._all_ready() if as_operands else None
        self._across: dict[tuple[int, int], Tensor] = {}
        self._made: Any = None
        self._rows = rows

    def __len__(self) -> int:
        return self._n

    @property
    def is_held(self) -> bool:
        """Whether the device holds them, as operands or raw."""
        return self._ready is not None or self._raw is not None

    def rows(self, where: Positions, *, backward: bool) -> SampleRows:
        """Return the samples at some positions.

        Args:
            backward: whether a backward pass will read them.
        """
        if not isinstance(where, slice) and where.dim() == 2:
            x = self.rows(where.reshape(-1), backward=False).x
            return SampleRows(x.unflatten(0, where.shape))
        if self._ready is not None:
            if not isinstance(where, slice):
                return SampleRows(self._ready.index_select(0, where)[:, : self._columns])
            return SampleRows(self._ready[where, : self._columns], self._across_of(where) if backward else None)
        if self._raw is not None:
            return self.operands_of(self._scaled(self._raw[where]))
        raw = self._inputs[where if isinstance(where, slice) else where.cpu().numpy()]
        return self.operands_of(self._scaled(self._tensor(raw)))

    def operands_of(self, scaled: Tensor) -> SampleRows:
        """Return scaled samples (n, I) as operands with the column of ones."""
        if self._made is None or len(self._made) < len(scaled):
            self._made = self._new_rows(max(self._rows, len(scaled)))
        x = self._made[: len(scaled), : self._columns]
        x[:, : self.n_inputs].copy_(scaled)
        return SampleRows(x)

    def _new_rows(self, n: int) -> Tensor:
        """Return rows that begin where a processor's vectors do: a one after the inputs, then zeros."""
        width = -(-(self.n_inputs + 1) // 16) * 16
        rows = torch.zeros(n, width, dtype=self._types.operands, device=self._types.device)
        rows[:, self.n_inputs] = 1
        return rows

    def _all_ready(self) -> Tensor:
        ready = self._new_rows(self._n)
        for rows in even_cuts(self._n, SCALED_AT_ONCE):
            ready[rows, : self.n_inputs].copy_(self._scaled(self._tensor(self._inputs[rows])))
        return ready

    def _across_of(self, where: slice) -> Tensor | None:
        """Return a run of samples along the second axis, and keep it.

        With these, bfloat16 products of the backward pass are twice as fast on processors.
        """
        if not self._types.differ or self._types.device.type != "cpu" or self._ready is None:
            return None
        key = (where.start, where.stop)
        if key not in self._across:
            if sum(values.shape[1] for values in self._across.values()) + where.stop - where.start > self._n:
                return None
            self._across[key] = self._ready[where].t().contiguous()
        return self._across[key]

    def _tensor(self, raw: NDArray[Any]) -> Tensor:
        if raw.dtype.name not in TORCH_TYPES or not raw.dtype.isnative:
            raw = raw.astype(self._kind)
        return torch.tensor(raw, device=self._types.device)

    def _scaled(self, raw: Tensor) -> Tensor:
        """Return raw samples as `Scaling` scales them, in the dtype that it computes in."""
        values = raw.to(self._scale.dtype, copy=True)
        if self._shift is not None:
            values.sub_(self._shift)
        return values.div_(self._scale)


def some_of(where: Positions, rows: slice) -> Positions:
    """Return the positions of some rows of an update's batches."""
    return part_of_batch(where, rows) if isinstance(where, slice) else where[..., rows]


def kind_of_batch(batch: Batch) -> Any:
    """Return what the batches of updates must have in common to be one recorded step."""
    return (batch.start, batch.stop) if isinstance(batch, slice) else len(batch)


def positions_of(batches: Sequence[Sequence[Batch]]) -> Tensor | None:
    """Return (updates, orders, n) positions of batches of equal sizes, or None where they are runs of samples."""
    if isinstance(batches[0][0], slice):
        return None
    return torch.from_numpy(np.array(batches, np.int64))
