"""`chalknet study` and `chalknet study show`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from click.core import ParameterSource

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.lazy import LazyCommand, LazyGroup
from chalknet.cli.options import (
    DATA_TEXT,
    GLYPHS_DEFAULT,
    MACHINE_FIELDS,
    STUDY_RECIPES,
    csv_option,
    data_option,
    data_options,
    json_option,
    out_option,
    parse_settings,
    parse_source,
    print_notes,
    quiet_option,
    recipe_groups,
    recipe_option,
    recipe_options,
    section_fields,
    set_option,
    table_options,
)
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE, FOLDER, Choice, Words
from chalknet.cli.watch_page import page_of, watch_option
from chalknet.config import number_or_text
from chalknet.errors import ConfigError
from chalknet.studies.spec import SAMPLERS, SEARCH_FIELDS, SEEDS_MAY_VARY, STUDY_FIELDS

if TYPE_CHECKING:  # These modules import NumPy, and kernels must be chosen before that.
    from chalknet.serving.watch.sources import Source
    from chalknet.studies.results import StudyResults
    from chalknet.workflows.resolve_study import StudyRequest

# Fields of [study] and [search] whose flag has their name.
PLAIN_FIELDS = ("seeds", "first_seed", "sample", "sample_seed", "trials", "search_seed", "objective", "at_once")
STOPPED = 130  # The exit code after Ctrl-C.


def _plain_options(*names: str) -> Any:
    """Return a decorator that adds a flag for each of the named fields of [study] and [search]."""

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            item = {**STUDY_FIELDS, **SEARCH_FIELDS}[name]
            text, choices = item.metadata["meaning"], item.metadata["constraint"].choices
            shown = "" if item.default is None else f"  [default: {item.default}]"
            option = cloup.option(
                f"--{name.replace('_', '-')}",
                type=Choice(choices) if choices else None,
                metavar=None if choices else "N",
                help=f"{text[0].upper()}{text[1:]}.{shown}",
            )
            command = option(command)
        return command

    return decorate


LATE_COMMANDS = {
    "watch": LazyCommand("chalknet.cli.study_watch", "watch", "Follow a study or a training in the browser.")
}


@cloup.group(cls=LazyGroup, lazy=LATE_COMMANDS, invoke_without_command=True)
@cloup.option_group(
    "Start here",
    cloup.option(
        "--vary",
        multiple=True,
        metavar="SETTING=VALUES",
        help="Setting and values to compare: a,b,c, or N values with equal steps (low:high:linN) or equal ratios "
        "(low:high:logN). Two layers: hidden=512x256. Repeat it for a grid.",
    ),
    _plain_options("seeds"),
    data_option(f"{DATA_TEXT}  {GLYPHS_DEFAULT}"),
    out_option("Folder of the study.  [default: runs/study-SETTINGS, or the folder of --config]"),
)
@cloup.option_group(
    "Study",
    recipe_option("Complete set of settings that all configurations share."),
    cloup.option(
        "--config", type=FILE, metavar="FILE", help="Start from the study.toml of an earlier study instead of a recipe."
    ),
    set_option,
    _plain_options("first_seed"),
    cloup.option(
        "--seeds-vary",
        type=Words(SEEDS_MAY_VARY, is_list=True),
        metavar="NAME,...",
        help="What differs between seeds: init (initial weights), order (of batches), split.  [default: init,order]",
    ),
    cloup.option(
        "--resplit", is_flag=True, help="Use a different split for each seed. Short for adding split to --seeds-vary."
    ),
    _plain_options("sample", "sample_seed"),
    cloup.option("--retry-failed", is_flag=True, help="Train failed runs again."),
    cloup.option(
        "--plan", "plan_only", is_flag=True, help="Estimate time and memory on this machine, and train nothing."
    ),
)
@cloup.option_group(
    "Search (the other options need --search)",
    cloup.option(
        "--search",
        type=Choice(SAMPLERS),
        help="Let Optuna choose the configurations. Ranges in --vary may then leave out N. Needs the extra search.",
    ),
    _plain_options("trials", "objective", "at_once", "search_seed"),
)
@cloup.option_group("Data", recipe_options(*section_fields("split"), recipes=STUDY_RECIPES), data_options)
@cloup.option_group("Table", table_options)
@recipe_groups(
    recipes=STUDY_RECIPES,
    hidden=("ensemble", "folds", "calibrate"),
    texts={
        "seed": "Seed of the initial weights. Needs --seeds-vary without init. Otherwise use --first-seed.",
        "batch_seed": "Seed of the order of batches. Needs --seeds-vary without order. Otherwise use --first-seed.",
    },
)
@cloup.option_group(
    "Output",
    watch_option("Show the progress on a page in the browser too."),
    quiet_option("Show no progress and no table."),
)
@cloup.option_group(
    "Machines",
    recipe_options(*MACHINE_FIELDS),
    cloup.option(
        "--jobs",
        metavar="N",
        help="Number of processes. It does not change results, except for rounding in engine torch.  "
        "[default: one per core, or 1 on a GPU]",
    ),
    cloup.option(
        "--stack", metavar="N", help="Number of networks trained at once on a GPU.  [default: as many as fit]"
    ),
    cloup.option(
        "--on",
        type=Words(("ray", "ray://")),
        metavar="ray[://HOST:PORT]",
        help="Train on a Ray cluster: a new one on this machine, or the one at this address. Needs the extra ray. Not "
        "with --plan.",
    ),
)
def study(**flags: Any) -> int:
    """Compare configurations, each trained with several seeds.

    A configuration is one choice of values for the settings in --vary. A run is one training of a
    configuration with one seed. The folder holds study.sqlite (the results), study.toml (the
    specification of the study) and models/.

    If a study is interrupted, run the same command again. Finished runs are kept, and unfinished
    runs continue from their last checkpoint. If you change --vary and run it again with the same
    --out, new configurations are added and the earlier ones are kept.

    Examples:
        chalknet study --vary hidden=100,500,1000 --seeds 3 --out runs/widths
        chalknet study --vary learning_rate=1e-4:1e-2:log5 --vary dropout=0,0.2
        chalknet study --vary learning_rate=1e-4:1e-2:log --search tpe
        chalknet study --config runs/widths/study.toml
        chalknet study --vary hidden=16,32,64 --seeds 20 --plan
        chalknet study show runs/widths
        chalknet study watch runs/widths

    The recipe is adapted to the data as in `chalknet train`, whose help explains the defaults. If
    train_size (--train) varies, each configuration uses that many samples from the start of the
    training split.
    """
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is not None:
        given = [name for name in flags if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
        if given:
            ctx.fail(
                f"--{given[0].replace('_', '-')} is an option of study, not of {ctx.invoked_subcommand}. Leave it out."
            )
        return 0
    return _run(**flags)


@study.command()
@cloup.argument("folder", type=FOLDER, metavar="FOLDER", help="Folder of a study, which may still be running.")
@csv_option("Print CSV, with a row for each run.")
@json_option("Print JSON, with the scores of every run.")
@cloup.option("--all", "all_configurations", is_flag=True, help="Include configurations of earlier specifications.")
@cloup.option(
    "--test", "with_test", is_flag=True, help="Include test accuracies. Do not choose a configuration by them."
)
def show(folder: str, as_csv: bool, as_json: bool, all_configurations: bool, with_test: bool) -> None:
    """Show the progress and the results of a study.

    The table has a row for each configuration: mean and standard deviation of the validation
    accuracy over the seeds, the accuracy of each seed (of more than five seeds only the lowest and
    the highest), the epoch whose weights are kept, and the seconds per run. Below the table are the
    best configuration and the next commands.

    Examples:
        chalknet study show runs/widths
        chalknet study show runs/widths --csv > widths.csv
    """
    from chalknet.cli.study_text import results_csv, results_json, results_text
    from chalknet.studies.results_reader import read_results

    if as_csv and as_json:
        raise ConfigError("--csv and --json are two formats. Give only one of them.")
    results = read_results(folder, all_configurations=all_configurations)
    if as_csv:
        echo(results_csv(results), nl=False)
    elif as_json:
        echo(json.dumps(results_json(results), indent=2, ensure_ascii=False))
    else:
        echo(results_text(results, with_test=with_test, width=_width()))


def _run(
    vary: tuple[str, ...], search: str | None, data: str | None, quiet: bool, plan_only: bool, **flags: Any
) -> int:
    """Train a study, or show its plan, and return the exit code."""
    from chalknet.workflows.resolve_study import study_folder

    # The workflow checks both values.
    jobs: Any = None if flags["jobs"] is None else number_or_text(flags["jobs"])
    stack: Any = None if flags["stack"] is None else number_or_text(flags["stack"])
    request = _request(vary, search, data, flags)
    if plan_only and flags["on"] is not None:
        raise ConfigError("--plan shows what processes on this machine would do. Leave out --on.")
    folder = Path(flags["out"]) if flags["out"] else study_folder(flags["config"], request.spec)
    kernels = choose_kernels()  # This must happen before NumPy is imported.

    from chalknet.cli.study_progress import PlanLine, RunProgress
    from chalknet.workflows.study import check_jobs
    from chalknet.workflows.study import study as run_study

    if plan_only:
        from chalknet.cli.study_text import plan_text
        from chalknet.workflows.run_study import plan_study

        check_jobs(jobs, stack)
        echo(plan_text(plan_study(request, request.spec.data, folder, jobs=jobs, stack=stack)))
        return 0
    try:
        with (
            _print_how_to_resume(folder, flags["on"]),
            page_of(_page(folder, flags["watch"]), flags["watch"]),
            RunProgress(quiet=quiet) as progress,
        ):
            results = run_study(
                request.spec.data,
                request,
                out=folder,
                jobs=jobs,
                stack=stack,
                on=flags["on"],
                retry_failed=flags["retry_failed"],
                on_progress=progress,
                on_plan=PlanLine(quiet=quiet),
                on_notes=lambda notes: print_notes((*kernels, *notes), quiet),
            )
    except KeyboardInterrupt:
        return STOPPED
    return _print_results(results, folder, quiet)


def _page(folder: Path, watch: str | None) -> Source | None:
    """Return the page of the study, or None without --watch."""
    if watch is None:
        return None
    from chalknet.serving.watch.sources import StudySource

    return StudySource(folder)


def _request(vary: tuple[str, ...], search: str | None, data: str | None, flags: dict[str, Any]) -> StudyRequest:
    """Return the study that the flags specify."""
    from chalknet.workflows.resolve_study import resolve_study

    settings = parse_settings(flags)
    settings |= {name: number_or_text(flags[name]) for name in PLAIN_FIELDS if flags[name] is not None}
    settings |= {"sampler": search, "seeds_vary": _seeds_vary(flags)}
    request = resolve_study(flags["recipe"], flags["config"], vary, settings, parse_source(data, flags))
    if not request.spec.vary and not request.spec.configurations:
        raise ConfigError("a study needs a setting to vary. Give --vary FIELD=VALUES, such as --vary hidden=100,500.")
    return request


def _print_results(results: StudyResults, folder: Path, quiet: bool) -> int:
    """Print the results, the folder and the number of failures, and return the exit code."""
    from chalknet.cli.study_text import results_text

    if not quiet:
        echo(results_text(results, width=_width()))
        echo(f"written to {folder}")
    if results.failed:
        shown = f"{len(results.failed)} of {len(results.runs)} runs failed. Train them again with --retry-failed."
        echo(f"chalknet: {shown}", err=True)
        return 1
    return 0


def _width() -> int | None:
    """Return the columns of the terminal, or None if the output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _seeds_vary(flags: dict[str, Any]) -> list[str] | None:
    """Return what --seeds-vary and --resplit ask for together, or None if neither is given."""
    if flags["seeds_vary"] is None:
        return ["init", "order", "split"] if flags["resplit"] else None
    names = [name.strip() for name in flags["seeds_vary"].split(",")]
    return [*names, *(["split"] if flags["resplit"] and "split" not in names else [])]


@contextmanager
def _print_how_to_resume(folder: Path, on: str | None) -> Iterator[None]:
    """Print how to resume the study if Ctrl-C or another signal ends the block."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if (folder / "study.toml").exists():
            command = f"chalknet study --config {folder / 'study.toml'}{f' --on {on}' if on else ''}"
            echo(f"chalknet: stopped. Finished runs are kept. Resume with: {command}", err=True)
        else:
            echo("chalknet: stopped.", err=True)
        raise
