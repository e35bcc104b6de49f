"""Plans: every unit once, packs only of what may be trained together, and only where they are measured to be faster."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import made_images
from hypothesis import given
from hypothesis import strategies as st
from studies.small_studies import RECIPE, spec_of, units_of

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.errors import ConfigError, MissingExtraError
from chalknet.studies import plan as plan_module
from chalknet.studies.plan import Planner, measured_seconds
from chalknet.training.together import order_of, pack_key
from chalknet.training.trainer import run_epochs
from chalknet.workflows import study as study_module
from chalknet.workflows.study import plan_study

DATA = made_images(240, seed=0)


@pytest.fixture
def gain(monkeypatch):
    """Sets how much faster a pack is measured to be."""
    found = {}
    monkeypatch.setattr(
        plan_module, "measured_seconds", lambda *asked, **_: 1.0 if len(asked[2]) == 1 else 1 / found["gain"]
    )
    return found


@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 9))
def test_cuts_are_even_and_no_larger_than_asked(n, most, jobs):
    loads = plan_module._cut(list(range(n)), most, jobs)
    assert [one for load in loads for one in load] == list(range(n))
    assert max(map(len, loads)) <= most
    assert len({len(load) for load in loads[:-1]}) <= 1
    assert len(loads) >= min(n, jobs) or len(loads[0]) > 1


@pytest.mark.parametrize("pack", ["auto", "off", 1, 2, 7])
def test_every_unit_is_in_one_load_and_loads_hold_what_may_be_trained_together(gain, pack):
    gain["gain"] = 2.0
    spec = spec_of(
        "hidden=3,4,40,600", "batch_norm=false,true", "batch_size=full,32", "train_size=80,160",
        seeds=3, seeds_vary=("init", "order", "split"),
    )  # fmt: skip
    units = units_of(spec)
    plan = Planner(DATA, jobs=1, pack=pack).plan(units)
    loads = [load for share in plan.shares for load in share.loads]
    assert sorted(unit.key for load in loads for unit in load) == sorted(unit.key for unit in units)
    assert plan.n_units == len(units) == len(plan.load_of)
    sizes = [len(load) for load in loads]
    assert max(sizes) == {"auto": 2, "off": 1, 1: 1, 2: 2, 7: 2}[pack]  # each seed has its own division of the samples
    for load in loads:
        keys = {(pack_key(unit.cell.recipe_of(unit.seed), DATA), unit.cell.division_of(unit.seed)) for unit in load}
        assert len(keys) == 1
        assert len(load) == 1 or None not in {key for key, _ in keys}


def test_a_pack_is_planned_only_where_it_was_measured_to_be_faster(gain):
    units = units_of(spec_of("hidden=3,4", seeds=4))
    planner = Planner(DATA, jobs=1)
    gain["gain"] = 1.09
    assert {share.size for share in planner.plan(units).shares} == {1}
    gain["gain"] = 1.2
    (share,) = Planner(DATA, jobs=1).plan(units).shares
    assert (share.size, share.alone_seconds, share.unit_seconds) == (8, 1.0, pytest.approx(1 / 1.2))
    assert {share.size for share in Planner(DATA, jobs=1, pack="off").plan(units).shares} == {1}


def test_networks_that_share_batches_stand_together(gain):
    gain["gain"] = 2.0
    units = units_of(spec_of("hidden=4", "batch_size=32", "learning_rate=1e-5,1e-4,1e-3,1e-2", seeds=4))
    (share,) = Planner(DATA, jobs=2).plan(units).shares
    assert [len(load) for load in share.loads] == [8, 8]
    for load in share.loads:
        orders = [order_of(unit.cell.recipe_of(unit.seed)) for unit in load]
        assert orders == sorted(orders)
        assert len(set(orders)) == 2


def test_networks_of_which_no_two_share_batches_are_trained_one_by_one(gain):
    gain["gain"] = 2.0
    units = units_of(spec_of("hidden=4", "batch_size=32", seeds=8))
    assert {share.size for share in Planner(DATA, jobs=1).plan(units).shares} == {1}
    assert {share.size for share in Planner(DATA, jobs=1, pack=8).plan(units).shares} == {8}


def test_packs_are_bounded_by_the_cache(gain, monkeypatch):
    gain["gain"] = 2.0
    units = units_of(spec_of("hidden=100", seeds=64))
    sizes = []
    for cache in (2**22, 2**23):
        monkeypatch.setattr(plan_module, "CACHE_BYTES", cache)
        (share,) = Planner(DATA, jobs=1).plan(units).shares
        sizes.append(share.size)
    assert 1 < sizes[0] < sizes[1] < 64


def test_a_pack_takes_no_longer_than_may_be_lost(monkeypatch):
    units = units_of(spec_of("hidden=4", seeds=64))
    for seconds, size in ((1.0, 32), (90.0, 11), (800.0, 1)):
        monkeypatch.setattr(
            plan_module, "measured_seconds", lambda *asked, s=seconds, **_: s / (1 + (len(asked[2]) > 1))
        )
        (share,) = Planner(DATA, jobs=2).plan(units).shares
        assert share.size == size
        assert share.n_units == 64


@pytest.mark.parametrize("recipes", [1, 3])
@pytest.mark.parametrize("batch_size", ["full", 32])
def test_what_is_measured_is_a_time(recipes, batch_size):
    units = units_of(spec_of("hidden=4", seeds=recipes))
    asked = [unit.cell.recipe_of(unit.seed).with_settings(batch_size=batch_size) for unit in units]
    assert 0 < measured_seconds(DATA, {"train": 160, "valid": 40, "test": 0}, asked) < 60


def test_a_plan_that_is_timed_knows_the_end_and_the_memory():
    plan = Planner(DATA, jobs=3, threads=2).plan(units_of(spec_of("hidden=4,600", seeds=2)), timed=True)
    assert np.isfinite(plan.seconds)
    assert plan.memory_bytes == 3 * max(share.load_bytes for share in plan.shares) > 3e8
    assert plan.how.startswith("3 processes, ")


@pytest.mark.parametrize("pack", [0, -1, True, 1.5, "always"])
def test_a_pack_that_cannot_be_meant_is_refused(pack):
    with pytest.raises(ConfigError, match="pack must be auto, off or a whole number >= 1"):
        Planner(DATA, jobs=1, pack=pack)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 2 GB, as far as plans ask; nothing is trained on it."""
    monkeypatch.setattr(plan_module, "gpu_bytes", lambda training: 2 * 10**9 * (training.engine == "torch"))
    monkeypatch.setattr(
        plan_module, "measured_seconds", lambda *_, **__: pytest.fail("a pack on a GPU is not measured first")
    )


