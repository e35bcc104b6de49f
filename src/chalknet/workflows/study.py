"""Run a study from its specification to its results: `chalknet.study`, which the command calls too."""

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
from chalknet.studies.cells import Unit
from chalknet.studies.plan import Plan, Planner, check_stack
from chalknet.studies.reading import read_results
from chalknet.studies.results import StudyResults
from chalknet.studies.runner.local_pool import local_pool
from chalknet.studies.runner.ray_pool import ray_pool
from chalknet.studies.runner.scheduler import Observer, Scheduler, WorkQueue
from chalknet.studies.search import require_optuna
from chalknet.studies.space import check_question, grid_cells, make_cell
from chalknet.studies.spec import StudySpec, spec_tables
from chalknet.studies.store import STORE_FILE, Store
from chalknet.training.trainer import device_of
from chalknet.workflows.resolve_study import SPEC_FILE, resolve_study


def study(
    data: Dataset | str | Path,
    vary: Mapping[str, Any] | Sequence[str] | StudySpec,
    *,
    out: str | Path,
    seeds: int | None = None,
    recipe: str | Recipe | None = None,
    jobs: int | None = None,
    on: str | None = None,
    stack: int | None = None,
    retry_failed: bool = False,
    observe: Observer | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    search: str | None = None,
    trials: int | None = None,
    **settings: Any,
) -> StudyResults:
    """Compare configurations, each trained with several seeds, in parallel. An interrupted study resumes.

    study("glyphs", {"hidden": [100, 500, "512x256"], "learning_rate": "1e-6:1e-4:log5"}, out="runs/widths")

    Args:
        data: a `Dataset`, or what `chalknet.load_data` takes.
        vary: recipe fields with their values, in order: a list, or a range "a:b:linN" or "a:b:logN"; or lines such as
            "hidden=100,500". Or a whole `StudySpec`, such as `chalknet.studies.spec.read_spec` reads from a study.toml.
        out: the study's folder, with study.sqlite, study.toml, and models/ with a file per configuration. In an
            existing one finished runs are kept, and new configurations are added.
        seeds: training runs per configuration, 3 if not given. settings may give first_seed, and seeds_vary: which of
            "init", "order" and "split" they vary.
        recipe: a recipe's name or a `Recipe`: what all configurations share, by default "writeup".
        jobs: processes at a time, by default one per core, or one in all where all runs are trained on a GPU; results
            do not depend on it.
        on: "ray" trains runs on a Ray cluster of this machine alone, "ray://HOST:PORT" on a running one; by default
            they are trained in processes of this machine (docs/scale.md).
        stack: how many networks a process trains at once on a GPU, by default as many as fit, and 1 on Ray; their
            results are equal to rounding. On processors every run has a process to itself, and only 1 is allowed.
        retry_failed: whether runs that failed before are trained again.
        observe: called with a `StudyProgress` whenever something has changed.
        on_plan: called with how runs are shared out among processes of this machine, before the first is trained.
        search, trials: "tpe" lets Optuna choose so many configurations instead of training the grid; settings may give
            search_seed, objective and at_once.
        settings: other recipe fields that all configurations share, such as epochs=20; sample and sample_seed for a
            random part of the grid.
    Returns:
        The results when all runs are done or have failed; `chalknet.studies.results` describes them.
    Raises:
        ConfigError: an invalid setting; nothing is written.
        DataError: data that cannot be read, or is not what the study in out was made with.
        MissingExtraError: a search without Optuna, engine torch without PyTorch, on="ray" without Ray; nothing is
            written.
        OutputError: out cannot be written; what was finished is kept.
        StoreError: what is in out is no study, or one of a newer chalknet.
    """
    given = {**settings, "seeds": seeds, "sampler": search, "trials": trials}
    if isinstance(vary, StudySpec):
        extra = [name for name, value in {**given, "recipe": recipe}.items() if value is not None]
        if extra:
            raise ConfigError(f"{extra[0]} is part of the StudySpec that was given. Set it there.")
        spec = vary
    else:
        spec = resolve_study(recipe, None, vary if isinstance(vary, Mapping) else list(vary), given)
    samples = load_data(data) if isinstance(data, (str, Path)) else data
    if on is not None:
        checked_place(on)
        require_ray("study --on ray")
        on_plan = None  # what this machine knows says little of others
        check_reachable(on)  # before anything is written
    _check_jobs(jobs, stack)
    check_question(spec, samples)
    if spec.search is not None:
        require_optuna()
    if on is None:  # a cluster has its own packages and devices
        jobs = _processes(spec, jobs, stack)
    planner = _planner(samples, jobs, stack, is_remote=on is not None)
    spec = replace(spec, data=samples.origin or DataConfig(samples.source, samples.sha256))
    folder = Path(out)
    with (
        new_folder(folder),
        Store.create(folder) as store,
        WorkQueue(store, spec, samples, retry_failed=retry_failed, planner=planner, on_plan=on_plan) as queue,
    ):
        _write_spec(spec, folder)
        pools = local_pool(queue, samples, jobs) if on is None else ray_pool(queue, samples, spec.recipe, on, jobs)
        with pools as pool:
            Scheduler(queue, pool, observe).run()
    return read_results(folder)


def plan_study(
    spec: StudySpec, data: Dataset, folder: Path, *, jobs: int | None = None, stack: int | None = None
) -> Plan:
    """Return how `study` would share out what is still to be done, with times measured. Nothing is written.

    The configurations of a search that are not chosen yet are taken to be as its base.

    Raises:
        ConfigError, MissingExtraError, StoreError: as `study`.
    """
    _check_jobs(jobs, stack)
    check_question(spec, data)
    planner = _planner(data, _processes(spec, jobs, stack), stack)
    cells = list(grid_cells(spec)) if spec.search is None else [make_cell(spec, {})] * spec.search.trials
    units = [Unit(cell, seed) for seed in spec.seed_numbers for cell in cells]
    if (folder / STORE_FILE).exists():
        with Store.read(folder) as store:
            statuses = store.statuses()
        units = [unit for unit in units if statuses.get(unit.key, "todo") == "todo"]
    return planner.plan(units, timed=True)


def _check_jobs(jobs: int | None, stack: int | None) -> None:
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ConfigError(f"jobs must be a whole number >= 1, got {jobs!r}.")
    check_stack(stack)


def _processes(spec: StudySpec, jobs: int | None, stack: int | None) -> int:
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


def _planner(data: Dataset, jobs: int | None, stack: int | None, is_remote: bool = False) -> Planner:
    jobs = jobs or available_cores()
    threads = max(1, available_cores() // jobs)
    return Planner(data, processes=jobs, threads=threads, stack=stack, is_remote=is_remote)


def _write_spec(spec: StudySpec, folder: Path) -> None:
    """Write the specification as study.toml, unless it is there already."""
    content = tomli_w.dumps(spec_tables(spec)).encode()
    path = folder / SPEC_FILE
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)
