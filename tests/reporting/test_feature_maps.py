"""Pictures of convolutional networks: what is shown where, and the numbers behind the shades."""

import io

import numpy as np
import pytest
from PIL import Image

from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture, forward
from chalknet.network.conv2d import Conv2d
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.network.residual import Residual
from chalknet.reporting.drawings.feature_maps import (
    deciding_pixels,
    feature_map_sheet,
    filter_sheet,
    pixel_sheet,
    stages,
)
from chalknet.reporting.sections.feature_maps import first_of_each_class

LAYERS = [Conv2d(12), "batch_norm", "relu", "max_pool2d", Conv2d(12), "relu", Residual(2), "dropout", "flatten"]


def network(channels=1, layers=LAYERS):
    architecture = Architecture((12, 10, channels), n_classes=3, layers=layers)
    return Network(architecture, initial_parameters(architecture, 0, "he_normal"), tuple("ABC"), Scaling(255.0))


def images(n=4, channels=1):
    shape = (n, 12, 10, channels) if channels > 1 else (n, 12, 10)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def gray(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def frames(pixels: np.ndarray) -> np.ndarray:
    """Return the first rows of the frames around images."""
    is_frame = (pixels == 153).mean(axis=1) > 0.4
    return np.flatnonzero(is_frame[1:] & ~is_frame[:-1])[::2]


def test_the_filters_of_the_first_layer_are_shown_by_their_norm():
    model = network()
    sheet = filter_sheet(model)
    weights = model.parameters["conv1.weight"]
    assert (sheet.shown, weights.shape) == (8, (12, 3, 3, 1))
    assert sheet.scale == pytest.approx(np.quantile(np.abs(weights), 0.995), rel=0.2)
    strongest = weights[np.linalg.norm(weights.reshape(12, -1), axis=1).argmax(), ..., 0]
    pixels = gray(sheet.picture)
    (top, *_), (left, *_) = np.nonzero(pixels == 153)  # the corner of the first frame
    shown = pixels[top + 20 : top + 123 : 41, left + 20 : left + 123 : 41] / 255  # 8 columns of 41 pixels a weight
    np.testing.assert_allclose(shown, np.clip(strongest / (2 * sheet.scale) + 0.5, 0, 1), atol=0.01)


def test_filters_of_color_images_have_a_row_for_each_color():
    assert gray(filter_sheet(network(3)).picture).shape[0] > 2.5 * gray(filter_sheet(network()).picture).shape[0]


def test_a_first_layer_without_filters_has_no_sheet():
    assert filter_sheet(network(layers=["batch_norm", Conv2d(3), "flatten"])) is None


def test_a_stage_is_a_convolution_or_pooling_with_what_follows_it():
    model, image = network(), images(1)[0]
    found = stages(model, image)
    assert [(one.name, one.maps.shape) for one in found] == [
        ("conv 1", (12, 12, 10)),
        ("max pooling", (12, 6, 5)),
        ("conv 2", (12, 6, 5)),
    ]
    first = found[0].maps
    np.testing.assert_array_equal(found[1].maps, first.reshape(12, 6, 2, 5, 2).max(axis=(2, 4)))
    assert first.min() == 0, "the maps are those after relu"


@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "color"])
def test_deciding_pixels_are_gradient_times_input(channels):
    model, samples = network(channels), images(2, channels)
    found = deciding_pixels(model, samples)
    assert found.shape == (2, 12, 10)
    x = samples.reshape(2, -1) / 255
    logits = forward(model.architecture, model.parameters, x).logits
    k = logits[1].argmax()
    for pixel in (0, 37, 119):
        moved = x.copy()
        own = slice(pixel * channels, (pixel + 1) * channels)
        moved[1, own] *= 1 + 1e-6
        change = forward(model.architecture, model.parameters, moved).logits[1, k] - logits[1, k]
        assert found[1].ravel()[pixel] == pytest.approx(change / 1e-6, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "color"])
def test_sheets_have_one_row_for_each_stage(channels):
    model, samples = network(channels), images(4, channels)
    maps, pixels = feature_map_sheet(model, samples[0]), pixel_sheet(model, samples, list("ABCA"))
    assert pixels.shown == 4
    assert len(frames(gray(maps)[:, -150:-30])) == 3  # an image has no map at the right
    assert len(frames(gray(pixels.picture))) == 2
    assert feature_map_sheet(model, samples[0]) == maps, "equal sheets are equal bytes"


def test_samples_are_the_first_of_each_class():
    labels, index = np.array([2, 0, 2, 1]), np.array([40, 10, 30, 20])
    assert first_of_each_class(labels, index).tolist() == [10, 20, 40]
