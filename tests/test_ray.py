"""Ray: studies and trainings on two nodes give the numbers of local ones, despite kills."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import made_images, needs
from engines.test_sharded import BASE, DATA, SPLITS, assert_equal_to_rounding, trained
from studies.small_studies import numbers
from two_nodes import DRIVER, TwoNodes

import chalknet
from chalknet.artifacts.run_folder import read_run
from chalknet.data.load import load_data
from chalknet.engines.ray_shards import RayShards
from chalknet.machine.ray_cluster import _local_only, ray_cluster
from chalknet.studies.results_reader import read_results
from chalknet.studies.store import Store
from chalknet.training.callbacks import FunctionCallback
from chalknet.training.trainer import Trainer
from chalknet.workflows.study import study
from chalknet.workflows.train import run_training
from chalknet.workflows.train_options import TrainOptions

pytestmark = pytest.mark.ray

FOLDER = {"prefix": "chalknet-ray-", "ignore_cleanup_errors": True}


@pytest.fixture(scope="module")
def cluster():
    """One for all tests: starting it takes seconds."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(**FOLDER) as folder:
        Path(folder, "ray").mkdir()  # where a cluster writes its address; Ray makes it for ray.init alone
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray = needs("ray")
        ray._raylet.Config.initialize("")  # reads the environment, which it has read when Ray was imported
        with _local_only(ray):
            nodes = TwoNodes(folder)
            try:
                yield nodes
            finally:
                nodes.stop()


@pytest.fixture
def two_nodes(cluster):
    """The cluster with both nodes alive."""
    cluster.add_second()
    try:
        yield cluster
    finally:
        cluster.forget_second()


ASKED = {"recipe": "writeup", "seeds": 6, "epochs": 400, "learning_rate": 1e-5, "train_size": 160, "valid_size": 40}
GRID = {"hidden": [3, 4, 5, 6]}


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("letters")
    data = made_images(240, seed=0)
    np.savez(folder / "letters.npz", images=data.inputs, labels=data.labels)
    return folder / "letters.npz"


@pytest.fixture(scope="module")
def local(letters, tmp_path_factory):
    """The numbers of the study on this machine's own processes."""
    return numbers(study(letters, GRID, out=tmp_path_factory.mktemp("local") / "s", jobs=2, **ASKED))


def events(folder):
    with Store.read(folder) as store:
        return Counter(event for _, _, event in store.events()), Counter(
            (config, seed) for config, seed, event in store.events() if event == "done"
        )


def assert_done_once(folder, numbers_of_local):
    results, n_runs = read_results(folder), len(numbers_of_local)
    assert results.counts == {"todo": 0, "running": 0, "done": n_runs, "failed": 0}
    told, done = events(folder)
    assert len(done) == n_runs
    assert set(done.values()) == {1}
    assert numbers(results) == numbers_of_local
    return told


def test_workers_of_an_interrupted_study_write_checkpoints(two_nodes, letters, tmp_path):
    asked = {**ASKED, "seeds": 1, "epochs": 200_000, "on": two_nodes.on}
    interrupted = []

    def interrupt(progress):
        if any(epoch for _, epoch, _ in progress.active_runs):
            interrupted.append(time.time())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(letters, {"hidden": [3]}, out=tmp_path / "s", on_progress=interrupt, **asked)
    (checkpoint,) = (tmp_path / "s" / "unfinished").glob("*.safetensors")
    assert checkpoint.stat().st_mtime > interrupted[0]
    assert read_results(tmp_path / "s").counts["done"] == 0


