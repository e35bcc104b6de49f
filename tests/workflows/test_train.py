import numpy as np
import pytest
from conftest import made_images

import chalknet
from chalknet.config import Recipe
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError, DataError
from chalknet.workflows.settle import next_free, settle
from chalknet.workflows.train import open_data

SETTINGS = {"hidden": [6], "epochs": 3, "train_size": 160, "valid_size": 40, "learning_rate": 1e-3}


def test_train_gives_history_and_network_and_shows_each_epoch(small_images):
    seen = []
    run = chalknet.train(small_images, recipe="writeup", observe=seen.append, **SETTINGS)
    assert list(run.history) == seen
    assert run.network.predict_proba(small_images.inputs).shape == (240, 4)
    assert run.recipe.network.hidden == (6,)


def test_train_takes_splits_of_ones_own_and_a_recipe_object(small_images):
    splits = Splits(np.arange(100), np.arange(100, 120), np.arange(120, 240))
    run = chalknet.train(small_images, recipe=Recipe(), splits=splits, hidden=[4], epochs=1)
    assert run.splits is splits


def test_train_takes_a_path_and_writes_a_folder(tmp_path):
    data = made_images(240, seed=0)
    np.savez(tmp_path / "letters.npz", images=data.inputs, labels=data.labels)
    chalknet.train(tmp_path / "letters.npz", out=tmp_path / "run", **SETTINGS)
    recipe, config = settle(None, str(tmp_path / "run" / "config.toml"), {}, chalknet.config.DataConfig())
    assert recipe.network.hidden == (6,)
    assert config.source == str(tmp_path / "letters.npz")
    assert len(open_data(config)) == 240


def test_an_unknown_setting_is_named(small_images):
    with pytest.raises(ConfigError, match=r"unknown setting 'hiden'\. Did you mean 'hidden'"):
        chalknet.train(small_images, hiden=[5])


def test_splits_larger_than_the_data_are_named_with_both_sizes(small_images):
    with pytest.raises(
        ConfigError,
        match=r"made\.npz: 15000 training and 1000 validation samples were asked for, but there are only",
    ):
        chalknet.train(small_images)


def test_data_that_is_not_what_a_configuration_says_is_refused(tmp_path):
    data = made_images(240, seed=0)
    np.savez(tmp_path / "letters.npz", images=data.inputs, labels=data.labels)
    config = chalknet.config.DataConfig(str(tmp_path / "letters.npz"), sha256="0" * 64)
    with pytest.raises(
        DataError, match=r"letters.npz: is not the data .* expected 0{64}. Name the right file with --data"
    ):
        open_data(config)


def test_the_next_free_folder_counts_up(tmp_path):
    assert next_free(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert next_free(tmp_path / "run") == tmp_path / "run-3"
