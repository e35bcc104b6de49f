"""Grade what a student's functions returned: points of each check, likely mistakes, an example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.exercises.calls import CallResult, Case, copied, from_plain, run_case
from chalknet.exercises.parts import (
    FLOAT32_TOLERANCE,
    Array,
    OutputPart,
    Returned,
    agree,
    described,
    equal,
    fits,
    returned,
    same_message,
    tolerance_for,
)
from chalknet.exercises.process import Execution, Limits, run_cases
from chalknet.exercises.results import BLANK, FAILED, CheckResult, NamedMistake, TaskResult
from chalknet.exercises.task import AGAIN, CLEAN, GRADIENT, SHAPE, VALUES, Check, Course, Mistake, Task

STEP = 1e-5  # of central differences
GRADIENT_TOLERANCE, FLOAT32_GRADIENT_TOLERANCE = 1e-5, 1e-2
DIRECTIONS = 2  # along which a gradient is compared
OWN = "own forward function"
MAX_SHOWN = 12  # numbers of an array in a message
CHANGES_INPUT = NamedMistake(
    "changes its inputs",
    "The caller's arrays are different after the call, so a second call sees other numbers. Create a new array, or "
    "work on a copy: x.copy().",
)
REMEMBERS = NamedMistake(
    "depends on earlier calls",
    "The same arguments gave another result in a second call. A function of this course uses its arguments only: "
    "no global variables, and no random numbers.",
)
RETURNS_NOTHING = NamedMistake("nothing returned", "The function returns None. Is a return statement missing?")


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
    execution = run_cases(code, file, folder, cases, task.helpers, limits)
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
        text = f"{file} has no function {task.name}." if absent else "The function is not written yet."
        return _without_points(task, BLANK, text, execution)
    grader = _Grader(task, found, own, file)
    checks = grader.checks()
    is_full = all(check.points == check.max_points for check in checks)
    return TaskResult(
        task.name,
        task.title,
        checks,
        () if is_full else grader.mistakes(checks),
        "" if is_full else grader.example(checks),
        output=execution.output,
        seconds=execution.seconds,
    )


@lru_cache(maxsize=64)
def expected(task: Task) -> tuple[Returned, ...]:
    """Return what the reference solution returns for each case of a task."""
    return tuple(returned(run_case(task.reference, case), task.outputs) for case in task.all_cases)


@lru_cache(maxsize=1024)
def mistaken(task: Task, mistake: Mistake, which: int) -> tuple[Returned, ...]:
    """Return what one of the functions of a mistake returns for each case."""
    function = mistake.functions[which]
    return tuple(returned(run_case(function, case), task.outputs) for case in task.all_cases)


def named(task: Task, found: Sequence[Returned]) -> tuple[Mistake, ...]:
    """Return the mistakes that explain what a function returned.

    Mistakes that concern all outputs are tried before those of single outputs. Of the mistakes with
    the same groups and the same part, the first one that agrees is returned. A mistake is left out
    if one that was found before explains the same cases.
    """
    chosen: dict[tuple[tuple[str, ...], str], tuple[Mistake, int]] = {}
    for mistake in sorted(task.mistakes, key=lambda one: bool(one.part)):
        key = (mistake.groups, mistake.part)
        indices = [k for k, case in enumerate(task.all_cases) if case.group in mistake.groups]
        is_explained = key in chosen or any(
            _explains(task, other, which, found, indices, mistake.part) for other, which in chosen.values()
        )
        if is_explained or all(_is_right(task, found, k, mistake.part) for k in indices):
            continue
        for which in range(len(mistake.functions)):
            if _explains(task, mistake, which, found, indices, mistake.part):
                chosen[key] = mistake, which
                break
    return tuple(mistake for mistake, _ in chosen.values())


def _explains(
    task: Task, mistake: Mistake, which: int, found: Sequence[Returned], indices: Sequence[int], part: str
) -> bool:
    """Return whether a function of a mistake returns the same as the student's in some cases."""
    other = mistaken(task, mistake, which)
    if not all(agree(found[k], other[k], part, task.optional, _tolerance(found[k], task, k)) for k in indices):
        return False
    # Errors alone have many causes, so their messages have to agree too.
    if all(found[k].outcome.error for k in indices):
        return all(same_message(found[k], other[k]) for k in indices)
    return True


