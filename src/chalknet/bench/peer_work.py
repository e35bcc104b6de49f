"""One peer in a process of its own: `python -m chalknet.bench.peer_work NAME THREADS`, then lines on standard input.

It first tells, as JSON, which BLAS NumPy has loaded. "prepare WORK" is answered by "ready", or "no" where the peer does
not do that work; "go" by the seconds of one unit. When standard input ends, so does the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

from chalknet.bench.catalogue import PEERS, parse_work
from chalknet.machine.facts import blas_facts

if TYPE_CHECKING:
    from chalknet.bench.workload import Prepare, Run

TURN_SECONDS = 0.2


def main() -> None:
    """Arguments: the peer's name, and its threads, 0 for all cores."""
    name, threads = sys.argv[1], int(sys.argv[2])
    answers = answers_alone()
    bind_to_cores(threads)
    print(json.dumps(blas_facts()), file=answers, flush=True)
    prepare = prepare_function(PEERS[name].function)

    from chalknet.bench.workload import units_in_a_run

    run: Run | None = None
    unit = 1
    for line in sys.stdin:
        verb, _, text = line.strip().partition(" ")
        if verb == "prepare":
            work = parse_work(text)
            run, unit = prepare(work, threads), units_in_a_run(work)
            if run is not None:
                run()  # what is compiled or made only once is so now
            print("no" if run is None else "ready", file=answers, flush=True)
        else:
            assert run is not None
            print(seconds_of(run, unit), file=answers, flush=True)


def seconds_of(run: Run, unit: int) -> float:
    """Seconds of one unit. A first run wakes threads and caches, which slept while others had their turn."""
    told = run()
    return told if isinstance(told, float) else timed(run) / unit


def timed(run: Run) -> float:
    """Seconds of one run, the mean of as many as fit into TURN_SECONDS, one at least."""
    started, n = time.perf_counter(), 0
    while not n or time.perf_counter() - started < TURN_SECONDS:
        run()
        n += 1
    return (time.perf_counter() - started) / n


def answers_alone() -> TextIO:
    """Standard output for our answers; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def bind_to_cores(threads: int) -> None:
    """Leaves this process that many cores, where the system can: not every library obeys a number of threads."""
    if threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def prepare_function(where: str) -> Prepare:
    """The function that "file:function" names, with the peer's libraries imported at last."""
    file, _, function = where.partition(":")
    prepare: Prepare = getattr(import_module(f"chalknet.bench.peers.{file}"), function)
    return prepare


if __name__ == "__main__":
    main()
