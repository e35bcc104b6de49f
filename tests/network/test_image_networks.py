"""Networks of images as a whole: shapes, names, gradients, and what is refused."""

import numpy as np
import pytest

from chalknet.config import Recipe
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture, architecture_for, forward
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.gradcheck import check_objective
from chalknet.network.initializers import initial_parameters
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.objective import LabeledBatch, Objective, loss_and_gradients
from chalknet.network.residual import Residual

BLOCK = [Conv2d(4, bias=False, l2=0.1), "batch_norm", "relu", Conv2d(6, stride=2), Residual(4)]
LAYERS = [
    *(Conv2d(4), "relu", "batch_norm", "max_pool2d", *BLOCK),
    *(Conv2d(6, (3, 1), groups=3), MaxPool2d(2, 1), "average_pool2d", "flatten", Dense(7, l2=0.3), "tanh"),
]


def test_every_gradient_of_a_convolutional_network_matches_differences():
    architecture = Architecture((10, 10, 2), n_classes=4, layers=LAYERS)
    parameters = initial_parameters(architecture, 1, "he_normal")
    rng = np.random.default_rng(0)
    samples, objective = LabeledBatch(rng.normal(size=(5, 200)), rng.integers(0, 4, 5)), Objective(l2=0.01)
    gradients = loss_and_gradients(architecture, parameters, samples, objective).gradients
    checks = check_objective(architecture, parameters, gradients, samples, objective)
    assert {check.parameter for check in checks if not check.ok} == set()
    assert len(checks) == len(architecture.shapes) - len(architecture.statistics)


def test_the_penalty_of_a_layer_is_added_to_that_of_all_weights():
    plain = Architecture(3, layers=[Dense(4), Dense(2)])
    penalized = Architecture(3, layers=[Dense(4, l2=0.5), Dense(2)])
    parameters, rng = initial_parameters(plain, 0), np.random.default_rng(0)
    samples = LabeledBatch(rng.normal(size=(6, 3)), rng.integers(0, 2, 6))
    without = loss_and_gradients(plain, parameters, samples, Objective(l2=0.25))
    found = loss_and_gradients(penalized, parameters, samples, Objective(l2=0.25))
    weight = parameters["hidden1.weight"]
    assert found.value - without.value == pytest.approx(0.25 * np.square(weight).sum())
    np.testing.assert_allclose(
        found.gradients["hidden1.weight"], without.gradients["hidden1.weight"] + 0.5 * weight, rtol=1e-12
    )
    np.testing.assert_array_equal(found.gradients["output.weight"], without.gradients["output.weight"])


def test_layers_of_images_are_named_after_their_convolution():
    architecture = Architecture(
        (4, 4, 1), n_classes=2, layers=["batch_norm", *BLOCK, "flatten", Dense(3, bias=False), "batch_norm"]
    )
    assert [name for name in architecture.shapes if name.endswith((".weight", ".gamma"))] == [
        *("input.gamma", "conv1.weight", "conv1.gamma", "conv2.weight"),
        *("hidden1.weight", "hidden1.gamma", "output.weight"),
    ]
    assert str(architecture) == "4x4x1-conv4-conv6-3-2"


def test_images_may_be_rows_of_pixels():
    architecture = Architecture((4, 4, 2), n_classes=2, layers=[Conv2d(3), "flatten"])
    parameters, x = initial_parameters(architecture, 0), np.random.default_rng(0).normal(size=(3, 4, 4, 2))
    np.testing.assert_array_equal(
        forward(architecture, parameters, x).logits, forward(architecture, parameters, x.reshape(3, -1)).logits
    )


def test_initial_weights_of_a_convolution_follow_the_size_of_its_windows():
    architecture = Architecture((9, 9, 8), n_classes=2, layers=[Conv2d(64, 5, groups=2), "flatten"])
    deviation = initial_parameters(architecture, 0, "he_normal")["conv1.weight"].std()
    assert deviation == pytest.approx(np.sqrt(2 / (25 * 4)), rel=0.03)
    deviation = initial_parameters(architecture, 0, "glorot_normal")["conv1.weight"].std()
    assert deviation == pytest.approx(np.sqrt(2 / (25 * 4 + 25 * 32)), rel=0.03)


@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        ((8,), [Conv2d(3), "flatten"], "layer conv2d needs images, but the samples are rows of 8 values"),
        (
            (4, 4),
            [Conv2d(3)],
            "layers, entry 2: layer dense expects flat samples of shape (I,), got (4, 4, 3). Add a layer flatten",
        ),
        ((4, 4), ["flatten", Dense(5), Conv2d(3)], "layers, entry 3: layer conv2d expects images of shape"),
        ((4, 4), ["flatten", Conv2d(3)], "got samples of shape (16,). Put it before flatten, and give images."),
        ((4, 4), [Conv2d(3, 7, padding=0)], "layer conv2d: a window of 7 x 7 pixels does not fit in an image of 4 x 4"),
        ((4, 4), [Conv2d(3, 2)], 'layer conv2d: padding "same" needs kernels of odd size, got 2'),
        ((4, 4), [Conv2d(4), Conv2d(3, groups=2)], "layer conv2d: groups must divide the 3 filters, got 2"),
        ((4, 4), [Conv2d(3), Conv2d(4, groups=2)], "groups must divide the 3 channels of its input, got 2"),
        (
            (4, 4),
            [MaxPool2d(2), Conv2d(3), MaxPool2d(5)],
            "layers, entry 3: layer max_pool2d: a window of 5 x 5 pixels does not",
        ),
        ((4, 4), [Conv2d(3), "flatten", Residual(2)], "layers, entry 3: layer residual: the input (4, 4, 1) of"),
    ],
)
def test_layers_that_do_not_fit_images_are_refused(shape, layers, message):
    for input_dropout in (0.0, 0.2):  # is a layer too, but no entry of layers
        with pytest.raises(ConfigError) as error:
            architecture_for(Recipe().with_settings(layers=layers, input_dropout=input_dropout), shape, 2)
        assert message in str(error.value)


def test_gray_images_have_one_channel_and_dense_networks_read_rows():
    recipe = Recipe().with_settings(layers=[Conv2d(3), "flatten"])
    assert architecture_for(recipe, (28, 28), 10).input_shape == (28, 28, 1)
    assert architecture_for(recipe, (28, 28, 3), 10).input_shape == (28, 28, 3)
    assert architecture_for(Recipe(), (28, 28), 10).input_shape == (784,)
