import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import save_images

import chalknet
from chalknet.artifacts.training_facts import training_facts
from chalknet.config import Recipe, config_from_tables, read_config
from chalknet.data.open_data import open_data
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError, DataError, DivergenceError, OutputError


def parts_of(*parts):
    return Splits(*(np.array(part, None if part else np.int64) for part in parts))


SETTINGS = {"recipe": "writeup", "hidden": [6], "epochs": 3, "train_size": 160, "valid_size": 40, "learning_rate": 1e-3}


def test_train_gives_history_and_network_and_shows_each_epoch(small_images):
    seen = []
    run = chalknet.train(small_images, callbacks=seen.append, **SETTINGS)
    assert list(run.history) == seen
    assert run.network.predict_proba(small_images.inputs).shape == (240, 4)
    assert run.recipe.network.hidden == (6,)


def test_train_takes_index_arrays_and_a_recipe_object(small_images):
    splits = Splits(np.arange(100), np.arange(100, 120), np.arange(120, 240))
    run = chalknet.train(small_images, recipe=Recipe(), splits=splits, hidden=[4], epochs=1)
    assert run.splits is splits


def test_train_takes_a_path_and_writes_a_folder(tmp_path):
    save_images(tmp_path / "letters.npz")
    chalknet.train(tmp_path / "letters.npz", out=tmp_path / "run", **SETTINGS)
    recipe, config = read_config(tmp_path / "run" / "config.toml")
    assert recipe.network.hidden == (6,)
    assert config.source == str(tmp_path / "letters.npz")
    assert len(open_data(config)) == 240


