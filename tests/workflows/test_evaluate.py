"""`chalknet.evaluate`: splits of a run's own data, other data, and the files that are written."""

import csv
import json

import numpy as np
import pytest
from conftest import made_images, save_images
from PIL import Image

import chalknet
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError, DataError, OutputError

SETTINGS = {"recipe": "writeup", "hidden": [6], "epochs": 3, "learning_rate": 1e-3}
SIZES = {"train_size": 160, "valid_size": 40}
ITS_OWN = "The scores include samples that the model was trained on."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with letters.npz, a run of it, and other.npz."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name, seed in (("letters", 0), ("other", 1)):
        save_images(folder / f"{name}.npz", seed=seed, class_names=list("ABCD"))
    chalknet.train(folder / "letters.npz", out=folder / "run", **SETTINGS, **SIZES)
    return folder


@pytest.mark.parametrize("split", ["test", "valid"])
def test_a_split_of_the_runs_data_has_the_figures_of_its_summary(folder, split):
    found = chalknet.evaluate(folder / "run", folder / "letters.npz", split=split)
    kept = json.loads((folder / "run" / "summary.json").read_text())["kept"][split]
    assert found.accuracy.value == kept["accuracy"]
    assert found.loss == pytest.approx(kept["loss"], rel=1e-5)  # the engine adds in another order
    assert len(found) == 40
    assert found.notes == ()


def test_without_data_the_runs_own_data_is_evaluated(folder):
    for split in ("test", "all"):
        found = chalknet.evaluate(folder / "run", split=split)
        assert found.sha256 == chalknet.load_data(folder / "letters.npz").sha256
        assert found.accuracy == chalknet.evaluate(folder / "run", folder / "letters.npz", split=split).accuracy
    with pytest.raises(ConfigError, match=r"does not say what data it was trained on\. Give the data, or a run folder"):
        chalknet.evaluate(folder / "run" / "model.safetensors")


@pytest.mark.slow
def test_ensembles_and_provided_splits_match_their_summaries(folder, tmp_path):
    train = chalknet.load_data(folder / "letters.npz")
    chalknet.train(train, out=tmp_path / "two", ensemble=2, **SETTINGS, **SIZES)
    own = {"valid": folder / "other.npz", "test": folder / "other.npz"}
    chalknet.train(train, out=tmp_path / "own", **own, **SETTINGS)
    for name in ("two", "own"):
        found = chalknet.evaluate(tmp_path / name, folder / "letters.npz", split="test")
        kept = json.loads((tmp_path / name / "summary.json").read_text())["kept"]["test"]
        assert found.accuracy.value == kept["accuracy"]
        assert found.loss == pytest.approx(kept["loss"], rel=1e-5)
    assert len(found) == 240
    alone = chalknet.evaluate(tmp_path / "own", folder / "other.npz")
    assert (alone.accuracy, alone.notes) == (found.accuracy, ())
    assert chalknet.evaluate(tmp_path / "own", folder / "letters.npz").notes[0].startswith(ITS_OWN)


def test_evaluating_on_the_training_data_gives_a_note(folder):
    for model, hint in (
        ("run", "Use split='test' to leave them out."),
        ("run/model.safetensors", "Give the run folder and split='test'"),
    ):
        found = chalknet.evaluate(folder / model, folder / "letters.npz")
        assert len(found) == 240
        assert found.notes[-1].startswith(f"{ITS_OWN} {hint}")
    assert chalknet.evaluate(folder / "run", folder / "other.npz").notes == ()
    assert (
        "trained on these samples" in chalknet.evaluate(folder / "run", folder / "letters.npz", split="train").notes[0]
    )


def test_a_split_of_other_data_and_of_a_bare_model_is_refused(folder):
    with pytest.raises(DataError, match=r"other\.npz: is not the data that the run was trained on .* Give split='all'"):
        chalknet.evaluate(folder / "run", folder / "other.npz", split="test")
    with pytest.raises(ConfigError, match=r"needs the splits of a run, .*\. Give the run folder"):
        chalknet.evaluate(folder / "run" / "model.safetensors", folder / "letters.npz", split="test")
    with pytest.raises(ConfigError, match="split must be one of all, test, valid, train, got 'rest'"):
        chalknet.evaluate(folder / "run", folder / "letters.npz", split="rest")


