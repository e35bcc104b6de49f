"""Write an exercise folder: the Python file and the notebook with blanks, letters, instructions."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.artifacts.atomic import new_folder, write_files
from chalknet.data.glyphs import load_glyphs
from chalknet.data.splits import split_dataset
from chalknet.errors import OutputError
from chalknet.exercises.task import Course

FILE, NOTEBOOK, LETTERS, README = "exercises.py", "exercises.ipynb", "letters.npz", "README.md"
CELLS = "cells of this notebook"  # what a notebook grades that checks its own cells
SIZES = {"train": 1000, "valid": 300, "test": 300}
SPLIT_SEED = 1
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader cuts out what is between these lines
BLANK = "    raise NotImplementedError\n"


def new_exercise_folder(course: Course, folder: Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write the files of a course into a folder, and return their names.

    Args:
        course: the course.
        folder: a new or empty folder.
        overwrite: whether files of an earlier exercise folder may be replaced.

    Raises:
        OutputError: the folder holds one of the files and overwrite is False, or cannot be written.
    """
    names = (FILE, NOTEBOOK, LETTERS, README)
    present = [name for name in names if (folder / name).exists() or (folder / name).is_symlink()]
    if present and not overwrite:
        raise OutputError(
            f"{folder}: already has {', '.join(present)}, which may hold a student's work. Choose another folder, or "
            "give overwrite=True (--overwrite) to replace these files with empty exercises."
        )
    links = [name for name in present if (folder / name).is_symlink() or not (folder / name).is_file()]
    if links:
        raise OutputError(f"{folder / links[0]}: is not a regular file, so it is not replaced. Choose another folder.")
    texts = (exercise_file(course).encode(), notebook(course).encode(), letters_file(), readme(course).encode())
    with new_folder(folder) as place:
        write_files(place, dict(zip(names, texts, strict=True)))
    return names


def exercise_file(course: Course) -> str:
    """Return exercises.py with its blanks."""
    return _template(course, "py").replace("# TRAIN\n", training_source(course))


@lru_cache(maxsize=8)
def training_source(course: Course) -> str:
    """Return the source of the training loop without type annotations, which the exercises do not use."""
    source = inspect.getsource(course.tasks[-1].reference)
    source = re.sub(r": (?:int|float) = ", "=", source).replace(": Mapping[str, Any]", "")
    return source.replace(": dict[str, Any] =", " =").replace(" -> dict[str, Any]:", ":")


@lru_cache(maxsize=8)
def function_sources(course: Course) -> dict[str, str]:
    """Return the blank functions of a course by name, as their source."""
    names = course.function_names
    return {name: source for name, source in _sources(course).items() if name in names}


def given_sources(course: Course) -> dict[str, str]:
    """Return the functions that a course gives, apart from the training loop, as their source."""
    names = {task.name for task in course.tasks}
    return {name: source for name, source in _sources(course).items() if name not in names}


def _sources(course: Course) -> dict[str, str]:
    """Return all functions of exercises.py by name, as their source."""
    text = exercise_file(course)
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_source_segment(text, node) or "" for node in nodes}


def readme(course: Course) -> str:
    """Return the instructions."""
    rows = [f"| `{task.name}` | {task.title} | {task.points} |" for task in course.tasks]
    table = "\n".join(["| function | task | points |", "|---|---|---|", *rows, f"| total | | {course.points} |"])
    text = _template(course, "README.md").replace("POINTS_TABLE", table)
    for split, size in SIZES.items():
        text = text.replace(f"N_{split.upper()}", str(size))
    return text


@lru_cache(maxsize=1)
def letters_file() -> bytes:
    """Return letters.npz: some of the built-in letters, with other fonts in each split."""
    data = load_glyphs()
    splits = split_dataset(data, "group", 0.6, 0.2, SPLIT_SEED).named()
    rng = np.random.default_rng(SPLIT_SEED)
    arrays: dict[str, Any] = {"class_names": np.array(data.class_names)}
    for name, size in SIZES.items():
        chosen = rng.choice(splits[name], size, replace=False)
        arrays |= {f"{name}_images": data.inputs[chosen], f"{name}_labels": data.labels[chosen].astype(np.uint8)}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def notebook(course: Course) -> str:
    """Return exercises.ipynb: for each task an explanation, the function and a check.

    The cells have the metadata of nbgrader: functions are solutions, and checks are graded by the
    points that they return.
    """
    head, *sections = re.split(r"^## (?=\w+$)", _template(course, "notebook.md"), flags=re.MULTILINE)
    explained = dict(section.split("\n", 1) for section in sections)
    sources = function_sources(course)
    cells = [_markdown("introduction", head), _code("setup", SETUP.replace("COURSE", course.name))]
    given = given_sources(course)
    loading = given.pop("load_letters")
    if given:
        cells += [_markdown("about-given", GIVEN_TEXT), _code("given", "\n\n\n".join(given.values()))]
    for task in course.tasks:
        cells.append(_markdown(f"about-{task.name}", f"## {task.title}\n{explained[task.name]}"))
        if task.name == "train":
            cells.append(_code("training-loop", loading + "\n\n\n" + training_source(course).rstrip()))
        else:
            blank = sources[task.name] + "\n"
            source = blank.replace(BLANK, f"    {BEGIN}\n{BLANK}    {END}\n").rstrip()
            cells.append(_code(task.name, source, _nbgrader(task.name, is_solution=True)))
        graded = _nbgrader(f"check-{task.name}", is_solution=False, points=task.points)
        cells.append(_code(f"check-{task.name}", f'check("{task.name}")', graded))
    # In the last section, each paragraph and the code after it are a markdown cell and a code cell.
    *parts, _ = re.split(r"^```python\n(.*?)^```\n*", explained["plots"], flags=re.MULTILINE | re.DOTALL)
    for k, (text, code) in enumerate(zip(parts[::2], parts[1::2], strict=True), start=1):
        title = "## What the network has learned\n" if k == 1 else ""
        cells += [_markdown(f"about-plot-{k}", title + text), _code(f"plot-{k}", code)]
    content = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


SETUP = '''import matplotlib.pyplot as plt
import numpy as np

import chalknet


def check(task):
    """Grade one function, print the result, and return its points."""
    # In is Jupyter's list of the cells that have run.
    result = chalknet.check_exercise(In, tasks=[task], course="COURSE")
    print(result.text())
    return result.points'''
GIVEN_TEXT = """## Given functions

These are functions of the first course. There is nothing to write in this cell. Run it, and use them
in your own functions.
"""


def _markdown(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": _cell_id(name), "metadata": {}, "source": _lines(text)}


def _code(name: str, text: str, nbgrader: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": _cell_id(name),
        "metadata": {"nbgrader": nbgrader} if nbgrader else {},
        "outputs": [],
        "source": _lines(text),
    }


def _nbgrader(name: str, *, is_solution: bool, points: int = 0) -> dict[str, Any]:
    """Return the metadata of a cell for nbgrader, schema version 3."""
    found: dict[str, Any] = {
        "grade": not is_solution,
        "grade_id": name,
        "locked": not is_solution,
        "schema_version": 3,
        "solution": is_solution,
        "task": False,
    }
    return found if is_solution else {**found, "points": points}


def _cell_id(name: str) -> str:
    return name.replace("_", "-")


def _lines(text: str) -> list[str]:
    """Return a text as the list of lines that a notebook stores."""
    return text.strip("\n").splitlines(keepends=True)


def _template(course: Course, kind: str) -> str:
    return (files("chalknet.exercises") / "templates" / f"{course.name}.{kind}.txt").read_text(encoding="utf-8")
