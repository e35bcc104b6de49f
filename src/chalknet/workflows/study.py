"""`chalknet.study`, which `chalknet study` calls too.

Loads no NumPy before the worker processes have been started, so that both load it in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalknet.config import DataConfig, Recipe
from chalknet.errors import ConfigError
from chalknet.machine.processor import available_cores
from chalknet.studies.progress import NotebookStudyProgress
from chalknet.studies.runner.processes import WorkerProcesses
from chalknet.studies.spec import StudySpec
from chalknet.training.progress import in_notebook
from chalknet.workflows.resolve_study import StudyRequest, resolve_study

if TYPE_CHECKING:
    from chalknet.data.dataset import Dataset
    from chalknet.data.load import DataSource
    from chalknet.studies.execution_plan import Plan
    from chalknet.studies.results import StudyResults
    from chalknet.studies.runner.scheduler import ProgressCallback, StudyProgress

MAX_JOBS = 1_024  # more is a typing error, and more than an operating system starts


def study(
    data: Dataset | DataConfig | DataSource,
    vary: Mapping[str, Any] | Sequence[str] | StudySpec | StudyRequest,
    *,
    out: str | Path,
    seeds: int | None = None,
    recipe: str | Recipe | None = None,
    jobs: int | None = None,
    on: str | None = None,
    stack: int | None = None,
    retry_failed: bool = False,
    on_progress: ProgressCallback | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_notes: Callable[[Sequence[str]], None] | None = None,
    search: str | None = None,
    trials: int | None = None,
    **settings: Any,
) -> StudyResults:
    """Compare configurations, each trained with several seeds, in parallel; resumes if interrupted.

    Example:
        study("glyphs", {"hidden": [100, 500], "learning_rate": "1e-6:1e-4:log5"}, out="runs/widths")

    Args:
        data: a `Dataset`, or what `chalknet.load_data` takes.
        vary: recipe fields with their values, in order: a list, or a range "a:b:linN" or "a:b:logN"; or
            lines such as "hidden=100,500". Or a whole `StudySpec`, for example from
            `chalknet.studies.spec.read_spec`.
        out: the study's folder, with study.sqlite, study.toml, and models/ with a file per
            configuration. If it exists, its finished runs are kept, and new configurations are
            added.
        seeds: training runs per configuration, 3 if not given. settings may give first_seed, and
            seeds_vary: which of "init", "order" and "split" the seeds vary.
        recipe: a recipe's name or a `Recipe` that all configurations share, by default "strong". A
            named recipe is adapted to the data as in `chalknet.train`.
        jobs: number of processes, by default one per core, or one if all runs are trained on a GPU.
            Results do not depend on it.
        on: "ray" trains runs on a Ray cluster of this machine, "ray://HOST:PORT" on a running one. By
            default they are trained in processes of this machine (docs/scale.md).
        stack: number of networks that a process trains at once on a GPU, by default as many as fit, and
            1 on Ray. Results agree to rounding. On CPUs every run has its own process, and only 1
            is allowed.
        retry_failed: whether runs that failed before are trained again.
        on_progress: called with a `StudyProgress` whenever something has changed. Notebooks always show
            the progress.
        on_plan: called with how runs are assigned to processes, before the first run starts.
        on_notes: called with notes on the data and on how the recipe was adapted to it.
        search: "tpe" lets Optuna choose configurations instead of training the whole grid. settings may
            give search_seed, objective and at_once.
        trials: number of configurations that the search chooses.
        **settings: other recipe fields that all configurations share, such as epochs=20; sample and
            sample_seed for a random part of the grid.

    Returns:
        The results, when all runs are done or have failed; see `chalknet.studies.results`.

    Raises:
        ConfigError: an invalid setting; nothing is written.
        DataError: data that cannot be read, or differs from the data of the study in out.
        MissingExtraError: a search without Optuna, engine torch without PyTorch, on="ray" without Ray;
            nothing is written.
        OutputError: out cannot be written; finished runs are kept.
        StoreError: out holds no study, or one of a newer chalknet.
    """
    if isinstance(vary, StudySpec | StudyRequest):
        given = {**settings, "seeds": seeds, "recipe": recipe, "search": search, "trials": trials}
        extra = next((name for name, value in given.items() if value is not None), None)
        if extra is not None:
            raise ConfigError(f"{extra} is part of the StudySpec that was given. Set it there.")
        request = StudyRequest(vary) if isinstance(vary, StudySpec) else vary
    else:
        given = {**settings, "seeds": seeds, "sampler": search, "trials": trials}
        request = resolve_study(recipe, None, vary if isinstance(vary, Mapping) else list(vary), given)
    check_jobs(jobs, stack)
    if on is not None:
        from chalknet.machine.ray_cluster import parse_cluster_address, require_ray

        parse_cluster_address(on)
        require_ray("a study on Ray")
    # Workers import the training code while this process imports it too and reads the data.
    with WorkerProcesses(0 if on is not None else _started_at_once(request.spec, jobs)) as processes:
        from chalknet.workflows.run_study import run_study

        return run_study(
            data,
            request,
            Path(out),
            processes,
            jobs=jobs,
            on=on,
            stack=stack,
            retry_failed=retry_failed,
            on_progress=_progress(on_progress),
            on_plan=on_plan,
            on_notes=on_notes,
        )


def _progress(on_progress: ProgressCallback | None) -> ProgressCallback | None:
    """Return the caller's receiver of the progress, after one that shows it in a notebook."""
    if not in_notebook():
        return on_progress
    show = NotebookStudyProgress()

    def show_and_pass_on(progress: StudyProgress) -> None:
        show(progress)
        if on_progress is not None:
            on_progress(progress)

    return show_and_pass_on


def _started_at_once(spec: StudySpec, jobs: int | None) -> int:
    """Return how many workers are needed in any case, as far as known before the data is read."""
    may_use_gpu = spec.values("engine") not in (("numpy",), ("reference",))
    # One core is left to this process, which reads the data until the first run is dispatched.
    return min(jobs or (1 if may_use_gpu else available_cores()), max(1, available_cores() - 1), spec.n_runs)


def check_jobs(jobs: int | None, stack: int | None) -> None:
    """Raise ConfigError unless jobs and stack are None or whole numbers in their ranges."""
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or not 1 <= jobs <= MAX_JOBS):
        raise ConfigError(f"jobs (--jobs) must be an integer from 1 to {MAX_JOBS}, got {jobs!r}.")
    if stack is not None and (isinstance(stack, bool) or not isinstance(stack, int) or stack < 1):
        raise ConfigError(f"stack (--stack) must be an integer >= 1, got {stack!r}.")
