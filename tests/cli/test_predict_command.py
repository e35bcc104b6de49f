"""The command `chalknet predict`."""

import csv
import io
import json

import numpy as np
import pytest
from conftest import made_images, save_class_folders, save_images
from PIL import Image

from chalknet.artifacts.model_file import load_model, save_model
from chalknet.cli.main import main

SIZES = ["--train", "160", "--valid", "40"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with letters.npz, a run trained on it, two images and a file that is no image."""
    folder = tmp_path_factory.mktemp("predict")
    data = made_images(240, seed=0)
    save_images(folder / "letters.npz", class_names=list("ABCD"))
    quick = ["--recipe", "writeup", "--hidden", "6", "--epochs", "4", "--learning-rate", "1e-3", *SIZES, "--quiet"]
    assert main(["train", "--data", str(folder / "letters.npz"), *quick, "--out", str(folder / "run")]) == 0
    for k in range(2):
        Image.fromarray(data.inputs[k]).resize((40, 30)).convert("RGB").save(folder / f"{k}.png")
    (folder / "bad.png").write_bytes(b"junk")
    return folder


@pytest.fixture
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def test_a_table_is_printed_and_notes_go_to_standard_error(here, capsys):
    assert main(["predict", "run", "0.png", "1.png"]) == 0
    printed = capsys.readouterr()
    _, heads, first, second = printed.out.splitlines()
    assert heads.split() == ["name", "label", "probability", "next", "best"]
    network = load_model(here / "run" / "model.safetensors")
    assert first.startswith("0.png")
    assert {first.split()[1], second.split()[1]} <= set(network.class_names)
    assert printed.err.splitlines()[0] == "note: 2 images such as 0.png: 40x30 RGB -> 5x6 gray, stretched"
    assert "note: 2 images stretched to the proportions of the training images. How those were" in printed.err
    assert max(map(len, printed.out.splitlines())) <= 80


@pytest.mark.usefixtures("here")
def test_top_sets_how_many_classes_are_shown(capsys):
    main(["predict", "run", "0.png", "--top", "1", "--quiet"])
    assert capsys.readouterr().out.splitlines()[1].split() == ["name", "label", "probability"]
    main(["predict", "run", "0.png", "--top", "9", "--quiet"])
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].endswith("next best  3rd best  4th best")
    assert printed.err == ""


def test_csv_has_the_predictions_of_the_model(here, capsys):
    assert main(["predict", "run", "letters.npz", "--csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    network, data = load_model(here / "run" / "model.safetensors"), np.load(here / "letters.npz")
    expected = network.predict_proba(data["images"])
    assert rows[0] == ["name", "label", "probability", "p_A", "p_B", "p_C", "p_D"]
    np.testing.assert_array_equal(np.array([row[3:] for row in rows[1:]], np.float32), expected)
    assert [row[1] for row in rows[1:]] == network.predict_names(data["images"])
    assert rows[-1][0] == "letters.npz[239]"
    np.testing.assert_array_equal(np.array([row[2] for row in rows[1:]], np.float32), expected.max(axis=1))


def test_json_has_the_predictions_of_the_model(here, capsys):
    assert main(["predict", "run", "letters.npz", "0.png", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    network, data = load_model(here / "run" / "model.safetensors"), np.load(here / "letters.npz")
    probabilities = np.array([one["probabilities"] for one in found["predictions"][:-1]], np.float32)
    np.testing.assert_array_equal(probabilities, network.predict_proba(data["images"]))
    assert [one["label"] for one in found["predictions"][:-1]] == network.predict_names(data["images"])
    assert found["class_names"] == list("ABCD")
    assert found["predictions"][-1]["read_as"] == "40x30 RGB -> 5x6 gray, stretched"
    assert "read_as" not in found["predictions"][0]
    assert (found["model"], found["unreadable"], len(found["notes"])) == ("run", [], 1)


@pytest.mark.usefixtures("here")
def test_an_unreadable_file_is_named_and_the_exit_code_is_1(capsys):
    assert main(["predict", "run", "0.png", "bad.png", "1.png", "--csv", "--quiet"]) == 1
    printed = capsys.readouterr()
    assert [line.split(",")[0] for line in printed.out.splitlines()] == ["name", "0.png", "1.png"]
    assert printed.err.startswith("chalknet: bad.png: is no image of a known kind")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("kind", ["csv", "json", "txt"])
@pytest.mark.usefixtures("here")
def test_out_gets_what_would_be_printed(capsys, tmp_path, kind):
    flags = [] if kind == "txt" else [f"--{kind}"]
    main(["predict", "run", "0.png", "--quiet", *flags])
    shown = capsys.readouterr().out
    assert main(["predict", "run", "0.png", "--quiet", "--out", str(tmp_path / f"a.{kind}")]) == 0
    assert (tmp_path / f"a.{kind}").read_text(encoding="utf-8") == shown
    assert capsys.readouterr().out == f"1 prediction written to {tmp_path}/a.{kind}\n"


@pytest.mark.usefixtures("here")
def test_invert_changes_the_predictions_and_is_noted(capsys):
    main(["predict", "run", "0.png", "--csv"])
    plain = capsys.readouterr().out
    main(["predict", "run", "0.png", "--csv", "--invert"])
    printed = capsys.readouterr()
    assert printed.out != plain
    assert "40x30 RGB -> 5x6 gray, inverted" in printed.err


def test_names_cannot_control_a_terminal(here, tmp_path, capsys):
    network = load_model(here / "run" / "model.safetensors")
    object.__setattr__(network, "class_names", ("\x1b[31mA", "B", "C", "D"))  # past the check of a network's names
    save_model(network, tmp_path / "odd.safetensors")
    for form in ([], ["--csv"], ["--json"]):
        main(["predict", str(tmp_path / "odd.safetensors"), "letters.npz", *form])
        printed = capsys.readouterr()
        assert "\x1b" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run"], 2, "Missing argument 'INPUT...'"),
        (["run", "bad.png"], 1, "bad.png: is no image of a known kind"),
        (["run", "nowhere.png"], 1, "nowhere.png: cannot be read: No such file"),
        (["nowhere", "0.png"], 1, "nowhere: no such model file"),
        (["letters.npz", "0.png"], 1, "is not a whole safetensors file"),
        (["run", "0.png", "--top", "0"], 2, "--top"),
        (["run", "0.png", "--csv", "--json"], 2, "two formats of the predictions"),
        (["run", "0.png", "--json", "--out", "a.csv"], 2, "--json and --out a.csv are two formats of the predictions."),
        (["run", "0.png", "--csv", "--out", "a.json"], 2, "--csv and --out a.json are two formats of the predictions."),
        (["run", "0.png", "--out", ""], 2, "'--out': it must be the name of a file or a folder"),
        (["run", "0.png", "--csv", "--top", "3"], 2, "Leave out --top."),
        (["run", "0.png", "--out", "0.png"], 2, "must end in .csv, .json, .txt"),
        (["run", "0.png", "--out", "no/folder.csv"], 1, "cannot be written"),
        (["run", "0.png", "--white", "-1"], 2, "white must be a number > 0"),
        (["run", "letters.npz", "--invert"], 2, "invert is for image files"),
    ],
)
def test_invalid_input_is_a_one_line_error_and_writes_nothing(here, capsys, arguments, code, message):
    before = sorted(here.rglob("*"))
    assert main(["predict", *arguments]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("model", ["run", "run/model.safetensors"])
def test_images_are_resized_as_in_training_by_default(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    save_class_folders(tmp_path / "letters", n=120, size=(40, 20))
    quick = ["--recipe", "writeup", "--hidden", "4", "--epochs", "1", "--train", "60", "--valid", "20", "--quiet"]
    shape = ["--image-size", "20x20", "--image-fit", "crop"]
    assert main(["train", "--data", "letters", *shape, *quick, "--out", "run"]) == 0
    probabilities = []
    for more in [], ["--image-fit", "crop"], ["--image-fit", "stretch"]:
        assert main(["predict", model, "letters/A", *more, "--no-invert", "--no-trim", "--csv"]) == 0
        printed = capsys.readouterr()
        probabilities.append(printed.out)
        assert ("cropped to the proportions of the training images, as in training" in printed.err) == (not more)
    assert probabilities[0] == probabilities[1] != probabilities[2]
    scores = []
    for more in [], ["--image-fit", "crop"], ["--image-fit", "stretch"]:
        (tmp_path / "other").exists() or (tmp_path / "letters").rename(tmp_path / "other")
        assert main(["evaluate", model, "other", *more, "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out)["loss"])
    assert scores[0] == scores[1] != scores[2]


def test_notes_on_image_files_advise_nothing_but_the_preparation_of_the_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_class_folders(tmp_path / "letters", n=60, size=(40, 20))
    for path in (tmp_path / "letters").glob("*/*.png"):
        Image.merge("RGB", [Image.open(path), *[Image.new("L", (40, 20))] * 2]).save(path)
    quick = ["--recipe", "writeup", "--hidden", "4", "--epochs", "1", "--train", "30", "--valid", "10"]
    assert main(["train", "--data", "letters", "--image-size", "20x20", *quick, "--out", "run"]) == 0
    trained = capsys.readouterr().err
    assert "--image-fit" in trained
    assert "--color rgb" in trained
    (tmp_path / "letters").rename("other")
    for line in (["evaluate", "run", "other"], ["predict", "run/model.safetensors", "other/A"]):
        assert main(line) == 0
        printed = capsys.readouterr().err
        assert "--image-fit" not in printed
        assert "--color" not in printed


@pytest.mark.usefixtures("here")
def test_an_evaluation_says_once_that_the_preparation_of_the_training_is_not_known(tmp_path, capsys):
    save_class_folders(tmp_path / "other", n=60, size=(40, 20))
    assert main(["evaluate", "run", str(tmp_path / "other")]) == 0
    printed = capsys.readouterr().err
    assert printed.count("stretched to other proportions (how the training images were resized is not known)") == 1
    assert "--image-fit" not in printed
