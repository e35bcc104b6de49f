"""`Plan`: which runs of a study are trained at the same time, with their time and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from chalknet.machine.processor import available_cores
from chalknet.studies.configurations import RunKey

Job = tuple[RunKey, ...]  # the runs that one worker trains at the same time
MakePlan = Callable[[Sequence[RunKey]], "Plan"]


@dataclass(frozen=True)
class RunGroup:
    """Runs that are trained in the same way.

    Attributes:
        jobs: the runs that a worker is given at a time.
        run_seconds: time of one run with all of its epochs, on one core or on the GPU; None if it
            was not measured.
        job_bytes: memory of a worker that trains one of these jobs; 0 if it was not asked for.
        device: where the jobs are trained, "cpu" or "cuda".
    """

    jobs: tuple[Job, ...]
    run_seconds: float | None
    job_bytes: int
    device: str = "cpu"

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return sum(len(job) for job in self.jobs)

    @property
    def size(self) -> int:
        """Number of runs in the largest job."""
        return max(len(job) for job in self.jobs)

    @property
    def widths(self) -> tuple[str, ...]:
        """The names of networks, or their hidden widths as text, narrowest first."""
        found = {run.configuration.recipe.network for job in self.jobs for run in job}
        names = {(network.hidden, network.short_name) for network in found}
        return tuple(name for _, name in sorted(names))


@dataclass(frozen=True)
class Plan:
    """How the runs of a study are distributed over worker processes.

    Attributes:
        groups: all runs, grouped by how they are trained.
        processes: number of worker processes at a time.
        threads: number of threads of each process.
    """

    groups: tuple[RunGroup, ...]
    processes: int
    threads: int

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return sum(group.n_runs for group in self.groups)

    @property
    def seconds(self) -> float | None:
        """Estimated time until the last run is finished if none stops early; None if not measured."""
        cores = max(1, min(self.processes * self.threads, available_cores()))
        total = 0.0
        for group in self.groups:
            if group.run_seconds is None:
                return None
            total += group.run_seconds * group.n_runs / (1 if group.device == "cuda" else cores)
        return total

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of all processes together, at most."""
        return self.processes * max((group.job_bytes for group in self.groups), default=0)

    @property
    def description(self) -> str:
        """The plan in words, such as "2 processes, 12 runs".

        With a GPU: "1 process on a GPU, 48 runs in stacks of up to 16, 3 runs one by one".
        """
        stacked = [group for group in self.groups if group.size > 1]
        n_stacked = sum(group.n_runs for group in stacked)
        place = " on a GPU" if any(group.device == "cuda" for group in self.groups) else ""
        parts = [f"{self.processes} {'process' if self.processes == 1 else 'processes'}{place}"]
        if stacked:
            parts.append(f"{n_stacked} runs in stacks of up to {max(group.size for group in stacked)}")
        if left := self.n_runs - n_stacked:
            parts.append(f"{left} {'run' if left == 1 else 'runs'}{' one by one' if stacked else ''}")
        return ", ".join(parts)

    @cached_property
    def job_of(self) -> dict[tuple[str, int], Job]:
        """The job that each run belongs to, by `RunKey.key`."""
        return {run.key: job for group in self.groups for job in group.jobs for run in job}


def plan_single_runs(runs: Sequence[RunKey], processes: int, threads: int) -> Plan:
    """Return the plan that gives each run a job of its own, as on processors; nothing is measured."""
    return Plan((RunGroup(tuple((run,) for run in runs), None, 0),), processes, threads)