def test_the_model_file_carries_the_complete_recipe(small_images, tmp_path):
    run = chalknet.train(small_images, out=tmp_path / "run", **{**SETTINGS, "momentum": 0.7, "shift_pixels": 1})
    facts = training_facts(tmp_path / "run" / "model.safetensors")
    recipe, _ = config_from_tables({"recipe": facts["recipe"], **facts["settings"]}, "the model file")
    assert recipe == run.recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"valid": np.zeros((3, 2))},
            "valid must be a Dataset, a path, a table or a tuple (X, y) of samples and labels, got ndarray.",
        ),
        ({"recipe": 5}, "unknown recipe '5'. Known: images, part2, rows, strong, "),
        ({"callbacks": [print, 5]}, "callbacks must be a callable"),
        ({"splits": (1, 2, 3)}, "splits must be Splits(train, valid, test), got tuple"),
        ({"splits": parts_of([0.5], [], [])}, "splits.train must be (n,) integers, got (1,) float64"),
        ({"splits": parts_of([0, 1], [3], [-1])}, "splits.test[0] is -1, but samples are 0..239"),
        ({"splits": parts_of([0, 240], [3], [])}, "splits.train[1] is 240, but samples are 0..239"),
        ({"splits": parts_of([], [3], [])}, "splits.train is empty; at least one training sample is needed"),
        ({"splits": parts_of([0, 1, 2], [3], [2, 1])}, "splits.train and splits.test share 2 samples, the first of"),
    ],
)
def test_an_invalid_setting_is_one_line(small_images, arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        chalknet.train(small_images, hidden=[4], epochs=1, **arguments)


def test_an_unknown_setting_is_named(small_images):
    with pytest.raises(ConfigError, match=r"unknown setting 'hiden'\. Did you mean 'hidden'"):
        chalknet.train(small_images, hiden=[5])


def test_splits_larger_than_the_data_are_named_with_both_sizes(small_images):
    with pytest.raises(
        ConfigError,
        match=r"made\.npz: 15000 training and 1000 validation samples were asked for, but there are only",
    ):
        chalknet.train(small_images, "writeup")


def test_data_that_is_not_what_a_configuration_says_is_refused(tmp_path):
    save_images(tmp_path / "letters.npz")
    config = chalknet.config.DataConfig(str(tmp_path / "letters.npz"), sha256="0" * 64)
    with pytest.raises(
        DataError, match=r"letters.npz: is not the data .* expected 0{64}. Name the right file with data"
    ):
        open_data(config)


def test_a_run_of_data_read_with_options_is_repeated_with_them(tmp_path):
    save_images(tmp_path / "letters.npz")
    named = chalknet.load_data(tmp_path / "letters.npz", class_names=["w", "x", "y", "z"])
    first = chalknet.train(named, out=tmp_path / "run", **SETTINGS)
    recipe, config = read_config(tmp_path / "run" / "config.toml")
    again = chalknet.train(open_data(config), recipe)
    assert again.network.class_names == ("w", "x", "y", "z")
    assert [record.train for record in again.history] == [record.train for record in first.history]


def test_custom_splits_cannot_be_repeated_by_mistake(tmp_path, small_images):
    splits = Splits(np.arange(100), np.arange(100, 120), np.arange(120, 240))
    chalknet.train(small_images, splits=splits, hidden=[4], epochs=1, out=tmp_path / "run")
    recipe, config = read_config(tmp_path / "run" / "config.toml")
    assert recipe.split.split == "custom"
    with pytest.raises(
        ConfigError, match=r"split 'custom' stands for index arrays\. Give them to chalknet.train as splits"
    ):
        chalknet.train(small_images, recipe)
    assert config.source == "made.npz"


def test_arrays_in_memory_are_not_looked_for_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    data = chalknet.dataset_from_arrays(rng.normal(size=(240, 5)), rng.integers(0, 3, 240))
    chalknet.train(data, out=tmp_path / "run", **SETTINGS)
    _, config = read_config(tmp_path / "run" / "config.toml")
    with pytest.raises(DataError, match="written for arrays in memory, which are in no file"):
        open_data(config)


def test_a_run_knows_its_folder_and_shows_itself_in_a_line(tmp_path, small_images):
    run = chalknet.train(small_images, out=tmp_path / "run", **SETTINGS)
    assert run.folder == tmp_path / "run"
    for shown in (run, run.network, run.data):
        assert len(repr(shown)) < 500
        assert "\n" not in repr(shown)


def test_a_full_disk_for_pictures_does_not_lose_the_run(tmp_path, small_images, monkeypatch):
    from chalknet.workflows import single_run as workflow

    real = workflow.write_files

    def full_for_pictures(folder, files):
        if "curves.png" in files:
            raise OutputError("curves.png: cannot be written: No space left on device.")
        real(folder, files)

    monkeypatch.setattr(workflow, "write_files", full_for_pictures)
    with pytest.raises(OutputError):
        chalknet.train(small_images, out=tmp_path / "run", **SETTINGS)
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_divergence_leaves_the_best_weights(small_images, tmp_path):
    settings = {"hidden": [6], "batch_size": 32, "optimizer": "gradient_descent", "activation": "identity"}
    settings |= {"schedule": "step", "step_epochs": 4, "step_factor": 1e12, "learning_rate": 1e-4, "epochs": 9}
    with pytest.raises(DivergenceError, match=r"loss became nan at epoch 5 \(learning_rate 1e\+08, update") as caught:
        chalknet.train(small_images, "writeup", out=tmp_path / "run", train_size=160, valid_size=40, **settings)
    run = caught.value.run
    assert f"The weights of the best epoch, {run.kept_epoch}, are in {tmp_path / 'run'}" in str(caught.value)
    network = chalknet.load_model(tmp_path / "run" / "model.safetensors")
    index = run.splits.valid
    correct = np.mean(network.predict(small_images.inputs[index]) == small_images.labels[index])
    assert correct == run.history[run.kept_epoch - 1].valid.accuracy
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.fixture
def notebook(monkeypatch):
    """Yield what a stand-in for IPython shows, each line in place of the last one."""
    shown = []
    line = SimpleNamespace(update=lambda text, **_: shown.append(text["text/plain"]))

    def display(text, **_):
        shown.append(text["text/plain"])
        return line

    kernel = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return shown


def test_a_notebook_shows_the_progress_of_a_training(small_images, notebook, monkeypatch):
    monkeypatch.setattr("chalknet.training.progress.UPDATE_SECONDS", 0.0)
    chalknet.train(small_images, **SETTINGS)
    assert [line.partition("  ")[0] for line in notebook] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "  loss 1." in notebook[0]
    assert notebook[-1].endswith("0:00 left")
    chalknet.train(small_images, ensemble=2, **SETTINGS)
    assert notebook[-1].startswith("network 2 of 2, epoch 3/3  ")


def test_a_notebook_is_not_told_more_often_than_it_can_show(small_images, notebook):
    chalknet.train(small_images, **{**SETTINGS, "epochs": 400})
    assert 2 <= len(notebook) < 100


def test_a_notebook_shows_the_progress_of_a_study(small_images, notebook, tmp_path):
    settings = {name: value for name, value in SETTINGS.items() if name != "learning_rate"}
    chalknet.study(small_images, {"learning_rate": [1e-4, 1e30]}, out=tmp_path, seeds=1, jobs=1, **settings)
    assert notebook[-1].splitlines()[-1].startswith("runs 1/2  0 running  1 failed")
    assert "learning_rate=1e+30, seed 0 failed: " in notebook[-1].splitlines()[0]


@pytest.mark.usefixtures("small_images")
def test_outside_a_notebook_a_training_is_silent(small_images, capsys):
    chalknet.train(small_images, **SETTINGS)
    assert capsys.readouterr() == ("", "")


def test_a_path_is_read_as_load_data_would_read_it(tmp_path, small_images):
    rows = ["b,kind,a", *(f"{k % 7},{'xy'[k % 2]},{k % 5}" for k in range(240))]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    run = chalknet.train(tmp_path / "t.csv", label_column="kind", **SETTINGS)
    assert run.data.class_names == ("x", "y")
    with pytest.raises(ConfigError, match="label_column says how data is read, but data is a Dataset"):
        chalknet.train(small_images, label_column="kind", **SETTINGS)
