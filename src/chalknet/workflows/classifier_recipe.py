"""The recipe of a `ChalkClassifier`: a named recipe changed by the parameters and the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from chalknet.config import FULL, Recipe, to_python
from chalknet.errors import ConfigError
from chalknet.training.recipes import (
    DEFAULT_RECIPE,
    IMAGES_RECIPE,
    ROWS_RECIPE,
    SINGLE_NETWORK,
    SINGLE_ROWS_RECIPE,
    convolutional_recipe,
    recipe_for_images,
    recipe_for_rows,
    with_batches_for,
    with_budget,
    with_category_inputs,
    with_user_settings,
)
from chalknet.training.recipes import recipe as recipe_named

if TYPE_CHECKING:
    from chalknet.data.tables.encoding import TableEncoding

# Parameter of the classifier -> field of the recipe.
FIELD_OF_PARAMETER = {
    "hidden": "hidden",
    "activation": "activation",
    "batch_norm": "batch_norm",
    "dropout": "dropout",
    "learning_rate": "learning_rate",
    "optimizer": "optimizer",
    "weight_decay": "weight_decay",
    "l2": "l2",
    "batch_size": "batch_size",
    "epochs": "epochs",
    "early_stopping": "stop_early",
    "patience": "patience",
}
# Field of the recipe -> parameter of another name that sets it.
PARAMETER_OF_OTHER_FIELD = {
    "class_weights": "class_weight",
    "seed": "random_state",
    "split": "validation_fraction",
    "train_size": "validation_fraction",
    "valid_size": "validation_fraction",
    "split_seed": "random_state",
}
IMAGE_FIELDS = ("shift_pixels", "rotation_degrees", "zoom", "shear", "erase")

# Up to this number of samples, all of them train one network in full batches: without folds, a tenth of
# the samples is too few for validation.
MAX_SMALL_SAMPLES = 200
# The same where the recipe would be "rows", whose folds use all samples for validation.
MAX_SAMPLES_WITHOUT_FOLDS = 60

# With few samples, the networks of the recipe for rows see all samples: there are neither folds nor
# samples to calibrate on. Inputs are not dropped and batches are full, so that only the initial
# weights are random. They are computed in float64, so that a sample with weight 2 and two equal
# samples give the same predictions to many digits, as scikit-learn's checks demand.
SMALL: dict[str, Any] = {"folds": 0, "calibrate": False, "stop_early": False}
SMALL_ROWS_SETTINGS: dict[str, Any] = {
    **SMALL,
    "batch_size": FULL,
    "epochs": 150,
    "learning_rate": 5e-3,
    "input_dropout": 0.0,
    "dtype": "float64",
}


def rows_recipe(recipe: Recipe) -> Recipe:
    """Return a recipe for rows without a validation split that would be taken from the samples.

    Folds take no samples from the training, so a recipe with folds stops as it says.
    """
    return recipe if recipe.training.folds else recipe.with_settings(stop_early=False)


def classifier_recipe(
    recipe: str | Recipe,
    parameters: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    *,
    rows: NDArray[Any],
    n_classes: int,
    image_shape: tuple[int, ...] | None,
    seed: int,
    budget: str | float | None = None,
    encoding: TableEncoding | None = None,
    is_partial: bool = False,
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the complete recipe of one fit, and notes about it.

    Args:
        recipe: a name or a `Recipe`. For rows, "strong" is "rows"; "strong-rows" if a parameter or a setting
            describes the network, for up to `MAX_SAMPLES_WITHOUT_FOLDS` samples and in partial_fit.
        parameters: values by the names of `FIELD_OF_PARAMETER`; None keeps the recipe's value.
        settings: other fields of the recipe, or None.
        rows: (N, I) samples.
        n_classes: number of classes.
        image_shape: (H, W) or (H, W, C) if the samples are images; only these are augmented as images.
        seed: seed of the weights and of the batch order.
        budget: as for `settings_for_budget`, or None.
        encoding: how the columns of a table became the rows, or None.
        is_partial: whether these are samples of partial_fit, which trains one network at a time and
            which more samples will follow.

    Raises:
        ConfigError: an unknown recipe or field, an invalid value, or a field in settings that a
            parameter sets.
    """
    if not isinstance(recipe, (str, Recipe)):
        raise ConfigError(f"recipe must be a recipe's name or a Recipe, got {recipe!r}.")
    if budget is not None and isinstance(recipe, Recipe):
        raise ConfigError("budget changes a recipe given by name. Leave it out, or give the name of a recipe.")
    fields = {FIELD_OF_PARAMETER[name]: to_python(value) for name, value in parameters.items() if value is not None}
    if image_shape is None:
        fields |= dict.fromkeys(IMAGE_FIELDS, 0.0)
    hidden = fields.get("hidden")
    if isinstance(hidden, int):
        fields["hidden"] = (hidden,)
    given = {**fields, **_extra_fields(settings), "seed": seed}
    is_strong_rows = recipe == DEFAULT_RECIPE and image_shape is None
    is_bag = is_strong_rows and recipe_for_rows(given)[0].name == ROWS_RECIPE
    is_small = len(rows) <= (MAX_SAMPLES_WITHOUT_FOLDS if is_bag else MAX_SMALL_SAMPLES) and not is_partial
    if isinstance(recipe, Recipe):
        base = recipe
    elif is_strong_rows:
        base = recipe_named(SINGLE_ROWS_RECIPE) if is_small or is_partial else recipe_for_rows(given)[0]
    elif recipe == DEFAULT_RECIPE and image_shape is not None:
        base, _ = recipe_for_images(given, image_shape)
    elif recipe == IMAGES_RECIPE and image_shape is not None:
        base = convolutional_recipe(given, image_shape)
    else:
        base = recipe_named(recipe)
    notes: list[str] = []
    n_numbers = None if encoding is None else encoding.n_numbers
    if (budget is not None or base.name == ROWS_RECIPE) and not isinstance(recipe, Recipe):
        base, note = with_budget(base, budget, len(rows), image_shape or rows.shape[1:], n_classes, n_numbers, given)
        notes += [note] if budget is not None else []
    if is_strong_rows:
        base = base.with_settings(**SMALL_ROWS_SETTINGS) if is_small else rows_recipe(base)
    elif is_small and not isinstance(recipe, Recipe):
        base = base.with_settings(folds=0, calibrate=False)
    if isinstance(recipe, Recipe):
        resolved = base.with_settings(**given)
    else:
        resolved, more = with_user_settings(base, given)
        resolved, smaller = (resolved, []) if is_partial else with_batches_for(resolved, len(rows), given)
        notes += [*more, *smaller]
    if is_partial:
        resolved = resolved.with_settings(**SINGLE_NETWORK)
    resolved, others = with_category_inputs(resolved, encoding, "X")
    return resolved, (*notes, *others)


def _extra_fields(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"settings must be a dict of recipe fields, or None, got {settings!r}.")
    others = {name: to_python(value) for name, value in (settings or {}).items()}
    parameter_of_field = {field: name for name, field in FIELD_OF_PARAMETER.items()} | PARAMETER_OF_OTHER_FIELD
    for field in others:
        if field in parameter_of_field:
            name = parameter_of_field[field]
            raise ConfigError(f"settings must not hold {field!r}, which the parameter {name} sets. Set {name}.")
    return others
