"""Studies in worker processes: results do not depend on how they are run, and no finished run is lost by a kill.

Each test waits for the processes that it starts, or kills them. It kills at random times, or while a worker waits.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import join, split

import numpy as np
import pytest
from conftest import made_images, needs
from studies.small_studies import numbers, runs_of, spec_of

from chalknet.artifacts.checkpoint import read_checkpoint
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.load import load_data
from chalknet.errors import ChalknetError, ConfigError, DataError
from chalknet.studies.results_reader import read_results
from chalknet.studies.runner import processes
from chalknet.studies.runner.processes import EXIT_SECONDS
from chalknet.studies.runner.protocol import job_message
from chalknet.studies.runner.worker import train_job
from chalknet.studies.store import Store
from chalknet.workflows.study import study

SIZES = {"recipe": "writeup", "train_size": 160, "valid_size": 40}
GRID = {"hidden": [3, 4], "learning_rate": [1e-4, 1e-3]}
KILLS = random.Random(4)


@pytest.fixture
def letters(tmp_path):
    """A small data file, and the folder for studies of it beside it."""
    data = made_images(240, seed=0)
    np.savez(tmp_path / "letters.npz", images=data.inputs, labels=data.labels)
    return tmp_path / "letters.npz"


def events(folder):
    with Store.read(folder) as store:
        return store.events()


def command_line(letters, folder, *more):
    """12 runs of some tenths of a second each."""
    line = [*split("study --recipe writeup --train 160 --valid 40 --learning-rate 1e-5 --data"), str(letters), *more]
    return [sys.executable, "-m", "chalknet", *line, "--vary", "hidden=3,4,5,6", "--seeds", "3", "--out", str(folder)]


def run_to_the_end(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("vary", [GRID, {"dtype": ["float32", "float64"], "batch_size": ["full", 32]}])
@pytest.mark.slow
def test_results_do_not_depend_on_jobs_or_order(letters, tmp_path, vary):
    one, two = (
        study(letters, vary, out=tmp_path / f"jobs{jobs}", seeds=2, jobs=jobs, epochs=3, **SIZES) for jobs in (1, 2)
    )
    assert numbers(one) == numbers(two)
    assert one.run(one.configurations[0], 0).trained.endswith("1 worker process")
    assert two.run(two.configurations[0], 0).trained.endswith("2 worker processes")


@pytest.fixture
def stacks(monkeypatch):
    """Make a study stack runs as on a GPU, and its workers train them on the CPU."""
    needs("torch")
    monkeypatch.setattr("chalknet.studies.job_planner.gpu_bytes", lambda _: 10**9)
    monkeypatch.setattr("chalknet.training.trainer.device_of", lambda _: "cuda")
    return {"engine": "torch", "dtype": "float64"}


STACKED = pytest.param(True, marks=pytest.mark.extras, id="stacked")


@pytest.mark.extras
def test_stacked_runs_equal_single_runs(letters, tmp_path, stacks):
    asked = {"vary": {"hidden": [3, 40]}, "seeds": 2, "jobs": 1, "epochs": 3, **stacks, **SIZES}
    alone = study(letters, out=tmp_path / "alone", stack=1, **asked)
    stacked = study(letters, out=tmp_path / "stacked", **asked)
    for run in stacked.runs:
        mine, theirs = (one.record(run.configuration, run.seed).history[-1].valid.loss for one in (stacked, alone))
        assert mine == pytest.approx(theirs, rel=1e-9)
    how = Counter(stacked.record(run.configuration, run.seed).trained for run in stacked.runs)
    assert how == {"torch engine, float64, on cpu, in a stack of 4, 1 worker process": 4}
    names, others = (sorted(path.name for path in (one.folder / "models").rglob("*")) for one in (alone, stacked))
    assert names == others


@pytest.mark.extras
def test_a_stacked_run_that_diverges_fails_alone_and_says_why(letters, tmp_path, stacks):
    asked = {"vary": {"learning_rate": [1e-4, 1e300]}, "seeds": 2, "hidden": [4], "epochs": 3, **stacks, **SIZES}
    stacked = study(letters, out=tmp_path / "stacked", stack=4, jobs=1, **asked)
    assert stacked.counts == {"todo": 0, "running": 0, "done": 2, "failed": 2}
    assert all("largest gradient" in error for error in stacked.failed.values())


def test_runs_of_a_stack_that_fails_as_a_whole_are_trained_alone(letters, monkeypatch):
    def fails(*_, **__):
        raise MemoryError

    monkeypatch.setattr("chalknet.studies.runner.worker.train_stack", fails)
    runs = runs_of(spec_of("hidden=3,4"))[:3]
    said = []
    message = job_message(runs, 1, "one at a time", [False] * 3, Path("nowhere"))
    train_job(message, load_data(letters), lambda sent, _: said.append((sent["run"], sent["event"])))
    assert [one for one in said if one[1] != "epoch"] == [(0, "done"), (1, "done"), (2, "done")]


@pytest.mark.filterwarnings("ignore:early stopping chooses the epoch by only 60")
def test_run_of_a_study_equals_a_run_of_train(letters, tmp_path):
    import chalknet

    asked = {**SIZES, "valid_size": 60, "epochs": 3, "stop_early": True}
    results = study(letters, {"hidden": [4, 6]}, out=tmp_path / "study", seeds=2, **asked)
    config = results.configuration("hidden=6")
    run = chalknet.train(load_data(letters), hidden=[6], seed=1, **asked)
    result = results.run(config, 1)
    assert [(r.train, r.valid, r.test) for r in result.history] == [(r.train, r.valid, r.test) for r in run.history]
    assert result.kept_epoch == run.kept_epoch
    test = run.splits.test
    np.testing.assert_array_equal(result.test.predicted, run.network.predict(run.data.inputs[test]))
    np.testing.assert_array_equal(result.test.index, test)
    first = chalknet.load_model(results.model_path(config))
    np.testing.assert_array_equal(first.predict(run.data.inputs[test]), results.run(config, 0).test.predicted)


@pytest.mark.slow
def test_named_configurations_are_trained_and_read_by_name(letters, tmp_path):
    layers = ["flatten", {"type": "dense", "units": 4}, "relu"]
    spec = spec_of(configurations={"wide": {"hidden": [5]}, "with layers": {"layers": layers}}, seeds=1)
    results = study(letters, spec, out=tmp_path / "study", jobs=1)
    assert [config.label for config in results.complete_configurations] == ["wide", "with layers"]
    again = read_results(tmp_path / "study")
    assert numbers(again) == numbers(results)
    assert set(again.correct("valid")) == {"wide", "with layers"}


def test_new_specification_keeps_old_configurations(letters, tmp_path):
    folder = tmp_path / "study"
    first = study(letters, {"hidden": [3, 4]}, out=folder, seeds=2, epochs=2, **SIZES)
    before = numbers(first)
    second = study(letters, {"hidden": [4, 5]}, out=folder, seeds=3, epochs=2, **SIZES)
    assert [config.label for config in second.configurations] == ["hidden=4", "hidden=5"]
    assert Counter(event for _, _, event in events(folder)) == {"begun": 8, "done": 8}
    everything = read_results(folder, all_configurations=True)
    assert [config.label for config in everything.configurations] == ["hidden=4", "hidden=5", "hidden=3"]
    assert {run: numbers(second).get(run) for run in before if "hidden=4" in run}.items() <= before.items()
    again = study(letters, {"hidden": [3, 4]}, out=folder, seeds=2, epochs=2, **SIZES)
    assert numbers(again) == before
    assert len(events(folder)) == 16


@pytest.mark.slow
def test_images_are_paired_unless_the_split_varies(letters, tmp_path):
    results = study(letters, {"hidden": [3, 4]}, out=tmp_path / "a", seeds=2, epochs=2, **SIZES)
    correct = results.correct("test")
    assert list(correct) == ["hidden=3", "hidden=4"]
    assert {one.shape for one in correct.values()} == {(2, 40)}
    np.testing.assert_array_equal(correct["hidden=4"][1], results.run(results.configurations[1], 1).test.correct)
    varies = ("init", "order", "split")
    other = study(letters, {"hidden": [3, 4]}, out=tmp_path / "b", seeds=2, epochs=2, seeds_vary=varies, **SIZES)
    with pytest.raises(ConfigError, match="varies with the seed, so its seeds have different images"):
        other.correct("test")
    assert other.correct_of_seed("test", 1)["hidden=3"].shape == (40,)
    assert set(other.index("test", 0)) != set(other.index("test", 1))


def test_diverging_run_fails_and_the_others_finish(letters, tmp_path):
    vary = {"learning_rate": [1e-4, 1e300]}
    results = study(letters, vary, out=tmp_path / "s", seeds=2, hidden=[4], epochs=3, **SIZES)
    assert results.counts == {"todo": 0, "running": 0, "done": 2, "failed": 2}
    assert [run.configuration.label for run in results.failed] == ["learning_rate=1e+300"] * 2
    assert all("largest gradient" in error for error in results.failed.values())
    assert [config.label for config in results.complete_configurations] == ["learning_rate=0.0001"]
    study(letters, vary, out=tmp_path / "s", seeds=2, hidden=[4], epochs=3, **SIZES)
    assert Counter(e for _, _, e in events(tmp_path / "s"))["failed"] == 2  # not tried again by itself
    study(letters, vary, out=tmp_path / "s", seeds=2, hidden=[4], epochs=3, retry_failed=True, **SIZES)
    assert Counter(e for _, _, e in events(tmp_path / "s"))["failed"] == 4


class Spy:
    """Notes the worker processes that are started."""

    def __init__(self, monkeypatch):
        self.processes = []
        popen = subprocess.Popen

        def note(*args, **kwargs):
            self.processes.append(popen(*args, **kwargs))
            return self.processes[-1]

        monkeypatch.setattr(processes.subprocess, "Popen", note)


# Each worker executes this first. A worker that has trained an epoch of a run with this seed (or with any seed, if it
# is None) writes its process number to a link and waits to be killed, until `most` workers have done so. If it did not
# wait, its run could end before the kill.
HELD = """
import os, time
from chalknet.studies.runner import protocol

