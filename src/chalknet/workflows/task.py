"""What is trained, as one value: samples, their division, the recipe, and what each sample counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import GIVEN, DataConfig, Recipe
from chalknet.data.dataset import ARRAYS, Dataset, arrays_sha256
from chalknet.data.load import BUILTIN, load_data
from chalknet.data.own_sets import with_own_sets
from chalknet.data.splits import Splits, check_splits, split_dataset
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import listed
from chalknet.training.sample_weights import checked_weights

UNKNOWN = "unknown"  # digest of index arrays that a run of an earlier version was begun with


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained.

    Attributes:
        data, splits, recipe: what is learnt, from which samples, and how.
        sample_weights: (N,) what each of all samples counts in training, or None; 1 for samples of one's own sets.
        origin: how to read the same samples again, with digests of what no file holds.
    """

    data: Dataset
    splits: Splits
    recipe: Recipe
    sample_weights: NDArray[np.float64] | None = None

    @property
    def origin(self) -> DataConfig:
        given = self.recipe.split.split == GIVEN
        return replace(
            self.data.origin or DataConfig(self.data.source, self.data.sha256),
            sample_weights_sha256="" if self.sample_weights is None else arrays_sha256(self.sample_weights),
            splits_sha256=arrays_sha256(*self.splits.named().values()) if given else "",
        )


def task_of(data: Dataset, recipe: Recipe, splits: Splits | None = None, sample_weights: Any = None) -> Task:
    """A task with the division that the recipe asks for, or a given one, and checked weights.

    Args:
        sample_weights: (n,), one a sample of data without the own sets that were joined to it, or None.
    Raises:
        ConfigError: splits that are no division of the samples.
        DataError: data that cannot be divided so; weights of another shape, negative or not finite.
    """
    if splits is None:
        splits = split_by(recipe, data)
    else:
        check_splits(splits, len(data))
        recipe = recipe.with_settings(split=GIVEN)
    return Task(data, splits, recipe, None if sample_weights is None else _of_all(sample_weights, data))


def unfinished_task(
    folder: Path,
    recipe: Recipe,
    source: DataConfig,
    data: Dataset | None = None,
    splits: Splits | None = None,
    sample_weights: Any = None,
) -> Task:
    """What an unfinished run was begun with: from its config.toml, and what no file holds as it is given again.

    Raises:
        ConfigError: arrays are missing that it was begun with, or given where it was begun without.
        DataError: the data is not there any more, or something given is not what it was begun with.
    """
    known = {
        "data": _digest_of_data(source) if source.source == ARRAYS else "",
        "splits": source.splits_sha256 or (UNKNOWN if recipe.split.split == GIVEN else ""),
        "sample_weights": source.sample_weights_sha256,
    }
    given = {"data": data, "splits": splits, "sample_weights": sample_weights}
    lacking = [name for name, digest in known.items() if digest and given[name] is None]
    if lacking:
        again = ", ".join(f"{name}=..." for name in lacking)
        raise ConfigError(
            f"{folder}: was trained on {listed(lacking)} in memory, which none of its files holds. Give the same in "
            f'Python: chalknet.resume("{folder}", {again}).'
        )
    extra = [name for name in ("splits", "sample_weights") if given[name] is not None and not known[name]]
    if extra:
        raise ConfigError(f"{folder}: was trained without {listed(extra)}; leave them out.")
    task = task_of(open_data(source) if data is None else data, recipe, splits, sample_weights)
    found = {"data": _digest_of_data(task.origin), "splits": task.origin.splits_sha256}
    found["sample_weights"] = task.origin.sample_weights_sha256
    for name, digest in (known | {"data": _digest_of_data(source)}).items():
        if digest not in ("", UNKNOWN, found[name]):
            raise DataError(
                f"{folder}: was begun with other {name}: sha256 {digest}, and of those given {found[name]}."
            )
    return task


def _digest_of_data(config: DataConfig) -> str:
    """Of the samples and of those of one's own, in one."""
    return " ".join(filter(None, (config.sha256, config.valid_sha256, config.test_sha256)))


def split_by(recipe: Recipe, data: Dataset) -> Splits:
    """The division that a recipe asks for."""
    split = recipe.split
    return split_dataset(data, split.split, split.train_size, split.valid_size, split.split_seed)


def open_data(config: DataConfig, known_classes: Sequence[str] = ()) -> Dataset:
    """The data that a configuration names, checked against the digest it carries; the built-in set where it names none.

    Args:
        known_classes: as `load_data`; sets of one's own know those of the training samples.
    Raises:
        DataError: it cannot be read, was never in a file, or is not the data that the configuration was written for.
    """
    if config.source == ARRAYS:
        raise DataError(
            "the configuration was written for arrays in memory, which it cannot name. Save them and give --data."
        )
    train = _opened(config, "", config.source or BUILTIN, known_classes)
    assert train is not None, "its source is always named"
    names = train.class_names
    valid, test = (_opened(config, part, getattr(config, f"{part}_source"), names) for part in ("valid", "test"))
    return with_own_sets(train, valid, test)


def _opened(config: DataConfig, part: str, source: str, known_classes: Sequence[str]) -> Dataset | None:
    """The samples of the main source (part "") or of a part of one's own, checked against their digest."""
    if not source:
        return None
    data = load_data(
        source,
        class_names=config.class_names,
        label_column=config.label_column,
        image_size=config.image_size,
        known_classes=known_classes,
    )
    flag, known = (f"--{part}", getattr(config, f"{part}_sha256")) if part else ("--data", config.sha256)
    if known and known != data.sha256:
        raise DataError(
            f"{source}: is not the data that the configuration was written for: sha256 {data.sha256}, "
            f"expected {known}. Name the right file with {flag}."
        )
    return data


def _of_all(sample_weights: Any, data: Dataset) -> NDArray[np.float64]:
    """Weights of all samples: 1 for those of own sets that stand at the end, where the weights end before them."""
    weights, last = np.asarray(sample_weights), int(data.pool.max(initial=-1))
    starts = [int(own[0]) for own in (data.own_valid, data.own_test) if own is not None and len(own) and own[0] > last]
    lengths = [*starts, len(data)]  # the validation set stands right behind the training set's own samples
    n = len(weights) if weights.ndim == 1 and len(weights) in lengths else lengths[0]
    checked = checked_weights(weights, n)
    return np.concatenate([checked, np.ones(len(data) - n)])
