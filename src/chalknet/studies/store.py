"""study.sqlite: the specification of a study, the status of its runs, and their results.

It is one SQLite file with a write-ahead log that is synced in full at every commit. Every change is
one transaction: if a process is killed or the disk is full, transactions are either complete or
have changed nothing. The store also records which process trains a run (`lease`), so any number of
schedulers can work on one study.

A store may come from an untrusted source. Its tables must be exactly those that are created here,
every value is checked before it is used, values and statements have limits, and nothing is pickled.

Tables and columns keep the names of version 0.1 so that existing stores open: `cells` holds
configurations, `units` holds runs, `deaths` counts crashes, `owners` holds leases, `beat` is a
heartbeat, the fact `question` is the specification and a `division` is a split.
docs/file_formats.md describes them.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chalknet.checked import plain, strict_json
from chalknet.config import with_current_names
from chalknet.errors import DataError, OutputError, StoreError
from chalknet.files import free_memory, open_regular, refuse_irregular
from chalknet.records import EpochRecord, Scores
from chalknet.studies.configurations import Configuration, RunKey, configuration_tables
from chalknet.studies.lease import Lease, LeaseObserver
from chalknet.studies.results import STATUSES, DataFacts, RunRecord, RunResult
from chalknet.studies.run_output import (
    RUN_ARRAYS,
    SPLIT_ARRAYS,
    RunOutput,
    array_bytes,
    array_from_bytes,
    kept_from,
    record_from,
    result_from,
)

Result = TypeVar("Result")

WRITEUP_STUDY = "study"  # subfolder of a write-up
STORE_FILE = "study.sqlite"
FORMAT = 1  # a higher number means that earlier versions of chalknet cannot use the file
APPLICATION = 0x63_68_6B_73  # "chks", in the header of the file
BUSY_SECONDS = 60.0  # how long a process waits for the transaction of another
FOLD_SECONDS = 2.0  # how long readers may keep the log from being moved into the file
MAX_CRASHES = 3  # a run has failed when this many processes have crashed while they trained it
HEADER = b"SQLite format 3\0"
# Limit for values that are not arrays; the record of a hundred thousand epochs is smaller.
MAX_TEXT_BYTES = 2**26
MAX_ARRAY_BYTES = 10**9  # the largest value that SQLite stores by default
SMALL_BYTES = 2**20  # arrays up to this size are read without a look at the free memory
MAX_HEADER_BYTES = 4_096  # of a .npy file
KEYS = {  # the keys of the tables of arrays, with their types
    "unit_arrays": {"cell": "text", "seed": "integer", "name": "text"},
    "division_arrays": {"division": "text", "name": "text"},
}
MAX_OPERATION_SECONDS = 20.0  # processor time that one operation may take
OPENINGS = 20  # attempts to open a store while another process closes it
KEY_AND_COST = (str, int, float)
STEPS = 10_000  # instructions of SQLite between two checks of the time

# Errors of SQLite whose cause is the disk, the file or its permissions, and not its content.
CANNOT_WRITE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
}

SCHEMA = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cells (key TEXT PRIMARY KEY, recipe TEXT NOT NULL, division TEXT NOT NULL, seeds_vary TEXT NOT NULL);
CREATE TABLE units (
    cell TEXT NOT NULL REFERENCES cells (key), seed INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ({", ".join(f"'{status}'" for status in STATUSES)})),
    cost REAL NOT NULL, deaths INTEGER NOT NULL DEFAULT 0, owner TEXT, error TEXT,
    division TEXT, record TEXT, finished REAL,
    PRIMARY KEY (cell, seed),
    CHECK ((status = 'done') = (record IS NOT NULL)), CHECK ((status = 'running') = (owner IS NOT NULL)),
    CHECK ((status = 'failed') = (error IS NOT NULL))
);
CREATE TABLE unit_arrays (
    cell TEXT NOT NULL, seed INTEGER NOT NULL, name TEXT NOT NULL, npy BLOB NOT NULL, PRIMARY KEY (cell, seed, name)
);
CREATE TABLE division_arrays (
    division TEXT NOT NULL, name TEXT NOT NULL, npy BLOB NOT NULL, PRIMARY KEY (division, name)
);
CREATE TABLE owners (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, beat REAL NOT NULL
);
CREATE TABLE trials (
    search TEXT NOT NULL, number INTEGER NOT NULL, cell TEXT NOT NULL, settings TEXT NOT NULL,
    PRIMARY KEY (search, number)
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, cell TEXT NOT NULL, seed INTEGER NOT NULL, event TEXT NOT NULL, owner TEXT
);
"""


