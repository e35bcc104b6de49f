"""Watching a study: what is shown is right, and the study's folder stays as it is."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import made_images
from made_store import finish, made_store
from small_studies import numbers

from chalknet.artifacts.checkpoint_history import read_checkpoint_history
from chalknet.errors import StoreError
from chalknet.records import EpochRecord, Scores
from chalknet.reporting.ranking import Ranking
from chalknet.reporting.report_data import collect_report_data
from chalknet.reporting.study_progress import study_page
from chalknet.studies.lease import end_lease, new_lease
from chalknet.studies.results_reader import read_results
from chalknet.studies.run_checkpoints import CHECKPOINT_FOLDER
from chalknet.studies.store import STORE_FILE, Store
from chalknet.studies.study_observer import StudyObserver, UnfinishedRun
from chalknet.workflows.study import study

DATA = made_images(240, seed=0)
ASKED = {"recipe": "writeup", "learning_rate": 1e-4, "train_size": 160, "valid_size": 40}


def entries(folder):
    """Every file of a folder with its size, content and time of the last change."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "finished"
    study(DATA, {"hidden": [3, 9]}, out=folder, seeds=3, epochs=4, jobs=2, **ASKED)
    return folder


def test_a_study_that_has_not_begun_has_no_state(tmp_path):
    assert StudyObserver(tmp_path / "new").state() is None
    Store.open_or_create(tmp_path).close()
    assert StudyObserver(tmp_path).state() is None


def test_watching_a_finished_study_leaves_no_trace(finished):
    for end in ("-wal", "-shm"):
        (finished / f"{STORE_FILE}{end}").unlink(missing_ok=True)
    before = entries(finished)
    observer = StudyObserver(finished)
    state = observer.state()
    assert state.phase == "finished"
    assert len(observer.history(state.results.runs[0])) == 4
    assert entries(finished) == before


def test_watching_writes_nothing_while_a_scheduler_is_connected(tmp_path):
    _, runs = made_store(tmp_path, "hidden=3,4", n_done=1)
    observer, lease = StudyObserver(tmp_path), new_lease()
    with Store.open_or_create(tmp_path) as store:
        store.heartbeat(lease)
        store.select_runs(runs)
        assert store.claim(lease) is not None
        before = entries(tmp_path)
        assert before[f"{STORE_FILE}-wal"][1]
        code = (
            "import sys; from pathlib import Path; from chalknet.studies.study_observer import StudyObserver; "
            "print(StudyObserver(Path(sys.argv[1])).state().results.counts)"
        )
        done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str({"todo": 4, "running": 1, "done": 1, "failed": 0})
        assert entries(tmp_path) == before
        assert str(observer.state().results.counts) == done.stdout.strip()
        store.release(lease)
    end_lease(lease)
    assert observer.state().results.counts["running"] == 0


def test_a_finished_study_is_whole_without_its_log(tmp_path):
    with Store.open_or_create(tmp_path) as store, Store.open_or_create(tmp_path):  # the second is still connected
        made_store(tmp_path, "hidden=3", seeds=1)
        assert (tmp_path / f"{STORE_FILE}-wal").stat().st_size
        store.fold_log()
        assert not (tmp_path / f"{STORE_FILE}-wal").stat().st_size


def test_watched_and_unwatched_studies_have_the_same_results(finished, tmp_path):
    stop, seen = threading.Event(), []

    def follow():
        observer, ranking = StudyObserver(tmp_path / "watched"), Ranking()
        while not stop.wait(0.01):
            if (state := observer.state()) is not None:
                ranking.update(state)
                study_page(state, ranking, []).json()
                seen.append(state)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        study(DATA, {"hidden": [3, 9]}, out=tmp_path / "watched", seeds=3, epochs=4, jobs=2, **ASKED)
    finally:
        stop.set()
        thread.join()
    assert seen
    assert numbers(read_results(tmp_path / "watched")) == numbers(read_results(finished))


