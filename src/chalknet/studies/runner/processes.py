"""Processes of this machine that train. Loads no NumPy, so that they start while the caller still reads the data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Self

from chalknet.errors import ChalknetError
from chalknet.studies.runner.protocol import Message, send

SOURCE = Path(__file__).parents[3]  # the folder that holds chalknet
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
END_SECONDS = 5  # for a worker that is asked to end to finish its epoch and keep it


@dataclass(eq=False)
class LocalWorker:
    """A `Worker`: one process on one BLAS thread, connected by a socket pair.

    Attributes:
        log: what it prints, in a file without a name.
    """

    process: subprocess.Popen[bytes]
    connection: Connection
    log: IO[bytes]

    def submit(self, message: Message) -> None:
        with suppress(OSError):
            send(self.connection, message)

    def exit_reason(self) -> str:
        """Return its exit code or signal, with the last line that it printed."""
        code = self.process.wait()
        reason = f"exit code {code}" if code >= 0 else f"signal {-code}"
        with suppress(ValueError):
            reason += f" ({signal.Signals(-code).name})" if code < 0 else ""
        self.log.seek(0)
        lines = self.log.read().decode("utf-8", errors="replace").strip().splitlines()
        return f"{reason}: {lines[-1].strip()[:200]}" if lines else reason

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class WorkerProcesses:
    """The worker processes of one study. A context: when it ends, so do they, and keep what they have trained.

    Args:
        number: how many to start at once. They load what training needs before the first is taken.
    """

    def __init__(self, number: int = 0) -> None:
        self._number = number
        self._spare: list[LocalWorker] = []
        self.workers: list[LocalWorker] = []

    def __enter__(self) -> Self:
        try:
            self._spare = [self._start() for _ in range(self._number)]
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ask all processes to end, and kill those that have not after `END_SECONDS`."""
        try:
            for worker in self.workers:
                worker.process.terminate()
            end = time.monotonic() + END_SECONDS
            for worker in self.workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, end - time.monotonic()))
        finally:  # also where a second Ctrl-C does not wait
            for worker in self.workers:
                worker.stop()
                worker.log.close()

    def take(self) -> LocalWorker:
        """Return a process that nobody has been given yet.

        Raises:
            ChalknetError: the system starts no more processes.
        """
        return self._spare.pop(0) if self._spare else self._start()

    def _start(self) -> LocalWorker:
        try:
            ours, theirs = Pipe()
            log = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
            with theirs:
                # -P: the user's folder is no place to import from
                module = ["-P", "-m", "chalknet.studies.runner.worker", str(theirs.fileno())]
                process = subprocess.Popen(
                    [sys.executable, *module],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(),
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which then ends them
                )
        except OSError as error:
            raise ChalknetError(
                f"worker processes cannot be started: {error.strerror or error}. Give fewer jobs (--jobs)."
            ) from error
        self.workers.append(LocalWorker(process, ours, log))
        return self.workers[-1]


def _environment() -> dict[str, str]:
    """Return this process's environment, with one BLAS thread, and with this chalknet on the path, installed or not."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
