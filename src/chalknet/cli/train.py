"""`chalknet train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cloup

from chalknet.cli.command import command
from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import (
    DATA_TEXT,
    FLAG_OF_FIELD,
    GLYPHS_DEFAULT,
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
    split_options,
    table_options,
)
from chalknet.cli.output import echo
from chalknet.cli.parameters import COUNT, FILE, FOLDER, Words
from chalknet.cli.stop import stop_with_checkpoint
from chalknet.cli.watch_page import page_of, watch_option
from chalknet.config import READING_FIELDS, near_match
from chalknet.errors import ConfigError
from chalknet.training.budgets import BUDGETS
from chalknet.workflows.train_options import TrainOptions

if TYPE_CHECKING:
    from chalknet.artifacts.log_writer import LogWriter
    from chalknet.serving.watch.live_training import LiveTraining
    from chalknet.training.trainer import Run


@command()
@cloup.option_group(
    "Start here",
    data_option(f"{DATA_TEXT}  {GLYPHS_DEFAULT}"),
    recipe_option("Complete set of settings to start from. Options below change single settings."),
    cloup.option(
        "--budget",
        type=Words(BUDGETS),
        metavar="fast|default|best|SECONDS",
        help="How much time to take: settings of the recipe that suit it, or the longest training that is estimated "
        "to take at most so many seconds of one core. Options below win.  [default: default]",
    ),
    out_option(
        "Folder of the run. If the default exists, -2, -3, ... is appended.  [default: runs/RECIPE-NETWORK-seedN]"
    ),
)
@cloup.option_group(
    "Data",
    split_options,
    data_options,
)
@cloup.option_group("Table", table_options)
@recipe_groups()
@cloup.option_group(
    "Output",
    overwrite_option("Write into --out even if it holds a finished run."),
    cloup.option(
        "--log",
        "logs",
        type=Words(("csv:", "tensorboard:", "mlflow")),
        multiple=True,
        metavar="csv:FILE|tensorboard:FOLDER|mlflow[:URI]",
        help="Log every epoch. tensorboard and mlflow need the extra of their name. Repeat it for several logs.",
    ),
    cloup.option(
        "--checkpoint-seconds",
        type=float,
        metavar="X",
        help="Seconds between two checkpoints.  [default: 0.5, doubled up to 60; longer if writing takes more than 3 % "
        "of the time]",
    ),
    cloup.option(
        "--checkpoint-epochs",
        type=int,
        metavar="N",
        help="Largest number of epochs between two checkpoints.  [default: no limit]",
    ),
    watch_option("Show the curves on a page in the browser while it trains."),
    quiet_option("Show no progress and no statistics."),
)
@cloup.option_group(
    "Machines",
    recipe_options(*MACHINE_FIELDS),
    cloup.option(
        "--workers",
        type=COUNT,
        metavar="N",
        help="Number of CPU threads. It does not change results, except for rounding in engine torch.  "
        "[default: one per core]",
    ),
    cloup.option(
        "--shards",
        type=COUNT,
        metavar="N",
        help="Distribute the samples over N Ray workers, for data that does not fit on one machine. On CPUs only, and "
        "without batch normalization and mixup. Needs the extra ray.",
    ),
    cloup.option(
        "--on",
        metavar="ray[://HOST:PORT]",
        help="With --shards: the Ray cluster.  [default: ray, a new cluster on this machine]",
    ),
)
@cloup.option_group(
    "Repeat or resume a run",
    cloup.option(
        "--config", type=FILE, metavar="FILE", help="Start from the config.toml of an earlier run instead of a recipe."
    ),
    cloup.option(
        "--resume",
        type=FOLDER,
        metavar="FOLDER",
        help="Resume the unfinished run in this folder with its own settings. You may add --data, --valid and --test "
        "(if files have moved), --workers, --shards, --on, --log and checkpoint flags.",
    ),
    set_option,
)
def train(quiet: bool, logs: tuple[str, ...], watch: str | None, **flags: Any) -> int:
    """Train a network on images or table rows.

    The run folder gets history.csv (scores of every epoch), summary.json, curves.png, curves.svg,
    model.safetensors, valid_samples.npz and config.toml. `chalknet train --config config.toml`
    repeats the run. With --ensemble N, members/ holds a run folder for each network, and
    model.safetensors holds all networks as one model.

    For images, recipe strong becomes images, a convolutional network, whose defaults are shown below.
    If --hidden, --activation, --batch-norm or --dropout is given, it becomes strong-dense. For table
    rows it becomes rows, a bag of five networks, and defaults after "tables" apply. With one of
    these flags or --layers, it becomes strong-rows, one network. Notes say what was adapted to the
    data.

    Ctrl-C finishes the current update and writes a checkpoint. --resume continues from the
    checkpoint, also after a crash. The result is bit-identical to that of an uninterrupted run. A
    finished run cannot be trained further.

    Examples:
        chalknet train --data notMNIST.npz --hidden 1000 --epochs 200 -o runs/n
        chalknet train --data digits.csv --train 0.7 --valid 0.15
        chalknet train --data train.csv --valid valid.csv --test test.csv
    """
    source = parse_source(flags.pop("data"), flags)
    settings = parse_settings(flags)
    given = {name: flags[name] for name in PASSED_FLAGS}
    if given["resume"] is not None:
        _check_resume({name: flags[name] for name in REFUSED_WITH_RESUME} | settings)
    given["budget"] = _parse_budget(given["budget"])
    options = TrainOptions(data=source, settings=settings, default_out=given["out"] is None, **given)
    kernels = choose_kernels()  # This must happen before NumPy is imported.

    from chalknet.cli.progress import EpochProgress, slow_reading
    from chalknet.reporting.tables import statistics_table
    from chalknet.workflows.train import run_training

    writers = [log_writer(text) for text in logs]
    progress = EpochProgress(kernels, quiet=quiet)
    told = slow_reading(source.source or "the data", quiet=quiet, is_over=lambda: progress.has_begun)
    page = _page(watch)
    with stop_with_checkpoint(progress) as must_stop, told, page_of(page, watch):
        shown = [] if page is None else [page]
        run = run_training(replace(options, must_stop=must_stop), [progress, *shown, *writers])
        if page is not None:
            page.finish()
    if not quiet:
        echo(statistics_table(run).text())
        echo(f"written to {run.folder}")
        echo("\n".join(_next_commands(run, [writer.view_command for writer in writers])))
    return 1 if any(writer.has_failed for writer in writers) else 0


def _page(watch: str | None) -> LiveTraining | None:
    """Return the page of the training, or None without --watch."""
    if watch is None:
        return None
    from chalknet.serving.watch.live_training import LiveTraining

    return LiveTraining()


# Flags that are fields of `TrainOptions`. Those in the second row change what is trained, so
# they cannot be combined with --resume.
PASSED_FLAGS = (
    *("resume", "checkpoint_seconds", "checkpoint_epochs", "workers", "shards", "on"),
    *("recipe", "config", "out", "overwrite", "budget"),
)
REFUSED_WITH_RESUME = (*PASSED_FLAGS[6:], *READING_FIELDS)


def _parse_budget(text: str | None) -> str | float | None:
    """Return a budget as a name or as a number of seconds."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


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
