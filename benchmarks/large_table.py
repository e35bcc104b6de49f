"""Measure how fast a large table is read: `python benchmarks/large_table.py [-o FILE]`.

The table has 1,000,000 rows of 50 mixed columns and a label: numbers, integers, categories of few and
of many values, truth values, dates and missing values. It is made from a seed and written in blocks.
`--make FILE` only makes it.

polars' `read_csv` and `load_data` read the file in turns, each in a process of its own, and then
`chalknet train` trains one epoch. Seconds of reading are without imports, those of training with
everything. Memory is the peak of the process. Targets: reading takes at most 1.5 times as long as
polars, and training less than 4 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import chalknet
from chalknet.machine.facts import machine_facts

ROWS, BLOCK, SEED = 1_000_000, 50_000, 0
CLASSES = ("early", "late", "never")
FEW, MANY = (2, 3, 3, 4, 4, 5, 6, 6), (40, 100, 250, 1_000)  # numbers of categories of the columns
READERS = {
    "polars": "import polars\nread = polars.read_csv",
    "load_data": "import polars, chalknet\nread = chalknet.load_data",
}
KIBIBYTE = 1024  # unit of `ru_maxrss` on Linux


def block_of_rows(rng: np.random.Generator, n: int) -> pl.DataFrame:
    """Return n rows of the table; some columns have about 5 % missing values."""
    numbers = {f"measured {k}": pl.Series(rng.normal(10 * k, 1 + k, n).round(4)) for k in range(20)}
    integers = {f"count {k}": pl.Series(rng.poisson(3 * (k + 1) ** 2, n)) for k in range(10)}
    few = {f"kind {k}": named(rng.integers(0, size, n), "kind") for k, size in enumerate(FEW)}
    many = {f"place {k}": named((size * rng.random(n) ** 2).astype(int), "place") for k, size in enumerate(MANY)}
    truths = {f"is {k}": pl.Series(rng.random(n) < 0.2 * (k + 1)) for k in range(4)}
    days = rng.integers(14_000, 20_000, (2, n)).astype("datetime64[D]")
    times = rng.integers(1_200_000_000, 1_700_000_000, (2, n)).astype("datetime64[s]")
    dates = {f"day {k}": pl.Series(one) for k, one in enumerate(days)}
    dates |= {f"time {k}": pl.Series(one.astype("datetime64[ms]")) for k, one in enumerate(times)}
    frame = pl.DataFrame(numbers | integers | few | many | truths | dates)
    gaps = [*(f"measured {k}" for k in range(5)), "count 0", "count 1", "kind 5", "kind 6", "place 1", "day 1"]
    frame = frame.with_columns(frame[name].set(pl.Series(rng.random(n) < 0.05), None) for name in gaps)
    score = (numbers["measured 19"] - 190) / 20 + (integers["count 9"] - 300) / 17 + truths["is 1"].cast(pl.Float64)
    score += pl.Series(rng.normal(0, 0.5, n))
    label = np.digitize(score.to_numpy(), [-0.5, 1.0])
    return frame.with_columns(pl.Series("label", np.array(CLASSES)[label]))


def named(codes: np.ndarray, noun: str) -> pl.Series:
    """Return the names of categories."""
    return pl.Series(codes).cast(pl.String).map_elements(lambda text: f"{noun} {text}", return_dtype=pl.String)


def make_table(path: Path, rows: int) -> None:
    """Write the table in blocks; equal numbers of rows give equal files."""
    with path.open("wb") as file:
        for start in range(0, rows, BLOCK):
            rng = np.random.default_rng([SEED, start])
            block = block_of_rows(rng, min(BLOCK, rows - start))
            block.write_csv(file, include_header=not start, datetime_format="%Y-%m-%d %H:%M:%S")


def measured_reading(reader: str, path: Path) -> dict[str, float]:
    """Read the file in a process of its own, and return seconds and peak memory in bytes."""
    code = (
        f"import resource, sys, time\n{READERS[reader]}\nstart = time.perf_counter()\nframe = read(sys.argv[1])\n"
        f"print(time.perf_counter() - start, {KIBIBYTE} * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    made = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    seconds, memory = map(float, made.stdout.split())
    return {"seconds": seconds, "peak_bytes": memory}


def measured_training(path: Path, folder: Path) -> dict[str, float]:
    """Train with `chalknet train --budget fast`, and return seconds and peak memory in bytes."""
    command = [sys.executable, "-m", "chalknet", "train", "--data", str(path), "--budget", "fast", "-o", str(folder)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed.")
    return {"seconds": time.perf_counter() - started, "peak_bytes": KIBIBYTE * used.ru_maxrss}


def measured(path: Path, rounds: int, folder: Path) -> dict[str, Any]:
    """Measure all readers in turns, then training."""
    for reader in READERS:  # fills the disk cache, and compiles Python's files
        measured_reading(reader, path)
    found: dict[str, list[dict[str, float]]] = {reader: [] for reader in READERS}
    for number in range(rounds):
        for reader in (list(READERS), list(READERS)[::-1])[number % 2]:
            found[reader].append(measured_reading(reader, path))
    reading = {
        reader: {key: [one[key] for one in rows] for key in ("seconds", "peak_bytes")} for reader, rows in found.items()
    }
    ours, theirs = (reading[reader]["seconds"] for reader in ("load_data", "polars"))
    return {
        "reading": reading,
        "ratio_of_medians": statistics.median(ours) / statistics.median(theirs),
        "training": measured_training(path, folder),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--make", type=Path, metavar="FILE", help="make the table, and measure nothing")
    parser.add_argument("--table", type=Path, metavar="FILE", help="a table that --make has made")
    parser.add_argument("-o", "--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    if options.make:
        make_table(options.make, options.rows)
        return
    with tempfile.TemporaryDirectory() as name:
        path = options.table or Path(name, "table.csv")
        if not options.table:
            make_table(path, options.rows)
        found = {"table_bytes": path.stat().st_size, **measured(path, options.rounds, Path(name, "run"))}
    versions = {"chalknet": chalknet.__version__, "numpy": version("numpy"), "polars": version("polars")}
    text = json.dumps({"machine": machine_facts(), "versions": versions, "rows": options.rows, **found}, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
