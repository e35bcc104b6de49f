"""The named recipes, and how a recipe is adapted to data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalknet.checked import is_integer
from chalknet.config import CUSTOM_SPLIT, SHORT_FORM, AugmentationConfig, Recipe, near_match
from chalknet.errors import ConfigError
from chalknet.formatting import count_of, for_reader, is_or_are, quoted
from chalknet.training.budgets import settings_for_budget
from chalknet.training.images_recipe import BATCH_SIZE, EPOCHS, batch_size_for, image_layers
from chalknet.training.rows_recipe import N_FOLDS, rows_layers

if TYPE_CHECKING:  # the command line lists recipes in its help, without importing NumPy
    from chalknet.data.dataset import Dataset
    from chalknet.data.splits import Splits
    from chalknet.data.tables.encoding import TableEncoding

DEFAULT_RECIPE = "strong"  # for training; studies and the gradient check start from "writeup"
# With fewer validation samples, training does not stop early and no epoch is chosen: the standard
# error of an accuracy of 90 % is then more than 2 points, and epochs differ by less.
# docs/recipes/strong.md measures the cost of such a choice.
MIN_VALID = 200
DEFAULT_BUDGET = "default"
IMAGES_RECIPE = "images"  # replaces "strong" for images
DENSE_RECIPE = "strong-dense"  # replaces it where the user describes a dense network
ROWS_RECIPE = "rows"  # replaces "strong" for table rows
SINGLE_ROWS_RECIPE = "strong-rows"  # replaces it where the user describes the network
NETWORK_FIELDS = (*SHORT_FORM, "layers", "network")

# Full batch, 200 epochs, momentum 0.99 for weights only, learning rate 1e-5 for summed gradients, and
# a split with seed 521: the defaults of `Recipe`.
WRITEUP_RECIPE = "writeup"
_WRITEUP = Recipe(name=WRITEUP_RECIPE)

# The second part of the course: a convolutional network, trained by Adam on mini-batches.
_PART2 = replace(_WRITEUP, name="part2").with_settings(
    network="part2",
    optimizer="adam",
    learning_rate=1e-4,
    reduction="mean",
    epochs=50,
    batch_size=32,
)
COURSE_RECIPES = (_WRITEUP.name, _PART2.name)  # they keep the split of the course, whatever the data provide

# A dense network for images, chosen by the studies in docs/recipes/. `adapt_to_data` replaces "strong"
# by the recipe for the kind of samples.
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

# How a convolutional network is trained, chosen on letters (docs/recipes/strong.md).
_CONVOLUTIONAL = replace(_STRONG, name=IMAGES_RECIPE).with_settings(
    dropout=0.0,
    label_smoothing=0.05,
    learning_rate=3e-3,
    weight_decay=0.02,
    epochs=EPOCHS,
    batch_size=BATCH_SIZE,
    patience=EPOCHS,
    monitor="valid_loss",
)

# One dense network for table rows, without image augmentation; chosen by cross-validation
# (docs/recipes/strong.md).
_STRONG_ROWS = replace(_STRONG, name=SINGLE_ROWS_RECIPE, augmentation=AugmentationConfig()).with_settings(
    hidden=(128,), dropout=0.0, input_dropout=0.2, learning_rate=7e-3
)

# A bag of networks for table rows, chosen on public tables (docs/recipes/rows.md). `settings_for_budget`
# changes layers, epochs and batch size with the table.
_ROWS = replace(_STRONG, name=ROWS_RECIPE, augmentation=AugmentationConfig()).with_settings(
    layers=rows_layers((128, 128), embedded=0),
    input_scaling="robust",
    dropout_schedule="flat_cos",
    label_smoothing=0.1,
    learning_rate=0.04,
    beta2=0.95,
    weight_decay=0.02,
    weight_decay_schedule="flat_cos",
    schedule="coslog4",
    epochs=40,
    patience=40,
    monitor="valid_loss",
    ensemble=N_FOLDS,
    folds=N_FOLDS,
    calibrate=True,
)

# Settings of one network that is trained as a part of something larger.
SINGLE_NETWORK: dict[str, Any] = {"ensemble": 1, "folds": 0, "calibrate": False}

RECIPES = {
    "writeup": _WRITEUP,
    "part2": _PART2,
    "strong": _STRONG,
    IMAGES_RECIPE: _CONVOLUTIONAL.with_settings(layers=image_layers((28, 28))),
    DENSE_RECIPE: replace(_STRONG, name=DENSE_RECIPE),
    ROWS_RECIPE: _ROWS,
    SINGLE_ROWS_RECIPE: _STRONG_ROWS,
}


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
    *,
    one_network: bool = False,
    varied: Collection[str] = (),
) -> tuple[Recipe, tuple[str, ...]]:
    """Return a named recipe with the user's settings, adapted to the data, and notes about it.

    For images, "strong" becomes "images", whose layers fit the size of the images, or "strong-dense" if
    the user describes a dense network. For table rows it becomes "rows". For one network, or if the user
    sets layers, it becomes "strong-rows". The budget sets the layers, epochs and batch size of "rows" for
    this table. If the
    data has its own validation split, all other samples are trained on, and folds of the recipe are
    dropped. The strong recipes also use all samples if the data has its own test split. With fewer
    than `MIN_VALID` validation samples early stopping is off. The samples of all folds count. The folds
    of "rows" choose an epoch with fewer samples too, because five choices are averaged. Recipe
    "images" has smaller batches for few images.

    Args:
        chosen: a named recipe without changes.
        settings: fields that the user has set; they are never changed.
        data: the samples.
        splits: index arrays of the user, or None.
        budget: as for `settings_for_budget`, or None. Settings of the user win over those of a budget.
        one_network: whether one network is trained, as in the runs of a study.
        varied: fields that differ between the configurations of a study.

    Returns:
        The recipe, and one sentence for each adaptation that the user should know.

    Raises:
        ConfigError: an invalid setting or budget.
    """
    notes = []
    if chosen.name == DEFAULT_RECIPE and not data.is_images:
        chosen, note = recipe_for_rows(settings, one_network=one_network)
        notes.append(f"samples are table rows{note}, so recipe {chosen.name} is used.")
    elif chosen.name == DEFAULT_RECIPE:
        chosen, note = recipe_for_images({*settings, *varied}, data.sample_shape)
        notes.append(f"samples are images{note}, so recipe {chosen.name} is used.")
    elif chosen.name == IMAGES_RECIPE:
        if not data.is_images:
            raise ConfigError(
                f"recipe {IMAGES_RECIPE} is for images, but the samples are table rows. Use recipe strong."
            )
        chosen = convolutional_recipe({*settings, *varied}, data.sample_shape)
    if "train_size" not in settings:
        chosen = _using_all(chosen, settings, data)
    if budget is not None or chosen.name == ROWS_RECIPE:
        n_numbers = data.n_inputs if data.encoding is None else data.encoding.n_numbers
        n_train = _n_trained(chosen.with_settings(**_split_settings(settings)), data, splits)
        shape = data.sample_shape
        chosen, note = with_budget(chosen, budget, n_train, shape, data.n_classes, n_numbers, settings)
        notes.append(note)
    recipe, more = with_user_settings(chosen, settings)
    notes += more
    has_valid = data.provided_valid is not None if splits is None else len(splits.valid) > 0
    if recipe.training.folds and "folds" not in settings and has_valid:
        recipe = recipe.with_settings(folds=0)
        notes.append("the validation samples that were given validate all networks, so there are no folds.")
    recipe, more = with_batches_for(recipe, _n_train(recipe, data, splits), {*settings, *varied})
    notes += more
    if recipe.stopping.stop_early and "stop_early" not in settings and not chooses_by_folds(recipe):
        n_valid = _n_valid(recipe, data, splits)
        if n_valid < MIN_VALID:
            recipe = recipe.with_settings(stop_early=False)
            notes.append(_few_valid_note(recipe, n_valid, data, is_provided=has_valid))
    return recipe, tuple(notes)


def with_category_inputs(
    recipe: Recipe, encoding: TableEncoding | None, source: str, varied: Collection[str] = ()
) -> tuple[Recipe, tuple[str, ...]]:
    """Return a recipe with the inputs that its embedding of categories replaces, and a note on their columns.

    Args:
        recipe: any recipe; one without such an embedding is returned as it is.
        encoding: how the columns of the table become inputs, or None if the samples are no table of columns.
        source: where the samples come from.
        varied: fields that differ between the configurations of a study.

    Raises:
        ConfigError: categories are to be embedded, and the inputs of none are known.
    """
    network = recipe.network
    if not network.embeds_categories and not {"embed_categories", "layers"} & set(varied):
        return recipe, ()
    if encoding is None:
        has_groups = network.category_inputs or any(layer.get("groups") for layer in network.layers)
        if network.embeds_categories and not has_groups:
            raise ConfigError(
                f"{source}: is not a table with columns of categories, so there are none to embed. Give a table of "
                "texts and numbers, set embed_categories to 0 and remove layers of type category_embedding, or set "
                "category_inputs."
            )
        return recipe, ()
    groups = encoding.category_inputs
    recipe = recipe.with_settings(category_inputs=groups)
    if not network.embeds_categories:
        return recipe, ()
    if not groups:
        return recipe, ("no column has so many categories that it is embedded.",)
    names = encoding.embedded_names
    return recipe, (
        f"{count_of(len(names), 'column')} of categories {is_or_are(len(names))} embedded: {quoted(names)}.",
    )


def recipe_for_images(given: Collection[str], shape: Sequence[int]) -> tuple[Recipe, str]:
    """Return the recipe that replaces "strong" for images, and the reason as a part of a sentence.

    Args:
        given: fields that the user has set, or varies in a study.
        shape: (H, W) or (H, W, C) of an image.
    """
    of_dense = [name for name in SHORT_FORM if name in given]
    if of_dense and not {"layers", "network"} & set(given):
        return RECIPES[DENSE_RECIPE], f" and {of_dense[0]} is given"
    return convolutional_recipe(given, shape), ""


def convolutional_recipe(given: Collection[str], shape: Sequence[int]) -> Recipe:
    """Return recipe "images", with layers for images of this shape unless the user describes the network."""
    if {"layers", "network"} & set(given):
        return _CONVOLUTIONAL
    return _CONVOLUTIONAL.with_settings(layers=image_layers(shape))


def recipe_for_rows(settings: Mapping[str, Any], *, one_network: bool = False) -> tuple[Recipe, str]:
    """Return the recipe that replaces "strong" for table rows, and the reason as a part of a sentence."""
    given = [name for name in NETWORK_FIELDS if name in settings]
    if given:
        return RECIPES[SINGLE_ROWS_RECIPE], f" and {given[0]} is given"
    return RECIPES[SINGLE_ROWS_RECIPE if one_network else ROWS_RECIPE], ""


def with_budget(
    chosen: Recipe,
    budget: str | float | None,
    n_rows: int,
    shape: Sequence[int],
    n_classes: int,
    n_numbers: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Recipe, str]:
    """Return a named recipe with the settings of a budget, by default "default", and a note that lists them.

    The note shows the values of the user's settings, which win.
    """
    found = settings_for_budget(budget or DEFAULT_BUDGET, n_rows, shape, n_classes, chosen.name, n_numbers)
    changed = chosen.with_settings(**found)
    shown = (
        "" if budget is None else f"budget {budget}: " if isinstance(budget, str) else f"budget of {budget:g} seconds: "
    )
    used = {name: (settings or {}).get(name, value) for name, value in found.items()}
    if chosen.name == ROWS_RECIPE:
        units = " x ".join(f"{one:,}" for one in changed.network.hidden)
        batches = f"batches of {used['batch_size']:,}" if is_integer(used["batch_size"]) else "full batches"
        return changed, (
            f"{shown}{count_of(used['ensemble'], 'network')} with {units} hidden units, "
            f"{count_of(used['epochs'], 'epoch')} each, {batches}."
        )
    words = ", ".join(f"{name}={value}" for name, value in used.items()) or "the recipe as it is"
    return changed, f"{shown}{words}."


def with_user_settings(chosen: Recipe, settings: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """Return a named recipe with the user's settings, and a note if folds of the recipe are dropped.

    The user's `ensemble` wins over folds of the recipe that it is not a multiple of.
    """
    _check_layers_of(chosen, settings)
    n_folds, n = chosen.training.folds, settings.get("ensemble")
    if not n_folds or "folds" in settings or not isinstance(n, int) or n % n_folds == 0:
        return chosen.with_settings(**settings), []
    note = f"ensemble {n} is not a multiple of the recipe's {n_folds} folds, so there are no folds."
    return chosen.with_settings(**settings, folds=0), [note]


def _check_layers_of(chosen: Recipe, settings: Mapping[str, Any]) -> None:
    """Check that settings do not describe another network than a recipe with layers of its own.

    Raises:
        ConfigError: they do.
    """
    given = [name for name in SHORT_FORM if name in settings]
    if chosen.network.layers and given and not {"layers", "network"} & set(settings):
        other = DENSE_RECIPE if chosen.name == IMAGES_RECIPE else SINGLE_ROWS_RECIPE
        raise ConfigError(
            f"recipe {chosen.name} has layers of its own, so it takes no {given[0]}. Use recipe={other!r} "
            f"(--recipe {other}), or leave out {given[0]}."
        )


def with_batches_for(recipe: Recipe, n_images: int, given: Collection[str]) -> tuple[Recipe, list[str]]:
    """Return recipe "images" with batches for a number of training images, and a note if they are smaller.

    Args:
        recipe: any recipe; others than "images" are returned as they are.
        n_images: number of training images.
        given: fields that the user has set or varies; with batch_size, the recipe is returned as it is.
    """
    size = batch_size_for(n_images)
    if recipe.name != IMAGES_RECIPE or "batch_size" in given or size == BATCH_SIZE:
        return recipe, []
    images = count_of(n_images, "training image")
    note = f"{images} {is_or_are(n_images)} few, so batches have {size} instead of {BATCH_SIZE} images."
    return recipe.with_settings(batch_size=size), [note]


def chooses_by_folds(recipe: Recipe) -> bool:
    """Return whether the folds of a recipe choose epochs, however few samples they have."""
    return recipe.name == ROWS_RECIPE and recipe.training.folds > 0


def _n_valid(recipe: Recipe, data: Dataset, splits: Splits | None) -> int:
    """Return the number of validation samples, with folds of all folds together."""
    if recipe.training.folds:
        return _n_trained(recipe, data, splits)
    if splits is not None:
        return len(splits.valid)
    return _count(recipe.split.valid_size, data) if data.provided_valid is None else len(data.provided_valid)


def _n_trained(recipe: Recipe, data: Dataset, splits: Splits | None) -> int:
    """Return the number of training samples, with validation samples that are taken from the same pool."""
    if splits is not None:
        return len(splits.train) + len(splits.valid)
    return min(len(data.pool), _count(recipe.split.train_size, data) + _count(recipe.split.valid_size, data))


def _n_train(recipe: Recipe, data: Dataset, splits: Splits | None) -> int:
    """Return the number of training samples of one network."""
    n_folds = recipe.training.folds
    if n_folds:
        return _n_trained(recipe, data, splits) * (n_folds - 1) // n_folds
    return _count(recipe.split.train_size, data) if splits is None else len(splits.train)


def _split_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("train_size", "valid_size") if name in settings}


def _count(size: float, data: Dataset) -> int:
    """Return a size of a split as a number of samples."""
    return round(size * len(data.pool)) if size < 1 else int(size)


def _using_all(chosen: Recipe, settings: Mapping[str, Any], data: Dataset) -> Recipe:
    """Return the recipe with a train_size that uses all samples, if the data provides a split."""
    n_pool = len(data.pool)
    if data.provided_valid is not None:
        return chosen.with_settings(train_size=n_pool)
    if chosen.name in COURSE_RECIPES or data.provided_test is None:
        return chosen
    valid = float(settings.get("valid_size", chosen.split.valid_size))
    return chosen.with_settings(train_size=n_pool - _count(valid, data))


def _few_valid_note(recipe: Recipe, n_valid: int, data: Dataset, *, is_provided: bool) -> str:
    """Return a note that nothing is chosen by the validation samples, and how to train on them too."""
    text = "training does not stop early, and the weights after the last epoch are kept"
    if not n_valid:
        return f"there are no validation samples, so {text}."
    few = count_of(n_valid, "validation sample")
    text = f"{few} {is_or_are(n_valid)} too few to choose an epoch by, so {text}."
    if recipe.training.folds:
        return text
    if is_provided:
        return f"{text} To train on them too, add them to the training data."
    split = recipe.split
    total = split.train_size + split.valid_size
    if max(split.train_size, split.valid_size) < 1 and round(total, 6) < 1:
        size = f"{total:g}"  # both are fractions
    else:
        size = f"{_count(split.train_size, data) + _count(split.valid_size, data)}"
    how = f"train_size={size} (--train {size}) and valid_size=0 (--valid 0)"
    return for_reader(f"{text} To train on them too, use {how}.")


def member_recipes(recipe: Recipe) -> list[Recipe]:
    """Return the recipe of each network of an ensemble: seed, seed + 1, ..., and ensemble 1.

    The whole is calibrated, not its networks. The split of a network that trains on folds is
    custom, because no other field says which fold validates.
    """
    first, n = recipe.training.seed, recipe.training.ensemble
    own: dict[str, Any] = {**SINGLE_NETWORK, **({"split": CUSTOM_SPLIT} if recipe.training.folds else {})}
    return [recipe.with_settings(seed=(first + k) % 2**32, **own) for k in range(n)]
