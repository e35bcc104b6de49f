"""Training from a recipe to a run folder: what `chalknet.train(...)` and `chalknet train` both call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chalknet.artifacts.checkpoint import read_unfinished
from chalknet.artifacts.log_writer import LogWriter
from chalknet.artifacts.run_folder import CONFIG_FILE
from chalknet.config import DataConfig, Recipe, read_config
from chalknet.data.dataset import Dataset
from chalknet.data.load import load_data
from chalknet.data.own_sets import with_own_sets
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError
from chalknet.records import EpochRecord
from chalknet.training.recipes import DEFAULT, suited
from chalknet.training.recipes import recipe as recipe_named
from chalknet.training.trainer import Begun, Observer, Run
from chalknet.workflows.ensemble import go_on, is_unfinished_ensemble, train_ensemble
from chalknet.workflows.sharding import check_sharding, opened_shards
from chalknet.workflows.single_run import Checkpoints, Options, Watch, nobody, resume_run, train_run
from chalknet.workflows.task import Task, task_of, unfinished_task


def train(
    data: Dataset | str | Path,
    recipe: str | Recipe = DEFAULT,
    *,
    valid: Dataset | str | Path | None = None,
    test: Dataset | str | Path | None = None,
    splits: Splits | None = None,
    sample_weights: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    observe: Observer | Sequence[Observer] | None = None,
    workers: int | None = None,
    shards: int | None = None,
    on: str | None = None,
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
        observe: called with each `EpochRecord` as it is finished, of an ensemble with those of each member in turn; one
            callable or several, such as a `CsvWriter`, which writes a file for each member.
        workers: threads, by default one a core; results do not depend on it, but for the torch engine's last digits.
        shards: Ray actors that each hold a part of the samples and give its part of every gradient, for data larger
            than a machine (docs/scale.md); None for one machine. The numbers are the same to rounding.
        on: where they are, "ray://HOST:PORT"; left out, on this machine.
        settings: recipe fields to change, such as hidden=[500], epochs=20, seed=7, train_size=4800.
    Returns:
        the `Run`: history, network, and what they were made from.
    Raises:
        ConfigError: an unknown setting, an illegal value or splits that are no division; nothing is written.
        DataError: data that cannot be read or divided; nothing is written.
        DivergenceError: the loss stopped being finite.
        OutputError: out cannot be written, or holds a finished run.
        MissingExtraError: shards without Ray; nothing is written.
    """
    check_sharding(shards, on)
    start = recipe if isinstance(recipe, Recipe) else recipe_named(recipe)
    chosen = start.with_settings(**settings)  # wrong settings are named before data is read
    samples = _joined(data, valid, test)
    if not isinstance(recipe, Recipe):
        chosen, _ = suited(start, settings, samples)
    task = task_of(samples, chosen, splits, sample_weights)
    options = Options(None if out is None else Path(out), overwrite=overwrite, workers=workers)
    with opened_shards(shards, on, task.data, task.recipe) as holders:
        return train_settled(task, replace(options, shards=holders), observed_by(observe))


def train_settled(task: Task, options: Options = Options(), watch: Watch = nobody) -> Run:
    """`train` with everything settled; watch as in `train_ensemble`."""
    train_it = train_ensemble if task.recipe.training.ensemble > 1 else train_run
    return train_it(task, options, watch)


def resume(
    folder: str | Path,
    *,
    data: Dataset | str | Path | None = None,
    valid: Dataset | str | Path | None = None,
    test: Dataset | str | Path | None = None,
    splits: Splits | None = None,
    sample_weights: Any = None,
    observe: Observer | Sequence[Observer] | None = None,
    workers: int | None = None,
    shards: int | None = None,
    on: str | None = None,
    checkpoints: Checkpoints = Checkpoints(),
) -> Run:
    """Goes on with a training that was stopped, from its folder's checkpoint, and ends as it would have undisturbed.

    One that was stopped before its first checkpoint begins anew.

    Args:
        folder: that `train` was told as out.
        data, valid, test: where the training was on arrays in memory, the same again.
        splits, sample_weights: where it was given them, the same again; their digests are checked.
        observe, workers, shards, on: as `train`; a run may go on in another number of shards.
    Raises:
        StoreError: the run is finished, was not begun, or its checkpoint is not whole.
        ConfigError: something is missing that is in no file. DataError: the data is not there any more, or another.
        DivergenceError, OutputError: as `train`.
    """
    check_sharding(shards, on)
    place = Path(folder)
    recipe, source = unfinished_recipe(place)
    samples = None if data is None else _joined(data, valid, test)
    task = unfinished_task(place, recipe, source, samples, splits, sample_weights)
    with opened_shards(shards, on, task.data, task.recipe) as holders:
        options = Options(workers=workers, checkpoints=checkpoints, shards=holders)
        return resume_settled(place, task, options, observed_by(observe))


def unfinished_recipe(folder: Path) -> tuple[Recipe, DataConfig]:
    """What an unfinished run or ensemble was begun with.

    Raises:
        StoreError: it is finished, or there is nothing to go on from.
    """
    if is_unfinished_ensemble(folder):
        return read_config(folder / CONFIG_FILE)
    recipe, source, _ = read_unfinished(folder)
    return recipe, source


def resume_settled(folder: Path, task: Task, options: Options = Options(), watch: Watch = nobody) -> Run:
    """`resume` with everything settled; watch as in `train_ensemble`."""
    go_on_with_it = go_on if task.recipe.training.ensemble > 1 else resume_run
    return go_on_with_it(folder, task, options, watch)


def all_of(observers: Sequence[Observer]) -> Observer:
    """One observer that shows each record to several, in their order."""

    def show(record: EpochRecord) -> None:
        for observer in observers:
            observer(record)

    return show


def observed_by(observe: Observer | Sequence[Observer] | None) -> Watch:
    """Who watches each network: the observers, of which writers of logs write each network's own."""
    observers = (observe,) if callable(observe) else tuple(observe or ())
    if not all(map(callable, observers)):
        raise ConfigError(f"observe must be called with each record: a callable or a list of them, got {observe!r}.")

    @contextmanager
    def watch(begun: Begun) -> Iterator[Observer]:
        with ExitStack() as stack:
            yield all_of([stack.enter_context(o.of(begun)) if isinstance(o, LogWriter) else o for o in observers])

    return watch


def _joined(
    data: Dataset | str | Path, valid: Dataset | str | Path | None, test: Dataset | str | Path | None
) -> Dataset:
    """Samples, read where a path names them, with own sets set apart."""
    for name, given in {"data": data, "valid": valid, "test": test}.items():
        if not isinstance(given, (Dataset, str, Path)) and (given is not None or name == "data"):
            raise ConfigError(
                f"{name} must be a Dataset or a path, got {type(given).__name__}. "
                "chalknet.dataset_from_arrays(inputs, labels) makes a Dataset of arrays."
            )
    main = load_data(data) if isinstance(data, (str, Path)) else data
    names = main.class_names
    own = [load_data(one, known_classes=names) if isinstance(one, (str, Path)) else one for one in (valid, test)]
    return with_own_sets(main, *own)