def test_the_ranking_has_the_numbers_of_the_report(finished):
    state, ranking = StudyObserver(finished).state(), Ranking()
    ranking.update(state)
    report = collect_report_data(read_results(finished), {})
    assert ranking.findings == report.findings
    for one in ranking.configurations:
        runs = next(each for each in report.complete if each.name == one.name)
        found = report.accuracy_of(runs)
        assert one.accuracy == pytest.approx(runs.mean("valid", "accuracy"), abs=1e-12)
        assert (one.interval.low, one.interval.high) == (found.low, found.high)
    accuracies = [one.accuracy for one in ranking.configurations]
    assert accuracies == sorted(accuracies, reverse=True)


def test_incomplete_configurations_are_ranked_and_not_compared(tmp_path):
    made_store(tmp_path, "hidden=3,4,5", n_done=4)
    state, ranking = StudyObserver(tmp_path).state(), Ranking()
    ranking.update(state)
    assert sorted(len(one.runs) for one in ranking.configurations) == [1, 3]
    assert ranking.comparison is None
    text = study_page(state, ranking, []).json()
    assert "1 of 3" in text
    assert "at least two of them" in text


def test_a_study_of_a_dead_process_is_interrupted(tmp_path):
    _, runs = made_store(tmp_path, "hidden=3,4", n_done=2)
    lease = new_lease()
    with Store.open_or_create(tmp_path) as store:
        store.heartbeat(lease)
        store.select_runs(runs)
        store.claim(lease)
    observer = StudyObserver(tmp_path)
    assert (observer.state().phase, observer.state().results.counts["running"]) == ("running", 1)
    end_lease(lease)  # without a change of the store, as if its process were killed
    state, ranking = observer.state(), Ranking()
    assert (state.phase, state.results.counts["running"], state.time_left) == ("interrupted", 0, None)
    ranking.update(state)
    assert f"chalknet study --config {tmp_path / 'study.toml'}" in study_page(state, ranking, []).json()


def test_unchanged_studies_give_the_same_state(tmp_path):
    made_store(tmp_path, "hidden=3", n_done=2)
    observer, lease = StudyObserver(tmp_path), new_lease()
    first = observer.state()
    assert observer.state() is first
    with Store.open_or_create(tmp_path) as store:
        store.heartbeat(lease)
        second = observer.state()
        assert second.n_processes == 1
        store.heartbeat(lease)
        assert observer.state() is second
        store.release(lease)
    end_lease(lease)


def test_only_new_results_are_read_again(tmp_path, monkeypatch):
    _, runs = made_store(tmp_path, f"hidden={','.join(map(str, range(1, 41)))}", n_done=100)
    observer = StudyObserver(tmp_path)
    observer.state()
    read = []
    monkeypatch.setattr(Store, "record", lambda *args, old=Store.record: read.append(args[1]) or old(*args))
    with Store.open_or_create(tmp_path) as store:
        finish(store._db, runs[100], 100)
    state = observer.state()
    assert state.results.counts["done"] == 101
    assert read == [runs[100].key]


def test_the_time_left_follows_the_speed_of_finished_runs(tmp_path):
    _, runs = made_store(tmp_path, "hidden=3,4", n_done=0)
    lease = new_lease()
    with Store.open_or_create(tmp_path) as store:
        store.heartbeat(lease)
        store.select_runs(runs)
        key = store.claim(lease)
        begun = store.timed_events()[-1][0]
        assert StudyObserver(tmp_path).state().time_left is None
        finish(store._db, next(run for run in runs if run.key == key), 0)
        store._db.execute("UPDATE events SET at = ? WHERE event = 'done'", [begun + 10])
    left = StudyObserver(tmp_path, clock=lambda: begun + 10).state().time_left
    end_lease(lease)
    assert left.seconds == pytest.approx(50)  # one of six runs of equal cost took 10 s
    assert left.n_runs == 1


def test_checkpoints_show_the_epochs_of_unfinished_runs(tmp_path):
    class StopError(Exception):
        pass

    def stop(progress):
        if any(epoch > 20 for _, epoch, _ in progress.active_runs) and any(
            (tmp_path / CHECKPOINT_FOLDER).glob("*.safetensors")
        ):
            raise StopError

    with pytest.raises(StopError):
        study(DATA, {"hidden": [30]}, out=tmp_path, seeds=1, epochs=100_000, jobs=1, on_progress=stop, **ASKED)
    state = StudyObserver(tmp_path).state()
    (one,) = state.unfinished
    assert state.phase == "interrupted"
    assert not one.is_running
    assert [record.epoch for record in one.history] == list(range(1, len(one.history) + 1))
    page = study_page(state, Ranking(), [])
    assert 0 < page.progress < 1


