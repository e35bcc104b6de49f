"""Read and write safetensors files, and check untrusted ones before memory is allocated."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.checked import plain, short, strict_json
from chalknet.errors import OutputError
from chalknet.network.layer import Parameters

MIB = 2**20
LENGTH_BYTES = 8  # a file starts with the length of its header, little-endian
TYPES = ("BOOL", "F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")  # those that NumPy has


def tensor_bytes(tensors: Mapping[str, Any], key: str, entry: str, max_header: int) -> bytes:
    """Return arrays and one text as the bytes of a safetensors file; equal ones give equal bytes.

    There is only one text, because the header does not keep an order among several.

    Args:
        tensors: name -> array.
        key: name of the text in the header's metadata.
        entry: the text.
        max_header: largest header in bytes that the reader of this kind of file accepts.

    Raises:
        OutputError: the header would be longer.
    """
    from safetensors.numpy import save

    data: bytes = save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, {key: entry})
    (length,) = struct.unpack("<Q", data[:LENGTH_BYTES])
    if length > max_header:
        raise OutputError(
            f"names and facts of this model make {length:,} bytes, and its file holds at most {max_header:,}. "
            "Shorten the class names."
        )
    return data


def read_tensors(path: Path, key: str, max_header: int) -> tuple[str | None, Parameters]:
    """Read what `tensor_bytes` wrote: the text, or None if it is absent, and the arrays by name.

    The header is checked before any array is read, so a false size in it allocates no memory.

    Raises:
        ValueError: the file is damaged or of another kind. The message does not name the file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        read_header(path, max_header)
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            return metadata.get(key), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError, OverflowError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(plain(reason)) from error


def describe_non_file(path: Path) -> str | None:
    """Return what a path is if it is not a file ("a folder"), or None if it does not exist.

    The path is not opened, because opening a pipe would wait for its other end.
    """
    if path.is_dir():
        return "a folder"
    return "a pipe, a socket or a device" if path.exists() else None


def read_header(path: Path, max_header: int) -> dict[str, Any]:
    """Return the header of a safetensors file: the types, shapes and places of its arrays, and its metadata.

    Raises:
        ValueError: the header is not complete, too long, or has unknown dtypes.
        OSError: the file cannot be read.
    """
    if not path.is_file():  # checked first: opening a pipe would wait for its other end
        raise ValueError(f"it is {describe_non_file(path) or 'not there'}")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        if len(start) < LENGTH_BYTES:
            raise ValueError(f"it has {len(start)} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > size - LENGTH_BYTES:
            raise ValueError(f"its header would be {length:,} bytes long, but the file has {size:,}")
        if length > max_header:
            raise ValueError(f"its header is {length:,} bytes long, and at most {max_header:,} are read")
        header = strict_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and kind not in TYPES:
            raise ValueError(f"{short(name)} is of type {short(kind)}, which chalknet does not read")
    return header
