"""`evaluate_samples`: scores by hand and by slow loops, classes matched by name, tables for a terminal."""

import math

import numpy as np
import pytest
from small_models import LETTERS, SHAPE, ensemble, image_model, row_model

from chalknet.data.dataset import dataset_from_arrays
from chalknet.errors import DataError
from chalknet.network.architecture import CHUNK_ROWS
from chalknet.network.metrics import score
from chalknet.serving import inputs as inputs_module
from chalknet.serving.evaluation import Evaluation, evaluate_samples, matched_classes
from chalknet.serving.evaluation_tables import (
    class_score_table,
    confusion_table,
    frequent_mistakes_table,
    reliability_figure,
    reliability_table,
    score_table,
)
from chalknet.studies.intervals import wilson
from chalknet.studies.results import LabeledPredictions

N = 200


@pytest.fixture(scope="module")
def letters():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, *SHAPE)).astype(np.uint8)
    return dataset_from_arrays(images, rng.integers(0, 3, N), LETTERS, source="made.npz", notes=["A note."])


def everything(data):
    return np.arange(len(data))


def test_a_networks_figures_are_those_of_its_logits(letters):
    found = evaluate_samples(image_model(), letters, everything(letters))
    scores = score(image_model().logits(letters.inputs), letters.labels)
    assert found.accuracy.value == scores.accuracy
    assert found.loss == pytest.approx(scores.loss, rel=1e-6)
    assert found.accuracy == wilson(round(scores.accuracy * N), N)
    np.testing.assert_array_equal(found.predictions.predicted, image_model().predict(letters.inputs))
    np.testing.assert_array_equal(found.predictions.confidence, image_model().predict_proba(letters.inputs).max(axis=1))
    assert found.notes == ("A note.",)


def test_an_ensembles_loss_is_that_of_its_mean_probabilities(letters):
    found = evaluate_samples(ensemble(), letters, everything(letters))
    probabilities = ensemble().predict_proba(letters.inputs).astype(np.float64)
    truth = probabilities[np.arange(N), letters.labels]
    assert found.loss == pytest.approx(-np.log(truth).mean(), rel=1e-5)
    assert found.accuracy.value == np.mean(probabilities.argmax(axis=1) == letters.labels)


def test_counts_equal_a_slow_loop(letters):
    found = evaluate_samples(image_model(), letters, everything(letters))
    predicted = image_model().predict(letters.inputs)
    for k, one in enumerate(found.classes):
        correct = sum(p == k == y for p, y in zip(predicted, letters.labels, strict=True))
        assert one.correct == correct
        assert one.recall == correct / list(letters.labels).count(k)
        assert one.precision == correct / list(predicted).count(k)
        for j in range(3):
            assert found.confusion[k, j] == sum(
                (y, p) == (k, j) for p, y in zip(predicted, letters.labels, strict=True)
            )


def test_calibration_and_brier_equal_slow_loops(letters):
    found = evaluate_samples(image_model(), letters, everything(letters))
    probabilities = image_model().predict_proba(letters.inputs).astype(np.float64)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == letters.labels
    error = 0.0
    for m in range(15):
        inside = [n for n in range(N) if m / 15 < confidence[n] <= (m + 1) / 15]
        error += abs(sum(correct[n] - confidence[n] for n in inside)) / N
    assert found.calibration_error == pytest.approx(error, abs=1e-6)
    brier = np.mean([np.square(p - np.eye(3)[y]).sum() for p, y in zip(probabilities, letters.labels, strict=True)])
    assert found.brier == pytest.approx(brier, rel=1e-6)


def test_batches_do_not_change_scores_and_an_index_selects(monkeypatch):
    rng = np.random.default_rng(1)
    n = CHUNK_ROWS + 88
    data = dataset_from_arrays(rng.integers(0, 256, (n, *SHAPE)).astype(np.uint8), rng.integers(0, 3, n), LETTERS)
    whole = evaluate_samples(image_model(), data, everything(data))
    monkeypatch.setattr(inputs_module, "BATCH_BYTES", 1)
    batches = evaluate_samples(image_model(), data, rng.permutation(n))
    assert (batches.loss, batches.accuracy) == (whole.loss, whole.accuracy)
    assert batches.brier == pytest.approx(whole.brier, rel=1e-12)
    some = np.array([5, 3, 400])
    part = evaluate_samples(image_model(), data, some)
    np.testing.assert_array_equal(part.predictions.index, [3, 5, 400])
    np.testing.assert_array_equal(part.predictions.labels, data.labels[[3, 5, 400]])


def made(labels, class_names):
    return dataset_from_arrays(np.zeros((len(labels), *SHAPE), np.uint8), labels, class_names, source="d.npz")


def test_classes_go_by_name_whatever_their_order():
    positions, notes = matched_classes(made([0, 1, 2], "CAB"), np.arange(3), LETTERS)
    assert positions.tolist() == [2, 0, 1]
    assert notes == []
    found = evaluate_samples(image_model(), made([0, 1, 2], "CAB"), np.arange(3))
    assert found.predictions.labels.tolist() == [2, 0, 1]


