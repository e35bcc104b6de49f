"""Division of a data set into training, validation and test splits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalknet.config import CUSTOM_SPLIT, SPLIT_METHODS, Recipe
from chalknet.data.dataset import Dataset, IntArray
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import count_of, is_or_are

WRITEUP_SEED = 521


@dataclass(frozen=True, eq=False)
class Splits:
    """Three disjoint index arrays into a `Dataset`.

    Attributes:
        train: (n,) int64, n >= 1; their order is the order of the samples in a full batch.
        valid: (n,) int64; may be empty.
        test: (n,) int64; may be empty.
    """

    train: IntArray
    valid: IntArray
    test: IntArray

    @property
    def sizes(self) -> dict[str, int]:
        """Return the number of samples of each split."""
        return {"train": len(self.train), "valid": len(self.valid), "test": len(self.test)}

    def named(self) -> dict[str, IntArray]:
        """Return the index arrays by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def check_splits(splits: Any, n_samples: int) -> None:
    """Check index arrays of the caller.

    Validation and test splits may share samples; the training split must not share any.

    Args:
        splits: what must be `Splits`.
        n_samples: the number of samples of the data set.

    Raises:
        ConfigError: splits are not `Splits`, an index is out of range, train is empty, or train
            shares samples with another split.
    """
    if not isinstance(splits, Splits):
        raise ConfigError(f"splits must be Splits(train, valid, test), got {type(splits).__name__}.")
    for name, index in splits.named().items():
        array = np.asarray(index)
        if array.ndim != 1 or array.dtype.kind not in "ui":
            raise ConfigError(f"splits.{name} must be (n,) integers, got {array.shape} {array.dtype}.")
        bad = np.flatnonzero((array < 0) | (array >= n_samples))
        if bad.size:
            raise ConfigError(f"splits.{name}[{bad[0]}] is {array[bad[0]]}, but samples are 0..{n_samples - 1}.")
    if not len(splits.train):
        raise ConfigError("splits.train is empty; at least one training sample is needed.")
    for name in ("valid", "test"):
        both = np.intersect1d(splits.train, splits.named()[name])
        if both.size:
            raise ConfigError(
                f"splits.train and splits.{name} share {both.size} samples, the first of them {both[0]}, so that "
                "scores would be those of training samples. Leave them out of one."
            )


def split_dataset(
    data: Dataset,
    method: str = "writeup",
    train_size: float = 15_000,
    valid_size: float = 1_000,
    seed: int = WRITEUP_SEED,
) -> Splits:
    """Divide a data set into training, validation and test samples.

    Methods:
        writeup: NumPy's legacy generator shuffles arange(N). The first train_size samples train,
            the next valid_size validate, and the others test.
        random: the same with a `numpy.random.Generator`.
        stratified: every split has the same proportions of classes; every class has at least one
            training sample if there are enough samples.
        group: all samples of a group (font family, patient) are in one split. Sizes are met to
            within the size of the largest group.

    Samples on disk are divided in the same way, but each split keeps the order of the files. Splits
    that the source or the user provides are used as they are, and sizes refer to the other samples.
    valid_size is ignored if validation samples are provided.

    Args:
        data: the samples.
        method: "writeup", "random", "stratified" or "group".
        train_size: number of training samples if >= 1, or their fraction if in (0, 1).
        valid_size: number or fraction of validation samples; may be 0.
        seed: seed of the shuffle, in [0, 2**32).

    Raises:
        ConfigError: the method is unknown, or there are not enough samples for the sizes.
        DataError: the method is "group", and the provided test set shares groups with other samples.
    """
    if method == CUSTOM_SPLIT:
        raise ConfigError(
            f"{data.source}: split 'custom' stands for index arrays. Give them to chalknet.train as splits, or "
            f"choose another split (--split): {', '.join(SPLIT_METHODS)}."
        )
    if method not in SPLIT_METHODS:
        raise ConfigError(f"split must be one of {', '.join(SPLIT_METHODS)}, got {method!r}.")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"split_seed must be an integer from 0 to {2**32 - 1}, got {seed}.")
    pool = data.pool
    n_samples = len(pool)
    n_train = _count("train_size", train_size, n_samples)
    n_valid = _count("valid_size", 0 if data.provided_valid is not None else valid_size, n_samples)
    if n_train < 1:
        raise ConfigError(f"{data.source}: train_size {train_size} of {n_samples} samples leaves none to train on.")
    if n_train + n_valid > n_samples:
        raise ConfigError(
            f"{data.source}: {n_train} training and {n_valid} validation samples were asked for, but there are only "
            f"{n_samples}. Give another train_size (--train) and valid_size (--valid), or fractions such as 0.8 and "
            "0.1."
        )
    if method == "group":
        parts = _group_splits(data, pool, n_train, n_valid, seed)
    elif method == "stratified":
        parts = _stratified_splits(data.labels[pool], n_train, n_valid, seed)
    else:
        order = (
            shuffled_index(len(pool), seed)
            if method == "writeup"
            else np.random.default_rng(seed).permutation(len(pool))
        )
        parts = np.split(order, [n_train, n_train + n_valid])
    if data.is_on_disk:
        parts = [np.sort(index) for index in parts]  # so that a full batch reads the files forwards
    train, valid, rest = (pool[index] for index in parts)
    return Splits(
        train,
        valid if data.provided_valid is None else data.provided_valid,
        rest if data.provided_test is None else data.provided_test,
    )


