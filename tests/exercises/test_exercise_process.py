"""The process that runs a student's code: limits, isolation, and what cannot change the points."""

from __future__ import annotations

import json
import time

import pytest
from student_code import HEAD, RIGHT, file_of

from chalknet.exercises.calls import Case, case_from_plain, case_to_plain, from_plain, run_case, same, to_plain
from chalknet.exercises.courses import COURSES
from chalknet.exercises.grading import grade, grade_task
from chalknet.exercises.process import MAX_OUTPUT, Limits, run_cases

pytestmark = pytest.mark.slow  # a process for each grading

TASKS = {task.name: task for task in COURSES["writeup"].tasks}


def graded(code, folder, name="relu_forward", **limits):
    return grade_task(TASKS[name], HEAD + code, "exercises.py", folder, Limits(**limits))


def test_a_complete_file_has_100_points(tmp_path):
    results = grade(COURSES["writeup"], file_of(), "exercises.py", tmp_path, (), Limits())
    assert sum(result.points for result in results) == 100, [result.text() for result in results if not result.is_full]


def test_an_endless_loop_costs_the_points_of_its_task_only(tmp_path):
    code = file_of({"relu_forward": "def relu_forward(h):\n    while True:\n        pass\n"})
    begin = time.monotonic()
    relu, accuracy = grade(
        COURSES["writeup"], code, "exercises.py", tmp_path, ("relu_forward", "accuracy"), Limits(seconds=3)
    )
    assert relu.points == 0
    assert "did not finish within 3 s" in relu.text()
    assert accuracy.is_full
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("def relu_forward(h):\n    import os; os._exit(0)\n", "ended before the function returned"),
        ("def relu_forward(h):\n    exit()\n", "the function ends the program in exercises.py, line 3 (exit())"),
        ("raise SystemExit(0)\n", "ends the program"),
        ("x = (\n", "exercises.py, line 2: SyntaxError"),
        ("def f():\n    1 / 0\nf()\n", "exercises.py, line 3: ZeroDivisionError"),
        ("def relu_forward(h):\n    return [0] * 10**9\n", "MemoryError"),
        ("def relu_forward(h):\n    import os; os.kill(os.getpid(), 9)\n", "PermissionError"),
        ("def relu_forward(h):\n    import subprocess; subprocess.run(['ls'])\n", "does not let this code start other"),
        ("def relu_forward(h):\n    import os; os.fork()\n", "does not let this code start other programs"),
        ("import socket\ndef relu_forward(h):\n    socket.create_connection(('127.0.0.1', 9))\n", "use the network"),
        ("def relu_forward(h):\n    return input()\n", "EOFError"),
        (
            "class E(Exception):\n    def __str__(self):\n        raise E\ndef relu_forward(h):\n    raise E\n",
            "Raised in",
        ),
    ],
    ids=[
        "_exit",
        "exit",
        "SystemExit",
        "syntax",
        "import",
        "memory",
        "kill",
        "subprocess",
        "fork",
        "socket",
        "input",
        "str",
    ],
)
def test_code_that_cannot_be_graded_gets_a_reason(tmp_path, code, part):
    result = graded(code, tmp_path, seconds=30, memory_mb=1024)
    assert result.points == 0
    assert part in " ".join(result.text().split())


def test_megabytes_of_output_are_cut(tmp_path):
    code = "def relu_forward(h):\n    for _ in range(300):\n        print('x' * 100_000)\n    return h\n"
    result = graded(code, tmp_path, seconds=60)
    assert 0 < len(result.output) <= MAX_OUTPUT
    assert result.mistakes[0].name == "no relu"


def test_replaced_numpy_functions_change_no_points(tmp_path):
    code = (
        "import builtins, json\n"
        "np.allclose = np.array_equal = lambda *a, **k: True\n"
        "json.dumps = lambda *a, **k: '{}'\n"
        "np.maximum = lambda a, b: a\n"
        "def relu_forward(h):\n    return np.maximum(h, 0)\n"
    )
    assert [one.name for one in graded(code, tmp_path).mistakes] == ["no relu"]


