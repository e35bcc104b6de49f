"""The command `chalknet stopping`."""

import csv
import io
import json

import pytest

from chalknet.cli.main import main
from chalknet.workflows.data import convert
from chalknet.workflows.stopping import find_stopping


def line_of(folder):
    """Return the arguments of a training whose validation loss rises again within 40 epochs."""
    sizes = ["--hidden", "7", "--epochs", "40", "--train", "120", "--valid", "80"]
    rates = ["--learning-rate", "0.02", "--momentum", "0.9"]
    return ["train", "--recipe", "writeup", "--data", str(folder / "made.npz"), *sizes, *rates, "--quiet"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, small_images):
    folder = tmp_path_factory.mktemp("stopping")
    convert(small_images, folder / "made.npz")
    assert main([*line_of(folder), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_stopping_point_of_a_run_has_an_interval(run_folder, capsys):
    assert main(["stopping", str(run_folder)]) == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader((run_folder / "history.csv").read_text().splitlines()))
    best = min(rows, key=lambda row: float(row["valid_loss"]))
    assert f"run: the validation loss is smallest after epoch {best['epoch']} (95 % interval " in text
    assert "Training until epoch 40 changed accuracy by " in text
    assert f"{100 * float(best['test_accuracy']):.2f} %" in text


def test_json_and_csv_hold_the_same(run_folder, capsys):
    main(["stopping", str(run_folder), "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    main(["stopping", str(run_folder), "--csv"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["best epoch"] == f"{found['point']['epoch']['value']}"
    assert row["95 % interval"] == f"{found['point']['epoch']['low']:.0f} to {found['point']['epoch']['high']:.0f}"


def test_without_scores_of_samples_there_is_no_interval(run_folder, tmp_path):
    for file in run_folder.iterdir():
        if file.name != "valid_samples.npz":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (with_interval,), (without,) = find_stopping(run_folder), find_stopping(tmp_path)
    assert without.point.epoch.value == with_interval.point.epoch.value
    assert "interval" not in without.sentences()
    assert without.as_dict()["point"]["epoch"]["low"] is None


def test_a_run_that_stopped_early_cannot_be_judged(run_folder, tmp_path, capsys):
    line = [*line_of(run_folder.parent), "--stop-early", "--patience", "3"]
    assert main([*line, "--out", str(tmp_path / "early")]) == 0
    assert main(["stopping", str(tmp_path / "early")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "early: it stopped early, so its curves are not whole."
    )  # no heading of a table without rows
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere"),
        (["{run}", "--monitor", "valid_los"], 2, "got 'valid_los'. Did you mean 'valid_loss'?"),
    ],
)
def test_invalid_arguments_are_a_one_line_error(run_folder, capsys, arguments, code, message):
    assert main(["stopping", *(argument.format(run=run_folder) for argument in arguments)]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
