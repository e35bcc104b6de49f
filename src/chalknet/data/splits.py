"""Which samples train, which choose and which judge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalknet.config import CUSTOM_SPLIT, SPLIT_METHODS
from chalknet.data.dataset import Dataset, IntArray
from chalknet.errors import ConfigError, DataError

WRITEUP_SEED = 521


@dataclass(frozen=True, eq=False)
class Splits:
    """Three disjoint index arrays into a `Dataset`, each (n,) int64; valid and test may be empty.

    The order of `train` is the order of the samples in a full batch.
    """

    train: IntArray
    valid: IntArray
    test: IntArray

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": len(self.train), "valid": len(self.valid), "test": len(self.test)}

    def named(self) -> dict[str, IntArray]:
        return {"train": self.train, "valid": self.valid, "test": self.test}


def check_splits(splits: Any, n_samples: int) -> None:
    """Raises ConfigError unless splits are `Splits` of n_samples samples, with a training part that shares none.

    Validation and test part may share samples.
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
        raise ConfigError("splits.train is empty; at least one sample must train.")
    for name in ("valid", "test"):
        both = np.intersect1d(splits.train, splits.named()[name])
        if both.size:
            raise ConfigError(
                f"splits.train and splits.{name} share {both.size} samples, the first of them {both[0]}, so that "
                "scores would be of what was learned. Leave them out of one."
            )


