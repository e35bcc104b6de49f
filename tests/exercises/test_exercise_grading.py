"""Points of right solutions in several styles, and the names of planted mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from student_code import HEAD, RIGHT, STYLES, WALKTHROUGH, WRONG, file_of

import chalknet
from chalknet.exercises import reference
from chalknet.exercises.calls import run_case
from chalknet.exercises.courses import COURSES
from chalknet.exercises.differences import own_cases
from chalknet.exercises.expectations import expected
from chalknet.exercises.grading import grade_execution
from chalknet.exercises.naming import likely_mistakes, mistaken, named
from chalknet.exercises.parts import returned
from chalknet.exercises.process import Execution

WRITEUP = COURSES["writeup"]
TASKS = {task.name: task for task in WRITEUP.tasks}


def graded(name: str, code: str):
    """The result of code for one task, without the process in which a grader runs it."""
    task = TASKS[name]
    space: dict = {}
    exec(HEAD + code, space)
    space.update({helper: getattr(reference, helper) for helper in task.helpers})
    cases = [*task.all_cases, *own_cases(task)]
    outcomes = tuple(run_case(space.get(case.function or name), case) for case in cases)
    return grade_execution(task, Execution(outcomes, "", "", 0.0), "exercises.py")


def test_a_course_has_100_points():
    assert WRITEUP.points == 100
    assert [task.name for task in WRITEUP.tasks][:-1] == list(reference.functions())


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_solution_has_full_marks(name):
    result = graded(name, file_of())
    assert result.is_full, result.text()
    assert result.mistakes == ()


@pytest.mark.parametrize(("name", "code"), STYLES, ids=[f"{name}-{k}" for k, (name, _) in enumerate(STYLES)])
def test_right_solutions_in_other_styles_have_full_marks(name, code):
    result = graded(name, file_of() + code)
    assert result.is_full, result.text()


@pytest.mark.parametrize(
    ("name", "mistake", "code"), WRONG, ids=[f"{name}-{mistake}-{k}" for k, (name, mistake, _) in enumerate(WRONG)]
)
def test_a_planted_mistake_loses_points_and_is_named(name, mistake, code):
    result = graded(name, code)
    assert [one.name for one in result.mistakes] == [mistake], result.text()
    assert result.points < result.max_points


def test_at_least_25_mistakes_are_planted():
    assert len({(name, mistake) for name, mistake, _ in WRONG}) >= 25
    assert {name for name, *_ in WRONG} == set(RIGHT)


@pytest.mark.parametrize("task", WRITEUP.tasks, ids=lambda task: task.name)
def test_every_mistake_of_the_catalog_is_recognized(task):
    for mistake in task.mistakes:
        for which in range(len(mistake.functions)):
            found = [one.name for one in named(task, mistaken(task, mistake, which))]
            assert found[:1] == [mistake.name] or (mistake.name in found and mistake.groups != ("values",)), found


@pytest.mark.parametrize("task", WRITEUP.tasks, ids=lambda task: task.name)
def test_no_mistake_is_named_for_the_reference(task):
    assert named(task, expected(task)) == ()


@pytest.mark.parametrize("name", WALKTHROUGH)
def test_hints_lead_step_by_step_to_full_marks(name):
    points = []
    for code, mistakes in WALKTHROUGH[name]:
        result = graded(name, code)
        assert [one.name for one in result.mistakes] == mistakes, result.text()
        points.append(result.points)
    assert points == sorted(points)
    assert result.is_full


@pytest.mark.parametrize("task", WRITEUP.tasks, ids=lambda task: task.name)
def test_the_package_has_the_solution_where_the_task_says(task):
    name, _, file = task.solution.partition(" in ")
    text = (Path(chalknet.__file__).parent.parent / file).read_text(encoding="utf-8")
    assert f"\ndef {name}(" in text or f"\nclass {name}(" in text


def test_two_mistakes_are_both_named():
    code = "def softmax(o):\n    return np.exp(o) / np.exp(o).sum()\n"
    assert [one.name for one in graded("softmax", code).mistakes] == ["normalized over the whole batch"]
    code = "def cross_entropy(o, y):\n    return np.sum(np.log(np.exp(o).sum(axis=1)) - o[np.arange(len(y)), y])\n"
    assert [one.name for one in graded("cross_entropy", code).mistakes] == ["missing mean", "unshifted exponentials"]
    code = "def dense_backward(d, x, W):\n    return d @ W, x.T @ d, d.mean(0)\n"
    names = ["transposed product in grad_weight", "mean instead of sum in grad_bias"]
    assert [one.name for one in graded("dense_backward", code).mistakes] == names


def test_partial_points_are_given_part_by_part():
    result = graded("dense_backward", "def dense_backward(d, x, W):\n    return d @ W, d.T @ x, d.mean(axis=0)\n")
    points = {check.title: check.points for check in result.checks}
    assert points["values of grad_x"] == points["values of grad_weight"] == 3
    assert points["values of grad_bias"] == points["central differences"] == 0
    assert result.points == 8


def test_an_example_shows_expected_and_received_numbers():
    result = graded("relu_forward", "def relu_forward(h):\n    return np.abs(h)\n")
    text = result.text()
    assert "h = [[ 1.5 , -2.  ,  0.  ]" in text
    assert "expected: [[1.5 , 0.  , 0.  ]" in text
    assert "received: [[1.5 , 2.  , 0.  ]" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_an_unknown_mistake_shows_an_example_only():
    result = graded("relu_forward", "def relu_forward(h):\n    return np.sin(h)\n")
    assert result.mistakes == ()
    assert result.summary == "see below"
    assert "expected" in result.example


def test_a_gradient_of_a_wrong_forward_function_is_explained():
    code = RIGHT["softmax"] + (
        "def cross_entropy(o, y):\n    return -np.log(softmax(o)[np.arange(len(y)), y]).sum()\n"
        "def cross_entropy_gradient(o, y):\n    return softmax(o) - np.eye(o.shape[1])[y]\n"
    )
    messages = [check.message for check in graded("cross_entropy_gradient", code).checks]
    assert any("fits your own cross_entropy" in message for message in messages)


@pytest.mark.parametrize(
    ("value", "received"),
    [
        ("d @ W", "an array of shape (2, 3)."),
        ("(d @ W, d.T @ x)", "a tuple of 2."),
        ("(d @ W, d.T @ x, d.sum(0), d)", "a tuple of 4."),
        ("{'grad_x': d @ W}", "a dictionary with the keys grad_x."),
    ],
)
def test_a_wrong_number_of_results_is_named(value, received):
    result = graded("dense_backward", f"def dense_backward(d, x, W):\n    return {value}\n")
    assert [one.name for one in result.mistakes] == ["wrong number of results"]
    assert result.mistakes[0].hint == (
        "The function must return grad_x, grad_weight and grad_bias, in this order: "
        f"`return grad_x, grad_weight, grad_bias`. Yours returns {received}"
    )
    assert "second call" not in result.text()


def test_velocities_of_biases_have_to_be_returned():
    result = graded("momentum_update", next(code for _, name, code in WRONG if name == "velocities of biases missing"))
    assert [check.points for check in result.checks] == [0, 2, 1, 1, 2, 1]
    assert result.checks[0].message == (
        "velocities[b_h] is missing; your dictionary has the keys W_h. Use the names of parameters."
    )


def test_wrong_names_of_a_dictionary_are_shown():
    code = RIGHT["network_gradients"].replace('{"W_h": grad_w_h, "b_h"', '{"grad_W_h": grad_w_h, "grad_b_h"')
    text = " ".join(graded("network_gradients", file_of({"network_gradients": code})).text().split())
    keys = "grad_W_h, grad_b_h, W_o, b_o"
    assert f"gradients[W_h] is missing; your dictionary has the keys {keys}. Use the names of parameters." in text
    code = "def network_gradients(x, y, parameters):\n    return 1.0, {}\n"
    messages = [check.message for check in graded("network_gradients", code).checks]
    assert "gradients[W_h] is missing; your dictionary is empty." in messages
    code = "def network_gradients(x, y, parameters):\n    return 1.0, 2.0\n"
    messages = [check.message for check in graded("network_gradients", code).checks]
    assert "gradients: expected a dictionary, received one number." in messages


@pytest.mark.parametrize(
    ("name", "expression", "line", "part", "is_keepdims"),
    [
        ("softmax", lambda o: o - (o * o).max(axis=1), "return o - (o * o).max(axis=1)", "keepdims", True),
        ("softmax", lambda o: o - np.ones(7), "return o - np.ones(7)", "from the last axis on", False),
        ("softmax", lambda o: o - np.ones((7, 7)), "return o - np.ones((7, 7))", "from the last axis on", False),
        ("dense_backward", lambda d, _, weight: (d * weight,) * 3, "a = d * W", "A product of matrices is `@`.", False),
        ("dense_backward", lambda d, _, weight: (d - weight,) * 3, "a = d - W", "from the last axis on", False),
    ],
)
def test_the_hint_for_shapes_names_their_likely_cause(name, expression, line, part, is_keepdims):
    task = TASKS[name]
    found = [returned(run_case(expression, case, lambda _: (2, line)), task.outputs) for case in task.all_cases]
    (mistake,) = likely_mistakes(task, found)
    assert mistake.name == "shapes that do not fit"
    assert part in mistake.hint
    assert ("keepdims" in mistake.hint) == is_keepdims


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("counted", ["i - best", "count"])
def test_a_choice_by_the_test_loss_is_named_with_epochs_from_0_too(first, counted):
    code = (
        "def early_stopping(valid, test, patience):\n    best = count = 0\n    for i in range(1, len(test)):\n"
        "        if test[i] < test[best]:\n            best = i\n        else:\n            count += 1\n"
        f"            if {counted} >= patience:\n                break\n"
        f"    return best + {first}, test[best]\n"
    )
    names = [one.name for one in graded("early_stopping", code).mistakes]
    assert names == ["test set used for choosing", *(["epochs counted from 0"] if first == 0 else [])]


def test_constants_of_the_right_shape_earn_almost_nothing():
    result = graded("dense_backward", "def dense_backward(d, x, W):\n    return 0 * x, 0 * W, 0 * d[0]\n")
    assert result.points <= 2


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("def softmax(o):\n    return o[:, 0]\n", "expected an array of shape (2, 3), received shape (2,)"),
        ("def softmax(o):\n    return 'none'\n", "received str"),
        ("def softmax(o):\n    raise KeyError('x')\n", "KeyError"),
        ("def softmax(o):\n    return (np.exp(o) / np.exp(o).sum(1, keepdims=True)).astype(int)\n", "cuts them off"),
        ("def softmax(o):\n    import sys; sys.exit()\n", "ends the program"),
        ("def softmax(o):\n    return softmax(o)\n", "endless recursion"),
        ("def softmax(o, extra):\n    return o\n", "missing 1 required positional argument"),
        ("def softmax(o):\n    return [[1.0, 2.0], [3.0]]\n", "received"),
        ("def softmax(o):\n    return np.array(['a'])\n", "received array of dtype"),
        ("def softmax(o):\n    return {1: o}\n", "probabilities is missing; received a dictionary"),
    ],
)
def test_messages_say_what_was_expected_and_received(code, part):
    assert part in " ".join(graded("softmax", code).text().split())


@pytest.mark.parametrize("name", ["relu_forward", "dense_backward", "early_stopping", "momentum_update"])
def test_strange_results_get_messages_that_fit_the_width(name):
    strange = ["set()", "(1, 2)", "[[1], 2]", "{'a': {}}", "10**400", "np.zeros((2, 3), complex)", "np.array([None])"]
    strange += ["np.full((2, 3), np.inf)", "np.zeros((1,) * 20)", "np.ma.array([1])", "(i for i in 'a')", "LOOP", "1j"]
    for value in [*strange, "np.zeros(3, [('a', 'f8')])", "np.float16(1)", "({1: 2}, {3: 4})", "(None, 0.5)"]:
        text = graded(name, f"LOOP = []\nLOOP.append(LOOP)\ndef {name}(*a):\n    return {value}\n").text()
        assert max(map(len, text.splitlines())) <= 80, value


def test_float32_and_nan_do_not_pass_as_right():
    assert graded("softmax", "def softmax(o):\n    return np.full_like(o, np.nan)\n").points == 1
    rough = RIGHT["softmax"].replace("return e / np.sum(e, axis=1, keepdims=True)", "return np.round(e / e.sum(), 3)")
    assert graded("softmax", rough).points < 9


def test_cases_are_the_same_in_every_process():
    assert float(TASKS["softmax"].cases[1].arguments["logits"][0, 0]) == pytest.approx(
        float(np.random.default_rng(11).normal(0.0, 2.0, (4, 4))[0, 0])
    )
