import dataclasses
import re

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from chalknet.config import (
    ACTIVATION_NAMES,
    CUSTOM_SPLIT,
    FORMAT,
    SECTION_OF_FIELD,
    SECTIONS,
    DataConfig,
    Recipe,
    config_from_tables,
    config_tables,
    describe_field,
    near_match,
    read_config,
    with_former_names,
)
from chalknet.errors import ConfigError


def test_the_recipe_of_the_writeup_is_the_default():
    recipe = Recipe()
    assert recipe.network.hidden == (1000,)
    assert (recipe.split.train_size, recipe.split.valid_size, recipe.split.split_seed) == (15_000, 1_000, 521)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.momentum, recipe.optimizer.bias_momentum) == (
        1e-5,
        0.99,
        False,
    )
    assert (recipe.training.epochs, recipe.training.batch_size, recipe.optimizer.reduction) == (200, "full", "sum")


def test_field_names_are_unique_over_the_sections():
    names = [item.name for kind in SECTIONS.values() for item in dataclasses.fields(kind)]
    assert len(names) == len(set(names)) == len(SECTION_OF_FIELD)


@pytest.mark.parametrize("name", sorted(SECTION_OF_FIELD))
def test_every_field_has_a_description_and_a_constraint(name):
    assert re.fullmatch(r".+\. Value: .+", describe_field(name))


recipes = st.builds(
    lambda **settings: Recipe().with_settings(**settings),
    hidden=st.lists(st.integers(1, 5000), min_size=1, max_size=4),
    epochs=st.integers(1, 10_000),
    seed=st.integers(0, 2**32 - 1),
    learning_rate=st.floats(1e-12, 10),
    momentum=st.floats(0, 0.999),
    bias_momentum=st.booleans(),
    batch_size=st.one_of(st.just("full"), st.integers(1, 10_000)),
    train_size=st.one_of(st.integers(1, 10**6), st.floats(0.01, 0.9)),
    valid_size=st.one_of(st.integers(0, 10**6), st.floats(0.01, 0.9)),
)
data_configs = st.builds(
    DataConfig,
    source=st.text(max_size=20),
    sha256=st.text("0123456789abcdef", max_size=64),
    class_names=st.one_of(st.none(), st.lists(st.text(max_size=5), max_size=4).map(tuple)),
    label_column=st.one_of(st.none(), st.text(max_size=8)),
    valid_source=st.text(max_size=5),
    test_sha256=st.text("0123456789abcdef", max_size=64),
    image_size=st.one_of(st.none(), st.tuples(st.integers(1, 500), st.integers(1, 500))),
)