def split_dataset(
    data: Dataset,
    method: str = "writeup",
    train_size: float = 15_000,
    valid_size: float = 1_000,
    seed: int = WRITEUP_SEED,
) -> Splits:
    """Divides data into train, validation and test, the test part being what the first two leave.

    writeup: NumPy's legacy generator shuffles arange(N); the first train_size train, the next valid_size validate.
    random: the same by a `numpy.random.Generator`. stratified: every class is divided in the same proportions, and has
    at least one training sample if there are enough of them.
    group: whole groups are dealt out, so that no group (font family, patient) is on two sides; sizes are then met to
    within the largest group.

    Samples that stay on disk are divided in the same way, and each part keeps the order of the files.

    Where the source sets its own test samples apart, they are the test part, and the sizes are taken from the others;
    likewise validation samples of one's own, beside which valid_size is not used.

    Args:
        train_size, valid_size: samples when whole (>= 1), a fraction of them when between 0 and 1; valid_size may be 0.
        seed: of the shuffle, in [0, 2**32).

    Raises:
        ConfigError: an unknown method, or sizes that the data cannot fill.
        DataError: method "group" on data without groups.
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
            f"{n_samples}. Give another train_size and valid_size (--train, --valid), or fractions such as 0.8 and 0.1."
        )
    if method == "group":
        parts = _group_parts(data, pool, n_train, n_valid, seed)
    elif method == "stratified":
        parts = _stratified_parts(data.labels[pool], n_train, n_valid, seed)
    else:
        order = (
            shuffled_index(len(pool), seed)
            if method == "writeup"
            else np.random.default_rng(seed).permutation(len(pool))
        )
        parts = np.split(order, [n_train, n_train + n_valid])
    if data.is_on_disk:
        parts = [np.sort(part) for part in parts]  # so that a full batch reads the files forwards
    train, valid, rest = (pool[part] for part in parts)
    return Splits(
        train,
        valid if data.provided_valid is None else data.provided_valid,
        rest if data.provided_test is None else data.provided_test,
    )


def shuffled_index(n_samples: int, seed: int = WRITEUP_SEED) -> IntArray:
    """arange(n_samples) as `numpy.random.seed(seed); numpy.random.shuffle(...)` leaves it: the write-up's order.

    `RandomState` is NumPy's legacy generator, whose streams NumPy has frozen (NEP 19): the order is the same for ever.
    """
    index = np.arange(n_samples)
    np.random.RandomState(seed).shuffle(index)
    return index


def _count(name: str, size: float, n_samples: int) -> int:
    """size as a number of samples.

    Raises:
        ConfigError: a size that is neither an integer nor a fraction; nan and infinity are neither.
    """
    if 0 < size < 1:
        return round(size * n_samples)
    if not (math.isfinite(size) and size >= 0 and size == int(size)):
        raise ConfigError(f"{name} must be a whole number of samples, or a fraction between 0 and 1, got {size}.")
    return int(size)


def _stratified_parts(labels: IntArray, n_train: int, n_valid: int, seed: int) -> list[IntArray]:
    """Positions dealt out so that every part holds each class in its share, to within one sample."""
    rng = np.random.default_rng(seed)
    sizes = np.array([n_train, n_valid, len(labels) - n_train - n_valid])
    shares = _class_shares(np.bincount(labels), sizes, rng)
    members = [
        np.split(rng.permutation(np.flatnonzero(labels == k)), np.cumsum(share)[:2]) for k, share in enumerate(shares)
    ]
    return [rng.permutation(np.concatenate([of_class[part] for of_class in members])) for part in range(3)]


def _class_shares(counts: IntArray, sizes: IntArray, rng: np.random.Generator) -> IntArray:
    """(K, 3) samples of each class for each part: count · size / N rounded down or up by one, rows and columns exact.

    What rounding down leaves of a class goes to the parts that lack most, one sample each. Dealing to the columns that
    lack most always comes out even: Ryser, Combinatorial Mathematics (1963), chapter 6, on matrices of zeros and ones.
    """
    shares: IntArray = np.outer(counts, sizes) // counts.sum()
    left, lacking = counts - shares.sum(axis=1), sizes - shares.sum(axis=0)
    for k in rng.permutation(len(counts)):
        parts = np.argsort(-lacking, kind="stable")[: left[k]]
        shares[k, parts] += 1
        lacking[parts] -= 1
    _train_every_class(shares)
    return shares


def _train_every_class(shares: IntArray) -> None:
    """Give the training part a sample of each class that it lacks.

    In exchange it gives one of the class that has the most above its fraction there, and below it in the other part.
    """
    above = shares - np.outer(shares.sum(axis=1), shares.sum(axis=0)) / shares.sum()
    for k in np.flatnonzero((shares[:, 0] == 0) & (shares.sum(axis=1) > 0)):
        part = int(shares[k].argmax())
        can_give = shares[:, 0] > 1
        if can_give.any():
            donor = int(np.where(can_give, above[:, 0] - above[:, part], -np.inf).argmax())
            for matrix in (shares, above):
                matrix[k, [0, part]] += (1, -1)
                matrix[donor, [0, part]] += (-1, 1)


def _group_parts(data: Dataset, pool: IntArray, n_train: int, n_valid: int, seed: int) -> list[IntArray]:
    """Positions dealt out by group: the largest first, each to the part that lacks most of what it was promised."""
    if data.groups is None:
        raise ConfigError(
            f"{data.source}: split 'group' needs a group for each sample, and there are none. Use 'stratified'."
        )
    groups = data.groups[pool]
    if data.provided_test is not None:
        shared = np.isin(groups, data.groups[data.provided_test])
        if shared.any():
            raise DataError(f"{data.source}: {shared.sum()} samples share a group with the source's own test set.")
    rng = np.random.default_rng(seed)
    names, counts = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    wanted = np.array([n_train, n_valid, len(pool) - n_train - n_valid])
    lacking = wanted.astype(float)
    part_of_group = np.empty(len(names), dtype=np.int64)
    for g in order:
        # A part that was promised nothing gets nothing; else the choice falls on the largest relative need.
        need = np.where(wanted > 0, lacking / np.maximum(wanted, 1), -np.inf)
        part_of_group[g] = int(np.argmax(need))
        lacking[part_of_group[g]] -= counts[g]
    part = part_of_group[np.searchsorted(names, groups)]
    parts = [rng.permutation(np.flatnonzero(part == p)) for p in range(3)]
    for name, members, n in zip(("train", "valid", "test"), parts, wanted, strict=True):
        if n and not len(members):
            raise ConfigError(f"{data.source}: {len(names)} groups are too few to give the {name} part any.")
    return parts
