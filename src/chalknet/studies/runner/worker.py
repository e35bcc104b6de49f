"""A worker: trains the jobs that a scheduler sends, in a process of this machine or a Ray actor.

As a process it is started as `python -m chalknet.studies.runner.worker DESCRIPTOR`, with the
descriptor of its end of a socket pair. It exits when the other end closes, which happens when the
scheduler ends or is killed.
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
from chalknet.studies.runner.processes import EXIT_SECONDS
from chalknet.studies.runner.protocol import SECONDS_BETWEEN_EPOCHS, Message, receive, run_from, send
from chalknet.studies.runner.samples import read_data
from chalknet.studies.study_training import train_run, train_stack

SECONDS_TO_WRITE = 1  # part of EXIT_SECONDS that is reserved for writing checkpoints

Send = Callable[[Message, bytes], None]


def train_job(message: Message, data: Dataset, send: Send, must_stop: StopRequest | None = None) -> None:
    """Train the runs of a `job_message`, several in one stack, and send their progress and outputs.

    A failed run does not stop the others. If a stack fails as a whole, its unfinished runs are
    trained one by one.

    Args:
        message: the job.
        data: the study's samples.
        send: called with the messages of `protocol` and their content; it must not raise.
        must_stop: called after each epoch and between updates; True stops the training.

    Raises:
        StoppedError: must_stop returned True; unfinished runs have a checkpoint.
    """
    runs = [run_from(run) for run in message["runs"]]
    keep_model, checkpoints = message["keep_model"], Path(message["checkpoints"])
    sent_at = dict.fromkeys(range(len(runs)), time.monotonic())  # of runs that have not ended

    def on_epoch(number: int, record: EpochRecord) -> None:
        # All runs of a stack together send no more messages than a single run.
        if time.monotonic() - sent_at[number] >= SECONDS_BETWEEN_EPOCHS * len(sent_at):
            sent_at[number] = time.monotonic()
            send({"event": "epoch", "run": number, "epoch": record.epoch}, b"")

    def on_end(number: int, end: RunOutput | Exception) -> None:
        del sent_at[number]
        if isinstance(end, RunOutput):
            send({"event": "done", "run": number, "record": end.record}, output_bytes(end))
        else:
            send({"event": "failed", "run": number, "error": _in_a_line(end)}, b"")

    options: dict[str, Any] = {
        "threads": message["threads"],
        "concurrency": message["concurrency"],
        "checkpoints": checkpoints,
        "must_stop": must_stop,
    }
    if len(runs) > 1:
        try:
            train_stack(data, runs, on_end, keep_model=keep_model, on_epoch=on_epoch, **options)
        except StoppedError:
            raise
        except Exception:  # an error of the stack as a whole; its runs are trained one by one below
            pass
    for number in list(sent_at):
        end: RunOutput | Exception
        try:
            on_record = partial(on_epoch, number)
            end = train_run(data, runs[number], keep_model=keep_model[number], on_epoch=on_record, **options)
        except StoppedError:
            raise
        except Exception as error:  # an error of this run, which must not stop the others
            end = error
        on_end(number, end)


def _in_a_line(error: Exception) -> str:
    """Return an error as one line for the record of a failed run."""
    if isinstance(error, ChalknetError):
        return error.message
    if isinstance(error, MemoryError):
        return f"needs more memory than there is. {error}".rstrip()
    return f"{type(error).__name__}: {error}"  # a bug in chalknet, which must not stop the other runs


def main() -> None:
    """Train jobs until the scheduler ends or a signal asks this process to end.

    After a signal, the current update is finished and a checkpoint is written. If the scheduler has
    ended, training first continues for a few seconds. After `EXIT_SECONDS`, SIGALRM kills the
    process. If the current update takes longer, no checkpoint is written, and training later resumes
    from the last one.
    """
    connection = Connection(int(sys.argv[1]))
    messages: SimpleQueue[Message | None] = SimpleQueue()
    stop = StopRequest()

    def end(seconds: float) -> None:
        if not stop.is_made:
            # The alarm kills this process if it hangs. Nothing here may take a lock or start a
            # thread, because a signal can interrupt the main thread anywhere.
            signal.alarm(EXIT_SECONDS)
        stop.end = min(stop.end, time.monotonic() + seconds)
        messages.put(None)

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                messages.put(receive(connection)[0])
        # The scheduler has ended. Train a little longer and write a checkpoint: the next scheduler
        # resumes from it.
        end(EXIT_SECONDS - SECONDS_TO_WRITE)

    def send_or_end(message: Message, content: bytes = b"") -> None:
        try:
            send(connection, message, content)
        except OSError:
            end(EXIT_SECONDS - SECONDS_TO_WRITE)

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
    os._exit(0)  # exit at once: threads of an engine may still be running


if __name__ == "__main__":
    main()