folder, seed, most, job, receive, send = {folder!r}, {seed!r}, {most!r}, {{}}, protocol.receive, protocol.send

def receive_job(connection):
    message, content = receive(connection)
    job.update(message)
    return message, content

def send_and_wait(connection, message, content=b""):
    send(connection, message, content)
    if message["event"] == "epoch" and seed in (None, job["runs"][message["run"]]["seed"]):
        for at in range(most):
            try:
                os.symlink(str(os.getpid()), f"{{folder}}/held-{{at}}")
            except FileExistsError:
                continue
            time.sleep(300)

protocol.receive, protocol.send, protocol.SECONDS_BETWEEN_EPOCHS = receive_job, send_and_wait, 0.0
"""


class Killer:
    """An observer of a study that kills the workers which `HELD` makes wait, in the middle of a run."""

    def __init__(self, monkeypatch, folder, most, seed=None):
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(HELD.format(folder=str(folder), seed=seed, most=most))
        real = processes._environment
        path = f"{folder}{os.pathsep}"
        monkeypatch.setattr(processes, "_environment", lambda: {**real(), "PYTHONPATH": path + real()["PYTHONPATH"]})
        self.folder, self.spy, self.killed = folder, Spy(monkeypatch), set()

    def __call__(self, _):
        for held in {path for path in self.folder.iterdir() if path.name.startswith("held-")} - self.killed:
            pid = int(str(held.readlink()))
            assert pid in [process.pid for process in self.spy.processes]
            os.kill(pid, signal.SIGKILL)
            self.killed.add(held)


@pytest.mark.parametrize("is_stacked", [False, STACKED])
@pytest.mark.slow
def test_runs_of_a_killed_worker_are_trained_again(letters, tmp_path, monkeypatch, request, is_stacked):
    asked = {"seeds": 2, "jobs": 2, "epochs": 200, "learning_rate": 1e-5, **SIZES}
    asked |= request.getfixturevalue("stacks") if is_stacked else {}
    killer = Killer(monkeypatch, tmp_path / "site", most=1)
    results = study(letters, {"hidden": [3, 4]}, out=tmp_path / "s", on_progress=killer, **asked)
    n_lost = 2 if is_stacked else 1
    assert Counter(event for _, _, event in events(tmp_path / "s")) == {"begun": 4 + n_lost, "died": n_lost, "done": 4}
    assert all(process.poll() is not None for process in killer.spy.processes)
    if not is_stacked:
        assert numbers(results) == numbers(study(letters, {"hidden": [3, 4]}, out=tmp_path / "t", **asked))
    # Runs whose worker crashed while it trained a stack are trained again alone.
    trained = Counter("in a stack" in results.record(run.configuration, run.seed).trained for run in results.runs)
    assert trained == ({True: 2, False: 2} if is_stacked else {False: 4})


@pytest.mark.parametrize("is_stacked", [False, STACKED])
@pytest.mark.slow
def test_a_run_that_kills_its_worker_three_times_has_failed(letters, tmp_path, monkeypatch, request, is_stacked):
    asked = {"jobs": 1, "epochs": 200, "learning_rate": 1e-5, **SIZES}
    asked |= request.getfixturevalue("stacks") if is_stacked else {}
    killer = Killer(monkeypatch, tmp_path / "site", most=3, seed=1)
    results = study(letters, {"hidden": [4]}, out=tmp_path / "s", on_progress=killer, **asked)
    (error,) = results.failed.values()
    assert "its worker process crashed 3 times, most recently with signal 9 (SIGKILL)" in error
    assert results.counts["done"] == 2


def test_runs_stay_todo_if_workers_cannot_start(letters, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_environment", lambda: {**os.environ, "PYTHONHOME": str(tmp_path / "nowhere")})
    with pytest.raises(ChalknetError, match="worker processes cannot be started: exit code 1"):
        study(letters, {"hidden": [3]}, out=tmp_path / "s", seeds=1, epochs=2, **SIZES)
    assert read_results(tmp_path / "s").counts == {"todo": 1, "running": 0, "done": 0, "failed": 0}


def test_interrupted_study_releases_runs_and_stops_workers(letters, tmp_path, monkeypatch):
    spy = Spy(monkeypatch)

    def interrupt(progress):
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(letters, {"hidden": [3, 4]}, out=tmp_path / "s", epochs=2, on_progress=interrupt, **SIZES)
    results = read_results(tmp_path / "s")
    assert results.counts["done"] >= 1
    assert results.counts["running"] == 0
    assert all(process.poll() is not None for process in spy.processes)
    assert not list((tmp_path / "s").glob(".work-*"))
    assert "given back" in {event for _, _, event in events(tmp_path / "s")}
    with Store.read(tmp_path / "s") as store:
        assert store.leases() == []


def test_other_data_is_refused_and_changes_nothing(letters, tmp_path):
    study(letters, {"hidden": [3]}, out=tmp_path / "s", seeds=1, epochs=2, **SIZES)
    old, specification = load_data(letters).sha256, (tmp_path / "s" / "study.toml").read_bytes()
    other = made_images(240, seed=1)
    np.savez(letters, images=other.inputs, labels=other.labels)
    with pytest.raises(DataError, match=f"sha256 {load_data(letters).sha256}, expected {old}"):
        study(letters, {"hidden": [4]}, out=tmp_path / "s", seeds=1, epochs=2, **SIZES)
    assert (tmp_path / "s" / "study.toml").read_bytes() == specification
    assert [config.label for config in read_results(tmp_path / "s").configurations] == ["hidden=3"]


def test_full_disk_while_copying_samples_is_one_line(tmp_path):
    data = dataset_from_arrays(np.random.default_rng(0).integers(0, 256, (2000, 28, 28)), np.arange(2000) % 4)
    np.savez(tmp_path / "data.npz", images=data.inputs, labels=data.labels)
    (tmp_path / "disk").mkdir()
    command = [*command_line(tmp_path / "data.npz", tmp_path / "disk" / "s"), "--quiet"]
    mounted = f"mount -t tmpfs -o size=1m tmpfs {tmp_path / 'disk'} || exit 99; exec {join(command)}"
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare, which gives the study a disk of its own")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mounted], capture_output=True, text=True, check=False)
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip("this system mounts no disk for a test")
    assert done.returncode == 1, done.returncode  # a write through a map of memory would end it by SIGBUS, -7
    assert re.fullmatch(
        r"chalknet: .*/\.work-\w+: No space left on device\. What was finished is kept\.\n", done.stderr
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jobs": 0}, r"jobs must be an integer from 1 to 1024, got 0"),
        ({"jobs": 30_000}, r"jobs must be an integer from 1 to 1024, got 30000"),
        *(({"stack": n}, r"stack must be an integer >= 1") for n in (0, -1, True, 1.5, "always")),
        ({"hidden": [5]}, "hidden is both varied and set"),
        ({"epoks": 5}, "unknown setting 'epoks'. Did you mean 'epochs'"),
        ({"train_size": 999}, "there are only 240"),
        ({"trials": 5}, "trials is a setting of a search. Give search='tpe'"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(letters, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        study(letters, {"hidden": [3]}, out=tmp_path / "s", **{**SIZES, **settings})
    assert not (tmp_path / "s").exists()


def killed_again_and_again(letters, folder, undisturbed, n_kills, epochs, longest):
    """Kill a study at random times and start it again, then check that each run was stored once and is right."""
    command = command_line(letters, folder, "--epochs", str(epochs), "--jobs", "2", "--quiet")
    kills = 0
    while kills < n_kills:
        with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=KILLS.uniform(0.05, longest))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            else:  # the study has ended before the kill; from now on, kill it while it reads the finished study
                assert process.returncode == 0, process.stderr.read()
                longest = 0.4
    run_to_the_end(command)
    results = read_results(folder)
    assert results.counts == {"todo": 0, "running": 0, "done": 12, "failed": 0}
    done = Counter((config, seed) for config, seed, event in events(folder) if event == "done")
    assert len(done) == 12
    assert set(done.values()) == {1}
    assert numbers(results) == numbers(read_results(undisturbed))
    assert not list(folder.glob(".work-*"))
    with Store.read(folder) as store:
        assert store.leases() == []


@pytest.mark.slow
def test_study_killed_three_times_has_the_same_numbers(letters, tmp_path):
    run_to_the_end(command_line(letters, tmp_path / "calm", "--epochs", "300", "--jobs", "2", "--quiet"))
    killed_again_and_again(letters, tmp_path / "killed", tmp_path / "calm", 3, 300, longest=1.3)


@pytest.mark.slow
def test_study_killed_twenty_times_has_the_same_numbers(letters, tmp_path):
    run_to_the_end(command_line(letters, tmp_path / "calm", "--epochs", "2500", "--jobs", "1", "--quiet"))
    killed_again_and_again(letters, tmp_path / "killed", tmp_path / "calm", 20, 2500, longest=2.5)


@pytest.mark.slow
def test_study_killed_every_third_of_its_time_still_finishes(letters, tmp_path):
    line = ("--epochs", "1500", "--jobs", "2", "--quiet")
    started = time.monotonic()
    run_to_the_end(command_line(letters, tmp_path / "calm", *line))
    seconds = time.monotonic() - started
    for _ in range(60):
        with subprocess.Popen(command_line(letters, tmp_path / "s", *line), start_new_session=True) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(KILLS.uniform(0.05, 0.35) * seconds)
            process.kill()
        if process.returncode == 0:
            break
    assert numbers(read_results(tmp_path / "s")) == numbers(read_results(tmp_path / "calm"))


@pytest.mark.slow
def test_two_processes_share_one_study_and_do_nothing_twice(letters, tmp_path):
    folder = tmp_path / "shared"
    command = command_line(letters, folder, "--epochs", "1000", "--jobs", "1", "--quiet")
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert Counter(event for _, _, event in events(folder)) == {"begun": 12, "done": 12}
    with Store.read(folder) as store:
        owners = store._db.execute("SELECT owner, COUNT(*) FROM events WHERE event = 'done' GROUP BY owner").fetchall()
    assert len(owners) == 2, "one of them did everything"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.slow
def test_signal_stops_a_study_and_shows_how_to_resume(letters, tmp_path, number, code):
    command = command_line(letters, tmp_path / "s", "--epochs", "1000", "--jobs", "2")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (seen := process.stderr.readline()).startswith("runs  1/12"):
            assert seen.startswith(("note: ", "plan: ")), seen
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == code
    assert rest.splitlines()[-1].startswith(
        "chalknet: stopped. Finished runs are kept. Resume with: chalknet study --config"
    )
    assert "Traceback" not in rest
    results = read_results(tmp_path / "s")
    assert results.counts["running"] == 0
    assert results.counts["done"] >= 1
    assert not list((tmp_path / "s").glob(".work-*"))


@contextmanager
def training(letters, folder, *more):
    """A study's process and one of its workers, which trains a run that takes longer than any test."""
    line = ("--epochs", "100000", "--jobs", "1", *more)
    with subprocess.Popen(command_line(letters, folder, *line), stderr=subprocess.PIPE, text=True) as process:
        try:
            while not list(folder.glob("unfinished/*-*.safetensors")):
                assert process.poll() is None, process.stderr.read()
            (worker,) = workers_of(process.pid)
            yield process, worker
        finally:
            process.kill()


