"""From what was typed to what is meant: the recipe, the data and the folder of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalknet.config import DataConfig, Recipe, read_config
from chalknet.errors import ConfigError
from chalknet.training.recipes import DEFAULT, suited
from chalknet.training.recipes import recipe as recipe_named

if TYPE_CHECKING:  # a line is settled before NumPy is loaded
    from chalknet.data.dataset import Dataset


def settle(
    recipe: str | None,
    config: str | None,
    settings: dict[str, Any],
    data: DataConfig,
) -> tuple[Recipe, DataConfig]:
    """The recipe and data of a command: a config file or a named recipe, changed by what was given on the line.

    The default recipe suits itself to the samples once they are read: see `settled_for`.

    Raises:
        ConfigError: both a recipe and a config file are given, or either is wrong, or the file's training had sample
            weights.
    """
    if recipe is not None and config is not None:
        raise ConfigError("--recipe and --config both say where to start from; give one of them.")
    chosen, known = (recipe_named(recipe or DEFAULT), DataConfig()) if config is None else read_config(Path(config))
    if known.sample_weights_sha256:
        raise ConfigError(
            f"{config}: is of a training with sample weights, which it cannot hold. Give them to chalknet.train."
        )
    return chosen.with_settings(**settings), _changed(known, data)


def settled_for(
    data: Dataset, recipe: str | None, config: str | None, chosen: Recipe, settings: dict[str, Any]
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe that `settle` chose as it suits the samples, with what there is to say about it.

    A configuration file says all of it already, and stays what it is.
    """
    return (chosen, ()) if config is not None else suited(recipe_named(recipe or DEFAULT), settings, data)


def _changed(known: DataConfig, given: DataConfig) -> DataConfig:
    """known with what was given; another source has another digest."""
    return DataConfig(
        source=given.source or known.source,
        sha256="" if given.source else known.sha256,
        class_names=given.class_names or known.class_names,
        label_column=given.label_column or known.label_column,
        image_size=given.image_size or known.image_size,
        **{key: value for part in ("valid", "test") for key, value in _changed_part(known, given, part).items()},
    )


def _changed_part(known: DataConfig, given: DataConfig, part: str) -> dict[str, str]:
    """A part of one's own, which a line that names it replaces."""
    keys = (f"{part}_source", f"{part}_sha256")
    chosen = given if getattr(given, keys[0]) else known
    return {key: getattr(chosen, key) for key in keys}


def default_folder(recipe: Recipe) -> Path:
    """runs/RECIPE-HIDDEN-seedN."""
    widths = "x".join(str(width) for width in recipe.network.hidden)
    return Path("runs") / f"{recipe.name}-{widths}-seed{recipe.training.seed}"
