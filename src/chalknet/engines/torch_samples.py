"""The samples of each part as torch reads them: as operands, or raw on the device, or where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chalknet.data.preprocess import Scaling, arithmetic_type
from chalknet.engines.batches import even_cuts
from chalknet.engines.engine import Batch, Part, Update
from chalknet.engines.torch_device import free_bytes
from chalknet.engines.torch_tile import Rows, Types

RESIDENT_BYTES = 256 * 2**20  # samples up to this size as operands are kept so in memory,
GPU_SHARE = 4  # on a GPU up to one part in so many of what is free, and raw samples up to twice as much
SCALED_AT_ONCE = 4096  # samples that are made operands at a time
TORCH_TYPES = ("uint8", "int8", "int16", "int32", "int64", "float32", "float64")  # of raw samples, as NumPy names them
Where = Any  # positions in a part: a slice, or a tensor of whole numbers on the device


def held_samples(
    parts: Mapping[str, Part], scaling: Scaling, types: Types, dtype: np.dtype[Any], rows: int
) -> dict[str, Samples]:
    """Every part in the best form that there is room for; the other arguments as of `Samples`."""
    operand_bytes = torch.empty(0, dtype=types.operands).element_size()
    n_bytes = sum(part.inputs.size for part in parts.values()) * operand_bytes
    raw_bytes = sum(part.inputs.size * part.inputs.dtype.itemsize for part in parts.values())
    room, raw_room = RESIDENT_BYTES, 0
    if types.device.type == "cuda":
        free = free_bytes(types.device)
        room, raw_room = free // GPU_SHARE, 2 * free // GPU_SHARE
    return {
        name: Samples(part, scaling, types, dtype, rows, n_bytes <= room, raw_bytes <= raw_room)
        for name, part in parts.items()
    }


class Samples:
    """One part's samples: as operands where there is room, or raw on the device, or where they came from.

    Args:
        part: the samples. scaling: from raw inputs to what the network reads. types, dtype: of what is made.
        rows: the most samples at a time.
        as_operands, as_raw: what there is room for.
    """

    def __init__(
        self,
        part: Part,
        scaling: Scaling,
        types: Types,
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
        """Whether the device holds them, in one form or the other."""
        return self._ready is not None or self._raw is not None

    def rows(self, where: Where, back: bool = True) -> Rows:
        """The samples at some positions; back says that the product back will read them."""
        if self._ready is not None:
            x = self._ready[where][:, : self._columns]
            return Rows(x, self._across_of(where) if back and isinstance(where, slice) else None)
        if self._raw is not None:
            return self.operands_of(self._scaled(self._raw[where]))
        raw = self._inputs[where if isinstance(where, slice) else where.cpu().numpy()]
        return self.operands_of(self._scaled(self._tensor(raw)))

    def operands_of(self, scaled: Tensor) -> Rows:
        """Scaled samples (n, I) with the column of ones."""
        if self._made is None or len(self._made) < len(scaled):
            self._made = self._room(max(self._rows, len(scaled)))
        x = self._made[: len(scaled), : self._columns]
        x[:, : self.n_inputs].copy_(scaled)
        return Rows(x)

    def _room(self, n: int) -> Tensor:
        """Rows that begin where a processor's vectors do: ones after the inputs, then zeros."""
        room = torch.zeros(n, -(-(self.n_inputs + 1) // 16) * 16, dtype=self._types.operands, device=self._types.device)
        room[:, self.n_inputs] = 1
        return room

    def _all_ready(self) -> Tensor:
        ready = self._room(self._n)
        for rows in even_cuts(self._n, SCALED_AT_ONCE):
            ready[rows, : self.n_inputs].copy_(self._scaled(self._tensor(self._inputs[rows])))
        return ready

    def _across_of(self, where: slice) -> Tensor | None:
        """A run of samples along the second axis, kept: bfloat16 products back are twice as fast on processors so."""
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
        """X of `Scaling`, in the type that it computes in."""
        values = raw.to(self._scale.dtype, copy=True)
        if self._shift is not None:
            values.sub_(self._shift)
        return values.div_(self._scale)


def some(where: Where, rows: slice) -> Where:
    """Rows of an update, or of several side by side, as positions in the part."""
    if isinstance(where, slice):
        first = where.start or 0
        return slice(first + rows.start, first + rows.stop)
    return where[..., rows]


def kind_of_batch(update: Update) -> Any:
    """What updates must have in common to be one recorded step."""
    batch = update.batch
    return (batch.start, batch.stop) if isinstance(batch, slice) else len(batch)


def n_of(batch: Batch) -> int:
    """How many samples it has."""
    return batch.stop - (batch.start or 0) if isinstance(batch, slice) else len(batch)


def positions_of(batches: Sequence[Sequence[Batch]]) -> Tensor | None:
    """(updates, networks, n) of batches of equal sizes; None where they are runs of samples."""
    if isinstance(batches[0][0], slice):
        return None
    return torch.from_numpy(np.array(batches, np.int64))
