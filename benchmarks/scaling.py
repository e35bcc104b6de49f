"""How time and memory grow with samples, units, layers and threads: `python benchmarks/scaling.py [-o FILE]`.

It measures full-batch epochs of the numpy engine in float32 on synthetic data: uniform uint8 values,
784 inputs, 10 classes. One size grows at a time; the others stay at 15,000 samples, one hidden layer
of 1,000 units and all cores. Depth grows in layers of 500 units. The size of the engine's tiles is
varied at four widths. Each point of each round has a process of its own. Memory is the peak resident
memory minus the resident memory before training, with the data loaded; the BLAS's buffers count.

It also measures the memory of the write-up's run: the built-in letters, 1,000 units, validation and
test split scored, a few epochs (memory does not depend on their number), nothing written to disk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chalknet
from chalknet.machine.kernels import use_best_kernels
from chalknet.machine.processor import available_cores

CORES = available_cores()
BASE = {"samples": 15_000, "units": 1_000, "layers": 1, "threads": CORES}
GROWING: dict[str, list[dict[str, int]]] = {
    "samples": [{**BASE, "samples": n} for n in (1_875, 3_750, 7_500, 15_000, 30_000, 60_000)],
    "units": [{**BASE, "units": n} for n in (125, 250, 500, 1_000, 2_000, 4_000)],
    "layers": [{**BASE, "units": 500, "layers": n} for n in (1, 2, 4, 8)],
    "threads": [{**BASE, "threads": n} for n in (1, 2, 4, 8, 16) if n <= CORES],
}
TILES = [{**BASE, "units": f, "tile_rows": t} for f in (16, 100, 1_000, 4_000) for t in (192, 384, 768, 1_536, 3_072)]
WRITEUP = "write-up"
TILE_ROWS = 768  # the engine's default
TIMED_SECONDS = 0.5  # how long epochs after the first are timed; at least one is


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--point", help=argparse.SUPPRESS)  # the point that this process measures
    parser.add_argument("-o", "--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    if options.point:
        point = json.loads(options.point)
        print(json.dumps(measure_writeup() if point == WRITEUP else measure(**point)))
        return
    use_best_kernels()
    text = json.dumps(measure_all(options.rounds), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


def measure_all(rounds: int) -> dict[str, Any]:
    from chalknet.engines.numpy_engine import RESIDENT_BYTES
    from chalknet.machine.facts import machine_facts

    started = time.perf_counter()
    points: list[Any] = [WRITEUP]
    for point in (point for growing in (*GROWING.values(), TILES) for point in growing):
        points += [] if point in points else [point]
    found: list[list[dict[str, float]]] = [[] for _ in points]
    for number in range(rounds):
        for point, measured in zip(points, found, strict=True):
            measured.append(in_a_process(point))
        print(f"round {number + 1} of {rounds} done, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    lists = [{key: [one[key] for one in measured] for key in measured[0]} for measured in found]
    return {
        "machine": machine_facts(),
        "versions": {"chalknet": chalknet.__version__, "numpy": version("numpy")},
        "environment": {key: value for key, value in sorted(os.environ.items()) if key.startswith("OPENBLAS_")},
        "rounds": rounds,
        "data": "synthetic data, uniform uint8 values, 784 inputs, 10 classes",
        "samples_kept_as_floats": RESIDENT_BYTES // (784 * 4),  # larger sets are converted tile by tile
        "base": BASE,
        "growing": GROWING,
        "points": [{**point, **lists[points.index(point)]} for point in points[1:] if point not in TILES],
        "tiles": [{**point, "seconds": lists[points.index(point)]["seconds"]} for point in TILES],
        "writeup_run": {"units": 1_000, **lists[0]},
    }


def in_a_process(point: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--point", json.dumps(point)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def measure(samples: int, units: int, layers: int, threads: int, tile_rows: int = TILE_ROWS) -> dict[str, float]:
    """Return the seconds of an epoch and the peak bytes above the data, measured in this process."""
    import numpy as np

    from chalknet.data.preprocess import Scaling
    from chalknet.engines.engine import EngineSpec, SplitData, Update
    from chalknet.engines.numpy_engine import NumpyEngine
    from chalknet.network.architecture import Architecture
    from chalknet.network.initializers import initial_parameters
    from chalknet.network.objective import Objective
    from chalknet.network.optimizers import Momentum, Step

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (samples, 784), np.uint8)
    y = rng.integers(0, 10, samples)
    before = resident_bytes()
    architecture = Architecture(784, (units,) * layers, 10)
    start = initial_parameters(architecture, 0)
    # The loss is summed. With this learning rate weights stay finite for any number of samples, and the
    # time does not depend on it.
    rule, updates = Momentum(0.99), [Update(slice(0, samples), Step(1, 1e-9))]
    spec = EngineSpec(
        architecture,
        start,
        rule,
        {"train": SplitData(x, y)},
        scaling=Scaling(255.0),
        objective=Objective("sum"),
        threads=threads,
        tile_rows=tile_rows,
    )
    engine = NumpyEngine(spec)
    engine.train_epoch(updates)
    n, started = 0, time.perf_counter()
    while not n or time.perf_counter() - started < TIMED_SECONDS:
        engine.train_epoch(updates)
        n += 1
    return {"seconds": (time.perf_counter() - started) / n, "peak_bytes": peak_bytes() - before}


def measure_writeup() -> dict[str, float]:
    """Return the peak bytes above the data of the write-up's run with 1,000 units."""
    from chalknet.data.load import load_data
    from chalknet.training.trainer import Trainer  # noqa: F401 (loaded before the baseline, because code is not data)
    from chalknet.workflows.train import train

    data = load_data("glyphs")
    before = resident_bytes()
    train(data, "writeup", hidden=[1000], epochs=3)
    return {"peak_bytes": peak_bytes() - before}


def resident_bytes() -> int:
    """Return the resident memory, and reset its peak if the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS") or _max_bytes()


def peak_bytes() -> int:
    return _status_bytes("VmHWM") or _max_bytes()


def _max_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status_bytes(name: str) -> int:
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:  # not Linux
        return 0
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
