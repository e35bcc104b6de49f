"""Find the code of a submission: a Python file, a notebook, or the cells that a notebook has run."""

from __future__ import annotations

import ast
import builtins
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chalknet.errors import ConfigError
from chalknet.exercises.courses import COURSES
from chalknet.exercises.folder import CELLS, FILE, NOTEBOOK, function_sources
from chalknet.exercises.results import NOT_GRADED
from chalknet.exercises.task import Course
from chalknet.files import read_bytes

MAX_BYTES = 2**23  # of a file or notebook, which may hold plots
MAX_CODE = 2**18  # characters of Python, which take hundreds of times as much memory when they are parsed
PLOTTING = ("matplotlib", "seaborn", "plotly", "IPython")
REPORTED = ("chalknet", "torch", "tensorflow", "jax", "keras", "sklearn", "scipy", "autograd")
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what ast.parse raises
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Submission:
    """The code to grade.

    Attributes:
        source: what it was read from, such as "exercises.py".
        folder: working directory for the code.
        code: Python source.
        notes: remarks for student and teacher.
    """

    source: str
    folder: Path
    code: str
    notes: tuple[str, ...] = ()


def read_submission(course: Course, place: str | Path, which: str = "") -> Submission:
    """Read the code of a folder, a Python file or a notebook.

    Of a folder, the one of exercises.py and exercises.ipynb is read in which a function was changed;
    exercises.py if none was.

    Args:
        course: the course, which knows the functions.
        place: a folder, a .py file or an .ipynb file.
        which: "file" or "notebook" to choose from a folder, or "".

    Raises:
        ConfigError: there is no such file, it cannot be read, or both files were changed.
    """
    path = Path(place)
    if path.is_file():
        if path.suffix not in (".py", ".ipynb"):
            raise ConfigError(f"{path}: expected a folder, a .py file or an .ipynb file.")
        return _read(path)
    if not path.is_dir():
        raise ConfigError(f"{path}: there is no such folder. Create one with `chalknet exercise new {path}`.")
    found = {name: path / name for name in (FILE, NOTEBOOK) if (path / name).is_file()}
    if which:
        wanted = FILE if which == "file" else NOTEBOOK
        if wanted not in found:
            raise ConfigError(f"{path}: has no {wanted}.")
        return _read(found[wanted])
    if not found:
        raise ConfigError(f"{path}: has no {FILE} and no {NOTEBOOK}. `chalknet exercise new FOLDER` creates them.")
    if len(found) == 1:
        return _read(next(iter(found.values())))
    both = {name: _read(one) for name, one in found.items()}
    changed = [name for name, one in both.items() if is_changed(course, one.code)]
    if len(changed) == 2:
        raise ConfigError(
            f"{path}: functions were changed in {FILE} and in {NOTEBOOK}. Choose which='file' (--file) or "
            f"which='notebook' (--notebook)."
        )
    return both[changed[0] if changed else FILE]


def submission_of_cells(cells: Sequence[str]) -> Submission:
    """Return a submission from the cells that a notebook has run, in their order.

    A notebook can run for days, so only the last cells are used if there are very many.
    """
    lengths = np.cumsum([len(cell) for cell in reversed(cells)])
    cells = list(cells)[len(cells) - int(np.searchsorted(lengths, MAX_CODE, "right")) :]
    code, notes = definitions(cells)
    return Submission(CELLS, Path.cwd(), code, (*notes, *_import_notes(code)))


def course_of(place: str | Path | Sequence[str]) -> Course | None:
    """Return the course whose functions a submission defines, or None if it defines none of any course.

    A course can give functions that are tasks of another one, so it is the course of which the
    largest part is defined.

    Args:
        place: as for `read_submission`, or the cells of a notebook.
    """
    if isinstance(place, str | Path):
        path = Path(place)
        files = [path] if path.is_file() else [one for name in (FILE, NOTEBOOK) if (one := path / name).is_file()]
        try:
            code = _read(files[0]).code if files else ""
        except ConfigError:  # which is reported when the submission itself is read
            code = ""
    else:
        code = "\n".join(place)
    defined = {one or other for one, other in re.findall(r"^(?:def +(\w+)|(\w+) *=)", code, re.MULTILINE)}
    parts = {
        name: len(defined & set(course.function_names)) / len(course.function_names) for name, course in COURSES.items()
    }
    best = max(parts, key=parts.__getitem__)
    return COURSES[best] if parts[best] else None


def is_changed(course: Course, code: str) -> bool:
    """Return whether a function differs from the blank one, apart from comments and docstrings."""
    try:
        functions = _functions(code)
    except UNREADABLE:
        return True  # a blank file has no syntax error
    blank = {name: _dump(ast.parse(source).body[0]) for name, source in function_sources(course).items()}
    return any(functions[name] != blank[name] for name in blank if name in functions)


def _read(path: Path) -> Submission:
    try:
        content = read_bytes(path, MAX_BYTES)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file in UTF-8.") from None
    if path.suffix == ".py":
        _check_length(path, text)
        return Submission(path.name, path.parent, text, (*_syntax_notes(path.name, text), *_import_notes(text)))
    cells = _cells(path, text)
    _check_length(path, "".join(cells))
    code, notes = definitions(cells)
    return Submission(path.name, path.parent, code, (*notes, *_import_notes(code)))


