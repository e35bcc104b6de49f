"""Dispatch the runs of a study to workers and record their results.

`WorkQueue` claims runs in the store. `Scheduler` gives them to workers and is the same for every
backend. A backend is a `WorkerPool` that starts workers: local processes (`local_pool`) or Ray
actors (`ray_pool`). Scheduler and workers exchange the messages that `protocol` defines.

Only the store records which runs are done, so every process can be killed at any point:

- A killed worker: the scheduler sees its connection close (`Scheduler._handle_exit`) and records a
  crash (`Store.record_crash`). The run is "todo" again, and resumes from its last checkpoint
  (`RunCheckpoint` in `studies/study_training.py`). After `MAX_CRASHES` crashes
  (`studies/store.py`) it is marked as failed.
- A killed scheduler: its workers see their connections close. They train for a few more seconds,
  write checkpoints and exit (`worker.main`). `LeaseObserver` (`studies/lease.py`) reports that the
  holder of the lease is dead. The next scheduler (`WorkQueue._begin`), or another scheduler that is
  running (`WorkQueue.claim`), then releases its runs (`Store.release_dead`). The new worker of a
  run waits until the old one has released the lock (`run_lock` in `studies/run_checkpoints.py`).
- A scheduler that is killed after it has received the output of a run, and before it has stored it:
  the run is resumed from its checkpoint, which is deleted only after the output is stored.
- A killed container: its heartbeats stop, and schedulers in other containers release its runs.
- A crash of the machine: the next scheduler sees that no heartbeat comes, and releases all runs.

tests/studies/test_runner.py kills workers and schedulers.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from chalknet.artifacts.atomic import new_folder, refuse_link, remove_temporaries, write_bytes
from chalknet.data.dataset import Dataset
from chalknet.errors import ChalknetError
from chalknet.formatting import count_of
from chalknet.studies.configurations import Configuration, RunKey
from chalknet.studies.execution_plan import Job, MakePlan, Plan
from chalknet.studies.lease import HEARTBEAT_SECONDS, Lease, end_lease, new_lease
from chalknet.studies.results import model_name
from chalknet.studies.results_reader import chosen_configurations
from chalknet.studies.run_checkpoints import checkpoint_folder, clear_checkpoint
from chalknet.studies.run_output import RunOutput, output_from, record_from
from chalknet.studies.runner.protocol import Message, job_message
from chalknet.studies.search import Trial, next_trials, search_key
from chalknet.studies.search_space import configuration_splits, cost, data_facts, make_configuration, study_splits
from chalknet.studies.spec import StudySpec, spec_tables
from chalknet.studies.store import Store

# How often to look in the store for runs that another scheduler on the same study has released.
POLL_SECONDS = 0.5
# The study fails if this many workers in a row exit before they report "ready". After one early exit
# (a killed process), another worker can succeed. After three in a row, it is unlikely.
MAX_START_FAILURES = 3


@dataclass(frozen=True)
class RunEvent:
    """How a run ended in this process.

    Attributes:
        run: the run.
        seconds: wall time of its epochs.
        valid_accuracy: accuracy of the kept network; None if the run failed or there are no
            validation samples.
        error: why the run failed, or "" if it is done.
        will_retry: whether the run is "todo" again because its worker crashed.
    """

    run: RunKey
    seconds: float = 0.0
    valid_accuracy: float | None = None
    error: str = ""
    will_retry: bool = False


@dataclass(frozen=True)
class StudyProgress:
    """The state of a study, for callers that show it.

    Attributes:
        total: number of runs.
        done: runs that are done, by all processes that work on the study. The same holds for
            running and failed.
        running: runs that are being trained.
        failed: runs that failed.
        seconds_left: an estimate from the costs of the runs; None before anything is known.
        active_runs: the running runs of this process, each with its last epoch and its number of
            epochs.
        ended: the run that has just ended, or None.
    """

    total: int
    done: int
    running: int
    failed: int
    seconds_left: float | None
    active_runs: tuple[tuple[RunKey, int, int], ...] = ()
    ended: RunEvent | None = None


ProgressCallback = Callable[[StudyProgress], None]


class WorkQueue:
    """The runs of a study that this process may train. Other processes may work on the same study.

    Use it as a context. At its end, runs that were claimed and are not finished become "todo"
    again.

    Args:
        store: the store, opened in this thread.
        spec: the specification.
        data: the study's samples.
        retry_failed: whether runs that failed before are trained again.
        make_plan: decides which runs are trained at once; without it each run is a job of its own.
        on_plan: called with each plan.
        clock: returns seconds, to estimate the time left.

    Raises:
        DataError: on entering, if the study was made with other data.
    """

    def __init__(
        self,
        store: Store,
        spec: StudySpec,
        data: Dataset,
        *,
        retry_failed: bool = False,
        make_plan: MakePlan | None = None,
        on_plan: Callable[[Plan], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a queue; see the class for the arguments."""
        self._store, self._spec, self._data, self._clock = store, spec, data, clock
        self._retry_failed, self._make_plan_of, self._on_plan = retry_failed, make_plan, on_plan
        self._plan: Plan | None = None
        self.folder: Path = store.path.parent
        self.lease: Lease = new_lease()
        self._runs: dict[tuple[str, int], RunKey] = {}
        self._costs: dict[str, float] = {}
        self._search_is_over = spec.search is None
        self._is_over = threading.Event()
        self._heartbeat_thread = threading.Thread(target=self._send_heartbeats, daemon=True)
        self._started, self._done_before = clock(), 0.0
        self._splits = study_splits(data, make_configuration(spec, {}), spec.first_seed)

    def __enter__(self) -> WorkQueue:
        """Take a lease and add the runs to the store."""
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        """Record data, specification, lease and runs, and estimate from what is done already."""
        self._store.set_data(data_facts(self._data))
        self._store.set_specification({"spec": spec_tables(self._spec), "split_sizes": self._splits.sizes})
        self._store.heartbeat(self.lease)
        self._heartbeat_thread.start()
        self._store.release_dead()
        self._add(chosen_configurations(self._spec, self._store))
        if self._retry_failed:
            self._store.retry_failed()
        self._make_plan()
        self._done_before = self._store.counts()["done"][1]
        self._started = self._clock()

    def __exit__(self, *_: object) -> None:
        """End the lease and release the runs that it still has."""
        self._is_over.set()
        try:
            if self._heartbeat_thread.ident is not None:
                self._heartbeat_thread.join()
            self._store.release(self.lease)
            self._store.fold_log()
        finally:
            # Also if the store could not be written: a later study in this process then sees that the
            # lease has ended, and releases its runs.
            end_lease(self.lease)

    def _send_heartbeats(self) -> None:
        """Send heartbeats, whatever this process is busy with; runs in a thread."""
        while not self._is_over.wait(HEARTBEAT_SECONDS):
            with suppress(ChalknetError), Store.open_or_create(self.folder) as store:
                store.heartbeat(self.lease)

    def claim(self) -> Job:
        """Claim runs to train at once, or return () if there is none at the moment.

        Later, another process may release a run, or the search may choose one. `is_complete`
        returns whether the study is over.
        """
        key = self._store.claim(self.lease)
        if key is None and self._store.release_dead():
            key = self._store.claim(self.lease)
        if key is None and not self._search_is_over and self._all_ended():
            self._choose_configurations()
            key = self._store.claim(self.lease)
        if key is None:
            return ()
        job = () if self._plan is None else self._plan.job_of.get(key, ())
        others = [other.key for other in job if other.key != key]
        taken = self._store.claim_for_stack(key, others, self.lease) if others else []
        return tuple(self._runs[one] for one in (key, *taken))

    def is_complete(self) -> bool:
        """Return whether every run is done or failed and the search has finished."""
        return self._search_is_over and self._all_ended()

    def n_claimable(self) -> int:
        """Return how many runs could be trained at the same time, as far as that is known."""
        if self._search_is_over or self._spec.search is None:
            return self._store.counts()["todo"][0]
        return self._spec.search.at_once * self._spec.seeds

    def lease_ids(self) -> set[str]:
        """Return the ids of all leases of the study, including that of this process."""
        return {lease.id for lease, _ in self._store.leases()}

    def keeps_model(self, run: RunKey) -> bool:
        """Return whether the model file of a run is kept: only for a configuration's first seed."""
        return run.seed == self._spec.first_seed

    def complete(self, run: RunKey, output: RunOutput) -> RunEvent:
        """Store the output of a run, and delete its checkpoint."""
        if output.model:
            path = self.folder / model_name(run.configuration, run.seed)
            refuse_link(path.parent)
            with new_folder(path.parent):
                remove_temporaries(path.parent, [path.name])
                write_bytes(path, output.model)
        if self._store.complete(run, self.lease, output):
            clear_checkpoint(self.folder, run)
        scores = record_from(output.record).kept.valid
        return RunEvent(run, output.record["seconds"], None if scores is None else scores.accuracy)

    def fail(self, run: RunKey, error: str) -> RunEvent:
        """Record the error of a failed run, and delete its checkpoint.

        If another process has the run by now, nothing changes.
        """
        if self._store.fail(run, self.lease, error):
            clear_checkpoint(self.folder, run)  # from its checkpoint it would fail again
        return RunEvent(run, error=error)

    def record_crash(self, run: RunKey, reason: str) -> RunEvent:
        """Record that the worker exited before the run was finished."""
        failed = self._store.record_crash(run, self.lease, reason)
        if failed:
            clear_checkpoint(self.folder, run)
        return RunEvent(run, error=reason, will_retry=not failed)

    def release_run(self, run: RunKey) -> None:
        """Make a run "todo" again whose worker was asked to stop."""
        self._store.release_run(run, self.lease)

    def progress(self, active_runs: Mapping[RunKey, int], ended: RunEvent | None = None) -> StudyProgress:
        """Return the state of the study.

        Args:
            active_runs: the running runs of this process, each with its number of finished epochs.
            ended: the run that has just ended, or None.
        """
        counts = self._store.counts()
        epochs = {run: run.configuration.recipe.training.epochs for run in active_runs}
        n_configurations = self._spec.search.trials if not self._search_is_over and self._spec.search else 0
        known, total = len(self._runs), max(len(self._runs), n_configurations * self._spec.seeds)
        # Seconds per cost, from everything that was trained since this process began, by any process.
        begun = sum(epoch / epochs[run] * self._cost(run.configuration) for run, epoch in active_runs.items())
        done = counts["done"][1] - self._done_before + begun
        left = counts["todo"][1] + counts["running"][1] - begun
        # Configurations that a search has not chosen yet are assumed to cost as much as the others.
        left += sum(cost for _, cost in counts.values()) / max(known, 1) * (total - known)
        return StudyProgress(
            total=total,
            done=counts["done"][0],
            running=counts["running"][0],
            failed=counts["failed"][0],
            seconds_left=(self._clock() - self._started) / done * left if done > 0 else None,
            active_runs=tuple((run, epoch, epochs[run]) for run, epoch in active_runs.items()),
            ended=ended,
        )

    def _all_ended(self) -> bool:
        """Return whether every known run is done or failed, by whichever process."""
        counts = self._store.counts()
        return counts["done"][0] + counts["failed"][0] == len(self._runs)

    def _choose_configurations(self) -> None:
        """Let the search choose its next round from the results of all earlier rounds."""
        key = search_key(self._spec)
        settings = self._store.trials(key)
        trials = [Trial(one, self._objective(make_configuration(self._spec, one))) for one in settings]
        chosen = [(make_configuration(self._spec, one), one) for one in next_trials(self._spec, trials)]
        self._store.add_trials(key, len(trials), chosen)
        before = len(self._runs)
        self._add(chosen_configurations(self._spec, self._store))
        self._make_plan()
        self._search_is_over = len(self._runs) == before

    def _objective(self, config: Configuration) -> float | None:
        """Return the search's objective, averaged over the seeds, or None if a run failed."""
        assert self._spec.search is not None, "only a search has an objective"
        statuses = self._store.statuses()
        keys = [(config.key, seed) for seed in self._spec.seed_numbers]
        if any(statuses[key] != "done" for key in keys):
            return None
        scores = [self._store.kept_scores(key) for key in keys]
        name = self._spec.search.objective.removeprefix("valid_")
        return float(sum(getattr(one, name) for one in scores)) / len(scores)

    def _add(self, configs: Sequence[Configuration]) -> None:
        """Add the runs of configurations here and in the store; the first seed comes first."""
        runs = [RunKey(config, seed) for seed in self._spec.seed_numbers for config in configs]
        self._runs = {run.key: run for run in runs}
        self._store.add_runs(runs, {config.key: self._cost(config) for config in configs})
        self._store.select_runs(runs)

    def _make_plan(self) -> None:
        """Plan the runs that are "todo", if there is a planner."""
        if self._make_plan_of is None:
            return
        statuses = self._store.statuses()
        todo = [run for key, run in self._runs.items() if statuses[key] == "todo"]
        if todo:
            self._plan = self._make_plan_of(todo)
            if self._on_plan is not None:
                self._on_plan(self._plan)

    def _cost(self, config: Configuration) -> float:
        """Return the cost of a run of this configuration."""
        if config.key not in self._costs:
            sizes = configuration_splits(self._data, config, self._splits).sizes
            self._costs[config.key] = cost(config, self._data, sizes)
        return self._costs[config.key]


