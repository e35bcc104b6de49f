"""Create and grade exercise folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chalknet.config import near_match
from chalknet.errors import ConfigError
from chalknet.exercises.courses import COURSES, course_named
from chalknet.exercises.folder import new_exercise_folder
from chalknet.exercises.grading import grade
from chalknet.exercises.process import Limits
from chalknet.exercises.results import ExerciseResult, failed_task
from chalknet.exercises.submission import course_of, read_submission, submission_of_cells
from chalknet.exercises.task import Course

SOURCES = ("file", "notebook")
MIN_MEMORY_MB = 256  # Python and NumPy do not start with less
MAX_SECONDS = 3600.0


def new_exercise(folder: str | Path, course: str = "writeup", *, overwrite: bool = False) -> tuple[str, ...]:
    """Write a folder of programming exercises: a Python file and a notebook with blanks, data, instructions.

    Args:
        folder: the folder. It is created if it does not exist.
        course: "writeup" or "part2".
        overwrite: whether exercise files that are in the folder may be replaced by empty ones.

    Returns:
        The names of the files.

    Raises:
        ConfigError: there is no such course.
        OutputError: the folder has exercise files and overwrite is False, or it cannot be written.
    """
    return new_exercise_folder(course_named(course), Path(folder), overwrite=overwrite)


def check_exercise(
    place: str | Path | Sequence[str],
    *,
    course: str = "",
    tasks: Sequence[str] = (),
    which: str = "",
    seconds: float = 10.0,
    memory_mb: int = 1024,
) -> ExerciseResult:
    """Grade the functions of an exercise folder, and name the likely mistakes.

    The code runs in a process of its own for each task, with limits on time and memory. It is not a
    sandbox: grade the work of strangers in a container.

    Args:
        place: a folder, a .py file, an .ipynb file, or the list of cells that a notebook has run
            (`In` in Jupyter).
        course: "writeup" or "part2"; by default the one whose functions are in the submission.
        tasks: names of the functions to grade; none for all.
        which: "file" or "notebook": which one of a folder is graded. By default the one with
            changed functions.
        seconds: time limit for each task.
        memory_mb: memory limit for each task in MiB.

    Returns:
        An `ExerciseResult`. Print its `text()`.

    Raises:
        ConfigError: a name or a limit is invalid, or there is nothing to grade.
    """
    chosen = _course(course, [place], tasks)
    limits = _checked(chosen, tasks, which, seconds, memory_mb)
    if isinstance(place, str | Path):
        name, submission = str(place), read_submission(chosen, place, which)
    else:
        name, submission = "notebook", submission_of_cells(place)
    graded = grade(chosen, submission.code, submission.source, submission.folder, tasks, limits)
    return ExerciseResult(name, submission.source, chosen.name, graded, submission.notes)


def check_exercises(
    places: Sequence[str | Path],
    *,
    course: str = "",
    tasks: Sequence[str] = (),
    which: str = "",
    seconds: float = 10.0,
    memory_mb: int = 1024,
    on_result: Callable[[ExerciseResult], None] | None = None,
) -> tuple[ExerciseResult, ...]:
    """Grade several submissions. One that cannot be read gets 0 points, and the others are graded.

    Args:
        places: folders or files.
        course: "writeup" or "part2"; by default the one whose functions are in the first submission
            that can be read.
        tasks: as for `check_exercise`.
        which: as for `check_exercise`.
        seconds: as for `check_exercise`.
        memory_mb: as for `check_exercise`.
        on_result: called after each submission, for example to show progress.

    Raises:
        ConfigError: a name or a limit is invalid.
    """
    chosen = _course(course, places, tasks)
    _checked(chosen, tasks, which, seconds, memory_mb)
    results = []
    for place in places:
        try:
            if not course:
                _refuse_other_course(place, chosen)
            result = check_exercise(
                place, course=chosen.name, tasks=tasks, which=which, seconds=seconds, memory_mb=memory_mb
            )
        except ConfigError as error:
            failed = tuple(
                failed_task(chosen, k, str(error))
                for k, task in enumerate(chosen.tasks)
                if not tasks or task.name in tasks
            )
            result = ExerciseResult(str(place), "", chosen.name, failed, error=str(error))
        results.append(result)
        if on_result:
            on_result(result)
    return tuple(results)


def _course(name: str, places: Sequence[str | Path | Sequence[str]], tasks: Sequence[str]) -> Course:
    """Return the course of a name, or else the one of the submissions, of the tasks, or the first one.

    Raises:
        ConfigError: there is no course of this name.
    """
    if name:
        return course_named(name)
    found = next((course for place in places if (course := course_of(place))), None)
    with_tasks = (course for course in COURSES.values() if set(tasks) <= {task.name for task in course.tasks})
    return found or next(with_tasks, next(iter(COURSES.values())))


def _refuse_other_course(place: str | Path, course: Course) -> None:
    """Raise ConfigError for a submission of another course, which would get 0 points without a reason."""
    other = course_of(place)
    if other and other.name != course.name:
        raise ConfigError(
            f"{place}: has the functions of course {other.name}, and this class is graded as {course.name}. Grade it "
            "separately."
        )


def _checked(course: Course, tasks: Sequence[str], which: str, seconds: float, memory_mb: int) -> Limits:
    """Return the limits.

    Raises:
        ConfigError: an argument is invalid.
    """
    names = [task.name for task in course.tasks]
    for task in tasks:
        other = next((one.name for one in COURSES.values() if task in one.function_names), "")
        if task not in names and other:
            raise ConfigError(
                f"{task} is a task of the course {other}, but the submission is graded as {course.name}. Choose one of "
                f"{', '.join(names)}, or the other course with course={other!r} (--course {other})."
            )
        if task not in names:
            raise ConfigError(f"task must be one of {', '.join(names)}, got {task!r}.{near_match(task, names)}")
    if which not in ("", *SOURCES):
        raise ConfigError(f"which must be one of {', '.join(SOURCES)}, got {which!r}.")
    if not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(
            f"seconds (--time-limit) must be a number above 0 and at most {MAX_SECONDS:g}, got {seconds}."
        )
    if memory_mb < MIN_MEMORY_MB:
        raise ConfigError(
            f"memory_mb (--memory-limit) must be an integer of at least {MIN_MEMORY_MB}, got {memory_mb}. "
            "Python and NumPy need this much."
        )
    return Limits(seconds, memory_mb)
