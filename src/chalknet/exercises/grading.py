"""Grade what a student's functions returned: points of each check, likely mistakes, an example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chalknet.exercises.calls import CallResult, from_plain
from chalknet.exercises.differences import STEP, base_arguments, differences, own_cases
from chalknet.exercises.example_text import example_text, shown
from chalknet.exercises.expectations import expected, is_right, tolerance
from chalknet.exercises.folder import CELLS
from chalknet.exercises.naming import likely_mistakes
from chalknet.exercises.parts import (
    FLOAT32_TOLERANCE,
    OutputPart,
    Returned,
    agree,
    described,
    equal,
    fits,
    returned,
    tolerance_for,
)
from chalknet.exercises.process import Execution, Limits, has_lines, run_cases
from chalknet.exercises.results import BLANK, FAILED, CheckResult, TaskResult
from chalknet.exercises.task import AGAIN, CLEAN, GRADIENT, SHAPE, VALUES, Check, Course, Task

GRADIENT_TOLERANCE, FLOAT32_GRADIENT_TOLERANCE = 1e-5, 1e-2
MAX_KEYS, MAX_KEY = 4, 30  # keys of a dictionary that a message shows, and characters of each


def grade_task(task: Task, code: str, file: str, folder: Path, limits: Limits) -> TaskResult:
    """Run a student's code for one task and grade what its function returns.

    Args:
        task: the task.
        code: the student's Python source.
        file: its name in messages.
        folder: working directory of the code.
        limits: limits on its process.
    """
    own = own_cases(task)
    cases = [replace(case, function=case.function or task.name) for case in (*task.all_cases, *own)]
    execution = run_cases(code, file, folder, cases, task.helpers, limits, task.reference.__module__)
    return grade_execution(task, execution, file)


def grade_execution(task: Task, execution: Execution, file: str) -> TaskResult:
    """Grade what the process of a task returned.

    Args:
        task: the task.
        execution: the outcomes of `all_cases` and then of `own_cases`, or the reason for a failure.
        file: name of the student's file in messages.
    """
    if execution.failure:
        return _without_points(task, FAILED, execution.failure, execution)
    try:
        found = [returned(outcome, task.outputs) for outcome in execution.outcomes[: len(task.all_cases)]]
        with np.errstate(all="ignore"):  # the student's numbers may be nan or inf
            return _graded(task, found, execution.outcomes[len(task.all_cases) :], execution, file)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        # Only a process whose code has written the results itself returns something else.
        return _without_points(task, FAILED, "The results of the process could not be read.", execution)


def _without_points(task: Task, state: str, failure: str, execution: Execution) -> TaskResult:
    checks = tuple(CheckResult(check.title, 0, check.points, failure) for check in task.checks)
    return TaskResult(
        task.name, task.title, checks, state=state, failure=failure, output=execution.output, seconds=execution.seconds
    )


def _graded(
    task: Task, found: Sequence[Returned], own: Sequence[CallResult], execution: Execution, file: str
) -> TaskResult:
    errors = [one.outcome.error for one in found]
    if all(error == "NotImplementedError" for error in errors):
        absent = "no function" in found[0].outcome.message
        return _without_points(task, BLANK, _blank_text(task, file, absent), execution)
    grader = _Grader(task, found, own, file)
    checks = grader.checks()
    is_full = all(check.points == check.max_points for check in checks)
    return TaskResult(
        task.name,
        task.title,
        checks,
        () if is_full else likely_mistakes(task, found),
        "" if is_full or task.uses_others else grader.example(checks),
        output=execution.output,
        seconds=execution.seconds,
        solution=task.solution,
    )


def _blank_text(task: Task, file: str, absent: bool) -> str:
    """Return why a task has no solution yet."""
    if task.uses_others:
        return "It runs as soon as all other functions are written."
    if absent and file == CELLS:
        return f"No cell that defines {task.name} has been run."
    if absent:
        return f"{file} has no function {task.name}."
    return "The function is not written yet, or it calls a function that is not."


@dataclass(frozen=True)
class _Grader:
    """The checks of one task on what the student's function returned for each case."""

    task: Task
    found: Sequence[Returned]
    own: Sequence[CallResult]
    file: str

    def checks(self) -> tuple[CheckResult, ...]:
        """Return the result of each check."""
        rules = {SHAPE: self._shape, GRADIENT: self._gradient, CLEAN: self._clean}
        results = []
        for check in self.task.checks:
            message = rules.get(check.kind, self._values)(check)
            results.append(CheckResult(check.title, 0 if message else check.points, check.points, message))
        return self._with_consequences(results)

    def _with_consequences(self, results: Sequence[CheckResult]) -> tuple[CheckResult, ...]:
        """Return the results, with those marked that follow from others.

        A function that computes nothing changes nothing either, so a clean one earns points only if
        some values are right. A wrong gradient does not agree with differences.
        """
        pairs = list(zip(results, self.task.checks, strict=True))
        values = [one.points == one.max_points for one, check in pairs if check.kind == VALUES]
        found = []
        for one, check in pairs:
            if check.kind == CLEAN and not any(values):
                message = one.message or "counts once some values are right."
                one = replace(one, points=0, message=message, is_consequence=not one.message)
            elif check.kind == GRADIENT and one.message and not all(values) and "your own" not in one.message:
                one = replace(one, is_consequence=True)
            found.append(one)
        return tuple(found)

    def _indices(self, groups: Sequence[str]) -> list[int]:
        return [k for k, case in enumerate(self.task.all_cases) if case.group in groups]

    def _error(self, k: int) -> str:
        """Return the sentence about an exception or a wrong structure, or ""."""
        one = self.found[k].outcome
        if not one.error:
            return self.found[k].problem
        place = f" in {self.file}, line {one.line}" if one.line and has_lines(self.file) else ""
        code = f" ({one.code})" if one.code else ""
        if one.error == "SystemExit":
            return f"the function ends the program{place}{code}."
        if one.error == "RecursionError":
            return f"endless recursion{place}{code}."
        message = one.message.rstrip(" .")
        return f"{one.error}: {message}. Raised{place or ' by the call'}{code}."

    def _shape(self, check: Check) -> str:
        for k in self._indices(check.groups):
            if message := self._error(k) or self._shape_of(k):
                return message
        return ""

    def _shape_of(self, k: int) -> str:
        for name, right in expected(self.task)[k].parts.items():
            part = self.found[k].parts.get(name)
            if part is None:
                return self._missing(name, k)
            if right.value is None:  # an optional part, whose value does not count
                continue
            if message := _shape_message(part, right):
                return f"{name}: {message}" if len(self.task.outputs) > 1 else message
        return ""

    def _missing(self, name: str, k: int) -> str:
        """Return the sentence about an output, or an entry of a dictionary, that a call did not return."""
        outer, is_entry, _ = name.partition("[")
        parts = self.found[k].parts
        if not is_entry:
            return f"{name} is missing; received {described(self.found[k].outcome.value)}."
        if outer in parts:
            value = parts[outer].value
            kind = parts[outer].type.replace("NoneType", "None")
            received = kind if value is None else f"shape {value.shape}" if value.shape else "one number"
            return f"{outer}: expected a dictionary, received {received}."
        keys = [one[len(outer) + 1 : -1][:MAX_KEY] for one in parts if one.startswith(f"{outer}[")]
        if not keys:
            return f"{name} is missing; your dictionary is empty."
        more = ", ..." if len(keys) > MAX_KEYS else ""
        advice = " Use the names of parameters." if "parameters" in self.task.all_cases[k].arguments else ""
        return f"{name} is missing; your dictionary has the keys {', '.join(keys[:MAX_KEYS])}{more}.{advice}"

    def _values(self, check: Check) -> str:
        for k in self._indices(check.groups):
            if is_right(self.task, self.found, k, check.part):
                continue
            if message := self._error(k):
                return message
            for name, right in expected(self.task)[k].parts.items():
                part = self.found[k].parts.get(name)
                if not fits(name, check.part) or any(fits(name, one) for one in self.task.optional):
                    continue
                if part is None:
                    return self._missing(name, k)
                if not equal(part, right, tolerance(self.found[k], self.task, k)):
                    return _value_message(part, right)
        return ""

    def _gradient(self, check: Check) -> str:
        del check
        spec = self.task.gradient
        assert spec is not None
        k = self._indices((spec.group,))[0]
        if message := self._error(k):
            return message
        fits_own = True
        failures = []
        for number, (part, direction, numeric) in enumerate(differences(self.task)):
            value = self.found[k].parts.get(part, OutputPart(None, "")).value
            if value is None or value.shape != direction.shape:
                return f"{part} does not have the shape {direction.shape} of what it is the gradient of."
            analytic = float((value * direction).sum())
            short = tolerance_for(value) == FLOAT32_TOLERANCE
            if not _close(analytic, numeric, short):
                failures.append((part, analytic, numeric))
                own = self._own_difference(number)
                fits_own = fits_own and own is not None and _close(analytic, own, short)
        if not failures:
            return ""
        part, analytic, numeric = failures[0]
        text = (
            f"along a random direction {part} gives {analytic:.6g}, and central differences of the loss give "
            f"{numeric:.6g}."
        )
        if fits_own and spec.own_function == self.task.name:
            name = self.task.outputs[0]
            text += f" Your gradient fits your own {name}, so correct the {name} first."
        elif fits_own and spec.own_function:
            text += f" It fits your own {spec.own_function}, so look for the mistake there first."
        return text

    def _own_difference(self, number: int) -> float | None:
        """Return a difference of the student's own forward function, or None if it cannot be computed."""
        spec = self.task.gradient
        assert spec is not None
        losses = []
        for outcome, case in zip(
            self.own[2 * number : 2 * number + 2], own_cases(self.task)[2 * number :], strict=False
        ):
            try:
                losses.append(spec.own_loss(from_plain(outcome.value), {**base_arguments(self.task), **case.arguments}))
            except (ValueError, TypeError, KeyError, IndexError):
                return None
        return (losses[0] - losses[1]) / (2 * STEP) if len(losses) == 2 else None

    def _clean(self, check: Check) -> str:
        for k in self._indices(check.groups):
            if message := self._error(k):
                return message
            if self.found[k].outcome.changed:
                return f"the call changes {', '.join(self.found[k].outcome.changed)}."
        last = self._indices((AGAIN,))[0]
        if not agree(self.found[last], self.found[0], "", (), 0.0):
            return "a second call with the same arguments returns something else."
        return ""

    def example(self, checks: Sequence[CheckResult]) -> str:
        """Return the first case with a wrong result: arguments, expected and received numbers."""
        for check, result in zip(self.task.checks, checks, strict=True):
            if result.points or check.kind in (GRADIENT, CLEAN):
                continue
            for k in self._indices(check.groups):
                is_wrong = not is_right(self.task, self.found, k, check.part) or (
                    check.kind == SHAPE and (self._error(k) or self._shape_of(k))
                )
                if is_wrong:
                    return self._example_of(k, check.part)
        return ""

    def _example_of(self, k: int, pattern: str) -> str:
        right = expected(self.task)[k]
        names = [name for name in right.parts if fits(name, pattern)]
        there = self.found[k].parts
        wrong = [name for name in names if name not in there or not is_right(self.task, self.found, k, name)]
        return example_text(self.task.name, self.task.all_cases[k], right, self.found[k], wrong)


