"""The files that pass a study's samples to the workers of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset
from chalknet.data.on_disk import OnDiskArray, OnDiskSamples
from chalknet.data.tables.encoding import encoding_from_table

DATA_FILE = "data.json"
ROWS_AT_ONCE = 4096  # number of samples to copy at a time


def write_data(data: Dataset, folder: Path) -> None:
    """Write a data set as .npy files, which all workers map into memory.

    Raises:
        OSError: the folder cannot be written, or the disk is full. Files are written with ordinary
            calls, because a full disk would kill a process that writes through a memory map.
    """
    with (folder / "inputs.npy").open("wb") as file:
        _write_array(file, data.inputs, data.inputs.dtype, data.inputs.shape)
    arrays: dict[str, NDArray[Any] | None] = {
        "labels": data.labels,
        "groups": data.groups,
        "provided_test": data.provided_test,
        "provided_valid": data.provided_valid,
    }
    for name, array in arrays.items():
        if array is not None:
            with (folder / f"{name}.npy").open("wb") as file:
                _write_array(file, array, array.dtype, array.shape)
    facts = {
        "class_names": list(data.class_names),
        "source": data.source,
        "sha256": data.sha256,
        "input_names": list(data.input_names),
        "encoding": None if data.encoding is None else data.encoding.as_table(),
        "stored": isinstance(data.inputs, OnDiskSamples),
        "arrays": [name for name, array in arrays.items() if array is not None],
    }
    (folder / DATA_FILE).write_text(json.dumps(facts), encoding="utf-8")


def _write_array(file: IO[bytes], rows: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write rows as a .npy file, a block at a time."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, shape[0], ROWS_AT_ONCE):
        file.write(np.ascontiguousarray(rows[start : start + ROWS_AT_ONCE]).data)


def read_data(folder: Path) -> Dataset:
    """Return what `write_data` wrote, mapped into memory or read on demand from disk."""
    facts = json.loads((folder / DATA_FILE).read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in facts["arrays"]}
    inputs: Any = np.load(folder / "inputs.npy", mmap_mode="r", allow_pickle=False)
    if facts["stored"]:
        inputs = OnDiskSamples([OnDiskArray(folder / "inputs.npy", inputs.offset, inputs.shape, inputs.dtype)])
    return Dataset(
        inputs=inputs,
        class_names=tuple(facts["class_names"]),
        source=facts["source"],
        sha256=facts["sha256"],
        input_names=tuple(facts["input_names"]),
        encoding=None if facts["encoding"] is None else encoding_from_table(facts["encoding"]),
        **arrays,
    )
