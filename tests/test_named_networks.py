"""Networks with names stand for lists of layers."""

import json

import numpy as np
import pytest

import chalknet
from chalknet.artifacts.run_folder import read_run
from chalknet.cli.main import main
from chalknet.cli.options import parse_settings
from chalknet.cli.study_text import plan_text
from chalknet.config import DataConfig, config_from_tables, config_tables
from chalknet.data.dataset import dataset_from_arrays
from chalknet.named_networks import NETWORKS
from chalknet.network.architecture import architecture_for
from chalknet.network.dropout import Dropout
from chalknet.reporting.sections.code_listing import listings
from chalknet.reporting.sections.recipe_text import architectures_text
from chalknet.studies.configurations import Configuration, RunKey
from chalknet.studies.job_planner import Planner
from chalknet.studies.search_space import grid_configurations
from chalknet.studies.spec import StudySpec


def recipe(name="writeup", **settings):
    return chalknet.recipe(name).with_settings(**settings)


def layer_types(name, **settings):
    return [layer.type for layer in architecture_for(recipe(network=name, **settings), (28, 28), 10).layers]


def test_part2_is_the_network_of_the_assignment():
    architecture = architecture_for(recipe(network="part2"), (28, 28), 10)
    assert str(architecture) == "28x28x1-conv32-pool2-784-10"
    assert [layer.type for layer in architecture.layers] == [
        *("conv2d", "relu", "batch_norm", "max_pool2d", "flatten", "dense", "relu", "dense")
    ]
    assert architecture.shapes["hidden1.weight"] == (784, 6272)


def test_lenet_has_the_sizes_of_its_paper():
    shapes = architecture_for(recipe(network="lenet"), (28, 28), 10).shapes
    assert [shape for name, shape in shapes.items() if name.endswith("weight")] == [
        *((6, 5, 5, 1), (16, 5, 5, 6), (120, 400), (84, 120), (10, 84))
    ]


def test_small_resnet_adds_shortcuts_and_has_eight_layers_with_weights():
    architecture = architecture_for(recipe(network="small-resnet"), (28, 28), 10)
    assert sum(name.endswith("weight") for name in architecture.shapes) == 8
    residuals = [named for named in architecture.named_layers if named.layer.type == "residual"]
    assert [named.input_shape for named in residuals] == [(14, 14, 32), (7, 7, 64), (4, 4, 128)]


@pytest.mark.parametrize(
    ("name", "after"), [("part2", ["relu"]), ("lenet", ["relu", "relu"]), ("small-resnet", ["global_average_pool"])]
)
def test_dropout_of_a_named_network_comes_before_dense_layers(name, after):
    layers = architecture_for(recipe(network=name, dropout=0.25), (28, 28), 10).layers
    places = [place for place, layer in enumerate(layers) if isinstance(layer, Dropout)]
    assert [layers[place - 1].type for place in places] == after
    assert {layers[place + 1].type for place in places} == {"dense"}
    assert layers[places[0]].rate == 0.25


