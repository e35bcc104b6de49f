import math

import numpy as np
import pytest
from hypothesis import given
from oracles import loop_cross_entropy, writeup_average_ce
from strategies import logits_and_labels

from chalknet.errors import ShapeError
from chalknet.network.metrics import (
    accuracy,
    double_softmax_floor,
    double_softmax_loss,
    mean_scores,
    printed_loss,
    score,
)
from chalknet.network.softmax import softmax


def test_accuracy_by_hand():
    assert accuracy([0, 1, 2, 3], [0, 1, 0, 0]) == 0.5
    assert accuracy(["A", "B"], ["A", "C"]) == 0.5
    assert accuracy([[0.1, 0.9], [0.8, 0.2]], [[0, 1], [0, 1]]) == 0.5


@pytest.mark.parametrize(
    ("predictions", "targets", "named"),
    [
        (np.zeros(3), np.zeros(4), r"predictions \(3,\) and targets \(4,\)"),
        (np.zeros((3, 10)), np.zeros(3), r"predictions \(3, 10\) and targets \(3,\)"),
    ],
)
def test_accuracy_error_states_both_shapes(predictions, targets, named):
    with pytest.raises(ValueError, match=named):
        accuracy(predictions, targets)


def test_accuracy_of_no_samples_is_refused():
    with pytest.raises(ShapeError, match="N >= 1"):
        accuracy([], [])


@given(logits_and_labels())
def test_printed_loss_equals_the_writeups_swapped_call(case):
    logits, labels = case
    probabilities = softmax(logits)[0]
    one_hot = np.eye(logits.shape[1])[labels]
    assert printed_loss(probabilities, labels) == pytest.approx(
        writeup_average_ce(probabilities, one_hot), rel=1e-9, abs=1e-12
    )


def test_printed_loss_of_equal_probabilities_is_0_9_times_46():
    assert printed_loss(np.full((4, 10), 0.1), np.arange(4)) == pytest.approx(-0.9 * math.log(1e-20))


@given(logits_and_labels())
def test_scores_are_their_textbook_definitions(case):
    logits, labels = case
    scores = score(logits, labels)
    assert scores.loss == pytest.approx(loop_cross_entropy(logits, labels), rel=1e-12)
    assert scores.accuracy == np.mean([int(np.argmax(row)) == label for row, label in zip(logits, labels, strict=True)])
    assert scores.printed_loss == printed_loss(softmax(logits)[0], labels)


def test_mean_scores_of_batches_equal_those_of_all_samples():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(10, 3)), rng.integers(0, 3, 10)
    whole = score(logits, labels)
    parts = mean_scores([score(logits[:7], labels[:7]), score(logits[7:], labels[7:])], [7, 3])
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    assert parts.accuracy == pytest.approx(whole.accuracy, rel=1e-12)
    assert parts.printed_loss == pytest.approx(whole.printed_loss, rel=1e-12)


@given(logits_and_labels())
def test_softmax_twice_is_the_cross_entropy_of_probabilities(case):
    logits, labels = case
    k = logits.shape[1]
    probabilities = softmax(logits)[0]
    loss = double_softmax_loss(logits, labels)
    assert loss == pytest.approx(loop_cross_entropy(probabilities, labels), rel=1e-6)
    # float32 probabilities may sum to a little more than 1
    assert double_softmax_floor(k) - 1e-6 <= loss <= math.log(math.e + k - 1) + 1e-6


def test_softmax_twice_by_hand_for_ten_classes():
    certain = 1000 * np.eye(10)
    assert double_softmax_loss(certain, np.arange(10)) == pytest.approx(math.log(math.e + 9) - 1)
    assert double_softmax_loss(certain, (np.arange(10) + 1) % 10) == pytest.approx(math.log(math.e + 9))
    assert double_softmax_loss(np.zeros((3, 10)), np.zeros(3, int)) == pytest.approx(math.log(10))
    assert round(double_softmax_floor(10), 3) == 1.461
