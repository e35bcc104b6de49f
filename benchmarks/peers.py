"""The same work by chalknet and its peers, side by side: `python benchmarks/peers.py [--quick] [-o FILE]`.

Each peer is a process of its own that waits for its turn; rounds go round the peers, so that a busy moment of the
Each peer is a process of its own that waits for its turn; rounds go round the peers, so that a busy moment of the
same rounds. A peer that is not installed is left out and named.

Work:
    full F      one epoch of the write-up: an update from 15,000 samples through F units, and valid and test scored
    step B F    100 mini-batch updates with momentum, batches gathered from the 15,000
    predict N   probabilities of N images through 1,000 units

Peers, each at its best settings that compute the same thing:
    formulas      the write-up's formulas in plain NumPy, float64, all BLAS threads
    scikit-learn  MLPClassifier's own loop, float32 input, solver sgd, no penalty
    torch         Linear, ReLU, Linear in float32, SGD with momentum; full batches use no dropout of gradients to None
    torch-bf16    the same in bfloat16, weights too
    torch-compile the same in float32 through torch.compile
    jax           one jitted update in float32
    onnxruntime   prediction only
    chalknet      the numpy engine, float32
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PEERS = {
    "formulas": "numpy",
    "scikit-learn": "sklearn",
    "torch": "torch",
    "torch-bf16": "torch",
    "torch-compile": "torch",
    "jax": "jax",
    "onnxruntime": "onnxruntime",
    "chalknet": "chalknet",
    "ceiling": "chalknet",
}
FULL = [f"full {width}" for width in (100, 500, 1000, 2000)]
STEPS = [f"step {batch} {width}" for batch in (32, 128) for width in (16, 100, 1000)]
PREDICT = ["predict 1", "predict 10000"]
PAUSE_SECONDS = 0.1  # before each turn: some peers' threads go on spinning for a while after their work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--work", action="append", help="only this work, such as 'full 1000'; may be repeated")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this peer; may be repeated")
    parser.add_argument("--threads", type=int, default=0, help="threads of each peer; 0 for all cores")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    result = compare(
        options.peer or list(PEERS), options.work or FULL + STEPS + PREDICT, options.rounds, options.threads
    )
    for line in table(result):
        print(line)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def compare(names: list[str], works: list[str], rounds: int, threads: int) -> dict[str, Any]:
    from chalknet.machine.facts import machine_facts

    present = [name for name in names if find_spec(PEERS[name]) is not None]
    processes = {name: start(name, threads) for name in present}
    seconds: dict[str, dict[str, list[float]]] = {work: {} for work in works}
    for work in works:
        takers = [name for name in present if ask(processes[name], f"prepare {work}") == "ready"]
        for turn in range(rounds + 1):
            for name in takers:
                time.sleep(PAUSE_SECONDS)
                taken = float(ask(processes[name], "go"))
                if turn:  # the first round warms caches and compilers
                    seconds[work].setdefault(name, []).append(taken)
        print(f"measured {work}", file=sys.stderr, flush=True)
    for process in processes.values():
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(timeout=60)
    return {
        "machine": machine_facts(),
        "threads": threads or "all cores",
        "rounds": rounds,
        "versions": versions(),
        "absent": [name for name in names if name not in present],
        "environment": {key: value for key, value in os.environ.items() if key.startswith(("OPENBLAS_", "OMP_"))},
        "seconds": seconds,
    }


def start(name: str, threads: int) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if threads:
        for key in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CHALKNET_BENCH_WORKERS"):
            environment[key] = str(threads)
    command = [sys.executable, str(Path(__file__).with_name("peer_work.py")), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer = process.stdout.readline().strip()
    if not answer:
        raise SystemExit(f"{process.args} ended while it was asked for {line!r}")
    return answer


def versions() -> dict[str, str]:
    found = {}
    for name in ("chalknet", "numpy", "scikit-learn", "torch", "jax", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def table(result: dict[str, Any]) -> list[str]:
    """Milliseconds a unit of work, and how many times as long as chalknet each peer takes."""
    names = [name for name in PEERS if any(name in row for row in result["seconds"].values())]
    lines = ["  ".join(["work".ljust(14), *(f"{name:>18}" for name in names)])]
    for work, row in result["seconds"].items():
        medians = {name: statistics.median(times) for name, times in row.items()}
        own = medians.get("chalknet")
        cells = [
            f"{1e3 * medians[name]:>9.3f} {'' if own is None else f'({medians[name] / own:>5.2f}x)':>8}"
            if name in medians else " " * 18
            for name in names
        ]  # fmt: skip
        lines.append("  ".join([work.ljust(14), *cells]))
    return lines


if __name__ == "__main__":
    main()
