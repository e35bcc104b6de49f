"""Arrays in NumPy's .npy format, read without pickle and within a budget."""

from __future__ import annotations

import io
import math
import re
import warnings
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from chalknet.errors import DataError
from chalknet.files import Budget

MAX_HEADER_BYTES = 10_000  # the limit of NumPy's own readers
HEADER_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


@dataclass(frozen=True)
class NpyHeader:
    """The header of a .npy file.

    Attributes:
        n_bytes: size of the header; the values follow it.
        dtype: type of the values.
        fortran_order: whether the values are in Fortran order.
        shape: shape of the array.
    """

    n_bytes: int
    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]

    @property
    def array_bytes(self) -> int:
        """Return the size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes], source: str, key: str) -> NpyHeader:
    """Read the header at the beginning of a file.

    Args:
        file: the .npy file.
        source: what messages call the file.
        key: what messages call the array.

    Raises:
        DataError: the header is not one of NumPy, or describes records or Python objects.
    """
    try:
        with warnings.catch_warnings():  # NumPy warns about headers written by Python 2
            warnings.simplefilter("ignore")
            header = io.BytesIO(_header_bytes(file))
            shape, fortran_order, dtype = HEADER_READERS[npy_format.read_magic(header)](header)
    except Exception as error:  # NumPy calls Python's parser, which can raise anything for a damaged header
        reason = re.sub(r"<.* object at .*>", "its header", " ".join(str(error).split())[:200])
        raise DataError(
            f"{source}: {key} does not begin as an array that NumPy wrote ({reason}). Save the file again with NumPy."
        ) from error
    if dtype.hasobject:
        raise DataError(
            f"{source}: {key} is an object array: it holds pickles, which chalknet never opens. "
            "Save it as numbers, all rows of one length."
        )
    if dtype.kind == "V" or not dtype.itemsize or min(shape, default=0) < 0:
        raise DataError(f"{source}: {key} is no plain array, but {shape} of {dtype}. Save it as numbers.")
    return NpyHeader(header.tell(), dtype, fortran_order, shape)


def _header_bytes(file: IO[bytes]) -> bytes:
    """Return the bytes of a header after checking the length that it states."""
    start = file.read(8)
    width = 2 if start[6:7] == b"\1" else 4
    start += file.read(width)
    length = int.from_bytes(start[8:], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header says that it has {length} bytes, more than {MAX_HEADER_BYTES}")
    return start + file.read(length)


def read_npy(file: IO[bytes], key: str, budget: Budget) -> NDArray[Any]:
    """Return the array in a .npy file, writable, in C order and native byte order.

    Args:
        file: the .npy file.
        key: what messages call the array.
        budget: limits the memory; its source names the file.

    Raises:
        DataError: as `read_npy_header`, or the file holds fewer or more values than the header
            states, or more than the budget allows.
    """
    header = read_npy_header(file, budget.source, key)
    body = budget.read(file, header.array_bytes)
    if len(body) < header.array_bytes or file.read(1):
        came = len(body) if len(body) < header.array_bytes else "more"
        raise DataError(
            f"{budget.source}: the header of {key} says {header.shape} of {header.dtype}, {header.array_bytes} bytes "
            f"of values, but there are {came}. Copy the file again, or save it again."
        )
    array = np.frombuffer(body, header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")
    if header.fortran_order or not header.dtype.isnative:
        budget.take(len(body))
    return np.asarray(array, header.dtype.newbyteorder("="), order="C")
