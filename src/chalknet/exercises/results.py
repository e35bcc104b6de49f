"""The results of grading: points and messages of checks, tasks and submissions, and their text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from chalknet.exercises.task import Course
from chalknet.formatting import count_of, printable

FORMAT = 1
WIDTH = 80
BLANK, FAILED, GRADED = "blank", "failed", "graded"
TRAINING = "train"  # the task at the end, for which nothing is to be written
NOT_GRADED = "Nothing could be graded."  # the end of a note about a file that is not Python


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        title: what was checked.
        points: the points it got.
        max_points: the points it could get.
        message: what was expected and what was received, or "" if it passed.
        is_consequence: whether it failed only because another check failed, so that its message
            says nothing new.
    """

    title: str
    points: int
    max_points: int
    message: str = ""
    is_consequence: bool = False


@dataclass(frozen=True)
class NamedMistake:
    """A mistake that was recognized.

    Attributes:
        name: what is wrong, in a few words.
        hint: sentences that lead to the right solution.
    """

    name: str
    hint: str


@dataclass(frozen=True)
class TaskResult:
    """The result of one task.

    Attributes:
        name: name of the function.
        title: what it is.
        checks: the result of each check.
        mistakes: the likely mistakes; empty if everything is right or nothing was recognized.
        example: the smallest example with a wrong result, as lines of text, or "".
        state: "graded", "blank" (nothing written yet) or "failed" (the function could not be called).
        failure: why it could not be called, or "".
        output: the first characters that the code printed.
        seconds: wall time.
        solution: where chalknet computes the same.
    """

    name: str
    title: str
    checks: tuple[CheckResult, ...]
    mistakes: tuple[NamedMistake, ...] = ()
    example: str = ""
    state: str = GRADED
    failure: str = ""
    output: str = ""
    seconds: float = 0.0
    solution: str = ""

    @property
    def points(self) -> int:
        """Return the points of the task."""
        return sum(check.points for check in self.checks)

    @property
    def max_points(self) -> int:
        """Return the points that the task could get."""
        return sum(check.max_points for check in self.checks)

    @property
    def is_full(self) -> bool:
        """Whether the task has all points."""
        return self.points == self.max_points

    @property
    def summary(self) -> str:
        """Return a few words for the table."""
        if self.is_full:
            return "full marks"
        if self.state == BLANK:
            return "nothing to write: it uses your functions" if self.name == TRAINING else "not written yet"
        if self.mistakes:
            return "; ".join(mistake.name for mistake in self.mistakes)
        return "could not be run" if self.state == FAILED else "see below"

    def text(self) -> str:
        """Return what to say about the task, as lines of at most `WIDTH` characters."""
        lines = [f"{self.name}: {self.points} of {self.max_points} points"]
        if self.state == BLANK:
            lines += _wrapped(self.failure, "  ")
            return "\n".join(lines)
        if self.failure:
            lines += _wrapped(self.failure, "  ")
        else:
            messages: dict[str, list[str]] = {}
            for check in self.checks:
                if check.points < check.max_points and not check.is_consequence:
                    messages.setdefault(check.message, []).append(check.title)
            for message, titles in messages.items():
                lines += _wrapped(f"- {'; '.join(titles)}: {message}", "  ", "    ")
        for mistake in self.mistakes:
            lines += _wrapped(f"Likely mistake: {mistake.name}. {mistake.hint}", "  ")
        if self.example:
            lines += [f"  {line[: WIDTH - 2]}" for line in self.example.split("\n")]
        if self.output and not self.is_full:
            lines += [
                "  The code printed:",
                *(f"    {printable(line)[: WIDTH - 4]}" for line in self.output.splitlines()[:5]),
            ]
        return "\n".join(lines)


