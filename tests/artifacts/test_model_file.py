import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from chalknet.artifacts.model_file import HEADER_KEY, load_model, model_bytes, save_model
from chalknet.data.preprocess import Scaling
from chalknet.errors import ModelFileError, OutputError, ShapeError
from chalknet.network.architecture import Architecture
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Ensemble, Network
from chalknet.network.residual import Residual

GOLDEN = Path(__file__).parent / "golden"


def made_network(dtype=np.float64):
    architecture = Architecture(6, (5, 4), 3)
    parameters = {name: value.astype(dtype) for name, value in initial_parameters(architecture, 0).items()}
    return Network(architecture, parameters, ("Ä", "y", "z"), Scaling(255.0), (2, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_saved_and_loaded_is_the_same(tmp_path, dtype):
    network = made_network(dtype)
    save_model(network, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert (again.architecture, again.class_names, again.scaling.scale, again.image_shape) == (
        network.architecture,
        network.class_names,
        network.scaling.scale,
        network.image_shape,
    )
    assert list(again.parameters) == list(network.parameters)
    for name, value in network.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], value)
        assert again.parameters[name].dtype == dtype
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 3)).astype(np.uint8)
    np.testing.assert_array_equal(again.predict_proba(images), network.predict_proba(images))


def test_equal_networks_give_equal_bytes():
    assert model_bytes(made_network(), {"a": 1, "b": 2}) == model_bytes(made_network(), {"a": 1, "b": 2})


def test_an_unwritable_place_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(made_network(), tmp_path / "nowhere" / "model.safetensors")


DESCRIPTION = {
    "format_version": 2,
    "members": 1,
    "n_inputs": 6,
    "hidden": [5, 4],
    "activations": ["relu", "relu"],
    "batch_norm": False,
    "class_names": ["x", "y", "z"],
    "input_scale": 255.0,
    "image_shape": [2, 3],
}


def changed(**fields):
    return {**DESCRIPTION, **fields}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (changed(format_version=4), "has format 4, but this chalknet reads up to 3. Install a newer chalknet."),
        (changed(format_version="1"), "its format_version is '1'"),
        (changed(hidden=[5, 0]), "a network needs sizes >= 1"),
        (changed(hidden=[5, 10**9]), "units must be an integer from 1 to 1000000, got 1000000000"),
        (changed(hidden="5x4"), "its hidden is '5x4'"),
        (changed(hidden=[5, True]), "a value of its hidden is True, which is not an integer"),
        (changed(n_inputs=7, image_shape=None), "hidden1.weight of network 7-5-4-3 must be (5, 7), got (5, 6)"),
        (changed(class_names=["x"]), "at least two classes"),
        (changed(input_scale=0), "its input_scale is 0.0, which is not a number > 0"),
        (changed(image_shape=[3, 3]), "its image_shape is [3, 3], which does not make 6 inputs"),
        (changed(input_names=["a"]), "its input_names are not 6 names that can be printed"),
        (changed(input_names=["a\x1b", *"bcdef"]), "its input_names are not 6 names that can be printed"),
        (changed(input_names=[1] * 6), "a value of its input_names is 1, which is not text"),
        (changed(members=2), "its 2 members of 5 layers need 12 tensors, but it holds 6"),
        (changed(members=0), "its members are 0, but it holds 6 tensors"),
        (changed(members=10**9), "its members are 1000000000, but it holds 6 tensors"),
        (changed(batch_norm=1), "its batch_norm is 1, which is not true or false"),
        (changed(activations=["relu"]), "activations must be one of"),
        (changed(activations=["relu", "eval"]), "activations must be one of"),
        ([], "its 'chalknet' entry is not a JSON object"),
    ],
)
def test_a_header_that_does_not_fit_is_named(tmp_path, description, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(made_network().parameters, {HEADER_KEY: json.dumps(description)}))
    with pytest.raises(ModelFileError, match=f"model.safetensors: .*{re.escape(message)}"):
        load_model(path)


def test_a_file_of_another_program_is_named(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(save({"w": np.zeros(3)}))
    with pytest.raises(ModelFileError, match="it was written by another program"):
        load_model(path)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "hidden1.bias holds values that are not finite"), (np.inf, "not finite")]
)
def test_weights_that_are_not_finite_are_refused(tmp_path, value, message):
    parameters = dict(made_network().parameters)
    parameters["hidden1.bias"] = np.full(5, value)
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(parameters, {HEADER_KEY: json.dumps(DESCRIPTION)}))
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_mixed_or_foreign_types_are_refused(tmp_path):
    parameters = {**made_network().parameters, "hidden1.bias": np.zeros(5, np.float32)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(parameters, {HEADER_KEY: json.dumps(DESCRIPTION)}))
    with pytest.raises(ModelFileError, match="all be float32 or all float64, got float32, float64"):
        load_model(path)


def test_a_missing_or_truncated_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file"):
        load_model(tmp_path / "nothing.safetensors")
    whole = model_bytes(made_network())
    path = tmp_path / "model.safetensors"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match="not a whole safetensors file"):
            load_model(path)


@given(st.data())
def test_a_damaged_file_is_a_model_file_error_or_a_network(tmp_path_factory, data):
    damaged = bytearray(model_bytes(made_network()))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    path.write_bytes(bytes(damaged))
    with contextlib.suppress(ModelFileError):
        assert isinstance(load_model(path), Network)


