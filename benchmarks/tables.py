"""Compare classifiers on public tables: `python benchmarks/tables.py --methods a,b --sets tuning --out RUNS`.

Each run trains one method on 70 % of one table, in a process of its own on one thread, and scores it
on the rest. The rows are split by the seed and stratified by the label. RUNS gets one line of JSON per
run, and runs that it contains are not repeated. A run that fails or takes more than --limit processor
seconds is stored with its error.

`--summarize RUNS --out FILE` writes mean scores, mean ranks and critical differences. `--write FOLDER`
writes the tables as Parquet files; with `--tables FOLDER` runs read these and not the packages.

The tables of part unseen may not be used to choose settings of chalknet.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tabular.methods import METHODS
from tabular.ranks import LEVEL
from tabular.sets import MissingPackageError, part_of, require, sets_of, table_of
from tabular.summary import key_of, summary

ROOT = Path(__file__).resolve().parents[1]
LIMIT_SECONDS = 300.0
# A run may wait for a processor that others use, so its wall-clock limit is larger.
WALL_FACTOR = 12
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
# These choose slower kernels, and are not passed to a run.
KERNEL_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
MAX_ERROR_LETTERS = 300
# A summary stores the versions of these distributions.
PACKAGES = ("chalknet", "scikit-learn", "lightgbm", "catboost", "pytabkit", "torch", "numpy")


def stored_runs(path: Path) -> list[dict[str, Any]]:
    """Return the runs in a file, the last one of each method, table and seed."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list({key_of(run): run for run in map(json.loads, lines)}.values())


def measured(method: str, table: str, seed: int, limit: float, folder: Path | None) -> dict[str, Any]:
    """Return the record of one run in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in KERNEL_VARIABLES}
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT / "benchmarks"), str(ROOT / "src")]
    environment |= dict.fromkeys(THREAD_VARIABLES, "1")
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    command = [sys.executable, "-m", "tabular.worker", method, table, str(seed), str(limit)]
    command += [str(folder.resolve())] if folder else []
    record = {"method": method, "table": table, "part": part_of(table), "seed": seed, "error": None}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=limit * WALL_FACTOR
        )
    except subprocess.TimeoutExpired:
        return {**record, "error": f"time: more than {limit * WALL_FACTOR:.0f} s by the clock"}
    if done.returncode == 0 and done.stdout:
        return {**record, **json.loads(done.stdout)}
    if done.returncode == -signal.SIGXCPU:
        return {**record, "error": f"time: more than {limit:.0f} processor seconds"}
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return {**record, "error": last[:MAX_ERROR_LETTERS]}


def run_all(methods: Sequence[str], selection: str, seeds: Sequence[int], line: argparse.Namespace) -> None:
    """Measure every run that the file lacks, seed by seed and method by method."""
    for method in methods:
        require(METHODS[method].module, f"method {method}")
    done = {key_of(run) for run in stored_runs(line.out)}
    with line.out.open("a", encoding="utf-8") as out:
        for seed in seeds:
            for method in methods:
                for one in reversed(sets_of(selection)):  # small tables first, in the order of SETS
                    if (method, one.name, seed) in done:
                        continue
                    run = measured(method, one.name, seed, line.limit, line.tables)
                    print(json.dumps(run), file=out, flush=True)
                    said = run["error"] or f"{run['accuracy']:.4f}  {run['fit_seconds']:7.2f} s"
                    # Scores of unseen tables are not shown, so that nobody chooses by them.
                    shown = "done" if run["part"] == "unseen" and not run["error"] else said
                    print(f"{time.strftime('%H:%M:%S')}  {method:24} {one.name:24} {seed}  {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--methods", default=",".join(METHODS), help=f"names with commas in between: {', '.join(METHODS)}"
    )
    parser.add_argument("--sets", default="tuning", help="tuning, unseen, all, or names with commas in between")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of splits and methods  [default: 0,1,2]")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="processor seconds of a run  [default: 300]")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="read the tables that --write has written")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the tables as Parquet files, and end")
    parser.add_argument("--summarize", type=Path, metavar="RUNS", help="summarize the runs of --methods in this file")
    parser.add_argument("--note", default="", help="sentence that is stored with a summary and shown on the page")
    parser.add_argument("-o", "--out", type=Path, help="file of runs, or of the summary")
    line = parser.parse_args()
    try:
        if line.write:
            write_tables(line.write, line.sets)
            return
        if line.out is None:
            parser.error("name the file to write: --out FILE")
        methods = line.methods.split(",")
        unknown = [name for name in methods if name not in METHODS]
        if unknown:
            parser.error(f"no method is called {unknown[0]!r}. Choose from: {', '.join(METHODS)}")
        if line.summarize:
            write_summary(stored_runs(line.summarize), methods, line)
        else:
            run_all(methods, line.sets, [int(seed) for seed in line.seeds.split(",")], line)
    except (MissingPackageError, ValueError) as error:
        parser.exit(2, f"{error}\n")


def write_tables(folder: Path, selection: str) -> None:
    """Write tables as Parquet files into FOLDER/tuning and FOLDER/unseen."""
    for one in sets_of(selection):
        table = table_of(one)
        path = folder / part_of(one.name) / f"{one.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path)
        print(f"{path}  {table.height:,} rows, {table.width - 1} columns")


def write_summary(runs: list[dict[str, Any]], methods: Sequence[str], line: argparse.Namespace) -> None:
    """Write the summary of the runs with machine and versions, and print it without scores of unseen tables."""
    from chalknet.machine.facts import machine_facts

    parts = summary(runs, methods)
    made = {
        "machine": machine_facts(),
        "versions": {name: version(name) for name in PACKAGES},
        "limit_seconds": line.limit,
        "level": LEVEL,
        "note": line.note,
        "parts": parts,
    }
    line.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    for part, found in parts.items():
        print(f"{part}: {found['n_tables']} tables")


if __name__ == "__main__":
    main()