def _check_length(path: Path, code: str) -> None:
    """Raise ConfigError for a source that is too long to be parsed with little memory."""
    if len(code) > MAX_CODE:
        raise ConfigError(f"{path}: has {len(code):,} characters of code, and at most {MAX_CODE:,} are graded.")


def _cells(path: Path, text: str) -> list[str]:
    """Return the sources of the code cells of a notebook.

    Raises:
        ConfigError: it is no notebook.
    """
    try:
        cells = json.loads(text)["cells"]
        return [
            source if isinstance(source := cell["source"], str) else "".join(map(str, source))
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"{path}: is not a notebook of Jupyter.") from None


def definitions(cells: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return imports, functions, classes and constants of cells as one source, and notes.

    What a cell computes or prints is left out, so that grading does not train the network. Of
    several definitions with one name, the last one counts, as in a notebook.
    """
    kept, notes, known = [], [], set(dir(builtins))
    for number, cell in enumerate(cells, start=1):
        text = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in cell.split("\n"))
        if cell.lstrip().startswith("%%"):
            continue
        try:
            body = ast.parse(text).body
        except UNREADABLE as error:
            line = getattr(error, "lineno", None)
            if any(word in text for word in ("def ", "class ")):
                where = f", line {line}" if line else ""
                notes.append(f"code cell {number}{where} was left out: {getattr(error, 'msg', error)}.")
            continue
        for node in body:
            # Libraries for plots are slow to import, and no solution needs them.
            if _is_definition(node) and not _is_for_plots(node) and not _needed_now(node) - known:
                kept.append(_segment(text, node))
                known |= _defined(node)
    return "\n\n\n".join(kept) + "\n", tuple(notes)


def _is_definition(node: ast.stmt) -> bool:
    """Return whether a statement defines something without computing it."""
    if isinstance(node, DEFINITIONS):
        return True
    return isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and not _calls(node.value)


def _is_for_plots(node: ast.stmt) -> bool:
    """Return whether a statement imports nothing but libraries for plots."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    else:
        return False
    return all(name.partition(".")[0] in PLOTTING for name in names)


def _needed_now(node: ast.stmt) -> set[str]:
    """Return the names that a definition needs at once: not those in the body of a function."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [one for one in (*node.args.defaults, *node.args.kw_defaults) if one is not None]
        expressions: list[ast.expr] = [*node.decorator_list, *defaults]
    elif isinstance(node, ast.ClassDef):
        expressions = [*node.decorator_list, *node.bases]
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        expressions = [node.value, *targets]
    else:
        return set()
    return {name for one in expressions for name in _loaded(one)}


def _loaded(node: ast.AST) -> set[str]:
    """Return the names that an expression reads when it is evaluated."""
    if isinstance(node, ast.Lambda):
        return set()
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    return {name for child in ast.iter_child_nodes(node) for name in _loaded(child)}


def _defined(node: ast.stmt) -> set[str]:
    """Return the names that a definition gives a value."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _calls(node: ast.AST) -> bool:
    """Return whether an expression calls a function when it is evaluated."""
    if isinstance(node, ast.Lambda):
        return False
    return isinstance(node, ast.Call | ast.Await) or any(_calls(child) for child in ast.iter_child_nodes(node))


def _segment(text: str, node: ast.stmt) -> str:
    """Return the lines of a statement, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(one.lineno for one in decorators)])
    return "\n".join(text.split("\n")[first - 1 : node.end_lineno])


def _functions(code: str) -> dict[str, str]:
    """Return the functions of a source by name, in a form without comments and docstrings."""
    return {node.name: _dump(node) for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}


def _dump(node: ast.stmt) -> str:
    assert isinstance(node, ast.FunctionDef)
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return "".join(ast.dump(one) for one in (node.args, *body))


def _syntax_notes(name: str, code: str) -> tuple[str, ...]:
    """Return a note if no function of a file can be graded, because the file is not Python."""
    try:
        ast.parse(code)
    except UNREADABLE as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        return (f"{name}{where}: {type(error).__name__}: {getattr(error, 'msg', error)}. {NOT_GRADED}",)
    return ()


def _import_notes(code: str) -> tuple[str, ...]:
    """Return a note if the code imports a library that could solve the tasks for the student.

    `import chalknet` is part of the notebook, so what counts is which attributes of it are used.
    """
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except UNREADABLE:
        return ()
    names = [name for node in nodes for name in _imported(node) if name != "chalknet"]
    used = sorted({name.partition(".")[0] for name in names} & set(REPORTED))
    return (f"the code imports {', '.join(used)}. The rules allow NumPy only.",) if used else ()


def _imported(node: ast.AST) -> list[str]:
    """Return the modules that a node of the source imports or uses."""
    if isinstance(node, ast.Import):
        # `import chalknet as c` would hide what is used.
        return [f"{alias.name}.{alias.asname}" if alias.asname else alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module or ''}.*"]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "chalknet":
        return [] if node.attr == "check_exercise" else [f"chalknet.{node.attr}"]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return [str(node.args[0].value) + "."] if called in ("import_module", "__import__") else []
    return []