def _is_right(task: Task, found: Sequence[Returned], k: int, part: str) -> bool:
    """Return whether a call returned the expected parts."""
    if found[k].outcome.error:
        return False
    return agree(found[k], expected(task)[k], part, task.optional, _tolerance(found[k], task, k))


def _tolerance(found: Returned, task: Task, k: int) -> float:
    arrays = [part.value for part in (*found.parts.values(), *expected(task)[k].parts.values())]
    return tolerance_for(*arrays)


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
        # A function that computes nothing changes nothing either. It earns no points for that.
        if not any(one.points for one, check in zip(results, self.task.checks, strict=True) if check.kind == VALUES):
            later = "counts as soon as values are right."
            return tuple(
                replace(one, points=0, message=one.message or later) if check.kind == CLEAN else one
                for one, check in zip(results, self.task.checks, strict=True)
            )
        return tuple(results)

    def _indices(self, groups: Sequence[str]) -> list[int]:
        return [k for k, case in enumerate(self.task.all_cases) if case.group in groups]

    def _error(self, k: int) -> str:
        """Return the sentence about an exception or a wrong structure, or ""."""
        one = self.found[k].outcome
        if not one.error:
            return self.found[k].problem
        place = f" in {self.file}, line {one.line}" if one.line else ""
        code = f" ({one.code})" if one.code else ""
        if one.error == "SystemExit":
            return f"the function ends the program{place}{code}."
        if one.error == "RecursionError":
            return f"endless recursion{place}{code}."
        message = one.message if one.message.endswith(".") else f"{one.message}."
        return f"{one.error}: {message} Raised{place or ' by the call'}{code}."

    def _shape(self, check: Check) -> str:
        for k in self._indices(check.groups):
            if message := self._error(k) or self._shape_of(k):
                return message
        return ""

    def _shape_of(self, k: int) -> str:
        for name, right in expected(self.task)[k].parts.items():
            if any(fits(name, one) for one in self.task.optional):
                continue
            part = self.found[k].parts.get(name)
            if part is None:
                return f"{name} is missing; received {described(self.found[k].outcome.value)}."
            if message := _shape_message(part, right):
                return f"{name}: {message}" if len(self.task.outputs) > 1 else message
        return ""

    def _values(self, check: Check) -> str:
        for k in self._indices(check.groups):
            if _is_right(self.task, self.found, k, check.part):
                continue
            if message := self._error(k):
                return message
            for name, right in expected(self.task)[k].parts.items():
                part = self.found[k].parts.get(name)
                if not fits(name, check.part) or any(fits(name, one) for one in self.task.optional):
                    continue
                if part is None:
                    return f"{name} is missing."
                if not equal(part, right, _tolerance(self.found[k], self.task, k)):
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
        if fits_own and spec.own_function:
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
                losses.append(spec.own_loss(from_plain(outcome.value), {**_base(self.task), **case.arguments}))
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

    def mistakes(self, checks: Sequence[CheckResult]) -> tuple[NamedMistake, ...]:
        """Return the likely mistakes, those of the catalog first."""
        found = [NamedMistake(one.name, one.hint) for one in named(self.task, self.found)]
        if any(one.outcome.changed for one in self.found):
            found.append(CHANGES_INPUT)
        elif any(check.message.startswith("a second call") for check in checks):
            found.append(REMEMBERS)
        if not found:
            if (
                all(part.type == "NoneType" for one in self.found for part in one.parts.values())
                and self.found[0].parts
            ):
                found.append(RETURNS_NOTHING)
            elif factor := self._factor():
                found.append(factor)
        return tuple(found)

    def _factor(self) -> NamedMistake | None:
        """Return a mistake for numbers that are all too large or too small by one factor."""
        ratios = []
        for k in self._indices((VALUES,)):
            for name, right in expected(self.task)[k].parts.items():
                part = self.found[k].parts.get(name)
                if part is None or part.value is None or right.value is None or part.value.shape != right.value.shape:
                    return None
                usable = np.abs(right.value) > 1e-9
                with np.errstate(all="ignore"):
                    ratios.append((part.value[usable] / right.value[usable]).ravel())
        every = np.concatenate(ratios) if ratios else np.empty(0)
        if not every.size or not np.isfinite(every).all() or np.ptp(every) > 1e-6 * abs(every.mean()):
            return None
        ratio = float(every.mean())
        if abs(ratio - 1) < 1e-6:
            return None
        return NamedMistake(
            f"a factor of {ratio:.6g}", "Every number is the expected one times this factor. Compare with the formula."
        )

    def example(self, checks: Sequence[CheckResult]) -> str:
        """Return the first case with a wrong result: arguments, expected and received numbers."""
        for check, result in zip(self.task.checks, checks, strict=True):
            if result.points or check.kind in (GRADIENT, CLEAN):
                continue
            for k in self._indices(check.groups):
                is_wrong = not _is_right(self.task, self.found, k, check.part) or (
                    check.kind == SHAPE and (self._error(k) or self._shape_of(k))
                )
                if is_wrong:
                    return self._example_text(k, check.part)
        return ""

    def _example_text(self, k: int, part: str) -> str:
        case = self.task.all_cases[k]
        lines = [f"Example: {self.task.name}({', '.join(case.arguments)}) with"]
        lines += [f"  {name} = {_shown(value, len(name) + 5)}" for name, value in case.arguments.items()]
        if case.then:
            lines.append(f"  and {len(case.then)} more calls with new gradients")
        names = [name for name in expected(self.task)[k].parts if fits(name, part)]
        wrong = [name for name in names if not _is_right(self.task, self.found, k, name)][:2]
        for name in wrong:
            label = f" {name}" if len(expected(self.task)[k].parts) > 1 else ""
            lines.append(f"expected{label}: {_shown(expected(self.task)[k].parts[name].value, len(label) + 10)}")
            got = self.found[k].parts.get(name)
            text = "an error" if self.found[k].outcome.error else described(self.found[k].outcome.value)
            if got is not None:
                text = (
                    _shown(got.value, len(label) + 10)
                    if got.value is not None
                    else got.type.replace("NoneType", "None")
                )
            lines.append(f"received{label}: {text}")
        return "\n".join(lines)


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
    return f"expected {_number(right.value[where])}{place}, received {_number(part.value[where])}."


