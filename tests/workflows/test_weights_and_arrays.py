"""Provided sample weights and index arrays: what they do, and that resuming needs them again."""

import json
from dataclasses import replace

import numpy as np
import pytest

import chalknet
from chalknet.cli.main import main
from chalknet.config import read_config
from chalknet.data.load import load_data
from chalknet.errors import ConfigError, DataError

SETTINGS = {"hidden": [6], "epochs": 5, "batch_size": 32, "reduction": "mean", "learning_rate": 0.05}
RECIPE = chalknet.recipe("writeup").with_settings(train_size=160, valid_size=40, **SETTINGS)
WEIGHTS = np.random.default_rng(0).random(240)


@pytest.fixture
def letters(letters):
    return load_data(letters)


def same(one, other):
    return all(
        (value == b.parameters[name]).all()
        for a, b in zip(one.network.members, other.network.members, strict=True)
        for name, value in a.parameters.items()
    )


@pytest.mark.parametrize("ensemble", [1, 2])
def test_weight_0_removes_a_sample_and_weight_2_doubles_it(small_images, ensemble):
    # Full batches of sums: doubling and leaving out samples, in a training part that is made so by index arrays.
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 3, 160)
    splits = chalknet.Splits(np.arange(160), np.arange(160, 200), np.arange(200, 240))
    repeated = replace(splits, train=np.repeat(np.arange(160), counts))
    settings = {"hidden": [6], "epochs": 4, "ensemble": ensemble, "dtype": "float64", "reduction": "mean"}
    settings |= {"learning_rate": 0.1, "momentum": 0.5}
    weights = np.concatenate([counts, np.full(80, 9.0)])
    weighed = chalknet.train(small_images, "writeup", splits=splits, sample_weights=weights, **settings)
    plain = chalknet.train(small_images, "writeup", splits=repeated, **settings)
    for one, other in zip(weighed.network.members, plain.network.members, strict=True):
        for name, value in one.parameters.items():
            np.testing.assert_allclose(value, other.parameters[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("factor", [1000.0, 1e-6, 1e-300, 3.7])
@pytest.mark.parametrize("class_weights", ["equal", "balanced", [1.0, 2.0, 3.0, 4.0]])
def test_only_ratios_of_weights_count(small_images, class_weights, factor):
    settings = {**SETTINGS, "train_size": 160, "valid_size": 40, "class_weights": class_weights, "dtype": "float64"}
    one, other = (
        chalknet.train(small_images, "writeup", sample_weights=w, **settings) for w in (WEIGHTS, factor * WEIGHTS)
    )
    assert same(one, other)
    assert not same(one, chalknet.train(small_images, "writeup", **settings))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(239), r"sample weights must be \(240,\) numbers, got \(239,\) float64"),
        (np.ones((240, 1)), r"sample weights must be \(240,\) numbers, got \(240, 1\)"),
        (np.full(240, "a"), r"must be \(240,\) numbers, got \(240,\) <U1"),
        (np.r_[np.ones(7), -1, np.ones(232)], r"finite and >= 0, got -1.0 at 7"),
        (np.r_[np.ones(239), np.inf], r"finite and >= 0, got inf at 239"),
        (np.zeros(240), r"all sample weights of the training split are 0"),
    ],
)
def test_invalid_weights_are_an_error_and_nothing_is_written(small_images, tmp_path, weights, message):
    with pytest.raises(DataError, match=message) as caught:
        chalknet.train(small_images, RECIPE, sample_weights=weights, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_provided_splits_need_no_weights(small_images):
    own = chalknet.dataset_from_arrays(small_images.inputs[:40], small_images.labels[:40], class_names="ABCD")
    given = {"valid": own, "test": own, "sample_weights": WEIGHTS, **SETTINGS}
    chalknet.train(small_images, "writeup", **given)
    with pytest.raises(DataError, match=r"must be \(240,\) numbers, got \(241,\)"):
        chalknet.train(small_images, "writeup", **given | {"sample_weights": np.ones(241)})


def stopped(data, recipe, splits=None, weights=None):
    """Stop a training after three epochs, that of an ensemble in its last network."""

    def stop(record):
        seen.append(record.epoch)
        if len(seen) == 3 + 5 * (recipe.training.ensemble - 1):
            raise KeyboardInterrupt

    seen = []
    given = {"splits": splits, "sample_weights": weights}
    with pytest.raises(KeyboardInterrupt):
        chalknet.train(data, recipe, **given, out="run", checkpoint_seconds=0, callbacks=stop)


@pytest.mark.parametrize("ensemble", [1, 2])
@pytest.mark.slow
def test_resuming_needs_the_same_sample_weights(letters, capsys, ensemble):
    recipe = RECIPE.with_settings(ensemble=ensemble)
    whole = chalknet.train(letters, recipe, sample_weights=WEIGHTS, out="whole")
    stopped(letters, recipe, None, WEIGHTS)
    with pytest.raises(
        ConfigError, match=r'run: was trained with sample_weights in memory.*chalknet.resume\("run", sam'
    ):
        chalknet.resume("run")
    with pytest.raises(
        DataError, match=r"run: was started with other sample_weights: expected sha256 [0-9a-f]{64}, got"
    ):
        chalknet.resume("run", sample_weights=WEIGHTS + 1)
    assert main(["train", "--resume", "run"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "sample_weights=..." in said
    run = chalknet.resume("run", sample_weights=WEIGHTS)
    assert same(run, whole)
    assert read_config(run.folder / "config.toml") == read_config(whole.folder / "config.toml")
    digest = json.loads((run.folder / "summary.json").read_text())["data"]["sample_weights_sha256"]
    assert digest == read_config(run.folder / "config.toml")[1].sample_weights_sha256 != ""


def test_a_run_without_weights_is_not_resumed_with_them(letters):
    stopped(letters, RECIPE)
    with pytest.raises(ConfigError, match=r"run: was trained without sample_weights\. Leave them out"):
        chalknet.resume("run", sample_weights=WEIGHTS)


def test_index_arrays_and_data_in_memory_are_passed_again(small_images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = chalknet.dataset_from_arrays(small_images.inputs, small_images.labels, class_names="ABCD")
    splits = chalknet.Splits(np.arange(0, 160), np.arange(160, 200), np.arange(200, 240))
    whole = chalknet.train(data, RECIPE, splits=splits)
    stopped(data, RECIPE, splits)
    with pytest.raises(ConfigError, match=r"trained with data and splits in memory.*data=\.\.\., splits=\.\.\."):
        chalknet.resume("run")
    other = chalknet.Splits(splits.train[::-1], splits.valid, splits.test)
    with pytest.raises(DataError, match="was started with other splits"):
        chalknet.resume("run", data=data, splits=other)
    changed = chalknet.dataset_from_arrays(255 - small_images.inputs, small_images.labels, class_names="ABCD")
    with pytest.raises(DataError, match="was started with other data"):
        chalknet.resume("run", data=changed, splits=splits)
    assert same(chalknet.resume("run", data=data, splits=splits), whole)


def test_a_config_of_a_weighted_run_needs_the_weights(letters, capsys):
    chalknet.train(letters, RECIPE, sample_weights=WEIGHTS, out="run")
    assert main(["train", "--config", "run/config.toml"]) == 2
    assert "run/config.toml: is from a training with sample weights, which it cannot hold" in capsys.readouterr().err
