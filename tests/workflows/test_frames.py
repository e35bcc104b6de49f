"""Frames of pandas and Polars, with their column names and types, and estimators as models."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest

import chalknet
from chalknet.errors import ConfigError, DataError

FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_gives_column_names_and_others_are_refused(kind):
    rng = np.random.default_rng(0)
    columns = {"width": rng.normal(size=40), "height": rng.normal(size=40) + 9, "age": rng.integers(0, 9, 40)}
    frame = FRAMES[kind](columns)
    data = chalknet.dataset_from_arrays(frame, np.arange(40) % 2)
    assert data.input_names == ("width", "height", "age")
    network = chalknet.train(data, hidden=[3], epochs=1).network
    turned = FRAMES[kind]({name: columns[name] for name in ("age", "width", "height")})
    for call in (chalknet.predict, lambda model, inputs: model.predict(inputs)):
        with pytest.raises(DataError, match=r"value 1 of its rows is 'age', but that of the .* is 'width'"):
            call(network, turned)
        call(network, frame)
    np.testing.assert_array_equal(network.predict(np.asarray(frame)), network.predict(frame))


def test_frames_with_types_that_numpy_lacks_are_numbers():
    frame = pd.DataFrame({"a": pd.array([1, 2, 3], "Int64"), "b": pd.array([0.5, 1.5, 2.5], "Float64")})
    data = chalknet.dataset_from_arrays(frame, [0, 1, 1])
    np.testing.assert_array_equal(data.inputs, [[1, 0.5], [2, 1.5], [3, 2.5]])
    frame.loc[1, "a"] = pd.NA
    with pytest.raises(DataError, match="inputs must hold numbers, and none missing"):
        chalknet.dataset_from_arrays(frame, [0, 1, 1])


@pytest.mark.parametrize("kind", ["Int64", "UInt64", "int64"])
def test_an_estimator_tells_labels_beyond_2_to_the_53_apart(kind):
    y = pd.Series([2**53, 2**53 + 1] * 20, dtype=kind)
    rows = np.random.default_rng(0).normal(size=(40, 2)) + 5 * np.c_[np.arange(40) % 2]
    estimator = chalknet.ChalkClassifier(random_state=0).fit(rows, y)
    assert estimator.classes_.tolist() == [2**53, 2**53 + 1]
    assert estimator.score(rows, y) == 1.0
    assert estimator.score(rows, y[::-1]) == 0.0
    assert chalknet.ChalkClassifier(epochs=1).partial_fit(rows, y, y).classes_.tolist() == [2**53, 2**53 + 1]


def test_a_fitted_estimator_is_a_model(tmp_path):
    rows, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    estimator = chalknet.ChalkClassifier(epochs=1).fit(rows, y)
    chalknet.save_model(estimator, tmp_path / "m.safetensors")
    assert chalknet.load_model(tmp_path / "m.safetensors").class_names == ("0", "1")
    assert len(chalknet.predict(estimator, rows)) == 40
    for call in (chalknet.save_model, chalknet.predict, chalknet.evaluate):
        with pytest.raises(ConfigError, match=r"Network, an Ensemble or a .*ChalkClassifier.*, got ChalkClassifier"):
            call(chalknet.ChalkClassifier(), tmp_path / "x")


def rows_with_gaps(n=120):
    """Rows whose class is the sign of the first column, half of them without their third value."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(n, 3))
    labels = np.where(rows[:, 0] > 0, "yes", "no")
    rows[::2, 2] = np.nan
    return rows, labels


def test_samples_and_labels_are_read_as_a_pair():
    rows, labels = rows_with_gaps()
    plain = chalknet.load_data((rows[:, :2], labels))
    np.testing.assert_array_equal(plain.inputs, rows[:, :2])
    assert plain.class_names == ("no", "yes")
    frame = pd.DataFrame({"width": rows[:, 0], "place": labels})
    data = chalknet.load_data((frame, pd.Series(np.arange(120) % 2, name="width")))
    assert data.encoding.names == ("width", "place")
    assert data.class_names == ("0", "1")
    for pair, message in [
        ((rows,), "must be (X, y), samples and labels, got a tuple of 1"),
        ((frame, labels[1:]), "has 120 rows, but there are 119 labels"),
        ((rows[:, :2], labels[1:]), "119 labels for 120 samples"),
    ]:
        with pytest.raises((ConfigError, DataError), match=re.escape(message)):
            chalknet.load_data(pair)


def test_train_evaluate_predict_and_study_take_pairs(tmp_path):
    rows, labels = rows_with_gaps()
    run = chalknet.train((rows[:80], labels[:80]), valid=(rows[80:], labels[80:]), hidden=[8], epochs=30, seed=0)
    assert run.network.encoding.names == ("x0", "x1", "x2")
    assert chalknet.evaluate(run.network, (rows[80:], labels[80:])).accuracy.value > 0.8
    predictions = chalknet.predict(run.network, rows)
    np.testing.assert_array_equal(predictions.probabilities, run.network.predict_proba(rows))
    results = chalknet.study((rows, labels), {"hidden": [2, 4]}, seeds=1, epochs=1, out=tmp_path / "study")
    assert len(results.complete_configurations) == 2
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(answer=labels)
    assert chalknet.train(frame, label="answer", epochs=1).data.class_names == ("no", "yes")
    with pytest.raises(ConfigError, match="label and label_column both name the label column"):
        chalknet.train(frame, label="answer", label_column="answer")


