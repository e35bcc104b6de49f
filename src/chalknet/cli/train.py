"""`chalknet train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import (
    data_options,
    named_place,
    parsed_settings,
    parsed_source,
    recipe_options,
    say_notes,
    valid_file,
)
from chalknet.config import DataConfig
from chalknet.errors import ConfigError

if TYPE_CHECKING:
    from chalknet.artifacts.log_writer import LogWriter
    from chalknet.training.trainer import Begun, Observer, Run
    from chalknet.workflows.single_run import Checkpoints, Watch


@click.command()
@click.option("--recipe", metavar="NAME", help="The named recipe to start from: strong or writeup.  [default: strong]")
@click.option(
    "--config",
    type=named_place,
    metavar="FILE",
    help="A config.toml to start from, such as an earlier run's; repeats that run.",
)
@click.option("--data", metavar="FILE|FOLDER|glyphs", help="What to learn.  [default: glyphs, the built-in letters]")
@data_options
@recipe_options()
@click.option(
    "--test", type=named_place, metavar="FILE", help="Test samples of your own; --valid FILE gives validation samples."
)
@click.option(
    "--out",
    type=named_place,
    metavar="DIR",
    help="Folder for the run.  [default: runs/RECIPE-HIDDEN-seedN, or the next free]",
)
@click.option("--overwrite", is_flag=True, help="Write into --out even if it holds a finished run.")
@click.option(
    "--resume",
    type=named_place,
    metavar="DIR",
    help="Go on with the unfinished run of this folder; its own settings hold, so give none.",
)
@click.option("--checkpoint-seconds", type=float, metavar="X", help="Seconds between two checkpoints.  [default: 60]")
@click.option("--checkpoint-epochs", type=int, metavar="N", help="Take a checkpoint every N epochs too.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads; results do not depend on it, but for the torch engine's last digits.  [default: one a core]",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    metavar="N",
    help="Share the samples out among N Ray actors, for data larger than a machine (docs/scale.md).",
)
@click.option("--on", metavar="ray://HOST:PORT", help="The Ray cluster of --shards.  [default: one on this machine]")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="KIND:PLACE",
    help="Log each epoch as it is finished: csv:FILE, tensorboard:FOLDER, mlflow[:URI]; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="No progress and no statistics.")
def train(
    recipe: str | None,
    config: str | None,
    data: str | None,
    out: str | None,
    overwrite: bool,
    resume: str | None,
    checkpoint_seconds: float | None,
    checkpoint_epochs: int | None,
    workers: int | None,
    shards: int | None,
    on: str | None,
    quiet: bool,
    test: str | None,
    logs: tuple[str, ...],
    **flags: Any,
) -> int:
    """Train a network and write a run folder.

    The folder holds history.csv (every epoch), summary.json, config.toml (complete: `chalknet train --config` repeats
    the run), model.safetensors, valid_samples.npz, and curves.png and curves.svg. Ctrl-C finishes the epoch and keeps
    what there is in a checkpoint; after that, or after a kill, --resume goes on and ends with the same bits. With
    --ensemble N the folder's members/ holds a run a network, and model.safetensors all of them as one model.

    \b
    chalknet train --data notMNIST.npz --hidden 1000 --epochs 200 --seed 0 --out runs/first
    chalknet train --data digits.csv --split stratified --train 0.7 --valid 0.15
    chalknet train --data train.csv --valid valid.csv --test test.csv --ensemble 5
    """
    named = replace(parsed_source(data, flags), valid_source=valid_file(flags), test_source=test or "")
    settings = parsed_settings(flags)
    taken = Checkpointing(checkpoint_seconds, checkpoint_epochs)
    taken.check()
    if resume is not None:
        given = {"--recipe": recipe, "--config": config, "--data": data, "--out": out, "--overwrite": overwrite}
        given |= {"--valid": named.valid_source or None, "--test": test}
        _refuse_beside_resume(given | settings | {key: flags[key] for key in DATA_FLAGS})
        return _go_on(Path(resume), taken, Machines(workers, shards, on), logs, quiet)
    folder = Path(out) if out else None
    machines = Machines(workers, shards, on)
    return _begin(recipe, config, settings, named, folder, overwrite, taken, machines, logs, quiet)


DATA_FLAGS = ("class_names", "label_column", "image_size")


class Machines(NamedTuple):
    """What the line says about who computes."""

    workers: int | None
    shards: int | None
    on: str | None


class Checkpointing(NamedTuple):
    """What the line says about checkpoints; None where it says nothing."""

    seconds: float | None
    epochs: int | None

    def check(self) -> None:
        if self.seconds is not None and not self.seconds >= 0:
            raise ConfigError(f"checkpoint_seconds must be a number >= 0, got {self.seconds}.")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"checkpoint_epochs must be a whole number >= 1, got {self.epochs}.")

    def settled(self, must_stop: Callable[[], bool]) -> Checkpoints:
        from chalknet.artifacts.checkpoint import SECONDS
        from chalknet.workflows.single_run import Checkpoints

        return Checkpoints(SECONDS if self.seconds is None else self.seconds, self.epochs, must_stop)


def _begin(
    recipe: str | None,
    config: str | None,
    settings: dict[str, Any],
    named: DataConfig,
    folder: Path | None,
    overwrite: bool,
    taken: Checkpointing,
    machines: Machines,
    logs: tuple[str, ...],
    quiet: bool,
) -> int:
    from chalknet.workflows.settle import default_folder, settle, settled_for

    chosen, source = settle(recipe, config, settings, named)
    kernels = choose_kernels()  # before anything imports NumPy

    from chalknet.cli.stop import stop_after_epoch
    from chalknet.workflows.sharding import opened_shards
    from chalknet.workflows.single_run import Options
    from chalknet.workflows.task import open_data, task_of
    from chalknet.workflows.train import train_settled

    samples = open_data(source)
    chosen, notes = settled_for(samples, recipe, config, chosen, settings)
    task = task_of(samples, chosen)
    say_notes((*kernels, *samples.notes, *notes), quiet)
    writers = _writers(logs)
    with opened_shards(machines.shards, machines.on, samples, chosen) as shards, stop_after_epoch() as must_stop:
        place, checkpoints = folder or default_folder(chosen), taken.settled(must_stop)
        options = Options(place, folder is None, overwrite, machines.workers, checkpoints, shards)
        run = train_settled(task, options, _shown(len(task.splits.train), writers, quiet))
    return _say_end(run, writers, quiet)


def _go_on(folder: Path, taken: Checkpointing, machines: Machines, logs: tuple[str, ...], quiet: bool) -> int:
    kernels = choose_kernels()  # before anything imports NumPy

    from chalknet.cli.stop import stop_after_epoch
    from chalknet.workflows.sharding import opened_shards
    from chalknet.workflows.single_run import Options
    from chalknet.workflows.task import unfinished_task
    from chalknet.workflows.train import resume_settled, unfinished_recipe

    recipe, source = unfinished_recipe(folder)
    task = unfinished_task(folder, recipe, source)
    say_notes((*kernels, *task.data.notes), quiet)
    writers = _writers(logs)
    with opened_shards(machines.shards, machines.on, task.data, recipe) as shards, stop_after_epoch() as must_stop:
        options = Options(workers=machines.workers, checkpoints=taken.settled(must_stop), shards=shards)
        run = resume_settled(folder, task, options, _shown(len(task.splits.train), writers, quiet))
    return _say_end(run, writers, quiet)


def _shown(n_train: int, writers: list[LogWriter], quiet: bool) -> Watch:
    """A progress bar and the logs for each network, with a line before where there are several or it goes on."""
    from chalknet.cli.progress import EpochProgress
    from chalknet.workflows.train import all_of, observed_by

    logged = observed_by(writers)

    @contextmanager
    def watch(begun: Begun) -> Iterator[Observer]:
        n_epochs, done = begun.recipe.training.epochs, len(begun.history)
        if begun.of > 1 and not quiet:
            click.echo(f"network {begun.number} of {begun.of}", err=True)
        if done and not quiet:
            click.echo(f"going on after epoch {done} of {n_epochs}", err=True)
        with EpochProgress(n_epochs, n_train, quiet=quiet, done=done) as progress, logged(begun) as log:
            yield all_of([progress, *([log] if log else [])])

    return watch


def _writers(logs: tuple[str, ...]) -> list[LogWriter]:
    """What --log names, each opened before any training."""
    from chalknet.workflows.logs import log_writer, parsed_log

    wanted = [parsed_log(text) for text in logs]
    return [log_writer(log, lambda line: click.echo(f"chalknet: {line}", err=True)) for log in wanted]


def _say_end(run: Run, writers: list[LogWriter], quiet: bool) -> int:
    """Shows the statistics; gives the exit code, 1 where a log has failed on the way."""
    from chalknet.reporting.tables import statistics_table

    if not quiet:
        click.echo(statistics_table(run).text())
        click.echo(f"written to {run.folder}")
    return 1 if any(writer.has_failed for writer in writers) else 0


def _refuse_beside_resume(given: dict[str, Any]) -> None:
    """A setting beside --resume would make another training of it."""
    names = [
        key if key.startswith("-") else f"--{key.replace('_', '-')}"
        for key, value in given.items()
        if value not in (None, False)
    ]
    if names:
        raise ConfigError(f"--resume goes on with the run as it was begun, so {', '.join(names)} cannot be given too.")
