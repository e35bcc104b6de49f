"""Name the likely mistakes: those of the catalog, and those that the results themselves show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from chalknet.exercises.calls import CallResult, run_case
from chalknet.exercises.expectations import expected, is_right, tolerance
from chalknet.exercises.parts import Returned, agree, described, returned, same_message
from chalknet.exercises.results import NamedMistake
from chalknet.exercises.task import VALUES, Mistake, Task

CHANGES_INPUT = NamedMistake(
    "changes its inputs",
    "The caller's arrays are different after the call, so a second call sees other numbers. `a -= b` and `a[...] = b` "
    "change the array a itself. `a = a - b` creates a new one, and so does a.copy(). A copy of a dictionary still "
    "holds the same arrays.",
)
REMEMBERS = NamedMistake(
    "depends on earlier calls",
    "The same arguments gave another result in a second call. A function of this course uses its arguments only: "
    "no global variables, and no random numbers.",
)
RETURNS_NOTHING = NamedMistake("nothing returned", "The function returns None. Is a return statement missing?")
SHAPES = "shapes that do not fit"
SHAPES_HINT = "NumPy cannot combine arrays of these shapes element by element. Print the shapes."
LOST_AXIS = NamedMistake(
    SHAPES,
    f"{SHAPES_HINT} A sum or maximum over axis 1 has shape (B,). With keepdims=True it has shape (B, 1), and fits an "
    "array of shape (B, K).",
)
ELEMENTWISE = NamedMistake(SHAPES, f"{SHAPES_HINT} `*` multiplies element by element. A product of matrices is `@`.")

# Patterns of the messages of NumPy and Python, and what usually causes them.
OF_MESSAGES = (
    (
        "could not be broadcast|shape mismatch",
        NamedMistake(
            SHAPES,
            f"{SHAPES_HINT} Compare their lengths from the last axis on: two lengths fit if they are equal, or if one "
            "of them is 1.",
        ),
    ),
    (
        "not aligned|matmul: Input operand",
        NamedMistake(
            "shapes that do not fit in a product",
            "(a, b) @ (b, c) is (a, c): the inner lengths must be equal. Write the shapes of both arrays on paper. "
            "Exchanging the two arrays, or transposing one of them with .T, gives the other possible products.",
        ),
    ),
    (
        "truth value of an array",
        NamedMistake(
            "a whole array in if, and, max or min",
            "These words of Python need one True or False, and a comparison of an array gives an array of them. NumPy "
            "has functions that work element by element, such as np.maximum and np.where.",
        ),
    ),
)


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
        if is_explained or all(is_right(task, found, k, mistake.part) for k in indices):
            continue
        for which in range(len(mistake.functions)):
            if _explains(task, mistake, which, found, indices, mistake.part):
                chosen[key] = mistake, which
                break
    names = [mistake for mistake, _ in chosen.values()]
    return (*names, *(one for one in task.mistakes if one.symptom and one not in names and one.symptom(found)))


def _explains(
    task: Task, mistake: Mistake, which: int, found: Sequence[Returned], indices: Sequence[int], part: str
) -> bool:
    """Return whether a function of a mistake returns the same as the student's in some cases."""
    other = mistaken(task, mistake, which)
    if not all(agree(found[k], other[k], part, task.optional, tolerance(found[k], task, k)) for k in indices):
        return False
    # Errors alone have many causes, so their messages have to agree too.
    if all(found[k].outcome.error for k in indices):
        return all(same_message(found[k], other[k]) for k in indices)
    return True


def likely_mistakes(task: Task, found: Sequence[Returned]) -> tuple[NamedMistake, ...]:
    """Return the likely mistakes of a function that does not have full marks.

    Args:
        task: the task.
        found: what the function returned for each of `task.all_cases`.
    """
    names = [NamedMistake(one.name, one.hint) for one in named(task, found)]
    unread = next((one for one in found if one.problem), None)
    if unread:
        names.append(_wrong_results(task, unread))
    if any(one.outcome.changed for one in found):
        names.append(CHANGES_INPUT)
    elif not unread and not agree(found[-1], found[0], "", (), 0.0):
        names.append(REMEMBERS)
    if names:
        return tuple(names)
    parts = [part for one in found for part in one.parts.values()]
    if parts and all(part.type == "NoneType" for part in parts):
        return (RETURNS_NOTHING,)
    for pattern, mistake in OF_MESSAGES:
        for one in found:
            if re.search(pattern, one.outcome.message):
                return (_of_shapes(one.outcome) if mistake.name == SHAPES else mistake,)
    factor = _factor(task, found)
    return (factor,) if factor else ()


def _wrong_results(task: Task, found: Returned) -> NamedMistake:
    """Return the mistake of a call that did not return a tuple with all outputs of the task."""
    if found.outcome.value == {"other": "NoneType"}:
        return RETURNS_NOTHING
    *first, last = task.outputs
    return NamedMistake(
        "wrong number of results",
        f"The function must return {', '.join(first)} and {last}, in this order: `return {', '.join(task.outputs)}`. "
        f"Yours returns {described(found.outcome.value)}.",
    )


def _of_shapes(outcome: CallResult) -> NamedMistake:
    """Return the hint for shapes that do not fit, by the shapes in NumPy's message and the line that raised it."""
    found = re.findall(r"\((\d+(?:, ?\d+)*),?\)", outcome.message)
    shapes = [tuple(map(int, text.split(","))) for text in found]
    if len(shapes) == 2 and {len(shape) for shape in shapes} == {1, 2}:
        row, matrix = sorted(shapes, key=len)
        if row[0] == matrix[0]:
            return LOST_AXIS
    is_product = re.search(r"(?<!\*)\*(?![*=])", outcome.code) or "multiply(" in outcome.code
    is_pair = len(shapes) == 2 and all(len(shape) == 2 for shape in shapes)
    if is_product and is_pair and set(shapes[0]) & set(shapes[1]):
        return ELEMENTWISE
    return next(mistake for _, mistake in OF_MESSAGES if mistake.name == SHAPES)


def _factor(task: Task, found: Sequence[Returned]) -> NamedMistake | None:
    """Return a mistake for numbers that are all too large or too small by one factor."""
    ratios = []
    for k in [k for k, case in enumerate(task.all_cases) if case.group == VALUES]:
        for name, right in expected(task)[k].parts.items():
            part = found[k].parts.get(name)
            if part is None or part.value is None or right.value is None or part.value.shape != right.value.shape:
                return None
            usable = np.abs(right.value) > 1e-9
            with np.errstate(all="ignore"):
                ratios.append((part.value[usable] / right.value[usable]).ravel())
    every = np.concatenate(ratios) if ratios else np.empty(0)
    if not every.size or not np.isfinite(every).all() or np.ptp(every) > 1e-6 * abs(every.mean()):
        return None
    ratio = float(every.mean())
    if abs(ratio - 1) < 1e-6 or abs(ratio) < 1e-6:  # zeros are no multiple of anything
        return None
    return NamedMistake(
        f"a factor of {ratio:.6g}", "Every number is the expected one times this factor. Compare with the formula."
    )
