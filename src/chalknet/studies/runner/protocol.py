"""The messages between a study's scheduler and its workers. Loads no NumPy, so that workers start at once.

scheduler -> worker   {"data": "FOLDER"}                                  read the samples, first of all
                      {"runs": [{...}, ...], "threads": 1, ...}           train this job
worker -> scheduler   {"event": "ready"}                                  the samples are read
                      {"event": "epoch", "run": 0, "epoch": 12}           of the job's first run
                      {"event": "done", "run": 0, "record": {...}}        with an .npz as content
                      {"event": "failed", "run": 0, "error": "..."}
                      {"event": "stopped"}                                asked to end; its runs are unfinished

Between processes of this machine a message is JSON and, as a second frame, its content, which may be empty. Nothing is
pickled: `Connection.send` is never used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from chalknet.studies.configurations import RunKey, configuration_from_tables, configuration_tables

Message = Mapping[str, Any]
# Minimum time between two epoch messages of a run; epochs of a small network are shorter.
SECONDS_BETWEEN_EPOCHS = 0.1


def send(connection: Connection, message: Message, content: bytes = b"") -> None:
    """Send a message.

    Raises:
        OSError: the other side has closed the connection.
    """
    connection.send_bytes(json.dumps(message).encode())
    connection.send_bytes(content)


def receive(connection: Connection) -> tuple[Message, bytes]:
    """Wait for the next message and its content.

    Raises:
        EOFError, OSError: the other side has closed the connection.
    """
    return json.loads(connection.recv_bytes()), connection.recv_bytes()


def job_message(
    job: Sequence[RunKey], threads: int, concurrency: str, keep_model: Sequence[bool], checkpoints: Path
) -> dict[str, Any]:
    """Return the message that makes a worker train a job; the arguments are those of `train_run`."""
    return {
        "runs": [_run_message(run) for run in job],
        "threads": threads,
        "concurrency": concurrency,
        "keep_model": list(keep_model),
        "checkpoints": str(checkpoints),
    }


def _run_message(run: RunKey) -> dict[str, Any]:
    """Return a run as JSON-ready values."""
    settings = [[name, value] for name, value in run.configuration.settings]
    named = {"name": run.configuration.name, **configuration_tables(run.configuration)}
    return {"seed": run.seed, "settings": settings, **named}


def run_from(message: Message) -> RunKey:
    """Return the run that an entry of "runs" describes."""
    settings = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in message["settings"])
    return RunKey(configuration_from_tables(message, "run", settings, message["name"]), message["seed"])