TABLES = {statement.split()[2]: statement for statement in map(str.strip, SCHEMA.strip().rstrip(";").split(";\n"))}


# How many connections this process has to each store, by its real path; see `_refuse_foreign`.
_open_stores: Counter[str] = Counter()
_opening = threading.Lock()


def _count_closed(path: Path) -> None:
    """Count a connection as closed."""
    with _opening:
        _open_stores[os.path.realpath(path)] -= 1


class TimeLimit:
    """Limits the processor time of each operation of a connection."""

    def __init__(self) -> None:
        """Start the first operation."""
        self.restart()

    def restart(self) -> None:
        """Start another operation."""
        self._end = time.thread_time() + MAX_OPERATION_SECONDS

    def is_over(self) -> bool:
        """Return whether the current operation has used its time; SQLite then interrupts it."""
        return time.thread_time() > self._end


class Store:
    """A connection to a study's store, for use in one thread.

    `Store.open_or_create(folder)` creates the store if there is none. `Store.read(folder)`
    opens it read-only. A method that changes something is one transaction.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, limit: TimeLimit) -> None:
        """Wrap a connection; use `open_or_create` or `read` instead."""
        self.path = path
        self._db, self._limit, self._is_closed = connection, limit, False
        self._observer = LeaseObserver()
        self._labels: dict[tuple[str, str], NDArray[Any]] = {}  # those that `correct` has used last

    @classmethod
    def open_or_create(cls, folder: Path) -> Store:
        """Open the store of a folder, and create it if there is none.

        Raises:
            StoreError: the file is not a store, damaged, or of a newer format.
            OutputError: it cannot be written.
        """
        return cls._open(folder / STORE_FILE, read_only=False)

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Open the store of a folder for reading, while others may write.

        Raises:
            StoreError: there is no store, or as `open_or_create`.
        """
        path = folder / STORE_FILE
        if not path.is_file() or not path.stat().st_size:
            raise StoreError(f"{folder}: holds no study: there is no {STORE_FILE} in it.{study_hint(folder)}")
        return cls._open(path, read_only=True)

    @classmethod
    def read_without_trace(cls, folder: Path, look: Callable[[Store], Result]) -> Result:
        """Return what a function reads from the store of a folder, and leave no trace in the folder.

        An ordinary reader creates files beside the store, and what it creates stays there. An
        observer reads a log and its index without writing them. A store without a log is read as
        it stands, and read again if it has changed in the meantime.

        Args:
            folder: the study's folder.
            look: reads from the store that it is given, and returns in a short time. It may be
                called several times.

        Raises:
            StoreError: as `read`; or the store changes all the time.
        """
        path = folder / STORE_FILE
        for attempt in range(OPENINGS):
            if not path.is_file() or not path.stat().st_size:
                raise StoreError(f"{folder}: holds no study: there is no {STORE_FILE} in it.{study_hint(folder)}")
            before = store_signature(folder)
            has_log = before[1] is not None and before[1][0] > 0
            try:
                with cls._open(path, options="mode=ro&readonly_shm=1" if has_log else "immutable=1") as store:
                    store._db.execute("BEGIN")  # one state of the store, in which nothing changes
                    found = look(store)
            except (StoreError, OutputError):
                if attempt == OPENINGS - 1:
                    raise
                if has_log and store_signature(folder) == before:
                    # The index of the log is not there, or its processes are dead: only an ordinary
                    # reader can read it.
                    with cls.read(folder) as store:
                        return look(store)
                if store_signature(folder) == before:
                    raise
            else:
                if has_log or store_signature(folder) == before:
                    return found
            time.sleep(0.05)
        raise StoreError(f"{path}: changes while it is read. Try again.")

    @classmethod
    def _open(cls, path: Path, *, read_only: bool = True, options: str = "") -> Store:
        """Open a store file, after checking that it is one; options are those of a read-only address."""
        with _opening:
            _refuse_foreign(path)
            _open_stores[os.path.realpath(path)] += 1
        try:
            return cls._connected(path, read_only, options)
        except BaseException:
            _count_closed(path)
            raise

    @classmethod
    def _connected(cls, path: Path, read_only: bool, options: str) -> Store:
        """Connect to a file that was checked; the connection is closed if that fails."""
        with _translated_errors(path):
            limit = TimeLimit()
            address = f"{path.absolute().as_uri()}?{options}"
            connection = _limited(address, limit) if options else _connect(path, limit, read_only=read_only)
            store = cls(path, connection, limit)
            try:
                if read_only:
                    store._check_identity()
                else:
                    store._check_or_make()
                    # With a write-ahead log readers never wait for writers. With FULL, a commit
                    # survives a power failure, too.
                    store._db.execute("PRAGMA journal_mode = WAL")
                    store._db.execute("PRAGMA synchronous = FULL")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.close()
                raise
            return store

    def fold_log(self) -> None:
        """Move the write-ahead log into the file, so that study.sqlite is complete without it.

        SQLite does so when the last connection closes, but not while a reader is connected. If readers
        block this for `FOLD_SECONDS`, the log stays, and nothing is lost.
        """
        with suppress(sqlite3.Error):
            self._limit.restart()
            self._db.execute(f"PRAGMA busy_timeout = {1000 * FOLD_SECONDS:.0f}")
            # A connection that has not read the last change cannot fold it.
            self._db.execute("SELECT COUNT(*) FROM owners").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._db.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS:.0f}")

    def close(self) -> None:
        """Close the connection."""
        if not self._is_closed:
            self._is_closed = True
            with suppress(sqlite3.Error):
                self._db.close()
            _count_closed(self.path)

    def __enter__(self) -> Store:
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    # ---- the specification ------------------------------------------------------------------------------------------

    def set_data(self, facts: Mapping[str, Any]) -> None:
        """Record which data the study is about, or check them if they are recorded.

        Args:
            facts: JSON-ready facts, among them "source", "sha256" and "digest" (of labels, class
                names and shape).

        Raises:
            DataError: the study was made with other data.
        """
        with self._change() as db:
            db.execute("INSERT OR IGNORE INTO facts VALUES ('data', ?)", [json.dumps(dict(facts))])
            known = self.data()
        if known["sha256"] != facts["sha256"]:
            raise DataError(
                f"{facts['source']}: is not the data that the study in {self.path.parent} was made with: sha256 "
                f"{facts['sha256']}, expected {known['sha256']}. Name the right data (--data), or another out (--out)."
            )
        if known["digest"] != facts["digest"]:
            raise DataError(
                f"{facts['source']}: is read in another way than by the study in {self.path.parent}: labels, class "
                "names or shape differ. Give the same class_names (--class-names), "
                "label_column (--label-column) and image_size (--image-size), or choose another out (--out)."
            )

    def data(self) -> dict[str, Any]:
        """Return what `set_data` was first given."""
        return self._fact("data", ("source", "sha256", "digest", "samples", "class_names", "sample_shape"))

    def set_specification(self, specification: Mapping[str, Any]) -> None:
        """Record the current specification, in the form of study.toml, and the sizes of its splits."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES ('question', ?)", [json.dumps(dict(specification))])

    def specification(self) -> dict[str, Any]:
        """Return what `set_specification` was last given."""
        return self._fact("question", ("spec", "split_sizes"))

    def add_runs(self, runs: Sequence[RunKey], costs: Mapping[str, float]) -> None:
        """Add runs that are new as "todo"; runs that exist are not changed.

        Args:
            runs: the runs.
            costs: the approximate duration of a run by configuration key, in any unit.
        """
        with self._change() as db:
            for config in {run.configuration.key: run.configuration for run in runs}.values():
                db.execute(
                    "INSERT OR IGNORE INTO cells VALUES (?, ?, ?, ?)",
                    [config.key, *map(json.dumps, configuration_tables(config).values())],
                )
            db.executemany(
                "INSERT OR IGNORE INTO units (cell, seed, status, cost) VALUES (?, ?, 'todo', ?)",
                [(*run.key, costs[run.configuration.key]) for run in runs],
            )

    def select_runs(self, runs: Sequence[RunKey]) -> None:
        """Select the runs that `claim`, `counts` and `retry_failed` use, in order of preference.

        The selection is a temporary table of this connection: processes with different
        specifications can work on one store at the same time.
        """
        with self._operation():
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (place INTEGER, cell TEXT, seed INTEGER)")
            self._db.execute("DELETE FROM wanted")
            rows = [(place, *run.key) for place, run in enumerate(runs)]
            self._db.executemany("INSERT INTO wanted VALUES (?, ?, ?)", rows)
            self._db.execute("CREATE INDEX IF NOT EXISTS temp.wanted_units ON wanted (cell, seed)")

    def retry_failed(self) -> int:
        """Change the status of selected runs from "failed" to "todo", and return their number."""
        with self._change() as db:
            failed = db.execute(
                "SELECT cell, seed FROM units JOIN wanted USING (cell, seed) WHERE status = 'failed'"
            ).fetchall()
            for key in failed:
                db.execute("UPDATE units SET deaths = 0 WHERE cell = ? AND seed = ?", key)
                _set_status(db, key, "todo", "asked again", None)
        return len(failed)

    # ---- leases and claims ------------------------------------------------------------------------------------------
    #
    # A run is "running" exactly as long as its column `owner` names a lease. Every method that ends
    # a run first checks, in the same transaction, that the lease still has it (`_owns`). So if a
    # process was wrongly considered dead, its output is ignored.

    def heartbeat(self, lease: Lease) -> None:
        """Record a lease if it is new, and that its holder is alive now."""
        with self._change() as db:
            db.execute(
                "INSERT INTO owners VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat",
                [lease.id, lease.host, lease.pid, lease.started, time.time()],
            )

    def leases(self) -> list[tuple[Lease, float]]:
        """Return all recorded leases, each with its last heartbeat."""
        rows = self._rows("SELECT id, host, pid, started, beat FROM owners", (str, str, int, str, float))
        return [(Lease(*row[:4]), row[4]) for row in rows]

    def release_dead(self) -> int:
        """Release the leases of dead processes, and return how many runs are "todo" again."""
        dead = [one for one in self.leases() if not self._observer.is_alive(*one)]
        return sum(self.release(lease) for lease, _ in dead)

    def release(self, lease: Lease) -> int:
        """Delete a lease, make its unfinished runs "todo" again, and return their number."""
        with self._change() as db:
            keys = db.execute("SELECT cell, seed FROM units WHERE owner = ?", [lease.id]).fetchall()
            for key in keys:
                _set_status(db, key, "todo", "given back", lease)
            db.execute("DELETE FROM owners WHERE id = ?", [lease.id])
        return len(keys)

    def claim(self, lease: Lease) -> tuple[str, int] | None:
        """Claim the costliest selected run that is "todo"; return its key, or None if there is none.

        The run is selected and marked in one transaction that holds the write lock, so two
        processes never claim the same run.
        """
        with self._change() as db:
            key: tuple[str, int] | None = db.execute(
                "SELECT cell, seed FROM units JOIN wanted USING (cell, seed) WHERE status = 'todo' "
                "ORDER BY cost DESC, seed, place LIMIT 1"
            ).fetchone()
            if key is not None:
                _set_status(db, key, "running", "begun", lease)
        return key

    def claim_for_stack(
        self, key: tuple[str, int], others: Sequence[tuple[str, int]], lease: Lease
    ) -> list[tuple[str, int]]:
        """Claim those of other runs that are "todo", to train them in a stack with a claimed run.

        A run whose process has crashed before is trained alone, because it may have caused the
        crash. So nothing is claimed for it, and it is not claimed for others.
        """
        with self._change() as db:
            uncrashed = {
                (config_key, seed): status
                for config_key, seed, status in db.execute("SELECT cell, seed, status FROM units WHERE deaths = 0")
            }
            taken = [other for other in others if key in uncrashed and uncrashed.get(other) == "todo"]
            for other in taken:
                _set_status(db, other, "running", "begun", lease)
        return taken

    def complete(self, run: RunKey, lease: Lease, output: RunOutput) -> bool:
        """Store the output of a run and mark it done, in one transaction.

        Returns:
            False if the lease no longer has the run; then nothing is stored. That happens if its
            holder on another machine was considered dead because no heartbeat came.
        """
        division = split_key(run)
        with self._change() as db:
            if not _owns(db, run.key, lease):
                return False
            with self._large_values():
                for name, array in output.split_arrays.items():
                    db.execute(
                        "INSERT OR IGNORE INTO division_arrays VALUES (?, ?, ?)", [division, name, array_bytes(array)]
                    )
                for name, array in output.arrays.items():
                    db.execute("INSERT INTO unit_arrays VALUES (?, ?, ?, ?)", [*run.key, name, array_bytes(array)])
            db.execute(
                "UPDATE units SET status = 'done', owner = NULL, division = ?, record = ?, finished = ? "
                "WHERE cell = ? AND seed = ?",
                [division, json.dumps(output.record, allow_nan=False), time.time(), *run.key],
            )
            _add_event(db, run.key, "done", lease)
        return True

    def fail(self, run: RunKey, lease: Lease, error: str) -> bool:
        """Record the error of a failed run; return False if the lease no longer has the run."""
        with self._change() as db:
            if not _owns(db, run.key, lease):
                return False
            _set_status(db, run.key, "failed", "failed", lease, error)
        return True

    def release_run(self, run: RunKey, lease: Lease) -> None:
        """Make a run of this lease "todo" again."""
        with self._change() as db:
            if _owns(db, run.key, lease):
                _set_status(db, run.key, "todo", "given back", lease)

    def record_crash(self, run: RunKey, lease: Lease, reason: str) -> bool:
        """Record that the process of a run exited: it is "todo" again, or failed after MAX_CRASHES.

        Returns:
            Whether the run is failed now.
        """
        with self._change() as db:
            if not _owns(db, run.key, lease):
                return False
            db.execute("UPDATE units SET deaths = deaths + 1 WHERE cell = ? AND seed = ?", run.key)
            (crashes,) = db.execute("SELECT deaths FROM units WHERE cell = ? AND seed = ?", run.key).fetchone()
            if crashes < MAX_CRASHES:
                _set_status(db, run.key, "todo", "died", lease)
                return False
            error = f"its worker process crashed {crashes} times, most recently with {reason}"
            _set_status(db, run.key, "failed", "failed", lease, error)
        return True

    # ---- what is stored ---------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, tuple[int, float]]:
        """Return the number and the total cost of the selected runs of each status."""
        query = "SELECT status, COUNT(*), SUM(cost) FROM units JOIN wanted USING (cell, seed) GROUP BY status"
        rows = self._rows(query, (str, int, float))
        found = {status: (int(count), float(cost)) for status, count, cost in rows}
        return {status: found.get(status, (0, 0.0)) for status in STATUSES}

    def statuses(self) -> dict[tuple[str, int], str]:
        """Return the status of every run.

        A run whose process is dead counts as "todo", even before its lease is released, because a
        reader cannot release it. `LeaseObserver.looks_alive` says which processes are dead.
        """
        dead = {lease.id for lease, heartbeat in self.leases() if not self._observer.looks_alive(lease, heartbeat)}
        return {
            key: "todo" if status == "running" and owner in dead else status
            for key, (status, owner) in self.owned_statuses().items()
        }

    def owned_statuses(self) -> dict[tuple[str, int], tuple[str, str]]:
        """Return the recorded status of every run, and the id of the lease that has it, or ""."""
        rows = self._rows("SELECT cell, seed, status, ifnull(owner, '') FROM units", (str, int, str, str))
        return {(key, seed): (status, owner) for key, seed, status, owner in rows}

    def errors(self) -> dict[tuple[str, int], str]:
        """Return the error of each failed run."""
        rows = self._rows("SELECT cell, seed, error FROM units WHERE status = 'failed'", (str, int, str))
        return {(key, seed): error for key, seed, error in rows}

    def events(self) -> list[tuple[str, int, str]]:
        """Return all events in order: configuration key, seed, and what happened.

        docs/file_formats.md says when "begun", "done", "failed", "died", "given back" and
        "asked again" are recorded.
        """
        return self._rows("SELECT cell, seed, event FROM events ORDER BY id", (str, int, str))

    def has_begun(self) -> bool:
        """Return whether the data and the specification of the study are recorded, which its first start does."""
        ((count,),) = self._rows("SELECT COUNT(*) FROM facts WHERE name IN ('data', 'question')", (int,))
        return bool(count == 2)

    def change_counter(self) -> tuple[int, ...]:
        """Return numbers of which one changes with every change of the store except heartbeats and leases."""
        tables = "(SELECT ifnull(MAX(id), 0) FROM events), (SELECT COUNT(*) FROM units), (SELECT COUNT(*) FROM trials)"
        rows = self._rows(f"SELECT {tables}, value FROM facts WHERE name = 'question'", (int, int, int, str))
        return (*rows[0][:3], hash(rows[0][3])) if rows else ()

    def timed_events(self) -> list[tuple[float, str, int, str, str]]:
        """Return all events in order: time, configuration key, seed, what happened, and the id of the lease."""
        query = "SELECT at, cell, seed, event, ifnull(owner, '') FROM events ORDER BY id"
        return self._rows(query, (float, str, int, str, str))

    def run_costs(self) -> dict[tuple[str, int], float]:
        """Return the cost of every run: its approximate duration, in any unit."""
        return {(key, seed): cost for key, seed, cost in self._rows("SELECT cell, seed, cost FROM units", KEY_AND_COST)}

    def configuration_tables(self) -> dict[str, dict[str, Any]]:
        """Return the `configuration_tables` of every stored configuration by key."""
        rows = self._rows("SELECT key, recipe, division, seeds_vary FROM cells ORDER BY rowid", (str,) * 4)
        names = ("recipe", "division", "seeds_vary")
        return {
            key: {name: self._json(text, key) for name, text in zip(names, texts, strict=True)} for key, *texts in rows
        }

    def record(self, key: tuple[str, int]) -> dict[str, Any]:
        """Return the record of a finished run, without its arrays."""
        rows = self._rows("SELECT record FROM units WHERE cell = ? AND seed = ? AND record IS NOT NULL", (str,), key)
        if not rows:
            raise StoreError(f"{self.path}: {_run_name(key)} is not done.")
        found: dict[str, Any] = self._json(rows[0][0], _run_name(key))
        return found

    def result(self, key: tuple[str, int], facts: DataFacts) -> RunResult:
        """Return a finished run.

        Args:
            key: `RunKey.key`.
            facts: the samples that the study is about.

        Raises:
            StoreError: the run is not done, or its result is damaged.
        """
        record, division = self.record(key), self._split_of(key)

        def array(name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
            return self._run_array(key, name, shape)

        with self._reading(key):
            split_arrays = {name: self._split_array(division, name, facts) for name in SPLIT_ARRAYS}
            return result_from(record, array, split_arrays, facts)

    def correct(self, key: tuple[str, int], split: str, facts: DataFacts) -> NDArray[np.bool_]:
        """Return which samples of a split the kept network of a finished run classifies correctly.

        The values are those of `result`, and much less is read.

        Args:
            key: `RunKey.key`.
            split: "valid" or "test".
            facts: the samples that the study is about.

        Returns:
            (M,) bool.

        Raises:
            StoreError: the run is not done, or its result is damaged.
        """
        division = self._split_of(key)
        with self._reading(key):
            if (division, split) not in self._labels:
                self._labels = {(division, split): self._split_array(division, f"{split}_labels", facts)}
            labels = self._labels[division, split]
            correct: NDArray[np.bool_] = self._run_array(key, f"{split}_predicted", labels.shape) == labels
            return correct

    def _split_of(self, key: tuple[str, int]) -> str:
        """Return the key of the split of a finished run."""
        rows = self._rows("SELECT ifnull(division, '') FROM units WHERE cell = ? AND seed = ?", (str,), key)
        return str(rows[0][0]) if rows else ""

    def _run_array(self, key: tuple[str, int], name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return an array of a finished run; the caller translates errors."""
        count = math.prod(n for n in shape if n is not None)
        row = self._blob("unit_arrays WHERE cell = ? AND seed = ? AND name = ?", [*key, name], count)
        return array_from_bytes(row, name, RUN_ARRAYS[name][0], shape)

    def _split_array(self, division: str, name: str, facts: DataFacts) -> NDArray[Any]:
        """Return an array of a split; the caller translates errors."""
        row = self._blob("division_arrays WHERE division = ? AND name = ?", [division, name], facts.samples)
        return array_from_bytes(row, name, SPLIT_ARRAYS[name][0], (None,))

    def kept_scores(self, key: tuple[str, int]) -> Scores | None:
        """Return the validation scores of a finished run at its kept epoch; raises as `result`."""
        return self.run_record(key).kept.valid

    def run_record(self, key: tuple[str, int]) -> RunRecord:
        """Return a finished run without its arrays; raises as `result`."""
        record = self.record(key)
        with self._reading(key):
            return record_from(record)

    def kept_epoch(self, key: tuple[str, int]) -> tuple[EpochRecord, int, float]:
        """Return the kept epoch of a finished run, its number of epochs and its seconds; raises as `result`."""
        record = self.record(key)
        with self._reading(key):
            return kept_from(record)

    # ---- a sampler's trials -----------------------------------------------------------------------------------------

    def add_trials(self, search: str, first: int, trials: Sequence[tuple[Configuration, Mapping[str, Any]]]) -> None:
        """Record which configurations a sampler chose for trial number first and those that follow.

        If another process has recorded these trials already, nothing changes.
        """
        with self._change() as db:
            for number, (config, settings) in enumerate(trials, start=first):
                db.execute(
                    "INSERT OR IGNORE INTO cells VALUES (?, ?, ?, ?)",
                    [config.key, *map(json.dumps, configuration_tables(config).values())],
                )
                db.execute(
                    "INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?)",
                    [search, number, config.key, json.dumps(dict(settings))],
                )

    def trials(self, search: str) -> list[dict[str, Any]]:
        """Return the settings of the trials of a search, in order."""
        query = "SELECT number, settings FROM trials WHERE search = ? ORDER BY number"
        rows = self._rows(query, (int, str), [search])
        if [number for number, _ in rows] != list(range(len(rows))):
            raise StoreError(f"{self.path}: trials of the search are missing.")
        return [with_current_names(self._json(settings, f"trial {number}")) for number, settings in rows]

    # ---- transactions, checks and limits ----------------------------------------------------------------------------

    @contextmanager
    def _reading(self, key: tuple[str, int]) -> Iterator[None]:
        """Turn whatever is wrong with a stored result into a StoreError of one line."""
        try:
            yield
        except (OutputError, StoreError):
            raise
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            what = f"the result of {_run_name(key)} is damaged"
            raise StoreError(f"{self.path}: {what}: {plain(error).removesuffix('.')}.") from error

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction: everything in it happens, or nothing."""
        with self._operation():
            # IMMEDIATE takes the write lock at once. A transaction that began as a reader could find
            # at its first write that another process has changed what it read, and would fail.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # if the disk is full, SQLite has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    def _check_or_make(self) -> None:
        """Create the tables in a new file, and check those of an existing one."""
        (tables,) = self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if not tables:
            with self._change() as db:  # look again with the lock: another process may have been faster
                (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                if not tables:
                    for statement in TABLES.values():
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id = {APPLICATION}")
                    db.execute(f"PRAGMA user_version = {FORMAT}")
        self._check_identity()

    def _check_identity(self) -> None:
        """Raise StoreError unless the file is a store that this version can read."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise StoreError(f"{self.path}: is not a study's store but an SQLite file of another program.")
        if version > FORMAT:
            raise StoreError(
                f"{self.path}: has format {version}, but this chalknet reads up to {FORMAT}. Install a newer chalknet."
            )
        names = f"SELECT name, type, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' LIMIT {len(TABLES) + 1}"
        found = {name: (kind, sql) for name, kind, sql in self._db.execute(names).fetchall()}
        if found != {name: ("table", statement) for name, statement in TABLES.items()}:
            raise StoreError(
                f"{self.path}: its tables are not those of a study's store. It is damaged, or from another program."
            )
        # Every lookup compares keys, and a key of another type may have a gigabyte; typeof does not
        # read the value.
        for table, keys in KEYS.items():
            is_other = " OR ".join(f"typeof({key}) <> '{kind}'" for key, kind in keys.items())
            if self._db.execute(f"SELECT 1 FROM {table} WHERE {is_other} LIMIT 1").fetchone():
                raise StoreError(f"{self.path}: is damaged: {table} has a key of another type.")

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """Give the statements of one operation a new time limit, and translate their errors."""
        self._limit.restart()
        with _translated_errors(self.path):
            yield

    def _rows(self, query: str, types: Sequence[type], values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query that changes nothing.

        Args:
            query: the statement.
            types: the type of each column.
            values: the values of its placeholders.

        Raises:
            StoreError: a value has another type.
        """
        with self._operation():
            rows = self._db.execute(query, values).fetchall()
        for row in rows:
            if not all(map(isinstance, row, types)):
                raise StoreError(f"{self.path}: is damaged: it holds values of types that chalknet does not write.")
        return rows

    def _fact(self, name: str, needed: Iterable[str]) -> dict[str, Any]:
        """Return the JSON object stored under a name; raises StoreError if a key is missing."""
        what = "specification" if name == "question" else name  # the name in files of every version
        rows = self._rows("SELECT value FROM facts WHERE name = ?", (str,), [name])
        if not rows:
            raise StoreError(
                f"{self.path}: holds no {what} yet; its first start was interrupted. Start the study again."
            )
        found = self._json(rows[0][0], what)
        if not isinstance(found, dict) or not set(needed) <= set(found):
            raise StoreError(f"{self.path}: its {what} is damaged.")
        return found

    def _json(self, text: str, what: str) -> Any:
        """Return a stored JSON value; raises StoreError if it is damaged."""
        try:
            return strict_json(text)
        except ValueError as error:
            raise StoreError(f"{self.path}: {plain(what)} is damaged: {plain(error)}.") from error

    def _blob(self, place: str, values: list[Any], count: int) -> bytes:
        """Return the bytes of an array of up to count numbers; the size is checked first."""
        with self._operation():
            row = self._db.execute(f"SELECT typeof(npy), length(npy) FROM {place}", values).fetchone()
            if row is None or row[0] != "blob":
                raise ValueError(f"{values[-1]} is missing")
            most = MAX_HEADER_BYTES + 8 * count
            if row[1] > SMALL_BYTES:  # asking for the free memory takes longer than reading a small array
                most = min(most, free_memory() // 2)
            if row[1] > most:
                raise ValueError(f"{values[-1]} has {row[1]:,} bytes, and at most {most:,} are expected")
            with self._large_values():
                content: bytes = self._db.execute(f"SELECT npy FROM {place}", values).fetchone()[0]
        return content

    @contextmanager
    def _large_values(self) -> Iterator[None]:
        """Allow values of the size of arrays, instead of that of texts."""
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ARRAY_BYTES)
        try:
            yield
        finally:
            self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES)


def study_hint(folder: Path) -> str:
    """Return a sentence that names the study in the folder of a write-up, after a space, or ""."""
    inner = folder / WRITEUP_STUDY
    return f" The study of this write-up is in {inner}." if (inner / STORE_FILE).is_file() else ""


def store_signature(folder: Path) -> tuple[tuple[int, int, int] | None, tuple[int, int, int] | None]:
    """Return size, time of the last change and number of the store's file and of its log; None without the file.

    It changes whenever the store does. Two changes within a few milliseconds may look like one.
    """
    return _file_signature(folder / STORE_FILE), _file_signature(folder / f"{STORE_FILE}-wal")


def _file_signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def split_key(run: RunKey) -> str:
    """Return a text that is equal for runs with the same validation and test samples."""
    return json.dumps(list(vars(run.configuration.split_of(run.seed)).values()))


def _connect(path: Path, limit: TimeLimit, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection to a file, read-only or writable."""
    address = path.absolute().as_uri()
    if not read_only:
        return _limited(f"{address}?mode=rwc", limit)
    for attempt in range(OPENINGS):
        connection = _limited(f"{address}?mode=ro", limit)
        try:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            # Even a reader of a write-ahead log needs a file beside the store. If the folder cannot be
            # written, nobody else changes the store, and it can be read as immutable. Otherwise
            # another process is removing its log right now; a store that is read without the log
            # could be inconsistent, so try again.
            if not os.access(path.parent, os.W_OK):
                break
            if attempt == OPENINGS - 1:
                raise
            time.sleep(0.05)
        else:
            return connection
    return _limited(f"{address}?immutable=1", limit)


def _limited(address: str, limit: TimeLimit) -> sqlite3.Connection:
    """Return a connection with limits for the size of values and the time of statements."""
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES)
    connection.set_progress_handler(limit.is_over, STEPS)
    return connection


