"""A study from its question to its results: what `chalknet.study(...)` and `chalknet study` both call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import tomli_w

from chalknet.artifacts.atomic import new_folder, write_bytes
from chalknet.config import DataConfig, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.load import load_data
from chalknet.errors import ConfigError
from chalknet.machine.processor import available_cores
from chalknet.machine.ray_cluster import check_reachable, checked_place, require_ray
from chalknet.studies.assignments import Assignments, prepare
from chalknet.studies.cells import Unit
from chalknet.studies.plan import Plan, Planner, check_stack
from chalknet.studies.reading import read_results
from chalknet.studies.results import StudyResults
from chalknet.studies.runner.foreman import Observer
from chalknet.studies.runner.local import run_local
from chalknet.studies.runner.ray_crew import run_on_ray
from chalknet.studies.search import require_optuna
from chalknet.studies.space import check_question, grid_cells, make_cell
from chalknet.studies.spec import StudySpec, spec_tables
from chalknet.studies.store import STORE_FILE, Store
from chalknet.training.trainer import device_of
from chalknet.workflows.settle_study import SPEC_FILE, settle_study


def study(
    data: Dataset | str | Path,
    vary: Mapping[str, Any] | Sequence[str],
    *,
    out: str | Path,
    seeds: int = 3,
    recipe: str | Recipe = "writeup",
    jobs: int | None = None,
    on: str | None = None,
    stack: int | None = None,
    retry_failed: bool = False,
    observe: Observer | None = None,
    search: str | None = None,
    trials: int | None = None,
    **settings: Any,
) -> StudyResults:
    """Trains every cell of a grid from several seeds, in parallel, and goes on where an earlier start was stopped.

    study("glyphs", {"hidden": [100, 500, "512x256"], "learning_rate": "1e-6:1e-4:log5"}, out="runs/widths")

    Args:
        data: a `Dataset`, or what `chalknet.load_data` takes.
        vary: recipe fields with their values, in order: a list, or a range "a:b:linN" or "a:b:logN"; or lines such as
            "hidden=100,500".
        out: the study's folder. One that is there goes on: what is finished is kept, cells that are new are added.
        seeds: trainings of each cell. settings may give first_seed, and seeds_vary: which of "init", "order" and
            "split" they vary.
        recipe: a recipe's name or a `Recipe`: what all cells share.
        jobs: processes at a time, by default one a core, or one in all where all units are trained on a GPU; results
            do not depend on it.
        on: "ray" trains units on a Ray cluster of this machine alone, "ray://HOST:PORT" on one that runs; left out, in
            processes of this machine (docs/scale.md).
        stack: how many networks a process trains at once on a GPU, by default as many as fit, and 1 on Ray; their
            results are equal to rounding. On processors every run has a process to itself, and only 1 is allowed.
        retry_failed: whether units that failed before are trained again.
        observe: called with a `StudyProgress` whenever something has changed.
        search, trials: "tpe" lets Optuna choose so many cells instead of training the grid; settings may give
            search_seed, objective and at_once.
        settings: other recipe fields that all cells share, such as epochs=20; sample and sample_seed for a random part
            of the grid.
    Returns:
        the results as they are when all units are done or have failed; `chalknet.studies.results` describes them.
    Raises:
        ConfigError: a question that cannot be meant; nothing is written.
        DataError: data that cannot be read, or is not what the study in out was made with.
        MissingExtraError: a search without Optuna, engine torch without PyTorch, on="ray" without Ray; nothing is
            written.
        OutputError: out cannot be written; what was finished is kept.
        StoreError: what is in out is no study, or one of a newer chalknet.
    """
    lines = vary if isinstance(vary, Mapping) else list(vary)
    spec = settle_study(recipe, None, lines, {**settings, "seeds": seeds, "sampler": search, "trials": trials})
    samples = load_data(data) if isinstance(data, (str, Path)) else data
    return run_study(
        spec, samples, Path(out), jobs=jobs, on=on, stack=stack, retry_failed=retry_failed, observe=observe
    )


def run_study(
    spec: StudySpec,
    data: Dataset,
    folder: Path,
    *,
    jobs: int | None = None,
    on: str | None = None,
    stack: int | None = None,
    retry_failed: bool = False,
    observe: Observer | None = None,
    planned: Callable[[Plan], None] | None = None,
) -> StudyResults:
    """`study` with everything settled. Its folder gets study.sqlite, study.toml, and models/ with a file a cell.

    Args:
        planned: shown how units are shared out, before the first is trained.
    """
    if on is not None:
        checked_place(on)
        require_ray("study --on ray")
        planned = None  # what this machine knows says little of others
        check_reachable(on)  # before anything is written
    _check_sharing(jobs, stack)
    division = check_question(spec, data)
    if spec.search is not None:
        require_optuna()
    if on is None:  # a cluster has its own packages and devices
        jobs = _settled_jobs(spec, jobs, stack)
    planner = _planner(data, jobs, stack, is_remote=on is not None)
    origin = data.origin or DataConfig(data.source, data.sha256)
    asked = replace(spec, data=origin)
    with new_folder(folder), Store.create(folder) as store:
        prepare(store, asked, data, division)
        _write_spec(asked, folder)
        with Assignments(
            store, asked, data, retry_failed=retry_failed, planner=planner, planned=planned
        ) as assignments:
            if on is None:
                run_local(assignments, data, jobs=jobs, observe=observe)
            else:
                run_on_ray(assignments, data, spec.recipe, on, jobs=jobs, observe=observe)
    return read_results(folder)


def _settled_jobs(spec: StudySpec, jobs: int | None, stack: int | None) -> int:
    """Return the processes at a time: one per core, or a single one where all runs are trained on a GPU.

    Raises:
        MissingExtraError, ConfigError: an engine that is not here, or its device: here, and not in every run; or stack
            is given, and no run is trained on a GPU.
    """
    varied, base = dict(spec.vary), spec.recipe.training
    wanted = []
    for name in ("engine", "device", "precision"):
        values = varied.get(name)
        wanted.append(values if isinstance(values, tuple) else (getattr(base, name),))
    devices = {
        device_of(replace(base, engine=engine, device=device, precision=precision))
        for engine, device, precision in product(*wanted)
    }
    if "cuda" not in devices and (stack or 1) > 1:
        raise ConfigError(
            f"stack (--stack) {stack} trains networks at once on a GPU, and this study trains on processors, one run "
            "per process. Leave it out, or choose engine=torch (--engine torch) on a machine with a GPU."
        )
    return jobs or (1 if devices == {"cuda"} else available_cores())


def plan_study(
    spec: StudySpec, data: Dataset, folder: Path, *, jobs: int | None = None, stack: int | None = None
) -> Plan:
    """How `run_study` would share out what is still to be done, with times measured; writes nothing.

    Of a search whose cells are not chosen yet, all are taken to be as its base.

    Raises:
        ConfigError, MissingExtraError, StoreError: as `run_study`.
    """
    _check_sharing(jobs, stack)
    check_question(spec, data)
    planner = _planner(data, _settled_jobs(spec, jobs, stack), stack)
    cells = list(grid_cells(spec)) if spec.search is None else [make_cell(spec, {})] * spec.search.trials
    units = [Unit(cell, seed) for seed in spec.seed_numbers for cell in cells]
    if (folder / STORE_FILE).exists():
        with Store.read(folder) as store:
            statuses = store.statuses()
        units = [unit for unit in units if statuses.get(unit.key, "todo") == "todo"]
    return planner.plan(units, timed=True)


def _check_sharing(jobs: int | None, stack: int | None) -> None:
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ConfigError(f"jobs must be a whole number >= 1, got {jobs!r}.")
    check_stack(stack)


def _planner(data: Dataset, jobs: int | None, stack: int | None, is_remote: bool = False) -> Planner:
    jobs = jobs or available_cores()
    threads = max(1, available_cores() // jobs)
    return Planner(data, processes=jobs, threads=threads, stack=stack, is_remote=is_remote)


def _write_spec(spec: StudySpec, folder: Path) -> None:
    """study.toml, the whole question, where it is not there yet as it is."""
    content = tomli_w.dumps(spec_tables(spec)).encode()
    path = folder / SPEC_FILE
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)
