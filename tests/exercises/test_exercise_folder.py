"""The exercise folder: its files agree with the tasks, are never overwritten silently, and are graded."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from student_code import HEAD, RIGHT, file_of

from chalknet.errors import ConfigError, OutputError
from chalknet.exercises import reference
from chalknet.exercises.courses import COURSES
from chalknet.exercises.folder import (
    FILE,
    LETTERS,
    NOTEBOOK,
    exercise_file,
    function_sources,
    letters_file,
    notebook,
    readme,
    training_source,
)
from chalknet.exercises.letter_training import train
from chalknet.exercises.submission import definitions, is_changed, read_submission, submission_of_cells
from chalknet.workflows.exercise import check_exercise, check_exercises, new_exercise

WRITEUP = COURSES["writeup"]
ROOT = Path(__file__).resolve().parents[2]
DERIVATION = (ROOT / "docs" / "derivation.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("exercise") / "mine"
    assert new_exercise(place) == (FILE, NOTEBOOK, LETTERS, "README.md")
    return place


def cells_of(text, kind="code"):
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == kind]


def with_functions(text, functions):
    """The notebook with its blank functions replaced."""
    content = json.loads(text)
    for cell in content["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if name in functions:
            cell["source"] = functions[name]
    return json.dumps(content)


def test_the_file_has_a_blank_for_every_task():
    tree = ast.parse(exercise_file(WRITEUP))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert list(functions) == [task.name for task in WRITEUP.tasks[:-1]] + ["load_letters", "train"]
    for task in WRITEUP.tasks[:-1]:
        assert ast.unparse(functions[task.name].body[-1]) == "raise NotImplementedError"
        assert len(functions[task.name].body) == 2
        assert [argument.arg for argument in functions[task.name].args.args] == list(task.cases[0].arguments)


@pytest.mark.parametrize("name", RIGHT)
def test_the_example_of_a_docstring_is_right(name):
    text = ast.get_docstring(ast.parse(function_sources(WRITEUP)[name]).body[0])
    found = re.search(r"Example:\n(.*?)-> (.*?)\n\n", text, re.DOTALL)
    if name == "network_gradients":
        assert found is None
        return
    space = {"np": np, **reference.functions()}
    actual, shown = eval(found[1].strip(), space), eval(found[2], space)
    for a, b in zip(leaves(actual), leaves(shown), strict=True):
        assert np.asarray(a) == pytest.approx(np.asarray(b), abs=5e-5)


def leaves(value):
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("text", [exercise_file(WRITEUP), notebook(WRITEUP)], ids=["file", "notebook"])
def test_every_cited_formula_exists(text):
    cited = set(re.findall(r"\(([A-Z]\d)\)|tag\{(\w+)\}", text))
    labels = {one or other for one, other in cited}
    assert {"S2", "L4", "A3", "R2", "U2", "N1"} <= labels
    assert labels <= set(re.findall(r"\\tag\{(\w+)\}", DERIVATION))


def test_lines_of_the_file_fit_a_screen():
    assert max(map(len, exercise_file(WRITEUP).splitlines())) <= 120


def test_the_training_loop_is_that_of_the_package():
    assert "Mapping" not in training_source(WRITEUP)
    assert "Any" not in training_source(WRITEUP)
    space: dict = {}
    exec(HEAD + training_source(WRITEUP), space)
    assert space["train"].__code__.co_code == train.__code__.co_code
    assert space["train"].__defaults__ == train.__defaults__


def test_the_instructions_name_all_points():
    text = readme(WRITEUP)
    assert "| `dense_backward` | Dense layer, backward | 13 |" in text
    assert "| total | | 100 |" in text
    assert "| `train_images` | (1000, 28, 28) |" in text
    assert not re.search(r"N_[A-Z]|_TABLE", text)


def test_the_letters_of_the_splits_have_different_fonts():
    with np.load(io.BytesIO(letters_file())) as file:
        arrays = dict(file)
    assert arrays["train_images"].shape == (1000, 28, 28)
    assert set(arrays) == {
        "class_names",
        *(f"{s}_{k}" for s in ("train", "valid", "test") for k in ("images", "labels")),
    }
    assert all(np.bincount(arrays[f"{split}_labels"], minlength=10).min() >= 15 for split in ("train", "valid", "test"))
    images = {split: {image.tobytes() for image in arrays[f"{split}_images"]} for split in ("train", "valid", "test")}
    assert len(images["train"] & images["test"]) < 10  # some letters, such as I, are the same in several fonts


def test_the_notebook_is_valid_and_has_the_metadata_of_nbgrader():
    content = json.loads(notebook(WRITEUP))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", one) for one in ids)
    graded = [cell["metadata"]["nbgrader"] for cell in content["cells"] if cell["metadata"].get("nbgrader")]
    assert sum(one.get("points", 0) for one in graded) == 100
    assert [one["grade_id"] for one in graded if one["solution"]] == [task.name for task in WRITEUP.tasks[:-1]]
    for cell in content["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"] == [] and cell["execution_count"] is None)


def test_an_empty_folder_has_no_points_and_a_next_step(folder):
    result = check_exercise(folder, tasks=["softmax", "accuracy"])
    assert (result.points, result.source) == (0, FILE)
    assert {task.state for task in result.tasks} == {"blank"}
    assert "\nNext: softmax. The function is not written yet" in result.text()


def test_work_is_never_overwritten_silently(tmp_path):
    new_exercise(tmp_path / "mine")
    (tmp_path / "mine" / FILE).write_text("my work")
    with pytest.raises(OutputError, match=r"may hold a student's work.*overwrite=True"):
        new_exercise(tmp_path / "mine")
    assert (tmp_path / "mine" / FILE).read_text() == "my work"
    new_exercise(tmp_path / "mine", overwrite=True)
    assert "NotImplementedError" in (tmp_path / "mine" / FILE).read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE).symlink_to(tmp_path / "mine" / FILE)
    with pytest.raises(OutputError, match="not a regular file"):
        new_exercise(tmp_path / "other", overwrite=True)


def test_the_file_that_was_changed_is_graded(folder, tmp_path):
    blank_file, blank_notebook = (folder / FILE).read_text(), (folder / NOTEBOOK).read_text()
    own_file = blank_file.replace("    raise NotImplementedError\n", "    return logits\n", 1)
    own_notebook = with_functions(blank_notebook, RIGHT)

    def source(file, book):
        (tmp_path / FILE).write_text(file)
        (tmp_path / NOTEBOOK).write_text(book)
        return read_submission(WRITEUP, tmp_path).source

    assert source(blank_file, blank_notebook) == FILE
    assert source(own_file, blank_notebook) == FILE
    assert source(blank_file + "# a comment\n", own_notebook) == NOTEBOOK
    assert source(blank_file.replace("Return the class", "Compute the class"), own_notebook) == NOTEBOOK
    with pytest.raises(ConfigError, match=r"which='file' or which='notebook'"):
        source(own_file, own_notebook)
    assert read_submission(WRITEUP, tmp_path, "notebook").source == NOTEBOOK
    assert not is_changed(WRITEUP, blank_file)
    assert is_changed(WRITEUP, "x = (")


def test_a_notebook_is_graded_without_running_its_other_cells(folder, tmp_path):
    text = with_functions((folder / NOTEBOOK).read_text(), RIGHT)
    content = json.loads(text)
    content["cells"].append(
        {"cell_type": "code", "source": ["%matplotlib inline\n", "while True: pass"], "metadata": {}}
    )
    (tmp_path / NOTEBOOK).write_text(json.dumps(content))
    result = check_exercise(tmp_path / NOTEBOOK, tasks=["cross_entropy_gradient", "network_gradients", "train"])
    assert result.is_full, result.text()


def test_the_cells_of_a_running_notebook_are_graded():
    cells = [
        "",
        HEAD + "EPS = 1e-3",
        RIGHT["accuracy"].replace("==", "!="),
        RIGHT["accuracy"],
        "check('accuracy')",
        "x = (",
    ]
    result = check_exercise(cells, tasks=["accuracy"])
    assert result.is_full
    assert result.source == "cells of this notebook"


def test_definitions_leave_out_what_cells_compute():
    code, notes = definitions(
        [
            "import os\nimport matplotlib.pyplot as plt\nimport numpy as np\n!ls\n%time 3\nlog = np.log\nlimit = 2 * 3",
            "%%bash\necho def",
            "curves = train(letters)\nprint(curves)\nfor i in range(9): pass",
            "best = curves['best']\nlast: int = best\ncurves['best'] = 3\ndef h(x=curves): pass",
            "f = lambda x: np.log(x)\n@staticmethod\ndef g(x):\n    return train(x)\nclass A: pass",
            "def broken(:\n    pass",
        ]
    )
    space: dict = {}
    exec(code, space)
    assert set(space) - {"__builtins__"} == {"os", "np", "log", "limit", "f", "g", "A"}
    assert notes == ("code cell 6, line 1 was left out: invalid syntax.",)


def test_imports_of_other_libraries_are_reported():
    cells = ["import chalknet.network.softmax\nfrom torch import nn\nimport numpy", "__import__('jax')"]
    assert submission_of_cells(cells).notes == ("the code imports chalknet, torch. The rules allow NumPy only.",)
    for code in ("import chalknet as c", "import chalknet\ndef f(p, y):\n    return chalknet.accuracy(p, y)\n"):
        assert submission_of_cells([code]).notes
    code = "def f():\n    import importlib\n    return importlib.import_module('sklearn.metrics')\n"
    assert "sklearn" in submission_of_cells([code]).notes[0]


def test_the_notebook_of_a_new_folder_is_not_reported(folder):
    assert read_submission(WRITEUP, folder / NOTEBOOK).notes == ()


def test_a_class_is_graded_although_one_folder_is_missing(folder, tmp_path):
    (tmp_path / FILE).write_text(file_of())
    results = check_exercises([folder, tmp_path, tmp_path / "absent"], tasks=["accuracy"])
    assert [result.points for result in results] == [0, 4, 0]
    assert [result.max_points for result in results] == [4, 4, 4]
    assert "no such folder" in results[2].error


def test_another_course_in_a_class_is_reported(folder, tmp_path):
    new_exercise(tmp_path / "second", course="part2")
    results = check_exercises([folder, tmp_path / "second"], tasks=["accuracy"])
    assert results[0].error == ""
    assert "has the functions of course part2, and this class is graded as writeup" in results[1].error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("exercises.py", b"\xff\xfe", "not a text file"),
        ("exercises.ipynb", b"{}", "not a notebook"),
        ("exercises.ipynb", b"[" * 100_000, "not a notebook"),
        ("notes.txt", b"", "expected a folder"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        check_exercise(tmp_path / name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"course": "writup"}, "Did you mean 'writeup'"),
        ({"tasks": ["softmx"]}, "Did you mean 'softmax'"),
        ({"which": "both"}, "which must be one of file, notebook"),
        ({"seconds": 0}, "seconds must be"),
        ({"memory_mb": 10}, "memory_mb must be"),
    ],
)
def test_invalid_settings_are_refused(folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        check_exercise(folder, **settings)


def test_every_code_cell_of_the_notebook_runs(folder, tmp_path, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / LETTERS).write_bytes((folder / LETTERS).read_bytes())
    cells = cells_of(with_functions((folder / NOTEBOOK).read_text(), RIGHT))
    space: dict = {"In": []}
    for code in cells:
        space["In"].append(code)
        # Every check of a cell is one process, so only two of them run here; and the training is short.
        if re.fullmatch(r'check\("(?!softmax|train)\w+"\)', code):
            continue
        exec(compile(code.replace("train(letters)", "train(letters, hidden=8, epochs=5)"), "cell", "exec"), space)
    said = capsys.readouterr().out
    assert said.count("full marks") == 2
    assert "Early stopping keeps epoch" in said
    matplotlib.pyplot.close("all")
