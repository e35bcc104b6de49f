"""One training from a settled recipe to its run folder, and the data that a configuration names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from chalknet.artifacts.atomic import new_folder, write_files
from chalknet.artifacts.checkpoint import SECONDS, CheckpointWriter, read_unfinished, refuse_unfinished
from chalknet.artifacts.run_folder import CONFIG_FILE, HISTORY_FILE, MODEL_FILE, refuse_finished, run_files
from chalknet.config import GIVEN, DataConfig, Recipe
from chalknet.data.dataset import ARRAYS, Dataset
from chalknet.data.load import BUILTIN, load_data
from chalknet.data.own_sets import with_own_sets
from chalknet.data.splits import Splits, split_dataset
from chalknet.errors import ConfigError, DataError, DivergenceError
from chalknet.training.trainer import Checkpoint, Observer, Run, Trainer, run_epochs


@dataclass(frozen=True)
class Checkpoints:
    """When a training with a folder takes a checkpoint; see `CheckpointWriter`."""

    seconds: float = SECONDS
    epochs: int | None = None
    must_stop: Callable[[], bool] | None = None


KEPT_SCORES = 10_000_000  # validation samples times epochs, up to which a run folder keeps each one's score


def train_run(
    data: Dataset,
    splits: Splits,
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    numbered: bool = False,
    overwrite: bool = False,
    observe: Observer | None = None,
    workers: int | None = None,
    checkpoints: Checkpoints = Checkpoints(),
    start: Checkpoint | None = None,
) -> Run:
    """Trains one network with everything settled. With numbered, out is only the first of the names that are tried.

    The run's `folder` says where it was written. With start, it goes on in out from there.

    Raises:
        StoppedError: checkpoints.must_stop said so; a checkpoint lies in the folder.
    """
    few = out is not None and len(splits.valid) * recipe.training.epochs <= KEPT_SCORES
    trainer = Trainer(data, splits, recipe, workers=workers, keep_samples=few)
    if out is None:
        return run_epochs(trainer, observe)
    if not numbered and start is None:
        refuse_finished(Path(out), overwrite)
        refuse_unfinished(Path(out), overwrite)
    with new_folder(Path(out), numbered=numbered) as folder:
        keep = CheckpointWriter(folder, recipe, origin_of(data), **vars(checkpoints))
        try:
            run = replace(run_epochs(trainer, observe, start=start, keep=keep), folder=folder)
        except DivergenceError as error:
            raise _told_with_best(error, folder, origin_of(data)) from error
        write_files(folder, run_files(run, origin_of(data)))
        keep.clear()  # a finished run needs none, whatever becomes of its pictures
        write_pictures(run, folder)
    return run


def resume_run(
    folder: Path,
    data: Dataset,
    splits: Splits,
    *,
    watch: Callable[[int], AbstractContextManager[Observer | None]],
    workers: int | None = None,
    checkpoints: Checkpoints = Checkpoints(),
) -> Run:
    """Goes on from a folder's checkpoint with its samples; watch gets the number of epochs that are done.

    Raises:
        StoreError: there is no whole checkpoint.
    """
    recipe, _, start = read_unfinished(folder)
    with watch(len(start.history)) as observe:
        return train_run(
            data,
            splits,
            recipe,
            out=folder,
            observe=observe,
            workers=workers,
            checkpoints=checkpoints,
            start=start,
        )


def unfinished_samples(folder: Path, recipe: Recipe, source: DataConfig) -> tuple[Dataset, Splits]:
    """The samples of an unfinished run and their division, as its config.toml says.

    Raises:
        ConfigError: the division was of index arrays, which no file holds. DataError: as `open_data`.
    """
    if recipe.split.split == GIVEN:
        raise ConfigError(f"{folder}: was trained on index arrays of one's own, which its config.toml cannot hold.")
    data = open_data(source)
    return data, split_by(recipe, data)


def origin_of(data: Dataset) -> DataConfig:
    """How to read the same samples again."""
    return data.origin or DataConfig(data.source, data.sha256)


def split_by(recipe: Recipe, data: Dataset) -> Splits:
    """The division that a recipe asks for."""
    split = recipe.split
    return split_dataset(data, split.split, split.train_size, split.valid_size, split.split_seed)


def _told_with_best(error: DivergenceError, folder: Path, origin: DataConfig) -> DivergenceError:
    """The error with where the weights of the best epoch before lie, which are written."""
    said = str(error)
    if error.run is not None:
        files = run_files(error.run, origin)
        write_files(folder, {name: files[name] for name in (MODEL_FILE, HISTORY_FILE, CONFIG_FILE)})
        is_best = len(error.run.splits.valid) > 0
        which = "of the best epoch" if is_best else "of the last finite epoch"
        said += f" The weights {which}, {error.run.kept_epoch}, are in {folder / MODEL_FILE}."
    told = DivergenceError(said)
    told.run = error.run
    return told


def write_run(run: Run, folder: Path) -> None:
    """A run into an existing folder: first what cannot be made again, all of it together, then the pictures."""
    write_files(folder, run_files(run, origin_of(run.data)))
    write_pictures(run, folder)


def write_pictures(run: Run, folder: Path) -> None:
    """The curves of a run into its folder."""
    from chalknet.reporting.drawings.curves import plot_curves
    from chalknet.reporting.drawings.picture import drawing_bytes

    title = f"{run.network.architecture}, {run.recipe.name} recipe, seed {run.recipe.training.seed}"
    drawing = plot_curves(run, title=title)
    write_files(folder, {f"curves.{kind}": drawing_bytes(drawing, kind) for kind in ("png", "svg")})


def open_data(config: DataConfig) -> Dataset:
    """The data that a configuration names, checked against the digest it carries; the built-in set where it names none.

    Raises:
        DataError: it cannot be read, was never in a file, or is not the data that the configuration was written for.
    """
    if config.source == ARRAYS:
        raise DataError(
            "the configuration was written for arrays in memory, which it cannot name. Save them and give --data."
        )
    train = _opened(config, "", config.source or BUILTIN)
    valid, test = (_opened(config, part, getattr(config, f"{part}_source")) for part in ("valid", "test"))
    assert train is not None, "its source is always named"
    return with_own_sets(train, valid, test)


def _opened(config: DataConfig, part: str, source: str) -> Dataset | None:
    """The samples of the main source (part "") or of a part of one's own, checked against their digest."""
    if not source:
        return None
    data = load_data(
        source, class_names=config.class_names, label_column=config.label_column, image_size=config.image_size
    )
    flag, known = (f"--{part}", getattr(config, f"{part}_sha256")) if part else ("--data", config.sha256)
    if known and known != data.sha256:
        raise DataError(
            f"{source}: is not the data that the configuration was written for: sha256 {data.sha256}, "
            f"expected {known}. Name the right file with {flag}."
        )
    return data
