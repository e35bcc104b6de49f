"""Units in processes of this machine: each on one BLAS thread, fed over pipes, replaced when it dies."""

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
from pathlib import Path
from typing import IO

from chalknet import version
from chalknet.data.dataset import Dataset
from chalknet.errors import OutputError
from chalknet.machine.processor import available_cores
from chalknet.studies.assignments import Assignments
from chalknet.studies.runner.foreman import Foreman, Message, Observer, Said
from chalknet.studies.runner.wire import read_line, write_data, write_line

WORK_PREFIX = ".work-"  # of the folder with what workers read, in the study's own
ONE_THREAD = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def run_local(
    assignments: Assignments, data: Dataset, *, jobs: int | None = None, observe: Observer | None = None
) -> None:
    """Trains all units that there are to train, and returns when none is left anywhere.

    Results do not depend on jobs. With fewer jobs than cores, each unit's engine has several threads.

    Args:
        jobs: processes, by default one a core.
        observe: called whenever something has changed.
    Raises:
        OutputError: the store, or the files that workers read, cannot be written.
        ChalknetError: worker processes cannot be started.
    """
    jobs = max(1, min(jobs or available_cores(), assignments.n_free()))
    with _work_folder(assignments) as folder, _Crew(folder, data, jobs, max(1, available_cores() // jobs)) as crew:
        Foreman(assignments, crew, observe).work()


@dataclass(eq=False)
class _Worker:
    """A `Hand`: one worker process."""

    process: subprocess.Popen[bytes]
    log: Path

    def give(self, message: Message) -> None:
        assert self.process.stdin is not None, "it was started with a pipe"
        with suppress(OSError):
            write_line(self.process.stdin, message)

    def ending(self) -> str:
        """How it ended, with the last line that it wrote."""
        code = self.process.wait()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}{_signal_name(-code)}"
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return f"{how}: {lines[-1].strip()[:200]}" if lines else how
        return how

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@dataclass(eq=False)
class _Crew:
    """A `Crew` of worker processes. All are stopped when the context ends."""

    folder: Path
    data: Dataset
    jobs: int
    threads: int
    inbox: queue.Queue[Said] = field(default_factory=queue.Queue)
    _workers: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()

    def hire(self) -> _Worker:
        if not self._workers:
            write_data(self.data, self.folder)
        handle, log = tempfile.mkstemp(prefix="worker-", suffix=".log", dir=self.folder)
        with os.fdopen(handle, "wb") as errors:
            process = subprocess.Popen(
                # -P: the folder that the user is in is no place to import from
                [sys.executable, "-P", "-m", "chalknet.studies.runner.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which then stops them
            )
        worker = _Worker(process, Path(log))
        self._workers.append(worker)
        assert process.stdin is not None, "it was started with pipes"
        with suppress(OSError):
            write_line(process.stdin, {"open": str(self.folder.absolute())})
        threading.Thread(target=_read, args=(worker, self.inbox), daemon=True).start()
        return worker


def _read(worker: _Worker, inbox: queue.Queue[Said]) -> None:
    """A thread that hands on what a worker says, and at last that it has ended."""
    stream: IO[bytes] = worker.process.stdout  # type: ignore[assignment]
    with suppress(OSError, ValueError):  # closed by this process, or cut off in the middle of a message
        while (message := read_line(stream)) is not None:
            size = int(message.get("bytes", 0))
            content = stream.read(size)
            if len(content) < size:
                break
            inbox.put((worker, message, content))
    inbox.put((worker, None, b""))


@contextmanager
def _work_folder(assignments: Assignments) -> Iterator[Path]:
    """A folder for what workers read, gone at the end; those that killed processes left behind go too."""
    study = assignments.folder
    at_work = assignments.known_owners()
    for left in study.glob(f"{WORK_PREFIX}*"):
        if left.name.removeprefix(WORK_PREFIX) not in at_work:
            shutil.rmtree(left, ignore_errors=True)
    folder = study / f"{WORK_PREFIX}{assignments.owner.id}"
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}. What was finished is kept."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """This process's, with one BLAS thread, and with this chalknet to be found, installed or not."""
    package = str(Path(version.__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return f" ({signal.Signals(number).name})"
    return ""
