"""A server of a model of color images: uploads, JSON rows, and what it says about the model."""

import numpy as np
import pytest
from colored_ink import NAMES, ink_images
from conftest import image_bytes
from PIL import Image
from running_servers import running

from chalknet.artifacts.model_file import save_model
from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network

pytestmark = pytest.mark.extras
IMAGES, _ = ink_images(4)


def color_model():
    layers = [{"type": "conv2d", "filters": 3}, "relu", "max_pool2d", "flatten"]
    architecture = Architecture((12, 12, 3), n_classes=4, layers=layers)
    parameters = {k: 2 * v.astype(np.float32) for k, v in initial_parameters(architecture, 3).items()}
    return Network(architecture, parameters, NAMES, Scaling(255.0), (12, 12, 3))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    path = tmp_path_factory.mktemp("colors") / "ink.safetensors"
    save_model(color_model(), path)
    with running(path) as found:
        yield found


def probabilities(answer):
    assert answer.status_code == 200, answer.text
    return np.array([[one["probabilities"][name] for name in NAMES] for one in answer.json()["predictions"]])


def test_uploads_and_json_have_the_predictions_of_the_model(client):
    expected = color_model().predict_proba(IMAGES)
    files = [("files", (f"{at}.png", image_bytes(Image.fromarray(one)), "image/png")) for at, one in enumerate(IMAGES)]
    place = "/v1/models/ink/predict"
    uploaded = client.post(place, files=files)
    np.testing.assert_allclose(probabilities(uploaded), expected, atol=1e-6)
    assert uploaded.json()["predictions"][0]["read_as"] == "12x12 RGB, as it is"
    np.testing.assert_allclose(probabilities(client.post(place, json={"rows": IMAGES.tolist()})), expected, atol=1e-6)
    flat = IMAGES.reshape(4, -1).tolist()
    np.testing.assert_allclose(probabilities(client.post(place, json={"rows": flat})), expected, atol=1e-6)


def test_the_server_says_that_it_reads_color_images(client):
    model = client.get("/v1/models/ink").json()
    assert (model["reads"], model["image_shape"]) == ("images", [12, 12, 3])
    document = client.get("/openapi.json").json()
    described = document["components"]["schemas"]["Model"]["properties"]["image_shape"]
    assert described["description"] == "Height and width of the training images, and 3 in color."
    wrong = client.post("/v1/models/ink/predict", json={"rows": IMAGES[:, :9].tolist()})
    assert wrong.status_code == 422
    assert "holds color images of 9 x 12, but the model reads color images of 12 x 12" in wrong.json()["error"]


def test_gray_rows_are_read_in_color_with_a_note(client):
    answer = client.post("/v1/models/ink/predict", json={"rows": IMAGES[..., 0].tolist()})
    assert any("read in color" in note for note in answer.json()["notes"])
