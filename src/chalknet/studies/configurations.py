"""`Configuration`, one setting of a study's hyperparameters, and `RunKey`, one run of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from chalknet.config import (
    SAME_AS_SEED,
    SECTIONS,
    DataConfig,
    Recipe,
    SplitConfig,
    config_from_tables,
    config_tables,
    with_former_names,
)

# Stands in the identity of a configuration for the value of a field that differs between seeds.
VARIES = "varies with the seed"
# The sections of version 0.1. An identity has them even if they are empty; sections that were added
# later appear only if a field differs from its default, so that existing keys stay the same.
FIRST_SECTIONS = ("split", "network", "optimizer", "training", "stopping")
KEY_FORMAT = 1  # a higher number would change every key, and no stored run would be found again
KEY_LENGTH = 32  # hexadecimal digits


@dataclass(frozen=True)
class Configuration:
    """One setting of the varied fields, shared by the runs with all seeds.

    Attributes:
        settings: (recipe field, value) of each varied field, in the order of the specification.
        recipe: the complete recipe with these settings. Fields that differ between seeds have the
            value of the base recipe.
        study_split: how the study splits its samples. All configurations share the validation and
            test images; a configuration with a smaller `recipe.split.train_size` uses the first so
            many training samples of this split.
        seeds_vary: which of "init", "order" and "split" differ between seeds.
        name: the name that the specification gives to the configuration, or "".
    """

    settings: tuple[tuple[str, Any], ...]
    recipe: Recipe
    study_split: SplitConfig
    seeds_vary: tuple[str, ...] = ("init", "order")
    name: str = ""

    @property
    def label(self) -> str:
        """The name, or the settings as text: "hidden=512x256, learning_rate=0.001"; "base" if nothing varies."""
        return self.name or ", ".join(f"{name}={value_text(value)}" for name, value in self.settings) or "base"

    @property
    def is_labeled(self) -> bool:
        """Whether it has a name or settings, by which it differs from others of its study."""
        return bool(self.name or self.settings)

    @cached_property
    def key(self) -> str:
        """The identity of the configuration in a store.

        It is a digest of everything that decides the results, except the data, the seed and the name. Two
        specifications that lead to the same configuration therefore share its runs.
        """
        text = json.dumps([KEY_FORMAT, self.identity()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    def identity(self) -> dict[str, Any]:
        """Return what `key` is a digest of: the settings that differ from their defaults.

        Defaults are left out, so a field that a later version adds does not change existing keys.
        Field names are those of the first version for the same reason. "division" is the split of
        the study.
        """
        changed = {name: _not_default(getattr(self.recipe, name)) for name in SECTIONS}
        changed["network"].pop("network", None)  # its layers are in the identity
        sections = {name: values for name, values in changed.items() if values or name in FIRST_SECTIONS}
        division = _not_default(self.study_split)
        # The other fields of [split] are those of the study's split.
        sections["split"] = {"train_size": self.recipe.split.train_size}
        if "init" in self.seeds_vary:
            sections["training"]["seed"] = VARIES
        if "order" in self.seeds_vary:
            sections["training"]["batch_seed"] = VARIES
        if "split" in self.seeds_vary:
            division["split_seed"] = [self.study_split.split_seed, VARIES]
        return {"division": division, **with_former_names(sections)}

    def recipe_of(self, seed: int) -> Recipe:
        """Return the recipe of the run with this seed.

        The seed sets the initial weights, the batch order and the split, as far as `seeds_vary`
        says.
        """
        training = self.recipe.training
        order = training.seed if training.batch_seed == SAME_AS_SEED else training.batch_seed
        settings: dict[str, Any] = {"split_seed": self.split_of(seed).split_seed}
        if "init" in self.seeds_vary:
            settings["seed"] = seed
        settings["batch_seed"] = seed if "order" in self.seeds_vary else order
        if settings["batch_seed"] == settings.get("seed", training.seed):
            settings["batch_seed"] = SAME_AS_SEED
        return self.recipe.with_settings(**settings)

    def split_of(self, seed: int) -> SplitConfig:
        """Return how the samples are split for this seed.

        If the split varies, its seed is split_seed + seed, so seed 0 has the split of the base
        recipe.
        """
        if "split" not in self.seeds_vary:
            return self.study_split
        return replace(self.study_split, split_seed=(self.study_split.split_seed + seed) % 2**32)


@dataclass(frozen=True)
class RunKey:
    """The identity of a run: a configuration and a seed."""

    configuration: Configuration
    seed: int

    def __str__(self) -> str:
        """Return the label and the seed."""
        return f"{self.configuration.label}, seed {self.seed}"

    @property
    def key(self) -> tuple[str, int]:
        """The primary key of the run in a store: the configuration's key and the seed."""
        return (self.configuration.key, self.seed)


def configuration_tables(config: Configuration) -> dict[str, Any]:
    """Return a configuration without its settings and its name as JSON-ready tables.

    `configuration_from_tables` reads them. The keys are columns of the store, so they keep the
    names of the first version: "division" is `study_split`.
    """
    recipe = config_tables(config.recipe, DataConfig())
    del recipe["data"]
    return {"recipe": recipe, "division": dict(vars(config.study_split)), "seeds_vary": list(config.seeds_vary)}


def configuration_from_tables(
    tables: Mapping[str, Any], where: str, settings: tuple[tuple[str, Any], ...] = (), name: str = ""
) -> Configuration:
    """Return the configuration that `configuration_tables` describes.

    Args:
        tables: what `configuration_tables` returned.
        where: the file, for messages.
        settings: (recipe field, value) of each varied field.
        name: the name of the configuration, or "".

    Raises:
        ConfigError: a value is invalid.
        KeyError, TypeError: the tables are not those of a configuration.
    """
    recipe, _ = config_from_tables(tables["recipe"], where)
    return Configuration(settings, recipe, SplitConfig(**tables["division"]), tuple(tables["seeds_vary"]), name)


def value_text(value: Any) -> str:
    """Return a field's value as a user types it: 512x256, 1e-05, true."""
    if isinstance(value, tuple | list):
        if value and all(isinstance(one, Mapping) for one in value):
            return "-".join(str(one["type"]) for one in value)
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _not_default(section: Any) -> dict[str, Any]:
    """Return the fields of a section that differ from their defaults, by their first names."""
    default = type(section)()
    changed = {
        item.name: getattr(section, item.name)
        for item in fields(section)
        if getattr(section, item.name) != getattr(default, item.name)
    }
    return with_former_names(changed)
