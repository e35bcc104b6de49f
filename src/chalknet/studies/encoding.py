"""Arrays as the bytes of a .npy file, and back; what is read is checked and never executed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.readers.npy_header import read_npy_header


def array_bytes(array: NDArray[Any]) -> bytes:
    """An array of numbers as a .npy file's bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def array_from_bytes(content: bytes, name: str, dtypes: Sequence[str], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The inverse: an array of one of these types and of that shape, None standing for any length.

    Raises:
        ValueError: anything else, with the array's name; no memory is taken on the word of the header.
    """
    header = read_npy_header(io.BytesIO(content), "array", name)
    if header.dtype not in map(np.dtype, dtypes) or header.fortran_order:
        raise ValueError(f"{name} is of type {header.dtype}, not {' or '.join(dtypes)}")
    if len(header.shape) != len(shape) or any(w not in (None, n) for n, w in zip(header.shape, shape, strict=True)):
        raise ValueError(f"{name} has the shape {header.shape}, not {shape}")
    values = content[header.n_bytes :]
    if len(values) != header.array_bytes:
        raise ValueError(f"{name} has {len(values)} bytes, which are not those of {header.shape}")
    return np.frombuffer(values, dtype=header.dtype).reshape(header.shape)


def packed_bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(E, M) flags as (E, ceil(M / 8)) bytes."""
    return np.packbits(flags, axis=1)


def unpacked_bits(packed: NDArray[np.uint8], n: int) -> NDArray[np.bool_]:
    """The inverse for M = n."""
    return np.unpackbits(packed, axis=1, count=n).astype(bool)
