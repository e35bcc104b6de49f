"""What the reference solutions return, and whether a student's function returns the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from chalknet.exercises.calls import run_case
from chalknet.exercises.parts import Returned, agree, returned, tolerance_for
from chalknet.exercises.task import Task


@lru_cache(maxsize=64)
def expected(task: Task) -> tuple[Returned, ...]:
    """Return what the reference solution returns for each case of a task."""
    return tuple(returned(run_case(task.reference, case), task.outputs) for case in task.all_cases)


def is_right(task: Task, found: Sequence[Returned], k: int, part: str) -> bool:
    """Return whether a call returned the expected parts."""
    if found[k].outcome.error:
        return False
    return agree(found[k], expected(task)[k], part, task.optional, tolerance(found[k], task, k))


def tolerance(found: Returned, task: Task, k: int) -> float:
    """Return the relative tolerance for what case k of a task returned."""
    arrays = [part.value for part in (*found.parts.values(), *expected(task)[k].parts.values())]
    return tolerance_for(*arrays)