def test_a_damaged_checkpoint_costs_the_history_only(tmp_path):
    _, runs = made_store(tmp_path, "hidden=3", n_done=0)
    folder = tmp_path / CHECKPOINT_FOLDER
    folder.mkdir()
    path = folder / f"{runs[0].configuration.key[:16]}-seed0.safetensors"
    path.write_bytes(b"\xff" * 100)
    (one,) = StudyObserver(tmp_path).state().unfinished
    assert one.history == ()
    with pytest.raises(StoreError, match="is not a whole checkpoint"):
        read_checkpoint_history(path)


def test_a_damaged_store_is_one_error(tmp_path):
    (tmp_path / STORE_FILE).write_bytes(b"SQLite format 3\0" + b"\1" * 5000)
    with pytest.raises(StoreError):
        StudyObserver(tmp_path).state()


def test_failures_are_grouped_with_the_command_that_repeats_them(tmp_path):
    made_store(tmp_path, "hidden=3,4,5", n_done=1, n_failed=8, error="<script>alert(1)</script> *x*")
    state = StudyObserver(tmp_path).state()
    assert state.phase == "finished"
    text = study_page(state, Ranking(), []).json()
    assert text.count("<script>alert(1)</script> *x*") == 1
    assert "and 2 other runs" in text
    assert "--retry-failed" in text


def test_a_page_of_many_runs_is_small(tmp_path):
    widths = ",".join(map(str, range(1, 201)))
    made_store(tmp_path, f"hidden={widths}", n_done=590, n_failed=5)
    state, ranking = StudyObserver(tmp_path).state(), Ranking()
    ranking.update(state)
    text = study_page(state, ranking, [one.as_runs() for one in ranking.configurations[:0]]).json()
    assert len(text) < 200_000
    assert "These are the best 50 of" in text
    assert ranking.comparison is None
    assert "More than 30 are not compared" in text
    assert np.isfinite([one.accuracy for one in ranking.configurations]).all()


def test_a_folder_that_cannot_be_written_is_watched(tmp_path):
    made_store(tmp_path, "hidden=3", seeds=1)
    tmp_path.chmod(0o555)
    try:
        assert StudyObserver(tmp_path).state().phase == "finished"
    finally:
        tmp_path.chmod(0o755)


def test_the_epochs_since_a_checkpoint_count_for_the_time_left(tmp_path):
    _, runs = made_store(tmp_path, "hidden=3", seeds=1, n_done=0)
    observer, run = StudyObserver(tmp_path), runs[0]
    history = tuple(EpochRecord(n, Scores(1.0, 0.5, 1.0), None, None, 2.0) for n in (1, 2))
    one = UnfinishedRun(run, True, history, 10)
    observer._histories[run.key] = ((run.key, 100 * 10**9, 1), history)
    assert observer._fraction(one, 100.0) == pytest.approx(0.2)
    assert observer._fraction(one, 106.0) == pytest.approx(0.5)
    assert observer._fraction(one, 1e6) == 1.0


@pytest.mark.parametrize("index", ["kept", "lost"])
def test_the_store_of_a_killed_process_is_read_with_its_log(tmp_path, index):
    made_store(tmp_path, "hidden=3", seeds=2, n_done=0)
    code = (
        "import os, sys; from pathlib import Path; from chalknet.studies.store import Store\n"
        "store = Store.open_or_create(Path(sys.argv[1]))\n"
        "store._db.execute(\"UPDATE units SET status = 'failed', error = 'x' WHERE seed = 1\")\n"
        "os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert (tmp_path / f"{STORE_FILE}-wal").stat().st_size
    if index == "lost":
        (tmp_path / f"{STORE_FILE}-shm").unlink()
    before = entries(tmp_path)
    assert StudyObserver(tmp_path).state().results.counts["failed"] == 1
    if index == "kept":
        assert entries(tmp_path) == before