def split_by_recipe(recipe: Recipe, data: Dataset) -> Splits:
    """Split data as a recipe says."""
    split = recipe.split
    return split_dataset(data, split.split, split.train_size, split.valid_size, split.split_seed)


def shuffled_index(n_samples: int, seed: int = WRITEUP_SEED) -> IntArray:
    """Return arange(n_samples) shuffled as by `numpy.random.seed(seed); numpy.random.shuffle(...)`.

    This is the order of the write-up. The streams of NumPy's legacy generator `RandomState` are
    frozen (NEP 19), so the order never changes.
    """
    index = np.arange(n_samples)
    np.random.RandomState(seed).shuffle(index)
    return index


def _count(name: str, size: float, n_samples: int) -> int:
    """Return a size as a number of samples.

    Raises:
        ConfigError: size is neither an integer >= 0 nor a fraction.
    """
    if 0 < size < 1:
        return round(size * n_samples)
    if not (math.isfinite(size) and size >= 0 and size == int(size)):
        raise ConfigError(f"{name} must be an integer number of samples, or a fraction between 0 and 1, got {size}.")
    return int(size)


def _stratified_splits(labels: IntArray, n_train: int, n_valid: int, seed: int) -> list[IntArray]:
    """Return positions for each split, with each class in proportion to within one sample."""
    rng = np.random.default_rng(seed)
    sizes = np.array([n_train, n_valid, len(labels) - n_train - n_valid])
    counts_by_split = _class_counts(np.bincount(labels), sizes, rng)
    members = [
        np.split(rng.permutation(np.flatnonzero(labels == k)), np.cumsum(row)[:2])
        for k, row in enumerate(counts_by_split)
    ]
    return [rng.permutation(np.concatenate([of_class[split] for of_class in members])) for split in range(3)]


def _class_counts(counts: IntArray, sizes: IntArray, rng: np.random.Generator) -> IntArray:
    """Return (K, 3) the number of samples of each class in each split; rows and columns are exact.

    Each number is count · size / N, rounded down or up. What rounding down leaves of a class goes
    to the splits that lack most samples, one each. This always fills the columns exactly: Ryser,
    Combinatorial Mathematics (1963), chapter 6, on matrices of zeros and ones.
    """
    counts_by_split: IntArray = np.outer(counts, sizes) // counts.sum()
    left, lacking = counts - counts_by_split.sum(axis=1), sizes - counts_by_split.sum(axis=0)
    for k in rng.permutation(len(counts)):
        parts = np.argsort(-lacking, kind="stable")[: left[k]]
        counts_by_split[k, parts] += 1
        lacking[parts] -= 1
    _train_every_class(counts_by_split)
    return counts_by_split


def _train_every_class(counts_by_split: IntArray) -> None:
    """Give the training split one sample of each class that it lacks.

    In exchange it gives one sample of the class with the largest surplus there.
    """
    above = counts_by_split - np.outer(counts_by_split.sum(axis=1), counts_by_split.sum(axis=0)) / counts_by_split.sum()
    for k in np.flatnonzero((counts_by_split[:, 0] == 0) & (counts_by_split.sum(axis=1) > 0)):
        split = int(counts_by_split[k].argmax())
        can_give = counts_by_split[:, 0] > 1
        if can_give.any():
            donor = int(np.where(can_give, above[:, 0] - above[:, split], -np.inf).argmax())
            for matrix in (counts_by_split, above):
                matrix[k, [0, split]] += (1, -1)
                matrix[donor, [0, split]] += (-1, 1)


def _group_splits(data: Dataset, pool: IntArray, n_train: int, n_valid: int, seed: int) -> list[IntArray]:
    """Return positions for each split; the largest groups are assigned first."""
    if data.groups is None:
        raise ConfigError(
            f"{data.source}: split 'group' needs a group for each sample, and there are none. Use 'stratified'."
        )
    groups = data.groups[pool]
    if data.provided_test is not None:
        shared = np.isin(groups, data.groups[data.provided_test])
        if shared.any():
            raise DataError(f"{data.source}: {shared.sum()} samples share a group with the provided test set.")
    rng = np.random.default_rng(seed)
    names, counts = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    wanted = np.array([n_train, n_valid, len(pool) - n_train - n_valid])
    lacking = wanted.astype(float)
    split_of_group = np.empty(len(names), dtype=np.int64)
    for g in order:
        # A split of size 0 gets nothing. Otherwise the split with the largest relative need is chosen.
        need = np.where(wanted > 0, lacking / np.maximum(wanted, 1), -np.inf)
        split_of_group[g] = int(np.argmax(need))
        lacking[split_of_group[g]] -= counts[g]
    split_of_sample = split_of_group[np.searchsorted(names, groups)]
    parts = [rng.permutation(np.flatnonzero(split_of_sample == p)) for p in range(3)]
    for name, members, n in zip(("train", "valid", "test"), parts, wanted, strict=True):
        if n and not len(members):
            raise ConfigError(
                f"{data.source}: {count_of(len(names), 'group')} {is_or_are(len(names))} too few to give the "
                f"{name} split any."
            )
    return parts
