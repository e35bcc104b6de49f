"""Central differences of a loss, with the reference solutions and with the student's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case, copied
from chalknet.exercises.parts import Array
from chalknet.exercises.task import Task

STEP = 1e-5
DIRECTIONS = 2  # along which each gradient is compared
OWN = "own forward function"  # the group of the calls of it


def base_arguments(task: Task) -> dict[str, Any]:
    """Return the arguments at which the gradient of a task is checked."""
    spec = task.gradient
    assert spec is not None
    arguments = next(case.arguments for case in task.cases if case.group == spec.group)
    return {**arguments, **spec.extra(arguments)}


def _displaced(arguments: Mapping[str, Any], name: str, step: Array) -> dict[str, Any]:
    """Return arguments with a step added to one of them, such as "x" or "parameters[W_h]"."""
    outer, _, inner = name.partition("[")
    moved = {key: copied(value) for key, value in arguments.items()}
    if inner:
        moved[outer] = {**moved[outer], inner[:-1]: moved[outer][inner[:-1]] + step}
    else:
        moved[outer] = moved[outer] + step
    return moved


def _directions(task: Task) -> list[tuple[str, str, Array]]:
    """Return output, argument and unit direction of each difference; always the same ones."""
    spec = task.gradient
    if spec is None:
        return []
    rng = np.random.default_rng(5)
    base = base_arguments(task)
    found = []
    for part, name in spec.argument_of.items():
        outer, _, inner = name.partition("[")
        shape = np.shape(base[outer][inner[:-1]] if inner else base[outer])
        for _ in range(DIRECTIONS):
            direction = rng.normal(size=shape)
            found.append((part, name, direction / np.linalg.norm(direction)))
    return found


@lru_cache(maxsize=64)
def differences(task: Task) -> tuple[tuple[str, Array, float], ...]:
    """Return output, direction and central difference of the loss along it, with the reference solutions."""
    spec = task.gradient
    if spec is None:
        return ()
    return tuple(
        (
            part,
            direction,
            (_loss_at(task, name, STEP * direction) - _loss_at(task, name, -STEP * direction)) / (2 * STEP),
        )
        for part, name, direction in _directions(task)
    )


def _loss_at(task: Task, name: str, step: Array) -> float:
    """Return the loss of the reference solutions after a step of one argument."""
    assert task.gradient is not None
    return task.gradient.loss(_displaced(base_arguments(task), name, step))


def own_cases(task: Task) -> tuple[Case, ...]:
    """Return the calls of the student's own forward function for the same differences, two for each."""
    spec = task.gradient
    if spec is None or not spec.own_function:
        return ()
    base = base_arguments(task)
    return tuple(
        Case(OWN, spec.own_arguments(_displaced(base, name, step * direction)), function=spec.own_function)
        for _, name, direction in _directions(task)
        for step in (STEP, -STEP)
    )
