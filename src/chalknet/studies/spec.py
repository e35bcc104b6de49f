"""`StudySpec`: the specification of a study, a frozen dataclass that reads and writes TOML.

[study]   seeds, first_seed, seeds_vary, sample, sample_seed
[vary]    hidden = [100, 500, "512x256"], learning_rate = "1e-6:1e-4:log5"
[search]  sampler, trials, search_seed, objective, at_once           only if a sampler chooses
[configurations."small"]  layers = [...], learning_rate = 1e-3       instead of [vary]: one table for each

The other sections are those of config.toml: the recipe that all configurations share, and the data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from chalknet.checked import read_toml, short
from chalknet.config import (
    CUSTOM_SPLIT,
    FULL,
    SAME_AS_SEED,
    SECTION_OF_FIELD,
    SECTIONS,
    Checked,
    Constraint,
    DataConfig,
    Recipe,
    config_from_tables,
    config_tables,
    constraint_of,
    integer,
    is_random,
    near_match,
    number_or_text,
    one_of,
    setting,
    with_current_names,
)
from chalknet.errors import ConfigError
from chalknet.studies.configurations import value_text

SEEDS_MAY_VARY = ("init", "order", "split")
SAMPLERS = ("tpe",)
OBJECTIVES = ("valid_accuracy", "valid_loss")
MAX_VALUES = 10_000  # of one varied field; more is probably a typing error
MAX_CONFIGURATIONS = 100_000
MAX_NAME = 60  # characters of the name of a configuration
SAME_IMAGES = "configurations are compared image by image, so all need the same validation and test images"
# Why a field cannot vary, and what to do instead.
NOT_VARIED = {
    "seed": "every configuration is trained with several seeds. Set seeds (--seeds) and first_seed (--first-seed)",
    "ensemble": "a study trains each network with its own seed. Set seeds (--seeds)",
    "folds": "a study trains each network alone. Train with folds by chalknet train",
    "calibrate": "it changes no predicted class. Calibrate one configuration with chalknet train",
    "batch_seed": "it differs between seeds. Set seeds_vary=['order'] (--seeds-vary order)",
    "layers": "its values are lists. Name configurations in study.toml, or vary hidden or activation",
    "split": f"{SAME_IMAGES}. Run one study per split",
    "split_seed": f"{SAME_IMAGES}. Set seeds_vary=['init', 'order', 'split'] (--resplit), or run one "
    "study per split_seed",
    "valid_size": f"{SAME_IMAGES}. Run one study per valid_size",
}
RANGE_EXAMPLES = "such as 1e-6:1e-4:log5 or 0:0.9:lin4"
RANGE = re.compile(r"([^:,]+):([^:,]+):(lin|log)(\d{0,6})")

_WHICH_VARY = Constraint(
    f"one or more of {', '.join(SEEDS_MAY_VARY)}",
    lambda v: isinstance(v, list | tuple) and len(v) > 0 and len(set(v)) == len(v) and set(v) <= set(SEEDS_MAY_VARY),
    lambda v: tuple(name for name in SEEDS_MAY_VARY if name in v),
)
_SAMPLE = Constraint("an integer >= 1, or left out", lambda v: v is None or integer(1).accepts(v))
_SEED = integer(0, 2**32 - 1)


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, written a:b:linN or a:b:logN; without N, any number, for a search.

    Attributes:
        low: the lower end, which is one of the values.
        high: the upper end, which is one of the values.
        kind: "lin" for even distances, "log" for even ratios.
        count: number of values, or None for any number between the ends.
    """

    low: float
    high: float
    kind: str
    count: int | None = None

    def __str__(self) -> str:
        """Return the range as a user types it."""
        return f"{value_text(self.low)}:{value_text(self.high)}:{self.kind}{'' if self.count is None else self.count}"

    def points(self) -> tuple[float, ...]:
        """Return the values, evenly spaced or in even ratios.

        They are rounded to as few digits as keep them within a thousandth of their distance; the
        ends are exact.
        """
        assert self.count is not None, "asked of counted ranges only"
        steps = [i / (self.count - 1) for i in range(self.count)]
        if self.kind == "log":
            exact = [self.low * (self.high / self.low) ** t for t in steps]
        else:
            exact = [self.low + (self.high - self.low) * t for t in steps]
        return (self.low, *_rounded(exact)[1:-1], self.high)


