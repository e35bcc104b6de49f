"""Training from a recipe to a run folder: what `chalknet.train(...)` and `chalknet train` both call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from chalknet.artifacts.checkpoint import read_unfinished
from chalknet.artifacts.run_folder import CONFIG_FILE
from chalknet.config import GIVEN, DataConfig, Recipe, read_config
from chalknet.data.dataset import Dataset
from chalknet.data.load import load_data
from chalknet.data.own_sets import with_own_sets
from chalknet.data.splits import Splits
from chalknet.records import EpochRecord
from chalknet.training.recipes import DEFAULT, suited
from chalknet.training.recipes import recipe as recipe_named
from chalknet.training.trainer import Observer, Run
from chalknet.workflows.ensemble import Watch, go_on, is_unfinished_ensemble, nobody, train_ensemble
from chalknet.workflows.single_run import Checkpoints, resume_run, split_by, train_run, unfinished_samples


def train(
    data: Dataset | str | Path,
    recipe: str | Recipe = DEFAULT,
    *,
    valid: Dataset | str | Path | None = None,
    test: Dataset | str | Path | None = None,
    splits: Splits | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    observe: Observer | Sequence[Observer] | None = None,
    workers: int | None = None,
    **settings: Any,
) -> Run:
    """Trains one network, or an ensemble of several, and, if told where, writes a run folder.

    Args:
        data: a `Dataset`, or what `chalknet.load_data` takes.
        recipe: a recipe's name or a `Recipe`. "strong" becomes "strong-rows" where samples are rows of numbers.
        valid, test: validation and test samples of one's own, as data; with valid, all samples of data train unless
            train_size says how many. Classes are matched by name.
        splits: index arrays of one's own, instead of the recipe's division.
        out: folder for history.csv, summary.json, config.toml, model.safetensors, valid_samples.npz and curves.png and
            .svg; made first.
        overwrite: whether out may hold a finished run.
        observe: called with each `EpochRecord` as it is finished, of an ensemble with those of each member in turn; one
            callable or several, such as a `CsvWriter`.
        workers: threads, by default one a core; results do not depend on it.
        settings: recipe fields to change, such as hidden=[500], epochs=20, seed=7, train_size=4800.
    Returns:
        the `Run`: history, network, and what they were made from.
    Raises:
        ConfigError: an unknown setting or an illegal value; nothing is written.
        DataError: data that cannot be read or divided; nothing is written.
        DivergenceError: the loss stopped being finite.
        OutputError: out cannot be written, or holds a finished run.
    """
    start = recipe if isinstance(recipe, Recipe) else recipe_named(recipe)
    chosen = start.with_settings(**settings)  # wrong settings are named before data is read
    own = [load_data(one) if isinstance(one, (str, Path)) else one for one in (valid, test)]
    samples = with_own_sets(load_data(data) if isinstance(data, (str, Path)) else data, *own)
    if not isinstance(recipe, Recipe):
        chosen, _ = suited(start, settings, samples)
    if splits is None:
        splits = split_by(chosen, samples)
    else:
        chosen = chosen.with_settings(split=GIVEN)
    place = None if out is None else Path(out)
    watch = _observed_by(observe)
    return train_settled(samples, splits, chosen, out=place, overwrite=overwrite, watch=watch, workers=workers)


def train_settled(
    data: Dataset,
    splits: Splits,
    recipe: Recipe,
    *,
    out: Path | None = None,
    numbered: bool = False,
    overwrite: bool = False,
    watch: Watch = nobody,
    workers: int | None = None,
    checkpoints: Checkpoints = Checkpoints(),
) -> Run:
    """`train` with everything settled; watch as in `train_ensemble`. With numbered, out is the first name tried."""
    options: dict[str, Any] = {"workers": workers, "checkpoints": checkpoints}
    where: dict[str, Any] = {"out": out, "numbered": numbered, "overwrite": overwrite}
    if recipe.training.ensemble > 1:
        return train_ensemble(data, splits, recipe, watch=watch, **where, **options)
    with watch(1, 0) as observe:
        return train_run(data, splits, recipe, observe=observe, **where, **options)


def resume(
    folder: str | Path,
    *,
    observe: Observer | Sequence[Observer] | None = None,
    workers: int | None = None,
    checkpoints: Checkpoints = Checkpoints(),
) -> Run:
    """Goes on with a training that was stopped, from its folder's checkpoint, and ends as it would have undisturbed.

    Args:
        folder: that `train` was told as out.
        observe, workers: as `train`.
    Raises:
        StoreError: the run is finished, or there is no whole checkpoint.
        DataError: the data is not there any more, or another.
        DivergenceError, OutputError: as `train`.
    """
    place = Path(folder)
    recipe, source = unfinished_recipe(place)
    data, splits = unfinished_samples(place, recipe, source)
    return resume_settled(
        place, data, splits, recipe, watch=_observed_by(observe), workers=workers, checkpoints=checkpoints
    )


def unfinished_recipe(folder: Path) -> tuple[Recipe, DataConfig]:
    """What an unfinished run or ensemble was begun with.

    Raises:
        StoreError: it is finished, or there is nothing to go on from.
    """
    if is_unfinished_ensemble(folder):
        return read_config(folder / CONFIG_FILE)
    recipe, source, _ = read_unfinished(folder)
    return recipe, source


def resume_settled(
    folder: Path,
    data: Dataset,
    splits: Splits,
    recipe: Recipe,
    *,
    watch: Watch,
    workers: int | None = None,
    checkpoints: Checkpoints = Checkpoints(),
) -> Run:
    """`resume` with the samples read; watch as in `train_ensemble`."""
    options: dict[str, Any] = {"workers": workers, "checkpoints": checkpoints}
    if is_unfinished_ensemble(folder):
        return go_on(folder, data, splits, recipe, watch=watch, **options)
    return resume_run(folder, data, splits, watch=lambda done: watch(1, done), **options)


def all_of(observers: Sequence[Observer]) -> Observer:
    """One observer that shows each record to several, in their order."""

    def show(record: EpochRecord) -> None:
        for observer in observers:
            observer(record)

    return show


def _observed_by(observe: Observer | Sequence[Observer] | None) -> Watch:
    show = all_of((observe,) if callable(observe) else tuple(observe or ()))

    def watch(member: int, done: int) -> AbstractContextManager[Observer | None]:
        del member, done
        return nullcontext(show)

    return watch
