"""`audit` finds every planted fault with its cost, and finds nothing in clean data."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.data.audit import audit
from chalknet.data.dataset import Dataset, dataset_from_arrays
from chalknet.data.near_duplicates import find_duplicates, full_scale, group_duplicates, near_pairs
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError

N_TRAIN, N_VALID, N_TEST = 60, 20, 40
TRAIN = np.arange(N_TRAIN)
VALID = np.arange(N_TRAIN, N_TRAIN + N_VALID)
TEST = np.arange(N_TRAIN + N_VALID, N_TRAIN + N_VALID + N_TEST)
SPLITS = Splits(TRAIN, VALID, TEST)
TRAIN_0, VALID_0, TEST_0 = 0, N_TRAIN, N_TRAIN + N_VALID


@pytest.fixture
def images():
    """Noise: two of them are about 0.4 of full scale apart."""
    return np.random.default_rng(0).integers(0, 256, (N_TRAIN + N_VALID + N_TEST, 6, 6)).astype(np.uint8)


@pytest.fixture
def labels():
    return np.arange(N_TRAIN + N_VALID + N_TEST) % 4


def codes(result):
    return {check.code for check in result.findings}


def test_nothing_is_found_in_clean_data(images, labels):
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert result.findings == ()
    assert result.worst == ()
    assert result.check("imbalance").cost == 0.25
    assert result.sizes == {"train": N_TRAIN, "valid": N_VALID, "test": N_TEST}


def test_a_copy_across_splits_costs_its_fraction_of_test(images, labels):
    images[TEST_0 + 8] = images[TRAIN_0]
    labels[TEST_0 + 8] = labels[TRAIN_0]
    result = audit(dataset_from_arrays(images, labels), SPLITS)

    leak = result.check("test_copies_in_train")
    assert (leak.count, leak.total, leak.samples) == (1, N_TEST, (TEST_0 + 8,))
    assert leak.cost == 1 / N_TEST
    assert codes(result) == {"copies", "test_copies_in_train"}
    assert result.worst[0].samples == (TRAIN_0, TEST_0 + 8)
    assert result.worst[0].distance == 0


def test_a_similar_image_across_splits_is_a_near_duplicate(images, labels):
    images[TEST_0] = np.clip(images[TRAIN_0].astype(int) + 3, 0, 255)
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert result.check("test_near_duplicates_in_train").samples == (TEST_0,)
    assert codes(result) == {"near_duplicates", "test_near_duplicates_in_train"}


def test_near_duplicates_are_not_searched_in_rows_of_few_columns():
    rows = np.random.default_rng(0).uniform(size=(3_000, 3))
    few, many = (dataset_from_arrays(values, np.arange(3_000) % 4) for values in (rows, np.tile(rows, 6)))
    assert codes(audit(few, SPLITS)) == set()
    assert "near_duplicates" in codes(audit(few, SPLITS, near=0.03))
    assert "near_duplicates" in codes(audit(many, SPLITS))


def test_columns_that_number_the_rows_are_found():
    rows = np.c_[np.random.default_rng(0).normal(size=120), np.arange(120) + 1, np.arange(120) * 2]
    check = audit(dataset_from_arrays(rows, np.arange(120) % 4), SPLITS).check("row_numbers")
    assert (check.found, check.count, check.total, check.cost) == (True, 1, 3, None)


def test_a_sample_with_a_copy_and_a_near_duplicate_counts_once(images, labels):
    images[TEST_0] = images[0]
    images[4] = np.clip(images[0].astype(int) + 3, 0, 255)
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert result.check("test_copies_in_train").count == 1
    assert result.check("test_near_duplicates_in_train").count == 0


def test_each_pair_of_splits_has_a_check(images, labels):
    images[TEST_0] = images[VALID_0]
    images[VALID_0 + 4] = images[TRAIN_0]
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert codes(result) == {"copies", "test_copies_in_valid", "valid_copies_in_train"}
    assert result.check("valid_copies_in_train").cost == 1 / N_VALID


def test_copies_within_train_have_no_cost(images, labels):
    images[4] = images[0]
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert codes(result) == {"copies"}
    assert result.check("copies").cost is None


def test_copies_with_two_labels_cost_their_fraction_of_test(images, labels):
    images[TEST_0 + 1] = images[TRAIN_0]
    result = audit(dataset_from_arrays(images, labels), SPLITS)

    assert codes(result) == {"copies", "copies_of_two_labels"}  # and no leak: memory would get it wrong
    doubt = result.check("copies_of_two_labels")
    assert (doubt.count, doubt.details["images"], doubt.cost) == (2, 1, 1 / N_TEST)
    assert result.worst[0].labels == ("0", "1")


def test_near_duplicates_with_two_labels_have_a_check(images, labels):
    images[TEST_0 + 1] = np.clip(images[TRAIN_0].astype(int) + 2, 0, 255)
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert codes(result) == {"near_duplicates", "near_duplicates_of_two_labels"}
    assert result.check("near_duplicates_of_two_labels").cost == 1 / N_TEST


def test_copies_of_the_less_frequent_labels_are_unattainable(images, labels):
    five = TEST_0 + np.arange(5)
    images[five] = images[five[0]]
    labels[five] = [1, 1, 1, 2, 3]
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert result.check("unattainable").count == 2
    assert result.check("unattainable").cost == 2 / N_TEST
    assert result.check("unattainable").samples == (TEST_0 + 3, TEST_0 + 4)


def test_repeats_within_test_reduce_its_effective_size(images, labels):
    four = TEST_0 + 4 * np.arange(4)
    images[four] = images[four[0]]
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    repeats = result.check("test_repeats")
    assert repeats.count == 3
    # 36 samples count once, four as one: sum of squares 36 + 16
    assert repeats.details["effective_test_size"] == pytest.approx(40**2 / 52)
    assert repeats.cost == pytest.approx(np.sqrt(52 / 40) - 1)


def test_blank_images_are_listed_by_value_class_and_split(images, labels):
    images[0], images[1], images[TEST_0] = 255, 0, 255
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    assert result.check("blank").samples == (0, 1, TEST_0)
    assert result.check("blank").cost == 1 / N_TEST
    black, white = result.blanks
    assert (black.value, black.by_class, black.by_split) == (0, {"1": 1}, {"train": 1, "valid": 0, "test": 0})
    assert (white.value, white.by_class, white.by_split) == (255, {"0": 2}, {"train": 1, "valid": 0, "test": 1})


def test_constant_rows_are_not_blank_images():
    result = audit(dataset_from_arrays(np.arange(12.0)[:, None] * np.ones(3), np.arange(12) % 2))
    assert "blank" not in {check.code for check in result.checks}


def test_imbalance_is_found_from_a_ratio_of_two(images):
    labels = np.array([0] * 2 + [1])[np.arange(120) % 3]
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    imbalance = result.check("imbalance")
    assert imbalance.found
    assert (imbalance.count, imbalance.details["ratio"]) == (80, 2.0)
    assert imbalance.cost == np.mean(labels[TEST] == 0)

    labels[0] = 1
    assert not audit(dataset_from_arrays(images, labels), SPLITS).check("imbalance").found


def test_missing_classes_cost_their_fraction(images, labels):
    labels[TRAIN] = TRAIN % 3
    labels[TEST] = 1 + TEST % 3
    result = audit(dataset_from_arrays(images, labels), SPLITS)
    in_train, in_test = result.check("classes_missing_in_train"), result.check("classes_missing_in_test")
    assert (in_train.count, in_train.total, in_train.cost) == (1, 4, np.mean(labels[TEST] == 3))
    assert (in_test.count, in_test.cost) == (1, np.mean(labels == 0))


def test_groups_across_splits_are_counted(images, labels):
    groups = np.arange(120)
    groups[TEST_0 : TEST_0 + 3] = 0
    groups[TEST_0 + 3] = 1
    result = audit(dataset_from_arrays(images, labels, None, groups), SPLITS)
    check = result.check("test_groups_in_train")
    assert (check.count, check.details["groups"], check.cost) == (4, 2, 4 / N_TEST)
    assert codes(result) == {"test_groups_in_train"}


def test_without_splits_copies_and_labels_are_checked(images, labels):
    images[5] = images[0]
    result = audit(dataset_from_arrays(images, labels))
    assert codes(result) == {"copies", "copies_of_two_labels"}
    assert result.sizes == {"all": 120}
    assert result.check("copies_of_two_labels").cost is None


def test_samples_in_no_split_are_counted_as_unused(images, labels):
    result = audit(dataset_from_arrays(images, labels), Splits(TRAIN, VALID, TEST[:30]))
    assert result.sizes["unused"] == 10


def test_empty_validation_and_test_splits_are_accepted(images, labels):
    empty = np.empty(0, dtype=np.int64)
    result = audit(dataset_from_arrays(images, labels), Splits(np.arange(120), empty, empty))
    assert result.findings == ()


def test_near_zero_looks_for_copies_only(images, labels):
    images[TEST_0] = images[TRAIN_0] // 2 * 2
    assert audit(dataset_from_arrays(images, labels), SPLITS, near=0).findings == ()


def test_an_audit_is_json():
    images = np.zeros((12, 3, 3), dtype=np.uint8)
    result = audit(
        dataset_from_arrays(images, np.arange(12) % 2), Splits(np.arange(6), np.arange(6, 8), np.arange(8, 12))
    )
    again = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert again["checks"][0]["count"] == 12
    assert again["worst"][0]["distance"] == 0


@pytest.mark.parametrize("near", [-0.1, 1.0, float("nan")])
def test_a_threshold_outside_its_range_is_a_config_error(images, labels, near):
    with pytest.raises(ConfigError, match=r"near must be a number in \[0, 1\)"):
        audit(dataset_from_arrays(images, labels), SPLITS, near=near)


def test_splits_that_share_a_sample_are_refused_by_name(images, labels):
    with pytest.raises(ConfigError, match="sample 5 is in train and test"):
        audit(dataset_from_arrays(images, labels), Splits(TRAIN, VALID, np.append(TEST, 5)))
    with pytest.raises(ConfigError, match="name sample 120"):
        audit(dataset_from_arrays(images, labels), Splits(TRAIN, VALID, np.append(TEST, 120)))


# ---- the search against a slow loop ---------------------------------------------------------------------------------


def slow_distance(data: Dataset, i: int, j: int) -> float:
    """The definition, one pair at a time, with Python's own sums."""
    a, b = data.inputs[i].ravel().astype(float).tolist(), data.inputs[j].ravel().astype(float).tolist()
    if data.inputs.dtype == np.uint8:
        spans = [255.0] * len(a)
    else:
        rows = data.inputs.reshape(len(data), -1).astype(float)
        spans = [rows.max() - rows.min()] * len(a) if data.is_images else np.ptp(rows, axis=0).tolist()
    terms = [((x - y) / span) ** 2 for x, y, span in zip(a, b, spans, strict=True) if span > 0]
    return (sum(terms) / max(len(terms), 1)) ** 0.5


