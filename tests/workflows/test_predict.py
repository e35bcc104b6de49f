"""`chalknet.predict`: every form of models and inputs."""

import numpy as np
import pytest
from conftest import save_images
from PIL import Image

import chalknet
from chalknet.errors import ConfigError, DataError, ModelFileError
from chalknet.workflows.predict import output_format

SETTINGS = {"recipe": "writeup", "hidden": [6], "epochs": 3, "train_size": 160, "valid_size": 40, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    save_images(folder / "letters.npz", class_names=list("ABCD"))
    return chalknet.train(folder / "letters.npz", out=folder / "run", **SETTINGS)


def test_a_run_its_file_and_its_network_predict_the_same(run):
    images = run.data.inputs[:20]
    expected = run.network.predict_proba(images)
    for model in (run.folder, str(run.folder / "model.safetensors"), run.network):
        predictions = chalknet.predict(model, images)
        np.testing.assert_array_equal(predictions.probabilities, expected)
        assert predictions.labels == run.network.predict_names(images)


def test_inputs_may_be_paths_data_sets_arrays_or_lists(run, tmp_path):
    images, expected = run.data.inputs, run.network.predict_proba(run.data.inputs)
    for k in range(2):
        Image.fromarray(images[k]).save(tmp_path / f"{k}.png")
    source = run.folder.parent / "letters.npz"
    for inputs, n in (
        (source, 240),
        ([str(source)], 240),
        (run.data, 240),
        (images, 240),
        (images[:3].tolist(), 3),
        (images.reshape(240, 30), 240),
    ):
        np.testing.assert_allclose(chalknet.predict(run.network, inputs).probabilities, expected[:n], rtol=1e-5)
    both = chalknet.predict(run.network, [tmp_path / "0.png", tmp_path / "1.png"])
    np.testing.assert_array_equal(both.probabilities, run.network.predict_proba(images[:2]))
    np.testing.assert_array_equal(chalknet.predict(run.network, tmp_path).probabilities, both.probabilities)


def test_what_is_no_model_is_one_line(tmp_path, run):
    with pytest.raises(ModelFileError, match=r"holds no model\.safetensors\. Give a model file or the folder"):
        chalknet.predict(tmp_path, run.data)
    with pytest.raises(ModelFileError, match="no such model file"):
        chalknet.predict(tmp_path / "no", run.data)


def test_invalid_inputs_are_refused(run):
    with pytest.raises(DataError, match="inputs: no samples"):
        chalknet.predict(run.network, np.empty((0, 30)))
    with pytest.raises(DataError, match="sample 1 holds nan"):
        chalknet.predict(run.network, [[0.5] * 30, [np.nan] * 30])
    with pytest.raises(ConfigError, match="says how files are read"):
        chalknet.predict(run.network, run.data, invert=True)


def test_the_suffix_decides_the_format_and_images_are_refused(tmp_path):
    assert [output_format(tmp_path / f"a.{end}") for end in ("csv", "JSON", "txt")] == ["csv", "json", "table"]
    with pytest.raises(ConfigError, match=r"out must end in \.csv, \.json, \.txt"):
        output_format(tmp_path / "a.png")