@pytest.mark.usefixtures("gpu")
def test_a_gpu_has_all_widths_in_one_pack():
    units = units_of(spec_of("hidden=1,100,500,1000,2000", "engine=torch", seeds=10))
    plan = Planner(DATA, jobs=1).plan(units)
    assert plan.how == "1 process on a GPU, 50 units in packs of up to 50"
    widths = [unit.cell.recipe.network.hidden for unit in plan.shares[0].loads[0]]
    assert widths == sorted(widths)


@pytest.mark.usefixtures("gpu")
def test_a_pack_on_a_gpu_is_bounded_by_its_memory_and_by_what_may_be_lost(monkeypatch):
    (share,) = Planner(DATA, jobs=1).plan(units_of(spec_of("hidden=4000", "engine=torch", seeds=600))).shares
    assert 100 < share.size < 600
    monkeypatch.setattr(plan_module, "gpu_bytes", lambda _: 10**12)
    (share,) = Planner(DATA, jobs=1).plan(units_of(spec_of("hidden=4", "engine=torch", seeds=600))).shares
    assert share.size == 300 <= plan_module.MOST_ON_GPU


def test_an_engine_that_is_not_here_is_left_to_whoever_trains(monkeypatch):
    def missing(_):
        raise MissingExtraError("engine torch needs PyTorch")

    monkeypatch.setattr(plan_module, "gpu_bytes", missing)
    units = units_of(spec_of("hidden=4", "engine=torch", seeds=4))
    assert Planner(DATA, jobs=1, pack=4).plan(units).how == "1 process, 4 units in packs of up to 4"


