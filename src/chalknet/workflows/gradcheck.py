"""The gradient check of a recipe's network on real samples."""

from __future__ import annotations

import numpy as np

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.preprocess import Scaling, flatten, input_scale
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture, forward
from chalknet.network.gradcheck import GradientCheck, check_gradients
from chalknet.network.initialisers import initial_parameters
from chalknet.network.losses import softmax_cross_entropy


def check_recipe(data: Dataset, recipe: Recipe, n_samples: int = 20) -> tuple[GradientCheck, ...]:
    """Every parameter group of the recipe's network, at its initial weights, on samples drawn from data.

    Args:
        n_samples: size of the batch, drawn with the recipe's seed; at most the data's.
    Raises:
        ConfigError: n_samples is not in 1..N.
    """
    if not 1 <= n_samples <= len(data):
        raise ConfigError(f"samples must be a whole number from 1 to {len(data)}, got {n_samples}.")
    seed = recipe.training.seed
    chosen = np.random.default_rng(seed).choice(len(data), n_samples, replace=False)
    x = Scaling(input_scale(data.inputs.dtype))(flatten(data.inputs[chosen]), np.float64)
    labels = data.labels[chosen]
    parameters = initial_parameters(Architecture(data.n_inputs, recipe.network.hidden, data.n_classes), seed)
    logits, through_network = forward(parameters, x)
    _, through_loss = softmax_cross_entropy(logits, labels)
    return check_gradients(parameters, through_network(through_loss()), x, labels, seed)
