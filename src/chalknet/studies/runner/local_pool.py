"""Workers as processes of this machine: each on one BLAS thread, connected by a socket pair."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from chalknet.data.dataset import Dataset
from chalknet.errors import OutputError
from chalknet.machine.processor import available_cores
from chalknet.studies.runner.protocol import Message, receive, send, write_data
from chalknet.studies.runner.scheduler import Received, WorkQueue

PREFIX = ".work-"  # of the folder for samples and logs, in the study's own
SOURCE = Path(__file__).parents[3]  # the folder that holds chalknet
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(eq=False)
class LocalWorker:
    """A `Worker`: one process."""

    process: subprocess.Popen[bytes]
    connection: Connection
    log: Path

    def submit(self, message: Message) -> None:
        with suppress(OSError):
            send(self.connection, message)

    def exit_reason(self) -> str:
        """Return its exit code or signal, with the last line that it printed."""
        code = self.process.wait()
        reason = f"exit code {code}" if code >= 0 else f"signal {-code}"
        with suppress(ValueError):
            reason += f" ({signal.Signals(-code).name})" if code < 0 else ""
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return f"{reason}: {lines[-1].strip()[:200]}" if lines else reason
        return reason

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(eq=False)
class LocalPool:
    """A `WorkerPool` of processes. With fewer workers than cores, each worker's engine has several threads."""

    folder: Path
    data: Dataset
    size: int
    threads: int
    inbox: queue.Queue[Received] = field(default_factory=queue.Queue)
    workers: list[LocalWorker] = field(default_factory=list)

    def start_worker(self) -> LocalWorker:
        if not self.workers:
            write_data(self.data, self.folder)
        ours, theirs = Pipe()
        handle, log = tempfile.mkstemp(prefix="worker-", suffix=".log", dir=self.folder)
        with theirs, os.fdopen(handle, "wb") as output:
            # -P: the user's folder is no place to import from
            module = ["-P", "-m", "chalknet.studies.runner.worker"]
            process = subprocess.Popen(
                [sys.executable, *module, str(theirs.fileno()), str(self.folder.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which then stops its workers
            )
        worker = LocalWorker(process, ours, Path(log))
        self.workers.append(worker)
        threading.Thread(target=self._receive, args=(worker,), daemon=True).start()
        return worker

    def _receive(self, worker: LocalWorker) -> None:
        """Put a worker's messages into the inbox, and at last that it has exited; run in a thread."""
        with worker.connection, suppress(EOFError, OSError):
            while True:
                self.inbox.put((worker, *receive(worker.connection)))
        self.inbox.put((worker, None, b""))


@contextmanager
def local_pool(queue: WorkQueue, data: Dataset, size: int | None = None) -> Iterator[LocalPool]:
    """Return a pool of worker processes, all of which are stopped at the end.

    Args:
        queue: the study's runs, which bound the number of workers.
        data: the study's samples.
        size: the most workers at a time, by default one per core.
    Raises:
        OutputError: the files that workers read cannot be written.
    """
    leases = queue.lease_ids()
    for left in queue.folder.glob(f"{PREFIX}*"):  # by schedulers that were killed
        if left.name.removeprefix(PREFIX) not in leases:
            shutil.rmtree(left, ignore_errors=True)
    folder = queue.folder / f"{PREFIX}{queue.lease.id}"
    size = max(1, min(size or available_cores(), queue.n_claimable()))
    pool = LocalPool(folder, data, size, threads=max(1, available_cores() // size))
    try:
        folder.mkdir()
        yield pool
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}. What was finished is kept."
        ) from error
    finally:
        for worker in pool.workers:
            worker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Return this process's environment, with one BLAS thread, and with this chalknet on the path, installed or not."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
