"""A pool of worker processes of this machine, which map one copy of the samples into memory."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from chalknet.data.dataset import Dataset
from chalknet.errors import OutputError
from chalknet.machine.processor import available_cores
from chalknet.studies.runner.processes import LocalWorker, WorkerProcesses
from chalknet.studies.runner.protocol import receive
from chalknet.studies.runner.samples import write_data
from chalknet.studies.runner.scheduler import Received, WorkQueue

PREFIX = ".work-"  # start of the name of the folder for samples, within the study's folder


@dataclass(eq=False)
class LocalPool:
    """A `WorkerPool` of processes.

    With fewer workers than cores, the engine of each worker has several threads.

    Attributes:
        folder: where the samples are written for the workers.
        data: the study's samples.
        processes: starts and ends the worker processes.
        size: the most workers at a time.
        threads: number of threads of each worker.
        inbox: the messages of all workers.
        has_data: whether the samples have been written.
    """

    folder: Path
    data: Dataset
    processes: WorkerProcesses
    size: int
    threads: int
    inbox: queue.Queue[Received] = field(default_factory=queue.Queue)
    has_data: bool = False

    def start_worker(self) -> LocalWorker:
        """Start a process, or take one that is started already, and tell it where the samples are."""
        if not self.has_data:
            write_data(self.data, self.folder)
            self.has_data = True
        worker = self.processes.take()
        worker.submit({"data": str(self.folder.absolute())})
        threading.Thread(target=self._receive, args=(worker,), daemon=True).start()
        return worker

    def _receive(self, worker: LocalWorker) -> None:
        """Put a worker's messages into the inbox, and finally that it has exited; runs in a thread."""
        with worker.connection, suppress(EOFError, OSError):
            while True:
                self.inbox.put((worker, *receive(worker.connection)))
        self.inbox.put((worker, None, b""))


@contextmanager
def local_pool(
    queue: WorkQueue, data: Dataset, processes: WorkerProcesses, size: int | None = None
) -> Iterator[LocalPool]:
    """Provide a pool of worker processes, which end with the context.

    Args:
        queue: the runs of the study, which bound the number of workers.
        data: the study's samples.
        processes: the worker processes.
        size: the most workers at a time; by default one per core.

    Raises:
        OutputError: the files for the workers cannot be written.
    """
    leases = queue.lease_ids()
    for left in queue.folder.glob(f"{PREFIX}*"):  # folders of schedulers that were killed
        if left.name.removeprefix(PREFIX) not in leases:
            shutil.rmtree(left, ignore_errors=True)
    folder = queue.folder / f"{PREFIX}{queue.lease.id}"
    size = max(1, min(size or available_cores(), queue.n_claimable()))
    pool = LocalPool(folder, data, processes, size, threads=max(1, available_cores() // size))
    try:
        folder.mkdir()
        yield pool
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}. What was finished is kept."
        ) from error
    finally:
        processes.end()  # before the samples that they map are deleted
        shutil.rmtree(folder, ignore_errors=True)