def _refuse_foreign(path: Path) -> None:
    """Raise an error for a file that is not a regular one or not SQLite's, before SQLite opens it.

    When a process closes any handle of a file, the operating system ends all locks that the process
    holds on it (POSIX). A connection of another thread would lose its locks, and another process
    could delete its log. So a store that this process has open is not opened here, and neither are
    the files beside it.
    """
    for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        try:
            refuse_irregular(name)
            if name == path and not _open_stores[os.path.realpath(path)]:
                with open_regular(name) as file:
                    start = file.read(len(HEADER))
                if start and start != HEADER:
                    raise StoreError(
                        f"{path}: is not a study's store, which is an SQLite file. Choose another out (--out)."
                    )
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"{name}: cannot be opened: {error.strerror or error}.") from error


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as errors of chalknet, in one line."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise OutputError(f"{path}: another process has locked it for {BUSY_SECONDS:.0f} s. Try again.") from error
        if code is not None and code & 0xFF == sqlite3.SQLITE_INTERRUPT:
            raise StoreError(
                f"{path}: takes more than {MAX_OPERATION_SECONDS:.0f} s to read, so it is damaged."
            ) from error
        if code is not None and code & 0xFF in CANNOT_WRITE:
            raise OutputError(f"{path}: cannot be written: {error}. What was finished is kept.") from error
        raise StoreError(f"{path}: is damaged, or not a study's store: {error}.") from error


