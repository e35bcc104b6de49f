"""Handling of Ctrl-C, SIGTERM and SIGHUP during training.

The first signal finishes the current update, so that a checkpoint can be written. The second one
stops at once.
"""

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
def stop_with_checkpoint(progress: EpochProgress) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal has asked to stop.

    Before the training has begun, a signal stops at once. Signals are not handled in threads other than
    the main one, nor are signals that the process was started to ignore, as `nohup` does with
    SIGHUP.

    Args:
        progress: tells whether training has begun, and shows the user a line.

    Raises:
        StoppedError: passed on, with the exit code that a shell gives to a process that this signal
            ended.
    """
    received = 0
    # This is determined now, because a closed terminal is no longer recognized as one.
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        del frame
        if number == getattr(signal, "SIGHUP", None):
            _redirect_to_null(terminals)
        if received or not progress.has_begun:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        received = number
        with suppress(OSError):
            progress.print_line("stopping after a checkpoint; press Ctrl-C again to stop at once")

    is_main = threading.current_thread() is threading.main_thread()
    handled = [number for number in SIGNALS if is_main and signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield lambda: bool(received)
    except StoppedError as error:
        error.exit_code = 128 + received
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _redirect_to_null(descriptors: list[int]) -> None:
    """Send output to the null device, since writing to a closed terminal is an error."""
    for descriptor in descriptors:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
