"""Cross-validation folds: every sample is in one, and classes and groups are divided as promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.data.dataset import Dataset
from chalknet.data.folds import fold_splits
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError


def rows_of(labels, groups=None):
    """Return samples with these labels."""
    labels = np.asarray(labels)
    names = tuple(map(str, range(max(2, labels.max() + 1))))
    return Dataset(np.arange(len(labels), dtype=float)[:, None], labels, names, groups=groups)


@given(st.lists(st.integers(0, 5), min_size=12, max_size=80), st.integers(2, 6), st.integers(0, 99), st.integers(0, 3))
def test_folds_divide_what_is_not_tested(labels, n_folds, seed, n_test):
    data, order = rows_of(labels), np.random.default_rng(seed).permutation(len(labels))
    whole = Splits(order[n_test + 3 :], order[n_test : n_test + 3], order[:n_test])
    folds = fold_splits(data, whole, n_folds, seed)
    assert sorted(np.concatenate([one.valid for one in folds])) == sorted(order[n_test:])
    for one in folds:
        assert sorted(np.concatenate([one.train, one.valid])) == sorted(order[n_test:])
        assert one.test is whole.test
    sizes = [len(one.valid) for one in folds]
    assert max(sizes) - min(sizes) <= 1
    counts = np.array([np.bincount(data.labels[one.valid], minlength=6) for one in folds])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()  # so a rare class is spread over folds


def test_the_seed_decides_the_folds():
    data, whole = rows_of([0, 1] * 20), Splits(np.arange(40), np.arange(0), np.arange(0))
    one, again, other = (fold_splits(data, whole, 4, seed)[0].valid for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.integers(2, 3), st.integers(0, 99))
def test_a_group_is_in_one_fold(groups, n_folds, seed):
    groups = np.r_[groups, 0, 1, 2]
    data = rows_of(np.arange(len(groups)) % 3, groups)
    folds = fold_splits(data, Splits(np.arange(len(groups)), np.arange(0), np.arange(0)), n_folds, seed, by_group=True)
    assert sorted(np.concatenate([one.valid for one in folds])) == list(range(len(groups)))
    assert all(not set(groups[one.valid]) & set(groups[one.train]) for one in folds)
    sizes = [len(one.valid) for one in folds]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()


def test_fewer_samples_or_groups_than_folds_are_refused():
    data = rows_of([0, 1, 0, 1, 0, 1], np.array([0, 0, 0, 1, 1, 1]))
    whole = Splits(np.arange(4), np.arange(0), np.arange(4, 6))
    with pytest.raises(ConfigError, match="5 folds need at least 5 samples, and only 4 are not in the test split"):
        fold_splits(data, whole, 5, 0)
    with pytest.raises(ConfigError, match="3 folds need at least 3 groups"):
        fold_splits(data, whole, 3, 0, by_group=True)
