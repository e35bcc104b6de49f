"""`chalknet train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import (
    FLAG_OF_FIELD,
    data_options,
    named_place,
    parsed_settings,
    parsed_source,
    recipe_options,
    valid_file,
)
from chalknet.cli.output import echo
from chalknet.cli.stop import stop_after_epoch
from chalknet.config import near_match
from chalknet.errors import ConfigError
from chalknet.workflows.train_options import TrainOptions

if TYPE_CHECKING:
    from chalknet.artifacts.log_writer import LogWriter
    from chalknet.training.trainer import Run


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
    help="Resume the unfinished run of this folder with its own settings; --data names data that have moved.",
)
@click.option(
    "--checkpoint-seconds",
    type=float,
    metavar="X",
    help="Seconds between two checkpoints.  [default: from 0.5 up to 60, for at most 3 % of the time]",
)
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
def train(quiet: bool, logs: tuple[str, ...], **flags: Any) -> int:
    """Train a network and write a run folder.

    The folder holds history.csv (every epoch), summary.json, config.toml (complete: `chalknet train --config` repeats
    the run), model.safetensors, valid_samples.npz, and curves.png and curves.svg. Ctrl-C, SIGTERM
    and SIGHUP finish the epoch and write a checkpoint; after that, or after a kill, --resume goes on and ends with the
    same bits. With --ensemble N the folder's members/ holds a run a network, and model.safetensors all of them as one
    model.

    \b
    chalknet train --data notMNIST.npz --hidden 1000 --epochs 200 --seed 0 --out runs/first
    chalknet train --data digits.csv --split stratified --train 0.7 --valid 0.15
    chalknet train --data train.csv --valid valid.csv --test test.csv --ensemble 5
    """
    data, test = flags.pop("data"), flags.pop("test")
    source = replace(parsed_source(data, flags), valid_source=valid_file(flags), test_source=test or "")
    settings = parsed_settings(flags)
    given = {name: flags[name] for name in GIVEN_AS_THEY_ARE}
    if given["resume"] is not None:
        _refuse_beside_resume({name: flags[name] for name in NOT_OF_A_RESUMED_RUN} | settings)
    options = TrainOptions(data=source, settings=settings, default_out=given["out"] is None, **given)
    kernels = choose_kernels()  # before anything imports NumPy

    from chalknet.cli.progress import EpochProgress
    from chalknet.reporting.tables import statistics_table
    from chalknet.workflows.train import run_training

    writers = [log_writer(text) for text in logs]
    progress = EpochProgress(kernels, quiet=quiet)
    with stop_after_epoch(progress) as must_stop:
        run = run_training(replace(options, must_stop=must_stop), [progress, *writers])
    if not quiet:
        echo(statistics_table(run).text())
        echo(f"written to {run.folder}")
        echo("\n".join(_next_commands(run, [writer.how_to_look for writer in writers])))
    return 1 if any(writer.has_failed for writer in writers) else 0


# Flags that are fields of `TrainOptions`; those of the second row change what is trained, so --resume refuses them.
GIVEN_AS_THEY_ARE = (
    *("resume", "checkpoint_seconds", "checkpoint_epochs", "workers", "shards", "on"),
    *("recipe", "config", "out", "overwrite"),
)
NOT_OF_A_RESUMED_RUN = (*GIVEN_AS_THEY_ARE[6:], "class_names", "label_column", "image_size", "image_fit")


def _next_commands(run: Run, logs: Sequence[str]) -> Iterator[str]:
    """The commands that a run's reader may want now: its logs, a document, predictions."""
    folder = shlex.quote(str(run.folder))
    new = "FILE.png" if run.data.is_images else "FILE.csv"
    for command in (*filter(None, logs), f"chalknet report {folder}", f"chalknet predict {folder} {new}"):
        yield f"next: {command}"


LOGS = ("csv", "tensorboard", "mlflow")


def log_writer(text: str) -> LogWriter:
    """Return the writer that "csv:FILE", "tensorboard:FOLDER", "mlflow" or "mlflow:URI" names.

    Raises:
        ConfigError: another kind, with the nearest one, or no place.
        MissingExtraError: the package that it needs is not installed. OutputError: its place cannot be written.
    """
    from chalknet.artifacts.csv_writer import CsvWriter
    from chalknet.artifacts.mlflow_writer import MlflowWriter
    from chalknet.artifacts.tensorboard_writer import TensorBoardWriter

    kind, _, place = text.partition(":")
    if kind not in LOGS:
        raise ConfigError(f"--log {text} names no kind of log.{near_match(kind, LOGS)}")
    if not place and kind != "mlflow":
        raise ConfigError(f"--log {kind} needs a place, such as {kind}:{'log.csv' if kind == 'csv' else 'runs/board'}.")

    def tell(line: str) -> None:
        echo(f"chalknet: {line}", err=True)

    if kind == "mlflow":
        return MlflowWriter(place or None, tell=tell)
    return CsvWriter(place, tell=tell) if kind == "csv" else TensorBoardWriter(place, tell=tell)


def _refuse_beside_resume(given: dict[str, Any]) -> None:
    """Raise ConfigError for a setting beside --resume, which would make the resumed training another one."""
    asked = [name for name, value in given.items() if value is not None and (name, value) != ("overwrite", False)]
    names = [f"--{FLAG_OF_FIELD.get(name, name).replace('_', '-')}" for name in asked]
    if names:
        raise ConfigError(f"--resume goes on with the run as it was begun, so {', '.join(names)} cannot be given too.")
