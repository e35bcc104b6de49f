"""The files of unfinished runs: checkpoint and lock; and the request that stops a worker.

`RunCheckpoint` in `study_training` writes and reads the checkpoints. It is not in this module,
because the scheduler imports this module and does not need the trainer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chalknet.artifacts.atomic import refuse_link, remove_temporaries
from chalknet.errors import OutputError, StoppedError
from chalknet.studies.configurations import RunKey

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

CHECKPOINT_FOLDER = "unfinished"  # within the study's folder; the name is that of version 0.1
# How long to wait for another process that trains the run: twice EXIT_SECONDS of
# `runner/processes.py`, the time that a worker has to exit.
WAIT_SECONDS = 10.0


@contextmanager
def checkpoint_folder(study: Path) -> Iterator[Path]:
    """Provide the folder for checkpoints while a study runs; remove it at the end if it is empty.

    Raises:
        OutputError: the folder cannot be created.
    """
    folder = (study / CHECKPOINT_FOLDER).absolute()
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
    """Return the path of a run's checkpoint in that folder."""
    return folder / f"{run.configuration.key[:16]}-seed{run.seed}.safetensors"


class StopRequest:
    """A request to a worker to stop. The worker calls it after each epoch and between updates.

    Attributes:
        end: the time of `time.monotonic` until which the worker may continue; infinite until it is
            asked to stop.
    """

    def __init__(self) -> None:
        """Create a request with an infinite `end`."""
        self.end: float = math.inf
        self._last = self._longest = 0.0

    def __call__(self) -> bool:
        """Return whether the worker must stop, because two calls from now `end` could have passed.

        The time between two calls is assumed to be the longest so far.
        """
        now = time.monotonic()
        self._longest = max(self._longest, now - self._last) if self._last else 0.0
        self._last = now
        return now + 2 * self._longest >= self.end

    @property
    def is_made(self) -> bool:
        """Whether the worker has been asked to stop, now or soon."""
        return self.end < math.inf


@contextmanager
def run_lock(path: Path, must_stop: StopRequest) -> Iterator[None]:
    """Hold the lock of a run, so that only one process trains the run at a time.

    If a scheduler was killed, its workers continue for a few seconds, write checkpoints and exit. A
    new worker of the same run waits for that checkpoint. The operating system releases the lock
    when a process ends, also after kill -9. Without file locks, or after WAIT_SECONDS, training
    starts anyway. Two processes that train the same run then waste time, but no result is wrong:
    checkpoints are replaced atomically, and the store accepts only one output.

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
            except OSError:  # the file system has no locks
                break
        remove_temporaries(path.parent, [path.name])
        yield


def clear_checkpoint(study: Path, run: RunKey) -> None:
    """Delete the checkpoint of a run that has ended, with temporary files of killed workers."""
    path = checkpoint_path(study / CHECKPOINT_FOLDER, run)
    remove_temporaries(path.parent, [path.name])
    for one in (path, path.with_suffix(".lock")):
        with suppress(OSError):
            one.unlink(missing_ok=True)
