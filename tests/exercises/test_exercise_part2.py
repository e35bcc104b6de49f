"""The second course: points of right solutions, names of planted mistakes, its files, and a training that learns."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from part2_code import RIGHT, STYLES, WRONG, part2_file
from student_code import file_of

import chalknet
from chalknet.cli.main import main
from chalknet.errors import ConfigError
from chalknet.exercises.calls import case_from_plain, case_to_plain, run_case, same
from chalknet.exercises.courses import COURSES
from chalknet.exercises.differences import own_cases
from chalknet.exercises.expectations import expected
from chalknet.exercises.folder import (
    FILE,
    LETTERS,
    NOTEBOOK,
    exercise_file,
    function_sources,
    given_sources,
    letters_file,
    notebook,
    readme,
    training_source,
)
from chalknet.exercises.grading import grade_execution
from chalknet.exercises.naming import mistaken, named
from chalknet.exercises.part2 import reference
from chalknet.exercises.part2.letter_training import train
from chalknet.exercises.process import Execution
from chalknet.exercises.submission import course_of
from chalknet.workflows.exercise import check_exercise, check_exercises, new_exercise

pytestmark = pytest.mark.slow  # one grading for each planted mistake

PART2 = COURSES["part2"]
TASKS = {task.name: task for task in PART2.tasks}
DERIVATION = (Path(__file__).resolve().parents[2] / "docs" / "derivation.md").read_text(encoding="utf-8")


def graded(name, code):
    """The result of code for one task, without the process in which a grader runs it."""
    task = TASKS[name]
    space = {"np": np}
    exec(code, space)
    space.update({helper: getattr(reference, helper) for helper in task.helpers})
    cases = [*task.all_cases, *own_cases(task)]
    outcomes = tuple(run_case(space.get(case.function or name), case) for case in cases)
    return grade_execution(task, Execution(outcomes, "", "", 0.0), FILE)


def filled(text):
    """exercises.py with right functions in place of the blank ones."""
    for name, source in function_sources(PART2).items():
        text = text.replace(source, RIGHT[name].strip())
    return text


def test_the_second_course_has_100_points():
    assert PART2.points == 100
    assert [*PART2.function_names, *(one.__name__ for one in reference.GIVEN)] == list(reference.functions())
    assert set(PART2.function_names) == set(RIGHT)


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_of_part2_have_full_marks(name):
    result = graded(name, part2_file())
    assert result.is_full, result.text()
    assert result.mistakes == ()


@pytest.mark.parametrize(("name", "code"), STYLES, ids=[f"{name}-{k}" for k, (name, _) in enumerate(STYLES)])
def test_other_styles_of_part2_have_full_marks(name, code):
    result = graded(name, part2_file() + code)
    assert result.is_full, result.text()


@pytest.mark.parametrize(
    ("name", "mistake", "code"), WRONG, ids=[f"{name}-{mistake}-{k}" for k, (name, mistake, _) in enumerate(WRONG)]
)
def test_a_planted_mistake_of_part2_is_named(name, mistake, code):
    result = graded(name, part2_file() + code)
    assert [one.name for one in result.mistakes] == [mistake], result.text()
    assert result.points < result.max_points


@pytest.mark.parametrize("task", PART2.tasks, ids=lambda task: task.name)
def test_every_mistake_of_part2_is_recognized(task):
    for mistake in task.mistakes:
        for which in range(len(mistake.functions)):
            found = [one.name for one in named(task, mistaken(task, mistake, which))]
            assert found[:1] == [mistake.name] or (mistake.name in found and mistake.groups != ("values",)), found


@pytest.mark.parametrize("task", PART2.tasks, ids=lambda task: task.name)
def test_no_mistake_of_part2_is_named_for_the_reference(task):
    assert named(task, expected(task)) == ()
    assert not any(one.outcome.error or one.problem for one in expected(task))


def test_the_package_has_the_solutions_of_part2_where_tasks_say():
    for task in PART2.tasks:
        name, _, file = task.solution.partition(" in ")
        assert f"\ndef {name}(" in (Path(chalknet.__file__).parent.parent / file).read_text(encoding="utf-8")


def test_cases_of_part2_survive_json():
    for task in PART2.tasks:
        for case in task.all_cases:
            back = case_from_plain(json.loads(json.dumps(case_to_plain(case))))
            assert same(dict(back.arguments), dict(case.arguments)), task.name
            assert [type(value) for value in back.arguments.values()] == [type(v) for v in case.arguments.values()]
            assert run_case(task.reference, back) == run_case(task.reference, case)


def test_each_mistake_of_a_convolution_costs_its_own_points():
    code = part2_file({"conv2d_backward": RIGHT["conv2d_backward"].replace("D.sum(axis=0)", "D.mean(axis=0)")})
    points = {check.title: check.points for check in graded("conv2d_backward", code).checks}
    assert points["values of grad_x"] == points["values of grad_weight"] == 3
    assert points["values of grad_bias"] == points["central differences"] == 0


def test_two_mistakes_of_a_convolution_are_both_named():
    code = RIGHT["conv2d_backward"].replace("D.sum(axis=0)", "D.mean(axis=0)").replace("D.T @ P", "D.T @ P / len(x)")
    names = [one.name for one in graded("conv2d_backward", part2_file() + code).mistakes]
    assert names == ["mean over the samples in grad_weight", "mean instead of sum in grad_bias"]


def test_a_gradient_that_fits_a_wrong_penalty_says_so():
    code = next(code for _, name, code in WRONG if name == "missing 1/2")
    messages = [check.message for check in graded("l2_penalty", part2_file() + code).checks]
    assert any("Your gradient fits your own penalty, so correct the penalty first." in one for one in messages)


def test_zeros_are_not_explained_by_a_factor():
    assert graded("dropout_backward", "def dropout_backward(d, mask):\n    return np.zeros_like(d)\n").mistakes == ()


def test_an_example_shows_images_as_rows_and_columns():
    text = graded("add_windows", part2_file() + next(code for _, name, code in WRONG if "overwrite" in name)).text()
    assert "    shape = (1, 2, 3, 1)\n" in text
    assert "expected: [[ 1., 12., 20.],\n             [ 3., 34., 40.]] with shape (1, 2, 3, 1)\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_file_of_part2_has_a_blank_for_every_task():
    functions = {node.name: node for node in ast.parse(exercise_file(PART2)).body if isinstance(node, ast.FunctionDef)}
    given = [one.__name__ for one in reference.GIVEN]
    assert list(functions) == [*PART2.function_names, *given, "load_letters", "train"]
    for task in PART2.tasks[:-1]:
        assert ast.unparse(functions[task.name].body[-1]) == "raise NotImplementedError"
        assert [argument.arg for argument in functions[task.name].args.args] == list(task.cases[0].arguments)


@pytest.mark.parametrize("name", RIGHT)
def test_the_example_of_a_docstring_of_part2_is_right(name):
    text = ast.get_docstring(ast.parse(function_sources(PART2)[name]).body[0])
    found = re.search(r"Example:\n(.*?)-> (.*?)\n\n", text, re.DOTALL)
    if name == "conv_network_gradients":
        assert found is None
        return
    space = {"np": np, **reference.functions()}
    actual, shown = eval(found[1].strip(), space), eval(found[2], space)
    for a, b in zip(_leaves(actual), _leaves(shown), strict=True):
        assert np.asarray(a) == pytest.approx(np.asarray(b), abs=1e-12)
        assert np.shape(a) == np.shape(b) or name == "conv2d_backward"


def _leaves(value):
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    return [leaf for one in value for leaf in _leaves(one)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("text", [exercise_file(PART2), notebook(PART2)], ids=["file", "notebook"])
def test_every_formula_that_part2_cites_exists(text):
    labels = {one or other for one, other in re.findall(r"\(([A-Z]\d)\)|tag\{(\w+)\}", text)}
    assert {"K1", "K5", "Q1", "D1", "P2"} <= labels
    assert labels <= set(re.findall(r"\\tag\{(\w+)\}", DERIVATION))


def test_given_functions_of_part2_are_right():
    space = {"np": np}
    exec("\n\n".join(given_sources(PART2).values()), space)
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 300, (5, 4)), np.array([3, 0, 1, 1, 2])
    x, weight, bias, grad = (
        rng.normal(size=(5, 3)),
        rng.normal(size=(4, 3)),
        rng.normal(size=4),
        rng.normal(size=(5, 4)),
    )
    calls = {
        "relu_forward": (logits,),
        "relu_backward": (grad, logits),
        "dense_forward": (x, weight, bias),
        "dense_backward": (grad, x, weight),
        "softmax": (logits,),
        "cross_entropy": (logits, labels),
        "cross_entropy_gradient": (logits, labels),
        "accuracy": (grad, labels),
    }
    assert set(calls) == {one.__name__ for one in reference.GIVEN}
    for name, arguments in calls.items():
        for a, b in zip(_leaves(space[name](*arguments)), _leaves(getattr(reference, name)(*arguments)), strict=True):
            assert np.asarray(a) == pytest.approx(np.asarray(b), abs=1e-12), name


def test_lines_of_the_file_of_part2_fit_a_screen():
    assert max(map(len, exercise_file(PART2).splitlines())) <= 120
    assert "| total | | 100 |" in readme(PART2)
    assert not re.search(r"N_[A-Z]|_TABLE", readme(PART2))
    assert not re.search("Mapping|Any", training_source(PART2))


def test_the_notebook_of_part2_is_valid_and_names_its_course():
    content = json.loads(notebook(PART2))
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", one) for one in ids)
    graded_cells = [cell["metadata"]["nbgrader"] for cell in content["cells"] if cell["metadata"].get("nbgrader")]
    assert sum(one.get("points", 0) for one in graded_cells) == 100
    setup = "".join(content["cells"][1]["source"])
    assert 'course="part2"' in setup
    assert [one for one in ids if one.startswith("plot")] == ["plot-1", "plot-2", "plot-3"]


def test_every_cell_of_the_notebook_of_part2_runs(tmp_path, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / LETTERS).write_bytes(letters_file())
    space = {"In": []}
    for cell in json.loads(notebook(PART2))["cells"]:
        if cell["cell_type"] == "markdown":
            continue
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        code = RIGHT.get(name, "".join(cell["source"]))
        space["In"].append(code)
        if name and name.startswith("check-") and name != "check-conv2d_backward":
            continue
        code = code.replace("load_letters()", "load_letters(n_images=40)").replace(
            "train(letters)", "train(letters, 8, 2)"
        )
        exec(compile(code, "cell", "exec"), space)
    said = capsys.readouterr().out
    assert said.count("full marks") == 1
    assert "Validation accuracy after the last epoch" in said
    matplotlib.pyplot.close("all")


def test_the_network_learns_letters_with_the_functions_of_a_student(tmp_path):
    (tmp_path / LETTERS).write_bytes(letters_file())
    space = {"__name__": "exercises"}
    exec(filled(exercise_file(PART2)), space)
    # Fewer letters, kernels and epochs than in the exercise, because loops over windows take seconds.
    letters = space["load_letters"](tmp_path / LETTERS, 200)
    assert letters["train_x"].shape == (200, 14, 14, 1)
    curves = space["train"](letters, channels=4, epochs=5)
    assert curves["train_loss"][-1] < curves["train_loss"][0] / 1.5
    assert curves["valid_accuracy"][-1] > 0.6  # 0.1 is chance
    right = train(letters, channels=4, epochs=5)
    for name in ("train_loss", "valid_loss", "valid_accuracy", "penalty"):
        value = right[name]
        assert np.asarray(curves[name]) == pytest.approx(np.asarray(value), abs=1e-9)


def test_the_training_of_the_grader_learns():
    parts = expected(TASKS["train"])[0].parts
    losses, scores = parts["curves[train_loss]"].value, parts["curves[valid_accuracy]"].value
    assert losses[-1] < losses[0] / 2
    assert scores[-1] > 0.8


def test_a_folder_of_part2_is_graded_without_naming_its_course(tmp_path, capsys):
    new_exercise(tmp_path / "mine", "part2")
    place = tmp_path / "mine" / FILE
    place.write_text(filled(place.read_text()))
    result = check_exercise(tmp_path / "mine", tasks=["conv_network_gradients", "train"])
    assert result.course == "part2"
    assert result.is_full, result.text()
    assert main(["exercise", "check", str(tmp_path / "mine"), "--task", "l2_penalty"]) == 0
    assert "l2_penalty    6/6    full marks" in capsys.readouterr().out


def test_the_course_of_a_submission_is_found(tmp_path):
    assert course_of([part2_file()]) is PART2
    assert course_of([exercise_file(PART2)]) is PART2
    assert course_of([file_of()]) is COURSES["writeup"]
    assert course_of([notebook(COURSES["writeup"])]) is None
    assert course_of(["x = 1"]) is course_of(tmp_path / "absent") is None
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / NOTEBOOK).write_text(notebook(PART2))
    results = check_exercises([tmp_path / "a", tmp_path / "b"], tasks=["windows"])
    assert [one.course for one in results] == ["part2", "part2"]
    assert [one.max_points for one in results] == [11, 11]


def test_the_task_tells_the_course_of_a_missing_folder(tmp_path, capsys):
    assert main(["exercise", "check", str(tmp_path / "absent"), "--task", "windows"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_task_of_the_other_course_is_explained(tmp_path):
    new_exercise(tmp_path / "mine", "part2")
    with pytest.raises(
        ConfigError, match=r"softmax is a task of the course writeup.*graded as part2.*course='writeup'"
    ):
        check_exercise(tmp_path / "mine", tasks=["softmax"])


def test_the_letters_of_part2_are_small(tmp_path):
    with np.load(io.BytesIO(letters_file())) as file:
        image = file["train_images"][0].astype(float)
    (tmp_path / LETTERS).write_bytes(letters_file())
    space = {"np": np}
    exec(given_sources(PART2)["load_letters"], space)
    small = space["load_letters"](tmp_path / LETTERS)
    assert small["train_x"].shape == (300, 14, 14, 1)
    assert small["train_x"][0, 3, 5, 0] == pytest.approx(image[6:8, 10:12].mean() / 255)
