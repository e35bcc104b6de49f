"""A study's store as `StudyResults`: opened read-only for each thing that is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from chalknet.config import SECTIONS
from chalknet.errors import ConfigError, StoreError
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
            facts = DataFacts(
                source=str(data["source"]),
                sha256=str(data["sha256"]),
                samples=int(data["samples"]),
                class_names=tuple(map(str, data["class_names"])),
                sample_shape=tuple(map(int, data["sample_shape"])),
                split_sizes={str(part): int(size) for part, size in question["split_sizes"].items()},
            )
            cells = chosen_cells(spec, store)
            statuses, errors = store.statuses(), store.errors()
            seeds = spec.seed_numbers
            if every_cell:
                cells += _earlier_cells(spec, {cell.key for cell in cells}, store)
                seeds = tuple(sorted({*seeds, *(seed for _, seed in statuses)}))
        except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{where}: its question is damaged: {error}") from error

    def load(cell: Cell, seed: int) -> UnitResult:
        with Store.read(folder) as store:
            return store.result((cell.key, seed))

    def load_record(cell: Cell, seed: int) -> UnitRecord:
        with Store.read(folder) as store:
            return store.unit_record((cell.key, seed))

    return StudyResults(spec, facts, cells, seeds, statuses, errors, load, folder, load_record)


def chosen_cells(spec: StudySpec, store: Store) -> tuple[Cell, ...]:
    """The cells of a question: its grid, or what its search has chosen so far."""
    if spec.search is None:
        return grid_cells(spec)
    trials = store.trials(search_key(spec))[: spec.search.trials]
    return tuple(make_cell(spec, params) for params in trials)


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
