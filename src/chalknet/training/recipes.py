"""The named recipes, each a complete `Recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalknet.config import AugmentationConfig, Recipe, near_match
from chalknet.errors import ConfigError
from chalknet.formatting import count_of

if TYPE_CHECKING:  # the command line shows recipes and does not wait for NumPy
    from chalknet.data.dataset import Dataset

DEFAULT_RECIPE = "strong"  # of training; a study and the gradient check start from the write-up's
# Validation samples below which no epoch is chosen by them: the standard error of an accuracy of 90 % is then 4 points
# and more. docs/recipes/strong.md measures what choosing by so few costs.
MIN_VALID = 50
ROWS_RECIPE = "strong-rows"  # what stands in for it where samples are rows of numbers

# Full batch, 200 epochs, momentum 0.99 on the weights alone, 1e-5 on summed gradients, split by seed 521.
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

# The same for rows of numbers, which cannot be turned; chosen by cross-validation (docs/recipes/strong.md).
_STRONG_ROWS = replace(_STRONG, name=ROWS_RECIPE, augmentation=AugmentationConfig()).with_settings(
    hidden=(128,), dropout=0.0, input_dropout=0.2, learning_rate=7e-3
)

RECIPES = {"writeup": _WRITEUP, "strong": _STRONG, ROWS_RECIPE: _STRONG_ROWS}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none, with the nearest name.
    """
    if not isinstance(name, str) or name not in RECIPES:
        name = str(name)
        raise ConfigError(f"unknown recipe {name!r}.{near_match(name, RECIPES)}")
    return RECIPES[name]


def adapt_to_data(
    chosen: Recipe, settings: Mapping[str, Any], data: Dataset, n_valid: int | None = None
) -> tuple[Recipe, tuple[str, ...]]:
    """A named recipe with some settings as it suits data, and what was done about it, a sentence each.

    strong becomes strong-rows where samples are rows of numbers, since rows cannot be turned or shifted. Beside
    validation samples of one's own all others train; and strong leaves none over where the data bring a test set. With
    fewer than `MIN_VALID` validation samples all epochs are trained.

    Args:
        chosen: a named recipe, as it is. settings: fields that were asked for, which stay what they are.
        n_valid: number of validation samples, if the recipe does not decide it.
    """
    notes = []
    if chosen.name == DEFAULT_RECIPE and not data.is_images:
        chosen = RECIPES[ROWS_RECIPE]
        notes.append(f"samples are rows of numbers, so recipe {ROWS_RECIPE} is taken.")
    if "train_size" not in settings:
        chosen = _using_all(chosen, settings, data)
    recipe = chosen.with_settings(**settings)
    if recipe.stopping.stop_early and "stop_early" not in settings:
        n_valid = _n_valid(recipe, data) if n_valid is None else n_valid
        if n_valid < MIN_VALID:
            recipe = recipe.with_settings(stop_early=False)
            notes.append(
                f"{count_of(n_valid, 'validation sample')} cannot tell which epoch is best, so all "
                f"{recipe.training.epochs} epochs are trained and the last one's weights are kept. stop_early=True "
                "(--stop-early) chooses nevertheless."
            )
    return recipe, tuple(notes)


def _n_valid(recipe: Recipe, data: Dataset) -> int:
    """Return how many samples validate."""
    if data.provided_valid is not None:
        return len(data.provided_valid)
    size = recipe.split.valid_size
    return round(size * len(data.pool)) if size < 1 else int(size)


def _using_all(chosen: Recipe, settings: Mapping[str, Any], data: Dataset) -> Recipe:
    """With a train_size that leaves no sample over, where the parts to judge by are set apart already."""
    n_pool = len(data.pool)
    if data.provided_valid is not None:
        return chosen.with_settings(train_size=n_pool)
    if chosen.name not in (DEFAULT_RECIPE, ROWS_RECIPE) or data.provided_test is None:
        return chosen
    valid = float(settings.get("valid_size", chosen.split.valid_size))
    return chosen.with_settings(train_size=n_pool - (round(valid * n_pool) if valid < 1 else int(valid)))


def member_recipes(recipe: Recipe) -> list[Recipe]:
    """Return a recipe for each network of an ensemble: its own seed, and no ensemble."""
    first, n = recipe.training.seed, recipe.training.ensemble
    return [recipe.with_settings(seed=(first + k) % 2**32, ensemble=1) for k in range(n)]
