"""A worker process: `python -m chalknet.studies.runner.worker` trains the loads that it is told on standard input.

It ends when its standard input does, which is when the process that started it ends, however that ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from chalknet.studies.runner.load import train_load
from chalknet.studies.runner.wire import read_data, read_line, write_line


def main() -> None:
    """Messages on standard input and output; whatever else is printed goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    inbox: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, inbox), daemon=True).start()
    data = read_data(Path(inbox.get()["open"]))
    write_line(out, {"say": "ready"})
    try:
        while True:
            train_load(inbox.get(), data, lambda message, content: write_line(out, message, content))
    except BrokenPipeError:
        os._exit(0)


def _listen(stream: BinaryIO, inbox: SimpleQueue[dict[str, Any]]) -> None:
    """Hands on what comes in; at its end there is nobody left to work for."""
    while (message := read_line(stream)) is not None:
        inbox.put(message)
    os._exit(0)


if __name__ == "__main__":
    main()
