"""A worker: trains the jobs that a scheduler sends, in a process of this machine or an actor of a Ray cluster.

As a process it is `python -m chalknet.studies.runner.worker DESCRIPTOR`, with its end of a socket pair. It ends when
the other end closes, which is when the scheduler ends, however that ended.
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
from typing import Any

from chalknet.data.dataset import Dataset
from chalknet.errors import ChalknetError, StoppedError
from chalknet.records import EpochRecord
from chalknet.studies.run_checkpoints import StopRequest
from chalknet.studies.run_output import RunOutput, output_bytes
from chalknet.studies.run_training import train_run, train_stack
from chalknet.studies.runner.processes import END_SECONDS
from chalknet.studies.runner.protocol import SECONDS_BETWEEN_EPOCHS, Message, receive, run_from, send
from chalknet.studies.runner.samples import read_data

SECONDS_TO_WRITE = 1  # a checkpoint, of those that a worker has to end

Send = Callable[[Message, bytes], None]


def train_job(message: Message, data: Dataset, send: Send, must_stop: StopRequest | None = None) -> None:
    """Train the runs of a `job_message`, several in one stack, and send their progress and their outputs.

    A run that fails stops no other. If a stack fails as a whole, those of its runs that are not finished are trained
    one by one.

    Args:
        send: called with the messages of `protocol` and their content; it must not raise.
        must_stop: asked after each epoch.
    Raises:
        StoppedError: must_stop returned True; runs that are not finished have a checkpoint.
    """
    runs = [run_from(run) for run in message["runs"]]
    keep_model, checkpoints = message["keep_model"], Path(message["checkpoints"])
    sent_at = dict.fromkeys(range(len(runs)), time.monotonic())  # of runs that have not ended

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

    how: dict[str, Any] = {
        "threads": message["threads"],
        "how": message["how"],
        "checkpoints": checkpoints,
        "must_stop": must_stop,
    }
    if len(runs) > 1:
        try:
            train_stack(data, runs, on_end, keep_model=keep_model, on_epoch=on_epoch, **how)
        except StoppedError:
            raise
        except Exception:  # of the stack as a whole; its runs are trained alone below
            pass
    for number in list(sent_at):
        end: RunOutput | Exception
        try:
            on_record = partial(on_epoch, number)
            end = train_run(data, runs[number], keep_model=keep_model[number], on_epoch=on_record, **how)
        except StoppedError:
            raise
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
    """Train jobs until the scheduler ends or a signal asks this process to end.

    After a signal, the present epoch is finished and kept in a checkpoint. After the end of the scheduler, training
    goes on for a few seconds first. Both take at most `END_SECONDS`; longer epochs are lost.
    """
    connection = Connection(int(sys.argv[1]))
    messages: SimpleQueue[Message | None] = SimpleQueue()
    stop = StopRequest()

    def end(seconds: float) -> None:
        if not stop.is_made:
            signal.alarm(END_SECONDS)  # no thread or lock, since a signal may have come at any place
        stop.end = min(stop.end, time.monotonic() + seconds)
        messages.put(None)

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                messages.put(receive(connection)[0])
        end(END_SECONDS - SECONDS_TO_WRITE)  # there may soon be another scheduler, which goes on from here

    def send_or_end(message: Message, content: bytes = b"") -> None:
        try:
            send(connection, message, content)
        except OSError:
            end(END_SECONDS - SECONDS_TO_WRITE)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: end(0.0))
    threading.Thread(target=listen, daemon=True).start()
    data: Dataset | None = None
    while (message := messages.get()) is not None:
        if data is None:
            data = read_data(Path(message["data"]))
            send_or_end({"event": "ready"})
        else:
            with suppress(StoppedError):
                train_job(message, data, send_or_end, stop)
    send_or_end({"event": "stopped"})
    os._exit(0)  # threads of an engine may be at work


if __name__ == "__main__":
    main()
