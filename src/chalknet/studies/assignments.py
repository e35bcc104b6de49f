"""What a runner asks and tells: `ask() -> load`, `tell_done(unit, outcome)`; behind it, the store and the sampler."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalknet.artifacts.atomic import new_folder, write_bytes
from chalknet.data.dataset import Dataset, arrays_sha256
from chalknet.data.splits import Splits
from chalknet.studies.cells import Cell, Unit
from chalknet.studies.outcome import Outcome, kept_scores
from chalknet.studies.owner import BEAT_SECONDS, Owner, new_owner, retire
from chalknet.studies.plan import Job, Plan, Planner
from chalknet.studies.reading import chosen_cells
from chalknet.studies.results import model_name
from chalknet.studies.search import Trial, next_trials, search_key
from chalknet.studies.space import cost, divide, make_cell, own_splits
from chalknet.studies.spec import StudySpec, spec_tables
from chalknet.studies.store import Store

Clock = Callable[[], float]


@dataclass(frozen=True)
class UnitEnd:
    """How a unit ended in this process.

    Attributes:
        error: what it failed with, "" where it is done.
        valid_accuracy: of the kept network, None where it failed or there is no validation part.
        again: whether it will be tried again, its process having ended.
    """

    unit: Unit
    seconds: float = 0.0
    valid_accuracy: float | None = None
    error: str = ""
    again: bool = False


@dataclass(frozen=True)
class StudyProgress:
    """Where a study stands, for whoever shows it.

    Attributes:
        total, done, running, failed: units of the present question, of all processes that work on it.
        seconds_left: estimated from what the units cost; None before anything is known.
        at_work: this process's running units, each with its last epoch and the number of its epochs.
        ended: the unit that has just ended, or None.
    """

    total: int
    done: int
    running: int
    failed: int
    seconds_left: float | None
    at_work: tuple[tuple[Unit, int, int], ...] = ()
    ended: UnitEnd | None = None


class Assignments:
    """The units of a question that this process may train, handed out in loads.

    Use as a context: when it ends, however it ends, units that were begun and not finished are "todo" again.

    Args:
        store: this thread's.
        spec, data: the question, and the samples that it is about; `prepare` has put both into the store.
        retry_failed: whether units that failed before are tried again.
        planner: says which units are handed out together; without one each is a load of its own.
        planned: shown each plan that is made.
        clock: seconds, for the estimate of the time left.
    """

    def __init__(
        self,
        store: Store,
        spec: StudySpec,
        data: Dataset,
        *,
        retry_failed: bool = False,
        planner: Planner | None = None,
        planned: Callable[[Plan], None] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._retry_failed, self._planner, self._planned = retry_failed, planner, planned
        self._plan: Plan | None = None
        self._store, self._spec, self._data, self._clock = store, spec, data, clock
        self.folder: Path = store.path.parent
        self.owner: Owner = new_owner()
        self._units: dict[tuple[str, int], Unit] = {}
        self._search_is_over = spec.search is None
        self._last_beat = float("-inf")
        self._started, self._done_before = clock(), 0.0
        self._division = divide(data, make_cell(spec, {}), spec.first_seed)
        self._costs: dict[str, float] = {}

    def __enter__(self) -> Assignments:
        self.beat()
        self._store.release_dead()
        self._add(chosen_cells(self._spec, self._store))
        if self._retry_failed:
            self._store.retry_failed()
        self._make_plan()
        self._done_before = self._store.counts()["done"][1]
        self._started = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._store.leave(self.owner)
        finally:
            retire(self.owner)  # should the store not be writable, the next start sees that this one is through

    def beat(self) -> None:
        """A sign of life, where one is due, and a look whether others still give theirs."""
        if self._clock() - self._last_beat >= BEAT_SECONDS:
            self._store.beat(self.owner)
            self._last_beat = self._clock()

    def ask(self) -> Job:
        """Units to train, now this process's; none where none is free, for the moment or for good: see `is_over`."""
        key = self._store.claim(self.owner)
        if key is None and self._store.release_dead():
            key = self._store.claim(self.owner)
        if key is None and not self._search_is_over and self._is_settled():
            self._choose_cells()
            key = self._store.claim(self.owner)
        return () if key is None else self._with_company(key)

    def _with_company(self, key: tuple[str, int]) -> Job:
        """A unit that is this process's, with those of its planned load that are free."""
        unit = self._units[key]
        load = () if self._plan is None else self._plan.job_of.get(key, ())
        others = [other.key for other in load if other.key != key]
        taken = self._store.claim_beside(key, others, self.owner) if others else []
        return (unit, *(self._units[other] for other in taken))

    def is_over(self) -> bool:
        """Whether every unit is done or failed, and no more cells are to be chosen."""
        return self._search_is_over and self._is_settled()

    def n_free(self) -> int:
        """How many units could be trained at the same time, as far as that is known."""
        if self._search_is_over or self._spec.search is None:
            return self._store.counts()["todo"][0]
        return self._spec.search.at_once * self._spec.seeds

    def known_owners(self) -> set[str]:
        """The ids of all who work on the study, this process's own among them."""
        return {owner.id for owner, _ in self._store.owners()}

    def wants_model(self, unit: Unit) -> bool:
        """Whether the model file of this unit is kept: of each cell's first seed."""
        return unit.seed == self._spec.first_seed

    def tell_done(self, unit: Unit, outcome: Outcome) -> UnitEnd:
        """Stores a result; the model file first, so that a unit that is done has its file."""
        if outcome.model:
            path = self.folder / model_name(unit.cell, unit.seed)
            with new_folder(path.parent):
                write_bytes(path, outcome.model)
        self._store.finish(unit, self.owner, outcome)
        scores = kept_scores(outcome.record)
        return UnitEnd(unit, outcome.record["seconds"], None if scores is None else scores.accuracy)

    def tell_failed(self, unit: Unit, error: str) -> UnitEnd:
        """Records what a unit failed with."""
        self._store.fail(unit, self.owner, error)
        return UnitEnd(unit, error=error)

    def tell_died(self, unit: Unit, reason: str) -> UnitEnd:
        """The process that trained a unit has ended before it was through."""
        failed = self._store.died(unit, self.owner, reason)
        return UnitEnd(unit, error=reason, again=not failed)

    def progress(self, at_work: Mapping[Unit, int], ended: UnitEnd | None = None) -> StudyProgress:
        """Where the study stands.

        Args:
            at_work: this process's running units with the epochs that they have behind them.
        """
        counts = self._store.counts()
        epochs = {unit: unit.cell.recipe.training.epochs for unit in at_work}
        n_cells = self._spec.search.trials if not self._search_is_over and self._spec.search else 0
        total = max(len(self._units), n_cells * self._spec.seeds)
        return StudyProgress(
            total=total,
            done=counts["done"][0],
            running=counts["running"][0],
            failed=counts["failed"][0],
            seconds_left=self._seconds_left(counts, {unit: at_work[unit] / epochs[unit] for unit in at_work}, total),
            at_work=tuple((unit, epoch, epochs[unit]) for unit, epoch in at_work.items()),
            ended=ended,
        )

    def _seconds_left(
        self, counts: Mapping[str, tuple[int, float]], shares: Mapping[Unit, float], total: int
    ) -> float | None:
        """From the cost that was got through since this process began, by whomever, and what is left of it."""
        begun = sum(share * self._cost(unit.cell) for unit, share in shares.items())
        done = counts["done"][1] - self._done_before + begun
        left = counts["todo"][1] + counts["running"][1] - begun
        known = len(self._units)
        if known < total:  # cells that a search will choose are taken to cost what the others do
            left += sum(cost for _, cost in counts.values()) / max(known, 1) * (total - known)
        return (self._clock() - self._started) / done * left if done > 0 else None

    def _is_settled(self) -> bool:
        counts = self._store.counts()
        return counts["done"][0] + counts["failed"][0] == len(self._units)

    def _choose_cells(self) -> None:
        """The next round of a search, chosen from the results of those before it."""
        key = search_key(self._spec)
        settings = self._store.trials(key)
        trials = [Trial(one, self._objective(make_cell(self._spec, one))) for one in settings]
        chosen = [(make_cell(self._spec, one), one) for one in next_trials(self._spec, trials)]
        self._store.add_trials(key, len(trials), chosen)
        before = len(self._units)
        self._add(chosen_cells(self._spec, self._store))
        self._make_plan()
        self._search_is_over = len(self._units) == before

    def _objective(self, cell: Cell) -> float | None:
        """The mean over the seeds of what a search goes by; None where a seed failed."""
        assert self._spec.search is not None, "only a search has an objective"
        statuses = self._store.statuses()
        keys = [(cell.key, seed) for seed in self._spec.seed_numbers]
        if any(statuses[key] != "done" for key in keys):
            return None
        scores = [kept_scores(self._store.record(key)) for key in keys]
        name = self._spec.search.objective.removeprefix("valid_")
        return float(sum(getattr(one, name) for one in scores)) / len(scores)

    def _add(self, cells: Sequence[Cell]) -> None:
        """Makes cells known, here and in the store; those of every cell's first seed come first among equals."""
        units = [Unit(cell, seed) for seed in self._spec.seed_numbers for cell in cells]
        self._units = {unit.key: unit for unit in units}
        self._store.add_units(units, {cell.key: self._cost(cell) for cell in cells})
        self._store.want(units)

    def _make_plan(self) -> None:
        """Plans what there is to do now."""
        if self._planner is None:
            return
        statuses = self._store.statuses()
        todo = [unit for key, unit in self._units.items() if statuses[key] == "todo"]
        if todo:
            self._plan = self._planner.plan(todo)
            if self._planned is not None:
                self._planned(self._plan)

    def _cost(self, cell: Cell) -> float:
        if cell.key not in self._costs:
            sizes = own_splits(self._data, cell, self._division).sizes
            self._costs[cell.key] = cost(cell, self._data, sizes)
        return self._costs[cell.key]


def prepare(store: Store, spec: StudySpec, data: Dataset, division: Splits) -> None:
    """Puts a question into a store, if it is one about the store's own data.

    Raises:
        DataError: it is not.
    """
    store.set_data(data_facts(data))
    store.set_question({"spec": spec_tables(spec), "split_sizes": division.sizes})


def data_facts(data: Dataset) -> dict[str, Any]:
    """What a store keeps of its data."""
    digest = hashlib.sha256(arrays_sha256(data.labels).encode())
    digest.update(repr((data.class_names, data.inputs.shape, str(data.inputs.dtype))).encode())
    return {
        "source": data.source,
        "sha256": data.sha256,
        "digest": digest.hexdigest(),
        "samples": len(data),
        "class_names": list(data.class_names),
        "sample_shape": [int(n) for n in data.inputs.shape[1:]],
    }
