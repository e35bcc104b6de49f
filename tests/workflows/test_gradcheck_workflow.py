"""The gradient check of a recipe at a point where derivatives exist."""

import numpy as np

import chalknet
from chalknet.network.gradcheck import TOLERANCE
from chalknet.workflows.gradcheck import check_recipe


def test_an_empty_background_and_biases_of_zero_are_no_kinks_of_the_check():
    images = np.zeros((12, 8, 8), np.uint8)
    images[:, 2:6, 2:6] = np.random.default_rng(0).integers(0, 256, (12, 4, 4))
    data = chalknet.dataset_from_arrays(images, np.arange(12) % 3)
    layers = [{"type": "conv2d", "filters": 5}, "relu", "max_pool2d", "flatten", {"type": "dense", "units": 6}, "relu"]
    recipe = chalknet.recipe("writeup").with_settings(layers=layers, initializer="he_normal")
    checks = check_recipe(data, recipe, 8)
    assert max(check.relative_error for check in checks) < TOLERANCE
