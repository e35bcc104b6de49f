"""Outcomes of a pack's units, which on a GPU several threads make."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from conftest import made_images

from chalknet.config import Recipe
from chalknet.studies import outcome
from chalknet.studies.cells import Cell, Unit
from chalknet.studies.outcome import train_units

DATA = made_images(240, seed=0)
RECIPE = Recipe().with_settings(hidden=[4], epochs=3, split="random", train_size=150, valid_size=50)
UNITS = [Unit(Cell((), RECIPE, RECIPE.split), seed) for seed in range(6)]


def outcomes(ended=None, observe=None):
    found = {}

    def end(number, result):
        found[number] = result
        if ended is not None:
            ended(number)

    train_units(DATA, UNITS, end, threads=1, trained="here", with_model=[True] * len(UNITS), observe=observe)
    return found


@pytest.fixture
def on_a_gpu(monkeypatch):
    """As far as outcomes ask."""
    monkeypatch.setattr(outcome, "device_of", lambda _: "cuda")
    monkeypatch.setattr(outcome, "available_cores", lambda: 4)


def test_threads_make_the_outcomes_of_a_gpus_pack_with_the_same_bits(request):
    want = outcomes()
    request.getfixturevalue("on_a_gpu")
    found = outcomes()
    assert sorted(found) == sorted(want) == list(range(6))
    for number, mine in found.items():
        assert mine.model == want[number].model
        assert all(np.array_equal(array, want[number].arrays[name]) for name, array in mine.arrays.items())


@pytest.mark.usefixtures("on_a_gpu")
def test_nothing_is_told_by_two_threads_at_a_time():
    within, most, seen = [], [], []

    def told(number, *_):
        within.append(number)
        most.append(len(within))
        time.sleep(0.005)
        within.remove(number)
        seen.append(threading.get_ident())

    outcomes(told, told)
    assert max(most) == 1
    assert len(set(seen)) > 1


@pytest.mark.usefixtures("on_a_gpu")
def test_what_telling_fails_with_goes_through():
    def fails(number):
        raise OSError(f"no room for {number}")

    with pytest.raises(OSError, match="no room for"):
        outcomes(fails)