class Worker(Protocol):
    """A process or actor that trains one job at a time."""

    def submit(self, message: Message) -> None:
        """Send a job.

        If the worker has exited, nothing is raised. The pool puts the exit into its inbox.
        """

    def exit_reason(self) -> str:
        """Return how the worker exited, in words."""

    def stop(self) -> None:
        """Kill the worker."""


Received = tuple[Worker, Message | None, bytes]  # a worker's message and its content; None: the worker has exited


class WorkerPool(Protocol):
    """A source of workers.

    Attributes:
        size: the most workers at a time.
        threads: number of threads of each worker.
        inbox: the messages of all workers, in the order in which they arrived.
    """

    size: int
    threads: int
    inbox: queue.Queue[Received]

    def start_worker(self) -> Worker:
        """Start a worker; it sends "ready" when it can be given a job."""


@dataclass(eq=False)
class WorkerSlot:
    """A worker and the job that it is training.

    Attributes:
        worker: the worker.
        is_ready: whether it has sent "ready".
        job: its last job.
        epochs: the number of finished epochs of each run of the job that has not ended; an idle
            worker has none.
    """

    worker: Worker
    is_ready: bool = False
    job: Job = ()
    epochs: dict[RunKey, int] = field(default_factory=dict)


class Scheduler:
    """Trains all runs of a study that are not done, on at most `pool.size` workers at a time.

    Args:
        queue: the runs.
        pool: the workers.
        on_progress: called with the state of the study after each event, and at least every
            `POLL_SECONDS`.

    Example:
        with WorkQueue(store, spec, data) as queue, local_pool(queue, data, size=4) as pool:
            Scheduler(queue, pool).run()
    """

    def __init__(self, queue: WorkQueue, pool: WorkerPool, on_progress: ProgressCallback | None = None) -> None:
        """Create a scheduler; see the class for the arguments."""
        self._queue, self._pool, self._on_progress = queue, pool, on_progress
        self._slots: list[WorkerSlot] = []
        self._waiting: list[Job] = []  # for a worker that is ready
        self._start_failures = 0

    def run(self) -> None:
        """Return when every run is done or failed, by this or another process.

        Raises:
            OutputError: the store cannot be written.
            ChalknetError: workers cannot be started.
        """
        with checkpoint_folder(self._queue.folder) as self._checkpoints:
            self._dispatch()
            while any(slot.epochs for slot in self._slots) or not self._queue.is_complete():
                try:
                    worker, message, content = self._pool.inbox.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    self._dispatch()
                    self._show()
                    continue
                slot = next((slot for slot in self._slots if slot.worker is worker), None)
                if slot is None:
                    continue  # the exit of a worker that had reported "stopped"; its runs are released
                events = self._handle_exit(slot) if message is None else self._handle(slot, message, content)
                if message is None or not slot.epochs:
                    self._dispatch()
                for event in events:
                    self._show(event)
                if not events and slot.epochs:
                    self._show()
            self._show()

    def _dispatch(self) -> None:
        """Submit jobs to workers that are ready and idle, and start workers for jobs that are left.

        A worker gets a job only when it is ready. In a cluster, a worker may have to wait for free
        cores, and another worker can train the job in the meantime.
        """
        training = sum(bool(slot.epochs) for slot in self._slots)
        while training + len(self._waiting) < self._pool.size and (job := self._queue.claim()):
            self._waiting.append(job)
        concurrency = count_of(self._pool.size, "worker process", "worker processes")
        for slot in self._slots:
            if self._waiting and slot.is_ready and not slot.epochs:
                slot.job = self._waiting.pop(0)
                slot.epochs = dict.fromkeys(slot.job, 0)
                keep_model = [self._queue.keeps_model(run) for run in slot.job]
                slot.worker.submit(
                    job_message(slot.job, self._pool.threads, concurrency, keep_model, self._checkpoints)
                )
        starting = sum(not slot.is_ready for slot in self._slots)
        self._slots += [WorkerSlot(self._pool.start_worker()) for _ in range(len(self._waiting) - starting)]

    def _handle(self, slot: WorkerSlot, message: Message, content: bytes) -> list[RunEvent]:
        """Record what a worker has sent, and return the runs that ended by it."""
        if message["event"] == "ready":
            slot.is_ready, self._start_failures = True, 0
            return []
        if message["event"] == "stopped":  # a signal has asked this worker alone to end
            self._slots.remove(slot)
            for run in slot.epochs:
                self._queue.release_run(run)
            slot.epochs.clear()
            return []
        run = slot.job[message["run"]]
        if message["event"] == "epoch":
            slot.epochs[run] = message["epoch"]
            return []
        del slot.epochs[run]
        if message["event"] == "failed":
            return [self._queue.fail(run, message["error"])]
        return [self._queue.complete(run, output_from(message["record"], content))]

    def _handle_exit(self, slot: WorkerSlot) -> list[RunEvent]:
        """Record the runs that a dead worker was training as crashed, and free its slot.

        The store decides whether a crashed run is retried. The next `_dispatch` starts a new worker
        if runs are left.

        Raises:
            ChalknetError: MAX_START_FAILURES workers in a row exited before they were ready.
        """
        reason = slot.worker.exit_reason()
        self._slots.remove(slot)
        slot.worker.stop()
        if not slot.is_ready:
            self._start_failures += 1
            if self._start_failures >= MAX_START_FAILURES:
                raise ChalknetError(f"worker processes cannot be started: {reason}.")
        return [self._queue.record_crash(run, reason) for run in slot.epochs]

    def _show(self, event: RunEvent | None = None) -> None:
        """Report the state of the study."""
        if self._on_progress is not None:
            active_runs = {run: epoch for slot in self._slots for run, epoch in slot.epochs.items()}
            self._on_progress(self._queue.progress(active_runs, event))
