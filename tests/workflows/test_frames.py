"""Frames of pandas and Polars, with their column names and types, and estimators as models."""

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
