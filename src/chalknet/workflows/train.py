"""`chalknet.train` and `chalknet.resume`, and the function that `chalknet train` calls."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chalknet.artifacts.atomic import locked, new_folder
from chalknet.artifacts.checkpoint import refuse_unfinished
from chalknet.artifacts.run_folder import (
    MEMBERS,
    REPLACEMENT,
    SUMMARY_FILE,
    finish_replacement,
    is_complete,
    refuse_finished,
)
from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.load import DataSource
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError, StoreError
from chalknet.training.callbacks import Callback, EpochCallback, as_callbacks
from chalknet.training.notes import split_notes
from chalknet.training.progress import NotebookProgress, in_notebook
from chalknet.training.recipes import DEFAULT_RECIPE
from chalknet.training.trainer import Run
from chalknet.workflows.ensemble import train_ensemble
from chalknet.workflows.resolve import resolve
from chalknet.workflows.sharding import start_shards
from chalknet.workflows.single_run import train_network
from chalknet.workflows.train_options import READ_OPTIONS, TrainOptions


def train(
    data: Dataset | DataSource,
    recipe: str | Recipe = DEFAULT_RECIPE,
    *,
    budget: str | float | None = None,
    valid: Dataset | DataSource | None = None,
    test: Dataset | DataSource | None = None,
    splits: Splits | None = None,
    sample_weights: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    callbacks: EpochCallback | Sequence[EpochCallback] | None = None,
    workers: int | None = None,
    shards: int | None = None,
    on: str | None = None,
    checkpoint_seconds: float | None = None,
    checkpoint_epochs: int | None = None,
    **settings: Any,
) -> Run:
    """Train one network or an ensemble, and optionally write a run folder.

    Args:
        data: a `Dataset`, or what `chalknet.load_data` takes.
        recipe: a recipe's name or a `Recipe`. "strong" becomes "images" for images, or
            "strong-dense" if hidden, activation, batch_norm or dropout is given. For rows of numbers
            it becomes "rows", or "strong-rows" if one of these or layers is given.
        budget: "fast", "default" or "best", or a number of seconds of CPU time: how much time a recipe
            given by name takes. A note says which settings that changes. Settings that you give win.
        valid: provided validation samples, as data. All samples of data then train, unless train_size
            says how many. Classes are matched by name.
        test: provided test samples, likewise.
        splits: index arrays, instead of the recipe's split.
        sample_weights: (N,) numbers >= 0, the weight of each sample of data in the training loss.
            Reported scores weigh samples equally.
        out: folder for history.csv, summary.json, config.toml, model.safetensors, valid_samples.npz,
            curves.png and curves.svg. It is created. None writes nothing.
        overwrite: whether out may hold a finished run.
        callbacks: called with each `EpochRecord` as it is finished, for an ensemble one member after
            the other. One callable or several, such as a `CsvWriter`. Notebooks always show the
            epochs.
        workers: number of threads, by default one per core. Results do not depend on it, except for the
            last digits of the torch engine.
        shards: number of Ray actors over which the samples are distributed, for data larger than one
            machine (docs/scale.md); None for this process alone. Results agree to rounding.
        on: the cluster for shards, "ray://HOST:PORT"; None for this machine.
        checkpoint_seconds: seconds between two checkpoints in out. By default the interval grows from
            0.5 to 60, and checkpoints take at most 3 % of the time.
        checkpoint_epochs: take a checkpoint after this number of epochs too.
        **settings: recipe fields to change, such as hidden=[500], epochs=20, seed=7, train_size=4800.
            If data is no Dataset, also arguments of `load_data`: class_names, label_column (label for
            short), image_size, image_fit and those for tables.

    Returns:
        The `Run`: history, network, data, splits and recipe.

    Raises:
        ConfigError: an unknown setting, an invalid value or splits that do not split the samples;
            nothing is written.
        DataError: data that cannot be read or split; nothing is written.
        DivergenceError: the loss is no longer finite.
        OutputError: out cannot be written, or holds a run.
        MissingExtraError: shards without Ray; nothing is written.
    """
    if "label" in settings:
        if "label_column" in settings:
            raise ConfigError("label and label_column both name the label column. Give one of them.")
        settings["label_column"] = settings.pop("label")
    options = TrainOptions(
        data=data,
        read_with={name: settings.pop(name) for name in READ_OPTIONS if name in settings},
        recipe=recipe,
        settings=settings,
        budget=budget,
        valid=valid,
        test=test,
        splits=splits,
        sample_weights=sample_weights,
        out=out,
        overwrite=overwrite,
        workers=workers,
        shards=shards,
        on=on,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_epochs=checkpoint_epochs,
    )
    return _with_warnings(run_training(options, _callbacks(callbacks)))


def resume(
    folder: str | Path,
    *,
    data: Dataset | DataSource | None = None,
    valid: Dataset | DataSource | None = None,
    test: Dataset | DataSource | None = None,
    splits: Splits | None = None,
    sample_weights: Any = None,
    callbacks: EpochCallback | Sequence[EpochCallback] | None = None,
    workers: int | None = None,
    shards: int | None = None,
    on: str | None = None,
    checkpoint_seconds: float | None = None,
    checkpoint_epochs: int | None = None,
) -> Run:
    """Continue an interrupted training from its last checkpoint.

    The result is bit-identical to that of an uninterrupted training. A training that was
    interrupted before its first checkpoint starts again.

    Args:
        folder: the folder that `train` was given as out.
        data: if the training used arrays in memory, the same arrays again; for files that have moved,
            their new path.
        valid: as data.
        test: as data.
        splits: if the training was given index arrays, the same ones; their digest is checked.
        sample_weights: if the training was given weights, the same ones; their digest is checked.
        callbacks: as in `train`.
        workers: as in `train`.
        shards: as in `train`; the number may differ from before.
        on: as in `train`.
        checkpoint_seconds: as in `train`.
        checkpoint_epochs: as in `train`.

    Raises:
        StoreError: the run is finished, was not started, or its checkpoint is damaged.
        ConfigError: arrays are missing that no file holds.
        DataError: the data is missing or has changed.
        DivergenceError, OutputError, MissingExtraError: as in `train`.
    """
    options = TrainOptions(
        data=data,
        valid=valid,
        test=test,
        splits=splits,
        sample_weights=sample_weights,
        resume=folder,
        workers=workers,
        shards=shards,
        on=on,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_epochs=checkpoint_epochs,
    )
    return _with_warnings(run_training(options, _callbacks(callbacks)))


def _callbacks(callbacks: EpochCallback | Sequence[EpochCallback] | None) -> list[Callback]:
    """Return the caller's callbacks, after one that shows progress in a notebook."""
    return [*([NotebookProgress()] if in_notebook() else []), *as_callbacks(callbacks)]


