"""The loop of every runner, with hands that do as they are told, and what a Ray crew counts on."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import pytest
from conftest import made_images
from studies.small_studies import spec_of

from chalknet.config import Recipe
from chalknet.studies.assignments import Assignments, prepare
from chalknet.studies.runner.foreman import Foreman
from chalknet.studies.runner.load import train_load
from chalknet.studies.runner.ray_crew import threads_of, wants_gpu
from chalknet.studies.space import check_question
from chalknet.studies.store import Store

DATA = made_images(240, seed=0)


class Crew:
    """Hands in this process; behaviour says of each that is hired: "works", "waits" for ever, or "dies" at work."""

    threads = 1

    def __init__(self, jobs, behaviour):
        self.jobs, self.inbox, self.behaviour = jobs, queue.Queue(), list(behaviour)
        self.hired, self.given = [], []

    def hire(self):
        kind = self.behaviour.pop(0) if self.behaviour else "works"
        hand = SimpleNamespace(kind=kind, ending=lambda: "its node is gone", stop=lambda: None)
        hand.give = lambda message: self.give(hand, message)
        self.hired.append(hand)
        if kind != "waits":
            self.inbox.put((hand, {"say": "ready"}, b""))
        return hand

    def give(self, hand, message):
        self.given.append((hand.kind, message["units"][0]["seed"]))
        if hand.kind == "dies":
            self.inbox.put((hand, None, b""))
        else:
            train_load(message, DATA, lambda said, content: self.inbox.put((hand, said, content)))


def run(tmp_path, crew):
    spec = spec_of("hidden=2,3", seeds=2)
    with Store.create(tmp_path) as store:
        prepare(store, spec, DATA, check_question(spec, DATA))
        with Assignments(store, spec, DATA) as assignments:
            Foreman(assignments, crew).work()
        return {status: number for status, (number, _) in store.counts().items()}, [e for _, _, e in store.events()]


def test_a_hand_that_never_becomes_ready_keeps_no_unit_from_the_others(tmp_path):
    crew = Crew(2, ["waits", "works"])
    counts, _ = run(tmp_path, crew)
    assert counts["done"] == 4
    assert [hand.kind for hand in crew.hired] == ["waits", "works"]
    assert {kind for kind, _ in crew.given} == {"works"}


def test_what_a_hand_was_at_when_it_died_is_given_to_another(tmp_path):
    crew = Crew(1, ["dies", "works"])
    counts, events = run(tmp_path, crew)
    assert counts["done"] == 4
    assert events.count("died") == 1
    assert [hand.kind for hand in crew.hired] == ["dies", "works"]


@pytest.mark.parametrize(
    ("nodes", "jobs", "threads"),
    [([4], 4, 1), ([4], 2, 2), ([4], 1, 4), ([3, 3], 3, 1), ([3, 3], 2, 3), ([8, 1], 2, 4), ([], 1, 1), ([2], 5, 1)],
)
def test_threads_are_as_many_as_fit_on_the_nodes(nodes, jobs, threads):
    assert threads_of(nodes, jobs) == threads


def test_a_unit_has_a_gpu_where_its_recipe_asks_for_one_or_leaves_it_open_and_there_is_one():
    def recipe(**training):
        return SimpleNamespace(training=SimpleNamespace(**training))

    assert not wants_gpu(Recipe(), 4)
    assert wants_gpu(recipe(engine="torch", device="cuda"), 0)
    assert wants_gpu(recipe(engine="torch", device="auto"), 2)
    assert not wants_gpu(recipe(engine="torch", device="auto"), 0)
    assert not wants_gpu(recipe(engine="torch", device="cpu"), 2)
    assert not wants_gpu(recipe(engine="numpy", device="auto"), 2)
