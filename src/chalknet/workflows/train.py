"""Training from a recipe to a run folder: what `chalknet.train(...)` and `chalknet train` both call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chalknet.artifacts.atomic import new_folder, write_files
from chalknet.artifacts.run_folder import refuse_finished, run_files
from chalknet.config import DataConfig, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.load import load_data
from chalknet.data.splits import Splits, split_dataset
from chalknet.errors import DataError
from chalknet.records import EpochRecord
from chalknet.training.recipes import recipe as recipe_named
from chalknet.training.trainer import Run, Trainer

Observer = Callable[[EpochRecord], None]
BUILT_IN = "glyphs"


def train(
    data: Dataset | str | Path,
    recipe: str | Recipe = "writeup",
    *,
    splits: Splits | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    observe: Observer | None = None,
    **settings: Any,
) -> Run:
    """Trains one network and, if told where, writes its run folder.

    Args:
        data: a `Dataset`, or what `chalknet.load_data` takes.
        recipe: a recipe's name or a `Recipe`.
        splits: index arrays of one's own, instead of the recipe's division.
        out: folder for history.csv, summary.json, config.toml, model.safetensors and curves.png and .svg; made first.
        overwrite: whether out may hold a finished run.
        observe: called with each `EpochRecord` as it is finished.
        settings: recipe fields to change, such as hidden=[500], epochs=20, seed=7, train_size=4800.
    Returns:
        the `Run`: history, network, and what they were made from.
    Raises:
        ConfigError: an unknown setting or an illegal value; nothing is written.
        DataError: data that cannot be read or divided; nothing is written.
        DivergenceError: the loss stopped being finite.
        OutputError: out cannot be written, or holds a finished run.
    """
    chosen = (recipe if isinstance(recipe, Recipe) else recipe_named(recipe)).with_settings(**settings)
    config = DataConfig(source=str(data)) if isinstance(data, (str, Path)) else data_config(data)
    samples = load_data(data) if isinstance(data, (str, Path)) else data
    return train_run(samples, chosen, config, splits=splits, out=out, overwrite=overwrite, observe=observe)


def train_run(
    data: Dataset,
    recipe: Recipe,
    config: DataConfig,
    *,
    splits: Splits | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    observe: Observer | None = None,
) -> Run:
    """`train` with everything settled; config says how to read the data again."""
    trainer = Trainer(data, splits or split_by(recipe, data), recipe)
    if out is None:
        return run_epochs(trainer, observe)
    folder = Path(out)
    refuse_finished(folder, overwrite)
    with new_folder(folder):
        run = run_epochs(trainer, observe)
        write_run(run, folder, config)
    return run


def run_epochs(trainer: Trainer, observe: Observer | None = None) -> Run:
    """All of a trainer's epochs, each shown to observe."""
    for record in trainer.epochs():
        if observe is not None:
            observe(record)
    return trainer.run()


def split_by(recipe: Recipe, data: Dataset) -> Splits:
    """The division that a recipe asks for."""
    split = recipe.split
    return split_dataset(data, split.split, split.train_size, split.valid_size, split.split_seed)


def write_run(run: Run, folder: Path, config: DataConfig) -> None:
    """All files of a run into an existing folder, together."""
    from chalknet.report.drawings.curves import plot_curves
    from chalknet.report.drawings.picture import drawing_bytes

    title = f"{run.network.architecture}, {run.recipe.name} recipe, seed {run.recipe.training.seed}"
    drawing = plot_curves(run, title=title)
    pictures = {f"curves.{kind}": drawing_bytes(drawing, kind) for kind in ("png", "svg")}
    write_files(folder, {**run_files(run, absolute(config, run.data)), **pictures})


def data_config(data: Dataset) -> DataConfig:
    return DataConfig(source=data.source, sha256=data.sha256)


def absolute(config: DataConfig, data: Dataset) -> DataConfig:
    """config with the digest of what was read, and a path that holds from any folder."""
    source = config.source if config.source == BUILT_IN else str(Path(config.source).absolute())
    known = source if config.source == BUILT_IN or Path(source).exists() else config.source
    return DataConfig(known, data.sha256, config.class_names, config.label_column, config.image_size)


def open_data(config: DataConfig) -> Dataset:
    """The data that a configuration names, checked against the digest it carries.

    Raises:
        DataError: it cannot be read, or it is not the data that the configuration was written for.
    """
    column: str | int | None = config.label_column
    data = load_data(
        config.source or BUILT_IN,
        class_names=config.class_names,
        label_column=column,
        image_size=config.image_size,
    )
    if config.sha256 and config.sha256 != data.sha256:
        raise DataError(
            f"{config.source}: is not the data that the configuration was written for: sha256 {data.sha256}, "
            f"expected {config.sha256}. Name the right file with --data."
        )
    return data