def test_a_file_of_the_first_format_still_predicts_what_it_did():
    network = load_model(GOLDEN / "model-1.safetensors")
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    want = [[0.3551701, 0.4345400, 0.2102898], [0.3886885, 0.3172879, 0.2940235]]  # as written by format 1's own code
    np.testing.assert_allclose(network.predict_proba(images), want, atol=1e-6)
    assert network.architecture == Architecture(6, (5, 4), 3)


@pytest.mark.parametrize(
    ("file", "shape", "want"),  # as written by the code that introduced the format
    [
        (
            "model-2-network.safetensors",
            Architecture(6, (5, 4), 3, ("gelu", "gelu"), batch_norm=True),
            [[0.9984995, 0.0014964, 0.0000042], [0.3520433, 0.2965769, 0.3513799]],
        ),
        (
            "model-2-ensemble.safetensors",
            Architecture(6, (4,), 3, ("leaky_relu",)),
            [[0.1165924, 0.6765957, 0.2068120], [0.0805226, 0.7369192, 0.1825582]],
        ),
        (
            "model-3-layers.safetensors",
            Architecture(
                6,
                n_classes=3,
                layers=["batch_norm", Dense(5, bias=False), "batch_norm", "silu", Dropout(0.25), Dense(4), "selu"],
            ),
            [[0.1132646, 0.8866487, 0.0000867], [0.1350645, 0.8648450, 0.0000905]],
        ),
    ],
)
def test_files_of_earlier_versions_still_predict_what_they_did(file, shape, want):
    model = load_model(GOLDEN / file)
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    np.testing.assert_allclose(model.predict_proba(images), want, atol=1e-6)
    assert (model.architecture, model.class_names) == (shape, ("Ä", '"y"', "z"))
    assert len(model.members) == (3 if "ensemble" in file else 1)


def test_a_file_of_a_network_of_images_still_predicts_what_it_did():
    model = load_model(GOLDEN / "model-3-images.safetensors")
    images = (np.arange(180).reshape(2, 6, 5, 3) ** 2 * 7 % 256).astype(np.uint8)
    want = [[0.9909258, 0.0026943, 0.0063800], [0.9866854, 0.0125175, 0.0007970]]
    np.testing.assert_allclose(model.predict_proba(images), want, atol=1e-6)
    assert model.architecture.layers[3] == Residual(3)
    assert model.architecture.layers[4] == Conv2d(4, (3, 1), stride=2)


def whole_network():
    """Return a network with everything that a file can hold."""
    rng = np.random.default_rng(0)
    architecture = Architecture(6, (5, 4), 3, ("gelu", "tanh"), batch_norm=True)
    parameters = {name: rng.uniform(0.5, 2, shape) for name, shape in architecture.shapes.items()}
    return Network(architecture, parameters, ("x", "y", "z"), Scaling(rng.uniform(1, 2, 6), rng.normal(size=6)))


def test_activations_batch_norm_and_scaling_are_in_the_file(tmp_path):
    network = whole_network()
    save_model(network, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.architecture == network.architecture
    rows = np.random.default_rng(1).normal(size=(7, 6))
    np.testing.assert_array_equal(again.predict_proba(rows), network.predict_proba(rows))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("input.scale", np.zeros(6), "its input.scale holds 0.0, and scales must be > 0"),
        ("input.scale", np.ones(5), "its input.scale is not 6 finite float64 numbers"),
        ("input.shift", np.full(6, np.nan), "its input.shift is not 6 finite float64 numbers"),
        ("input.shift", np.zeros(6, np.float32), "its input.shift is not 6 finite float64 numbers"),
        ("hidden1.variance", np.full(5, -1.0), "hidden1.variance holds -1.0, and variances must be >= 0"),
        ("hidden1.gamma", np.ones(6), r"hidden1.gamma of network 6-5-4-3 must be \(5,\), got \(6,\)"),
    ],
)
def test_scales_and_statistics_that_cannot_be_are_refused(tmp_path, name, value, message):
    path = tmp_path / "model.safetensors"
    save_model(whole_network(), path)
    with safe_open(str(path), framework="numpy") as file:
        header, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    path.write_bytes(save({**tensors, name: value}, header))
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_an_ensemble_travels_whole_and_averages_probabilities(tmp_path):
    architecture = Architecture(6, (5, 4), 3)
    networks = tuple(
        Network(architecture, initial_parameters(architecture, seed), ("x", "y", "z"), Scaling(255.0), (2, 3))
        for seed in range(3)
    )
    ensemble = Ensemble(networks)
    save_model(ensemble, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert isinstance(again, Ensemble)
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 3)).astype(np.uint8)
    want = np.mean([network.predict_proba(images) for network in networks], axis=0)
    np.testing.assert_allclose(again.predict_proba(images), want, rtol=1e-12)
    assert again.predict_names(images) == [("x", "y", "z")[k] for k in want.argmax(axis=1)]
    assert again.architecture == architecture


def test_networks_that_differ_make_no_ensemble():
    with pytest.raises(ShapeError, match="must have equal layers"):
        Ensemble((made_network(), whole_network()))
