"""`chalknet study`, and `chalknet study show`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.lazy import LazyGroup
from chalknet.cli.options import data_options, named_place, parsed_settings, parsed_source, recipe_options, say_notes
from chalknet.cli.output import echo
from chalknet.errors import ConfigError
from chalknet.studies.spec import SEARCH_FIELDS, STUDY_FIELDS, number_or_text, study_meaning

if TYPE_CHECKING:  # results need NumPy, which kernels are chosen before
    from chalknet.studies.results import StudyResults
    from chalknet.workflows.resolve_study import StudyRequest

# Fields of [study] and [search] whose flag is their name.
PLAIN_FIELDS = ("seeds", "first_seed", "sample", "sample_seed", "trials", "search_seed", "objective", "at_once")
STOPPED = 130  # exit code of Ctrl-C


def _plain_options(command: Any) -> Any:
    for name in reversed(PLAIN_FIELDS):
        text, default = study_meaning(name), {**STUDY_FIELDS, **SEARCH_FIELDS}[name].default
        shown = "" if default is None else f"  [default: {default}]"
        metavar = "NAME" if isinstance(default, str) else "N"
        option = click.option(
            f"--{name.replace('_', '-')}", metavar=metavar, help=f"{text[0].upper()}{text[1:]}.{shown}"
        )
        command = option(command)
    return command


@click.group(cls=LazyGroup, lazy={}, invoke_without_command=True)
@click.option(
    "--vary",
    multiple=True,
    metavar="FIELD=VALUES",
    help="A recipe field and its values: 100,500,512x256, or a range a:b:linN or a:b:logN; several make a grid.",
)
@click.option(
    "--search", metavar="tpe", help="Let Optuna choose the configurations; ranges may then go without a number N."
)
@_plain_options
@click.option("--seeds-vary", metavar="A,B", help=f"{study_meaning('seeds_vary').capitalize()}.  [default: init,order]")
@click.option("--resplit", is_flag=True, help="Let seeds vary the split too.")
@click.option(
    "--jobs",
    metavar="N",
    help="Processes at a time; results do not depend on it.  [default: the cores, or 1 where all train on a GPU]",
)
@click.option(
    "--on",
    metavar="ray[://HOST:PORT]",
    help="Train runs on a Ray cluster: on this machine, or the one there.  [default: processes of this machine]",
)
@click.option(
    "--stack",
    metavar="N",
    help="Number of networks trained at once on a GPU.  [default: as many as fit]",
)
@click.option("--plan", "plan_only", is_flag=True, help="Show how runs would be shared out, and train nothing.")
@click.option("--retry-failed", is_flag=True, help="Train again what failed before.")
@click.option("--recipe", metavar="NAME", help="The named recipe that all configurations share.  [default: strong]")
@click.option(
    "--config", type=named_place, metavar="FILE", help="A study.toml to start from, such as an earlier study's."
)
@click.option("--data", metavar="FILE|FOLDER|glyphs", help="What to learn.  [default: glyphs, the built-in letters]")
@data_options
@recipe_options()
@click.option(
    "--out",
    type=named_place,
    metavar="DIR",
    help="The study's folder.  [default: that of --config's study.toml, or runs/study-FIELDS]",
)
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def study(**flags: Any) -> int:
    """Train every configuration of a grid from several seeds, in parallel.

    A configuration is one setting of the varied fields, a run one training of it. The folder holds study.sqlite (what
    is done), study.toml (the question) and models/. The same command goes on where a study was stopped, however it was:
    nothing
    that is finished runs again. With other values it adds configurations and keeps the old ones.

    \b
    chalknet study --vary hidden=100,500,1000,2000 --seeds 3 --out runs/widths
    chalknet study --vary learning_rate=1e-4:1e-2:log5 --vary dropout=0:0.6:lin4 --sample 8
    chalknet study --vary learning_rate=1e-4:1e-2:log --search tpe --trials 20
    chalknet study --config runs/widths/study.toml
    chalknet study --vary hidden=16,32,64 --seeds 20 --plan
    chalknet study show runs/widths

    The recipe is adapted to the data as in chalknet train. Recipe flags hold for all configurations. A configuration
    that varies train_size uses the first so many of --train training samples.
    """
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is not None:
        given = [name for name in flags if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
        if given:
            ctx.fail(f"flags of study go without {ctx.invoked_subcommand}, got --{given[0].replace('_', '-')}.")
        return 0
    return _run(**flags)


@study.command()
@click.argument("folder", metavar="DIR")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row a run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every run's figures.")
@click.option("--all", "all_configurations", is_flag=True, help="Also the configurations of earlier questions.")
@click.option(
    "--test", "with_test", is_flag=True, help="Also test accuracies, which must not decide between configurations."
)
def show(folder: str, as_csv: bool, as_json: bool, all_configurations: bool, with_test: bool) -> None:
    """Show how far a study is and what it found, while it runs or after.

    One row a configuration: the mean validation accuracy with its standard deviation over the seeds, each seed's own or
        of more
    than five the least and the largest, the epoch whose weights are kept, and the seconds a run. Below it stand the
    best configuration and what to do next.

    \b
    chalknet study show runs/widths
    chalknet study show runs/widths --csv > widths.csv
    """
    from chalknet.cli.study_text import results_csv, results_json, results_text
    from chalknet.studies.results_reader import read_results

    if as_csv and as_json:
        raise ConfigError("--csv and --json are two forms of the same; give one of them.")
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
    from chalknet.workflows.resolve_study import study_folder

    jobs: Any = None if flags["jobs"] is None else number_or_text(flags["jobs"])  # study refuses an invalid one
    stack: Any = None if flags["stack"] is None else number_or_text(flags["stack"])
    request = _request(vary, search, data, flags)
    if plan_only and flags["on"] is not None:
        raise ConfigError("--plan is about processes of this machine; leave --on out.")
    folder = Path(flags["out"]) if flags["out"] else study_folder(flags["config"], request.spec)
    kernels = choose_kernels()  # before anything imports NumPy

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
        with _says_how_to_go_on(folder, flags["on"]), RunProgress(quiet=quiet) as progress:
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
                on_notes=lambda notes: say_notes((*kernels, *notes), quiet),
            )
    except KeyboardInterrupt:
        return STOPPED
    return _say_end(results, folder, quiet)


def _request(vary: tuple[str, ...], search: str | None, data: str | None, flags: dict[str, Any]) -> StudyRequest:
    """The study that the flags ask for."""
    from chalknet.workflows.resolve_study import resolve_study

    settings = parsed_settings(flags)
    settings |= {name: number_or_text(flags[name]) for name in PLAIN_FIELDS if flags[name] is not None}
    settings |= {"sampler": search, "seeds_vary": _seeds_vary(flags)}
    request = resolve_study(flags["recipe"], flags["config"], vary, settings, parsed_source(data, flags))
    if not request.spec.vary:
        raise ConfigError("a study varies something: give --vary FIELD=VALUES, such as --vary hidden=100,500.")
    return request


def _say_end(results: StudyResults, folder: Path, quiet: bool) -> int:
    """The table, where it is, and what failed; gives the exit code."""
    from chalknet.cli.study_text import results_text

    if not quiet:
        echo(results_text(results, width=_width()))
        echo(f"written to {folder}")
    if results.failed:
        shown = f"{len(results.failed)} of {len(results.runs)} runs failed; --retry-failed trains them again."
        echo(f"chalknet: {shown}", err=True)
        return 1
    return 0


def _width() -> int | None:
    """The columns of the terminal, or None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _seeds_vary(flags: dict[str, Any]) -> list[str] | None:
    """What --seeds-vary and --resplit say together; None where neither is given."""
    if flags["seeds_vary"] is None:
        return ["init", "order", "split"] if flags["resplit"] else None
    names = [name.strip() for name in flags["seeds_vary"].split(",")]
    return [*names, *(["split"] if flags["resplit"] and "split" not in names else [])]


@contextmanager
def _says_how_to_go_on(folder: Path, on: str | None) -> Iterator[None]:
    """One line after Ctrl-C or a signal to end."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if (folder / "study.toml").exists():
            command = f"chalknet study --config {folder / 'study.toml'}{f' --on {on}' if on else ''}"
            echo(f"chalknet: stopped; what is finished is kept. Go on: {command}", err=True)
        else:
            echo("chalknet: stopped.", err=True)
        raise
