"""Worker processes of this machine. Imports no NumPy, so they start while data is read."""

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
EXIT_SECONDS = 5  # time that a worker has to finish its update, write a checkpoint and exit


@dataclass(eq=False)
class LocalWorker:
    """A `Worker`: one process with one BLAS thread, connected by a pair of sockets.

    Attributes:
        process: the process.
        connection: this end of the connection.
        log: what the process prints, in an unnamed temporary file.
    """

    process: subprocess.Popen[bytes]
    connection: Connection
    log: IO[bytes]

    def submit(self, message: Message) -> None:
        """Send a message. If the process has exited, its pool reports it."""
        with suppress(OSError):
            send(self.connection, message)

    def exit_reason(self) -> str:
        """Return the exit code or signal, with the last line that the process printed."""
        code = self.process.wait()
        reason = f"exit code {code}" if code >= 0 else f"signal {-code}"
        with suppress(ValueError):
            reason += f" ({signal.Signals(-code).name})" if code < 0 else ""
        self.log.seek(0)
        lines = self.log.read().decode("utf-8", errors="replace").strip().splitlines()
        return f"{reason}: {lines[-1].strip()[:200]}" if lines else reason

    def stop(self) -> None:
        """Kill the process and wait until it has ended."""
        self.process.kill()
        self.process.wait()


class WorkerProcesses:
    """The worker processes of one study, as a context; at its end they save checkpoints and exit.

    Args:
        number: how many to start at once. They import what training needs before the first is used.
    """

    def __init__(self, number: int = 0) -> None:
        """Create the context; processes start when it is entered."""
        self._number = number
        self._spare: list[LocalWorker] = []
        self.workers: list[LocalWorker] = []

    def __enter__(self) -> Self:
        """Start the first processes."""
        try:
            self._spare = [self._start() for _ in range(self._number)]
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes."""
        self.end()

    def end(self) -> None:
        """Ask all processes to end, and kill those that are still running after `EXIT_SECONDS`."""
        try:
            for worker in self.workers:
                worker.process.terminate()
            end = time.monotonic() + EXIT_SECONDS
            for worker in self.workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, end - time.monotonic()))
        finally:  # also if a second Ctrl-C interrupts the wait
            for worker in self.workers:
                worker.stop()
                worker.log.close()

    def take(self) -> LocalWorker:
        """Return a process that is not in use, and start one if there is none.

        Raises:
            ChalknetError: the system cannot start another process.
        """
        return self._spare.pop(0) if self._spare else self._start()

    def _start(self) -> LocalWorker:
        """Start a process with one end of a connection."""
        try:
            ours, theirs = Pipe()
            log = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
            with theirs:
                # -P: modules in the user's current folder must not be imported
                module = ["-P", "-m", "chalknet.studies.runner.worker", str(theirs.fileno())]
                process = subprocess.Popen(
                    [sys.executable, *module],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(),
                    pass_fds=[theirs.fileno()],
                    # Ctrl-C in a terminal reaches the scheduler only, which then ends its workers.
                    start_new_session=True,
                )
        except OSError as error:
            raise ChalknetError(
                f"worker processes cannot be started: {error.strerror or error}. Give fewer jobs (--jobs)."
            ) from error
        self.workers.append(LocalWorker(process, ours, log))
        return self.workers[-1]


def _environment() -> dict[str, str]:
    """Return the environment of a worker: one BLAS thread, and this chalknet on the path."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