@st.composite
def crowded_data(draw):
    """Few levels, few values: copies, near duplicates and pairs right at the threshold are common."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(40, 2, 3), (40, 5), (30, 1, 1), (30, 1)]))
    levels = draw(st.sampled_from([2, 5, 40]))
    kind = draw(st.sampled_from(["uint8", "float32", "float64"]))
    inputs = rng.integers(0, levels, shape).astype(np.uint8)
    if kind != "uint8":
        inputs = (inputs * 0.1 - 3.0).astype(kind)
    return dataset_from_arrays(inputs, rng.integers(0, 3, shape[0]), ["a", "b", "c"]), rng.integers(0, 3, shape[0])


@given(crowded_data(), st.sampled_from([0.01, 0.03, 0.1, 0.3]))
def test_the_search_finds_the_pairs_of_a_slow_loop(case, near):
    data, split = case
    copies, near_duplicates = np.zeros((3, 3, 2), dtype=int), np.zeros((3, 3, 2), dtype=int)
    unsure = 0
    for i, j in combinations(range(len(data)), 2):
        p, q = sorted((split[i], split[j]))
        other = int(data.labels[i] != data.labels[j])
        distance = slow_distance(data, i, j)
        if np.array_equal(data.inputs[i], data.inputs[j]):
            copies[p, q, other] += 1
        elif distance <= near:
            near_duplicates[p, q, other] += 1
        # a pair exactly at the threshold may fall to either side by the last digit of the sum
        unsure += abs(distance - near) < 1e-9

    found = find_duplicates(data, split, 3, near)

    assert np.array_equal(found.copy_pairs, copies)
    assert np.abs(found.near_pairs - near_duplicates).sum() <= unsure


@given(crowded_data())
def test_copies_by_split_are_those_of_a_slow_loop(case):
    data, split = case
    found = find_duplicates(data, split, 3, 0.0)
    group = found.groups.of_sample
    for i in range(len(data)):
        others = [j for j in range(len(data)) if j != i and np.array_equal(data.inputs[i], data.inputs[j])]
        for p in range(3):
            same = any(split[j] == p and data.labels[j] == data.labels[i] for j in others)
            other = any(split[j] == p and data.labels[j] != data.labels[i] for j in others)
            assert (found.copy_same[group[i], p], found.copy_other[group[i], p]) == (same, other)


def test_skipped_blocks_hold_no_near_duplicates():
    """Several blocks of 1,024: pairs across block borders, against one plain product in float64."""
    rng = np.random.default_rng(3)
    images = np.clip(rng.integers(0, 200, (2_600, 1, 1)) + rng.integers(0, 12, (2_600, 3, 3)), 0, 255).astype(np.uint8)
    data = dataset_from_arrays(images, np.arange(2_600) % 2)
    rows = images.reshape(2_600, -1).astype(np.int64)
    norms = np.square(rows).sum(axis=1)
    squares = norms[:, None] + norms[None, :] - 2 * rows @ rows.T
    near = np.triu(squares <= (0.012 * 255) ** 2 * 9, 1) & (squares > 0)

    groups = group_duplicates(data, np.zeros(2_600, dtype=np.int64))
    blocks = []
    pairs = {
        tuple(sorted((int(groups.first[i]), int(groups.first[j]))))
        for a, b, _ in near_pairs(data, groups, 0.012, lambda done, total: blocks.append((done, total)))
        for i, j in zip(a, b, strict=True)
    }

    first = {int(groups.first[u]) for u in range(len(groups))}
    assert pairs == {(i, j) for i, j in zip(*map(np.ndarray.tolist, np.nonzero(near)), strict=True) if {i, j} <= first}
    assert len(pairs) > 1_000
    assert blocks[-1][0] == blocks[-1][1] < 6  # of the six pairs of blocks, some were passed over


def test_distances_of_rows_do_not_depend_on_units():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 3))
    split, labels = np.zeros(200, dtype=np.int64), np.arange(200) % 2
    metres = find_duplicates(dataset_from_arrays(rows, labels), split, 1, 0.03)
    mixed = find_duplicates(dataset_from_arrays(rows * [1.0, 1e6, 1e-6], labels), split, 1, 0.03)
    assert metres.near_pairs.sum() == mixed.near_pairs.sum() > 0


def test_extreme_float64_values_do_not_overflow():
    huge = np.finfo(np.float64).max
    rows = np.array([[huge, 1.0], [-huge, 1.0], [huge * 0.999, 1.0], [0.0, 1.0]])
    found = find_duplicates(dataset_from_arrays(rows, [0, 1, 0, 1]), np.zeros(4, dtype=np.int64), 1, 0.03)
    assert found.near_pairs.sum() == 1
    assert full_scale(dataset_from_arrays(rows, [0, 1, 0, 1])).n_compared == 1


def test_columns_that_never_vary_do_not_dilute_the_distance():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=(200, 2)), np.ones((200, 30))], axis=1)
    split, labels = np.zeros(200, dtype=np.int64), np.arange(200) % 2
    with_constants = find_duplicates(dataset_from_arrays(rows, labels), split, 1, 0.03)
    without = find_duplicates(dataset_from_arrays(rows[:, :2], labels), split, 1, 0.03)
    assert with_constants.near_pairs.tolist() == without.near_pairs.tolist()


def test_minus_zero_is_a_copy_of_zero():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [5.0, 2.0]])
    assert audit(dataset_from_arrays(rows, [0, 0, 1])).check("copies").count == 2


def test_many_equal_images_are_grouped_and_their_pairs_counted():
    images = np.zeros((3_000, 4, 4), dtype=np.uint8)
    splits = Splits(np.arange(2_000), np.arange(2_000, 2_500), np.arange(2_500, 3_000))
    result = audit(dataset_from_arrays(images, np.arange(3_000) % 2), splits)
    assert result.check("test_copies_in_train").cost == 1.0
    assert result.check("unattainable").count == 250
    assert sum(pair.copies for pair in result.pairs) == 3_000 * 2_999 // 2
