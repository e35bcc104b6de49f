"""Read the data that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chalknet.config import DataConfig
from chalknet.data.dataset import ARRAYS, Dataset
from chalknet.data.load import BUILTIN, load_data
from chalknet.data.provided_splits import with_provided_splits
from chalknet.errors import DataError


def open_data(config: DataConfig, known_classes: Sequence[str] = (), *, is_training: bool = False) -> Dataset:
    """Read the data that a configuration names, or the built-in set if it names none, and check its digest.

    Args:
        known_classes: as of `load_data`; provided validation and test sets know those of the training samples.
        is_training: whether any data may be named instead, and places for provided sets that have moved.
    Raises:
        DataError: it cannot be read, was never in a file, or is not the data that the configuration was written for.
    """
    if config.source == ARRAYS:
        raise DataError(
            "the configuration was written for arrays in memory, which are in no file."
            + " Save them in a file, and give it as data (--data)." * is_training
        )
    train = _opened(config, "", config.source or BUILTIN, known_classes, True)
    assert train is not None, "its source is always named"
    names = train.class_names
    valid, test = (
        _opened(config, part, getattr(config, f"{part}_source"), names, is_training) for part in ("valid", "test")
    )
    return with_provided_splits(train, valid, test)


def _opened(config: DataConfig, part: str, source: str, known_classes: Sequence[str], can_name: bool) -> Dataset | None:
    """Read the samples of the main source (part "") or of a provided set, and check their digest."""
    if not source:
        return None
    known = getattr(config, f"{part}_sha256" if part else "sha256")
    argument = f"{part or 'data'} (--{part or 'data'})"
    moved = f"If the data have moved, name their new place with {argument}." if can_name else "Put it back."
    other = f"Name the right file with {argument}." if can_name else "Put the right file back."
    if known and source != BUILTIN and not Path(source).exists():
        raise DataError(f"{source}: no such file or folder. {moved}")
    data = load_data(
        source,
        class_names=config.class_names,
        label_column=config.label_column,
        image_size=config.image_size,
        image_fit=config.image_fit,
        known_classes=known_classes,
    )
    if known and known != data.sha256:
        raise DataError(
            f"{source}: is not the data that the configuration was written for: sha256 {data.sha256}, "
            f"expected {known}. {other}"
        )
    return data
