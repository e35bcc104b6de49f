"""Resolve options to the specification of a study; loads no NumPy, so that errors come at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalknet.config import SECTION_OF_FIELD, DataConfig, Recipe, unknown_setting
from chalknet.errors import ConfigError
from chalknet.studies.spec import SEARCH_FIELDS, STUDY_FIELDS, SearchConfig, StudySpec, parse_vary, read_spec
from chalknet.training.recipes import DEFAULT_RECIPE, SINGLE_NETWORK, adapt_to_data, with_category_inputs
from chalknet.training.recipes import recipe as recipe_named

if TYPE_CHECKING:
    from chalknet.data.dataset import Dataset

SPEC_FILE = "study.toml"


@dataclass(frozen=True)
class StudyRequest:
    """A study as it was requested, before its data is read.

    Attributes:
        spec: the specification, as far as it does not depend on the data.
        settings: the recipe fields that the user set, if the recipe is a named one, which is adapted to
            the data; else None.
    """

    spec: StudySpec
    settings: Mapping[str, Any] | None = None

    def adapt_to(self, data: Dataset) -> tuple[StudySpec, tuple[str, ...]]:
        """Return the specification for this data, and a note for each change of the recipe.

        Raises:
            ConfigError: a varied value does not fit the adapted recipe.
        """
        varied = self.spec.varied_fields
        if self.settings is None:
            recipe, notes = with_category_inputs(self.spec.recipe, data.encoding, data.source, varied)
            return replace(self.spec, recipe=recipe), notes
        # A run of a study is one network, also where a training with the recipe is an ensemble.
        settings = {**SINGLE_NETWORK, **self.settings}
        recipe, notes = adapt_to_data(
            recipe_named(self.spec.recipe.name), settings, data, one_network=True, varied=varied
        )
        recipe, more = with_category_inputs(recipe, data.encoding, data.source, varied)
        return replace(self.spec, recipe=recipe), (*notes, *more)


def resolve_study(
    recipe: str | Recipe | None,
    config: str | Path | None,
    vary: Mapping[str, Any] | Sequence[str],
    settings: Mapping[str, Any],
    data: DataConfig | None = None,
) -> StudyRequest:
    """Return the study that a study.toml or a named recipe gives, changed by what the user gave.

    Args:
        recipe: a name or a `Recipe`, by default that of a training.
        config: a study.toml to start from instead.
        vary: fields and values, or lines such as "hidden=100,500". If given, they replace the file's.
        settings: fields of the recipe, of [study] and of [search]; None means "not given".
        data: where the samples are.

    Raises:
        ConfigError: both a recipe and a config file, an unknown setting, one that is also varied, or
            anything that `StudySpec` refuses.
    """
    if recipe is not None and config is not None:
        raise ConfigError("--recipe and --config both give the settings to start from. Give only one of them.")
    given = {name: value for name, value in settings.items() if value is not None}
    known = {*SECTION_OF_FIELD, *STUDY_FIELDS, *SEARCH_FIELDS}
    for name in given:
        if name not in known:
            raise unknown_setting(name, known)
    fields = tuple(vary.items()) if isinstance(vary, Mapping) else tuple(parse_vary(line) for line in vary)
    of_recipe = {name: value for name, value in given.items() if name in SECTION_OF_FIELD}
    both = next((name for name, _ in fields if name in of_recipe and name != "train_size"), None)
    if both is not None:
        raise ConfigError(f"{both} is both varied and set to {of_recipe[both]!r}. Leave one out.")
    if config is not None:
        base = read_spec(Path(config))
    else:
        named = recipe_named(recipe or DEFAULT_RECIPE) if not isinstance(recipe, Recipe) else recipe
        base = StudySpec(recipe if isinstance(recipe, Recipe) else named.with_settings(**SINGLE_NETWORK))
    of_search = {name: value for name, value in given.items() if name in SEARCH_FIELDS}
    spec = replace(
        base,
        recipe=base.recipe.with_settings(**of_recipe),
        vary=fields or base.vary,
        configurations=() if fields else base.configurations,
        search=_search(base, of_search),
        data=base.data.updated(data or DataConfig()),
        **{name: value for name, value in given.items() if name in STUDY_FIELDS},
    )
    is_adaptable = config is None and not isinstance(recipe, Recipe)
    return StudyRequest(spec, of_recipe if is_adaptable else None)


def study_folder(config: str | None, spec: StudySpec) -> Path:
    """Return the default folder of a study: that of its study.toml, or runs/study-FIELDS."""
    if config is not None and Path(config).name == SPEC_FILE:
        return Path(config).parent
    names = [name.replace("_", "-") for name, _ in spec.vary]
    return Path("runs") / "-".join(["study", *names])


def _search(base: StudySpec, given: Mapping[str, Any]) -> SearchConfig | None:
    if not given:
        return base.search
    if base.search is None and "sampler" not in given:
        raise ConfigError(f"{next(iter(given))} is a setting of a search. Give search='tpe' (--search tpe) too.")
    return SearchConfig(**given) if base.search is None else replace(base.search, **given)
