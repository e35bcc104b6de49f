"""Networks of a study one by one and in packs: `python benchmarks/packs.py [-o FILE]`.

Synthetic data of the write-up's size: 15,000 training, 1,000 validation and 2,724 test samples of 784 uint8 values, 10
classes, momentum, float32. A study of n networks is so many rates times so many seeds, each seed with a batch order of
its own; or n seeds of one rate, so that no two networks share batches.

For every study: the processor's time of an epoch of one network, trained alone and in a pack of the size that the
planner would take for the width and two processes, both on one thread; and what the planner then decides. A process for
each core trains so, without a word to the others, so this is what the clock shows on as many free cores, times their
number; it hardly depends on what else the machine does.

For the studies of 64 networks of 32 units in batches of 128 also by the clock, all cores at work:

one after the other   by the numpy engine with a thread a core
processes             one a core, each training one network after the other on one thread: `--pack off`
threads with packs    one process, a thread with a pack a core
packs                 one process a core, each training packs on one thread: `--pack N`

Ways and studies take turns, round after round, in processes that have the data ready. A time is what all epochs but the
first took, by network; making networks ready, which a pack does once for all of its, is left out.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chalknet
from chalknet.machine.kernels import use_best_kernels
from chalknet.machine.processor import available_cores

CORES = available_cores()
EPOCHS = 3  # the first of which does not count
RATES = {4: 2, 16: 4, 64: 8}  # of a study of so many networks
WIDTHS, BATCHES = (16, 32, 100, 300), (32, 128, "full")  # layers of more than 512 units are never packed
CLOCKED = {"width": 32, "batch": 128, "networks": 64}
SPLIT = {"train_size": 15_000, "valid_size": 1_000}
N_SAMPLES = 18_724
ALONE_A_CORE = 2  # networks that are timed one by one, since the others only repeat them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    use_best_kernels()
    if options.worker:
        work()
        return
    text = json.dumps(measure_all(options.rounds, options.widths), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


def measure_all(rounds: int, widths: Sequence[int]) -> dict[str, Any]:
    from chalknet.machine.facts import machine_facts

    started = time.perf_counter()
    crew = [Worker() for _ in range(CORES)]
    points = [{**point, **crew[0].ask({"plan": point}), "alone": [], "packed": []} for point in points_of(widths)]
    clocked = [{**point, "seconds": {}} for point in points if point.items() >= CLOCKED.items()]
    for number in range(rounds):
        alone = functools.cache(lambda width, batch: crew[0].core_seconds({"width": width, "batch": batch}))
        for point in points:
            point["alone"].append(alone(point["width"], point["batch"]))
            point["packed"].append(crew[0].core_seconds(point))
        for point in clocked:
            for way, seconds in ways(point, crew).items():
                point["seconds"].setdefault(way, []).append(seconds)
        print(f"round {number + 1} of {rounds} done, {time.perf_counter() - started:.0f} s", file=sys.stderr)
        alone.cache_clear()
    for worker in crew:
        worker.end()
    return {
        "machine": machine_facts(),
        "versions": {"chalknet": chalknet.__version__, "numpy": version("numpy")},
        "rounds": rounds,
        "load_average": os.getloadavg()[1],
        "points": points,
        "clocked": [
            {key: point[key] for key in (*CLOCKED, "rates", "planned", "size", "seconds")} for point in clocked
        ],
    }


def points_of(widths: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Every study that is measured: its networks and how many of them share a batch order."""
    for width in widths:
        for batch in BATCHES:
            for n, rates in RATES.items():
                yield {"width": width, "batch": batch, "networks": n, "rates": rates}
            if batch != "full":
                yield {"width": width, "batch": batch, "networks": 64, "rates": 1}


def ways(point: dict[str, Any], crew: list[Worker]) -> dict[str, float]:
    """Seconds of an epoch of one network, each way, all cores at work."""
    settings = settings_of(point)
    alone = [settings[i * ALONE_A_CORE : (i + 1) * ALONE_A_CORE] for i in range(CORES)]
    loads = [settings[i * point["size"] : (i + 1) * point["size"]] for i in range(CORES)]
    return {
        "one after the other": crew[0].clock_seconds(settings[:ALONE_A_CORE], False, CORES),
        "processes": at_once(crew, alone, False),
        "threads with packs": crew[0].clock_seconds([one for load in loads for one in load], True, CORES),
        "packs": at_once(crew, loads, True),
    }


