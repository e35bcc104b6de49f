"""A run whose worker was killed resumes from its checkpoint, with bit-identical results."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from conftest import made_images, needs
from interruptions import pause_after_every_update
from studies.small_studies import RECIPE, Pool, runs_of, spec_of

from chalknet.artifacts.checkpoint import CheckpointSchedule, read_checkpoint
from chalknet.errors import OutputError, StoppedError
from chalknet.studies import run_checkpoints, study_training
from chalknet.studies.run_checkpoints import StopRequest, checkpoint_folder, checkpoint_path, run_lock
from chalknet.studies.run_output import output_from
from chalknet.studies.runner.protocol import job_message
from chalknet.studies.runner.ray_pool import RayWorker
from chalknet.studies.runner.scheduler import Scheduler, WorkQueue
from chalknet.studies.runner.worker import train_job
from chalknet.studies.store import Store
from chalknet.studies.study_training import RunCheckpoint, train_run, train_stack

DATA = made_images(240, seed=0)
HOW = {"threads": 1, "concurrency": "one at a time"}


@pytest.fixture(autouse=True)
def after_every_epoch(monkeypatch):
    monkeypatch.setattr(study_training, "CheckpointSchedule", partial(CheckpointSchedule, 0.0))


@pytest.fixture
def run():
    recipe = RECIPE.with_settings(epochs=8, batch_size=32, dropout=0.2, stop_early=True, patience=5)
    return runs_of(spec_of("hidden=4", recipe=recipe, seeds=1))[0]


def interrupt_after(epoch):
    def on_epoch(record):
        if record.epoch == epoch:
            raise KeyboardInterrupt

    return on_epoch


class After(StopRequest):
    """A request that stops a worker at its n-th call."""

    def __init__(self, n):
        super().__init__()
        self.left = n

    def __call__(self):
        self.left -= 1
        return self.left <= 0


def history(outcome):
    return [values[1:] for values in outcome.record["history"]], outcome.record["kept_epoch"]


@pytest.fixture
def folder(tmp_path):
    with checkpoint_folder(tmp_path) as folder:
        yield folder


def stopped(folder, run, data=DATA):
    with pytest.raises(KeyboardInterrupt):
        train_run(data, run, **HOW, checkpoints=folder, on_epoch=interrupt_after(5))


def epochs_of(folder, run, data=DATA):
    """Return the numbers of the epochs that a run trains, given the checkpoint in the folder."""
    seen = []
    train_run(data, run, **HOW, checkpoints=folder, on_epoch=lambda record: seen.append(record.epoch))
    return seen


def test_resumed_run_is_bit_identical(folder, run):
    whole = train_run(DATA, run, **HOW)
    stopped(folder, run)
    assert len(list(folder.glob("*.safetensors"))) == 1
    sent = []
    message = job_message((run,), 1, "one at a time", [False], folder)
    train_job(message, DATA, lambda message, content: sent.append((message, content)))
    outcome = output_from(sent[-1][0]["record"], sent[-1][1])
    assert history(outcome) == history(whole)
    for name, value in whole.arrays.items():
        np.testing.assert_array_equal(outcome.arrays[name], value)


def test_epochs_before_the_checkpoint_are_not_trained_again(folder, run):
    stopped(folder, run)
    assert epochs_of(folder, run) == [5, 6, 7, 8]


def test_checkpoint_of_other_data_split_or_recipe_is_ignored(folder, run):
    stopped(folder, run)
    (path,), whole = folder.glob("*.safetensors"), [*range(1, 9)]
    kept = path.read_bytes()
    for data in (made_images(240, seed=1), replace(DATA, labels=(DATA.labels + 1) % 4)):
        path.write_bytes(kept)
        assert epochs_of(folder, run, data) == whole
    for settings in ({"dropout": 0.3}, {"split_seed": 5}):
        recipe = run.configuration.recipe.with_settings(**settings)
        (other,) = runs_of(spec_of("hidden=4", recipe=recipe, seeds=1))
        (folder / f"{other.configuration.key[:16]}-seed0.safetensors").write_bytes(kept)
        assert epochs_of(folder, other) == whole
    path.write_bytes(kept)
    assert epochs_of(folder, run) == [5, 6, 7, 8]


def test_stopped_run_finishes_and_saves_its_epoch(folder, run, monkeypatch):
    monkeypatch.setattr(study_training, "CheckpointSchedule", partial(CheckpointSchedule, 1e9))
    with pytest.raises(StoppedError):
        train_run(DATA, run, **HOW, checkpoints=folder, must_stop=After(3))
    assert epochs_of(folder, run) == [4, 5, 6, 7, 8]


def test_worker_continues_while_two_more_epochs_fit(folder, run, monkeypatch):
    now, stop = [100.0], StopRequest()
    monkeypatch.setattr(run_checkpoints.time, "monotonic", lambda: now[0])
    assert [stop() for _ in range(3)] == [False] * 3
    stop.end = 110.0
    asked = []
    while not stop():
        asked.append(now[0])
        now[0] += 3.0
    assert asked == [100.0, 103.0]  # at 106, two more epochs of 3 seconds would last until 112
    monkeypatch.undo()
    monkeypatch.setattr(study_training, "CheckpointSchedule", partial(CheckpointSchedule, 1e9))
    stop = StopRequest()
    stop.end = time.monotonic() + 100.0
    train_run(DATA, run, **HOW, checkpoints=folder, must_stop=stop)
    assert epochs_of(folder, run) == []


def test_a_stop_within_an_epoch_resumes_with_the_same_bits(folder, run, monkeypatch):
    pause_after_every_update(monkeypatch)
    monkeypatch.setattr(study_training, "CheckpointSchedule", partial(CheckpointSchedule, 1e9))
    whole = train_run(DATA, run, **HOW)
    with pytest.raises(StoppedError):
        train_run(DATA, run, **HOW, checkpoints=folder, must_stop=After(3))
    (path,) = folder.glob("*.safetensors")
    kept = read_checkpoint(path)
    assert (len(kept.history), kept.unfinished.scores.n_updates) == (0, 3)
    again = train_run(DATA, run, **HOW, checkpoints=folder)
    assert history(again) == history(whole)
    for name, value in whole.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], value)


def test_a_run_killed_more_often_than_an_epoch_takes_ends(folder, run, monkeypatch):
    pause_after_every_update(monkeypatch)
    whole, n_kills = train_run(DATA, run, **HOW), 0

    class KilledAfterTwo(RunCheckpoint):
        n_calls = 0

        def between_updates(self):
            super().between_updates()
            self.n_calls += 1
            if self.n_calls == 2:
                raise KeyboardInterrupt  # as a kill, it comes without a stop request

    monkeypatch.setattr(study_training, "RunCheckpoint", KilledAfterTwo)
    while True:
        try:
            again = train_run(DATA, run, **HOW, checkpoints=folder)
            break
        except KeyboardInterrupt:
            n_kills += 1
    assert n_kills > len(whole.record["history"])
    assert history(again) == history(whole)


def test_a_ray_actor_that_is_asked_to_end_stops_within_an_epoch(folder):
    """Ray itself is not needed: the actor is an object of this process."""
    data = made_images(20240, seed=0)
    recipe = RECIPE.with_settings(epochs=1, batch_size=1, train_size=20000, valid_size=100)
    (run,) = runs_of(spec_of("hidden=64", recipe=recipe, seeds=1))
    actor = RayWorker(data)
    actor.submit(job_message((run,), 1, "one at a time", [False], folder))
    while not list(folder.glob("*.safetensors")):
        time.sleep(0.05)
    actor.end()
    assert [message["event"] for message, _ in actor.listen()] == ["ready", "stopped"]
    assert read_checkpoint(checkpoint_path(folder, run)).unfinished is not None


def test_run_lock_waits_for_another_worker(folder, run):
    path, began, order = checkpoint_path(folder, run), threading.Event(), []

    def train_elsewhere():
        with run_lock(path, StopRequest()):
            began.set()
            time.sleep(0.5)
            order.append("other")

    other = threading.Thread(target=train_elsewhere)
    other.start()
    began.wait()
    train_run(DATA, run, **HOW, checkpoints=folder, on_epoch=lambda _: order.append("this"))
    other.join()
    assert order[:2] == ["other", "this"]


@pytest.mark.extras
@pytest.mark.parametrize("within_epoch", [False, True])
def test_stopped_stack_resumes_every_run_with_the_same_numbers(folder, within_epoch, monkeypatch):
    needs("torch")
    recipe = RECIPE.with_settings(epochs=8, engine="torch", device="cpu", dtype="float64", stop_early=True, patience=5)
    if within_epoch:
        pause_after_every_update(monkeypatch)
        recipe = recipe.with_settings(batch_size=32)
    runs = runs_of(spec_of("hidden=4,7", recipe=recipe, seeds=2))

    def train(on_epoch=None, **how):
        ends = {}
        try:
            train_stack(DATA, runs, ends.__setitem__, keep_model=[False] * 4, on_epoch=on_epoch, **HOW, **how)
        except StoppedError:
            assert not ends
            return None
        return [ends[number].arrays["test_confidence"] for number in range(4)]

    whole, seen = train(), []
    assert train(checkpoints=folder, must_stop=After(11)) is None
    found = [read_checkpoint(path) for path in folder.glob("*.safetensors")]
    made = [None if one.unfinished is None else one.unfinished.scores.n_updates for one in found]
    # The request is called after each epoch of each run, and four times between the five updates of an epoch. The
    # eleventh call is within epoch 2, or after epoch 3 of the third run; all runs finish that epoch.
    assert made == [3 if within_epoch else None] * 4
    again = train(lambda number, record: seen.append((number, record.epoch)), checkpoints=folder)
    assert min(epoch for _, epoch in seen) == (2 if within_epoch else 4)
    np.testing.assert_allclose(again, whole, rtol=1e-6)


def test_a_damaged_checkpoint_costs_time_and_nothing_else(folder, run):
    stopped(folder, run)
    (path,) = folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert history(train_run(DATA, run, **HOW, checkpoints=folder)) == history(train_run(DATA, run, **HOW))


def test_missing_folder_means_no_checkpoint(tmp_path, run):
    train_run(DATA, run, **HOW, checkpoints=tmp_path / "elsewhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings", [{}, {"learning_rate": 1.0, "reduction": "sum", "activation": "identity"}])
def test_checkpoint_stays_until_the_output_is_stored(tmp_path, settings):
    spec = spec_of("hidden=4", recipe=RECIPE.with_settings(epochs=20, momentum=0.9, **settings), seeds=1)
    found = []

    class Watched(Store):
        def complete(self, *ended):
            found.append(len(list((tmp_path / "unfinished").glob("*.safetensors"))))
            return super().complete(*ended)

        def fail(self, *ended):
            found.append(len(list((tmp_path / "unfinished").glob("*.safetensors"))))
            return super().fail(*ended)

    with Watched.open_or_create(tmp_path) as store, WorkQueue(store, spec, DATA) as work:
        Scheduler(work, Pool(1, [])).run()
    assert found == [1]
    assert not (tmp_path / "unfinished").exists()


@pytest.mark.parametrize("name", ["models", "unfinished"])
def test_study_does_not_write_through_links(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(OutputError, match=f"{name}: is a symbolic link"),
        Store.open_or_create(tmp_path) as store,
        WorkQueue(store, spec_of("hidden=4", seeds=1), DATA) as work,
    ):
        Scheduler(work, Pool(1, [])).run()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_empty_checkpoint_folder_is_removed(tmp_path):
    with checkpoint_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    with checkpoint_folder(tmp_path) as folder:
        (folder / "run").touch()
    assert folder.exists()


def test_temporaries_of_a_killed_writer_are_removed(tmp_path):
    spec = spec_of("hidden=4", seeds=1)
    (run,) = runs_of(spec)
    name, left = checkpoint_path(tmp_path, run).name, []
    for folder in ("unfinished", "models"):
        (tmp_path / folder).mkdir()
        left.append(tmp_path / folder / f".{name}.abcd_123")  # as a kill between steps 1 and 3 of `atomic` leaves it
        left[-1].write_bytes(b"half")
    with Store.open_or_create(tmp_path) as store, WorkQueue(store, spec, DATA) as work:
        Scheduler(work, Pool(1, [])).run()
    assert not any(path.exists() for path in left)
    assert not (tmp_path / "unfinished").exists()


def test_resuming_removes_the_temporaries_of_its_checkpoint(folder, run):
    stopped(folder, run)
    left = folder / f".{checkpoint_path(folder, run).name}.abcd_123"
    left.write_bytes(b"half")
    assert epochs_of(folder, run) == [5, 6, 7, 8]
    assert not left.exists()


@pytest.mark.parametrize("has_lease", [True, False])
def test_checkpoint_of_a_run_that_another_process_has_stays(tmp_path, has_lease):
    spec = spec_of("hidden=4", seeds=1)
    with (
        Store.open_or_create(tmp_path) as store,
        WorkQueue(store, spec, DATA) as work,
        checkpoint_folder(tmp_path) as at,
    ):
        (run,) = work.claim()
        path = checkpoint_path(at, run)
        path.touch()
        if not has_lease:
            store.release(work.lease)
        work.fail(run, "loss became nan")
        assert path.exists() != has_lease