def test_an_empty_or_custom_split_is_an_error(folder, tmp_path):
    chalknet.train(folder / "letters.npz", out=tmp_path / "all", train_size=200, valid_size=40, **SETTINGS)
    with pytest.raises(DataError, match=r"letters\.npz: the test split of the run is empty"):
        chalknet.evaluate(tmp_path / "all", folder / "letters.npz", split="test")
    splits = Splits(np.arange(100), np.arange(100, 120), np.arange(120, 240))
    chalknet.train(folder / "letters.npz", splits=splits, out=tmp_path / "own", **SETTINGS)
    with pytest.raises(ConfigError, match="was trained with index arrays as splits"):
        chalknet.evaluate(tmp_path / "own", folder / "letters.npz", split="test")


def test_scores_on_early_stopping_samples_get_a_note(folder, tmp_path):
    settings = {**SETTINGS, **SIZES, "stop_early": True}
    with pytest.warns(UserWarning, match="chooses the epoch by only 40 validation samples, too few"):
        chalknet.train(folder / "letters.npz", out=tmp_path / "early", **settings)
    found = chalknet.evaluate(tmp_path / "early", folder / "letters.npz", split="valid")
    assert found.notes == ("Early stopping chose the epoch on these samples, so the scores are optimistic.",)


def test_a_network_and_a_data_set_in_memory_are_taken_too(folder):
    network, data = chalknet.load_model(folder / "run" / "model.safetensors"), chalknet.load_data(folder / "other.npz")
    found = chalknet.evaluate(network, data)
    assert found.accuracy.value == chalknet.accuracy(network.predict(data.inputs), data.labels)


def test_a_folder_of_images_is_resized_to_what_the_model_reads(folder, tmp_path):
    data = made_images(12, seed=2)
    for k, (image, label) in enumerate(zip(data.inputs, data.labels, strict=True)):
        path = tmp_path / data.class_names[label] / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).resize((20, 24)).save(path)
    found = chalknet.evaluate(folder / "run", tmp_path)
    assert len(found) == 12
    assert "12 images resized to 6 high and 5 wide." in found.notes


def test_a_table_is_read_again_as_the_run_read_it(tmp_path):
    rows = "".join(f"{i % 7},{'xy'[i % 2]},{i % 5}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(f"a,kind,b\n{rows}")
    data = chalknet.load_data(tmp_path / "t.csv", label_column="kind")
    settings = {**SETTINGS, "train_size": 20, "valid_size": 10}
    chalknet.train(data, out=tmp_path / "run", **settings)
    assert len(chalknet.evaluate(tmp_path / "run", tmp_path / "t.csv", split="test")) == 10


def test_out_gets_all_files_and_they_say_the_same(folder, tmp_path):
    found = chalknet.evaluate(folder / "run", folder / "letters.npz", split="test", out=tmp_path / "out")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    pictures = ["mistakes.png", "reliability.png"]
    assert files == sorted(["classes.csv", "confusion.csv", "evaluation.json", "reliability.csv", *pictures])
    read = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert read == json.loads(json.dumps(found.as_dict()))
    assert read["accuracy"]["value"] == found.accuracy.value
    with (tmp_path / "out" / "confusion.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == read["confusion"] == found.confusion.tolist()
    assert all((tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_a_finished_evaluation_is_kept_unless_told(folder, tmp_path):
    chalknet.evaluate(folder / "run", folder / "letters.npz", out=tmp_path / "out")
    with pytest.raises(OutputError, match=r"already holds a finished evaluation\.json"):
        chalknet.evaluate(folder / "run", folder / "other.npz", out=tmp_path / "out")
    chalknet.evaluate(folder / "run", folder / "other.npz", out=tmp_path / "out", overwrite=True)
    read = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert read["data"]["source"].endswith("other.npz")


def test_without_a_mistake_there_is_no_picture_of_any(folder, tmp_path):
    network, data = chalknet.load_model(folder / "run" / "model.safetensors"), chalknet.load_data(folder / "other.npz")
    chalknet.evaluate(network, data, out=tmp_path / "out")
    right = chalknet.dataset_from_arrays(data.inputs, network.predict(data.inputs), data.class_names)
    assert chalknet.evaluate(network, right, out=tmp_path / "out", overwrite=True).accuracy.value == 1.0
    assert not (tmp_path / "out" / "mistakes.png").exists()


def test_what_fails_leaves_no_folder(folder, tmp_path):
    odd = chalknet.dataset_from_arrays(np.zeros((3, 6, 5), np.uint8), [0, 1, 1], ["A", "Q"])
    with pytest.raises(DataError, match="class 'Q'"):
        chalknet.evaluate(folder / "run", odd, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
