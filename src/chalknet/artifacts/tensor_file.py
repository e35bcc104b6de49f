"""Safetensors files: whatever the bytes, a reader gets arrays or one line, in memory of about the file's size."""

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
LENGTH_BYTES = 8  # before the header, its length as a little-endian number
TYPES = ("BOOL", "F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")  # those that NumPy has


def tensor_bytes(tensors: Mapping[str, Any], key: str, entry: str, max_header: int) -> bytes:
    """Arrays and one text as the bytes of a safetensors file; equal ones give equal bytes.

    There is one text, as the format's header keeps no order among several.

    Args:
        tensors: name -> array. key, entry: the text's name and the text.
        max_header: bytes that a reader of this kind of file takes as a header.
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
    """The inverse of `tensor_bytes`: the text, None where there is none, and the arrays by name.

    The header is looked through before any array is read, and no memory is taken on its word.

    Raises:
        ValueError: it is not a whole file of this kind; the line says why, and does not name the file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(path, max_header)
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            return metadata.get(key), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError, OverflowError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(plain(reason)) from error


def describe_non_file(path: Path) -> str | None:
    """What path names where that is no file, for a message; None where it names nothing. It is not opened."""
    if path.is_dir():
        return "a folder"
    return "a pipe, a socket or a device" if path.exists() else None


def _check_header(path: Path, max_header: int) -> None:
    """Raises ValueError unless the header is as long as it says, short enough, and names arrays of known types."""
    if not path.is_file():  # asked first: opening a pipe would wait for its other end
        raise ValueError(f"it is {describe_non_file(path) or 'not there'}")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        if len(start) < LENGTH_BYTES:
            raise ValueError(f"it has {len(start)} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > size - LENGTH_BYTES:
            raise ValueError(f"its header is to be {length:,} bytes long, and the file is {size:,}")
        if length > max_header:
            raise ValueError(f"its header is {length:,} bytes long, and at most {max_header:,} are read")
        header = strict_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and kind not in TYPES:
            raise ValueError(f"{short(name)} is of type {short(kind)}, which chalknet does not read")
