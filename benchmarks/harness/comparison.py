"""Compare baselines, each in a process of its own, that take turns in rounds.

A busy moment of the machine then slows all baselines alike, and ratios are of medians over the same
rounds. Baselines on NumPy run as they are installed. If their BLAS then uses other kernels than
chalknet's, they run a second time with chalknet's kernels.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import chalknet
from chalknet.machine.facts import machine_facts
from chalknet.machine.kernels import CORETYPE
from harness.baselines import BASELINES, Baseline
from harness.process import BaselineError, BaselineProcess
from harness.workloads import Workload

# Pause before each repetition, because the threads of some libraries spin for a while after their
# work.
PAUSE_SECONDS = 0.1
# Follows the name of a baseline that runs with chalknet's kernels.
SAME_KERNELS = " (same kernels)"
PACKAGES = ("numpy", "scikit-learn", "torch", "jax", "onnx", "onnxruntime")

# Called with what was done, the number of repetitions done, and their total.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        machine: facts about the machine.
        versions: versions of chalknet and of the other packages.
        threads: number of threads of each baseline, or "all cores".
        rounds: number of rounds.
        environment: the environment variables of OpenBLAS and OpenMP.
        forced_kernels: the kernels that baselines on NumPy were made to use, or "".
        absent: the baselines that are not installed.
        processes: for each row, whether its products are NumPy's, and the BLAS of its process.
        failed: for each row that failed, the last line of its standard error.
        seconds: for each workload and row, the seconds of one repetition in each round.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    threads: int | str
    rounds: int
    environment: dict[str, str]
    forced_kernels: str
    absent: list[str]
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the result, ready for JSON."""
        return asdict(self)

    def medians(self, workload: str) -> dict[str, float]:
        """Return the median seconds of one repetition of a workload, by row."""
        return {name: statistics.median(found) for name, found in self.seconds[workload].items()}


def compare(
    baselines: Sequence[Baseline],
    workloads: Sequence[Workload],
    rounds: int,
    *,
    threads: int = 0,
    installed: Mapping[str, str] | None = None,
    forced_kernels: str = "",
    progress: Progress | None = None,
) -> Comparison:
    """Measure each workload with each baseline that is installed and supports it.

    Args:
        baselines: what to compare.
        workloads: what to measure.
        rounds: how often each baseline repeats each workload.
        threads: number of threads of each baseline; 0 for its own choice on all cores.
        installed: environment variables of the other baselines; by default those of this process.
            chalknet's own baselines always run with those of this process.
        forced_kernels: kernel set of OpenBLAS that baselines on NumPy are made to use.
        progress: called after each repetition. If it raises, all processes are ended.
    """
    installed = os.environ if installed is None else installed
    present = [baseline for baseline in baselines if baseline.is_installed()]
    result = Comparison(
        machine=machine_facts(),
        versions=versions(),
        threads=threads or "all cores",
        rounds=rounds,
        environment={key: value for key, value in sorted(installed.items()) if key.startswith(("OPENBLAS_", "OMP_"))},
        forced_kernels=forced_kernels,
        absent=[baseline.name for baseline in baselines if baseline not in present],
    )
    with ExitStack() as stack:
        rows = _start(stack, present, threads, installed, result)
        done, total = 0, len(rows) * len(workloads) * (rounds + 1)

        def count(what: str, n: int = 1) -> None:
            nonlocal done
            done += n
            if progress is not None:
                progress(what, done, total)

        for workload in workloads:
            _measure(workload, rows, rounds, result, count)
    return result


def versions() -> dict[str, str]:
    """Return the versions of chalknet and of the installed packages that it is compared with."""
    found = {"chalknet": chalknet.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _start(
    stack: ExitStack,
    baselines: Sequence[Baseline],
    threads: int,
    installed: Mapping[str, str],
    result: Comparison,
) -> dict[str, BaselineProcess]:
    """Start a process for each baseline, and a second one if its kernels are not chalknet's."""
    forced = {CORETYPE: result.forced_kernels} if result.forced_kernels else {}
    rows: dict[str, BaselineProcess] = {}

    def start(row: str, baseline: Baseline, environment: Mapping[str, str]) -> None:
        process = stack.enter_context(BaselineProcess(baseline.name, environment, threads))
        try:
            process.start()
        except BaselineError as error:
            result.failed[row] = str(error)
            return
        result.processes[row] = {"on_numpy": baseline.on_numpy, **process.facts}
        rows[row] = process

    for one in baselines:
        start(one.name, one, os.environ if one.own else {**installed, **(forced if one.on_numpy else {})})
    own = next((rows[one.name].facts["blas_kernels"] for one in baselines if one.own and one.name in rows), None)
    for one in baselines if own is not None else ():
        if one.on_numpy and one.name in rows and rows[one.name].facts["blas_kernels"] != own:
            start(one.name + SAME_KERNELS, one, os.environ)
    return rows


def baseline_of(row: str) -> Baseline:
    """Return the baseline that a row measures."""
    return BASELINES[row.partition(" (")[0]]


def _measure(
    workload: Workload,
    rows: dict[str, BaselineProcess],
    rounds: int,
    result: Comparison,
    count: Callable[..., None],
) -> None:
    """Prepare all rows for one workload, then run the rounds.

    A row that fails is not measured again.
    """
    seconds = result.seconds[str(workload)] = {}
    prepared: list[str] = []

    def request(row: str, line: str) -> str | None:
        try:
            return rows[row].request(line)
        except BaselineError as error:
            result.failed[row] = str(error)
            del rows[row]
            seconds.pop(row, None)
            return None

    for row in list(rows):
        ready = request(row, f"prepare {workload}") == "ready"
        prepared += [row] if ready else []
        count(f"{workload}: {row} ready", 1 if ready else rounds + 1)
    for _ in range(rounds):
        for row in prepared:
            time.sleep(PAUSE_SECONDS)
            answer = request(row, "go") if row in rows else None
            if answer is not None:
                seconds.setdefault(row, []).append(float(answer))
            count(f"{workload}: {row}")