def _number(value: Any) -> str:
    return f"{float(value):.6g}"


def _close(analytic: float, numeric: float, is_short: bool) -> bool:
    tolerance = FLOAT32_GRADIENT_TOLERANCE if is_short else GRADIENT_TOLERANCE
    return math.isfinite(analytic) and abs(analytic - numeric) <= tolerance * max(abs(analytic), abs(numeric), 1e-3)


def _shown(value: Any, indent: int) -> str:
    """Return a short text of an argument or an output."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(one, indent)}" for key, one in list(value.items())[:4]) + "}"
    if isinstance(value, np.ndarray):
        if value.size > MAX_SHOWN:
            return f"array of shape {value.shape}"
        text = np.array2string(
            value, precision=4, separator=", ", suppress_small=bool(np.abs(value).max(initial=0) < 1e4)
        )
        return text.replace("\n", "\n" + " " * indent)
    return str(value) if not isinstance(value, float) else f"{value:.6g}"


def _base(task: Task) -> dict[str, Any]:
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
    base = _base(task)
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
    base = _base(task)
    return tuple(
        (
            part,
            direction,
            (spec.loss(_displaced(base, name, STEP * direction)) - spec.loss(_displaced(base, name, -STEP * direction)))
            / (2 * STEP),
        )
        for part, name, direction in _directions(task)
    )


def own_cases(task: Task) -> tuple[Case, ...]:
    """Return the calls of the student's own forward function for the same differences, two for each."""
    spec = task.gradient
    if spec is None or not spec.own_function:
        return ()
    return tuple(
        Case(
            OWN, spec.own_arguments(_displaced(_base(task), name, sign * STEP * direction)), function=spec.own_function
        )
        for _, name, direction in _directions(task)
        for sign in (1.0, -1.0)
    )


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
    return tuple(
        grade_task(task, code, file, folder, limits) for task in course.tasks if not names or task.name in names
    )
