"""Layers in recipes: names, errors and parameter names."""

from __future__ import annotations

import numpy as np
import pytest

from chalknet.config import LAYER_NAMES, DataConfig, Recipe, config_from_tables, config_tables
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture, architecture_for, forward
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.network.flatten import Flatten
from chalknet.network.global_average_pool import GlobalAveragePool
from chalknet.network.initializers import initial_parameters
from chalknet.network.layer_types import LAYER_TYPES, layer_from_table
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.parametric_activation import ParametricActivation
from chalknet.network.periodic_embedding import PeriodicEmbedding
from chalknet.network.piecewise_linear_embedding import PiecewiseLinearEmbedding
from chalknet.network.relu import Relu
from chalknet.network.residual import Residual
from chalknet.network.scale import Scale

DENSE = {"type": "dense", "units": 5}


def test_every_layer_name_has_a_layer_type():
    assert {name: layer.type for name, layer in LAYER_TYPES.items()} == {name: name for name in LAYER_NAMES}


@pytest.mark.parametrize(
    "layer",
    [
        Dense(3),
        Dense(3, bias=False),
        Relu(),
        Dropout(0.25),
        Dense(3, True, 2.0, 0.5),
        Scale(6.0),
        ParametricActivation("mish", 0.1),
        Dense(3, parametrization="ntk"),
        PeriodicEmbedding(4, 8, 2, 0.2, 0.1),
        PiecewiseLinearEmbedding(4, 8, 2, 0.1),
        CategoryEmbedding(4, (0, 3, 5, 2), 0.5),
        Conv2d(8),
        Conv2d(8, (3, 5), 2, 1, 4, False, 0.1),
        MaxPool2d(),
        MaxPool2d(3, 2),
        AveragePool2d(2, 1),
        GlobalAveragePool(),
        Flatten(),
        Residual(4),
    ],
    ids=repr,
)
def test_a_layer_equals_the_one_read_from_its_table(layer):
    assert layer_from_table(layer.table()) == layer
    assert layer_from_table(layer) is layer


def test_default_settings_of_dense_are_not_in_its_table():
    assert Dense(3, True, 1.0, 1.0).table() == {"type": "dense", "units": 3}
    assert Dense(3, learning_rate_multiplier=2).table() == {**DENSE, "units": 3, "learning_rate_multiplier": 2.0}


def test_the_output_layer_is_the_last_dense_layer_without_units():
    output = {"type": "dense", "parametrization": "ntk", "bias_learning_rate_multiplier": 0.1}
    recipe = Recipe().with_settings(layers=[DENSE, "relu", output])
    architecture = architecture_for(recipe, 4, 3)
    assert architecture.layers == (Dense(5), Relu(), Dense(3, True, 1.0, 0.1, "ntk"))
    assert recipe.network.hidden == (5,)
    with pytest.raises(ConfigError, match="layers must have at least one of type dense or conv2d, got relu, dense"):
        Recipe().with_settings(layers=["relu", output])
    with pytest.raises(ConfigError, match="layers, entry 1: layer dense: units is missing"):
        architecture_for(Recipe().with_settings(layers=[output, DENSE]), 4, 3)


def test_the_short_form_builds_the_same_layers():
    short = Architecture(4, [5], 3, ["tanh"], batch_norm=True, dropout=0.2)
    dropout = {"type": "dropout", "rate": 0.2}
    long = Architecture(4, n_classes=3, layers=[{**DENSE, "bias": False}, "batch_norm", "tanh", dropout])
    assert short == long
    assert short.shapes == long.shapes


def test_layers_after_a_dense_layer_take_its_name():
    architecture = Architecture(4, n_classes=3, layers=["batch_norm", DENSE, "batch_norm", "relu", "batch_norm"])
    assert [name for name in architecture.shapes if name.endswith("gamma")] == [
        "input.gamma", "hidden1.batch_norm.gamma", "hidden1.batch_norm2.gamma",
    ]  # fmt: skip
    assert architecture.statistics == {
        f"{layer}.{kind}"
        for layer in ("input", "hidden1.batch_norm", "hidden1.batch_norm2")
        for kind in ("mean", "variance")
    }


