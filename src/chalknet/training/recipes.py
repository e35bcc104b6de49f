"""The named recipes, and how a recipe is adapted to data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalknet.config import CUSTOM_SPLIT, AugmentationConfig, Recipe, near_match
from chalknet.errors import ConfigError
from chalknet.formatting import count_of
from chalknet.training.budgets import settings_for_budget

if TYPE_CHECKING:  # the command line lists recipes in its help, without importing NumPy
    from chalknet.data.dataset import Dataset
    from chalknet.data.splits import Splits

DEFAULT_RECIPE = "strong"  # for training; studies and the gradient check start from "writeup"
# With fewer validation samples, training does not stop early and no epoch is chosen: the standard
# error of an accuracy of 90 % is then more than 2 points, and epochs differ by less.
# docs/recipes/strong.md measures the cost of such a choice.
MIN_VALID = 200
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

# Settings of one network that is trained as a part of something larger.
SINGLE_NETWORK: dict[str, Any] = {"ensemble": 1, "folds": 0, "calibrate": False}

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
    chosen: Recipe,
    settings: Mapping[str, Any],
    data: Dataset,
    splits: Splits | None = None,
    budget: str | float | None = None,
) -> tuple[Recipe, tuple[str, ...]]:
    """Return a named recipe with the user's settings, adapted to the data, and notes about it.

    For table rows, "strong" becomes "strong-rows", which has no image augmentation. If the data
    has its own validation split, all other samples are trained on, and folds of the recipe are
    dropped; the strong recipes also use all samples if the data has its own test split. With fewer
    than `MIN_VALID` validation samples early stopping is off. The samples of all folds count.

    Args:
        chosen: a named recipe without changes.
        settings: fields that the user has set; they are never changed.
        data: the samples.
        splits: index arrays of the user, or None.
        budget: as for `settings_for_budget`, or None. Settings of the user win over those of a budget.

    Returns:
        The recipe, and one sentence for each adaptation that the user should know.

    Raises:
        ConfigError: an invalid setting or budget.
    """
    notes = []
    if chosen.name == DEFAULT_RECIPE and not data.is_images:
        chosen = RECIPES[ROWS_RECIPE]
        notes.append(f"samples are table rows, so recipe {ROWS_RECIPE} is used.")
    if "train_size" not in settings:
        chosen = _using_all(chosen, settings, data)
    if budget is not None:
        n_train = len(data.pool) if splits is None else len(splits.train)
        chosen, note = with_budget(chosen, budget, n_train, data.n_inputs, data.n_classes)
        notes.append(note)
    recipe, more = with_user_settings(chosen, settings)
    notes += more
    has_valid = data.provided_valid is not None if splits is None else len(splits.valid) > 0
    if recipe.training.folds and "folds" not in settings and has_valid:
        recipe = recipe.with_settings(folds=0)
        notes.append("the validation samples that were given validate all networks, so there are no folds.")
    if recipe.stopping.stop_early and "stop_early" not in settings:
        n_valid = _n_valid(recipe, data, splits)
        if n_valid < MIN_VALID:
            recipe = recipe.with_settings(stop_early=False)
            notes.append(_few_valid_note(recipe, n_valid, is_provided=has_valid))
    return recipe, tuple(notes)


def with_budget(chosen: Recipe, budget: str | float, n_rows: int, n_inputs: int, n_classes: int) -> tuple[Recipe, str]:
    """Return a named recipe with the settings of a budget, and a note that lists them."""
    found = settings_for_budget(budget, n_rows, n_inputs, n_classes, chosen.name)
    words = ", ".join(f"{name}={value}" for name, value in found.items()) or "the recipe as it is"
    shown = budget if isinstance(budget, str) else f"of {budget:g} seconds"
    return chosen.with_settings(**found), f"budget {shown}: {words}."


def with_user_settings(chosen: Recipe, settings: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """Return a named recipe with the user's settings, and a note if folds of the recipe are dropped.

    The user's `ensemble` wins over folds of the recipe that it is not a multiple of.
    """
    n_folds, n = chosen.training.folds, settings.get("ensemble")
    if not n_folds or "folds" in settings or not isinstance(n, int) or n % n_folds == 0:
        return chosen.with_settings(**settings), []
    note = f"ensemble {n} is not a multiple of the recipe's {n_folds} folds, so there are no folds."
    return chosen.with_settings(**settings, folds=0), [note]


def _n_valid(recipe: Recipe, data: Dataset, splits: Splits | None) -> int:
    """Return the number of validation samples, with folds of all folds together."""
    if splits is not None:
        return len(splits.valid) + (len(splits.train) if recipe.training.folds else 0)
    if data.provided_valid is not None:
        return len(data.provided_valid)
    return _count(recipe.split.valid_size, data) + (
        _count(recipe.split.train_size, data) if recipe.training.folds else 0
    )


def _count(size: float, data: Dataset) -> int:
    """Return a size of a split as a number of samples."""
    return round(size * len(data.pool)) if size < 1 else int(size)


def _using_all(chosen: Recipe, settings: Mapping[str, Any], data: Dataset) -> Recipe:
    """Return the recipe with a train_size that uses all samples, if the data provides a split."""
    n_pool = len(data.pool)
    if data.provided_valid is not None:
        return chosen.with_settings(train_size=n_pool)
    if chosen.name not in (DEFAULT_RECIPE, ROWS_RECIPE) or data.provided_test is None:
        return chosen
    valid = float(settings.get("valid_size", chosen.split.valid_size))
    return chosen.with_settings(train_size=n_pool - _count(valid, data))


def _few_valid_note(recipe: Recipe, n_valid: int, *, is_provided: bool) -> str:
    """Return a note that nothing is chosen by the validation samples, and how to train on them too."""
    text = "training does not stop early, and the weights after the last epoch are kept"
    if not n_valid:
        return f"there are no validation samples, so {text}."
    few = count_of(n_valid, "validation sample")
    text = f"{few} are too few to choose an epoch by, so {text}."
    if recipe.training.folds:
        return text
    if is_provided:
        return f"{text} To train on them too, add them to the training data."
    size = recipe.split.train_size + recipe.split.valid_size
    return f"{text} To train on them too, use train_size={size:g}, valid_size=0 (--train {size:g} --valid 0)."


def member_recipes(recipe: Recipe) -> list[Recipe]:
    """Return the recipe of each network of an ensemble: seed, seed + 1, ..., and ensemble 1.

    The whole is calibrated, not its networks. The split of a network that trains on folds is
    custom, because no other field says which fold validates.
    """
    first, n = recipe.training.seed, recipe.training.ensemble
    own: dict[str, Any] = {**SINGLE_NETWORK, **({"split": CUSTOM_SPLIT} if recipe.training.folds else {})}
    return [recipe.with_settings(seed=(first + k) % 2**32, **own) for k in range(n)]