def test_results_that_the_code_writes_itself_give_no_points(tmp_path):
    code = """
import json, os, pathlib, sys, tempfile
def relu_forward(h):
    for place in pathlib.Path(tempfile.gettempdir()).glob("*"):
        if place.is_dir():
            continue
        fake = {"points": 4, "failure": None, "outcomes": [{"value": None, "error": "", "message": "", "line": 0,
                "code": "", "changed": []}] * 6}
        place.with_name("result.json").write_text(json.dumps(fake))
    print('{"points": 4}')
    sys.stdout.flush()
    os._exit(0)
"""
    result = graded(code, tmp_path)
    assert result.points == 0
    assert result.state == "failed"


@pytest.mark.parametrize("text", ["[]", '{"failure": null, "outcomes": [{}]}'])
def test_a_damaged_result_is_a_failure(tmp_path, text):
    code = f"""
import os, pathlib, tempfile
def relu_forward(h):
    (pathlib.Path(tempfile.gettempdir()) / "result.json").write_text({text!r})
    os._exit(0)
"""
    assert graded(code, tmp_path).state == "failed"


def test_files_beside_the_exercise_can_be_read(tmp_path):
    (tmp_path / "helpers.py").write_text("def positive(h):\n    return h * (h > 0)\n")
    (tmp_path / "numpy.py").write_text("raise RuntimeError('shadowed')\n")
    code = "from helpers import positive\ndef relu_forward(h):\n    return positive(h)\n"
    assert graded(code, tmp_path).is_full


def test_secrets_of_the_environment_are_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADER_TOKEN", "secret")
    code = "import os\ndef relu_forward(h):\n    raise ValueError(os.environ.get('GRADER_TOKEN', 'nothing'))\n"
    assert "nothing" in graded(code, tmp_path).text()


def test_helpers_replace_the_functions_of_the_student(tmp_path):
    wrong = "def dense_backward(grad_h, x, weight):\n    return 1 / 0\n"
    assert graded(file_of({"dense_backward": wrong}), tmp_path, "network_gradients").is_full


def test_the_training_uses_the_functions_of_the_student(tmp_path):
    wrong = RIGHT["dense_forward"].replace("+ bias", "- bias")
    result = graded(file_of({"dense_forward": wrong}), tmp_path, "train")
    assert 0 < result.points < 5


def test_cases_and_values_survive_json():
    for task in TASKS.values():
        for case in task.all_cases:
            back = case_from_plain(json.loads(json.dumps(case_to_plain(case))))
            assert same(dict(back.arguments), dict(case.arguments)), task.name
            assert run_case(task.reference, back) == run_case(task.reference, case)
            assert [type(value) for value in back.arguments.values()] == [type(v) for v in case.arguments.values()]


@pytest.mark.parametrize(
    "plain",
    [
        None,
        3,
        {"array": "AAAA", "dtype": "<f8", "shape": [1]},
        {"array": "AAAAAAAAAAA=", "dtype": "|O", "shape": [1]},
        {"array": "AAAAAAAAAAA=", "dtype": "<f8", "shape": [-1]},
        {"array": "!", "dtype": "<f8", "shape": []},
    ],
)
def test_foreign_values_are_refused(plain):
    with pytest.raises((ValueError, TypeError)):
        from_plain(plain)


def test_huge_and_strange_values_are_only_named(tmp_path):
    assert to_plain(object()) == {"other": "object"}
    code = "def relu_forward(h):\n    return np.zeros((2000, 2000))\n"
    execution = run_cases(
        HEAD + code, "exercises.py", tmp_path, [Case("values", {"h": 1}, function="relu_forward")], (), Limits()
    )
    assert execution.outcomes[0].value == {"other": "array of shape (2000, 2000)"}
