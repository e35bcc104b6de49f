"""The process of one baseline: `python -m harness.worker NAME THREADS`.

The worker first prints, as JSON, which BLAS NumPy has loaded. It answers "prepare WORKLOAD" with
"ready", or with "no" if the baseline does not support the workload, and "go" with the seconds of one
repetition. It exits when standard input ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TextIO

from chalknet.machine.facts import blas_facts
from harness.baselines import BASELINES
from harness.workloads import Run, parse_workload

REPETITION_SECONDS = 0.2


def main() -> None:
    """Answer requests until standard input ends."""
    name, threads = sys.argv[1], int(sys.argv[2])
    answers = reserve_standard_output()
    bind_to_cores(threads)
    print(json.dumps(blas_facts()), file=answers, flush=True)
    prepare = BASELINES[name].prepare_function()
    run: Run | None = None
    repetitions = 1
    for line in sys.stdin:
        verb, _, text = line.strip().partition(" ")
        if verb == "prepare":
            workload = parse_workload(text)
            run, repetitions = prepare(workload, threads), workload.repetitions_per_run
            if run is not None:
                run()  # compiles, and allocates what is allocated only once
            print("no" if run is None else "ready", file=answers, flush=True)
        else:
            assert run is not None
            print(seconds_per_repetition(run, repetitions), file=answers, flush=True)


def seconds_per_repetition(run: Run, repetitions: int) -> float:
    """Return the seconds of one epoch, update or prediction.

    It is the mean of as many runs as fit into REPETITION_SECONDS, at least one. A first run is not
    timed: it wakes threads and fills caches after the turns of other baselines.

    Args:
        run: does the work.
        repetitions: number of epochs, updates or predictions in one run.
    """
    measured = run()
    if isinstance(measured, float):
        return measured
    started, n = time.perf_counter(), 0
    while not n or time.perf_counter() - started < REPETITION_SECONDS:
        run()
        n += 1
    return (time.perf_counter() - started) / n / repetitions


def reserve_standard_output() -> TextIO:
    """Return standard output for answers, and redirect prints of libraries to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def bind_to_cores(threads: int) -> None:
    """Bind this process to this many cores if the system can.

    Not every library obeys a thread limit.
    """
    if threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


if __name__ == "__main__":
    main()
