"""Helpers for the tests of studies: small specifications, runs without a store, exact results."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import numpy as np
from conftest import made_images

from chalknet.config import Recipe
from chalknet.records import EpochRecord
from chalknet.studies.configurations import RunKey
from chalknet.studies.runner.worker import train_job
from chalknet.studies.search_space import grid_configurations
from chalknet.studies.spec import StudySpec, parse_vary
from chalknet.studies.study_training import train_run

RECIPE = Recipe().with_settings(train_size=160, valid_size=40, epochs=3, learning_rate=1e-4)


def spec_of(*vary, recipe=RECIPE, **changes):
    return StudySpec(recipe, tuple(map(parse_vary, vary)), **changes)


def runs_of(spec):
    return [RunKey(config, seed) for seed in spec.seed_numbers for config in grid_configurations(spec)]


def trained(data, run):
    return train_run(data, run, threads=1, concurrency="one at a time")


def numbers(results):
    """Return the exact bytes of all results of a study by run, except times."""
    found = {}
    for run in results.runs:
        result = results.run(run.configuration, run.seed)
        assert result is not None, f"{run} is {results.status(run.configuration, run.seed)}"
        history = [EpochRecord(r.epoch, r.train, r.valid, r.test, 0.0) for r in result.history]
        arrays = [result.valid_losses, result.valid_correct]
        for part in (result.valid, result.test):
            arrays += [] if part is None else list(vars(part).values())
        found[str(run)] = (repr(history), result.kept_epoch, *(np.ascontiguousarray(a).tobytes() for a in arrays))
    return found


class Pool:
    """A pool of workers in this process, which work, wait forever or exit during a job."""

    threads = 1

    def __init__(self, size, behavior):
        self.size, self.inbox, self.behavior = size, queue.Queue(), list(behavior)
        self.started, self.submitted = [], []

    def start_worker(self):
        kind = self.behavior.pop(0) if self.behavior else "works"
        worker = SimpleNamespace(kind=kind, exit_reason=lambda: "its node is gone", stop=lambda: None)
        worker.submit = lambda message: self.submit(worker, message)
        self.started.append(worker)
        if kind != "waits":
            self.inbox.put((worker, {"event": "ready"}, b""))
        return worker

    def submit(self, worker, message):
        self.submitted.append((worker.kind, message["runs"][0]["seed"]))
        if worker.kind == "crashes":
            self.inbox.put((worker, None, b""))
        else:
            train_job(message, made_images(240, seed=0), lambda sent, content: self.inbox.put((worker, sent, content)))
