"""A worker process: `python -m chalknet.studies.runner.worker` trains the units that it is told on standard input.

It ends when its standard input does, which is when the process that started it ends, however that ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from chalknet.data.dataset import Dataset
from chalknet.errors import ChalknetError
from chalknet.records import EpochRecord
from chalknet.studies.outcome import train_unit
from chalknet.studies.runner.wire import outcome_frame, read_data, read_line, unit_from, write_line

SECONDS_BETWEEN_EPOCHS = 0.1  # that are told; epochs of a small network are shorter


def main() -> None:
    """Messages on standard input and output; whatever else is printed goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    inbox: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, inbox), daemon=True).start()
    data = read_data(Path(inbox.get()["open"]))
    write_line(out, {"say": "ready"})
    while True:
        _train(inbox.get(), data, out)


def _listen(stream: BinaryIO, inbox: SimpleQueue[dict[str, Any]]) -> None:
    """Hands on what comes in; at its end there is nobody left to work for."""
    while (message := read_line(stream)) is not None:
        inbox.put(message)
    os._exit(0)


def _train(message: dict[str, Any], data: Dataset, out: BinaryIO) -> None:
    last = time.monotonic()

    def tell(record: EpochRecord) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_EPOCHS:
            write_line(out, {"say": "epoch", "epoch": record.epoch})
            last = time.monotonic()

    try:
        outcome = train_unit(
            data,
            unit_from(message["unit"]),
            threads=message["threads"],
            trained=message["trained"],
            with_model=message["with_model"],
            observe=tell,
        )
    except ChalknetError as error:
        write_line(out, {"say": "failed", "error": str(error)})
    except MemoryError as error:
        write_line(out, {"say": "failed", "error": f"needs more memory than there is. {error}".rstrip()})
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # a fault of this program's, which must not stop the other units
        write_line(out, {"say": "failed", "error": f"{type(error).__name__}: {error}"})
    else:
        write_line(out, *outcome_frame(outcome))


if __name__ == "__main__":
    main()