def _with_warnings(run: Run) -> Run:
    """Return the run with the notes of its data, after warning of missing classes and few validation samples."""
    for note in split_notes(run.data, run.splits, run.recipe):
        warnings.warn(note, stacklevel=3)
    return replace(run, notes=(*run.data.notes, *run.notes))


def run_training(options: TrainOptions, callbacks: Sequence[Callback] = ()) -> Run:
    """Train what the options describe; `train`, `resume` and the command line all call this.

    Raises:
        StoppedError: options.must_stop returned True; a checkpoint is in the folder.
        ChalknetError: see `train` and `resume`.
    """
    with _unfinished_run(options) as unfinished:
        context = resolve(options, unfinished)
        with (
            start_shards(options.shards, options.on, context.data, context.recipe) as shards,
            _new_run(options, context.recipe) as new,
        ):
            folder = unfinished or new
            train_it = train_ensemble if context.recipe.training.ensemble > 1 else train_network
            run = train_it(replace(context, folder=folder), options, callbacks, shards)
            if folder is not None and folder.name == REPLACEMENT and finish_replacement(folder.parent):
                seeds = [f"seed{one.recipe.training.seed}" for one in run.members]
                places = [folder.parent / MEMBERS / seed for seed in seeds]
                members = (replace(one, folder=place) for one, place in zip(run.members, places, strict=True))
                run = replace(run, folder=folder.parent, members=tuple(members))
            return run


@contextmanager
def _unfinished_run(options: TrainOptions) -> Iterator[Path | None]:
    """Lock the folder of the run to resume, and yield it or the subfolder of its replacement."""
    if options.resume is None or not Path(options.resume).is_dir():
        yield None if options.resume is None else Path(options.resume)
        return
    folder = Path(options.resume)
    with locked(folder):
        # The lock comes first: another process may be finishing the same replacement.
        was_replaced, beside = finish_replacement(folder), folder / REPLACEMENT
        if not was_replaced and not beside.is_dir() and is_complete(folder):
            raise StoreError(f"{folder}: holds a finished run; there is nothing to resume.")
        yield beside if beside.is_dir() else folder


@contextmanager
def _new_run(options: TrainOptions, recipe: Recipe) -> Iterator[Path | None]:
    """Create and lock the folder of a new run, and yield it; None if nothing shall be written.

    A run that replaces a finished one is trained in a subfolder, so that the finished one stays
    complete until then.
    """
    if options.resume is not None or (options.out is None and not options.default_out):
        yield None
        return
    default = Path("runs", f"{recipe.name}-{recipe.network.short_name}-seed{recipe.training.seed}")
    with (
        new_folder(default if options.out is None else Path(options.out), numbered=options.out is None) as folder,
        locked(folder),
    ):
        # An earlier --overwrite may have been killed after its training and before it had moved all files.
        finish_replacement(folder)
        if not options.overwrite:
            refuse_finished(folder, overwrite=False)
            refuse_unfinished(folder)
        shutil.rmtree(folder / REPLACEMENT, ignore_errors=True)
        if not (folder / SUMMARY_FILE).exists():
            yield folder
            return
        with new_folder(folder / REPLACEMENT) as beside:
            yield beside
