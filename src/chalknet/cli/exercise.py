"""`chalknet exercise`: new and check."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloup

from chalknet.cli.lazy import LazyGroup
from chalknet.cli.options import csv_option, json_option, out_option, overwrite_option
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE, FOLDER, Choice, Words
from chalknet.errors import ConfigError

if TYPE_CHECKING:
    from chalknet.exercises.results import ExerciseResult

COURSES = ("writeup", "part2")
FORMATS = ("gradescope", "otter", "nbgrader")
LOST = 3  # the exit code of --strict if points were lost
TASKS = (
    "softmax",
    "cross_entropy",
    "cross_entropy_gradient",
    "dense_forward",
    "dense_backward",
    "relu_forward",
    "relu_backward",
    "network_gradients",
    "momentum_update",
    "accuracy",
    "early_stopping",
    "windows",
    "add_windows",
    "conv2d_forward",
    "conv2d_backward",
    "max_pool_forward",
    "max_pool_backward",
    "dropout_forward",
    "dropout_backward",
    "l2_penalty",
    "conv_network_gradients",
    "train",
)


@cloup.group(cls=LazyGroup, lazy={})
def exercise() -> None:
    """Create and grade programming exercises.

    `chalknet exercise COMMAND --help` shows the options of a command.

    Examples:
        chalknet exercise new my-exercises
        chalknet exercise check my-exercises
    """


@exercise.command()
@cloup.argument("folder", type=FOLDER, metavar="FOLDER", help="Folder to create, or an empty folder.")
@cloup.option(
    "--course",
    type=Choice(COURSES),
    default="writeup",
    show_default=True,
    help="writeup: a network with one hidden layer; part2: a network for images, with a convolution.",
)
@overwrite_option("Replace exercise files in the folder, and with them the work of a student, by empty ones.")
def new(folder: str, course: str, overwrite: bool) -> None:
    """Create a folder of programming exercises.

    The folder gets a Python file and a notebook with functions to write, letters to train a network
    with, and README.md with the instructions. The functions of the course writeup are softmax,
    cross-entropy, dense layer, relu, backpropagation, the update with momentum, accuracy and early
    stopping. Those of part2 are windows of images, convolution, max pooling, dropout, the L2 penalty
    and backpropagation through them. At the end, the student trains a network with the functions.

    Examples:
        chalknet exercise new my-exercises
        chalknet exercise new second-part --course part2
    """
    from chalknet.exercises.courses import course_named
    from chalknet.workflows.exercise import new_exercise

    names = new_exercise(folder, course, overwrite=overwrite)
    chosen = course_named(course)
    echo(f"{folder}: wrote {', '.join(names)}.")
    points = sum(task.points for task in chosen.tasks if not task.uses_others)
    echo(
        f"{len(chosen.function_names)} functions to write, {points} points. Training with them (train) gives "
        f"{chosen.points - points} more. README.md says how to begin."
    )
    echo(f"Check your work: chalknet exercise check {folder}")


@exercise.command()
@cloup.argument(
    "places", nargs=-1, required=True, type=FILE, metavar="FOLDER...", help="Exercise folders, .py files or notebooks."
)
@cloup.option(
    "--course", type=Choice(COURSES), help="Course of the exercises.  [default: the one whose functions are found]"
)
@cloup.option_group(
    "What is graded",
    cloup.option(
        "--task",
        "tasks",
        multiple=True,
        type=Words(TASKS),
        metavar="NAME",
        help="Function to grade. May be repeated.  [default: all]",
    ),
    cloup.option("--file", "which", flag_value="file", default="", help="Grade exercises.py of a folder."),
    cloup.option(
        "--notebook",
        "which",
        flag_value="notebook",
        help="Grade exercises.ipynb of a folder.  [default: the one that was changed]",
    ),
    cloup.option(
        "--time-limit",
        "seconds",
        type=float,
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="Time limit of each function.",
    ),
    cloup.option(
        "--memory-limit",
        "memory_mb",
        type=int,
        default=1024,
        show_default=True,
        metavar="MB",
        help="Memory limit of each function in MiB.",
    ),
)
@cloup.option_group(
    "Output",
    json_option("Print JSON: an object, or a list for several submissions."),
    csv_option("Print CSV with one row for each submission."),
    cloup.option(
        "--format",
        "kind",
        type=Choice(FORMATS),
        help="Print the results in the JSON of a grading system. gradescope and otter take one submission.",
    ),
    out_option("Write JSON, CSV or the format of a grading system to a file. An existing file is replaced.", "FILE"),
    cloup.option("--strict", is_flag=True, help="Exit with code 3 unless all submissions have full marks."),
)
def check(
    places: tuple[str, ...],
    course: str | None,
    tasks: tuple[str, ...],
    which: str | None,
    seconds: float,
    memory_mb: int,
    as_json: bool,
    as_csv: bool,
    kind: str | None,
    out: str | None,
    strict: bool,
) -> int:
    """Grade exercises and name the likely mistakes.

    Each function is called with fixed arguments in a process of its own, with limits on time and
    memory. Shapes, values, gradients, large numbers and side effects are checked. The result names
    the likely mistake, gives a hint, and shows the smallest example that went wrong.

    The code of a submission is executed. The process is not a sandbox: grade the work of strangers in a
    container.

    Examples:
        chalknet exercise check my-exercises --task softmax
        chalknet exercise check class/* --csv --out points.csv
        chalknet exercise check submission --format gradescope --out results.json
    """
    from chalknet.workflows.exercise import check_exercise, check_exercises

    if sum([as_json, as_csv, kind is not None]) > 1:
        raise ConfigError("expected one of --json, --csv and --format, got several.")
    if out and not (as_json or as_csv or kind):
        raise ConfigError("--out needs to know what to write. Add --json, --csv or --format.")
    settings: dict[str, Any] = {
        "course": course or "",
        "tasks": tasks,
        "which": which or "",
        "seconds": seconds,
        "memory_mb": memory_mb,
    }
    if len(places) == 1 and kind != "gradescope":
        results: tuple[ExerciseResult, ...] = (check_exercise(places[0], **settings),)
    else:  # Gradescope shows a submission without files to the student as a result
        results = check_exercises(places, **settings, on_result=_progress(len(places)))
    text = _content(results, as_json=as_json, as_csv=as_csv, kind=kind)
    if out and text is not None:
        _write(out, text)
    if text is None or out:
        echo(_shown(results))
    else:
        echo(text, nl=False)
    return LOST if strict and not all(result.is_full for result in results) else 0


def _progress(n: int) -> Callable[[ExerciseResult], None]:
    """Return a function that prints one line on standard error after each of n submissions."""
    numbers = count(1)

    def show(result: ExerciseResult) -> None:
        echo(f"{next(numbers)} of {n}: {result.name}: {result.points}/{result.max_points}", err=True)

    return show


def _content(results: tuple[ExerciseResult, ...], *, as_json: bool, as_csv: bool, kind: str | None) -> str | None:
    """Return the results in the requested format, or None for the table.

    Raises:
        ConfigError: the format is unknown, or is for one submission and there are several.
    """
    from chalknet.exercises import formats
    from chalknet.exercises.results import class_rows
    from chalknet.formatting import csv_text

    if as_csv:
        head, rows = class_rows(results)
        return csv_text([head, *rows])
    if as_json:
        content: Any = results[0].as_dict() if len(results) == 1 else [result.as_dict() for result in results]
    elif kind is None:
        return None
    elif kind not in formats.FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(formats.FORMATS)}, got {kind!r}.")
    elif kind == formats.NBGRADER:
        content = formats.nbgrader(results)
    elif len(results) > 1:
        raise ConfigError(f"--format {kind} takes one submission, got {len(results)}. Use --csv or --json for a class.")
    else:
        content = formats.gradescope(results[0]) if kind == formats.GRADESCOPE else formats.otter(results[0])
    return json.dumps(content, indent=2) + "\n"


def _shown(results: tuple[ExerciseResult, ...]) -> str:
    from chalknet.exercises.results import class_text

    return results[0].text() if len(results) == 1 else class_text(results)


def _write(out: str, text: str) -> None:
    from chalknet.artifacts.atomic import refuse_existing, write_bytes

    path = Path(out)
    refuse_existing(path, overwrite=True)
    write_bytes(path, text.encode("utf-8"))
