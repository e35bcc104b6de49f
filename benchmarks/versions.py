"""Compare the speed of two versions of chalknet, in turns within one run.

    python benchmarks/versions.py --old OLD/src --new src --rounds 7 --out benchmarks/results/versions.json

OLD is another checkout, for example one from `git worktree add`. A worker process of each version has
the same generated letters, and both run every workload in turns, so that other work on the machine
slows both alike. Where the buffers of a process lie in memory changes its times by several percent, so
each workload is repeated with --processes pairs of new processes. The result has the median times, the
median ratio new / old of each pair of processes, and the median of these medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.turns import request

N_TRAIN, N_INPUTS = 15_000, 784
SECONDS = 0.7  # duration of a turn

# What a worker prepares for each workload: hidden units, batch size (0 for predictions), engine, precision.
WORKLOADS: dict[str, dict[str, Any]] = {
    "full batch, 100 units": {"units": 100, "batch_size": "full"},
    "full batch, 1,000 units": {"units": 1000, "batch_size": "full"},
    "batches of 32, 16 units": {"units": 16, "batch_size": 32},
    "batches of 32, 100 units": {"units": 100, "batch_size": 32},
    "batches of 32, 1,000 units": {"units": 1000, "batch_size": 32},
    "batches of 128, 16 units": {"units": 16, "batch_size": 128},
    "batches of 128, 100 units": {"units": 100, "batch_size": 128},
    "batches of 128, 1,000 units": {"units": 1000, "batch_size": 128},
    "prediction of 1 image": {"units": 1000, "predict": 1},
    "prediction of 10,000 images": {"units": 1000, "predict": 10_000},
}
TORCH_WORKLOADS: dict[str, dict[str, Any]] = {
    "torch, bfloat16, full batch, 1,000 units": {
        "units": 1000, "batch_size": "full", "engine": "torch", "precision": "bfloat16", "device": "cpu",
    },
}  # fmt: skip


def work() -> None:
    """Answer requests on standard input: a workload's name, then the seconds of one repetition."""
    import time

    import numpy as np

    from chalknet.config import Recipe
    from chalknet.data.dataset import dataset_from_arrays
    from chalknet.data.splits import split_dataset
    from chalknet.training.trainer import Trainer

    rng = np.random.default_rng(0)
    n = N_TRAIN + 1_000 + 2_724
    images = rng.integers(0, 256, (n, 28, 28), np.uint8)
    data = dataset_from_arrays(images, rng.integers(0, 10, n))
    splits = split_dataset(data, "random", N_TRAIN, 1_000, 0)
    prepared: dict[str, Any] = {}

    def prepare(name: str) -> Any:
        settings = dict({**WORKLOADS, **TORCH_WORKLOADS}[name])
        units, n_images = settings.pop("units"), settings.pop("predict", 0)
        settings.setdefault("batch_size", "full")
        recipe = Recipe().with_settings(hidden=[units], epochs=10**6, learning_rate=1e-9, **settings)
        trainer = Trainer(data, splits, recipe)
        if n_images:
            network, some = trainer.network(), images[:n_images]
            return lambda: network.predict_proba(some)
        epochs = trainer.epochs()
        return lambda: next(epochs)

    for line in sys.stdin:
        name = line.rstrip("\n")
        if name not in prepared:
            prepared.clear()
            prepared[name] = prepare(name)
            prepared[name]()
        started, count = time.perf_counter(), 0
        while not count or time.perf_counter() - started < SECONDS:
            prepared[name]()
            count += 1
        print((time.perf_counter() - started) / count, flush=True)


def commit_of(folder: str) -> str:
    """Return the commit that a folder is checked out from, or "" outside a repository."""
    done = subprocess.run(["git", "-C", folder, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


def start_worker(source: str) -> subprocess.Popen[str]:
    """Start a worker whose chalknet is the one in this folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(source).resolve())}
    command = [sys.executable, __file__, "--work"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def seconds_of_pair(old: str, new: str, name: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each version in each round, measured by two new worker processes."""
    workers = {"old": start_worker(old), "new": start_worker(new)}
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    try:
        for turn in range(rounds):
            for version in ("old", "new") if turn % 2 else ("new", "old"):
                seconds[version].append(request(workers[version], name))
    finally:
        for worker in workers.values():
            worker.communicate()
    return seconds


def compare(old: str, new: str, names: list[str], rounds: int, processes: int) -> dict[str, Any]:
    """Return the times of both versions, and the median ratio, of each workload."""
    found: dict[str, Any] = {}
    for name in names:
        pairs = [seconds_of_pair(old, new, name, rounds) for _ in range(processes)]
        ratios = [statistics.median(b / a for a, b in zip(pair["old"], pair["new"], strict=True)) for pair in pairs]
        one = found[name] = {
            "old_seconds": statistics.median(seconds for pair in pairs for seconds in pair["old"]),
            "new_seconds": statistics.median(seconds for pair in pairs for seconds in pair["new"]),
            "ratio": statistics.median(ratios),
            "ratios": [round(ratio, 4) for ratio in sorted(ratios)],
        }
        print(
            f"{name:<45} {one['old_seconds']:.6f} s {one['new_seconds']:.6f} s  ratio {one['ratio']:.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--old", help="folder with the package of the old version")
    parser.add_argument("--new", default="src", help="folder with the package of the new version  [default: src]")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each version per workload  [default: 7]")
    parser.add_argument("--processes", type=int, default=5, help="pairs of processes per workload  [default: 5]")
    parser.add_argument("--only", default="", help="only workloads whose name contains this")
    parser.add_argument("--torch", action="store_true", help="the torch engine's workloads instead")
    parser.add_argument("--out", type=Path, help="file for the results, JSON")
    arguments = parser.parse_args()
    if arguments.work:
        work()
        return
    if not arguments.old:
        parser.error("--old names the folder with the package of the old version")
    names = [name for name in (TORCH_WORKLOADS if arguments.torch else WORKLOADS) if arguments.only in name]
    found = compare(arguments.old, arguments.new, names, arguments.rounds, arguments.processes)
    if arguments.out:
        from chalknet.machine.facts import machine_facts

        kept = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        commits = {name: commit_of(folder) for name, folder in (("old", arguments.old), ("new", arguments.new))}
        found = {name: {**commits, **one} for name, one in found.items()}  # later runs may add other workloads
        stored = {"machine": machine_facts(), "workloads": {**kept.get("workloads", {}), **found}}
        arguments.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
