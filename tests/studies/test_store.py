"""The store gives each run to one process, keeps results whole, and refuses foreign files."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from studies.small_studies import RECIPE, runs_of, spec_of, trained

from chalknet.errors import DataError, OutputError, StoreError
from chalknet.studies import lease as lease_module
from chalknet.studies import store as store_module
from chalknet.studies.lease import (
    ABANDONED_SECONDS,
    STALE_SECONDS,
    Lease,
    LeaseObserver,
    end_lease,
    new_lease,
    this_host,
)
from chalknet.studies.results_reader import read_results
from chalknet.studies.run_output import RunOutput, record_from
from chalknet.studies.runner.scheduler import data_facts
from chalknet.studies.search_space import check_specification
from chalknet.studies.spec import spec_tables
from chalknet.studies.stopping_point import stopping_point
from chalknet.studies.store import MAX_CRASHES, Store

SPEC = spec_of("hidden=3,4", seeds=2)
RUNS = runs_of(SPEC)
COSTS = {run.configuration.key: float(sum(run.configuration.recipe.network.hidden)) for run in RUNS}


@pytest.fixture
def store(tmp_path, small_images):
    with Store.open_or_create(tmp_path) as made:
        made.set_data(data_facts(small_images))
        sizes = check_specification(SPEC, small_images).sizes
        made.set_specification({"spec": spec_tables(SPEC), "split_sizes": sizes})
        made.add_runs(RUNS, COSTS)
        made.select_runs(RUNS)
        yield made


@pytest.fixture
def lease(store):
    one = new_lease()
    store.heartbeat(one)
    yield one
    end_lease(one)


@pytest.fixture(scope="module")
def outcome():
    from conftest import made_images

    return trained(made_images(240, seed=0), RUNS[0])


def claimed(store, lease):
    key = store.claim(lease)
    return next(run for run in RUNS if run.key == key)


def test_costliest_runs_are_claimed_first(store, lease):
    keys = [store.claim(lease) for _ in RUNS]
    assert [seed for _, seed in keys] == [0, 1, 0, 1]
    assert COSTS[keys[0][0]] == COSTS[keys[1][0]] == 4
    assert store.claim(lease) is None


def test_many_connections_never_get_the_same_run(tmp_path, store):
    runs = runs_of(spec_of("hidden=1:40:lin40", seeds=3))
    store.add_runs(runs, {run.configuration.key: 1.0 for run in runs})
    got, start = Counter(), threading.Barrier(4)

    def claim_all():
        with Store.open_or_create(tmp_path) as own:
            own.select_runs(runs)
            me = new_lease()
            own.heartbeat(me)
            start.wait()
            while (key := own.claim(me)) is not None:
                got[key] += 1
            end_lease(me)

    threads = [threading.Thread(target=claim_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(got) == {run.key for run in runs}
    assert set(got.values()) == {1}


def test_a_result_reads_back_as_it_was_stored(store, lease, tmp_path, small_images):
    run = claimed(store, lease)
    assert store.complete(run, lease, trained(small_images, run))
    want = trained(small_images, run)
    found = read_results(tmp_path).run(run.configuration, run.seed)
    assert found.kept_epoch == 3
    assert len(found.history) == 3
    np.testing.assert_array_equal(found.valid.predicted, want.arrays["valid_predicted"])
    np.testing.assert_array_equal(found.test.confidence, want.arrays["test_confidence"])
    np.testing.assert_array_equal(found.valid_losses, want.arrays["valid_losses"])
    assert found.valid_losses.dtype == np.float16
    np.testing.assert_array_equal(small_images.labels[found.test.index], found.test.labels)
    # The kept network's predictions and what the engine scored are the same answers.
    assert found.valid.accuracy == found.kept.valid.accuracy
    assert found.test.accuracy == found.kept.test.accuracy
    assert found.valid_correct[-1].mean() == found.kept.valid.accuracy
    assert abs(found.valid_losses[-1].mean(dtype=float) - found.kept.valid.loss) < 1e-3  # float16 has 11 bits


def test_losses_beyond_float16_read_back_as_they_were(store, lease, outcome, tmp_path):
    run = claimed(store, lease)
    large = outcome.arrays["valid_losses"].astype(np.float32) * 1e6
    store.complete(run, lease, replace(outcome, arrays={**outcome.arrays, "valid_losses": large}))
    np.testing.assert_array_equal(read_results(tmp_path).run(run.configuration, run.seed).valid_losses, large)


def test_interval_of_a_growing_loss_contains_its_stopping_point(small_images):
    recipe = RECIPE.with_settings(learning_rate=1e5, epochs=8)
    (run,) = runs_of(spec_of("hidden=5", recipe=recipe, seeds=1))
    stored = trained(small_images, run)
    losses, correct = stored.arrays["valid_losses"], np.unpackbits(stored.arrays["valid_right_bits"], axis=1, count=40)
    assert losses.dtype == np.float32
    history = record_from(stored.record).history
    assert [record.valid.loss for record in history] == pytest.approx(losses.mean(axis=1, dtype=float))
    point = stopping_point([history], losses[None], correct[None].astype(bool), np.random.default_rng(0))
    assert point.epoch.low <= point.epoch.value <= point.epoch.high


def test_done_or_failed_run_is_never_claimed_again(store, lease, outcome):
    first, second = claimed(store, lease), claimed(store, lease)
    store.complete(first, lease, outcome)
    store.fail(second, lease, "loss became nan")
    rest = {store.claim(lease) for _ in RUNS} - {None}
    assert rest == {run.key for run in RUNS} - {first.key, second.key}
    assert store.counts()["failed"][0] == store.counts()["done"][0] == 1
    assert store.errors() == {second.key: "loss became nan"}


def test_a_failed_run_is_retried_only_when_asked(store, lease):
    run = claimed(store, lease)
    store.fail(run, lease, "no")
    store.add_runs(RUNS, COSTS)
    assert store.statuses()[run.key] == "failed"
    assert store.retry_failed() == 1
    assert store.statuses()[run.key] == "todo"
    assert store.retry_failed() == 0


def test_lease_that_lost_a_run_cannot_finish_it(store, lease, outcome):
    run = claimed(store, lease)
    store.release(lease)
    other = new_lease()
    store.heartbeat(other)
    assert claimed(store, other) == run
    assert not store.complete(run, lease, outcome)
    assert not store.fail(run, lease, "late")
    assert not store.record_crash(run, lease, "late")
    assert store.statuses()[run.key] == "running"
    assert store.complete(run, other, outcome)
    assert not store.complete(run, other, outcome)  # nor is anything done twice
    end_lease(other)


def test_run_fails_after_too_many_crashes(store, lease):
    for crash in range(1, MAX_CRASHES + 1):
        run = claimed(store, lease)
        assert store.record_crash(run, lease, "signal 9") == (crash == MAX_CRASHES)
    assert "crashed 3 times, most recently with signal 9" in store.errors()[run.key]


def test_runs_of_a_process_that_has_ended_are_free_at_once(store):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        theirs = Lease("theirs", this_host(), process.pid, lease_module._start_time(process.pid))
        store.heartbeat(theirs)
        key = store.claim(theirs)
        assert store.release_dead() == 0
        assert store.statuses()[key] == "running"
        process.kill()
    assert store.statuses()[key] == "todo"  # shown so before anyone has written it
    assert store.release_dead() == 1
    assert "theirs" not in {one.id for one, _ in store.leases()}


def test_reused_process_number_is_not_the_lease_holder(store):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        store.heartbeat(Lease("theirs", this_host(), process.pid, "long ago"))
        store.claim(Lease("theirs", this_host(), process.pid, "long ago"))
        assert store.release_dead() == 1
        process.kill()


def test_remote_lease_is_alive_while_its_heartbeat_changes(store, monkeypatch):
    theirs, now = Lease("theirs", "another machine", 1, "1"), 1000.0
    monkeypatch.setattr(lease_module.time, "monotonic", lambda: now)
    store.claim(theirs)
    for clock in (9e9, -9e9, 0.0):  # whatever theirs says
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        store.heartbeat(theirs)
        assert store.release_dead() == 0
        now += STALE_SECONDS
        assert store.release_dead() == 0
    now += 0.1
    assert store.release_dead() == 1


def test_reader_sees_runs_from_before_a_reboot_as_todo(store, tmp_path, monkeypatch):
    theirs = Lease("theirs", f"{this_host()} before the reboot", os.getpid(), "1")
    store.heartbeat(theirs)
    key = store.claim(theirs)
    for later, status in ((STALE_SECONDS, "running"), (ABANDONED_SECONDS + 1, "todo")):
        with monkeypatch.context() as changed, Store.read(tmp_path) as reader:
            now = time.time() + later
            changed.setattr(lease_module.time, "time", lambda now=now: now)
            assert reader.statuses()[key] == status
    assert store.release_dead() == 0  # a scheduler does not trust clocks, and waits for a heartbeat


def test_ended_lease_of_this_process_is_dead():
    one, observer = new_lease(), LeaseObserver()
    assert observer.is_alive(one, 0.0)
    end_lease(one)
    assert not observer.is_alive(one, 0.0)


def test_a_full_disk_is_one_line_and_leaves_the_store_whole(store, lease, outcome, tmp_path):
    first, second = claimed(store, lease), claimed(store, lease)
    store.complete(first, lease, outcome)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match=r"study\.sqlite: cannot be written: database or disk is full\. What was"):
        store.complete(second, lease, outcome)
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert store.statuses()[first.key] == "done"
    assert store.statuses()[second.key] == "running"
    assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert store._db.execute(
        "SELECT COUNT(*) FROM unit_arrays WHERE seed = ? AND cell = ?", second.key[::-1]
    ).fetchone() == (0,)
    assert store.complete(second, lease, outcome)
    assert read_results(tmp_path).run(second.configuration, second.seed) is not None


def test_a_store_opened_to_be_read_cannot_be_changed(store, lease, tmp_path):
    store.heartbeat(lease)
    with Store.read(tmp_path) as reader, pytest.raises(OutputError, match="readonly"):
        reader.heartbeat(lease)


def test_it_is_synced_in_full_and_has_a_log(store):
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_other_data_is_refused_with_both_digests(store, small_images):
    facts = data_facts(small_images)
    with pytest.raises(DataError, match=f"sha256 0000, expected {small_images.sha256}"):
        store.set_data({**facts, "sha256": "0000"})
    with pytest.raises(DataError, match="is read in another way"):
        store.set_data({**facts, "digest": "0000"})
    store.set_data(facts)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("a diary"), "is not a study's store, which is an SQLite file"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close(), "of another program"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000), "is damaged, or not a study's store"),
    ],
)
def test_a_file_that_is_no_store_is_named_and_left_as_it_is(tmp_path, make, message):
    path = tmp_path / "study.sqlite"
    make(path)
    before = path.read_bytes()
    for open_it in (Store.open_or_create, Store.read):
        with pytest.raises(StoreError, match=message):
            open_it(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statements",
    [
        "ALTER TABLE units RENAME TO u; CREATE VIEW units AS WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 "
        "FROM r) SELECT 'c' AS cell, n AS seed, 'done' AS status FROM r",
        "CREATE TRIGGER t AFTER INSERT ON owners BEGIN DELETE FROM units; END",
        "CREATE TABLE more (x)",
        "DROP TABLE events",
        "ALTER TABLE cells ADD COLUMN large GENERATED ALWAYS AS (zeroblob(900000000))",
    ],
)
def test_a_store_with_other_tables_views_or_triggers_is_refused(store, tmp_path, statements):
    store._db.executescript(statements)
    for open_it in (Store.open_or_create, Store.read):
        with pytest.raises(StoreError, match="its tables are not those of a study's store"):
            open_it(tmp_path)


def test_a_statement_that_never_ends_is_ended(store, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_OPERATION_SECONDS", 0.1)
    endless = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    with pytest.raises(StoreError, match="takes more than 0 s to read, so it is damaged"):
        store._rows(endless, (int,))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE facts SET value = json_set(value, '$.source', printf('%.*c', 70000000, 'x')) WHERE name = 'data'",
        "UPDATE unit_arrays SET npy = zeroblob(70000000) WHERE name = 'valid_losses'",
        "UPDATE unit_arrays SET seed = zeroblob(70000000) WHERE name = 'valid_losses'",
    ],
)
def test_oversized_value_is_refused_without_reading_it(store, lease, outcome, tmp_path, change):
    run = claimed(store, lease)
    store.complete(run, lease, outcome)
    with store._large_values():
        store._db.execute(change)
    tracemalloc.start()
    with pytest.raises(StoreError, match=r"string or blob too big|valid_losses|key of another type"):
        read_results(tmp_path).run(run.configuration, run.seed)
    assert tracemalloc.get_traced_memory()[1] < 2.5 * 70e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["study.sqlite", "study.sqlite-wal", "study.sqlite-journal"])
def test_pipe_in_place_of_a_store_file_is_refused(store, tmp_path, name):
    store.close()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(OutputError, match=f"{name}: cannot be opened: it is a pipe, a socket or a device"):
        Store.open_or_create(tmp_path)
    with pytest.raises((OutputError, StoreError)):
        Store.read(tmp_path)


def test_a_store_of_a_newer_format_says_so(store, tmp_path):
    store._db.execute("PRAGMA user_version = 99")
    for open_it in (Store.open_or_create, Store.read):
        with pytest.raises(StoreError, match=r"has format 99, but this chalknet reads up to 1\. Install a newer"):
            open_it(tmp_path)


def test_a_folder_without_a_study_says_so(tmp_path):
    with pytest.raises(StoreError, match="holds no study"):
        read_results(tmp_path)
    Store.open_or_create(tmp_path).close()
    with pytest.raises(StoreError, match="holds no specification yet; its first start was interrupted"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE unit_arrays SET npy = x'00' WHERE name = 'valid_losses'", "is damaged"),
        ("UPDATE unit_arrays SET npy = substr(npy, 1, 200) WHERE name = 'valid_confidence'", "bytes, which are not"),
        ("DELETE FROM unit_arrays WHERE name = 'test_predicted'", "is damaged: test_predicted is missing"),
        ("UPDATE units SET record = '{' WHERE status = 'done'", "is damaged"),
        ("UPDATE units SET record = json_set(record, '$.kept_epoch', 99) WHERE status = 'done'", "keeps epoch 99 of 3"),
        ("UPDATE units SET record = json_set(record, '$.history', 5) WHERE status = 'done'", "is damaged"),
        ("UPDATE facts SET value = '[]' WHERE name = 'question'", "its specification is damaged"),
        *(
            (f"UPDATE facts SET value = json_set(value, '$.{field}', json('{value}')) WHERE name = '{name}'", message)
            for name, field, value, message in [
                ("question", "spec.study.seeds", "-1", "its specification is damaged: seeds must be"),
                ("question", "spec.study.seeds", "1" * 400, "its specification is damaged: seeds must be"),
                ("question", "split_sizes.train", "1e999", "its specification is damaged: train samples is inf"),
                ("question", "split_sizes", '{"train": 160}', "its specification is damaged"),
                ("data", "samples", "1" * 400, "its specification is damaged: samples is 11"),
                ("data", "samples", "true", "its specification is damaged: samples is True"),
                ("data", "sample_shape", "[0]", "its specification is damaged"),
                ("data", "class_names", '["A", "\\u001b[2J"]', "characters that cannot be printed"),
                ("data", "class_names", "[1, 2]", "its specification is damaged"),
            ]
        ),
        *(
            (f"UPDATE units SET record = json_set(record, '$.{field}', json('{value}')) WHERE status = 'done'", message)
            for field, value, message in [
                ("history[1][1][1]", "1.5", "an accuracy is 1.5"),
                ("history[1][1][0]", "1e999", "inf is not a finite number"),
                ("history[1][1][0]", '"x"', "'x' is not a finite number"),
                ("seconds", "1" * 400, "is damaged"),
                ("machine", "3", "is damaged"),
            ]
        ),
        ("UPDATE units SET record = replace(record, '[', '[[[[') WHERE status = 'done'", "is damaged"),
        ("UPDATE units SET seed = cell || seed WHERE status = 'todo'", "types that chalknet does not write"),
    ],
)
def test_damaged_value_is_named_and_never_executed(store, lease, outcome, tmp_path, damage, message):
    run = claimed(store, lease)
    store.complete(run, lease, outcome)
    store._db.execute(damage)
    with pytest.raises(StoreError, match=message):
        read_results(tmp_path).run(run.configuration, run.seed)


def test_a_key_of_any_text_is_one_short_line_in_messages(store):
    key = ("9\n\x1b" * 5000, 0)
    with pytest.raises(StoreError, match="is not done") as not_done:
        store.record(key)
    with pytest.raises(StoreError, match="is damaged: test_index is missing") as damaged, store._reading(key):
        raise ValueError("test_index is missing")
    for error in (not_done, damaged):
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("valid_predicted", 4, "valid_predicted has values outside 0 to 3"),
        ("test_predicted", -1, "test_predicted has values outside 0 to 3"),
        ("valid_confidence", np.nan, "valid_confidence has values outside 0.0 to 1"),
        ("test_index", 240, "test_index has values outside 0 to 239"),
        ("valid_labels", 9, "valid_labels has values outside 0 to 3"),
    ],
)
def test_a_class_or_a_position_that_is_not_there_is_refused(store, lease, outcome, tmp_path, name, value, message):
    run = claimed(store, lease)
    changed = {**outcome.arrays, **outcome.split_arrays}
    changed[name] = np.full_like(changed[name], value)
    parts = ({key: changed[key] for key in part} for part in (outcome.arrays, outcome.split_arrays))
    store.complete(run, lease, RunOutput(outcome.record, *parts))
    with pytest.raises(StoreError, match=message):
        read_results(tmp_path).run(run.configuration, run.seed)


def test_an_array_with_a_pickle_in_it_is_refused(store, lease, outcome, tmp_path):
    import io

    run = claimed(store, lease)
    store.complete(run, lease, outcome)
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}] * 40, dtype=object), allow_pickle=True)
    store._db.execute("UPDATE unit_arrays SET npy = ? WHERE name = 'valid_predicted'", [buffer.getvalue()])
    with pytest.raises(StoreError, match="it holds pickles, which chalknet never opens"):
        read_results(tmp_path).run(run.configuration, run.seed)


def test_an_array_whose_header_promises_too_much_takes_no_memory(store, lease, outcome, tmp_path):
    run = claimed(store, lease)
    store.complete(run, lease, outcome)
    (npy,) = store._db.execute("SELECT npy FROM unit_arrays WHERE name = 'valid_losses'").fetchone()
    for shape, message in ((b"(3, 10**15,)", "does not begin as an array"), (b"(3, 40000000000000,)", "has the shape")):
        header = npy.replace(b"(3, 40)", shape, 1).replace(b" " * (len(shape) - 7), b"", 1)
        store._db.execute("UPDATE unit_arrays SET npy = ? WHERE name = 'valid_losses'", [header])
        with pytest.raises(StoreError, match=message):
            read_results(tmp_path).run(run.configuration, run.seed)


OTHER_PROCESS = """
import sys
from pathlib import Path
from chalknet.studies.lease import Lease
from chalknet.studies.store import Store
with Store.open_or_create(Path(sys.argv[1])) as store:
    store.heartbeat(Lease(sys.argv[2], "host", 1, ""))
    print(*sorted(lease.id for lease, _ in store.leases()))
"""


@pytest.mark.parametrize("again", [Store.open_or_create, Store.read], ids=["write", "read"])
def test_a_second_connection_keeps_the_locks_of_the_first(tmp_path, again):
    """A process that closes a handle of a file loses its locks on it, and others could delete the log of its store."""

    def another_process(name):
        command = [sys.executable, "-c", OTHER_PROCESS, tmp_path, name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    with Store.open_or_create(tmp_path) as store:
        store.heartbeat(Lease("first", "host", 1, ""))
        again(tmp_path).close()
        assert another_process("second") == ["first", "second"]
        store.heartbeat(Lease("third", "host", 1, ""))
        assert another_process("fourth") == ["first", "fourth", "second", "third"]
