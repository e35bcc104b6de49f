"""Watch a study: what is done, what is being trained, and how long it will take.

`StudyObserver` reads the folder of a study again and again, and keeps what cannot have changed: the
results of finished runs, of which there may be thousands. It writes nothing, and leaves no file in
the folder (`Store.read_without_trace`). The epochs of runs that are not finished come from their checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.checkpoint_history import read_checkpoint_history
from chalknet.errors import StoreError
from chalknet.records import EpochRecord
from chalknet.studies.configurations import Configuration, RunKey
from chalknet.studies.lease import Lease, LeaseObserver
from chalknet.studies.results import DataFacts, RunRecord, RunResult, StudyResults
from chalknet.studies.results_reader import read_specification
from chalknet.studies.run_checkpoints import CHECKPOINT_FOLDER, checkpoint_path
from chalknet.studies.spec import StudySpec
from chalknet.studies.store import STORE_FILE, Store, store_signature

MAX_CHECKPOINTS = 64  # checkpoints that are read at once: those that were written last
MIN_IMAGES = 2  # samples that a fraction needs for an interval
Key = tuple[str, int]  # of a run: `RunKey.key`


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What is kept of a finished run, without its history.

    Attributes:
        kept: the scores of the kept epoch.
        n_epochs: number of epochs that were trained.
        seconds: wall time of all epochs.
        correct: (M,) bool, which samples of the split that is compared are classified correctly;
            None without such a split.
    """

    kept: EpochRecord
    n_epochs: int
    seconds: float
    correct: NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class UnfinishedRun:
    """A run that is being trained, or that was interrupted and has a checkpoint.

    Attributes:
        run: the run.
        is_running: whether a process trains it now.
        history: the epochs of its last checkpoint; () before the first one.
        n_epochs: number of epochs of its recipe.
    """

    run: RunKey
    is_running: bool
    history: tuple[EpochRecord, ...]
    n_epochs: int


@dataclass(frozen=True, eq=False)
class TimeLeft:
    """An estimate of the time that a study still takes.

    Attributes:
        seconds: from `at` on.
        at: when it was estimated, in seconds since 1970.
        n_runs: number of runs that the speed was measured with.
        measured_seconds: how long they took together.
    """

    seconds: float
    at: float
    n_runs: int
    measured_seconds: float


@dataclass(frozen=True, eq=False)
class StudyState:
    """A study at one moment.

    Attributes:
        folder: the study's folder.
        results: specification, configurations, statuses and errors. A run whose process is dead is
            "todo".
        split: the split that configurations are compared on: "valid", "test" without validation
            samples, or "" without either.
        finished: what is known of each finished run, by `RunKey.key`.
        unfinished: runs with a checkpoint or a process, those that are trained first.
        n_processes: number of living processes that lead the study; each has workers of its own.
        n_total: number of runs, with those of configurations that a search has not chosen yet.
        time_left: the estimate; None before anything is known, or if nobody works on the study.
    """

    folder: Path
    results: StudyResults
    split: str
    finished: Mapping[Key, FinishedRun]
    unfinished: tuple[UnfinishedRun, ...]
    n_processes: int
    n_total: int
    time_left: TimeLeft | None

    @property
    def is_over(self) -> bool:
        """Whether every run is done or has failed."""
        counts = self.results.counts
        return counts["done"] + counts["failed"] >= self.n_total

    @property
    def phase(self) -> str:
        """Return "running", "interrupted" if nobody works on an unfinished study, or "finished"."""
        if self.is_over:
            return "finished"
        return "running" if self.n_processes else "interrupted"


@dataclass(eq=False)
class _Content:
    """What one look into the store has found."""

    spec: StudySpec
    facts: DataFacts
    configs: tuple[Configuration, ...]
    statuses: dict[Key, tuple[str, str]]
    errors: dict[Key, str]
    events: list[tuple[float, str, int, str, str]]
    costs: dict[Key, float]
    counter: tuple[int, ...] = ()


