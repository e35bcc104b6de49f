"""`chalknet exercise new` and `check`, and the formats of grading systems."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from student_code import HEAD, RIGHT, file_of

from chalknet.cli import exercise as command
from chalknet.cli.main import main
from chalknet.exercises import formats
from chalknet.exercises.courses import COURSES
from chalknet.exercises.results import BLANK, WIDTH, CheckResult, ExerciseResult, TaskResult, class_text
from chalknet.workflows.exercise import check_exercise

TWO = ["--task", "softmax", "--task", "accuracy"]


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A folder with one right function and one with a mistake."""
    folder = tmp_path_factory.mktemp("class") / "ada"
    folder.mkdir()
    wrong = RIGHT["accuracy"].replace("np.mean(", "np.sum(")
    (folder / "exercises.py").write_text(HEAD + RIGHT["softmax"] + wrong)
    return folder


@pytest.fixture(scope="module")
def result(half):
    """The result of two of its functions."""
    return check_exercise(half, tasks=["softmax", "accuracy"])


def test_names_on_the_command_line_are_those_of_the_package():
    assert set(command.COURSES) == set(COURSES)
    assert command.FORMATS == formats.FORMATS
    names = dict.fromkeys(name for course in COURSES.values() for name in course.function_names)
    assert (*names, "train") == command.TASKS


