"""Stacked runs whose outputs are created by several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from conftest import made_images, needs

from chalknet.config import Recipe
from chalknet.studies import study_training
from chalknet.studies.configurations import Configuration, RunKey
from chalknet.studies.study_training import train_stack

pytestmark = pytest.mark.extras
needs("torch")
DATA = made_images(240, seed=0)
RECIPE = Recipe().with_settings(
    hidden=[4], epochs=3, split="random", train_size=150, valid_size=50, engine="torch", device="cpu"
)
RUNS = [RunKey(Configuration((), RECIPE, RECIPE.split), seed) for seed in range(6)]


def outcomes(ended=None, on_epoch=None, threads=1):
    found = {}

    def end(number, result):
        found[number] = result
        if ended is not None:
            ended(number)

    train_stack(DATA, RUNS, end, threads=threads, concurrency="here", keep_model=[True] * len(RUNS), on_epoch=on_epoch)
    return found


def test_outputs_of_a_stack_do_not_depend_on_threads(monkeypatch):
    want = outcomes()
    make, both = study_training._output, threading.Barrier(2, timeout=60)

    def made_by_two(*args):
        both.wait()
        return make(*args)

    monkeypatch.setattr(study_training, "_output", made_by_two)
    found = outcomes(threads=2)
    assert sorted(found) == sorted(want) == list(range(6))
    for number, mine in found.items():
        assert mine.model == want[number].model
        assert all(np.array_equal(array, want[number].arrays[name]) for name, array in mine.arrays.items())


def test_callbacks_never_run_in_two_threads_at_once():
    alone = threading.Lock()

    def callback(*_):
        assert alone.acquire(blocking=False)
        np.linalg.svd(np.ones((60, 60)))  # long enough for another thread to come
        alone.release()

    outcomes(callback, callback, threads=4)


def test_error_of_on_end_is_raised():
    def fails(number):
        raise OSError(f"no room for {number}")

    with pytest.raises(OSError, match="no room for"):
        outcomes(fails)


def test_error_of_a_callback_ends_the_stack(monkeypatch):
    longer = [RunKey(Configuration((), RECIPE.with_settings(epochs=n), RECIPE.split), 0) for n in (1, 500)]
    monkeypatch.setitem(globals(), "RUNS", longer)
    seen = []

    def fails(number):
        raise OSError(f"no room for {number}")

    with pytest.raises(OSError, match="no room for 0"):
        outcomes(fails, lambda number, record: seen.append((number, record.epoch)))
    assert max(seen) < (1, 500)
