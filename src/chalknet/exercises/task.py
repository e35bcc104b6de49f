"""The parts of a course: tasks, the checks that give points, and the mistakes that are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chalknet.exercises.calls import Case
from chalknet.exercises.parts import Returned

SHAPE, VALUES, GRADIENT, CLEAN = "shape", "values", "gradient", "clean"
AGAIN = "again"  # the group of the first case, called once more after all others


@dataclass(frozen=True, eq=False)
class Check:
    """One line of the grading scheme of a task. A check gives all of its points or none.

    Attributes:
        title: what is checked, as the results show it.
        points: points of the check.
        kind: SHAPE (types, dtypes and shapes), VALUES (equal to the reference), GRADIENT (equal to
            central differences) or CLEAN (arguments unchanged, and the same result again).
        groups: the groups of cases that count.
        part: pattern of the outputs that count, such as "grad_weight" or "parameters[W*]"; "" for
            all.
    """

    title: str
    points: int
    kind: str
    groups: tuple[str, ...] = ()
    part: str = ""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A typical wrong solution.

    Attributes:
        name: what is wrong, in a few words.
        hint: sentences that lead to the right solution without giving it.
        functions: functions that compute what this mistake computes. One of them has to agree with
            the student's function.
        groups: the groups of cases in which it has to agree. Mistakes of a task with the same
            groups and part exclude each other, and the first one that agrees is named.
        part: pattern of the outputs in which it has to agree, or "" for all.
        symptom: function that recognizes the mistake from what all cases returned, beside other
            mistakes. None if only `functions` do.
    """

    name: str
    hint: str
    functions: tuple[Callable[..., Any], ...]
    groups: tuple[str, ...] = (VALUES,)
    part: str = ""
    symptom: Callable[[Sequence[Returned]], bool] | None = None


@dataclass(frozen=True, eq=False)
class GradientCheck:
    """How the gradient of a task is compared with central differences.

    Attributes:
        group: the group whose first case is checked.
        loss: function that maps arguments to the loss; computed with the reference solutions.
        argument_of: output -> the argument that it is the gradient of. Keys may be "part[key]".
        extra: arguments -> further arguments of `loss`, such as a bias that the task does not need.
        own_function: name of the student's forward function, or "".
        own_arguments: arguments -> the arguments of the student's forward function.
        own_loss: (value of that function, arguments) -> the loss.
    """

    group: str
    loss: Callable[[Mapping[str, Any]], float]
    argument_of: Mapping[str, str]
    extra: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _: {}
    own_function: str = ""
    own_arguments: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda arguments: arguments
    own_loss: Callable[[Any, Mapping[str, Any]], float] = lambda value, _: float(value)


@dataclass(frozen=True, eq=False)
class Task:
    """A function to write, or the training at the end, for which nothing is to be written.

    Attributes:
        name: name of the function.
        title: what it is, in a few words.
        outputs: names of what it returns; one name if it is no tuple.
        reference: the function with the right values, made of the package's own functions.
        cases: the calls with which it is checked, the smallest of each group first.
        checks: the grading scheme.
        mistakes: what is named.
        gradient: how its gradient is checked, if it has one.
        helpers: other functions of the course that are replaced by reference solutions while this
            one is graded, so that mistakes in them cost no points here.
        solution: where the package computes the same, as "FUNCTION in FILE".
        optional: patterns of outputs that may have any value. They may not be missing.
        uses_others: whether there is nothing to write, and the task uses the other functions of the
            student.
    """

    name: str
    title: str
    outputs: tuple[str, ...]
    reference: Callable[..., Any]
    cases: tuple[Case, ...]
    checks: tuple[Check, ...]
    mistakes: tuple[Mistake, ...]
    solution: str
    gradient: GradientCheck | None = None
    helpers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    uses_others: bool = False

    @property
    def points(self) -> int:
        """Return the points of all checks."""
        return sum(check.points for check in self.checks)

    @cached_property
    def all_cases(self) -> tuple[Case, ...]:
        """Return the cases, and the first one once more, which shows whether a call changes the next."""
        first = self.cases[0]
        return (*self.cases, Case(AGAIN, first.arguments, first.then, first.feedback))


@dataclass(frozen=True, eq=False)
class Course:
    """The tasks of one course, in the order in which a student meets them.

    Attributes:
        name: its name on the command line.
        title: its title.
        tasks: the tasks.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]

    @property
    def points(self) -> int:
        """Return the points of all tasks."""
        return sum(task.points for task in self.tasks)

    @property
    def function_names(self) -> tuple[str, ...]:
        """Return the names of the functions to write."""
        return tuple(task.name for task in self.tasks if not task.uses_others)
