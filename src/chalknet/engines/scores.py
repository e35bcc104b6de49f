"""Scores of samples from their logits, added up over tiles and batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.network.metrics import printed_loss_of_mean
from chalknet.records import Scores

Matrix = NDArray[Any]
Sums = tuple[float, float, float]  # of losses, of correct answers and of true-class probabilities


class SoftmaxTerms:
    """Softmax terms of each sample, from which its scores are computed: (n,) arrays that tiles fill slice by slice.

    Attributes:
        true: logit of the true class minus the largest logit.
        total: sum of exp(logit minus the largest logit) over the classes.
        correct: whether the largest logit (the first of equals) is that of the true class.
    """

    def __init__(self, n: int, dtype: Any) -> None:
        self.true = np.empty(n, dtype)
        self.total = np.empty(n, dtype)
        self.correct = np.empty(n, bool)

    def losses(self, rows: slice) -> Matrix:
        """Return the cross-entropies of some samples, the terms of L2."""
        losses: Matrix = np.log(self.total[rows]) - self.true[rows]
        return losses

    def sums(self, rows: slice) -> Sums:
        """Return the sums over some samples."""
        probabilities = np.exp(self.true[rows]) / self.total[rows]
        losses = self.losses(rows).sum(dtype=np.float64)
        return float(losses), float(self.correct[rows].sum()), float(probabilities.sum(dtype=np.float64))


class ScoreAccumulator:
    """Accumulates the scores of a pass in call order."""

    def __init__(self) -> None:
        self._n = 0
        self._loss = self._correct = self._true_class = 0.0

    def add(self, n: int, sums: Iterable[Sums]) -> None:
        """Add n samples, in one or several sums."""
        self._n += n
        for loss, correct, true_class in sums:
            self._loss += loss
            self._correct += correct
            self._true_class += true_class

    @property
    def is_finite(self) -> bool:
        """Whether the losses so far have a finite sum."""
        return math.isfinite(self._loss)

    def scores(self) -> Scores:
        """Return L2, M1 and M2 over all samples."""
        return Scores(self._loss / self._n, self._correct / self._n, printed_loss_of_mean(self._true_class / self._n))


class Targets(NamedTuple):
    """The targets of some samples, as in `objective.Samples`, or of those of M networks.

    Attributes:
        labels: (n,), or (M, n).
        partners: labels of the samples that are mixed in, or None.
        mixup_fraction: weight of the labels; a number, or (M,).
        weights: of the samples in the loss, or None.
        smoothing: label smoothing, in [0, 1); a number, or (M,).
    """

    labels: Any
    partners: Any = None
    mixup_fraction: Any = 1.0
    weights: Any = None
    smoothing: Any = 0.0
