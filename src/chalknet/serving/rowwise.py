"""Predict several rows at once, each with exactly the result that it has alone.

A product of a matrix of several rows with the weights adds numbers in another order than the product of
one row, so the last digits of a row's result depend on the rows beside it. A server computes the rows of
several requests together, and its answers shall not depend on other requests. So products are computed row
by row here, in one call of NumPy. All other steps treat every number, every row or every image by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chalknet.network.arrays import FloatArray
from chalknet.network.model import Classifier, Network
from chalknet.network.prediction import predict_logits
from chalknet.network.softmax import softmax

N_CHECKED = 5  # rows that `RowwiseModel` compares


class RowwiseModel:
    """A model that predicts the rows of several requests at once.

    Args:
        model: a network or an ensemble.
    """

    def __init__(self, model: Classifier) -> None:
        """Create the model, and check on a few rows that it gives the results of single rows."""
        self.model = model
        scaling, n = model.scaling, model.architecture.n_inputs
        middle = np.zeros(n) if scaling.shift is None else scaling.shift
        rows = middle + np.random.default_rng(0).random((N_CHECKED, n)) * np.asarray(scaling.scale)
        alone = np.concatenate([model.predict_proba(row[None]) for row in rows])
        self._is_exact = np.array_equal(self._together(rows)[0], alone)

    def predict(self, rows: NDArray[np.float64]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the probabilities of rows, and which of them are valid.

        Args:
            rows: (N, I) finite values in the units of the training samples.

        Returns:
            (N, K) probabilities, each row with the bits that `Classifier.predict_proba` gives it alone; and (N,)
            False where values are so large that those of the network overflow.
        """
        if self._is_exact:
            return self._together(rows)
        each = [self._together(row[None]) for row in rows]
        return np.concatenate([one[0] for one in each]), np.concatenate([one[1] for one in each])

    def _together(self, rows: NDArray[np.float64]) -> tuple[FloatArray, NDArray[np.bool_]]:
        members = self.model.members
        parts = [_probabilities(network, rows) for network in members]
        if len(parts) == 1:
            return parts[0]
        total = parts[0][0]
        for probabilities, _ in parts[1:]:
            total = total + probabilities
        return total / len(members), np.logical_and.reduce([is_valid for _, is_valid in parts])


def _probabilities(network: Network, rows: NDArray[np.float64]) -> tuple[FloatArray, NDArray[np.bool_]]:
    with np.errstate(all="ignore"):  # rows that overflow are returned as invalid
        scaled = network.scaling(rows, network.dtype)
        value = predict_logits(network.architecture, network.parameters, scaled, row_by_row=True)
        is_valid: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(value), axis=1)
        return softmax(np.where(is_valid[:, None], value, 0))[0], is_valid
