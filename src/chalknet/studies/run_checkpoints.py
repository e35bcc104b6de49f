"""The unfinished runs of a study: where their checkpoints are, who trains them, and when that must stop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chalknet.artifacts.atomic import refuse_link
from chalknet.errors import OutputError, StoppedError
from chalknet.studies.configurations import RunKey

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

UNFINISHED_FOLDER = "unfinished"  # in the study's
WAIT_SECONDS = 10.0  # for another process to let go of a run: twice what a worker has to end


@contextmanager
def checkpoint_folder(study: Path) -> Iterator[Path]:
    """Return the folder of unfinished runs while a study runs; an empty one is removed at the end.

    Raises:
        OutputError: it cannot be created.
    """
    folder = (study / UNFINISHED_FOLDER).absolute()
    refuse_link(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}.") from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def checkpoint_path(folder: Path, run: RunKey) -> Path:
    """Return where in that folder the checkpoint of a run is."""
    return folder / f"{run.configuration.key[:16]}-seed{run.seed}.safetensors"


class StopRequest:
    """Whether a worker must stop, asked after each epoch. By default it never must.

    Attributes:
        end: until when it may go on, in seconds of `time.monotonic`.
    """

    def __init__(self) -> None:
        self.end = math.inf
        self._last = self._longest = 0.0

    def __call__(self) -> bool:
        """Return whether the end would come before two more of the longest epochs so far."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._last) if self._last else 0.0
        self._last = now
        return now + 2 * self._longest >= self.end

    @property
    def is_made(self) -> bool:
        """Whether there is an end, now or soon."""
        return self.end < math.inf


@contextmanager
def training_alone(path: Path, must_stop: StopRequest) -> Iterator[None]:
    """Wait until no other process trains the run of this checkpoint, and keep others from it meanwhile.

    That is a worker whose scheduler was killed, which goes on for some seconds and then keeps what it has. The system
    lets go of a lock when a process ends, however it ends; where it has no locks, nobody waits.

    Raises:
        StoppedError: this process must stop, too.
    """
    if fcntl is None or not path.parent.is_dir():
        yield
        return
    end = time.monotonic() + WAIT_SECONDS
    try:
        file = path.with_suffix(".lock").open("ab")
    except OSError:
        yield
        return
    with file:
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if must_stop.is_made:
                    raise StoppedError("stopped before it began") from None
                time.sleep(0.05)
            except OSError:  # a file system without locks
                break
        yield


def clear_checkpoint(study: Path, run: RunKey) -> None:
    """Delete the checkpoint of a run that has ended."""
    path = checkpoint_path(study / UNFINISHED_FOLDER, run)
    for one in (path, path.with_suffix(".lock")):
        with suppress(OSError):
            one.unlink(missing_ok=True)