@dataclass(frozen=True)
class ExerciseResult:
    """The result of one submission.

    Attributes:
        name: folder or file, as the caller gave it.
        source: what was graded, such as "exercises.py".
        course: name of the course.
        tasks: the results of the tasks.
        notes: remarks for student and teacher.
        error: why nothing could be graded, or "".
    """

    name: str
    source: str
    course: str
    tasks: tuple[TaskResult, ...]
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def points(self) -> int:
        """Return the points of all tasks."""
        return sum(task.points for task in self.tasks)

    @property
    def max_points(self) -> int:
        """Return the points that all graded tasks could get."""
        return sum(task.max_points for task in self.tasks)

    @property
    def is_full(self) -> bool:
        """Whether all points were reached."""
        return not self.error and self.points == self.max_points

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it (docs/guide/exercises.md)."""
        tasks = [
            {
                "name": task.name,
                "title": task.title,
                "points": task.points,
                "max_points": task.max_points,
                "state": task.state,
                "checks": [asdict(check) for check in task.checks],
                "mistakes": [asdict(mistake) for mistake in task.mistakes],
                "example": task.example,
                "failure": task.failure,
                "output": task.output,
                "seconds": round(task.seconds, 3),
            }
            for task in self.tasks
        ]
        return {
            "format": FORMAT,
            "name": self.name,
            "source": self.source,
            "course": self.course,
            "points": self.points,
            "max_points": self.max_points,
            "tasks": tasks,
            "notes": list(self.notes),
            "error": self.error,
        }

    def text(self) -> str:
        """Return a table of the tasks, and what to say about those without full marks."""
        if self.error:
            return f"{self.name}: {self.error}"
        width = max(len(task.name) for task in self.tasks)
        space = WIDTH - width - 11
        lines = [f"Graded: {self.source}", ""]
        for task in self.tasks:
            points = f"{task.points:>3}/{task.max_points}"
            lines.append(f"{task.name:<{width}}  {points:<7}  {_shortened(task.summary, space)}")
        if len(self.tasks) > 1:
            lines += ["-" * (width + 8), f"{'total':<{width}}  {self.points:>3}/{self.max_points}"]
        wrong = [task for task in self.tasks if not task.is_full and task.state != BLANK]
        failures = {task.failure for task in wrong}
        if len(wrong) == len(self.tasks) > 1 and len(failures) == 1 and all(failures):  # such as a syntax error
            lines += ["", *_wrapped(f"All functions: {failures.pop()}", ""), ""]
        else:
            lines += ["", *("\n".join([task.text(), ""]) for task in wrong)]
        blank = [task for task in self.tasks if task.state == BLANK]
        if blank and not wrong:
            lines += _wrapped(f"Next: {blank[0].name}. {blank[0].failure}", "")
        if self.is_full and len(self.tasks) == 1:
            lines += _wrapped(f"Compare with chalknet's own code: {self.tasks[0].solution}.", "")
        elif self.is_full and self.tasks and self.tasks[-1].name == TRAINING and self.source.endswith(".py"):
            lines += [f"All functions work. Train the network with them: python {self.source}"]
        is_said = bool(wrong) and len(wrong) == len(self.tasks) and all(failures)
        notes = [note for note in self.notes if not (is_said and note.endswith(NOT_GRADED))]
        lines += [line for note in notes for line in _wrapped(f"Note: {note}", "")]
        return "\n".join(lines).rstrip()


def failed_task(course: Course, index: int, failure: str) -> TaskResult:
    """Return a task with 0 points whose code could not be run."""
    task = course.tasks[index]
    checks = tuple(CheckResult(check.title, 0, check.points) for check in task.checks)
    return TaskResult(task.name, task.title, checks, state=FAILED, failure=failure)


def class_rows(results: Sequence[ExerciseResult]) -> tuple[list[str], list[list[Any]]]:
    """Return the head and the rows of a table with one row for each submission."""
    names = list(dict.fromkeys(task.name for result in results for task in result.tasks))
    head = ["submission", "graded", *names, "points", "max_points", "notes"]
    rows = []
    for result in results:
        by_name = {task.name: task.points for task in result.tasks}
        remarks = " ".join([*([result.error] if result.error else []), *result.notes])
        rows.append(
            [
                result.name,
                result.source,
                *(by_name.get(name, 0) for name in names),
                result.points,
                result.max_points,
                remarks,
            ]
        )
    return head, rows


def class_text(results: Sequence[ExerciseResult]) -> str:
    """Return a table of submissions, and the mistakes that are most common in them."""
    names = _short_names([result.name for result in results])
    width = min(max(map(len, names)), 36)
    lines = []
    for name, result in zip(names, results, strict=True):
        remark = result.error or _class_remark(result)
        points = f"{result.points:>3}/{result.max_points}"
        lines.append(f"{name[-width:]:<{width}}  {points:<7}  {_shortened(remark, WIDTH - width - 11)}")
    counts: dict[str, int] = {}
    for result in results:
        for task in result.tasks:
            for mistake in task.mistakes:
                key = f"{task.name}: {mistake.name}"
                counts[key] = counts.get(key, 0) + 1
    if counts:
        lines += ["", "Most common mistakes"]
        ranked = sorted(counts.items(), key=lambda pair: -pair[1])[:8]
        lines += [f"  {name} ({count_of(count, 'submission')})" for name, count in ranked]
    return "\n".join(lines)


def _class_remark(result: ExerciseResult) -> str:
    """Return what a class table says about a submission that was graded."""
    lost = [task for task in result.tasks if not task.is_full]
    if not lost:
        return "full marks"
    if all(task.state == FAILED for task in lost) and len(lost) == len(result.tasks):
        return result.notes[0] if result.notes else lost[0].failure
    wrong = [task.name for task in lost if task.state != BLANK]
    n_blank = sum(task.state == BLANK and task.name != TRAINING for task in lost)
    parts = [f"points lost: {', '.join(wrong)}"] if wrong else []
    return "; ".join([*([f"not written: {n_blank}"] if n_blank else []), *parts]) or lost[0].summary


def _short_names(names: Sequence[str]) -> list[str]:
    """Return names of submissions without the folders that they have in common."""
    paths = [PurePath(name) for name in names]
    common = 0
    for parts in zip(*(path.parts[:-1] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        common += 1
    return [printable(str(PurePath(*path.parts[common:]))) for path in paths]


def _shortened(text: str, width: int) -> str:
    """Return a text in one line, with its end left out if it is too long."""
    return textwrap.shorten(printable(text), width, placeholder=" ...")


def _wrapped(text: str, indent: str, further: str | None = None) -> list[str]:
    """Return a text as lines of at most `WIDTH` characters."""
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        break_on_hyphens=False,
    )