def n_epochs_kept(folder):
    (path,) = folder.glob("unfinished/*.safetensors")
    return len(read_checkpoint(path).history)


@pytest.mark.slow
def test_worker_saves_and_exits_when_its_scheduler_is_killed(letters, tmp_path):
    with training(letters, tmp_path / "s") as (process, worker):
        before = n_epochs_kept(tmp_path / "s")
        time.sleep(0.3)  # less than the time to the next checkpoint
        assert n_epochs_kept(tmp_path / "s") == before
        process.kill()
        assert gone(worker, seconds=EXIT_SECONDS + 1), "the worker outlived its scheduler"
    assert n_epochs_kept(tmp_path / "s") > before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_worker_that_is_asked_to_stop_releases_its_run(letters, tmp_path, number):
    with training(letters, tmp_path / "s") as (process, worker):
        before = n_epochs_kept(tmp_path / "s")
        os.kill(worker, number)
        assert gone(worker, seconds=EXIT_SECONDS)
        # The checkpoint of the stopped worker is there before the scheduler has noticed its end, so count the events.
        while n_epochs_kept(tmp_path / "s") <= before or len(events(tmp_path / "s")) < 3:
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(EXIT_SECONDS + 5) == 130
    first, *_, last = events(tmp_path / "s")
    assert [event for _, _, event in events(tmp_path / "s")] == ["begun", "given back"] * 2
    assert first[:2] == last[:2]


def workers_of(pid):
    """Process numbers of the children of a process, where /proc tells them."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    pytest.skip("the system does not tell a process's children")
    return []


def gone(pid, seconds):
    """Whether a process that is not ours to wait for ends within some seconds."""
    import select

    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
