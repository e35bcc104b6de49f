import numpy as np
import pytest

from chalknet.data.preprocess import Scaling
from chalknet.errors import DataError, ShapeError
from chalknet.network.architecture import CHUNK_ROWS, Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network


@pytest.fixture
def network():
    architecture = Architecture(6, (5,), 3)
    return Network(architecture, initial_parameters(architecture, 0), ("x", "y", "z"), Scaling(255.0), (2, 3))


def test_raw_images_and_raw_rows_give_the_same_probabilities(network):
    images = np.random.default_rng(0).integers(0, 256, (7, 2, 3)).astype(np.uint8)
    from_images = network.predict_proba(images)
    np.testing.assert_array_equal(from_images, network.predict_proba(images.reshape(7, 6)))
    np.testing.assert_array_equal(from_images, network.predict_proba(images.astype(np.float64)))
    np.testing.assert_allclose(from_images.sum(axis=1), 1.0, rtol=1e-12)


def test_predictions_are_the_most_probable_classes_and_their_names(network):
    images = np.random.default_rng(0).integers(0, 256, (7, 2, 3)).astype(np.uint8)
    indices = network.predict(images)
    assert indices.tolist() == network.predict_proba(images).argmax(axis=1).tolist()
    assert network.predict_names(images) == [("x", "y", "z")[k] for k in indices]


def test_predictions_in_chunks_keep_the_order_of_samples(network):
    images = np.random.default_rng(0).integers(0, 256, (CHUNK_ROWS + 5, 6)).astype(np.uint8)
    whole = network.predict_proba(images)
    np.testing.assert_allclose(whole[-5:], network.predict_proba(images[-5:]), rtol=1e-12)
    assert len(whole) == CHUNK_ROWS + 5


def test_zero_samples_give_zero_rows(network):
    assert network.predict_proba(np.zeros((0, 2, 3), np.uint8)).shape == (0, 3)


def test_samples_of_another_size_are_named(network):
    with pytest.raises(ShapeError, match=r"6-5-3 expects samples of shape \(N, 6\) or \(N, 2, 3\), got \(4, 3, 3\)"):
        network.predict(np.zeros((4, 3, 3)))


def test_inputs_below_1_to_a_pixel_network_give_a_warning(network):
    with pytest.warns(UserWarning, match="Pass raw values"):
        network.predict(np.full((1, 6), 0.5))


def test_class_names_must_fit(network):
    with pytest.raises(ShapeError, match="needs 3 class names, got 2"):
        Network(network.architecture, network.parameters, ("x", "y"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_samples_are_refused_by_number(network, value):
    inputs = np.full((3, 6), 7.0)
    inputs[1, 2] = value
    with pytest.raises(DataError, match="sample 1 has values that are not finite"):
        network.predict_proba(inputs)
