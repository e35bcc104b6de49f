"""Ctrl-C, SIGTERM and SIGHUP while something trains: the epoch is finished first; a second signal stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from chalknet.errors import StoppedError

if TYPE_CHECKING:
    from chalknet.cli.progress import EpochProgress

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def stop_after_epoch(progress: EpochProgress) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal has asked to stop.

    Before the first epoch, a signal stops at once. Signals are left alone in threads other than the main one, and so
    are signals that the process was started to ignore, as `nohup` does with SIGHUP.

    Args:
        progress: knows whether training has begun, and shows the user a line.
    Raises:
        StoppedError: passed on, with the exit code that a shell gives to a process which this signal ended.
    """
    asked = 0
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]  # a closed one is none any more

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del frame
        if number == getattr(signal, "SIGHUP", None):
            _leave(terminals)
        if asked or not progress.has_begun:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        asked = number
        with suppress(OSError):
            progress.say("stopping after this epoch; Ctrl-C again stops at once")

    is_main = threading.current_thread() is threading.main_thread()
    caught = [number for number in SIGNALS if is_main and signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in caught}
    try:
        yield lambda: bool(asked)
    except StoppedError as error:
        error.exit_code = 128 + asked
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(terminals: list[int]) -> None:
    """Send output that went to a terminal to nowhere. The terminal has closed, and writing to it would be an error."""
    for descriptor in terminals:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