def test_where_all_train_on_a_gpu_one_process_has_it_unless_more_are_asked_for(monkeypatch, tmp_path, gain):
    gain["gain"] = 0.5  # which decides nothing there
    monkeypatch.setattr(plan_module, "gpu_bytes", lambda _: 10**9)
    monkeypatch.setattr(study_module, "device_of", lambda _: "cuda")
    spec = spec_of("hidden=3,40", seeds=2)
    assert plan_study(spec, DATA, tmp_path).how == "1 process on a GPU, 4 units in packs of up to 4"
    assert plan_study(spec, DATA, tmp_path, jobs=2).how == "2 processes on a GPU, 4 units in packs of up to 2"
    monkeypatch.setattr(study_module, "device_of", lambda _: "cpu")
    monkeypatch.setattr(study_module, "available_cores", lambda: 3)
    assert plan_study(spec, DATA, tmp_path).jobs == 3


@pytest.mark.parametrize(("on_gpu", "n_train", "epochs"), [(False, 2_048, 3), (True, 3_000, 8)])
def test_a_gpu_is_measured_on_more_samples_and_past_the_epochs_in_which_it_records(
    on_gpu, n_train, epochs, monkeypatch
):
    trained = []

    def spy(trainer, observe):
        trained.append(trainer)
        return run_epochs(trainer, observe)

    monkeypatch.setattr(plan_module, "run_epochs", spy)
    monkeypatch.setattr(plan_module, "MEASURED_SAMPLES_ON_GPU", 3_000)
    recipe = Recipe().with_settings(hidden=[3], epochs=50)
    sizes = {"train": 5_000, "valid": 10, "test": 10}
    assert plan_module.measured_seconds(DATA, sizes, [recipe], on_gpu=on_gpu) > 0
    monkeypatch.setattr(plan_module, "MEASURED_BYTES", 100 * DATA.n_inputs * DATA.inputs.dtype.itemsize)
    assert plan_module.measured_seconds(DATA, sizes, [recipe], on_gpu=on_gpu) > 0
    assert [(len(one.splits.train), len(one.history)) for one in trained] == [(n_train, epochs), (100, epochs)]


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_samples_are_made_up_in_the_datas_own_type(kind):
    data = Dataset(DATA.inputs.astype(kind), DATA.labels, DATA.class_names)
    made, splits = plan_module._made_up(data, 30, 10, 5)
    assert made.inputs.dtype == np.dtype(kind)
    assert len(np.unique(made.inputs)) > 50
    assert splits.sizes == {"train": 30, "valid": 10, "test": 5}


def test_every_device_that_a_study_varies_must_be_there_before_it_begins(monkeypatch, tmp_path):
    asked = []

    def device_of(training):
        asked.append((training.engine, training.device, training.precision))
        if training.precision == "tf32":
            raise ConfigError("precision tf32 needs a CUDA device")
        return "cpu"

    monkeypatch.setattr(study_module, "device_of", device_of)
    torch = RECIPE.with_settings(engine="torch")
    with pytest.raises(ConfigError, match="precision tf32 needs a CUDA device"):
        plan_study(spec_of("precision=float32,tf32", recipe=torch, seeds=1), DATA, tmp_path)
    assert asked == [("torch", "auto", "float32"), ("torch", "auto", "tf32")]
