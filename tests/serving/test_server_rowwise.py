"""`RowwiseModel`: rows that are predicted together have the bits that they have alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import ensemble, image_model, row_model

from chalknet.network.model import Network
from chalknet.serving.rowwise import RowwiseModel

sys.path.append(str(Path(__file__).resolve().parents[1] / "artifacts"))  # for a run of this file alone

from exported import every_kind

KINDS = {**every_kind(), "small": image_model(), "three numbers": row_model(), "two members": ensemble()}


@pytest.mark.parametrize("name", KINDS)
def test_rows_have_the_bits_that_they_have_alone(name):
    model = KINDS[name]
    rowwise = RowwiseModel(model)
    for n in (1, 7, 64):
        rows = np.random.default_rng(n).random((n, model.architecture.n_inputs)) * 255
        probabilities, is_valid = rowwise.predict(rows)
        alone = np.concatenate([model.predict_proba(row[None]) for row in rows])
        np.testing.assert_array_equal(probabilities, alone)
        assert probabilities.dtype == alone.dtype
        assert is_valid.all()


def test_every_kind_of_layer_is_computed_in_one_call():
    slow = [name for name, model in KINDS.items() if not RowwiseModel(model)._is_exact]
    assert slow == []


def test_a_row_that_overflows_does_not_affect_the_others():
    small = row_model()
    model = Network(small.architecture, {k: v * 1e10 for k, v in small.parameters.items()}, small.class_names)
    rows = np.array([[1.0, 2.0, 3.0], [1.5e308, -1.5e308, 1.5e308], [0.0, 0.0, 1.0]])
    probabilities, is_valid = RowwiseModel(model).predict(rows)
    assert is_valid.tolist() == [True, False, True]
    np.testing.assert_array_equal(probabilities[[2]], model.predict_proba(rows[[2]]))