def test_new_writes_a_folder_and_says_how_to_go_on(tmp_path, capsys):
    assert main(["exercise", "new", str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().out
    assert "11 functions to write, 95 points. Training with them (train) gives 5 more." in said
    assert f"chalknet exercise check {tmp_path / 'mine'}" in said
    assert main(["exercise", "new", str(tmp_path / "mine")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_train_counts_as_no_function_to_write():
    of_name = {name: TaskResult(name, "", (CheckResult("runs", 0, 5),), state=BLANK) for name in ("softmax", "train")}
    assert of_name["softmax"].summary == "not written yet"
    assert of_name["train"].summary == "nothing to write: it uses your functions"
    results = [ExerciseResult(name, "exercises.py", "writeup", tuple(of_name.values())) for name in ("eve", "bob")]
    assert class_text(results).count("not written: 1") == 2


def test_check_prints_a_table_and_the_likely_mistake(half, capsys):
    assert main(["exercise", "check", str(half), *TWO]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "softmax     9/9    full marks" in lines
    assert "accuracy    1/4    count instead of fraction" in lines
    assert "total      10/13" in lines
    assert any(line.startswith("  Likely mistake: count instead of fraction.") for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_strict_tells_by_its_exit_code_whether_points_were_lost(half, capsys):
    assert main(["exercise", "check", str(half), "--strict", "--task", "softmax"]) == 0
    assert main(["exercise", "check", str(half), "--strict", "--task", "accuracy"]) == 3
    capsys.readouterr()


def test_json_holds_every_check(half, capsys):
    assert main(["exercise", "check", str(half), "--task", "accuracy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["points"], found["max_points"], found["format"]) == (1, 4, 1)
    assert found["tasks"][0]["mistakes"][0]["name"] == "count instead of fraction"
    assert sum(check["max_points"] for check in found["tasks"][0]["checks"]) == 4


def test_a_class_is_a_table_or_csv_with_one_row_each(half, tmp_path, capsys):
    full = tmp_path / "grace"
    full.mkdir()
    (full / "exercises.py").write_text(file_of())
    places = [str(half), str(full), str(tmp_path / "absent")]
    assert main(["exercise", "check", *places, "--task", "accuracy", "--csv", "-o", str(tmp_path / "points.csv")]) == 0
    said = capsys.readouterr().out
    assert "points lost: accuracy" in said
    assert "accuracy: count instead of fraction (1 submission)" in said
    assert max(map(len, said.splitlines())) <= WIDTH
    rows = list(csv.DictReader(io.StringIO((tmp_path / "points.csv").read_text())))
    assert [row["points"] for row in rows] == ["1", "4", "0"]
    assert [row["accuracy"] for row in rows] == ["1", "4", "0"]
    assert "no such folder" in rows[2]["notes"]


def test_a_file_that_is_not_python_is_named_once_and_in_the_notes_of_a_class(tmp_path, capsys):
    for name, code in {"eve": "def softmax(:\n    pass\n", "bob": HEAD + RIGHT["softmax"]}.items():
        (tmp_path / f"{name}.py").write_text(code)
    places = [str(tmp_path / "eve.py"), str(tmp_path / "bob.py")]
    main(["exercise", "check", places[0], *TWO])
    assert capsys.readouterr().out.count("SyntaxError") == 1
    main(["exercise", "check", places[0], "--task", "softmax"])
    said = capsys.readouterr().out
    assert said.count("SyntaxError") == said.count("line 1") == 1
    main(["exercise", "check", *places, "--task", "softmax", "--task", "accuracy", "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["notes"].startswith("eve.py, line 1: SyntaxError: invalid syntax. Nothing could be graded.")
    main(["exercise", "check", *places, *TWO])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("eve.py") and "line 1: SyntaxError" in line for line in lines)
    assert any(line.startswith("bob.py") and line.endswith("not written: 1") for line in lines)


def test_gradescope_gets_one_test_for_each_task(half, tmp_path, capsys):
    out = tmp_path / "results.json"
    assert main(["exercise", "check", str(half), *TWO, "--format", "gradescope", "--out", str(out)]) == 0
    capsys.readouterr()
    found = json.loads(out.read_text())
    assert found["score"] == 10
    assert [(test["score"], test["max_score"], test["status"]) for test in found["tests"]] == [
        (9, 9, "passed"),
        (1, 4, "failed"),
    ]
    assert {test["visibility"] for test in found["tests"]} == {"visible"}
    assert "Likely mistake" in found["tests"][1]["output"]
    assert set(found) == {"score", "visibility", "output_format", "tests", "output", "extra_data"}


def test_gradescope_shows_a_missing_file_to_the_student(tmp_path, capsys):
    assert main(["exercise", "check", str(tmp_path / "absent"), *TWO, "--format", "gradescope"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["score"] == 0
    assert "no such folder" in found["output"]


def test_otter_gets_one_case_for_each_check(result):
    points = [
        sum(case["test_case"]["points"] for case in file["test_case_results"] if case["passed"])
        for file in formats.otter(result)["test_file_results"]
    ]
    assert points == [9, 1]


def test_nbgrader_gets_the_points_of_graded_cells(result):
    for place in ("class/ada/sheet1", "class/ada/sheet1/exercises.ipynb"):
        found = formats.nbgrader([replace(result, name=place)])
        assert {(one["student"], one["assignment"]) for one in found["grades"]} == {("ada", "sheet1")}
        assert [(one["cell"], one["auto_score"], one["max_score"]) for one in found["grades"]] == [
            ("check-softmax", 9.0, 9.0),
            ("check-accuracy", 1.0, 4.0),
        ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "--csv"], "expected one of"),
        (["--out", "x.json"], "--out needs to know"),
        (["--format", "moodle", "--task", "accuracy"], "must be one of gradescope"),
        (["--course", "part3"], "course must be one of writeup, part2"),
        (["--task", "sotfmax"], "Did you mean 'softmax'"),
    ],
)
def test_usage_errors_are_one_line_and_code_2(half, capsys, words, message):
    assert main(["exercise", "check", str(half), *words]) == 2
    assert message in capsys.readouterr().err


def test_names_from_submissions_cannot_control_the_terminal(tmp_path, capsys):
    folder = tmp_path / "a\x1b[2Jb"
    folder.mkdir()
    (folder / "exercises.py").write_text(HEAD + "def accuracy(p, y):\n    raise ValueError('\\x1b[31m' * 3)\n")
    assert main(["exercise", "check", str(folder), str(folder), "--task", "accuracy"]) == 0
    assert main(["exercise", "check", str(folder), "--task", "accuracy"]) == 0
    assert "\x1b" not in capsys.readouterr().out
