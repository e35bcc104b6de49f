"""Results as Gradescope, otter-grader and nbgrader read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chalknet.exercises.folder import NOTEBOOK
from chalknet.exercises.results import ExerciseResult, TaskResult

GRADESCOPE, OTTER, NBGRADER = "gradescope", "otter", "nbgrader"
FORMATS = (GRADESCOPE, OTTER, NBGRADER)


def gradescope(result: ExerciseResult) -> dict[str, Any]:
    """Return the content of Gradescope's results.json, with one test for each task.

    Format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
    """
    tests = [
        {
            "name": f"{task.name}: {task.title}",
            "number": str(number),
            "score": task.points,
            "max_score": task.max_points,
            "status": "passed" if task.is_full else "failed",
            "output": "" if task.is_full else task.text(),
            "output_format": "text",
            "visibility": "visible",
        }
        for number, task in enumerate(result.tasks, start=1)
    ]
    found: dict[str, Any] = {"score": result.points, "visibility": "visible", "output_format": "text", "tests": tests}
    said = [*([result.error] if result.error else []), *([f"Graded: {result.source}"] if result.tasks else [])]
    found["output"] = "\n".join(said)
    found["extra_data"] = {"course": result.course, "notes": list(result.notes)}  # not shown to students
    return found


def otter(result: ExerciseResult) -> dict[str, Any]:
    """Return results in the JSON that otter-grader's `GradingResults.from_ottr_json` reads.

    A task is a test file, and a check is a test case.
    """
    return {
        "test_file_results": [
            {
                "filename": f"{task.name}.py",
                "points": None,
                "test_case_results": [
                    {
                        "passed": check.points == check.max_points,
                        "error": check.message or None,
                        "test_case": {
                            "name": f"{task.name} - {check.title}",
                            "code": None,
                            "hidden": False,
                            "points": check.max_points,
                            "success_message": None,
                            "failure_message": _likely(task) or None,
                        },
                    }
                    for check in task.checks
                ],
            }
            for task in result.tasks
        ]
    }


def nbgrader(results: Sequence[ExerciseResult]) -> dict[str, Any]:
    """Return the points of each graded cell, by the names of nbgrader's gradebook.

    nbgrader stores a submission in STUDENT/ASSIGNMENT, so that the names are those of the folders.
    docs/guide/exercises.md has the script that writes the points into a gradebook.
    """
    return {
        "notebook": NOTEBOOK.removesuffix(".ipynb"),
        "grades": [
            {
                "student": _folder(result).parent.name,
                "assignment": _folder(result).name,
                "cell": f"check-{task.name}",
                "auto_score": float(task.points),
                "max_score": float(task.max_points),
                "comment": "" if task.is_full else task.text(),
            }
            for result in results
            for task in result.tasks
        ],
    }


def _folder(result: ExerciseResult) -> Path:
    """Return the folder of a submission that was given as a folder or a file."""
    path = Path(result.name).absolute()
    return path.parent if path.suffix in (".py", ".ipynb") else path


def _likely(task: TaskResult) -> str:
    return " ".join(f"Likely mistake: {one.name}. {one.hint}" for one in task.mistakes)
