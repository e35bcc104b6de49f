"""Resolve the options of a training: read the data, split it, and adapt the recipe to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.checkpoint import read_unfinished
from chalknet.config import COLUMN_CHOICES, CUSTOM_SPLIT, DataConfig, Recipe
from chalknet.data.dataset import ARRAYS, Dataset
from chalknet.data.load import load_data
from chalknet.data.open_data import open_data
from chalknet.data.provided_splits import with_provided_splits
from chalknet.data.splits import Splits, check_splits, split_by_recipe
from chalknet.data.tables.frames import is_frame
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import listed
from chalknet.training.callbacks import RunContext
from chalknet.training.notes import split_notes
from chalknet.training.recipes import adapt_to_data, with_category_inputs
from chalknet.training.sample_weights import checked_weights
from chalknet.workflows.train_options import TrainOptions

UNKNOWN_DIGEST = "unknown"  # in place of the digest of index arrays, which earlier versions did not store


def resolve(options: TrainOptions, unfinished: Path | None = None) -> RunContext:
    """Read the data of a training, split it, and adapt the recipe to it; nothing is written.

    Args:
        options: the options of the training.
        unfinished: the folder of a run to resume, or None.

    Raises:
        ConfigError: splits that do not split the samples, or folds with validation samples.
        DataError: data that cannot be read or split; weights of another shape, negative or not finite.
        StoreError: no run was started in the folder to resume.
    """
    if unfinished is not None:
        return _resolve_unfinished(unfinished, options)
    base, known = options.base()
    data = _samples(options, known)
    if not options.is_adaptable:
        return _split_data(data, base.with_settings(**options.settings), options)
    splits = options.splits if isinstance(options.splits, Splits) else None
    recipe, notes = adapt_to_data(base, options.settings, data, splits, options.budget)
    context = _split_data(data, recipe, options)
    return replace(context, notes=(*notes, *context.notes))


def _samples(options: TrainOptions, known: DataConfig) -> Dataset:
    """Read the samples, with provided validation and test samples as splits of their own.

    Args:
        options: the options of the training.
        known: the data that a config file names.
    """
    main: Any = options.data
    places = (main, options.valid, options.test)
    if (main is None or options.resume is not None) and all(isinstance(one, str | Path | None) for one in places):
        source, valid, test = (str(one or "") for one in places)  # for a resumed run, new paths of its data
        main = DataConfig(source, valid_source=valid, test_source=test)
    if isinstance(main, DataConfig):
        return open_data(known.updated(main, is_same=options.resume is not None), is_training=True)
    for name, one in {"data": main, "valid": options.valid, "test": options.test}.items():
        is_known = isinstance(one, (Dataset, str, Path, tuple)) or is_frame(one)
        if not is_known and (one is not None or name == "data"):
            raise ConfigError(
                f"{name} must be a Dataset, a path, a table or a tuple (X, y) of samples and labels, got "
                f"{type(one).__name__}."
            )
    if options.read_with and isinstance(main, Dataset):
        raise ConfigError(
            f"{listed(list(options.read_with))} says how data is read, but data is a Dataset. Leave it out."
        )
    data = main if isinstance(main, Dataset) else load_data(main, **options.read_with)
    decided = () if data.encoding is None else COLUMN_CHOICES
    read_with = {name: value for name, value in options.read_with.items() if name not in decided}
    provided = (
        one
        if one is None or isinstance(one, Dataset)
        else load_data(one, known_classes=data.class_names, like=data, **read_with)
        for one in (options.valid, options.test)
    )
    return with_provided_splits(data, *provided)


def _split_data(data: Dataset, recipe: Recipe, options: TrainOptions) -> RunContext:
    """Split data as the recipe says or as the caller did, and check the caller's weights."""
    splits, weights = options.splits, options.sample_weights
    recipe, notes = with_category_inputs(recipe, data.encoding, data.source)
    if splits is None:
        splits = split_by_recipe(recipe, data)
    else:
        check_splits(splits, len(data))
        recipe = recipe.with_settings(split=CUSTOM_SPLIT)
    if recipe.training.folds and len(splits.valid) and (options.splits is not None or data.provided_valid is not None):
        raise ConfigError(
            f"{data.source}: has validation samples of its own, so there is nothing to divide into folds. Leave out "
            "the validation samples to train with folds, or set folds=0 (--folds 0)."
        )
    weights = None if weights is None else _weights_of_all(weights, data)
    return RunContext(data, splits, recipe, weights, (*notes, *split_notes(data, splits, recipe, weights)))


def _resolve_unfinished(folder: Path, options: TrainOptions) -> RunContext:
    """Resolve a training from its folder's config.toml.

    Arrays that were passed in memory are in no file and must be passed again.

    Raises:
        ConfigError: such arrays are missing, or were passed but not used originally.
        DataError: the data is missing, or differs from the data that the training was started with.
    """
    recipe, source = read_unfinished(folder)
    known = {
        "data": digest_of_data(source) if source.source == ARRAYS else "",
        "splits": source.splits_sha256 or (UNKNOWN_DIGEST if recipe.split.split == CUSTOM_SPLIT else ""),
        "sample_weights": source.sample_weights_sha256,
    }
    # The command line always passes a DataConfig, which is empty if no data was given.
    nothing = {"data": isinstance(options.data, DataConfig) and not options.data.source}
    lacking = [
        name for name, digest in known.items() if digest and (getattr(options, name) is None or nothing.get(name))
    ]
    if lacking:
        again = ", ".join(f"{name}=..." for name in lacking)
        raise ConfigError(
            f"{folder}: was trained with {listed(lacking)} in memory, which no file holds. Pass the same "
            f'in Python: chalknet.resume("{folder}", {again}).'
        )
    extra = [n for n in ("splits", "sample_weights") if getattr(options, n) is not None and not known[n]]
    if extra:
        raise ConfigError(f"{folder}: was trained without {listed(extra)}. Leave them out.")
    context = _split_data(_samples(options, source), recipe, options)
    origin = context.origin
    found = {
        "data": digest_of_data(origin),
        "splits": origin.splits_sha256,
        "sample_weights": origin.sample_weights_sha256,
    }
    for name, digest in (known | {"data": digest_of_data(source)}).items():
        if digest not in ("", UNKNOWN_DIGEST, found[name]):
            raise DataError(f"{folder}: was started with other {name}: expected sha256 {digest}, got {found[name]}.")
    return replace(context, is_resumed=True)


def digest_of_data(config: DataConfig) -> str:
    """Return one digest for all data sources."""
    return " ".join(filter(None, (config.sha256, config.valid_sha256, config.test_sha256)))


def _weights_of_all(sample_weights: Any, data: Dataset) -> NDArray[np.float64]:
    """Return the weights of all samples; provided validation and test samples weigh 1.

    The caller's weights may end before such samples, which are at the end of the data.
    """
    weights, last = np.asarray(sample_weights), int(data.pool.max(initial=-1))
    starts = [
        int(own[0])
        for own in (data.provided_valid, data.provided_test)
        if own is not None and len(own) and own[0] > last
    ]
    lengths = [*starts, len(data)]  # provided samples follow directly after the training samples
    n = len(weights) if weights.ndim == 1 and len(weights) in lengths else lengths[0]
    checked = checked_weights(weights, n)
    return np.concatenate([checked, np.ones(len(data) - n)])
