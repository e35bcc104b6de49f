"""The messages between a study's scheduler and its workers, and the files that hold the samples.

scheduler -> worker   {"runs": [{...}, ...], "threads": 1, ...}           train this job
worker -> scheduler   {"event": "ready"}
                      {"event": "epoch", "run": 0, "epoch": 12}           of the job's first run
                      {"event": "done", "run": 0, "record": {...}}        with an .npz as content
                      {"event": "failed", "run": 0, "error": "..."}

Between processes of this machine a message is JSON and, as a second frame, its content, which may be empty. Nothing is
pickled: `Connection.send` is never used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset
from chalknet.data.stored import StoredArray, StoredSamples
from chalknet.studies.cells import Unit, cell_from_tables, cell_tables

Message = Mapping[str, Any]
SECONDS_BETWEEN_EPOCHS = 0.1  # between two epoch messages of a run; epochs of a small network are shorter
DATA_FILE = "data.json"
ROWS_AT_ONCE = 4096  # samples to copy at a time


def send(connection: Connection, message: Message, content: bytes = b"") -> None:
    """Send a message; raises OSError if the other side has closed."""
    connection.send_bytes(json.dumps(message).encode())
    connection.send_bytes(content)


def receive(connection: Connection) -> tuple[Message, bytes]:
    """Wait for the next message and its content; raises EOFError or OSError if the other side has closed."""
    return json.loads(connection.recv_bytes()), connection.recv_bytes()


def job_message(
    job: Sequence[Unit], threads: int, how: str, keep_model: Sequence[bool], checkpoints: Path
) -> dict[str, Any]:
    """Return the message that makes a worker train a job; the arguments are those of `train_run`."""
    return {
        "runs": [_run_message(unit) for unit in job],
        "threads": threads,
        "how": how,
        "keep_model": list(keep_model),
        "checkpoints": str(checkpoints),
    }


def _run_message(unit: Unit) -> dict[str, Any]:
    settings = [[name, value] for name, value in unit.cell.settings]
    return {"seed": unit.seed, "settings": settings, **cell_tables(unit.cell)}


def run_from(message: Message) -> Unit:
    """Return the run that an entry of "runs" describes."""
    settings = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in message["settings"])
    return Unit(cell_from_tables(message, "run", settings), message["seed"])


def write_data(data: Dataset, folder: Path) -> None:
    """Write a data set as .npy files, which all workers map into memory, so that one copy serves them all."""
    inputs = np.lib.format.open_memmap(
        folder / "inputs.npy", mode="w+", dtype=data.inputs.dtype, shape=data.inputs.shape
    )
    for start in range(0, len(data), ROWS_AT_ONCE):
        inputs[start : start + ROWS_AT_ONCE] = data.inputs[start : start + ROWS_AT_ONCE]
    inputs.flush()
    arrays: dict[str, NDArray[Any] | None] = {
        "labels": data.labels, "groups": data.groups, "own_test": data.own_test, "own_valid": data.own_valid
    }  # fmt: skip
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    facts = {
        "class_names": list(data.class_names),
        "source": data.source,
        "sha256": data.sha256,
        "stored": isinstance(data.inputs, StoredSamples),
        "arrays": [name for name, array in arrays.items() if array is not None],
    }
    (folder / DATA_FILE).write_text(json.dumps(facts), encoding="utf-8")


def read_data(folder: Path) -> Dataset:
    """Read what `write_data` wrote: samples are mapped, or read as needed if they come from too large a file."""
    facts = json.loads((folder / DATA_FILE).read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in facts["arrays"]}
    inputs: Any = np.load(folder / "inputs.npy", mmap_mode="r", allow_pickle=False)
    if facts["stored"]:
        inputs = StoredSamples([StoredArray(folder / "inputs.npy", inputs.offset, inputs.shape, inputs.dtype)])
    return Dataset(
        inputs=inputs,
        class_names=tuple(facts["class_names"]),
        source=facts["source"],
        sha256=facts["sha256"],
        **arrays,
    )
