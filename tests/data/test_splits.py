"""`split_dataset` has the order of the write-up and keeps the promises of every method."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.config import SPLIT_METHODS as METHODS
from chalknet.data.dataset import Dataset, dataset_from_arrays
from chalknet.data.splits import split_dataset
from chalknet.errors import ConfigError, DataError


def make_data(n: int, n_classes: int = 3, n_groups: int | None = None, provided_test: int = 0) -> Dataset:
    """n one-value rows; labels and groups spread unevenly but with every class there."""
    rng = np.random.default_rng(n)
    labels = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes) ** 2 // n_classes])
    groups = None if n_groups is None else np.arange(n) % n_groups
    test = np.arange(n - provided_test, n) if provided_test else None
    return dataset_from_arrays(np.arange(n, dtype=np.float32)[:, None], labels, None, groups, provided_test=test)


def test_the_writeup_split_has_numpys_legacy_order():
    state = np.random.get_state()
    np.random.seed(521)
    index = np.arange(18_724)
    np.random.shuffle(index)
    np.random.set_state(state)

    splits = split_dataset(make_data(18_724))

    assert splits.sizes == {"train": 15_000, "valid": 1_000, "test": 2_724}
    assert np.array_equal(splits.train, index[:15_000])
    assert np.array_equal(splits.valid, index[15_000:16_000])
    assert np.array_equal(splits.test, index[16_000:])


def test_splitting_leaves_numpys_global_generator_alone():
    before = np.random.get_state()[1].copy()
    for method in METHODS:
        split_dataset(make_data(40, n_groups=10), method, 0.6, 0.2)
    assert np.array_equal(before, np.random.get_state()[1])


@given(
    n=st.integers(12, 120),
    method=st.sampled_from(METHODS),
    train=st.floats(0.2, 0.7),
    valid=st.floats(0.1, 0.25),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_sample_is_in_exactly_one_split(n, method, train, valid, seed):
    splits = split_dataset(make_data(n, n_groups=n), method, train, valid, seed)

    assert np.array_equal(np.sort(np.concatenate([splits.train, splits.valid, splits.test])), np.arange(n))
    if method != "group":  # whole groups meet the sizes only nearly; the next test says how nearly
        assert (len(splits.train), len(splits.valid)) == (round(train * n), round(valid * n))


@given(n=st.integers(30, 200), n_groups=st.integers(6, 15), seed=st.integers(0, 1000))
def test_a_group_split_keeps_groups_together(n, n_groups, seed):
    data = make_data(n, n_groups=n_groups)
    splits = split_dataset(data, "group", 0.5, 0.25, seed)

    groups = [set(data.groups[part].tolist()) for part in splits.named().values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    largest = np.bincount(data.groups).max()
    assert abs(len(splits.train) - round(0.5 * n)) <= largest
    assert abs(len(splits.valid) - round(0.25 * n)) <= largest


@given(n=st.integers(20, 300), n_classes=st.integers(2, 9), train=st.floats(0.2, 0.7), seed=st.integers(0, 1000))
def test_a_stratified_split_keeps_class_proportions(n, n_classes, train, seed):
    """To within one sample, and one more for each class that is too rare for a training sample."""
    data = make_data(n, n_classes)
    splits = split_dataset(data, "stratified", train, 0.2, seed)
    # Each rare class gets a training sample in exchange for one of another class.
    n_rare = (data.class_counts * len(splits.train) / n < 1).sum()
    for part in splits.named().values():
        held = np.bincount(data.labels[part], minlength=n_classes)
        assert np.abs(held - data.class_counts * len(part) / n).max() <= 1.0 + n_rare


@pytest.mark.parametrize("n_single", [1, 5, 50])
def test_a_stratified_split_trains_every_class(n_single):
    labels = np.r_[np.zeros(100, int), np.ones(100, int), 2 + np.arange(n_single)]
    data = dataset_from_arrays(np.zeros((len(labels), 2)), labels)
    for seed in range(50):
        splits = split_dataset(data, "stratified", 0.8, 0.1, seed)
        assert len(np.unique(labels[splits.train])) == 2 + n_single
        assert splits.sizes["train"] == round(0.8 * len(labels))
    few = split_dataset(data, "stratified", 2, 0.1)  # fewer samples than classes
    assert splits.sizes["train"] > few.sizes["train"] == 2


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_determines_the_splits(method):
    data = make_data(200, n_groups=40)
    first, again, other = (split_dataset(data, method, 0.5, 0.2, seed) for seed in (7, 7, 8))
    assert np.array_equal(first.train, again.train)
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.train, other.train)


def test_a_provided_test_set_is_the_test_split():
    data = make_data(50, provided_test=10)
    splits = split_dataset(data, "random", 30, 10)
    assert np.array_equal(splits.test, np.arange(40, 50))
    assert np.array_equal(np.sort(np.concatenate([splits.train, splits.valid])), np.arange(40))


def test_validation_and_test_may_be_empty():
    splits = split_dataset(make_data(20), "random", 20, 0)
    assert splits.sizes == {"train": 20, "valid": 0, "test": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "sorted"}, "one of writeup, random, stratified, group, got 'sorted'"),
        ({"train_size": 45, "valid_size": 10}, "there are only 50"),
        ({"train_size": 0}, "leaves none to train on"),
        ({"train_size": float("nan")}, "train_size must be an integer number of samples, or a fraction"),
        ({"train_size": float("inf")}, "train_size must be"),
        ({"train_size": 20.5}, "got 20.5"),
        ({"train_size": 20, "valid_size": -0.1}, "valid_size must be"),
        ({"train_size": 20, "valid_size": -3}, "valid_size must be"),
        ({"train_size": 20, "valid_size": 3, "seed": -1}, "split_seed must be an integer from 0"),
        ({"train_size": 20, "valid_size": 3, "seed": 2**32}, "split_seed must be"),
    ],
)
def test_an_invalid_split_is_a_config_error(arguments, message):
    with pytest.raises(ConfigError, match=message):
        split_dataset(make_data(50), **arguments)


def test_a_group_split_without_groups_advises_another_one():
    with pytest.raises(ConfigError, match="Use 'stratified'"):
        split_dataset(make_data(50), "group", 30, 10)


def test_a_group_split_with_too_few_groups_names_the_empty_split():
    with pytest.raises(ConfigError, match="2 groups are too few to give the"):
        split_dataset(make_data(50, n_groups=2), "group", 0.5, 0.25)


def test_a_group_split_refuses_groups_of_the_provided_test_set():
    with pytest.raises(DataError, match="share a group with the provided test set"):
        split_dataset(make_data(50, n_groups=5, provided_test=10), "group", 0.5, 0.25)
