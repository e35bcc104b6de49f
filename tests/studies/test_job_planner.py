"""A plan contains every run once, in stacks of runs that a GPU can train at once."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import made_images, needs
from hypothesis import given
from hypothesis import strategies as st
from studies.small_studies import RECIPE, runs_of, spec_of

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.errors import ConfigError, MissingExtraError
from chalknet.studies import job_planner
from chalknet.studies.execution_plan import plan_single_runs
from chalknet.studies.job_planner import Planner, measured_seconds
from chalknet.training import trainer as trainer_module
from chalknet.training.joint_training import batch_order_key, stack_key
from chalknet.training.trainer import run_epochs
from chalknet.workflows import run_study as study_module
from chalknet.workflows.run_study import plan_study

DATA = made_images(240, seed=0)


@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 9))
def test_cuts_are_even_and_no_larger_than_asked(n, most, processes):
    jobs = job_planner.cut(list(range(n)), most, processes)
    assert [one for job in jobs for one in job] == list(range(n))
    assert max(map(len, jobs)) <= most
    assert len({len(job) for job in jobs[:-1]}) <= 1
    assert len(jobs) >= min(n, processes) or len(jobs[0]) > 1


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 2 GB, as far as plans ask; nothing is trained on it."""
    monkeypatch.setattr(job_planner, "gpu_bytes", lambda training: 2 * 10**9 * (training.engine == "torch"))
    monkeypatch.setattr(
        job_planner, "measured_seconds", lambda *_, **__: pytest.fail("only who asks for the time waits for it")
    )


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("stack", [None, 1, 2, 7])
def test_every_run_is_in_exactly_one_stackable_job(stack):
    spec = spec_of(
        "hidden=3,4,40,600", "batch_norm=false,true", "batch_size=full,32", "train_size=80,160", "engine=numpy,torch",
        seeds=3, seeds_vary=("init", "order", "split"),
    )  # fmt: skip
    runs = runs_of(spec)
    plan = Planner(DATA, processes=1, stack=stack).plan(runs)
    jobs = [job for group in plan.groups for job in group.jobs]
    assert sorted(run.key for job in jobs for run in job) == sorted(run.key for run in runs)
    assert plan.n_runs == len(runs) == len(plan.job_of)
    assert max(map(len, jobs)) == min(stack or 4, 4)  # four widths: each seed has its own division of the samples
    for job in jobs:
        keys = {
            (stack_key(run.configuration.recipe_of(run.seed), DATA), run.configuration.split_of(run.seed))
            for run in job
        }
        assert len(keys) == 1
        assert len(job) == 1 or None not in {key for key, _ in keys}


def test_on_processors_every_run_is_a_job_of_its_own():
    runs = runs_of(spec_of("hidden=3,4", seeds=4))
    plan = Planner(DATA, processes=2).plan(runs)
    assert plan.description == plan_single_runs(runs, 2, 1).description == "2 processes, 8 runs"
    assert {group.size for group in plan.groups} == {1}


@pytest.mark.parametrize("batch_size", ["full", 32])
def test_what_is_measured_is_a_time(batch_size):
    recipe = RECIPE.with_settings(hidden=[4], batch_size=batch_size)
    assert 0 < measured_seconds(DATA, {"train": 160, "valid": 40, "test": 0}, [recipe]) < 60


@pytest.mark.extras
def test_the_measured_time_of_a_stack_is_that_of_one_run():
    needs("torch")
    recipes = [RECIPE.with_settings(hidden=[4], engine="torch", device="cpu", seed=seed) for seed in range(3)]
    assert 0 < measured_seconds(DATA, {"train": 160, "valid": 40, "test": 0}, recipes) < 60


def test_time_on_a_gpu_is_not_shared_by_cores():
    group = job_planner.RunGroup(((None,), (None,)), 3.0, 0, "cuda")
    assert job_planner.Plan((group,), 1, 16).seconds == 6.0


def test_a_plan_that_is_timed_knows_the_end_and_the_memory():
    plan = Planner(DATA, processes=3, threads=2).plan(runs_of(spec_of("hidden=4,600", seeds=2)), timed=True)
    assert np.isfinite(plan.seconds)
    assert plan.memory_bytes == 3 * max(group.job_bytes for group in plan.groups) > 3e8
    assert plan.description.startswith("3 processes, ")


@pytest.mark.usefixtures("gpu")
def test_a_gpu_has_all_widths_in_one_stack():
    runs = runs_of(spec_of("hidden=1,100,500,1000,2000", "engine=torch", seeds=10))
    plan = Planner(DATA, processes=1).plan(runs)
    assert plan.description == "1 process on a GPU, 50 runs in stacks of up to 50"
    widths = [run.configuration.recipe.network.hidden for run in plan.groups[0].jobs[0]]
    assert widths == sorted(widths)


