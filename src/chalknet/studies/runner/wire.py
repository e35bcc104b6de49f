"""What a study's driver and its worker processes say to each other: a line of JSON, and after some lines bytes.

driver -> worker   {"open": folder}                               the data, as files in that folder
                   {"units": [{...}, ...], "threads": 1, ...}     train this load
worker -> driver   {"say": "ready"}
                   {"say": "epoch", "unit": 0, "epoch": 12}       of the load's first unit
                   {"say": "done", "unit": 0, "record": {...}, "bytes": 123456}   and then so many bytes, an .npz
                   {"say": "failed", "unit": 0, "error": "..."}
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import DataConfig, SplitConfig, config_from_tables, config_tables
from chalknet.data.dataset import Dataset
from chalknet.data.stored import StoredArray, StoredSamples
from chalknet.studies.cells import Cell, Unit
from chalknet.studies.outcome import DIVISION_ARRAYS, UNIT_ARRAYS, Outcome

DATA_FILE = "data.json"
ROWS_AT_ONCE = 4096  # of samples that are copied


def write_line(stream: IO[bytes], message: Mapping[str, Any], content: bytes = b"") -> None:
    """A message, whole and at once."""
    stream.write(json.dumps(message).encode() + b"\n" + content)
    stream.flush()


def read_line(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None where the other side has ended."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    return message


def load_message(
    load: Sequence[Unit], threads: int, trained: str, with_model: Sequence[bool], unfinished: Path
) -> dict[str, Any]:
    """What a worker is told to train; the arguments as in `train_unit`, with_model one a unit."""
    units = [unit_message(unit) for unit in load]
    how = {"threads": threads, "trained": trained, "with_model": list(with_model), "unfinished": str(unfinished)}
    return {"units": units, **how}


def unit_message(unit: Unit) -> dict[str, Any]:
    """A unit as JSON."""
    cell = unit.cell
    tables = config_tables(cell.recipe, DataConfig())
    division = [cell.division.split, cell.division.train_size, cell.division.valid_size, cell.division.split_seed]
    settings = [[name, value] for name, value in cell.settings]
    return {
        "seed": unit.seed,
        "recipe": tables,
        "division": division,
        "seeds_vary": list(cell.seeds_vary),
        "settings": settings,
    }


def unit_from(message: Mapping[str, Any]) -> Unit:
    """The inverse."""
    recipe = config_from_tables(message["recipe"], "unit")[0]
    settings = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in message["settings"])
    cell = Cell(settings, recipe, SplitConfig(*message["division"]), tuple(message["seeds_vary"]))
    return Unit(cell, message["seed"])


def outcome_frame(outcome: Outcome) -> tuple[dict[str, Any], bytes]:
    """A finished training as a message and the bytes that follow it."""
    arrays: dict[str, NDArray[Any]] = {**outcome.arrays, **outcome.division}
    arrays["model"] = np.frombuffer(outcome.model, np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    return {"say": "done", "record": outcome.record, "bytes": len(content)}, content


def outcome_from(message: Mapping[str, Any], content: bytes) -> Outcome:
    """The inverse."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Outcome(
            message["record"],
            {name: arrays[name] for name in UNIT_ARRAYS},
            {name: arrays[name] for name in DIVISION_ARRAYS},
            arrays["model"].tobytes(),
        )


def write_data(data: Dataset, folder: Path) -> None:
    """A data set as .npy files, which all workers map into memory, so that one copy serves them all."""
    inputs = np.lib.format.open_memmap(
        folder / "inputs.npy", mode="w+", dtype=data.inputs.dtype, shape=data.inputs.shape
    )
    for start in range(0, len(data), ROWS_AT_ONCE):
        inputs[start : start + ROWS_AT_ONCE] = data.inputs[start : start + ROWS_AT_ONCE]
    inputs.flush()
    for name, array in _small_arrays(data).items():
        if array is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    about = {
        "class_names": list(data.class_names),
        "source": data.source,
        "sha256": data.sha256,
        "stored": isinstance(data.inputs, StoredSamples),
        "arrays": [name for name, array in _small_arrays(data).items() if array is not None],
    }
    (folder / DATA_FILE).write_text(json.dumps(about), encoding="utf-8")


def read_data(folder: Path) -> Dataset:
    """The inverse, its samples mapped and not read; where they came from a file too large to hold, read as needed."""
    about = json.loads((folder / DATA_FILE).read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in about["arrays"]}
    inputs: Any = np.load(folder / "inputs.npy", mmap_mode="r", allow_pickle=False)
    if about["stored"]:
        inputs = StoredSamples([StoredArray(folder / "inputs.npy", inputs.offset, inputs.shape, inputs.dtype)])
    return Dataset(
        inputs=inputs,
        class_names=tuple(about["class_names"]),
        source=about["source"],
        sha256=about["sha256"],
        **arrays,
    )


def _small_arrays(data: Dataset) -> dict[str, NDArray[Any] | None]:
    return {"labels": data.labels, "groups": data.groups, "own_test": data.own_test, "own_valid": data.own_valid}