def test_an_estimator_takes_arrays_with_missing_values():
    rows, labels = rows_with_gaps()
    of_array = chalknet.ChalkClassifier(epochs=20, random_state=0).fit(rows, labels)
    frame = pd.DataFrame(rows, columns=["x0", "x1", "x2"])
    of_frame = chalknet.ChalkClassifier(epochs=20, random_state=0).fit(frame, labels)
    np.testing.assert_array_equal(of_array.predict_proba(rows), of_frame.predict_proba(frame))
    assert of_array.score(rows, labels) > 0.9
    assert of_array.n_features_in_ == 3
    with pytest.raises(ValueError, match="has 2 features, but ChalkClassifier is expecting 3"):
        of_array.predict(rows[:, :2])
    with pytest.raises(ValueError, match="infinity"):
        of_array.predict(np.where(np.isnan(rows), np.inf, rows))
    complete = chalknet.ChalkClassifier(epochs=1).fit(rows[:, :2], labels)
    with pytest.raises(DataError, match="missing values in 'x1', and the training samples had none"):
        complete.predict(rows[:, 1:])
    with pytest.raises(ValueError, match="NaN"):  # an image without a pixel
        chalknet.ChalkClassifier(image_shape=(1, 3)).fit(rows, labels)


TEXTS = ["good", "bad"] * 20
NUMBERS = [0, 1] * 20


def without_label_7(labels, missing=None):
    """Return labels as a list of which one is missing."""
    return [*labels[:7], missing, *labels[8:]]


MISSING_LABELS = {
    "a list with NaN": without_label_7(TEXTS, float("nan")),
    "a list with None": without_label_7(TEXTS),
    "numbers with NaN": np.array(without_label_7(NUMBERS, np.nan)),
    "objects with NaN": np.array(without_label_7(TEXTS, np.nan), object),
    "objects with None": np.array(without_label_7(NUMBERS), object),
    "objects with NA": np.array(without_label_7(TEXTS, pd.NA), object),
    "pandas texts": pd.Series(without_label_7(TEXTS), dtype="string", name="kind"),
    "pandas objects": pd.Series(without_label_7(TEXTS), dtype=object, index=range(40, 80)),
    "pandas categories": pd.Series(without_label_7(TEXTS), dtype="category"),
    "pandas Int64": pd.Series(without_label_7(NUMBERS), dtype="Int64"),
    "pandas boolean": pd.Series(without_label_7([True, False] * 20), dtype="boolean"),
    "polars texts": pl.Series(without_label_7(TEXTS)),
    "polars integers": pl.Series(without_label_7(NUMBERS)),
    "polars NaN": pl.Series(without_label_7(NUMBERS, float("nan")), strict=False),
}


@pytest.mark.parametrize("y", MISSING_LABELS.values(), ids=MISSING_LABELS)
def test_a_missing_label_is_named_wherever_labels_are_given(y):
    rows = np.random.default_rng(0).normal(size=(40, 2))
    frame = pd.DataFrame({"a": rows[:, 0], "c": ["u", "v"] * 20})
    labels = TEXTS if np.asarray(y).dtype.kind in "OU" else NUMBERS
    good = chalknet.ChalkClassifier(epochs=1).fit(rows, labels)
    calls = {
        "y": lambda: chalknet.ChalkClassifier(epochs=1).fit(rows, y),
        "y of a frame": lambda: chalknet.ChalkClassifier(epochs=1).fit(frame, y),
        "y in score": lambda: good.score(rows, y),
        "y_val": lambda: chalknet.ChalkClassifier(epochs=1).fit(rows, labels, X_val=rows, y_val=y),
        "classes": lambda: chalknet.ChalkClassifier(epochs=1).partial_fit(rows, labels, classes=y),
        "arrays: labels": lambda: chalknet.dataset_from_arrays(rows, y),
        "the table: labels": lambda: chalknet.train((frame, y), epochs=1),
        "arrays: labels in evaluate": lambda: chalknet.evaluate(good, (rows, y)),
        "labels": lambda: chalknet.compare({"a": np.array(labels), "b": np.array(labels)}, labels=y),
    }
    for name, call in calls.items():
        with pytest.raises(DataError) as raised:
            call()
        text = f"{name.split(' in ')[0].split(' of ')[0]}[7] is missing (1 label of 40)."
        assert str(raised.value).startswith(text), name


def test_labels_without_a_gap_are_taken_in_every_type():
    rows = np.random.default_rng(0).normal(size=(40, 2))
    texts = [np.array(TEXTS, object), pd.Series(TEXTS, dtype="string"), pl.Series(TEXTS), pd.Series(TEXTS)]
    for y in [TEXTS, *texts, pd.Series(NUMBERS, dtype="Int64"), pl.Series(NUMBERS), np.array(NUMBERS, float)]:
        assert len(chalknet.ChalkClassifier(epochs=1).fit(rows, y).classes_) == 2
