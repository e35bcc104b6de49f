"""Ask worker processes for measurements, so that they take turns."""

from __future__ import annotations

import subprocess


def request(worker: subprocess.Popen[str], name: str) -> float:
    """Return the seconds that a worker measures for a workload.

    The worker reads a name from each line of its standard input, and answers with a number.
    """
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{name}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())
