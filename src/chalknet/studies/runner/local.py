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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import chalknet
from chalknet.data.dataset import Dataset
from chalknet.errors import ChalknetError, OutputError
from chalknet.machine.processor import available_cores
from chalknet.studies.assignments import Assignments, StudyProgress, UnitEnd
from chalknet.studies.cells import Unit
from chalknet.studies.runner.wire import outcome_from, read_line, unit_message, write_data, write_line

WORK_PREFIX = ".work-"  # of the folder with what workers read, in the study's own
LOOK_SECONDS = 0.5  # between two looks for units that another process has given up or finished
MOST_FALSE_STARTS = 3  # workers in a row that ended before they were ready: it is not chance
ONE_THREAD = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

Observer = Callable[[StudyProgress], None]
Message = dict[str, Any]


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
    with _work_folder(assignments) as folder, _Crew(folder, data, jobs) as crew:
        _Foreman(assignments, crew, observe or _unseen).work()


@dataclass(eq=False)
class _Worker:
    """One worker process, and what it is at."""

    process: subprocess.Popen[bytes]
    log: Path
    is_ready: bool = False
    unit: Unit | None = None
    epoch: int = 0

    def give(self, unit: Unit, threads: int, trained: str, with_model: bool) -> None:
        """Hands a unit over; one that has ended is noticed by its reader."""
        self.unit, self.epoch = unit, 0
        assert self.process.stdin is not None, "it was started with a pipe"
        message = {"unit": unit_message(unit), "threads": threads, "trained": trained, "with_model": with_model}
        with suppress(OSError):
            write_line(self.process.stdin, message)

    def ending(self) -> str:
        """How it ended, in words, with the last line that it wrote."""
        code = self.process.wait()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}{_signal_name(-code)}"
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return f"{how}: {lines[-1].strip()[:200]}" if lines else how
        return how

    def stop(self) -> None:
        """Ends it at once; what it was at is lost, and it holds nothing else."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@dataclass(eq=False)
class _Crew:
    """The worker processes. All are stopped when the context ends."""

    folder: Path
    data: Dataset
    jobs: int
    workers: list[_Worker] = field(default_factory=list)
    inbox: queue.Queue[tuple[_Worker, Message | None, bytes]] = field(default_factory=queue.Queue)

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()

    def free(self) -> _Worker | None:
        """A worker with nothing to do: one that there is, or a new one if there may be more."""
        idle = next((worker for worker in self.workers if worker.unit is None), None)
        return idle if idle is not None or len(self.workers) >= self.jobs else self._start()

    def dismiss(self, worker: _Worker) -> None:
        """Takes out one that has ended."""
        self.workers.remove(worker)
        worker.stop()

    def _start(self) -> _Worker:
        if not self.workers:
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
        self.workers.append(worker)
        assert process.stdin is not None, "it was started with pipes"
        with suppress(OSError):
            write_line(process.stdin, {"open": str(self.folder.absolute())})
        threading.Thread(target=_read, args=(worker, self.inbox), daemon=True).start()
        return worker


class _Foreman:
    """The loop: gives units to idle workers, and tells the assignments what comes back."""

    def __init__(self, assignments: Assignments, crew: _Crew, observe: Observer) -> None:
        self._assignments, self._crew, self._observe = assignments, crew, observe
        self._threads = max(1, available_cores() // crew.jobs)
        self._trained = "one at a time" if crew.jobs == 1 else f"{crew.jobs} at a time"
        self._false_starts = 0

    def work(self) -> None:
        self._hand_out()
        while self._at_work() or not self._assignments.is_over():
            self._assignments.beat()
            try:
                worker, message, content = self._crew.inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self._hand_out()  # what another process has given up
                self._show()
                continue
            end = self._take(worker, message, content)
            if end is not None:
                self._hand_out()
            if end is not None or worker.unit is not None:
                self._show(end)
        self._show()

    def _hand_out(self) -> None:
        """Units to whoever has none, as long as there are any."""
        while len(self._at_work()) < self._crew.jobs and (unit := self._assignments.ask()) is not None:
            worker = self._crew.free()
            assert worker is not None, "fewer are at work than may be"
            worker.give(unit, self._threads, self._trained, self._assignments.wants_model(unit))

    def _take(self, worker: _Worker, message: Message | None, content: bytes) -> UnitEnd | None:
        """What a worker said; how its unit ended, if it did."""
        if message is None:
            return self._bury(worker)
        if message["say"] == "ready":
            worker.is_ready, self._false_starts = True, 0
            return None
        unit = worker.unit
        assert unit is not None, "it speaks of its unit"
        if message["say"] == "epoch":
            worker.epoch = message["epoch"]
            return None
        worker.unit = None
        if message["say"] == "failed":
            return self._assignments.tell_failed(unit, message["error"])
        return self._assignments.tell_done(unit, outcome_from(message, content))

    def _bury(self, worker: _Worker) -> UnitEnd | None:
        """A worker has ended: its unit is told, and another takes its place when there is work."""
        reason, unit = worker.ending(), worker.unit
        self._crew.dismiss(worker)
        if not worker.is_ready:
            self._false_starts += 1
            if self._false_starts >= MOST_FALSE_STARTS:
                raise ChalknetError(f"worker processes cannot be started: {reason}.")
        return None if unit is None else self._assignments.tell_died(unit, reason)

    def _at_work(self) -> dict[Unit, int]:
        return {worker.unit: worker.epoch for worker in self._crew.workers if worker.unit is not None}

    def _show(self, end: UnitEnd | None = None) -> None:
        self._observe(self._assignments.progress(self._at_work(), end))


def _unseen(progress: StudyProgress) -> None:
    """Nobody looks."""


def _read(worker: _Worker, inbox: queue.Queue[tuple[_Worker, Message | None, bytes]]) -> None:
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
    package = str(Path(chalknet.__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return f" ({signal.Signals(number).name})"
    return ""