def _shape_message(part: OutputPart, right: OutputPart) -> str:
    """Return what is wrong with the type, dtype or shape of a part, or ""."""
    assert right.value is not None
    wanted = f"an array of shape {right.value.shape}" if right.value.shape else "one number"
    if part.value is None:
        return f"expected {wanted}, received {part.type.replace('NoneType', 'None')}."
    if part.value.shape != right.value.shape:
        return f"expected {wanted}, received {f'shape {part.value.shape}' if part.value.shape else 'one number'}."
    if part.type == "list" and right.type != "list":
        return "expected a NumPy array, received a list. np.array(...) makes an array of it."
    if right.value.shape and right.value.dtype.kind == "f" and part.value.dtype.kind != "f":
        return f"expected numbers with decimals (float64), received dtype {part.value.dtype}, which cuts them off."
    return ""


def _value_message(part: OutputPart, right: OutputPart) -> str:
    """Return how a part differs from the expected one."""
    if part.value is None or right.value is None or part.value.shape != right.value.shape:
        return _shape_message(part, right)
    if not np.isfinite(part.value).all():
        kind = "nan" if np.isnan(part.value).any() else "inf"
        return f"the result contains {kind}."
    off = np.abs(part.value.astype(float) - right.value)
    where = np.unravel_index(int(np.argmax(off)), off.shape)
    place = f" at [{', '.join(map(str, where))}]" if where else ""
    return f"expected {shown(right.value[where])}{place}, received {shown(part.value[where])}."


def _close(analytic: float, numeric: float, is_short: bool) -> bool:
    tolerance = FLOAT32_GRADIENT_TOLERANCE if is_short else GRADIENT_TOLERANCE
    return math.isfinite(analytic) and abs(analytic - numeric) <= tolerance * max(abs(analytic), abs(numeric), 1e-3)


def grade(
    course: Course, code: str, file: str, folder: Path, names: Sequence[str], limits: Limits
) -> tuple[TaskResult, ...]:
    """Grade the tasks of a course, each in a process of its own.

    Args:
        course: the course.
        code: the student's Python source.
        file: its name in messages.
        folder: working directory of the code.
        names: the tasks to grade, or none for all.
        limits: limits for each task.
    """
    tasks = [task for task in course.tasks if not names or task.name in names]
    results = [grade_task(task, code, file, folder, limits) for task in tasks]
    for k, task in enumerate(tasks):
        others_lost = any(not one.is_full for one in results[:k])
        if task.uses_others and others_lost and not results[k].is_full:
            # What goes wrong there is a consequence, and its messages would only distract.
            text = "It uses your other functions. Correct them first."
            results[k] = replace(results[k], mistakes=(), example="", failure=text)
    return tuple(results)