@pytest.mark.usefixtures("gpu")
def test_a_stack_is_bounded_by_memory_and_by_what_may_be_lost(monkeypatch):
    (group,) = Planner(DATA, processes=1).plan(runs_of(spec_of("hidden=4000", "engine=torch", seeds=600))).groups
    assert 100 < group.size < 600
    monkeypatch.setattr(job_planner, "gpu_bytes", lambda _: 10**12)
    (group,) = Planner(DATA, processes=1).plan(runs_of(spec_of("hidden=4", "engine=torch", seeds=600))).groups
    assert group.size == 300 <= job_planner.MAX_STACK


def test_missing_engine_is_reported_by_the_worker(monkeypatch):
    def missing(_):
        raise MissingExtraError("engine torch needs PyTorch")

    monkeypatch.setattr(job_planner, "gpu_bytes", missing)
    runs = runs_of(spec_of("hidden=4", "engine=torch", seeds=4))
    assert Planner(DATA, processes=1, stack=4).plan(runs).description == "1 process, 4 runs"


@pytest.mark.parametrize(("stack", "size"), [(None, 1), (3, 2)])  # a size that shares out four runs evenly
def test_runs_on_other_machines_are_stacked_only_when_asked(stack, size):
    runs = runs_of(spec_of("hidden=4", "engine=torch,numpy", seeds=4))
    plan = Planner(DATA, processes=1, stack=stack, is_remote=True).plan(runs)
    assert sorted(group.size for group in plan.groups) == [1, size]


@pytest.mark.usefixtures("gpu")
def test_jobs_group_equal_widths_and_batches():
    runs = runs_of(spec_of("hidden=4", "batch_size=32", "engine=torch", "learning_rate=1e-5,1e-4,1e-3", seeds=4))
    (group,) = Planner(DATA, processes=2).plan(runs).groups
    assert [len(job) for job in group.jobs] == [6, 6]
    for job in group.jobs:
        orders = [batch_order_key(run.configuration.recipe_of(run.seed)) for run in job]
        assert orders == sorted(orders)
        assert len(set(orders)) == 2


def test_one_process_has_the_gpu_unless_more_are_requested(monkeypatch, tmp_path):
    monkeypatch.setattr(job_planner, "measured_seconds", lambda *_, **__: 1.0)
    monkeypatch.setattr(job_planner, "gpu_bytes", lambda _: 10**9)
    monkeypatch.setattr(trainer_module, "device_of", lambda _: "cuda")
    spec = spec_of("hidden=3,40", "engine=torch", seeds=2)
    assert plan_study(spec, DATA, tmp_path).description == "1 process on a GPU, 4 runs in stacks of up to 4"
    assert plan_study(spec, DATA, tmp_path, jobs=2).description == "2 processes on a GPU, 4 runs in stacks of up to 2"
    monkeypatch.setattr(trainer_module, "device_of", lambda _: "cpu")
    monkeypatch.setattr(study_module, "available_cores", lambda: 3)
    assert plan_study(spec, DATA, tmp_path).processes == 3


@pytest.mark.parametrize(("on_gpu", "n_train", "epochs"), [(False, 2_048, 3), (True, 3_000, 8)])
def test_gpu_time_is_measured_after_its_first_epochs(on_gpu, n_train, epochs, monkeypatch):
    trained = []

    def spy(trainer, on_epoch):
        trained.append(trainer)
        return run_epochs(trainer, on_epoch)

    monkeypatch.setattr(job_planner, "run_epochs", spy)
    monkeypatch.setattr(job_planner, "MEASURED_SAMPLES_ON_GPU", 3_000)
    recipe = Recipe().with_settings(hidden=[3], epochs=50)
    sizes = {"train": 5_000, "valid": 10, "test": 10}
    assert job_planner.measured_seconds(DATA, sizes, [recipe], on_gpu=on_gpu) > 0
    monkeypatch.setattr(job_planner, "MEASURED_BYTES", 100 * DATA.n_inputs * DATA.inputs.dtype.itemsize)
    assert job_planner.measured_seconds(DATA, sizes, [recipe], on_gpu=on_gpu) > 0
    assert [(len(one.splits.train), len(one.history)) for one in trained] == [(n_train, epochs), (100, epochs)]


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_random_samples_have_the_type_of_the_data(kind):
    data = Dataset(DATA.inputs.astype(kind), DATA.labels, DATA.class_names)
    made, splits = job_planner._random_samples(data, 30, 10, 5)
    assert made.inputs.dtype == np.dtype(kind)
    assert len(np.unique(made.inputs)) > 50
    assert splits.sizes == {"train": 30, "valid": 10, "test": 5}


def test_missing_device_is_refused_before_the_study_starts(monkeypatch, tmp_path):
    asked = []

    def device_of(training):
        asked.append((training.engine, training.device, training.precision))
        if training.precision == "tf32":
            raise ConfigError("precision tf32 needs a CUDA device")
        return "cpu"

    monkeypatch.setattr(trainer_module, "device_of", device_of)
    torch = RECIPE.with_settings(engine="torch")
    with pytest.raises(ConfigError, match="precision tf32 needs a CUDA device"):
        plan_study(spec_of("precision=float32,tf32", recipe=torch, seeds=1), DATA, tmp_path)
    assert asked == [("torch", "auto", "float32"), ("torch", "auto", "tf32")]
