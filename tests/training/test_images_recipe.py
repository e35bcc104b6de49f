"""The recipe for images: layers for every size, and what replaces it."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import made_images

import chalknet
from chalknet.errors import ConfigError
from chalknet.network.architecture import architecture_for
from chalknet.training.budgets import BUDGETS, settings_for_budget
from chalknet.training.images_recipe import PLANS, batch_size_for, estimated_seconds, image_layers
from chalknet.training.recipes import adapt_to_data, recipe


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((28, 28), "28x28x1-conv32-pool2-conv64-pool2-conv128-pool2-256-10"),
        ((8, 8), "8x8x1-conv32-pool2-conv64-pool2-256-10"),
        ((3, 40), "3x40x1-conv32-256-10"),
        ((1, 1), "1x1x1-conv32-256-10"),
        ((57, 64, 3), "57x64x3-conv32-pool2-conv64-pool2-conv128-pool2-256-10"),
        ((224, 224, 3), "224x224x3-conv32-pool2-conv64-pool2-conv128-pool2-conv128-pool2-conv128-pool2-256-10"),
    ],
)
def test_the_layers_fit_images_of_every_size(shape, sizes):
    chosen = recipe("images").with_settings(layers=image_layers(shape))
    assert str(architecture_for(chosen, shape, 10)) == sizes


@pytest.mark.parametrize(
    ("settings", "name", "layers"),
    [
        ({}, "images", "6x5x1-conv32-pool2-256-4"),
        ({"epochs": 3}, "images", "6x5x1-conv32-pool2-256-4"),
        ({"hidden": [7]}, "strong-dense", "30-7-4"),
        ({"dropout": 0.2}, "strong-dense", "30-1024-512-4"),
        ({"layers": ["flatten", {"type": "dense", "units": 3}]}, "images", "6x5x1-3-4"),
        ({"network": "part2"}, "images", "6x5x1-conv32-pool2-784-4"),
    ],
)
def test_strong_becomes_the_recipe_for_images(settings, name, layers):
    data = made_images(40, seed=0)
    adapted, notes = adapt_to_data(recipe("strong"), settings, data)
    assert adapted.name == name
    assert any(f"recipe {name} is used" in note for note in notes)
    assert str(architecture_for(adapted, data.sample_shape, data.n_classes)) == layers


def test_a_study_that_varies_a_dense_network_starts_from_the_dense_recipe():
    data = made_images(40, seed=0)
    assert adapt_to_data(recipe("strong"), {}, data, varied={"hidden"})[0].name == "strong-dense"
    assert adapt_to_data(recipe("strong"), {}, data, varied={"learning_rate"})[0].name == "images"


def test_recipe_images_refuses_table_rows_and_dense_layers():
    rows = chalknet.dataset_from_arrays(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2)
    with pytest.raises(ConfigError, match="recipe images is for images, but the samples are table rows"):
        adapt_to_data(recipe("images"), {}, rows)
    with pytest.raises(ConfigError, match=r"recipe images has layers of its own, so it takes no hidden\. Use"):
        adapt_to_data(recipe("images"), {"hidden": [5]}, made_images(40, seed=0))


def test_more_time_buys_more_training_of_images():
    seconds = [estimated_seconds(PLANS[name], 1_000, (28, 28), 10) for name in BUDGETS]
    assert seconds == sorted(seconds)
    for name, needed in zip(BUDGETS, seconds, strict=True):
        assert settings_for_budget(needed * 1.01, 1_000, (28, 28), 10, "images") == PLANS[name]


@pytest.mark.parametrize(("n_images", "size"), [(1, 16), (255, 16), (256, 32), (511, 32), (1_023, 64), (1_024, 128)])
def test_few_images_are_trained_in_small_batches(n_images, size):
    assert batch_size_for(n_images) == size


def test_the_batch_of_recipe_images_fits_the_training_images():
    data = made_images(400, seed=0)
    note = "320 training images are few, so batches have 32 instead of 128 images."
    adapted, notes = adapt_to_data(recipe("strong"), {}, data)
    assert (adapted.training.batch_size, notes[1]) == (32, note)
    folds, _ = adapt_to_data(recipe("strong"), {"ensemble": 2, "folds": 2}, data)
    assert folds.training.batch_size == 16  # 180 images of 360
    for settings, varied in [({"batch_size": 128}, ()), ({}, ("batch_size",)), ({"hidden": [5]}, ())]:
        kept, notes = adapt_to_data(recipe("strong"), settings, data, varied=varied)
        assert kept.training.batch_size == 128
        assert not any("batches" in one for one in notes)