@given(recipe=recipes, data=data_configs)
def test_a_configuration_written_reads_back_the_same(tmp_path_factory, recipe, data):
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(tomli_w.dumps(config_tables(recipe, data)), encoding="utf-8")
    assert read_config(path) == (recipe, data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": [0]}, "hidden must be one or more integers from 1 to 1000000, got [0]."),
        ({"hidden": []}, "hidden must be one or more integers from 1 to 1000000, got []."),
        ({"hidden": [2.5]}, "hidden must be one or more integers from 1 to 1000000, got [2.5]."),
        ({"epochs": -1}, "epochs must be an integer >= 1, got -1."),
        ({"epochs": True}, "epochs must be an integer >= 1, got True."),
        ({"seed": 2**32}, "seed must be an integer from 0 to 4294967295, got 4294967296."),
        ({"learning_rate": -0.1}, "learning_rate must be a number > 0, got -0.1."),
        ({"learning_rate": float("nan")}, "learning_rate must be a number > 0, got nan."),
        ({"learning_rate": "fast"}, "learning_rate must be a number > 0, got 'fast'."),
        ({"momentum": 1.0}, "momentum must be a number >= 0 and < 1, got 1.0."),
        ({"batch_size": 0}, 'batch_size must be an integer >= 1, or "full", got 0.'),
        ({"train_size": 1.5}, "train_size must be a number of samples >= 1, or a fraction between 0 and 1, got 1.5."),
        ({"valid_size": -3}, "valid_size must be a number of samples >= 0, or a fraction between 0 and 1, got -3."),
        ({"engine": "gpu"}, "engine must be one of numpy, reference, torch, got 'gpu'."),
        ({"precision": "bfloat16"}, "precision bfloat16 needs the torch engine, got engine numpy."),
        ({"device": "cuda"}, "device cuda needs the torch engine, got engine numpy."),
        (
            {"engine": "torch", "precision": "bfloat16", "dtype": "float64"},
            "precision bfloat16 needs dtype float32, got dtype float64.",
        ),
        (
            {"engine": "torch", "precision": "tf32", "device": "cpu"},
            "precision tf32 needs a CUDA device, got device cpu. On a CPU use bfloat16.",
        ),
        ({"bias_momentum": "yes"}, "bias_momentum must be true or false, got 'yes'."),
        ({"learing_rate": 1.0}, "unknown setting 'learing_rate'. Did you mean 'learning_rate'?"),
        (
            {"label_column": "age"},
            "label_column says how data is read. Give it to chalknet.load_data, and its Dataset as data.",
        ),
    ],
)
def test_an_invalid_setting_is_named_with_its_constraint(settings, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        Recipe().with_settings(**settings)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"optimizer": {"learning_rate": -1}}, "learning_rate must be a number > 0, got -1 (x.toml, [optimizer])."),
        (
            {"optimizer": {"learing_rate": 1}},
            "unknown key 'learing_rate' (x.toml, [optimizer]). Did you mean 'learning_rate'?",
        ),
        ({"optimiser": {}}, "unknown section 'optimiser' in x.toml. Did you mean 'optimizer'?"),  # former name
        ({"training": 3}, "x.toml, [training] must be a section of keys, got 3."),
        (
            {"format": FORMAT + 1},
            f"x.toml: format is {FORMAT + 1}, but this chalknet reads up to {FORMAT}. Install a newer one.",
        ),
        ({"format": 0}, "x.toml: format is 0, but this chalknet reads up to 5. Install a newer one."),
        ({"recipe": 5}, "recipe must be a name of letters, digits, - and _, got 5 (x.toml)."),
        ({"recipe": "../evil"}, "recipe must be a name of letters, digits, - and _, got '../evil' (x.toml)."),
        ({"data": {"source": 5}}, "source must be text, got 5 (x.toml, [data])."),
        ({"data": {"class_names": "AB"}}, "class_names must be a list of names, got 'AB' (x.toml, [data])."),
        ({"data": {"image_size": [28]}}, "image_size must be [height, width], got [28] (x.toml, [data])."),
    ],
)
def test_an_invalid_file_is_named_with_its_section(tables, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        config_from_tables(tables, "x.toml")


def test_a_file_that_is_not_toml_or_not_there_is_named(tmp_path):
    path = tmp_path / "config.toml"
    with pytest.raises(ConfigError, match=r"config.toml: cannot be read: No such file"):
        read_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"config.toml: is not TOML"):
        read_config(path)
    path.write_text("hidden = [")
    with pytest.raises(ConfigError, match=r"config.toml: is not TOML"):
        read_config(path)


def test_near_matches_are_offered_and_far_ones_listed():
    assert near_match("writup", ["writeup", "strong"]) == " Did you mean 'writeup'?"
    assert near_match("size", ["stride", "kernel_size"]) == " Did you mean 'kernel_size'?"
    assert near_match("size", ["sizes", "kernel_size"]) == " Did you mean 'sizes'?"
    assert near_match("zzz", ["writeup", "strong"]) == " Known: strong, writeup."


def test_names_in_the_configuration_exist_in_the_code():
    from chalknet.network.layer_types import ACTIVATIONS

    assert set(ACTIVATION_NAMES) == set(ACTIVATIONS)


def test_numpy_numbers_and_arrays_are_accepted():
    recipe = Recipe().with_settings(
        hidden=np.array([8, 4]), epochs=np.int64(3), learning_rate=np.float32(0.5), stop_early=np.bool_(True)
    )
    plain = Recipe().with_settings(hidden=[8, 4], epochs=3, learning_rate=0.5, stop_early=True)
    assert recipe == plain
    assert Recipe().with_settings(hidden=[np.int64(8)]).network.hidden == (8,)
    with pytest.raises(ConfigError, match=r"epochs must be an integer >= 1, got 2\.5"):
        Recipe().with_settings(epochs=np.float64(2.5))


def test_names_of_earlier_versions_are_read():
    tables = {"network": {"initialiser": "he_normal"}, "regularisation": {"l2": 0.5}}  # former name
    recipe, _ = config_from_tables(tables, "x.toml")
    assert recipe.network.initializer == "he_normal"
    assert recipe.regularization.l2 == 0.5
    assert {"regularization", "network"} <= set(config_tables(recipe, DataConfig()))


def test_a_former_name_beside_its_new_one_is_refused():
    with pytest.raises(ConfigError, match="unknown key 'initialiser'"):  # former name
        config_from_tables({"network": {"initialiser": "he_normal", "initializer": "writeup"}}, "x.toml")  # former name


def test_the_former_name_of_the_custom_split_is_read():
    recipe, _ = config_from_tables({"format": 2, "split": {"split": "given"}}, "x.toml")
    assert recipe.split.split == CUSTOM_SPLIT
    assert with_former_names(vars(recipe.split))["split"] == "given"  # so that digests stay the same
    assert with_former_names({"split": {"seed": 1}}) == {"split": {"seed": 1}}