def test_mere_numbers_are_positions_and_a_note_says_so():
    positions, notes = matched_classes(made([0, 1], ["2", "0"]), np.arange(2), LETTERS)
    assert positions.tolist() == [2, 0]
    assert notes == [
        "The data's classes are numbers; they are matched to the model's by position: 0 is A, 1 is B, 2 is C, ..."
    ]


def test_numbers_that_are_the_models_own_names_go_by_name():
    assert matched_classes(made([0, 1], ["8", "3"]), np.arange(2), ("3", "5", "8"))[0].tolist() == [2, 0]
    with pytest.raises(DataError, match=r"class '0', which the model does not know\. Its classes are 3, 5, 8"):
        matched_classes(made([0, 1], ["0", "3"]), np.arange(2), ("3", "5", "8"))


def test_samples_of_an_unknown_class_are_an_error():
    data = made([0, 0, 1], ["A", "Q"])
    with pytest.raises(DataError, match=r"d\.npz: holds samples of class 'Q', which the model does not know\. Its"):
        evaluate_samples(image_model(), data, np.arange(3))
    assert len(evaluate_samples(image_model(), data, np.arange(2))) == 2
    with pytest.raises(DataError, match="class '3', which"):
        matched_classes(made([0, 3], ["0", "1", "2", "3"]), np.arange(2), LETTERS)


def test_samples_of_another_size_are_one_line(letters):
    with pytest.raises(DataError, match=r"made\.npz: holds images of 6 x 5, but the model reads rows of 3 values"):
        evaluate_samples(row_model(), letters, everything(letters))


def test_values_of_another_scale_are_noted_once(letters):
    fractions = dataset_from_arrays(letters.inputs / 255.0, letters.labels, LETTERS)
    notes = evaluate_samples(image_model(), fractions, everything(letters)).notes
    assert [note for note in notes if "values up to 1" in note] == list(notes)


def of_answers(labels, predicted, confidence, class_names=LETTERS):
    from chalknet.network.calibration import reliability_bins

    labels, predicted = np.array(labels), np.array(predicted)
    confidence = np.array(confidence, np.float32)
    answers = LabeledPredictions(labels, predicted, confidence, confidence, np.arange(len(labels)))
    bins = reliability_bins(confidence, answers.correct)
    return Evaluation("run", "d.npz", "0" * 64, "all", tuple(class_names), answers, 0.5, 0.25, bins)


def test_the_tables_by_hand():
    found = of_answers([0, 0, 0, 1], [0, 0, 1, 1], [0.9, 0.8, 0.55, 0.7])
    assert score_table(found).title == "run on d.npz: 4 samples"
    assert [row[1] for row in score_table(found).rows] == ["75.00 %", "0.5000", "0.2500", "28.75 %"]
    rows = class_score_table(found).rows
    assert rows[0] == ("A", "3", "2", "66.7 %", "20.8 to 93.9 %", "2", "100.0 %")
    assert rows[1] == ("B", "1", "1", "100.0 %", "20.7 to 100.0 %", "2", "50.0 %")
    assert rows[2] == ("C", "0", "0", "–", "–", "0", "–")
    assert confusion_table(found).rows[0] == ("A", "2", "1", "0")
    assert frequent_mistakes_table(found).rows == (("A", "B", "1"),)
    assert reliability_table(found).rows[-1] == ("93.3 to 100.0 %", "0", "–", "–", "–")
    assert reliability_table(found, with_empty=False).rows[0][:4] == ("53.3 to 60.0 %", "1", "55.0 %", "0.0 %")


def test_of_many_classes_the_least_often_right_are_shown():
    names = [f"c{k}" for k in range(40)]
    found = of_answers(list(range(1, 40)), [*range(1, 39), 1], [0.5] * 39, names)
    table = class_score_table(found, 30)
    assert table.title == "The 30 of 40 classes with the lowest recall"
    assert table.rows[0][0] == "c39"
    assert "c0" not in {row[0] for row in table.rows}  # it has no samples


def test_the_figure_has_a_point_for_each_bin_that_is_not_empty():
    points, line = reliability_figure(of_answers([0, 0, 0, 1], [0, 0, 1, 1], [0.9, 0.8, 0.6, 0.7])).panels[0].curves
    assert points.x == pytest.approx((0.6, 0.7, 0.8, 0.9))
    assert points.y == (0.0, 1.0, 1.0, 1.0)
    assert all(low <= y <= high for low, y, high in zip(points.low, points.y, points.high, strict=True))
    assert (line.x, line.y) == ((0.0, 1.0), (0.0, 1.0))


def test_what_is_not_a_number_is_null_in_json():
    found = of_answers([0, 0], [0, 0], [0.9, 0.8]).as_dict()
    assert found["classes"][2]["precision"] is None
    assert found["calibration"]["bins"][0]["accuracy"] is None
    assert math.isfinite(found["calibration"]["expected_error"])
