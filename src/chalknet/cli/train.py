"""`chalknet train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import cloup

from chalknet.cli.command import command
from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import (
    FLAG_OF_FIELD,
    MACHINE_FIELDS,
    data_option,
    data_options,
    out_option,
    overwrite_option,
    parse_settings,
    parse_source,
    quiet_option,
    recipe_groups,
    recipe_option,
    recipe_options,
    set_option,
    take_valid_file,
)
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE, FOLDER, Words
from chalknet.cli.stop import stop_after_epoch
from chalknet.config import near_match
from chalknet.errors import ConfigError
from chalknet.workflows.train_options import TrainOptions

if TYPE_CHECKING:
    from chalknet.artifacts.log_writer import LogWriter
    from chalknet.training.trainer import Run


@command()
@cloup.option_group(
    "Start here",
    data_option("Training data.  [default: glyphs, the built-in images of letters]"),
    recipe_option("Complete set of settings to start from. Options below change single settings."),
    out_option("Folder of the run.  [default: runs/RECIPE-HIDDEN-seedN, numbered if it exists]"),
)
@cloup.option_group(
    "Data",
    recipe_options("split", "train_size", "valid_size"),
    cloup.option("--test", type=FILE, metavar="FILE", help="Test samples in a file of their own."),
    recipe_options("split_seed"),
    data_options,
)
@recipe_groups()
@cloup.option_group(
    "Output",
    overwrite_option("Write into --out even if it holds a finished run."),
    cloup.option(
        "--log",
        "logs",
        type=Words(("csv:", "tensorboard:", "mlflow")),
        multiple=True,
        metavar="KIND:PLACE",
        help="Log every epoch to csv:FILE, tensorboard:FOLDER or mlflow[:URI]. Repeat it for several logs.",
    ),
    cloup.option(
        "--checkpoint-seconds",
        type=float,
        metavar="X",
        help="Seconds between two checkpoints.  [default: 0.5 to 60, so that they take at most 3 % of the time]",
    ),
    cloup.option("--checkpoint-epochs", type=int, metavar="N", help="Write a checkpoint after every N epochs as well."),
    quiet_option("Show no progress and no statistics."),
)
@cloup.option_group(
    "Machines",
    recipe_options(*MACHINE_FIELDS),
    cloup.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of threads. It does not change results, except for rounding in engine torch.  "
        "[default: one per core]",
    ),
    cloup.option(
        "--shards",
        type=click.IntRange(min=1),
        metavar="N",
        help="Split the samples over N Ray actors, for data that exceed one machine (docs/scale.md).",
    ),
    cloup.option(
        "--on", metavar="ray://HOST:PORT", help="Ray cluster for --shards.  [default: a new one on this machine]"
    ),
)
@cloup.option_group(
    "Repeat or resume a run",
    cloup.option("--config", type=FILE, metavar="FILE", help="Start from the config.toml of an earlier run."),
    cloup.option(
        "--resume",
        type=FOLDER,
        metavar="FOLDER",
        help="Resume the unfinished run in this folder. Give --data if the data have moved.",
    ),
    set_option,
)
def train(quiet: bool, logs: tuple[str, ...], **flags: Any) -> int:
    """Train a network on images or table rows.

    The run folder gets history.csv (scores of every epoch), summary.json, curves.png, curves.svg,
    model.safetensors, valid_samples.npz and config.toml. `chalknet train --config config.toml`
    repeats the run. With --ensemble N, members/ holds a run folder for each network, and
    model.safetensors holds all networks as one model.

    The defaults below are those of recipe strong for images. For table rows, recipe strong becomes
    strong-rows, which has other defaults. A note says what was adapted to the data.

    Ctrl-C finishes the current epoch and writes a checkpoint. --resume continues from there and
    gives the same bits as a run without a break. It also works after a crash.

    Examples:
        chalknet train --data notMNIST.npz --hidden 1000 --epochs 200 --seed 0 --out runs/first
        chalknet train --data digits.csv --split stratified --train 0.7 --valid 0.15
        chalknet train --data train.csv --valid valid.csv --test test.csv --ensemble 5
    """
    data, test = flags.pop("data"), flags.pop("test")
    source = replace(parse_source(data, flags), valid_source=take_valid_file(flags), test_source=test or "")
    settings = parse_settings(flags)
    given = {name: flags[name] for name in PASSED_FLAGS}
    if given["resume"] is not None:
        _check_resume({name: flags[name] for name in REFUSED_WITH_RESUME} | settings)
    options = TrainOptions(data=source, settings=settings, default_out=given["out"] is None, **given)
    kernels = choose_kernels()  # This must happen before NumPy is imported.

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
        echo("\n".join(_next_commands(run, [writer.view_command for writer in writers])))
    return 1 if any(writer.has_failed for writer in writers) else 0


# Flags that are fields of `TrainOptions`. Those in the second row change what is trained, so
# they cannot be combined with --resume.
PASSED_FLAGS = (
    *("resume", "checkpoint_seconds", "checkpoint_epochs", "workers", "shards", "on"),
    *("recipe", "config", "out", "overwrite"),
)
REFUSED_WITH_RESUME = (*PASSED_FLAGS[6:], "class_names", "label_column", "image_size", "image_fit")


def _next_commands(run: Run, logs: Sequence[str]) -> Iterator[str]:
    """Yield lines with commands to continue with: show the logs, write a report, predict."""
    folder = shlex.quote(str(run.folder))
    new = "FILE.png" if run.data.is_images else "FILE.csv"
    for line in (*filter(None, logs), f"chalknet report {folder}", f"chalknet predict {folder} {new}"):
        yield f"next: {line}"


LOG_KINDS = ("csv", "tensorboard", "mlflow")


def log_writer(text: str) -> LogWriter:
    """Return the log writer that a value of --log names.

    Args:
        text: "csv:FILE", "tensorboard:FOLDER", "mlflow" or "mlflow:URI".

    Raises:
        ConfigError: the kind is unknown, or the place is missing.
        MissingExtraError: the kind needs a package that is not installed.
        OutputError: the place cannot be written.
    """
    from chalknet.artifacts.csv_writer import CsvWriter
    from chalknet.artifacts.mlflow_writer import MlflowWriter
    from chalknet.artifacts.tensorboard_writer import TensorBoardWriter

    kind, _, place = text.partition(":")
    if kind not in LOG_KINDS:
        raise ConfigError(f"--log {text}: unknown kind of log {kind!r}.{near_match(kind, LOG_KINDS)}")
    if not place and kind != "mlflow":
        raise ConfigError(f"--log {kind} needs a place, such as {kind}:{'log.csv' if kind == 'csv' else 'runs/board'}.")

    def report_failure(line: str) -> None:
        echo(f"chalknet: {line}", err=True)

    if kind == "mlflow":
        return MlflowWriter(place or None, on_failure=report_failure)
    return (
        CsvWriter(place, on_failure=report_failure)
        if kind == "csv"
        else TensorBoardWriter(place, on_failure=report_failure)
    )


def _check_resume(given: dict[str, Any]) -> None:
    """Raise ConfigError if settings are given with --resume, since a run resumes with its own."""
    asked = [name for name, value in given.items() if value is not None and (name, value) != ("overwrite", False)]
    flags = [f"--{FLAG_OF_FIELD.get(name, name).replace('_', '-')}" for name in asked]
    if flags:
        raise ConfigError(f"--resume continues the run with its own settings. Leave out {', '.join(flags)}.")
