"""Run a study: read its data, adapt its recipe, and train the runs that are left.

The worker processes are already starting while this module is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import tomli_w

from chalknet.artifacts.atomic import new_folder, write_bytes
from chalknet.config import DataConfig
from chalknet.data.dataset import ARRAYS, Dataset
from chalknet.data.load import DataSource, load_data
from chalknet.data.open_data import open_data
from chalknet.data.readers.image import DEFAULT_FIT
from chalknet.errors import ConfigError, DataError, StoreError
from chalknet.files import read_bytes
from chalknet.machine.processor import available_cores
from chalknet.studies.configurations import RunKey
from chalknet.studies.execution_plan import MakePlan, Plan, plan_single_runs
from chalknet.studies.results import StudyResults
from chalknet.studies.results_reader import read_results
from chalknet.studies.runner.local_pool import local_pool
from chalknet.studies.runner.processes import WorkerProcesses
from chalknet.studies.runner.scheduler import ProgressCallback, Scheduler, WorkerPool, WorkQueue
from chalknet.studies.search import require_optuna
from chalknet.studies.search_space import (
    check_specification,
    grid_configurations,
    make_configuration,
    specification_notes,
)
from chalknet.studies.spec import StudySpec, spec_from_tables, spec_tables
from chalknet.studies.store import STORE_FILE, Store
from chalknet.workflows.resolve_study import SPEC_FILE, StudyRequest


def run_study(
    data: Dataset | DataConfig | DataSource,
    request: StudyRequest,
    folder: Path,
    processes: WorkerProcesses,
    *,
    jobs: int | None,
    on: str | None,
    stack: int | None,
    retry_failed: bool,
    on_progress: ProgressCallback | None,
    on_plan: Callable[[Plan], None] | None,
    on_notes: Callable[[Sequence[str]], None] | None,
) -> StudyResults:
    """Run a study; the arguments are those of `chalknet.study`."""
    samples = _read(data)
    spec, notes = request.adapt_to(samples)
    if on is not None:
        from chalknet.machine.ray_cluster import check_reachable

        on_plan = None  # a plan measured on this machine says little about the cluster
        check_reachable(on)  # before anything is written
    check_specification(spec, samples)
    _check_image_fit(folder, samples)
    warned = specification_notes(spec, samples)
    if on_notes is not None:
        on_notes((*samples.notes, *notes, *warned))
    else:
        for note in warned:
            warnings.warn(note, stacklevel=3)
    if spec.search is not None:
        require_optuna()
    if on is None:  # a cluster has other packages and devices than this machine
        jobs = _processes(spec, jobs, stack)
    make_plan = _make_plan(spec, samples, jobs, stack, is_remote=on is not None)
    spec = replace(spec, data=samples.origin or DataConfig(samples.source, samples.sha256))
    with (
        new_folder(folder),
        Store.open_or_create(folder) as store,
        WorkQueue(store, spec, samples, retry_failed=retry_failed, make_plan=make_plan, on_plan=on_plan) as queue,
    ):
        _write_spec(spec, folder)
        with _pool(queue, samples, spec, processes, on, jobs) as pool:
            Scheduler(queue, pool, on_progress).run()
    return read_results(folder)


def plan_study(
    request: StudyRequest | StudySpec,
    data: Dataset | DataConfig,
    folder: Path,
    *,
    jobs: int | None = None,
    stack: int | None = None,
) -> Plan:
    """Return how `study` would assign the remaining runs to processes, with measured times.

    Nothing is written. Configurations that a search has not chosen yet are assumed to cost what its
    base costs.

    Raises:
        ConfigError, MissingExtraError, StoreError: see `study`.
    """
    samples = _read(data)
    spec, _ = (StudyRequest(request) if isinstance(request, StudySpec) else request).adapt_to(samples)
    check_specification(spec, samples)
    from chalknet.studies.job_planner import Planner

    jobs = _processes(spec, jobs, stack)
    planner = Planner(samples, processes=jobs, threads=max(1, available_cores() // jobs), stack=stack)
    configs = (
        list(grid_configurations(spec)) if spec.search is None else [make_configuration(spec, {})] * spec.search.trials
    )
    runs = [RunKey(config, seed) for seed in spec.seed_numbers for config in configs]
    if (folder / STORE_FILE).exists():
        with Store.read(folder) as store:
            statuses = store.statuses()
        runs = [run for run in runs if statuses.get(run.key, "todo") == "todo"]
    return planner.plan(runs, timed=True)


def _read(data: Dataset | DataConfig | DataSource) -> Dataset:
    if isinstance(data, DataConfig):
        if data.source == ARRAYS:
            raise ConfigError(
                "the study was made with arrays in memory, which no file holds. Pass them in Python: "
                "chalknet.study(data, vary, out=...)."
            )
        return open_data(data)
    return data if isinstance(data, Dataset) else load_data(data)


def _check_image_fit(folder: Path, samples: Dataset) -> None:
    """Raise DataError if the study in a folder was made with another image_fit.

    The digests that the store compares are of the files and of labels and shapes, which are the
    same for every image_fit.
    """
    try:
        with Store.read(folder) as store:
            tables, is_same = store.specification()["spec"], store.data()["sha256"] == samples.sha256
        known = spec_from_tables(tables, str(folder)).data.image_fit or DEFAULT_FIT
    except (StoreError, ConfigError):  # there is no study yet, or one that cannot be read, which is reported later
        return
    if not is_same:  # reported later too
        return
    given = (samples.origin.image_fit if samples.origin is not None else None) or DEFAULT_FIT
    if given != known:
        raise DataError(
            f"{samples.source}: is read in another way than by the study in {folder}: image_fit is {given}, expected "
            f"{known}. Give image_fit={known!r} (--image-fit {known}), or choose another out (--out)."
        )


def _processes(spec: StudySpec, jobs: int | None, stack: int | None) -> int:
    """Return the number of processes: one per core, or one if all runs are trained on a GPU.

    Raises:
        MissingExtraError: the package of an engine is missing.
        ConfigError: the device of an engine is missing, or stack is given but no run uses a GPU.
    """
    base = spec.recipe.training
    wanted = []
    for name in ("engine", "device", "precision"):
        values = spec.values(name)
        wanted.append(values if isinstance(values, tuple) else (getattr(base, name),))
    devices = {"cpu"}
    if _may_use_gpu(spec):
        from chalknet.training.trainer import device_of

        devices = {
            device_of(replace(base, engine=engine, device=device, precision=precision))
            for engine, device, precision in product(*wanted)
        }
    if "cuda" not in devices and (stack or 1) > 1:
        raise ConfigError(
            f"stack (--stack) {stack} trains networks at once on a GPU, but this study trains on CPUs, one run "
            "per process. Leave it out, or choose engine=torch (--engine torch) on a machine with a GPU."
        )
    return jobs or (1 if devices == {"cuda"} else available_cores())


def _may_use_gpu(spec: StudySpec) -> bool:
    """Return whether a run may be trained on a GPU.

    It decides whether the code that looks for GPUs is loaded, which takes a second.
    """
    engines = spec.values("engine")
    return isinstance(engines, tuple) and "torch" in engines


def _make_plan(spec: StudySpec, data: Dataset, jobs: int | None, stack: int | None, is_remote: bool) -> MakePlan:
    jobs = jobs or available_cores()
    threads = max(1, available_cores() // jobs)
    if not _may_use_gpu(spec):
        return partial(plan_single_runs, processes=jobs, threads=threads)
    from chalknet.studies.job_planner import Planner

    return Planner(data, processes=jobs, threads=threads, stack=stack, is_remote=is_remote).plan


def _pool(
    queue: WorkQueue, data: Dataset, spec: StudySpec, processes: WorkerProcesses, on: str | None, jobs: int | None
) -> AbstractContextManager[WorkerPool]:
    if on is None:
        return local_pool(queue, data, processes, jobs)
    from chalknet.studies.runner.ray_pool import ray_pool

    return ray_pool(queue, data, spec.recipe, on, jobs)


def _write_spec(spec: StudySpec, folder: Path) -> None:
    """Write study.toml, unless it already has this content."""
    content = tomli_w.dumps(spec_tables(spec)).encode()
    path = folder / SPEC_FILE
    with suppress(OSError):
        if read_bytes(path, len(content), follow_links=False) == content:
            return
    write_bytes(path, content)