Values = tuple[Any, ...] | Range
NamedConfigurations = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
Made = TypeVar("Made")


@dataclass(frozen=True)
class SearchConfig(Checked):
    """[search]: a sampler chooses configurations from the results of earlier ones."""

    sampler: str = setting("tpe", one_of(*SAMPLERS), "the sampler: Optuna's tree-structured Parzen estimator")
    trials: int = setting(20, integer(1, 100_000), "number of configurations to choose")
    search_seed: int = setting(0, _SEED, "random seed of the sampler")
    objective: str = setting("valid_accuracy", one_of(*OBJECTIVES), "the score to optimize, averaged over the seeds")
    at_once: int = setting(4, integer(1, 1_000), "number of configurations that are chosen before new results are used")


@dataclass(frozen=True)
class StudySpec(Checked):
    """The specification of a study: recipe, seeds, and which fields vary over which values.

    Attributes:
        recipe: what all configurations share. Its train_size is that of the study's split;
            configurations that vary train_size use the first so many of its training samples.
        vary: (recipe field, values) in the order of the grid.
        configurations: (name, ((recipe field, value), ...)) of each configuration, in their order,
            instead of a grid; or a dictionary of dictionaries. Here `layers` may differ too.
        seeds: number of runs of each configuration, with seeds from first_seed on.
        first_seed: the first seed.
        seeds_vary: which of "init" (initial weights), "order" (of mini-batches) and "split" differ
            between seeds.
        sample: how many configurations of the grid are trained, chosen at random; None for all.
        sample_seed: seed of that choice.
        search: how a sampler chooses configurations instead of the grid, or None.
        data: where the samples are, so that the study can be repeated.

    Raises:
        ConfigError: a field is unknown, a value is not one that its field takes, or fields
            contradict each other.
    """

    recipe: Recipe = field(default_factory=Recipe)
    vary: tuple[tuple[str, Values], ...] = ()
    configurations: NamedConfigurations = ()
    seeds: int = setting(3, integer(1, 10_000), "number of training runs per configuration")
    first_seed: int = setting(0, _SEED, "seed of the first run. The following runs use the next integers")
    seeds_vary: tuple[str, ...] = setting(
        ("init", "order"), _WHICH_VARY, "what differs between seeds: initial weights, batch order, split"
    )
    sample: int | None = setting(
        None, _SAMPLE, "number of configurations of the grid to train, chosen at random. Not with a search"
    )
    sample_seed: int = setting(0, _SEED, "random seed of that choice")
    search: SearchConfig | None = None
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        """Check all fields, and store values in the form of their fields."""
        super().__post_init__()
        object.__setattr__(
            self, "vary", tuple((name, checked_values(name, values, self.recipe)) for name, values in self.vary)
        )
        object.__setattr__(self, "configurations", _checked_configurations(self.configurations, self.recipe))
        if not _SEED.accepts(self.seed_numbers[-1]):
            raise ConfigError(f"the last seed must be {_SEED.must}, got {self.seed_numbers[-1]}.")
        _check_vary(self.vary, self.search)
        if self.configurations and (self.vary or self.search is not None or self.sample is not None):
            raise ConfigError(
                "a study trains either named configurations or what vary, search and sample choose. Leave out one of "
                "them."
            )
        _check_seeds(self)

    @property
    def varied_fields(self) -> frozenset[str]:
        """The recipe fields that differ between configurations."""
        named = {field for _, settings in self.configurations for field, _ in settings}
        return frozenset({name for name, _ in self.vary} | named)

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds: first_seed and those that follow it."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def n_runs(self) -> int:
        """The largest possible number of runs: configurations, or trials of a search, times seeds."""
        n_grid = math.prod(
            len(values) if not isinstance(values, Range) else values.count or 1 for _, values in self.vary
        )
        if self.configurations:
            return self.seeds * len(self.configurations)
        return self.seeds * (min(n_grid, self.sample or n_grid) if self.search is None else self.search.trials)

    def values(self, name: str) -> Values:
        """Return the values that a recipe field has in the configurations, or its range."""
        own = getattr(getattr(self.recipe, SECTION_OF_FIELD[name]), name)
        named = tuple(dict.fromkeys(dict(settings).get(name, own) for _, settings in self.configurations))
        return dict(self.vary).get(name, named or (own,))


