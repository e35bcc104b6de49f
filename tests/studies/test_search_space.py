"""The grid of a study, what a seed changes, which images are scored, and what identifies a run."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from studies import small_studies

from chalknet.config import Recipe
from chalknet.errors import ConfigError
from chalknet.studies.search_space import (
    check_specification,
    configuration_splits,
    cost,
    grid_configurations,
    make_configuration,
    study_splits,
)
from chalknet.studies.spec import StudySpec, parse_vary

SIZES = Recipe().with_settings(train_size=160, valid_size=40)
spec_of = partial(small_studies.spec_of, recipe=SIZES)


def test_grid_varies_the_last_field_fastest():
    labels = [config.label for config in grid_configurations(spec_of("hidden=5,6x4", "learning_rate=1e-5,0.001"))]
    assert labels == [
        "hidden=5, learning_rate=1e-05",
        "hidden=5, learning_rate=0.001",
        "hidden=6x4, learning_rate=1e-05",
        "hidden=6x4, learning_rate=0.001",
    ]


def test_nothing_varied_is_one_configuration():
    assert [config.label for config in grid_configurations(spec_of())] == ["base"]


def test_larger_sample_contains_the_smaller_one():
    vary = "hidden=1:40:lin40"
    grid = grid_configurations(spec_of(vary))
    small, large = (grid_configurations(spec_of(vary, sample=n)) for n in (5, 20))
    assert len(small) == 5
    assert len(large) == 20
    assert set(small) < set(large) < set(grid)
    assert list(large) == sorted(large, key=grid.index)
    assert (
        grid_configurations(spec_of(vary, sample=5))
        == small
        != grid_configurations(spec_of(vary, sample=5, sample_seed=1))
    )
    assert grid_configurations(spec_of(vary, sample=99)) == grid


def test_keys_are_unique_and_stable():
    configs = grid_configurations(spec_of("hidden=1:9:lin9", "momentum=0:0.9:lin4", "bias_momentum=true,false"))
    assert len({config.key for config in configs}) == len(configs) == 72
    one, other = (make_configuration(spec_of(), settings) for settings in ({"hidden": [5], "momentum": 0.5}, {}))
    again = make_configuration(spec_of(recipe=SIZES.with_settings(momentum=0.5)), {"hidden": (5,)})
    assert one.key == again.key != other.key


@pytest.mark.parametrize(
    "other",
    [
        {"seeds_vary": ("init",)},
        {"seeds_vary": ("init", "order", "split")},
        {"recipe": SIZES.with_settings(epochs=3)},
        {"recipe": SIZES.with_settings(split_seed=1)},
        {"recipe": SIZES.with_settings(valid_size=41)},
        {"recipe": SIZES.with_settings(train_size=161)},
    ],
)
def test_whatever_changes_the_numbers_changes_the_key(other):
    assert make_configuration(spec_of(), {}).key != make_configuration(spec_of(**other), {}).key


def test_a_name_is_the_label_and_no_part_of_the_key():
    layers = ["flatten", {"type": "dense", "units": 4}, "relu"]
    first, second = grid_configurations(StudySpec(configurations={"plain": {}, "other layers": {"layers": layers}}))
    assert (first.label, second.label) == ("plain", "other layers")
    assert first.key == grid_configurations(StudySpec())[0].key
    assert [layer["type"] for layer in second.recipe.network.layers] == ["flatten", "dense", "relu"]


def test_key_ignores_number_of_seeds_and_recipe_name():
    named = Recipe(name="other", split=SIZES.split)
    assert (
        make_configuration(spec_of(), {}).key
        == make_configuration(spec_of(seeds=9, first_seed=4, recipe=named), {}).key
    )


def test_keys_of_existing_stores_stay_the_same():
    assert grid_configurations(StudySpec(vary=(parse_vary("hidden=500"),)))[0].key == "af210ce6f9eade626e2a50bad0a0fa83"
    changed = Recipe().with_settings(initializer="he_normal", l2=0.1)
    configs = grid_configurations(StudySpec(recipe=changed, vary=(parse_vary("hidden=500"),)))
    assert configs[0].key == "448f3aac5dbe6a78de1375f4ee107b43"


@pytest.mark.parametrize(
    ("seeds_vary", "settings", "want"),
    [
        (("init", "order"), {}, (5, "seed", 521)),
        (("init",), {}, (5, 0, 521)),
        (("order",), {"batch_size": 16}, (0, 5, 521)),
        (("order",), {"batch_size": 16, "seed": 5}, (5, "seed", 521)),
        (("split",), {}, (0, "seed", 526)),
        (("split",), {"seed": 3, "batch_seed": 4}, (3, 4, 526)),
        (("init", "order", "split"), {}, (5, "seed", 526)),
        (("split",), {"split_seed": 2**32 - 1}, (0, "seed", 4)),
    ],
)
def test_a_seed_decides_what_it_is_said_to_vary(seeds_vary, settings, want):
    config = make_configuration(spec_of(recipe=SIZES.with_settings(**settings), seeds_vary=seeds_vary), {})
    recipe = config.recipe_of(5)
    assert (recipe.training.seed, recipe.training.batch_seed, recipe.split.split_seed) == want


@pytest.mark.parametrize("method", ["writeup", "random", "stratified"])
def test_smaller_training_sets_are_subsets_of_larger_ones(small_images, method):
    spec = spec_of("train_size=20,80,160", recipe=SIZES.with_settings(split=method))
    configs = grid_configurations(spec)
    splits = [configuration_splits(small_images, config, study_splits(small_images, config, 0)) for config in configs]
    assert [len(one.train) for one in splits] == [20, 80, 160]
    for smaller, larger in pairwise(splits):
        np.testing.assert_array_equal(smaller.train, larger.train[: len(smaller.train)])
        np.testing.assert_array_equal(smaller.valid, larger.valid)
        np.testing.assert_array_equal(smaller.test, larger.test)
    assert configs[-1].key == make_configuration(spec_of(recipe=SIZES.with_settings(split=method)), {}).key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("20,161", r"train_size 161 must be at most 160 samples, .* or set a larger train_size for the study"),
        (
            "0.1,0.9",
            r"train_size 0\.9, which is 216 of 240 samples, must be at most 160 .* Vary train_size over smaller "
            r"values, or",
        ),
        ("0.001,0.5", r"train_size 0\.001, which is 0 of 240 samples, must be at least one sample\. Vary train_size"),
    ],
)
def test_train_size_above_the_shared_one_or_empty_is_refused(small_images, values, message):
    with pytest.raises(ConfigError, match=message):
        check_specification(spec_of(f"train_size={values}"), small_images)


def test_fractions_of_a_training_set_are_of_all_samples(small_images):
    config = make_configuration(spec_of("train_size=0.25,0.5"), {"train_size": 0.25})
    assert len(configuration_splits(small_images, config, study_splits(small_images, config, 0)).train) == 60


def test_varying_split_gives_each_seed_other_images(small_images):
    config = make_configuration(spec_of(seeds_vary=("init", "split")), {})
    parts = [study_splits(small_images, config, seed).test for seed in (0, 1)]
    assert set(parts[0]) != set(parts[1])
    np.testing.assert_array_equal(parts[0], study_splits(small_images, make_configuration(spec_of(), {}), 7).test)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (spec_of(recipe=SIZES.with_settings(valid_size=0, stop_early=True)), "there are no validation samples"),
        (spec_of("stop_early=true,false", recipe=SIZES.with_settings(valid_size=0)), "there are no validation samples"),
        (spec_of(recipe=SIZES.with_settings(train_size=500)), "there are only 240"),
    ],
)
def test_specification_that_does_not_fit_the_data_is_refused(small_images, spec, message):
    with pytest.raises(ConfigError, match=message):
        check_specification(spec, small_images)


def test_what_takes_longer_costs_more(small_images):
    sizes = {"train": 160, "valid": 40, "test": 40}

    def of(**settings):
        return cost(make_configuration(spec_of(), settings), small_images, sizes)

    base = of(hidden=[50], epochs=10)
    assert of(hidden=[50], epochs=20) == 2 * base
    assert of(hidden=[50], epochs=10, dtype="float64") == 2 * base
    assert of(hidden=[100], epochs=10) > 1.9 * base
    assert of(hidden=[50], epochs=10, batch_size=8) > base
    convolutions = [{"type": "conv2d", "filters": 8}, {"type": "conv2d", "filters": 8}, "global_average_pool"]
    few_weights = make_configuration(spec_of(), {"layers": convolutions, "epochs": 10})
    assert cost(few_weights, small_images, sizes) > base, "a convolution uses its weights many times"
