"""`Configuration` and `RunKey`: one setting of a study's hyperparameters, and one training of it."""

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

VARIES = "varies with the seed"  # stands in a configuration's identity for what its seeds vary
# Sections that a key has even where all of them is default; a later one it has only where something of it is not.
FIRST_SECTIONS = ("split", "network", "optimizer", "training", "stopping")
KEY_FORMAT = 1  # of what a key is made from; another number makes every configuration a new one
KEY_LENGTH = 32  # hexadecimal digits


@dataclass(frozen=True)
class Configuration:
    """One setting of the varied fields: what all of its seeds have in common.

    Attributes:
        settings: (recipe field, value) of each varied field, in the order in which they were asked for.
        recipe: the whole recipe with these settings; of the fields that seeds vary it holds the base's.
        study_split: how the samples are divided. Its `train_size` is the study's; the configuration's own, in `recipe`,
            is how many of the first of those training samples it uses, so that all configurations are judged on the
            same
            images.
        seeds_vary: which of init, order and split differ between its seeds.
    """

    settings: tuple[tuple[str, Any], ...]
    recipe: Recipe
    study_split: SplitConfig
    seeds_vary: tuple[str, ...] = ("init", "order")

    @property
    def label(self) -> str:
        """ "hidden=512x256, learning_rate=0.001", or "base" where nothing is varied."""
        return ", ".join(f"{name}={value_text(value)}" for name, value in self.settings) or "base"

    @cached_property
    def key(self) -> str:
        """The configuration's identity in a store: a digest of everything that decides its numbers but data and
        seed.
        """
        text = json.dumps([KEY_FORMAT, self.identity()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    def identity(self) -> dict[str, Any]:
        """What the key is a digest of: recipe and division where they are not the default, with what the seeds vary.

        Defaults are left out so that a field that a later version adds does not make every configuration a new one.
        """
        changed = {name: _not_default(getattr(self.recipe, name)) for name in SECTIONS}
        sections = {name: values for name, values in changed.items() if values or name in FIRST_SECTIONS}
        division = _not_default(self.study_split)
        sections["split"] = {"train_size": self.recipe.split.train_size}  # all else of it is the division's
        if "init" in self.seeds_vary:
            sections["training"]["seed"] = VARIES
        if "order" in self.seeds_vary:
            sections["training"]["batch_seed"] = VARIES
        if "split" in self.seeds_vary:
            division["split_seed"] = [self.study_split.split_seed, VARIES]
        return {"division": division, **with_former_names(sections)}

    def recipe_of(self, seed: int) -> Recipe:
        """The recipe of one seed: initial weights, batch order and split are the seed's as far as they vary."""
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
        """The division of one seed: where the split varies, by split_seed + seed, so that seed 0 has the base's own."""
        if "split" not in self.seeds_vary:
            return self.study_split
        return replace(self.study_split, split_seed=(self.study_split.split_seed + seed) % 2**32)


@dataclass(frozen=True)
class RunKey:
    """One training of a study: a configuration and a seed."""

    configuration: Configuration
    seed: int

    def __str__(self) -> str:
        return f"{self.configuration.label}, seed {self.seed}"

    @property
    def key(self) -> tuple[str, int]:
        """The run's identity in a store."""
        return (self.configuration.key, self.seed)


def configuration_tables(config: Configuration) -> dict[str, Any]:
    """Return a configuration without its settings as tables for JSON, which `configuration_from_tables` reads."""
    recipe = config_tables(config.recipe, DataConfig())
    del recipe["data"]
    return {"recipe": recipe, "division": dict(vars(config.study_split)), "seeds_vary": list(config.seeds_vary)}


def configuration_from_tables(
    tables: Mapping[str, Any], where: str, settings: tuple[tuple[str, Any], ...] = ()
) -> Configuration:
    """Return the configuration of `configuration_tables`.

    Raises:
        ConfigError, KeyError, TypeError: the tables are not those of a configuration.
    """
    recipe, _ = config_from_tables(tables["recipe"], where)
    return Configuration(settings, recipe, SplitConfig(**tables["division"]), tuple(tables["seeds_vary"]))


def value_text(value: Any) -> str:
    """A field's value as it is typed: 512x256, 1e-05, true."""
    if isinstance(value, tuple | list):
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _not_default(section: Any) -> dict[str, Any]:
    default = type(section)()
    changed = {
        item.name: getattr(section, item.name)
        for item in fields(section)
        if getattr(section, item.name) != getattr(default, item.name)
    }
    return with_former_names(changed)
