"""Read a study's folder as `StudyResults`; the store is opened for each request, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from chalknet.checked import plain, short
from chalknet.config import SECTIONS
from chalknet.data.dataset import check_class_names
from chalknet.errors import ChalknetError, ConfigError, StoreError
from chalknet.records import SPLITS
from chalknet.studies.configurations import Configuration, configuration_from_tables
from chalknet.studies.results import DataFacts, RunRecord, RunResult, StudyResults
from chalknet.studies.search import search_key
from chalknet.studies.search_space import grid_configurations, make_configuration
from chalknet.studies.spec import StudySpec, spec_from_tables
from chalknet.studies.store import Store


def read_results(folder: str | Path, *, all_configurations: bool = False) -> StudyResults:
    """Read the results of a study, also while another process works on it. Nothing is written.

    Args:
        folder: the study's folder.
        all_configurations: whether to add the configurations of earlier specifications after those
            of the present one.

    Raises:
        StoreError: the folder holds no study, or its store is damaged, foreign or too new.
    """
    folder = Path(folder)

    def look(store: Store) -> tuple[Any, ...]:
        spec, facts, configs = read_specification(store)
        statuses, errors, seeds = store.statuses(), store.errors(), spec.seed_numbers
        if all_configurations:
            with _translated_errors(store):
                configs += _earlier_configurations(spec, {config.key for config in configs}, store)
            seeds = tuple(sorted({*seeds, *(seed for _, seed in statuses)}))
        return spec, facts, configs, seeds, statuses, errors

    spec, facts, configs, seeds, statuses, errors = Store.read_without_trace(folder, look)

    def load(config: Configuration, seed: int) -> RunResult:
        return Store.read_without_trace(folder, lambda store: store.result((config.key, seed), facts))

    def load_record(config: Configuration, seed: int) -> RunRecord:
        return Store.read_without_trace(folder, lambda store: store.run_record((config.key, seed)))

    return StudyResults(spec, facts, configs, seeds, statuses, errors, load, folder, load_record)


def read_specification(store: Store) -> tuple[StudySpec, DataFacts, tuple[Configuration, ...]]:
    """Return what a store is about: its specification, its samples, and the configurations of the specification.

    Raises:
        StoreError: something of it is damaged.
    """
    specification, data = store.specification(), store.data()
    with _translated_errors(store):
        spec = spec_from_tables(specification["spec"], str(store.path))
        return spec, _data_facts(data, specification["split_sizes"]), chosen_configurations(spec, store)


@contextmanager
def _translated_errors(store: Store) -> Iterator[None]:
    """Turn whatever is wrong with a stored specification into a StoreError of one line."""
    try:
        yield
    except (ChalknetError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{store.path}: its specification is damaged: {plain(error)}") from error


def chosen_configurations(spec: StudySpec, store: Store) -> tuple[Configuration, ...]:
    """Return the configurations of a specification: its grid, or what its search has chosen so far.

    Raises:
        StoreError: a stored trial of the search is damaged.
    """
    if spec.search is None:
        return grid_configurations(spec)
    trials = store.trials(search_key(spec))[: spec.search.trials]
    try:
        return tuple(make_configuration(spec, {name: trial[name] for name, _ in spec.vary}) for trial in trials)
    except (ConfigError, KeyError, TypeError) as error:
        raise StoreError(f"{store.path}: a trial of its search is damaged: {plain(error)}") from error


def _data_facts(data: Mapping[str, Any], sizes: Any) -> DataFacts:
    """Return the facts that a store keeps of its data, after checking each value.

    A store may come from an untrusted source. A wrong value raises ValueError, a wrong type whatever Python
    raises; the caller turns both into a StoreError.
    """
    names, shape, samples = tuple(data["class_names"]), tuple(data["sample_shape"]), data["samples"]
    check_class_names(names, "class_names")
    numbers = {
        "samples": samples,
        **{f"sample_shape {n}": n for n in shape},
        **{f"{p} samples": sizes[p] for p in SPLITS},
    }
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise ValueError(f"{name} is {short(value)}, which is not a number of samples or values")
    if len(shape) not in (1, 2, 3) or 0 in shape or sum(sizes[split] for split in SPLITS) > samples:
        raise ValueError(f"sample_shape {shape} and split sizes {short(sizes)} are not those of {samples} samples")
    return DataFacts(
        str(data["source"]), str(data["sha256"]), samples, names, shape, {split: sizes[split] for split in SPLITS}
    )


def _earlier_configurations(spec: StudySpec, known: set[str], store: Store) -> tuple[Configuration, ...]:
    """Return the configurations of earlier specifications, labeled by their differences."""
    found = []
    for key, tables in store.configuration_tables().items():
        if key not in known:
            config = configuration_from_tables(tables, f"{store.path}, configuration {plain(key)}")
            found.append(replace(config, settings=_differences(config, spec)))
    return tuple(found)


def _differences(config: Configuration, spec: StudySpec) -> tuple[tuple[str, Any], ...]:
    """Return (field, value) of each field that differs from the present recipe or varies in it."""
    varied = {name for name, _ in spec.vary}
    found: dict[str, Any] = {}
    for section in SECTIONS:
        if section != "split":
            found |= _section_differences(getattr(config.recipe, section), getattr(spec.recipe, section), varied)
    found |= _section_differences(config.study_split, spec.recipe.split, set())
    if "train_size" in varied or config.recipe.split.train_size != config.study_split.train_size:
        found["train_size"] = config.recipe.split.train_size
    if config.seeds_vary != spec.seeds_vary:
        found["seeds_vary"] = "+".join(config.seeds_vary)
    return tuple(found.items())


def _section_differences(own: Any, base: Any, varied: set[str]) -> Mapping[str, Any]:
    """Return the fields of a section that differ between own and base, or are varied."""
    return {
        item.name: getattr(own, item.name)
        for item in fields(own)
        if item.name in varied or getattr(own, item.name) != getattr(base, item.name)
    }
