"""The command `chalknet evaluate`."""

import json
from shlex import split

import numpy as np
import pytest
from conftest import save_images

from chalknet.cli.main import main

QUICK = split("--recipe writeup --hidden 6 --epochs 4 --learning-rate 1e-3 --quiet --train 160 --valid 40")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    save_images(folder / "letters.npz", class_names=list("ABCD"))
    save_images(folder / "odd.npz", class_names=list("ABCQ"))
    assert main(["train", "--data", str(folder / "letters.npz"), *QUICK, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def test_tables_of_a_test_split_fit_a_terminal(here, capsys):
    assert main(["evaluate", "run", "letters.npz", "--split", "test"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "run on letters.npz, test split: 40 samples"
    accuracy = json.loads((here / "run" / "summary.json").read_text())["kept"]["test"]["accuracy"]
    assert lines[2].startswith("accuracy")
    assert f"{100 * accuracy:.2f} %" in lines[2]
    for head in ("Each class: ", "Confusion matrix: ", "Reliability: "):
        assert any(line.startswith(head) for line in lines)
    assert printed.err == ""


def test_json_equals_the_file_in_out(here, tmp_path, capsys):
    assert main(["evaluate", "run", "letters.npz", "--json", "--out", str(tmp_path / "e")]) == 0
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "e" / "evaluation.json").read_text(encoding="utf-8")
    assert json.loads(printed.out)["samples"] == 240
    assert printed.err.startswith("note: The scores include samples that the model was trained on")
    assert (here / "run").exists()


@pytest.mark.usefixtures("here")
def test_quiet_prints_no_notes(capsys):
    assert main(["evaluate", "run", "odd.npz", "--class-names", "A,B,C,D", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("run on odd.npz: 240 samples\n")


def test_a_wide_matrix_is_replaced_by_frequent_mistakes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("many.npz", X=rng.normal(size=(400, 4)), y=rng.integers(0, 35, 400))
    assert main(["train", "--data", "many.npz", *QUICK, "--train", "300", "--valid", "50", "--out", "run"]) == 0
    assert main(["evaluate", "run", "many.npz", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "Confusion matrix" not in out
    assert "Most frequent mistakes" in out
    assert "The 30 of 35 classes with the lowest recall" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run/model.safetensors"], 2, "does not say what data it was trained on"),
        (["run", "nowhere.npz"], 1, "no such file or folder"),
        (["nowhere", "letters.npz"], 1, "no such model file"),
        (["run", "odd.npz"], 1, "odd.npz: holds samples of class 'Q', which the model does not know"),
        (["run", "letters.npz", "--split", "rest"], 2, "Invalid value for '--split'"),
        (["run", "odd.npz", "--split", "test"], 1, "is not the data that the run was trained on"),
        (["run/model.safetensors", "letters.npz", "--split", "test"], 2, "Give the run folder"),
        (["run", "letters.npz", "--out", "letters.npz"], 1, "cannot be written"),
        (["run", "letters.npz", "--image-size", "6x5"], 2, "image_size has no meaning for an .npz file"),
    ],
)
def test_invalid_input_is_a_one_line_error_and_writes_nothing(here, capsys, arguments, code, message):
    before = sorted(here.rglob("*"))
    assert main(["evaluate", *arguments]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert sorted(here.rglob("*")) == before
