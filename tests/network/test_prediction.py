"""The forward pass of prediction: the values of `forward`, and the same bits for any number of images."""

import numpy as np
import pytest

from chalknet.data.preprocess import Scaling
from chalknet.errors import DataError
from chalknet.machine.blas import one_blas_thread
from chalknet.network.architecture import CHUNK_IMAGES, Architecture, forward
from chalknet.network.arrays import VALUES_AT_ONCE
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.initializers import initial_parameters
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.model import Network
from chalknet.network.prediction import predict_logits
from chalknet.network.residual import Residual

NETWORKS = {
    "the course's": [Conv2d(8), "relu", "batch_norm", "max_pool2d", "flatten", Dense(20), "relu"],
    "first layer in place": ["relu", Conv2d(3, 5, padding=0), "batch_norm", "relu", MaxPool2d(3, 2), "flatten"],
    "groups": [Conv2d(4, 2, padding=1), Conv2d(6, groups=2), "gelu", Conv2d(6, 1, groups=6), "global_average_pool"],
    "depthwise": [Conv2d(12), Conv2d(12, (1, 3), stride=2, groups=12, bias=False), AveragePool2d(3, 1), "flatten"],
    "blocks": [Conv2d(9, padding=2), Conv2d(10), "batch_norm", AveragePool2d(3, 2), Conv2d(5, padding=0), "flatten"],
    "residual blocks": [
        Conv2d(9),
        "relu",
        Conv2d(9),
        Residual(2),
        "tanh",
        Conv2d(8, bias=False),
        "batch_norm",
        "flatten",
    ],
    "residual": [Conv2d(4), "relu", Conv2d(6, stride=2), Residual(2), "relu", Residual(1), "flatten", Dense(7), "relu"],
    "residual rows": ["flatten", Dense(5), "relu", "dropout", Dense(5), "relu", Residual(4), "tanh", Residual(1)],
}


def made(layers, shape):
    """Return an architecture and parameters with no value at its start."""
    architecture, rng = Architecture(shape, n_classes=4, layers=layers), np.random.default_rng(0)
    start = initial_parameters(architecture, 0, "he_normal")
    return architecture, {name: value + rng.uniform(0.1, 0.5, value.shape) for name, value in start.items()}


@pytest.mark.parametrize("shape", [(9, 10, 1), (9, 10, 3)], ids=["gray", "color"])
@pytest.mark.parametrize("name", NETWORKS)
def test_prediction_gives_the_logits_of_forward(name, shape):
    architecture, parameters = made(NETWORKS[name], shape)
    n = 2 * architecture.images_at_once + 1  # the last block is a smaller one
    x = np.random.default_rng(1).normal(size=(n, architecture.n_inputs))
    want = forward(architecture, parameters, x).logits
    np.testing.assert_allclose(predict_logits(architecture, parameters, x.copy()), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_has_the_same_bits_beside_any_others(name):
    architecture, parameters = made(NETWORKS[name], (9, 10, 3))
    x = np.random.default_rng(1).normal(size=(7, architecture.n_inputs))
    alone = [predict_logits(architecture, parameters, row[None].copy(), row_by_row=True) for row in x]
    together = predict_logits(architecture, parameters, x, row_by_row=True)
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("kernel_size", [3, 15], ids=["bands of rows", "parts of a row"])
def test_windows_that_exceed_the_cache_are_computed_in_parts(kernel_size):
    layer, x = Conv2d(2, kernel_size), np.random.default_rng(0).normal(size=(2, 21, 22, 64))
    assert 21 * 22 * (kernel_size**2 * 64 + 1) > 2 * VALUES_AT_ONCE
    architecture, parameters = made([layer, "flatten"], x.shape[1:])
    want = forward(architecture, parameters, x).logits
    np.testing.assert_allclose(predict_logits(architecture, parameters, x.reshape(2, -1)), want, rtol=1e-9)


def test_threads_that_share_images_change_no_bit():
    architecture, parameters = made(NETWORKS["the course's"], (9, 10, 1))
    model = Network(architecture, parameters, tuple("abcd"), Scaling(255.0), (9, 10))
    images = np.random.default_rng(0).integers(0, 256, (3 * CHUNK_IMAGES + 5, 9, 10)).astype(np.uint8)
    together = model.logits(images)
    with one_blas_thread():
        np.testing.assert_array_equal(model.logits(images), together)
    assert len(together) == len(images)
    with pytest.raises(DataError, match="sample 700 has values so large"):
        model.logits(np.where(np.arange(len(images))[:, None, None] == 700, 1e308, images))


def test_rows_of_many_values_are_predicted_a_few_at_a_time():
    assert Architecture(784, (10,), 2).rows_at_once == 512
    assert Architecture((2048, 2048, 1), n_classes=2, layers=[Conv2d(4), "flatten"]).rows_at_once == 2
