import numpy as np
import pytest

from chalknet.data import preprocess
from chalknet.data.preprocess import IGNORED_SCALE, SAMPLES_AT_ONCE, Scaling, fit_scaling

ROWS = np.random.default_rng(0).normal(3, [1.0, 20.0, 0.5], (300, 3))


def test_standard_scaling_gives_training_rows_mean_0_and_deviation_1():
    train = np.arange(0, 300, 2)
    scaled = fit_scaling("standard", ROWS, train, are_images=False)(ROWS, np.float64)
    np.testing.assert_allclose(scaled[train].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[train].std(axis=0), 1, rtol=1e-12)


def test_scaling_ignores_validation_and_test_rows():
    train, changed = np.arange(100), ROWS.copy()
    changed[100:] *= 1_000
    first, second = (fit_scaling("standard", rows, train, are_images=False) for rows in (ROWS, changed))
    np.testing.assert_array_equal(first.scale, second.scale)
    np.testing.assert_array_equal(first.shift, second.shift)


def test_scaling_in_blocks_loses_no_digits():
    rows = np.random.default_rng(1).normal(1e6, 1.0, (2 * SAMPLES_AT_ONCE + 17, 2))
    scaling = fit_scaling("standard", rows, np.arange(len(rows)), are_images=False)
    np.testing.assert_allclose(scaling.shift, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scaling.scale, rows.std(axis=0), rtol=1e-9)


def test_a_row_of_weight_two_equals_two_rows():
    counts = np.random.default_rng(2).integers(1, 4, 300)
    counted = fit_scaling("standard", ROWS, np.arange(300), are_images=False, counts=counts.astype(float))
    repeated = fit_scaling("standard", np.repeat(ROWS, counts, axis=0), np.arange(counts.sum()), are_images=False)
    np.testing.assert_allclose(counted.shift, repeated.shift, rtol=1e-13)
    np.testing.assert_allclose(counted.scale, repeated.scale, rtol=1e-13)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_squares_neither_overflow_nor_underflow(size):
    scaling = fit_scaling("standard", ROWS * size, np.arange(300), are_images=False)
    np.testing.assert_allclose(scaling.scale / size, ROWS.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_constant_training_column_has_no_effect(dtype):
    rows = np.column_stack([np.full(10, 7), np.arange(10)]).astype(dtype)
    scaling = fit_scaling("standard", rows, np.arange(10), are_images=False)
    assert scaling.ignored == [0]
    assert (scaling(rows, np.float32)[:, 0] == 0).all()
    rows[:, 0] = 250  # 243 deviations away, if it were left at being shifted
    assert np.abs(scaling(rows, np.float32)[:, 0]).max() < 1e-25


def test_rounding_of_the_mean_is_not_a_deviation():
    scaling = fit_scaling("standard", np.full((178, 1), 0.1), np.arange(178), are_images=False)
    assert (scaling.ignored, scaling.shift) == ([0], 0.1)  # the mean of 178 times 0.1 is not 0.1


def test_scaling_depends_only_on_relative_weights():
    counts = np.random.default_rng(3).random(300) / 1000
    one, other = (
        fit_scaling("standard", ROWS, np.arange(300), are_images=False, counts=c) for c in (counts, counts * 1024)
    )
    assert (one.shift == other.shift).all()
    assert (one.scale == other.scale).all()


@pytest.mark.parametrize(
    ("kind", "are_images", "shifted"), [("auto", True, False), ("auto", False, True), ("pixels", False, False)]
)
def test_auto_is_pixels_for_images_and_standard_for_rows(kind, are_images, shifted):
    scaling = fit_scaling(kind, ROWS, np.arange(300), are_images=are_images)
    assert (scaling.shift is not None) == shifted


def test_bytes_are_divided_by_255_and_other_numbers_are_left():
    assert fit_scaling("pixels", np.zeros((3, 2, 2), np.uint8), np.arange(3), are_images=True).scale == 255.0
    assert fit_scaling("pixels", ROWS, np.arange(3), are_images=False).scale == 1.0


def test_scaling_is_done_in_the_type_that_is_asked_for():
    raw = np.array([[7, 200]], np.uint8)
    np.testing.assert_array_equal(Scaling(255.0)(raw, np.float32), raw.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(Scaling(255.0)(raw, np.float64), raw / 255.0)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint32])
def test_large_values_are_scaled_in_float64(dtype, monkeypatch):
    monkeypatch.setattr(preprocess, "VALUES_AT_ONCE", 7)  # pieces of three rows, the last one shorter
    small = np.random.default_rng(0).integers(-5, 6, (20, 2))
    scaled = Scaling(np.array([2.0, 4.0]), np.array([1e9, 2e9]))(
        (small + np.array([1_000_000_000, 2_000_000_000])).astype(dtype), "f4"
    )
    np.testing.assert_array_equal(scaled, (small / [2, 4]).astype(np.float32))


def test_bytes_are_scaled_in_float32():
    raw, rng = np.arange(256, dtype=np.uint8).reshape(64, 4), np.random.default_rng(1)
    scale, shift = rng.uniform(50, 80, 4), rng.uniform(0, 255, 4)
    want = (raw.astype("f4") - shift.astype("f4")) / scale.astype("f4")
    np.testing.assert_array_equal(Scaling(scale, shift)(raw, np.float32), want)


def test_robust_scaling_by_hand():
    rows = np.array([[1.0, 0, 5, 7], [2, 1, 5, 7], [3, 1, 5, 7], [4, 0, 9, 7], [1000, 1, 5, 7]])
    scaling = fit_scaling("robust", rows, np.arange(5), False)
    assert scaling.shift.tolist() == [3, 0, 5, 7]  # column 1 has no other values than 0 and 1
    assert scaling.scale.tolist() == [2, 1, 2, IGNORED_SCALE]  # quartiles 2 and 4; 5 and 5, so (9 - 5) / 2
    np.testing.assert_allclose(scaling(rows, np.float64)[4], [498.5, 1, 0, 0])


def test_robust_scaling_of_weighted_samples_is_that_of_repeated_ones():
    rng = np.random.default_rng(0)
    rows, times = rng.normal(size=(40, 3)), rng.integers(1, 5, 40)
    repeated = np.repeat(rows, times, axis=0)
    wanted = fit_scaling("robust", repeated, np.arange(len(repeated)), False)
    for factor in (1.0, 1e-3, 1e3):
        got = fit_scaling("robust", rows, np.arange(40), False, times * factor)
        np.testing.assert_array_equal(got.shift, wanted.shift)
        np.testing.assert_array_equal(got.scale, wanted.scale)


def test_robust_scaling_of_many_samples_sees_a_rare_value(monkeypatch):
    monkeypatch.setattr("chalknet.data.preprocess.MAX_QUANTILE_SAMPLES", 10)
    rows = np.zeros((1000, 1))
    rows[1] = 4.0
    scaling = fit_scaling("robust", rows, np.arange(1000), False)
    assert (scaling.shift[0], scaling.scale[0]) == (0, 1)  # the ten samples have only 0
    rows += 2
    assert fit_scaling("robust", rows, np.arange(1000), False).scale[0] == 2  # half of the range, 6 - 2


def test_robust_scaling_replaces_missing_values_by_the_median_first():
    rows = np.array([[1.0], [np.nan], [3.0], [7.0]])
    scaling = fit_scaling("robust", rows, np.arange(4), False, may_be_missing=True)
    assert (scaling.fill[0], scaling.shift[0], scaling.scale[0]) == (3, 3, 2)  # 1, 3, 3, 7: quartiles 1 and 3
