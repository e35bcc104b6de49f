"""Read the data that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chalknet.config import DataConfig
from chalknet.data.dataset import ARRAYS, Dataset
from chalknet.data.load import BUILTIN, HasEncoding, load_data
from chalknet.data.provided_splits import with_provided_splits
from chalknet.errors import DataError


def open_data(
    config: DataConfig, known_classes: Sequence[str] = (), *, is_training: bool = False, like: HasEncoding | None = None
) -> Dataset:
    """Read the data that a configuration names, and check their digests.

    Args:
        config: the section [data] of a configuration. Without a source the built-in data set is
            read.
        known_classes: as in `load_data`. Provided validation and test samples may have the classes
            of the training samples.
        like: a data set or a model whose columns a table must have, as in `load_data`.
        is_training: whether the command takes other data, so that messages can advise to name them.

    Raises:
        DataError: the data cannot be read, were never in a file, or have another digest.
    """
    if config.source == ARRAYS:
        raise DataError(
            "the configuration was written for arrays in memory, which are in no file."
            + " Save them in a file, and give it as data (--data)." * is_training
        )
    train = _opened(config, "", config.source or BUILTIN, known_classes, True, like)
    assert train is not None, "its source is always named"
    names = train.class_names
    valid, test = (
        _opened(config, split, getattr(config, f"{split}_source"), names, is_training, train)
        for split in ("valid", "test")
    )
    return with_provided_splits(train, valid, test)


def _opened(
    config: DataConfig, split: str, source: str, known_classes: Sequence[str], can_name: bool, like: HasEncoding | None
) -> Dataset | None:
    """Read the samples of the main source or of a provided split, and check their digest.

    Args:
        config: the section [data].
        split: "" for the main source, "valid" or "test" for a provided split.
        source: the path or name, or "" to return None.
        known_classes: as in `load_data`.
        can_name: whether the user can name another place.
        like: a data set or a model whose columns a table must have, or None.
    """
    if not source:
        return None
    known = getattr(config, f"{split}_sha256" if split else "sha256")
    argument = f"{split or 'data'} (--{split or 'data'})"
    moved = f"If the data has moved, name their new place with {argument}." if can_name else "Put it back."
    other = f"Name the right file with {argument}." if can_name else "Put the right file back."
    if known and source != BUILTIN and not Path(source).exists():
        raise DataError(f"{source}: no such file or folder. {moved}")
    data = load_data(
        source,
        class_names=config.class_names,
        label_column=config.label_column,
        image_size=config.image_size,
        image_fit=config.image_fit,
        color=config.color,
        known_classes=known_classes,
        like=like,
        **(config.table if like is None or like.encoding is None else config.table.of_file).changed,
    )
    if known and known != data.sha256:
        raise DataError(
            f"{source}: is not the data that the configuration was written for: sha256 {data.sha256}, "
            f"expected {known}. {other}"
        )
    return data