def at_once(crew: list[Worker], loads: Sequence[list[dict[str, Any]]], together: bool) -> float:
    """All workers at the same time, one thread each; seconds by network, as if nothing waited for the slowest."""
    for worker, load in zip(crew, loads, strict=True):
        worker.send({"settings": load, "together": together, "threads": 1})
    seconds = [one for worker in crew for one in worker.receive()["clock"]]
    return sum(seconds) / len(seconds) / CORES


def settings_of(point: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each network, those that share batches beside each other."""
    seeds = point["networks"] // point["rates"]
    base = {"hidden": [point["width"]], "batch_size": point["batch"], "epochs": EPOCHS, **SPLIT}
    grid = [(seed, rate) for seed in range(seeds) for rate in range(point["rates"])]
    return [{**base, "seed": seed, "learning_rate": 1e-7 * (1 + rate)} for seed, rate in grid]


class Worker:
    """A process that trains what it is told, with the data ready."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, message: dict[str, Any]) -> Any:
        self.send(message)
        return self.receive()

    def clock_seconds(self, settings: list[dict[str, Any]], together: bool, threads: int) -> float:
        """Of an epoch of one network, when this worker has all cores."""
        found: list[float] = self.ask({"settings": settings, "together": together, "threads": threads})["clock"]
        return sum(found) / len(found) / (threads if together else 1)

    def core_seconds(self, point: dict[str, Any]) -> float:
        """Of an epoch of one network of a study, in a pack if the point has a size for it."""
        n = point.get("size", 1)
        settings = settings_of({"networks": ALONE_A_CORE, "rates": 1, **point})[:n]
        found: float = self.ask({"settings": settings, "together": n > 1, "threads": 1})["core"]
        return found

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def work() -> None:
    """Lines on standard input, answers on standard output."""
    import numpy as np

    from chalknet.data.dataset import Dataset

    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (N_SAMPLES, 28, 28), np.uint8)
    data = Dataset(inputs, rng.integers(0, 10, N_SAMPLES), tuple("ABCDEFGHIJ"))
    for line in sys.stdin:
        message = json.loads(line)
        answer = planned(data, message["plan"]) if "plan" in message else trained(data, **message)
        print(json.dumps(answer), flush=True)


def trained(data: Any, settings: list[dict[str, Any]], together: bool, threads: int) -> dict[str, Any]:
    """Of the epochs after the first: each network's mean by the clock, and the processor's time of one network."""
    from statistics import mean

    from chalknet.config import Recipe
    from chalknet.data.splits import split_dataset
    from chalknet.training.together import run_together
    from chalknet.training.trainer import Trainer, run_epochs

    recipes = [Recipe().with_settings(**one) for one in settings]
    split = recipes[0].split
    splits = split_dataset(data, split.split, split.train_size, split.valid_size, split.split_seed)
    runs: dict[int, Any] = {}
    core: list[float] = []  # when the first network of each epoch was through

    def look(_: int, record: Any) -> None:
        if len(core) < record.epoch:
            core.append(time.process_time())

    if together:
        ended = lambda i, run: runs.update({i: run})  # noqa: E731
        run_together(data, splits, recipes, ended, observe=look, threads=threads, keep_samples=True)
    else:
        for i, recipe in enumerate(recipes):
            trainer = Trainer(data, splits, recipe, workers=threads, keep_samples=True)
            runs[i] = run_epochs(trainer, lambda record: look(0, record))
    share = (core[-1] - core[0]) / (len(core) - 1) / (len(recipes) if together else 1)
    return {"clock": [mean(record.seconds for record in run.history[1:]) for run in runs.values()], "core": share}


def planned(data: Any, point: dict[str, Any]) -> dict[str, Any]:
    """What the planner does with a study, and the largest pack that it would try."""
    from chalknet.config import Recipe
    from chalknet.studies.cells import Cell, Unit
    from chalknet.studies.plan import Planner

    units = []
    for one in settings_of(point):
        recipe = Recipe().with_settings(**one)
        units.append(Unit(Cell((), recipe, recipe.split), one["seed"]))
    (share,) = Planner(data, jobs=2).plan(units, timed=True).shares
    forced = Planner(data, jobs=2, pack=largest(data, units)).plan(units).shares[0]
    return {"planned": "packs" if share.size > 1 else "one by one", "size": forced.size}


def largest(data: Any, units: Sequence[Any]) -> int:
    from chalknet.studies.plan import Planner

    planner = Planner(data, jobs=2)
    return max(2, planner._most_together(units, planner._splits(units[0])))


if __name__ == "__main__":
    main()
