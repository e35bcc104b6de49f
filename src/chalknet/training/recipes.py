"""The named recipes, and how a recipe is adapted to data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalknet.config import AugmentationConfig, Recipe, near_match
from chalknet.errors import ConfigError
from chalknet.formatting import count_of

if TYPE_CHECKING:  # the command line lists recipes in its help, without importing NumPy
    from chalknet.data.dataset import Dataset

DEFAULT_RECIPE = "strong"  # for training; studies and the gradient check start from "writeup"
# With fewer validation samples, no epoch is chosen by them: the standard error of an accuracy of
# 90 % is then more than 4 points. docs/recipes/strong.md measures the cost of such a choice.
MIN_VALID = 50
ROWS_RECIPE = "strong-rows"  # replaces "strong" for table rows

# Full batch, 200 epochs, momentum 0.99 for weights only, learning rate 1e-5 for summed gradients, and
# a split with seed 521: the defaults of `Recipe`.
_WRITEUP = Recipe(name="writeup")

# Chosen by the studies in docs/recipes/.
_STRONG = Recipe(name="strong").with_settings(
    split="stratified",
    train_size=0.8,
    valid_size=0.1,
    split_seed=0,
    hidden=(1024, 512),
    initializer="he_normal",
    input_scaling="auto",
    dropout=0.1,
    shift_pixels=3,
    rotation_degrees=10,
    zoom=0.1,
    shear=0.1,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=0.05,
    reduction="mean",
    bias_momentum=True,
    schedule="one_cycle",
    epochs=40,
    batch_size=128,
    stop_early=True,
    patience=20,
    monitor="valid_accuracy",
)

# The same for table rows, without image augmentation; chosen by cross-validation
# (docs/recipes/strong.md).
_STRONG_ROWS = replace(_STRONG, name=ROWS_RECIPE, augmentation=AugmentationConfig()).with_settings(
    hidden=(128,), dropout=0.0, input_dropout=0.2, learning_rate=7e-3
)

RECIPES = {"writeup": _WRITEUP, "strong": _STRONG, ROWS_RECIPE: _STRONG_ROWS}


def recipe(name: str) -> Recipe:
    """Return the recipe with this name.

    Raises:
        ConfigError: there is no such recipe. The message suggests the most similar name.
    """
    if not isinstance(name, str) or name not in RECIPES:
        name = str(name)
        raise ConfigError(f"unknown recipe {name!r}.{near_match(name, RECIPES)}")
    return RECIPES[name]


def adapt_to_data(
    chosen: Recipe, settings: Mapping[str, Any], data: Dataset, n_valid: int | None = None
) -> tuple[Recipe, tuple[str, ...]]:
    """Return a named recipe with the user's settings, adapted to the data, and notes about it.

    For table rows, "strong" becomes "strong-rows", which has no image augmentation. If the data
    has its own validation split, all other samples are trained on; the strong recipes also use
    all samples if the data has its own test split. With fewer than `MIN_VALID` validation
    samples early stopping is off.

    Args:
        chosen: a named recipe without changes.
        settings: fields that the user has set; they are never changed.
        data: the samples.
        n_valid: number of validation samples, or None if the recipe determines it.

    Returns:
        The recipe, and one sentence for each adaptation that the user should know.
    """
    notes = []
    if chosen.name == DEFAULT_RECIPE and not data.is_images:
        chosen = RECIPES[ROWS_RECIPE]
        notes.append(f"samples are table rows, so recipe {ROWS_RECIPE} is used.")
    if "train_size" not in settings:
        chosen = _using_all(chosen, settings, data)
    recipe = chosen.with_settings(**settings)
    if recipe.stopping.stop_early and "stop_early" not in settings:
        n_valid = _n_valid(recipe, data) if n_valid is None else n_valid
        if n_valid < MIN_VALID:
            recipe = recipe.with_settings(stop_early=False)
            notes.append(
                f"with only {count_of(n_valid, 'validation sample')} the best epoch cannot be chosen, so all "
                f"{recipe.training.epochs} epochs are trained and the last weights are kept. Use stop_early=True "
                "(--stop-early) to choose anyway."
            )
    return recipe, tuple(notes)


def _n_valid(recipe: Recipe, data: Dataset) -> int:
    """Return the number of validation samples."""
    if data.provided_valid is not None:
        return len(data.provided_valid)
    size = recipe.split.valid_size
    return round(size * len(data.pool)) if size < 1 else int(size)


def _using_all(chosen: Recipe, settings: Mapping[str, Any], data: Dataset) -> Recipe:
    """Return the recipe with a train_size that uses all samples, if the data provides a split."""
    n_pool = len(data.pool)
    if data.provided_valid is not None:
        return chosen.with_settings(train_size=n_pool)
    if chosen.name not in (DEFAULT_RECIPE, ROWS_RECIPE) or data.provided_test is None:
        return chosen
    valid = float(settings.get("valid_size", chosen.split.valid_size))
    return chosen.with_settings(train_size=n_pool - (round(valid * n_pool) if valid < 1 else int(valid)))


def member_recipes(recipe: Recipe) -> list[Recipe]:
    """Return the recipe of each network of an ensemble: seed, seed + 1, ..., and ensemble 1."""
    first, n = recipe.training.seed, recipe.training.ensemble
    return [recipe.with_settings(seed=(first + k) % 2**32, ensemble=1) for k in range(n)]
