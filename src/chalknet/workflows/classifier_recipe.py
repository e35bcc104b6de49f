"""The recipe of a `ChalkClassifier`: a named recipe changed by the parameters and the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalknet.config import FULL, Recipe, to_python
from chalknet.errors import ConfigError
from chalknet.training.recipes import recipe as recipe_named

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

# Up to this number of samples, all train in full batches: a tenth of them is too few for validation.
MAX_SMALL_SAMPLES = 200

# "strong" for rows of numbers is strong-rows, without a validation split that would be taken from the
# samples. With few samples, inputs are not dropped and batches are full, so that only the initial
# weights are random. They are computed in float64, so that a sample with weight 2 and two equal
# samples give the same predictions to many digits, as scikit-learn's checks demand.
ROWS = recipe_named("strong-rows").with_settings(stop_early=False)
SMALL_ROWS = ROWS.with_settings(batch_size=FULL, epochs=150, learning_rate=5e-3, input_dropout=0.0, dtype="float64")


def classifier_recipe(
    recipe: str | Recipe,
    parameters: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    *,
    n_samples: int | None,
    are_images: bool,
    seed: int,
) -> Recipe:
    """Return the complete recipe of one fit.

    Args:
        recipe: a name or a `Recipe`. "strong" is `ROWS` or `SMALL_ROWS` for rows.
        parameters: values by the names of `FIELD_OF_PARAMETER`; None keeps the recipe's value.
        settings: other fields of the recipe, or None.
        n_samples: number of samples; None if more will follow.
        are_images: whether the samples are images; only these are augmented as images.
        seed: seed of the weights and of the batch order.

    Raises:
        ConfigError: an unknown recipe or field, an invalid value, or a field in settings that a
            parameter sets.
    """
    if not isinstance(recipe, (str, Recipe)):
        raise ConfigError(f"recipe must be a recipe's name or a Recipe, got {recipe!r}.")
    if isinstance(recipe, Recipe):
        base = recipe
    elif recipe == "strong" and not are_images:
        base = SMALL_ROWS if n_samples is not None and n_samples <= MAX_SMALL_SAMPLES else ROWS
    else:
        base = recipe_named(recipe)
    fields = {FIELD_OF_PARAMETER[name]: to_python(value) for name, value in parameters.items() if value is not None}
    if not are_images:
        fields |= dict.fromkeys(IMAGE_FIELDS, 0.0)
    hidden = fields.get("hidden")
    if isinstance(hidden, int):
        fields["hidden"] = (hidden,)
    resolved = base.with_settings(**fields, **_extra_fields(settings), seed=seed)
    if resolved.training.ensemble > 1:
        raise ConfigError(
            f"a ChalkClassifier is one network, got ensemble {resolved.training.ensemble}. Give several to "
            "scikit-learn's VotingClassifier(voting='soft'), or train them with chalknet.train."
        )
    return resolved


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