class StudyObserver:
    """Reads the state of a study's folder as often as it is asked to. Use it in one thread at a time.

    Args:
        folder: the folder, which may be that of a study that has not begun.
        clock: returns seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Create an observer; nothing is read yet."""
        self.folder: Path = folder
        self._clock = clock
        self._signature: Any = None
        self._content: _Content | None = None
        self._leases: list[tuple[Lease, float]] = []
        self._lease_observer = LeaseObserver()
        self._finished: dict[Key, FinishedRun] = {}
        self._histories: dict[Key, tuple[Any, tuple[EpochRecord, ...]]] = {}
        self._state: StudyState | None = None
        self._state_of: Any = None

    def state(self) -> StudyState | None:
        """Return the state of the study, or None before it has begun.

        If nothing has changed, the same object is returned.

        Raises:
            StoreError: the store is damaged, foreign or too new.
            OutputError: it cannot be opened.
        """
        signature = store_signature(self.folder)
        if signature[0] is None or not signature[0][0]:
            self._signature = self._content = self._state = None
            return None
        # A file that was changed a moment ago may change again without another time of its change.
        is_settled = self._clock() - max(part[1] for part in signature if part) / 1e9 > 0.1
        if signature != self._signature or self._content is None:
            self._look()
            self._signature = signature if is_settled else None
        if self._content is None:
            return None
        alive = {lease.id for lease, beat in self._leases if self._lease_observer.looks_alive(lease, beat)}
        checkpoints = self._read_checkpoints(self._content)
        known = (id(self._content), frozenset(alive), tuple(self._histories[key][0] for key in checkpoints))
        if self._state is None or known != self._state_of:
            self._state, self._state_of = self._make_state(self._content, alive, checkpoints), known
        return self._state

    def history(self, run: RunKey) -> tuple[EpochRecord, ...]:
        """Return the epochs of a finished run; raises as `state`."""
        return Store.read_without_trace(self.folder, lambda store: store.run_record(run.key)).history

    def _look(self) -> None:
        """Read the store, or only its leases and counters if no run has changed its status."""

        def look(store: Store) -> _Content | None:
            if not store.has_begun():
                return None
            self._leases = store.leases()
            counter = store.change_counter()
            if self._content is not None and self._content.counter == counter:
                return self._content
            spec, facts, configs = read_specification(store)
            statuses = store.owned_statuses()
            content = _Content(
                *(spec, facts, configs, statuses, store.errors(), store.timed_events(), store.run_costs()), counter
            )
            split = _compared_split(facts)
            known = self._finished if self._content is not None and self._content.facts == facts else {}
            self._finished = {
                key: known.get(key) or _finished_run(store, key, split, facts)
                for key, (status, _) in statuses.items()
                if status == "done"
            }
            return content

        self._content = Store.read_without_trace(self.folder, look)

    def _read_checkpoints(self, content: _Content) -> list[Key]:
        """Read the checkpoints that are new or have changed, and return the runs that have one."""
        if not (self.folder / CHECKPOINT_FOLDER).is_dir():
            self._histories = {}
            return []
        runs = {checkpoint_path(Path(), run).name: run.key for run in self._runs(content)}
        found = []
        try:
            for path in (self.folder / CHECKPOINT_FOLDER).glob("*.safetensors"):
                entry = path.stat()
                if path.name in runs and content.statuses.get(runs[path.name], ("todo", ""))[0] in ("todo", "running"):
                    found.append((entry.st_mtime_ns, entry.st_size, runs[path.name], path))
        except OSError:  # the study has ended and removes the folder
            pass
        found = sorted(found, reverse=True)[:MAX_CHECKPOINTS]
        for changed, size, key, path in found:
            if self._histories.get(key, (None,))[0] != (key, changed, size):
                try:
                    self._histories[key] = ((key, changed, size), read_checkpoint_history(path))
                except StoreError:  # deleted a moment ago, or damaged, which costs its training time and nothing else
                    self._histories.setdefault(key, ((key, changed, size), ()))
        kept = {key for _, _, key, _ in found}
        self._histories = {key: value for key, value in self._histories.items() if key in kept}
        return sorted(kept)

    def _runs(self, content: _Content) -> list[RunKey]:
        return [RunKey(config, seed) for config in content.configs for seed in content.spec.seed_numbers]

    def _make_state(self, content: _Content, alive: set[str], checkpoints: Sequence[Key]) -> StudyState:
        """Return the state of what was read."""
        statuses = {
            key: "todo" if status == "running" and owner not in alive else status
            for key, (status, owner) in content.statuses.items()
        }
        results = StudyResults(
            content.spec,
            content.facts,
            content.configs,
            content.spec.seed_numbers,
            statuses,
            content.errors,
            self._load(content.facts),
            self.folder,
            self._load_record,
        )
        unfinished = [
            UnfinishedRun(
                run,
                statuses.get(run.key) == "running",
                self._histories[run.key][1] if run.key in self._histories else (),
                run.configuration.recipe.training.epochs,
            )
            for run in results.runs
            if statuses.get(run.key) == "running" or run.key in checkpoints
        ]
        known, search = len({run.key for run in results.runs}), content.spec.search
        n_total = known
        if search is not None:
            n_total = max(known, (search.trials - len(content.configs)) * content.spec.seeds + known)
        return StudyState(
            folder=self.folder,
            results=results,
            split=_compared_split(content.facts),
            finished=self._finished,
            unfinished=tuple(sorted(unfinished, key=lambda one: not one.is_running)),
            n_processes=len(alive),
            n_total=n_total,
            time_left=self._time_left(content, alive, unfinished, n_total - known) if alive else None,
        )

    def _time_left(
        self, content: _Content, alive: set[str], unfinished: Sequence[UnfinishedRun], n_unknown: int
    ) -> TimeLeft | None:
        """Return the estimate of `WorkQueue.progress`, made from what the store and checkpoints say.

        The speed is measured from the first run on that a living process has begun.
        """
        now = self._clock()
        started = min(
            (at for at, *_, event, owner in content.events if event == "begun" and owner in alive), default=now
        )
        costs = {run.key: content.costs.get(run.key, 0.0) for run in self._runs(content)}
        ended = [(key, seed) for at, key, seed, event, _ in content.events if event == "done" and at >= started]
        begun = sum(self._fraction(one, now) * costs[one.run.key] for one in unfinished)
        # What a checkpoint holds from before this start is not part of the speed.
        resumed = sum(
            sum(record.seconds for record in one.history) > now - started + 1.0 for one in unfinished if one.history
        )
        done = sum(costs.get(key, 0.0) for key in ended) + (0.0 if resumed else begun)
        left = sum(
            cost for key, cost in costs.items() if content.statuses.get(key, ("todo", ""))[0] in ("todo", "running")
        )
        left += sum(costs.values()) / max(len(costs), 1) * n_unknown - begun
        seconds = now - started
        if done <= 0 or seconds <= 0:
            return None
        return TimeLeft(max(0.0, seconds / done * left), now, len(ended), seconds)

    def _fraction(self, one: UnfinishedRun, now: float) -> float:
        """Return the fraction of its epochs that a run has probably trained, judged by its last checkpoint."""
        n_epochs = float(len(one.history))
        if one.is_running and one.history:
            (_, changed, _), _ = self._histories[one.run.key]
            recent = one.history[-10:]
            seconds = sum(record.seconds for record in recent) / len(recent)
            n_epochs += max(now - changed / 1e9, 0.0) / max(seconds, 1e-9)
        return min(n_epochs / one.n_epochs, 1.0)

    def _load(self, facts: DataFacts) -> Callable[[Configuration, int], RunResult]:
        def load(config: Configuration, seed: int) -> RunResult:
            return Store.read_without_trace(self.folder, lambda store: store.result((config.key, seed), facts))

        return load

    def _load_record(self, config: Configuration, seed: int) -> RunRecord:
        return Store.read_without_trace(self.folder, lambda store: store.run_record((config.key, seed)))


def is_study(folder: Path) -> bool:
    """Return whether a folder holds a study's store."""
    return (folder / STORE_FILE).is_file()


def _compared_split(facts: DataFacts) -> str:
    """Return the split that configurations are compared on."""
    return next((split for split in ("valid", "test") if facts.split_sizes[split] >= MIN_IMAGES), "")


def _finished_run(store: Store, key: Key, split: str, facts: DataFacts) -> FinishedRun:
    """Read what is kept of a finished run."""
    kept, n_epochs, seconds = store.kept_epoch(key)
    return FinishedRun(kept, n_epochs, seconds, store.correct(key, split, facts) if split else None)
