"""The scheduler with scripted workers, and the rules for cores and GPUs of Ray actors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from conftest import made_images
from studies.small_studies import Pool, spec_of

from chalknet.config import Recipe
from chalknet.studies.runner.ray_pool import threads_of, wants_gpu
from chalknet.studies.runner.scheduler import Scheduler, WorkQueue
from chalknet.studies.store import Store

DATA = made_images(240, seed=0)


def run(tmp_path, pool):
    spec = spec_of("hidden=2,3", seeds=2)
    with Store.open_or_create(tmp_path) as store:
        with WorkQueue(store, spec, DATA) as work:
            Scheduler(work, pool).run()
        return {status: number for status, (number, _) in store.counts().items()}, [e for _, _, e in store.events()]


def test_worker_that_is_never_ready_holds_no_run(tmp_path):
    pool = Pool(2, ["waits", "works"])
    counts, _ = run(tmp_path, pool)
    assert counts["done"] == 4
    assert [worker.kind for worker in pool.started] == ["waits", "works"]
    assert {kind for kind, _ in pool.submitted} == {"works"}


def test_crashed_run_is_given_to_another_worker(tmp_path):
    pool = Pool(1, ["crashes", "works"])
    counts, events = run(tmp_path, pool)
    assert counts["done"] == 4
    assert events.count("died") == 1
    assert [worker.kind for worker in pool.started] == ["crashes", "works"]


@pytest.mark.parametrize(
    ("nodes", "jobs", "threads"),
    [([4], 4, 1), ([4], 2, 2), ([4], 1, 4), ([3, 3], 3, 1), ([3, 3], 2, 3), ([8, 1], 2, 4), ([], 1, 1), ([2], 5, 1)],
)
def test_threads_are_as_many_as_fit_on_the_nodes(nodes, jobs, threads):
    assert threads_of(nodes, jobs) == threads


def test_run_gets_a_gpu_if_its_recipe_allows_and_there_is_one():
    def recipe(**training):
        return SimpleNamespace(training=SimpleNamespace(**training))

    assert not wants_gpu(Recipe(), 4)
    assert wants_gpu(recipe(engine="torch", device="cuda"), 0)
    assert wants_gpu(recipe(engine="torch", device="auto"), 2)
    assert not wants_gpu(recipe(engine="torch", device="auto"), 0)
    assert not wants_gpu(recipe(engine="torch", device="cpu"), 2)
    assert not wants_gpu(recipe(engine="numpy", device="auto"), 2)
