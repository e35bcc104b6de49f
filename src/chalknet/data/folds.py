"""Division of samples into cross-validation folds."""

from __future__ import annotations

import numpy as np

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset, IntArray
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError


def without_test(splits: Splits) -> IntArray:
    """Return the indices of all samples that are not test samples, in ascending order."""
    return np.sort(np.concatenate([splits.train, splits.valid]))


def fold_splits(data: Dataset, splits: Splits, n_folds: int, seed: int, *, by_group: bool = False) -> list[Splits]:
    """Return splits of which each has another fold as its validation part and trains on the others.

    The test part is that of `splits`. All other samples are divided into folds whose sizes differ
    by at most 1. The numbers of samples of a class in two folds also differ by at most 1, so a class
    with fewer samples than folds is in as many folds as it has samples.

    Args:
        data: the samples.
        splits: the division into training, validation and test samples.
        n_folds: number of folds, >= 2.
        seed: seed of the division.
        by_group: whether all samples of a group are in one fold. Folds then have equal sizes to
            within the size of the largest group, and classes are not balanced.

    Raises:
        ConfigError: there are fewer samples or groups than folds.
    """
    pool = without_test(splits)
    rng = np.random.default_rng(seed)
    fold = _group_folds(data, pool, n_folds, rng) if by_group else _stratified_folds(data.labels[pool], n_folds, rng)
    n_used = len(np.unique(fold))
    if n_used < n_folds:
        kind = "groups" if by_group else "samples"
        raise ConfigError(
            f"{data.source}: {n_folds} folds need at least {n_folds} {kind}, and only {n_used} are not in the test "
            f"split. Set a smaller folds (--folds), or 0."
        )
    return [Splits(pool[fold != number], pool[fold == number], splits.test) for number in range(n_folds)]


def member_splits(data: Dataset, splits: Splits, recipe: Recipe) -> list[Splits]:
    """Return the splits of each network of an ensemble.

    Args:
        data: all samples.
        splits: the splits of the whole.
        recipe: the recipe of the whole. With folds, network m, from 0 on, has fold m modulo the
            number of folds as its validation part.
    """
    n_members, n_folds = recipe.training.ensemble, recipe.training.folds
    if not n_folds:
        return [splits] * n_members
    by_group = recipe.split.split == "group"
    found = fold_splits(data, splits, n_folds, recipe.split.split_seed, by_group=by_group)
    return [found[k % n_folds] for k in range(n_members)]


def _stratified_folds(labels: IntArray, n_folds: int, rng: np.random.Generator) -> IntArray:
    """Return the fold of each sample: in random order, class after class, samples go to the folds in turn."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % n_folds
    return fold


def _group_folds(data: Dataset, pool: IntArray, n_folds: int, rng: np.random.Generator) -> IntArray:
    """Return the fold of each sample: groups, largest first, go to the fold with the fewest samples."""
    assert data.groups is not None, "split 'group' has checked it"
    _, group, counts = np.unique(data.groups[pool], return_inverse=True, return_counts=True)
    order = rng.permutation(len(counts))
    sizes, fold_of_group = np.zeros(n_folds, np.int64), np.empty(len(counts), np.int64)
    for number in order[np.argsort(-counts[order], kind="stable")]:
        fold_of_group[number] = sizes.argmin()
        sizes[fold_of_group[number]] += counts[number]
    return fold_of_group[group]