@pytest.mark.parametrize("name", NETWORKS)
def test_the_long_form_of_a_named_network_is_the_same_network(name):
    by_name = recipe(network=name)
    by_hand = recipe(layers=list(NETWORKS[name].layers))
    assert architecture_for(by_name, (28, 28), 10) == architecture_for(by_hand, (28, 28), 10)
    keys = {Configuration((), one, one.split).key for one in (by_name, by_hand)}
    assert len(keys) == 1, "runs of the same network are found again"


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": [5]},
        {"activation": "tanh"},
        {"batch_norm": True},
        {"layers": ["relu", {"type": "dense", "units": 3}]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_named_network_refuses_what_describes_another_one(settings):
    with pytest.raises(chalknet.ConfigError, match=f"^{next(iter(settings))} has no effect with network 'lenet'"):
        recipe(network="lenet", **settings)
    tables = config_tables(recipe(network="lenet"), DataConfig())
    tables["network"] |= {"layers": ["relu"]} if "layers" in settings else settings
    with pytest.raises(chalknet.ConfigError, match=r"has no effect with network 'lenet'.*config.toml, \[network\]"):
        config_from_tables(tables, "config.toml")


def test_layers_replace_a_named_network_and_dense_gives_the_short_form_back():
    named = recipe(network="lenet", dropout=0.5)
    assert named.with_settings(layers=[{"type": "dense", "units": 7}]).network.network == "dense"
    dense = named.with_settings(network="dense", hidden=[30])
    assert (dense.network.hidden, dense.network.layers, dense.regularization.dropout) == ((30,), (), 0.5)
    assert named.with_settings(network="dense").network.hidden == (1000,)


def test_a_named_network_is_stored_by_its_name():
    named = recipe("strong", network="lenet", dropout=0.25)
    tables = config_tables(named, DataConfig())
    assert tables["format"] == 4
    assert tables["network"] == {"network": "lenet", "initializer": "he_normal", "input_scaling": "auto"}
    assert config_from_tables(json.loads(json.dumps(tables)), "config.toml")[0] == named
    assert "network" not in config_tables(recipe(), DataConfig())["network"], "earlier versions read the short form"


def test_networks_are_compared_in_a_study():
    spec = StudySpec(recipe("writeup", hidden=[40], dropout=0.2), (("network", "dense,part2,small-resnet"),))
    recipes = [config.recipe for config in grid_configurations(spec)]
    assert [one.network.network for one in recipes] == ["dense", "part2", "small-resnet"]
    assert recipes[0].network.hidden == (40,)
    assert [one.regularization.dropout for one in recipes] == [0.2, 0.2, 0.2]


def test_a_plan_of_networks_shows_their_names_time_and_memory(tiny):
    base = recipe("writeup", hidden=[40], epochs=2, train_size=40, valid_size=10)
    spec = StudySpec(base, (("network", "dense,part2,small-resnet"),), seeds=1)
    runs = [RunKey(config, 0) for config in grid_configurations(spec)]
    plan = Planner(tiny, processes=1).plan(runs)
    assert [group.widths for group in plan.groups] == [("40",), ("part2",), ("small-resnet",)]
    assert all(group.job_bytes > 0 for group in plan.groups)
    assert plan_text(plan).splitlines()[1].startswith("network")


def test_a_report_says_what_varied_architectures_are():
    networks = [recipe(network=name).network for name in ("dense", "part2", "lenet", "part2")]
    assert architectures_text(networks) == (
        " Architecture part2 is the convolutional network of the second part of the course's assignment."
        " Architecture lenet is LeNet-5 in its modern form, with relu and max pooling."
    )


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("conv2d:32", {"filters": 32}),
        ("conv2d:32:5", {"filters": 32, "kernel_size": 5}),
        ("conv2d:32:3x5:2", {"filters": 32, "kernel_size": [3, 5], "stride": 2}),
        ("conv2d:32:stride=2:padding=0", {"filters": 32, "stride": 2, "padding": 0}),
        ("dense:784:bias=false", {"units": 784, "bias": False}),
        ("max_pool2d", {}),
    ],
)
def test_settings_of_a_layer_are_given_by_position_or_by_name(text, table):
    layer = parse_settings({"layers": f"{text},relu"})["layers"][0]
    assert layer == {"type": text.split(":")[0], **table}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv2d:32:filters=3", "filters is given twice"),
        ("flatten:3", "flatten has no settings, so '3' is one too many"),
        ("conv2d:32:strides=2", "unknown setting 'strides'. Did you mean 'stride'?"),
        ("conv2d:32:size=30", "unknown setting 'size'. Did you mean 'kernel_size'?"),
    ],
)
def test_a_wrong_setting_of_a_layer_is_named(text, message, capsys, tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((40, 8, 8), np.uint8), labels=np.arange(40) % 2)
    command = ["train", "--data", str(tmp_path / "a.npz"), "--layers", f"{text},dense:3", "-o", str(tmp_path / "run")]
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_rows_and_small_images_are_refused_in_one_line():
    rows = dataset_from_arrays(np.zeros((40, 6)), np.arange(40) % 2)
    with pytest.raises(
        chalknet.ConfigError, match=r"^network part2 needs images, but the samples are rows of 6 values"
    ):
        chalknet.train(rows, network="part2", workers=1)
    with pytest.raises(
        chalknet.ConfigError, match="lenet does not fit images of 8 x 8 pixels: layers, entry 4: layer conv"
    ):
        architecture_for(recipe(network="lenet"), (8, 8), 10)
    with pytest.raises(chalknet.ConfigError, match="network must be one of dense, part2, lenet, small-resnet"):
        recipe(network="lenot")


@pytest.fixture(scope="module")
def tiny():
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 3
    images = rng.integers(0, 60, (60, 12, 12)).astype(np.uint8)
    images[np.arange(60), 2 + 3 * labels] += 150
    return dataset_from_arrays(images, labels)


def test_gradients_of_a_named_network_are_checked_by_its_name(capsys, tmp_path, tiny):
    np.savez(tmp_path / "a.npz", images=tiny.inputs, labels=tiny.labels)
    command = ["gradcheck", "--network", "lenet", "--data", str(tmp_path / "a.npz"), "--samples", "3"]
    assert main([*command, "--json"]) == 0
    assert "conv2.weight" in {check["parameter"] for check in json.loads(capsys.readouterr().out)}


def test_the_code_of_a_report_shows_every_layer_once():
    _, parts = listings(recipe(network="small-resnet"))[0]
    assert [part.__name__ for part in parts] == [
        *("windows", "add_windows"),
        *("conv2d", "batch_norm", "relu", "max_pool2d", "residual", "global_average_pool", "dense"),
    ]


@pytest.mark.slow
def test_a_report_of_a_run_names_its_network(tiny, tmp_path):
    settings = {"epochs": 2, "batch_size": 20, "engine": "reference", "split": "stratified", "train_size": 0.5}
    run = chalknet.train(
        tiny, out=tmp_path / "run", network="lenet", valid_size=0.25, dropout=0.1, learning_rate=1e-4, **settings
    )
    assert str(run.network.architecture).startswith("12x12x1-conv6-pool2")
    text = chalknet.report(tmp_path / "run").html.read_text("utf-8")
    assert "the architecture lenet: LeNet-5 in its modern form, with relu and max pooling" in text
    assert read_run(tmp_path / "run").recipe.network.network == "lenet"
