"""A study's store as `StudyResults`: opened read-only for each thing that is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from chalknet.checked import plain, short
from chalknet.config import SECTIONS
from chalknet.data.dataset import check_class_names
from chalknet.errors import ChalknetError, ConfigError, StoreError
from chalknet.records import SPLITS
from chalknet.studies.cells import Cell, cell_from_tables
from chalknet.studies.results import DataFacts, StudyResults, UnitRecord, UnitResult
from chalknet.studies.search import search_key
from chalknet.studies.space import grid_cells, make_cell
from chalknet.studies.spec import StudySpec, spec_from_tables
from chalknet.studies.store import Store


def read_results(folder: str | Path, *, every_cell: bool = False) -> StudyResults:
    """Read the results of a study's folder, also while another process works on it. Nothing is written.

    Args:
        every_cell: whether to add the cells of earlier specifications after those of the present one.
    Raises:
        StoreError: there is no study, or its store is damaged, foreign or too new.
    """
    folder = Path(folder)
    with Store.read(folder) as store:
        question, data = store.question(), store.data()
        where = str(store.path)
        try:
            spec = spec_from_tables(question["spec"], where)
            facts = _data_facts(data, question["split_sizes"])
            cells = chosen_cells(spec, store)
            statuses, errors = store.statuses(), store.errors()
            seeds = spec.seed_numbers
            if every_cell:
                cells += _earlier_cells(spec, {cell.key for cell in cells}, store)
                seeds = tuple(sorted({*seeds, *(seed for _, seed in statuses)}))
        except (ChalknetError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{where}: its question is damaged: {plain(error)}") from error

    def load(cell: Cell, seed: int) -> UnitResult:
        with Store.read(folder) as store:
            return store.result((cell.key, seed), facts)

    def load_record(cell: Cell, seed: int) -> UnitRecord:
        with Store.read(folder) as store:
            return store.unit_record((cell.key, seed))

    return StudyResults(spec, facts, cells, seeds, statuses, errors, load, folder, load_record)


def chosen_cells(spec: StudySpec, store: Store) -> tuple[Cell, ...]:
    """The cells of a question: its grid, or what its search has chosen so far."""
    if spec.search is None:
        return grid_cells(spec)
    trials = store.trials(search_key(spec))[: spec.search.trials]
    try:
        return tuple(make_cell(spec, {name: trial[name] for name, _ in spec.vary}) for trial in trials)
    except (ConfigError, KeyError, TypeError) as error:
        raise StoreError(f"{store.path}: a trial of its search is damaged: {plain(error)}") from error


def _data_facts(data: Mapping[str, Any], sizes: Any) -> DataFacts:
    """Return what a store keeps of its data, each value checked; raises ValueError and what a wrong type leads to."""
    names, shape, samples = tuple(data["class_names"]), tuple(data["sample_shape"]), data["samples"]
    check_class_names(names, "class_names")
    numbers = {
        "samples": samples,
        **{f"sample_shape {n}": n for n in shape},
        **{f"{p} samples": sizes[p] for p in SPLITS},
    }
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise ValueError(f"{name} is {short(value)}, which is no number of samples or values")
    if len(shape) not in (1, 2) or 0 in shape or sum(sizes[part] for part in SPLITS) > samples:
        raise ValueError(f"sample_shape {shape} and split sizes {short(sizes)} are not those of {samples} samples")
    return DataFacts(
        str(data["source"]), str(data["sha256"]), samples, names, shape, {part: sizes[part] for part in SPLITS}
    )


def _earlier_cells(spec: StudySpec, known: set[str], store: Store) -> tuple[Cell, ...]:
    """The cells that an earlier question asked for, named by where they differ from the present recipe."""
    found = []
    for key, tables in store.cell_tables().items():
        if key not in known:
            cell = cell_from_tables(tables, f"{store.path}, cell {key}")
            found.append(replace(cell, settings=_differences(cell, spec)))
    return tuple(found)


def _differences(cell: Cell, spec: StudySpec) -> tuple[tuple[str, Any], ...]:
    """(field, value) wherever a cell is not the present recipe, or is varied by the present question."""
    varied = {name for name, _ in spec.vary}
    found: dict[str, Any] = {}
    for section in SECTIONS:
        if section != "split":
            found |= _section_differences(getattr(cell.recipe, section), getattr(spec.recipe, section), varied)
    found |= _section_differences(cell.division, spec.recipe.split, set())
    if "train_size" in varied or cell.recipe.split.train_size != cell.division.train_size:
        found["train_size"] = cell.recipe.split.train_size
    if cell.seeds_vary != spec.seeds_vary:
        found["seeds_vary"] = "+".join(cell.seeds_vary)
    return tuple(found.items())


def _section_differences(own: Any, base: Any, varied: set[str]) -> Mapping[str, Any]:
    return {
        item.name: getattr(own, item.name)
        for item in fields(own)
        if item.name in varied or getattr(own, item.name) != getattr(base, item.name)
    }