def test_dropout_layers_have_distinct_random_streams():
    dropout = {"type": "dropout", "rate": 0.2}
    layers = [dropout, DENSE, dropout, "relu", dropout, DENSE, dropout]
    named = Architecture(4, n_classes=3, layers=layers).named_layers
    streams = [one.stream for one in named if isinstance(one.layer, Dropout)]
    assert len(set(streams)) == 4


def test_training_only_layers_are_not_in_prediction():
    architecture = Architecture(4, [5], 3, dropout=0.5)
    parameters, x = initial_parameters(architecture, 0), np.ones((2, 4))
    assert [layer.type for layer in architecture.prediction.layers] == ["dense", "relu", "dense"]
    np.testing.assert_array_equal(
        forward(architecture, parameters, x).logits, forward(architecture.prediction, parameters, x).logits
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["dense"], "layers, entry 1: layer dense: units is missing"),
        ([DENSE, "rellu"], "layers, entry 2: unknown layer type 'rellu'. Did you mean 'relu'?"),
        ([{**DENSE, "unit": 3}], "layer dense: unknown setting 'unit'. Did you mean 'units'?"),
        ([DENSE, {"type": "relu", "slope": 3}], "layer relu: unknown setting 'slope'. It has no settings."),
        ([{"type": "dense", "units": 0}], "layer dense: units must be an integer from 1 to 1000000, got 0."),
        ([{"type": "dropout", "rate": 1.0}, DENSE], "layer dropout: rate must be a number from 0 to 0.999, got 1.0."),
        ([5], 'a layer must be a name or a table with a "type", got 5.'),
        (["relu"], "the last layer of a network must be dense"),
    ],
)
def test_errors_in_layers_have_their_position(layers, message):
    with pytest.raises(ConfigError) as error:
        Architecture(4, layers=layers)
    assert message in str(error.value)


def test_layers_and_hidden_together_are_refused():
    with pytest.raises(ConfigError, match="layers replaces hidden"):
        Architecture(4, [5], 3, layers=[DENSE])
    with pytest.raises(ConfigError, match="hidden has no effect where layers names every layer"):
        Recipe().with_settings(layers=[DENSE], hidden=[5])
    with pytest.raises(ConfigError, match="dropout has no effect where layers names every layer"):
        Recipe().with_settings(layers=[DENSE]).with_settings(dropout=0.1)


def test_a_recipe_with_layers_defines_the_architecture():
    recipe = Recipe().with_settings(
        layers=[Dense(7), "tanh", {"type": "dropout", "rate": 0.1}, DENSE], input_dropout=0.2
    )
    architecture = architecture_for(recipe, 4, 3)
    assert [layer.type for layer in architecture.layers] == ["dropout", "dense", "tanh", "dropout", "dense", "dense"]
    assert recipe.network.hidden == architecture.hidden == (7, 5)
    assert recipe.regularization.dropout == 0


def test_a_configuration_with_layers_reads_back():
    recipe = Recipe().with_settings(layers=[{**DENSE, "bias": False}, "batch_norm", "relu"])
    tables = config_tables(recipe, DataConfig())
    assert tables["format"] == 3
    assert "hidden" not in tables["network"]
    assert config_from_tables(tables, "x.toml")[0] == recipe
    with pytest.raises(ConfigError, match=r"hidden has no effect .* \(x.toml, \[network\]\)"):
        config_from_tables({"network": {"layers": [DENSE], "hidden": [5]}}, "x.toml")
    with pytest.raises(ConfigError, match="Add a layer of type dropout instead"):
        config_from_tables({"network": {"layers": [DENSE]}, "regularization": {"dropout": 0.1}}, "x.toml")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["relu", "dens"], "layers, entry 2: unknown layer type 'dens'. Did you mean 'dense'?"),
        (["relu", "tanh"], "layers must have at least one of type dense or conv2d, got relu, tanh."),
        ("relu", 'layers must be a list of layers, each a name such as "relu" or a table'),
        ([{"units": 4}], "layers must be a list of layers"),
        ([{"type": "dense", "units": ["4"]}], "layers must be a list of layers"),
    ],
)
def test_a_recipe_refuses_invalid_layers(layers, message):
    with pytest.raises(ConfigError) as error:
        Recipe().with_settings(layers=layers)
    assert message in str(error.value)
