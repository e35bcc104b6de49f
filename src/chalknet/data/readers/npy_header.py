"""The header of a .npy array: its type, order and shape, read without evaluating anything."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from chalknet.errors import DataError

MAX_HEADER_BYTES = 65_535
MAX_DIMENSIONS = 8

DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[biufcSUOVmM]\d{0,6})(?:\[\w+\])?['"]""")
FORTRAN_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([\d\s,L]*)\)""")


@dataclass(frozen=True)
class NpyHeader:
    """What a header says, and the number of its own bytes; the values follow it."""

    n_bytes: int
    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]

    @property
    def array_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes], source: str, key: str) -> NpyHeader:
    """The header at the beginning of file; key names the array in messages.

    Raises:
        DataError: it is not one that NumPy writes, or describes Python objects.
    """
    magic = file.read(8)
    if len(magic) < 8 or magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
        raise DataError(f"{source}: {key} is not an array that NumPy wrote. Save the file again with NumPy.")
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > MAX_HEADER_BYTES:
        raise DataError(f"{source}: the header of {key} has {length} bytes, more than {MAX_HEADER_BYTES}.")
    # Read by pattern and not evaluated as a Python literal: nothing nests, so nothing can be nested too deep.
    header = file.read(length).decode("latin-1")
    descr, order, dims = DESCR.search(header), FORTRAN_ORDER.search(header), SHAPE.search(header)
    if descr is None or order is None or dims is None:
        raise DataError(f"{source}: the header of {key} does not describe a plain array: {header[:80]!r}.")
    if "O" in descr[1]:
        raise DataError(
            f"{source}: {key} is an object array: it holds pickles, which chalknet never opens. "
            "Save it as numbers, all rows of one length."
        )
    sizes = [size.strip().removesuffix("L") for size in dims[1].split(",") if size.strip()]
    if len(sizes) > MAX_DIMENSIONS or not all(size.isdigit() and len(size) < 16 for size in sizes):
        raise DataError(f"{source}: the header of {key} gives no possible shape: ({dims[1][:60]}).")
    try:
        dtype = np.dtype(descr[1])
    except (TypeError, ValueError):
        dtype = np.dtype("V0")
    if not dtype.itemsize:
        raise DataError(f"{source}: {key} has an element type that is not known: {descr[1]!r}.")
    return NpyHeader(8 + width + length, dtype, order[1] == "True", tuple(int(size) for size in sizes))
