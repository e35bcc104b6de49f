"""Check the gradients of a recipe's network on real samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chalknet.config import FULL, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.engines.reference import ReferenceEngine
from chalknet.errors import ConfigError
from chalknet.network.arrays import FloatArray
from chalknet.network.gradcheck import GradientCheck, check_objective
from chalknet.network.objective import Objective, loss_and_gradients
from chalknet.training.recipes import with_category_inputs
from chalknet.training.trainer import Trainer

SMALL = 0.05  # standard deviation of the values in place of zeros


def check_recipe(
    data: Dataset, recipe: Recipe, n_samples: int = 20, on_check: Callable[[int, int], None] | None = None
) -> tuple[GradientCheck, ...]:
    """Check the gradient of each parameter group of a recipe's network at its initial weights.

    The objective is that of the recipe's first update, as a mean over the batch: with activations,
    batch normalization, penalty, label smoothing, dropout masks and augmented images as that update
    draws them. Parameters that all start at 0, such as biases, get small random values: with a bias of
    0, the convolution of an empty background lies on the kink of relu, where there is no derivative.

    Args:
        data: the data set.
        recipe: the recipe.
        n_samples: size of the batch, drawn with the recipe's seed; at most the data's.
        on_check: called before each gradient with the number of those that are checked, and of all.

    Raises:
        ConfigError: n_samples is not in 1..N.
    """
    if not 1 <= n_samples <= len(data):
        raise ConfigError(f"samples must be an integer from 1 to {len(data)}, got {n_samples}.")
    recipe, _ = with_category_inputs(recipe, data.encoding, data.source)
    seed = recipe.training.seed
    chosen = np.random.default_rng(seed).choice(len(data), n_samples, replace=False)
    nobody = np.empty(0, np.int64)
    settings = {"engine": "reference", "dtype": "float64", "device": "auto", "precision": "float32"}
    whole = recipe.with_settings(**settings, batch_size=FULL, reduction="mean")
    trainer = Trainer(data, Splits(chosen, nobody, nobody), whole)
    engine, architecture = trainer.engine, trainer.architecture
    assert isinstance(engine, ReferenceEngine)
    samples, masks = engine.training_batch(next(trainer.updates(1)))
    objective = Objective("mean", recipe.regularization.label_smoothing, recipe.regularization.l2)
    parameters = {name: _away_from_zero(value, seed) for name, value in engine.parameters().items()}
    gradients = loss_and_gradients(architecture, parameters, samples, objective, masks).gradients
    return check_objective(architecture, parameters, gradients, samples, objective, masks, seed=seed, on_check=on_check)


def _away_from_zero(value: FloatArray, seed: int) -> FloatArray:
    """Return a parameter, or small random values if all its values are 0."""
    return value if value.any() else np.random.default_rng(seed).normal(0.0, SMALL, value.shape)
