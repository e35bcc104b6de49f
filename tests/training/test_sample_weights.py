import numpy as np
import pytest

from chalknet.errors import ConfigError, DataError
from chalknet.training.sample_weights import training_weights

LABELS = np.array([0, 0, 0, 1])


def test_equal_sample_weights_become_none():
    assert training_weights(LABELS, "AB", "equal", None) is None
    assert training_weights(LABELS, "AB", "equal", np.full(4, 3.0)) is None


def test_balanced_class_weights_give_equal_totals():
    weights = training_weights(LABELS, "AB", "balanced", None)
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2])
    assert weights[:3].sum() == pytest.approx(weights[3])


def test_class_and_sample_weights_multiply_to_mean_1():
    weights = training_weights(LABELS, "AB", (1.0, 2.0), np.array([1.0, 0.0, 1.0, 3.0]))
    np.testing.assert_allclose(weights, np.array([1, 0, 1, 6]) / 2)


@pytest.mark.parametrize(
    ("class_weights", "sample_weights", "error", "message"),
    [
        ((1.0, 2.0, 3.0), None, ConfigError, r"a number for each of 2 classes \(A, B\), got 3"),
        ("equal", np.ones(3), DataError, r"sample weights must be \(4,\) numbers, got \(3,\)"),
        ("equal", np.array([1, -1, 1, 1]), DataError, "finite and >= 0, got -1.0 at 1"),
        ("equal", np.array([1, np.nan, 1, 1]), DataError, "finite and >= 0, got nan at 1"),
        ("equal", np.zeros(4), DataError, "all sample weights of the training split are 0"),
    ],
)
def test_invalid_weights_are_refused(class_weights, sample_weights, error, message):
    with pytest.raises(error, match=message):
        training_weights(LABELS, "AB", class_weights, sample_weights)