def _owns(db: sqlite3.Connection, key: tuple[str, int], lease: Lease) -> bool:
    """Return whether the run is running and belongs to this lease."""
    row = db.execute("SELECT owner FROM units WHERE cell = ? AND seed = ? AND status = 'running'", key).fetchone()
    return row is not None and row[0] == lease.id


def _set_status(
    db: sqlite3.Connection, key: tuple[str, int], status: str, event: str, lease: Lease | None, error: str | None = None
) -> None:
    """Change the status of a run, and record the event that led to it."""
    owner = lease.id if lease is not None and status == "running" else None
    db.execute(
        "UPDATE units SET status = ?, owner = ?, error = ? WHERE cell = ? AND seed = ?", [status, owner, error, *key]
    )
    _add_event(db, key, event, lease)


def _add_event(db: sqlite3.Connection, key: tuple[str, int], event: str, lease: Lease | None) -> None:
    """Record an event."""
    db.execute(
        "INSERT INTO events (at, cell, seed, event, owner) VALUES (?, ?, ?, ?, ?)",
        [time.time(), *key, event, None if lease is None else lease.id],
    )


def _run_name(key: tuple[str, int]) -> str:
    """Return a run for messages; its key comes from the file and may be any text."""
    return f"configuration {plain(key[0])}, seed {key[1]}"