STUDY_FIELDS = {item.name: item for item in fields(StudySpec) if item.metadata}  # of [study]
SEARCH_FIELDS = {item.name: item for item in fields(SearchConfig)}  # of [search]


def parse_vary(text: str) -> tuple[str, Values]:
    """Return the field and the values of a text such as "hidden=100,500".

    The values are not checked yet by the field; `StudySpec` does that.

    Raises:
        ConfigError: the text has no field or no values.
    """
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values.strip():
        raise ConfigError(f"vary must be FIELD=VALUES such as hidden=100,500 or momentum=0:0.9:lin4, got {text!r}.")
    _check_field(name)
    return name, parse_values(name, values.strip())


def parse_values(name: str, text: str) -> Values:
    """Return the values of a text: a range a:b:linN or a:b:logN, or a list with commas."""
    if ":" in text:
        return _parse_range(name, text)
    return tuple(_value(name, part.strip()) for part in text.split(","))


def checked_values(name: str, values: Any, recipe: Recipe) -> Values:
    """Return values as a `Range` or a tuple of distinct values, as the field stores them.

    Args:
        name: the recipe field.
        values: a text as in `parse_values`, a `Range`, or an iterable of values.
        recipe: the recipe that the field belongs to.

    Raises:
        ConfigError: as `StudySpec`.
    """
    _check_field(name)
    if isinstance(values, str):
        values = parse_values(name, values)
    if isinstance(values, Range):
        _check_range(name, values, recipe)
        return values
    if not isinstance(values, Iterable) or isinstance(values, Mapping):
        raise ConfigError(f"{name} must vary over a list of values or a range such as 1:9:lin5, got {values!r}.")
    given = [_value(name, value) for value in values]
    if not given:
        raise ConfigError(f"{name} must vary over at least one value, got none.")
    if len(given) > MAX_VALUES:
        raise ConfigError(f"{name} must vary over at most {MAX_VALUES:,} values, got {len(given):,}.")
    stored = tuple(_stored(name, value, recipe) for value in given)
    twice = next((value for i, value in enumerate(stored) if value in stored[:i]), None)
    if twice is not None:
        raise ConfigError(f"{name} must vary over different values, got {value_text(twice)} twice.")
    return stored


def value_list(name: str, values: Values, recipe: Recipe) -> tuple[Any, ...]:
    """Return the distinct values of a list or of a counted range."""
    if not isinstance(values, Range):
        return values
    points = [as_field_value(name, point, values) for point in values.points()]
    return tuple(dict.fromkeys(_stored(name, point, recipe) for point in points))


def as_field_value(name: str, number: float, within: Range) -> Any:
    """Return a number of a range as a value of its field: an integer for fields that count."""
    whole_number = _counts(name) and not (name == "train_size" and within.low < 1)
    value: Any = round(number) if whole_number else number
    return [value] if name == "hidden" else value


def is_whole_range(name: str, within: Range) -> bool:
    """Return whether a range of this field consists of integers."""
    value = as_field_value(name, within.low, within)
    return isinstance(value[0] if isinstance(value, list) else value, int)


