"""ONNX files: onnxruntime predicts what the network predicts, from raw samples."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from conftest import needs
from exported import every_kind, random_network, samples_for

from chalknet.artifacts.export_onnx import onnx_bytes
from chalknet.data.preprocess import Scaling
from chalknet.errors import ConfigError, MissingExtraError
from chalknet.network.model import Network
from chalknet.version import install_command

pytestmark = pytest.mark.extras

KINDS = every_kind()


def session_of(model):
    needs("onnx")
    runtime = needs("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(onnx_bytes(model), options, providers=["CPUExecutionProvider"])


def as_input(session, samples):
    return samples.astype({"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[session.get_inputs()[0].type])


@pytest.mark.parametrize("kind", list(KINDS))
def test_onnxruntime_gives_the_networks_probabilities(kind):
    model = KINDS[kind]
    session, samples = session_of(model), samples_for(model)
    probabilities, label = session.run(["probabilities", "label"], {"samples": as_input(session, samples)})
    want = model.predict_proba(samples)
    assert want.max() > 0.4, "the network is one that can be told wrong"
    assert len(np.unique(model.predict(samples))) > 1, "the samples tell nothing: draw the network from another seed"
    # float32 sums of 784 products in another order differ by some 1e-6 of a logit
    np.testing.assert_allclose(probabilities, want, atol=1e-5)
    np.testing.assert_array_equal(label, probabilities.argmax(axis=1))
    assert (probabilities.dtype, label.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("kind", ["ensemble", "gray residual", "color ensemble"])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_any_number_of_samples_goes_in(kind, n):
    model = KINDS[kind]
    session = session_of(model)
    probabilities, label = session.run(None, {"samples": samples_for(model)[:n]})
    assert (probabilities.shape, label.shape) == ((n, 10), (n,))


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        ("relu", ("tensor(uint8)", ["N", 28, 28])),
        ("rows", ("tensor(uint8)", ["N", 784])),
        ("standard scaling", ("tensor(float)", ["N", 28, 28])),
        ("gray convolution", ("tensor(uint8)", ["N", 28, 28])),
        ("color convolution", ("tensor(uint8)", ["N", 28, 28, 3])),
    ],
)
def test_what_goes_in_is_what_was_trained_on(kind, want):
    (given,) = session_of(KINDS[kind]).get_inputs()
    assert (given.name, (given.type, given.shape)) == ("samples", want)


def test_images_change_the_order_of_their_axes_only_at_the_start():
    needs("onnx")
    for kind, n_transposes in (("gray convolution", 0), ("gray residual", 1), ("color convolution", 1)):
        nodes = onnx_graph(KINDS[kind]).node
        transposes = [node for node in nodes if node.op_type == "Transpose"]
        assert len(transposes) == n_transposes, kind
        if kind == "color convolution":
            assert [node.op_type for node in nodes[:5]] == ["Flatten", "Cast", "Div", "Reshape", "Transpose"]


def onnx_graph(model):
    return needs("onnx").load_from_string(onnx_bytes(model)).graph


def test_class_names_travel_as_they_are():
    model = random_network()
    names = ('"', "'", "\\n", "Ä", "{}", "$x", "日", "a b", "]", "},")
    session = session_of(Network(model.architecture, model.parameters, names, model.scaling, model.image_shape))
    meta = session.get_modelmeta()
    assert tuple(json.loads(meta.custom_metadata_map["class_names"])) == names
    assert meta.producer_name == "chalknet"


def test_the_file_passes_the_checker_and_uses_an_old_opset():
    onnx = needs("onnx")
    model = onnx.load_from_string(onnx_bytes(KINDS["all of it"]))
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, [opset.version for opset in model.opset_import]) == (8, [17])


def test_equal_models_give_equal_bytes():
    needs("onnx")
    assert onnx_bytes(random_network()) == onnx_bytes(random_network())


@pytest.mark.parametrize(("scale", "message"), [(1e300, "are too large for float32"), (1e-300, "become 0 in float32")])
def test_scales_that_float32_cannot_hold_are_refused(scale, message):
    needs("onnx")
    model = random_network(dtype=np.float64)
    with pytest.raises(ConfigError, match=f"input.scale holds values that {message}"):
        onnx_bytes(Network(model.architecture, model.parameters, model.class_names, Scaling(scale)))


def test_weights_that_float32_cannot_hold_are_refused():
    needs("onnx")
    model = random_network(dtype=np.float64)
    large = {**model.parameters, "hidden1.bias": np.full(40, -1e39)}
    with pytest.raises(ConfigError, match=r"hidden1\.bias holds values that are too large for float32"):
        onnx_bytes(Network(model.architecture, large, model.class_names))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=re.escape(f"{install_command('onnx')}. kind='numpy' ")):
        onnx_bytes(random_network())
