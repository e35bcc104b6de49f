"""A worker: trains the jobs that a scheduler sends, in a process of this machine or an actor of a Ray cluster.

As a process it is `python -m chalknet.studies.runner.worker DESCRIPTOR FOLDER`: DESCRIPTOR is its end of a socket pair,
FOLDER holds the samples. It exits when the other end closes, which is when the scheduler ends, however that ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from chalknet.data.dataset import Dataset
from chalknet.errors import ChalknetError
from chalknet.records import EpochRecord
from chalknet.studies.run_output import RunOutput, output_bytes
from chalknet.studies.run_training import RunCheckpoint, train_run, train_stack
from chalknet.studies.runner.protocol import SECONDS_BETWEEN_EPOCHS, Message, read_data, receive, run_from, send

Send = Callable[[Message, bytes], None]


def train_job(message: Message, data: Dataset, send: Send) -> None:
    """Train the runs of a `job_message`, several in one stack, and send their progress and their outputs.

    A run that fails stops no other. If a stack fails as a whole, those of its runs that are not finished are trained
    one by one.

    Args:
        send: called with the messages of `protocol` and their content; it must not raise.
    """
    units = [run_from(run) for run in message["runs"]]
    keep_model, checkpoints = message["keep_model"], Path(message["checkpoints"])
    sent_at = dict.fromkeys(range(len(units)), time.monotonic())  # of runs that have not ended

    def on_epoch(number: int, record: EpochRecord) -> None:
        # All runs of a stack together send no more than a single run does.
        if time.monotonic() - sent_at[number] >= SECONDS_BETWEEN_EPOCHS * len(sent_at):
            sent_at[number] = time.monotonic()
            send({"event": "epoch", "run": number, "epoch": record.epoch}, b"")

    def on_end(number: int, end: RunOutput | Exception) -> None:
        del sent_at[number]
        if isinstance(end, RunOutput):
            send({"event": "done", "run": number, "record": end.record}, output_bytes(end))
        else:
            send({"event": "failed", "run": number, "error": _in_a_line(end)}, b"")

    fresh = [number for number, unit in enumerate(units) if not RunCheckpoint(checkpoints, unit).exists]
    if len(fresh) > 1:  # a run with a checkpoint resumes alone
        with suppress(Exception):  # of the stack as a whole; its runs are trained alone below
            train_stack(
                data,
                [units[number] for number in fresh],
                lambda i, end: on_end(fresh[i], end),
                threads=message["threads"],
                how=message["how"],
                keep_model=[keep_model[number] for number in fresh],
                observe=lambda i, record: on_epoch(fresh[i], record),
            )
    for number in list(sent_at):
        end: RunOutput | Exception
        try:
            end = train_run(
                data,
                units[number],
                threads=message["threads"],
                how=message["how"],
                keep_model=keep_model[number],
                observe=partial(on_epoch, number),
                checkpoints=checkpoints,
            )
        except Exception as error:  # of this run; the others are trained all the same
            end = error
        on_end(number, end)


def _in_a_line(error: Exception) -> str:
    if isinstance(error, ChalknetError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"needs more memory than there is. {error}".rstrip()
    return f"{type(error).__name__}: {error}"  # a bug, which must not stop the other runs


def main() -> None:
    """Train jobs until the scheduler ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the scheduler, which stops its workers
    connection = Connection(int(sys.argv[1]))
    jobs: SimpleQueue[Message] = SimpleQueue()

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                jobs.put(receive(connection)[0])
        os._exit(0)  # without a scheduler there is nobody to work for

    def send_or_exit(message: Message, content: bytes = b"") -> None:
        try:
            send(connection, message, content)
        except OSError:
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    data = read_data(Path(sys.argv[2]))
    send_or_exit({"event": "ready"})
    while True:
        train_job(jobs.get(), data, send_or_exit)


if __name__ == "__main__":
    main()