# ---- as TOML --------------------------------------------------------------------------------------------------------


def spec_tables(spec: StudySpec) -> dict[str, Any]:
    """Return a specification as the tables of study.toml, complete with defaults."""
    recipe = config_tables(spec.recipe, spec.data)
    study = {
        "seeds": spec.seeds,
        "first_seed": spec.first_seed,
        "seeds_vary": list(spec.seeds_vary),
        **({} if spec.sample is None else {"sample": spec.sample, "sample_seed": spec.sample_seed}),
    }
    tables = {"format": recipe.pop("format"), "recipe": recipe.pop("recipe"), "study": study}
    tables["vary"] = {name: _plain_values(values) for name, values in spec.vary}
    if spec.configurations:
        tables["configurations"] = {
            name: {field: _plain_value(value) for field, value in settings} for name, settings in spec.configurations
        }
    if spec.search is not None:
        tables["search"] = dict(vars(spec.search))
    return {**tables, **recipe}


def spec_from_tables(tables: Mapping[str, Any], where: str) -> StudySpec:
    """Return the specification in the tables of study.toml; missing keys have their defaults.

    Args:
        tables: the sections.
        where: the file, for messages.

    Raises:
        ConfigError: a section or key is unknown, or as `StudySpec`.
    """
    own = ("study", "vary", "search", "configurations")
    known = {"format", "recipe", "data", *SECTIONS, *own}
    tables = with_current_names(tables)
    for key in tables:
        if key not in known:
            raise ConfigError(f"unknown section {key!r} in {where}.{near_match(key, known)}")
    recipe, data = config_from_tables({key: value for key, value in tables.items() if key not in own}, where)
    study = _section_values(STUDY_FIELDS, tables.get("study", {}), f"{where}, [study]")
    vary = tables.get("vary", {})
    if not isinstance(vary, Mapping):
        raise ConfigError(f"{where}, [vary] must be a section of fields, got {vary!r}.")
    search = None
    if "search" in tables:
        search_values = _section_values(SEARCH_FIELDS, tables["search"], f"{where}, [search]")
        search = _located(lambda: SearchConfig(**search_values), f"{where}, [search]")
    varied = tuple(with_current_names(vary).items())
    named = tables.get("configurations", {})
    if not isinstance(named, Mapping) or not all(isinstance(one, Mapping) for one in named.values()):
        raise ConfigError(f"{where}, [configurations] must hold a section for each configuration, got {short(named)}.")
    pairs = tuple((name, tuple(settings.items())) for name, settings in named.items())
    return _located(lambda: StudySpec(recipe, varied, pairs, search=search, data=data, **study), where)


def read_spec(path: Path) -> StudySpec:
    """Return the specification in a study.toml; missing keys have their defaults.

    Raises:
        ConfigError: the file is missing, not TOML or of a newer format, or as `StudySpec`.
    """
    return spec_from_tables(read_toml(path), str(path))


def _plain_values(values: Values) -> Any:
    """Return values as TOML stores them."""
    if isinstance(values, Range):
        return str(values)
    return [
        (value[0] if len(value) == 1 else value_text(value)) if isinstance(value, tuple) else value for value in values
    ]


def _plain_value(value: Any) -> Any:
    """Return a value of a field as TOML stores it: a layer as its type, or as a table if it has settings."""
    if isinstance(value, Mapping):
        return value["type"] if len(value) == 1 else {key: _plain_value(one) for key, one in value.items()}
    return [_plain_value(one) for one in value] if isinstance(value, tuple) else value