def test_a_killed_worker_or_node_costs_only_its_runs(two_nodes, letters, local, tmp_path):
    killed = []

    def kill(progress):
        is_training = any(epoch for _, epoch, _ in progress.active_runs)
        if not killed and progress.done >= 3 and is_training:
            (worker,) = two_nodes.workers(two_nodes.head, "RayWorker")
            os.kill(worker, signal.SIGKILL)
            killed.append("worker")
        elif len(killed) == 1 and progress.done >= 8 and is_training:
            assert two_nodes.workers(two_nodes.second, "RayWorker"), "it has nothing to lose"
            two_nodes.kill_second()
            killed.append("node")

    study(letters, GRID, out=tmp_path / "s", on=two_nodes.on, on_progress=kill, **ASKED)
    assert killed == ["worker", "node"]
    assert len(local) == 24
    told = assert_done_once(tmp_path / "s", local)
    assert told["died"] == 2
    assert told["begun"] == 26


def test_a_killed_driver_resumes_with_samples_on_disk(two_nodes, letters, tmp_path):
    (tmp_path / "stored").mkdir()
    for name in ("images", "labels"):
        np.save(tmp_path / "stored" / f"{name}.npy", np.load(letters)[name])
    data = load_data(tmp_path / "stored")
    assert data.is_on_disk
    local = numbers(study(data, {"hidden": [3, 4]}, out=tmp_path / "local", jobs=2, **ASKED))
    folder = tmp_path / "s"
    line = [
        "study",
        "--recipe",
        "writeup",
        "--data",
        data.source,
        "--train",
        "160",
        "--valid",
        "40",
        "--learning-rate",
        "1e-5",
    ]
    line += ["--epochs", "400", "--vary", "hidden=3,4", "--seeds", "6", "--out", str(folder), "--on", two_nodes.on]
    command = [sys.executable, "-c", DRIVER, *line]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (seen := process.stderr.readline()).startswith("runs  3/12"):
            assert seen, "it ended before"
        process.kill()
    assert 3 <= read_results(folder).counts["done"] < 12
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert len(local) == 12
    assert assert_done_once(folder, local)["begun"] > 12


def processes_with(setting):
    """Those alive that have inherited this setting; none are seen where there is no /proc."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if setting.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(place.name)
    return found


@pytest.mark.parametrize("batch_size", ["full", 32])
def test_sharded_epochs_equal_local_ones_despite_kills(two_nodes, batch_size):
    recipe = BASE.with_settings(batch_size=batch_size, dropout=0.3, clip_norm=1.0)
    with ray_cluster(two_nodes.on, "test") as ray:
        shards = RayShards(ray, 2)
        trainer = Trainer(DATA, SPLITS, recipe, shards=shards)
        for record in trainer.epochs():
            if record.epoch == 5:
                (worker,) = two_nodes.workers(two_nodes.head, "ShardWorker")
                os.kill(worker, signal.SIGKILL)
            if record.epoch == 12:
                assert two_nodes.workers(two_nodes.second, "ShardWorker")
                two_nodes.kill_second()
        shards.stop()
    assert_equal_to_rounding((trainer.history, trainer), trained(DATA, SPLITS, recipe, None))


def test_a_sharded_run_resumes_with_a_temporary_ray(letters, tmp_path):
    needs("ray")
    settings = {"hidden": [6], "epochs": 6, "train_size": 160, "valid_size": 40, "dtype": "float64"}
    want = chalknet.train(letters, "writeup", **settings, out=tmp_path / "want")

    def stop(record):
        if record.epoch == 3:
            raise KeyboardInterrupt

    recipe = want.recipe
    options = TrainOptions(letters, recipe=recipe, out=tmp_path / "run", checkpoint_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        run_training(options, [FunctionCallback(stop)])
    line = ["train", "--resume", str(tmp_path / "run"), "--shards", "2", "--quiet"]
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "chalknet", *line], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    history = read_run(tmp_path / "run").history
    assert len(history) == 6
    for record, expected in zip(history, want.history, strict=True):
        assert vars(record.test) == pytest.approx(vars(expected.test), rel=1e-9)
    assert not (tmp_path / "home" / ".ray").exists()
    assert not processes_with(f"HOME={tmp_path / 'home'}")
