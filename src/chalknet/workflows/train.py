"""Training from options to a run folder: `chalknet.train`, `chalknet.resume`, and what `chalknet train` calls."""

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
from chalknet.data.splits import Splits
from chalknet.errors import StoreError
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
    data: Dataset | str | Path,
    recipe: str | Recipe = DEFAULT_RECIPE,
    *,
    valid: Dataset | str | Path | None = None,
    test: Dataset | str | Path | None = None,
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
    """Trains one network, or an ensemble of several, and, if told where, writes a run folder.

    Args:
        data: a `Dataset`, or what `chalknet.load_data` takes.
        recipe: a recipe's name or a `Recipe`. "strong" becomes "strong-rows" where samples are rows of numbers.
        valid, test: validation and test samples of one's own, as data; with valid, all samples of data train unless
            train_size says how many. Classes are matched by name.
        splits: index arrays of one's own, instead of the recipe's division.
        sample_weights: (N,) numbers >= 0, what each sample of data counts in training; scores count every sample alike.
        out: folder for history.csv, summary.json, config.toml, model.safetensors, valid_samples.npz and curves.png and
            .svg; made first.
        overwrite: whether out may hold a finished run.
        callbacks: called with each `EpochRecord` as it is finished; of an ensemble with those of each member. One
            callable or several, such as a `CsvWriter`, which writes a file for each member. A notebook shows the epochs
            in any case.
        workers: threads, by default one a core; results do not depend on it, but for the torch engine's last digits.
        shards: Ray actors that each hold a part of the samples and give its part of every gradient, for data larger
            than a machine (docs/scale.md); None for one machine. The numbers are the same to rounding.
        on: where they are, "ray://HOST:PORT"; left out, on this machine.
        checkpoint_seconds: seconds between two checkpoints in out; by default 0.5 at first, then ever more up to 60, so
            that they take at most 3 % of the time. checkpoint_epochs: a checkpoint after so many epochs too.
        settings: recipe fields to change, such as hidden=[500], epochs=20, seed=7, train_size=4800; and where data is a
            path, what `load_data` takes: class_names, label_column, image_size and image_fit.
    Returns:
        the `Run`: history, network, and what they were made from.
    Raises:
        ConfigError: an unknown setting, an illegal value or splits that are no division; nothing is written.
        DataError: data that cannot be read or divided; nothing is written.
        DivergenceError: the loss stopped being finite.
        OutputError: out cannot be written, or holds a finished run.
        MissingExtraError: shards without Ray; nothing is written.
    """
    options = TrainOptions(
        data=data,
        read_with={name: settings.pop(name) for name in READ_OPTIONS if name in settings},
        recipe=recipe,
        settings=settings,
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
    data: Dataset | str | Path | None = None,
    valid: Dataset | str | Path | None = None,
    test: Dataset | str | Path | None = None,
    splits: Splits | None = None,
    sample_weights: Any = None,
    callbacks: EpochCallback | Sequence[EpochCallback] | None = None,
    workers: int | None = None,
    shards: int | None = None,
    on: str | None = None,
    checkpoint_seconds: float | None = None,
    checkpoint_epochs: int | None = None,
) -> Run:
    """Goes on with a training that was stopped, from its folder's checkpoint, and ends as it would have undisturbed.

    One that was stopped before its first checkpoint begins anew.

    Args:
        folder: that `train` was told as out.
        data, valid, test: where the training was on arrays in memory, the same again; of files that have moved, where
            they are now.
        splits, sample_weights: where it was given them, the same again; their digests are checked.
        callbacks, workers, shards, on, checkpoint_seconds, checkpoint_epochs: as `train`; a run may go on in another
            number of shards.
    Raises:
        StoreError: the run is finished, was not begun, or its checkpoint is not whole.
        ConfigError: something is missing that is in no file. DataError: the data is not there any more, or another.
        DivergenceError, OutputError: as `train`.
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
    """Return the run, after warnings of classes without training samples and of too few validation samples."""
    for note in split_notes(run.data, run.splits, run.recipe):
        warnings.warn(note, stacklevel=3)
    return run


def run_training(options: TrainOptions, callbacks: Sequence[Callback] = ()) -> Run:
    """Train what the options say; `train`, `resume` and the command line all call this.

    Raises:
        as `train` and `resume`; StoppedError: options.must_stop returned True; a checkpoint is in the folder.
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
    """Lock the folder of the run to resume and yield it, or the subfolder of the run that is to replace it."""
    if options.resume is None or not Path(options.resume).is_dir():
        yield None if options.resume is None else Path(options.resume)
        return
    folder = Path(options.resume)
    with locked(folder):
        is_exchanged, beside = finish_replacement(folder), folder / REPLACEMENT
        if not is_exchanged and not beside.is_dir() and is_complete(folder):
            raise StoreError(f"{folder}: holds a finished run; there is nothing to resume.")
        yield beside if beside.is_dir() else folder


@contextmanager
def _new_run(options: TrainOptions, recipe: Recipe) -> Iterator[Path | None]:
    """Make and lock the folder that the options mean for a new run, and yield it; None to write nothing.

    A run that replaces a finished one is trained in a subfolder, so that the finished one stays whole until then.
    """
    if options.resume is not None or (options.out is None and not options.default_out):
        yield None
        return
    widths = "x".join(str(width) for width in recipe.network.hidden)
    default = Path("runs", f"{recipe.name}-{widths}-seed{recipe.training.seed}")
    with (
        new_folder(default if options.out is None else Path(options.out), numbered=options.out is None) as folder,
        locked(folder),
    ):
        finish_replacement(folder)  # what an earlier --overwrite has finished, but was killed before it moved all files
        if not options.overwrite:
            refuse_finished(folder, overwrite=False)
            refuse_unfinished(folder)
        shutil.rmtree(folder / REPLACEMENT, ignore_errors=True)
        if not (folder / SUMMARY_FILE).exists():
            yield folder
            return
        with new_folder(folder / REPLACEMENT) as beside:
            yield beside