def _section_values(known: Mapping[str, Any], values: Any, where: str) -> dict[str, Any]:
    """Return the keys of a section; raises ConfigError for an unknown key."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a section of keys, got {values!r}.")
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {key!r} ({where}).{near_match(key, known)}")
    return dict(values)


def _located(make: Callable[[], Made], where: str) -> Made:
    """Return make(), with the place in the file added to its ConfigError."""
    try:
        return make()
    except ConfigError as error:
        raise ConfigError(f"{str(error).removesuffix('.')} ({where}).") from None


# ---- checks ---------------------------------------------------------------------------------------------------------


def _check_field(name: str, but: Sequence[str] = ()) -> None:
    """Raise ConfigError unless the field exists and may vary; those of `but` may vary here."""
    if name not in SECTION_OF_FIELD:
        raise ConfigError(f"unknown field {name!r} to vary.{near_match(name, set(SECTION_OF_FIELD) - set(NOT_VARIED))}")
    if name in NOT_VARIED and name not in but:
        raise ConfigError(f"{name} cannot vary: {NOT_VARIED[name]}.")


def _checked_configurations(given: Any, recipe: Recipe) -> NamedConfigurations:
    """Return named configurations with their settings in the form of their fields.

    Args:
        given: (name, settings) of each, or a mapping; settings as pairs or a mapping.
        recipe: what they share.

    Raises:
        ConfigError: a name is no short text, a field may not differ, a value is invalid, or two
            configurations are the same.
    """
    found: dict[str, tuple[tuple[str, Any], ...]] = {}
    recipes: dict[Recipe, str] = {}
    for name, settings in given.items() if isinstance(given, Mapping) else given:
        if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name.strip()) <= MAX_NAME:
            raise ConfigError(f"a configuration must have a name of 1 to {MAX_NAME} characters, got {short(name)}.")
        own = with_current_names(dict(settings))
        for field_name in own:
            _check_field(field_name, but=("layers",))
        changed = _located(partial(recipe.with_settings, **own), f"configuration {name!r}")
        if name in found or changed in recipes:
            other = "a second time" if name in found else f"with the settings of {recipes[changed]!r}"
            raise ConfigError(f"configuration {name!r} stands {other} in the study. Leave one out.")
        recipes[changed] = name
        found[name] = tuple((key, getattr(getattr(changed, SECTION_OF_FIELD[key]), key)) for key in own)
    return tuple(found.items())


def _check_range(name: str, values: Range, recipe: Recipe) -> None:
    """Raise ConfigError unless the field takes the numbers of this range."""
    if not (_counts(name) or constraint_of(name).accepts(0.5)):
        raise ConfigError(f"{name} must vary over a list: {constraint_of(name).must}; it has no range {values}.")
    if not (math.isfinite(values.low) and math.isfinite(values.high) and values.low < values.high):
        raise ConfigError(f"a range must go up between two numbers, {RANGE_EXAMPLES}, got {name}={values}.")
    if values.kind == "log" and values.low <= 0:
        raise ConfigError(f"a log range must begin above 0, got {name}={values}.")
    _check_count(values.count, f"{name}={values}")
    for end in (values.low, values.high):
        _stored(name, as_field_value(name, end, values), recipe)


def _check_count(count: int | None, shown: str) -> None:
    """Raise ConfigError unless a range has a possible number of values."""
    if count is not None and not 2 <= count <= MAX_VALUES:
        raise ConfigError(f"a range must have 2 to {MAX_VALUES:,} values, {RANGE_EXAMPLES}, got {shown}.")


def _check_vary(vary: tuple[tuple[str, Values], ...], search: SearchConfig | None) -> None:
    """Raise ConfigError unless the varied fields make a grid, or a search space, of possible size."""
    names = [name for name, _ in vary]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ConfigError(f"{twice} is varied twice. Put all its values into one list.")
    if search is not None:
        if not vary:
            raise ConfigError("a search needs something to choose: name at least one field in vary (--vary).")
        return
    for name, values in vary:
        if isinstance(values, Range) and values.count is None:
            raise ConfigError(
                f"{name}={values} must say how many values, such as {values}5, unless a search chooses: "
                "search='tpe' (--search tpe)."
            )
    n_configurations = math.prod(
        len(values) if not isinstance(values, Range) else values.count or 1 for _, values in vary
    )
    if n_configurations > MAX_CONFIGURATIONS:
        raise ConfigError(
            f"a study must have at most {MAX_CONFIGURATIONS:,} configurations, got {n_configurations:,}. Vary fewer "
            "values."
        )


def _check_seeds(spec: StudySpec) -> None:
    """Raise ConfigError unless the fields that differ between seeds are free and have an effect."""
    training = spec.recipe.training
    if "init" in spec.seeds_vary and training.seed != 0:
        raise ConfigError(
            f"seed is what the seeds count, so it cannot be set to {training.seed}. Give first_seed (--first-seed)."
        )
    if "order" in spec.seeds_vary and training.batch_seed != SAME_AS_SEED:
        raise ConfigError(
            f"batch_seed {training.batch_seed} fixes the batch order, which the seeds vary. Leave it out, or give "
            "seeds_vary=['init'] (--seeds-vary init)."
        )
    is_full = "batch_size" not in dict(spec.vary) and training.batch_size == FULL
    if spec.seeds_vary == ("order",) and is_full and not is_random(spec.recipe):
        raise ConfigError(
            "the seeds vary the order of mini-batches alone, but a full batch has none. Give batch_size (--batch-size)."
        )
    if training.ensemble > 1:
        raise ConfigError(
            f"a run of a study is one network, so ensemble must be 1, got {training.ensemble}. Leave ensemble "
            "(--ensemble) out, or average the networks of one configuration with chalknet train."
        )
    if training.calibrate:
        raise ConfigError(
            "a study compares networks as they are trained, so calibrate must be false. Give calibrate=False "
            "(--no-calibrate), or calibrate one configuration with chalknet train."
        )
    if spec.search is not None and spec.sample is not None:
        raise ConfigError("a search and a sample of the grid both choose the configurations. Give one of them.")
    if spec.recipe.split.split == CUSTOM_SPLIT:
        raise ConfigError(
            "a study cannot use split 'custom', because it cannot store index arrays. Choose a split (--split): "
            "stratified, random or group."
        )


def _parse_range(name: str, text: str) -> Range:
    """Return the range in a text of the form a:b:linN or a:b:logN."""
    found = RANGE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        low, high = float(found[1]), float(found[2])
    except ValueError:
        raise ConfigError(f"a range must be a:b:linN or a:b:logN, such as 1e-6:1e-4:log5, got {name}={text}.") from None
    count = int(found[4]) if found[4] else None
    _check_count(count, f"{name}={text}")  # here, where it still stands as it was typed
    return Range(low, high, found[3], count)


def _value(name: str, value: Any) -> Any:
    """Return the value that a text stands for: a number, true or false, or widths such as 512x256."""
    if name == "hidden":
        if isinstance(value, str):
            return [number_or_text(width) for width in value.lower().split("x")]
        return [value] if isinstance(value, int | float) else value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), number_or_text(value))
    return value


def _stored(name: str, value: Any, recipe: Recipe) -> Any:
    """Return a value as its field stores it; raises ConfigError if the field does not take it."""
    return getattr(getattr(recipe.with_settings(**{name: value}), SECTION_OF_FIELD[name]), name)


def _counts(name: str) -> bool:
    """Return whether a field takes integers."""
    constraint = constraint_of(name)
    return name == "train_size" or (
        (constraint.accepts(2) and not constraint.accepts(2.5)) or (constraint.accepts([2]) and name == "hidden")
    )


def _rounded(exact: list[float]) -> list[float]:
    """Return numbers in as few digits, at least four, as move them by 1/1000 of their distance."""
    gap = min((abs(b - a) for a, b in pairwise(exact)), default=0.0)
    for digits in range(4, 17):
        short = [float(f"{number:.{digits}g}") for number in exact]
        if all(abs(a - b) <= gap / 1000 for a, b in zip(short, exact, strict=True)):
            return short
    return exact
