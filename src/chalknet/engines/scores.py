"""Scores of samples, computed from their logits and accumulated over tiles and batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.network.metrics import printed_loss_of_mean
from chalknet.records import Scores

Matrix = NDArray[Any]
# Sums over some samples: losses, correct predictions, and probabilities of the true class.
ScoreSums = tuple[float, float, float]


class SoftmaxTerms:
    """The terms of the softmax (S3) from which the scores of n samples are computed, as NumPy arrays.

    Tiles write their samples' terms slice by slice. The sums over a slice are taken afterwards, in
    one call, so the result does not depend on which thread computed which tile.

    Attributes:
        true: (n,) logit of the true class minus the largest logit.
        total: (n,) sum over the classes of exp(logit minus the largest logit).
        correct: (n,) bool, whether the largest logit is that of the true class. If several logits
            are equally large, the first one counts as the largest.
    """

    def __init__(self, n: int, dtype: Any) -> None:
        """Create uninitialized arrays for n samples."""
        self.true: NDArray[Any] = np.empty(n, dtype)
        self.total: NDArray[Any] = np.empty(n, dtype)
        self.correct: NDArray[np.bool_] = np.empty(n, bool)

    def losses(self, rows: slice) -> Matrix:
        """Return the cross-entropy of each of some samples in nats, the terms of L2."""
        losses: Matrix = np.log(self.total[rows]) - self.true[rows]
        return losses

    def sums(self, rows: slice) -> ScoreSums:
        """Return sums of losses, correct predictions and true-class probabilities of some samples."""
        probabilities = np.exp(self.true[rows]) / self.total[rows]
        losses = self.losses(rows).sum(dtype=np.float64)
        return float(losses), float(self.correct[rows].sum()), float(probabilities.sum(dtype=np.float64))


class ScoreAccumulator:
    """Sums of scores over a pass, added in the order of the calls."""

    def __init__(self) -> None:
        """Create an accumulator without samples."""
        self._n = 0
        self._loss = self._correct = self._true_class = 0.0

    def add(self, n: int, sums: Iterable[ScoreSums]) -> None:
        """Add n samples, whose sums are given in one or several pieces."""
        self._n += n
        for loss, correct, true_class in sums:
            self._loss += loss
            self._correct += correct
            self._true_class += true_class

    @property
    def is_finite(self) -> bool:
        """Whether the sum of the losses so far is finite."""
        return math.isfinite(self._loss)

    def scores(self) -> Scores:
        """Return loss (L2), accuracy (M1) and printed loss (M2) over all samples."""
        return Scores(self._loss / self._n, self._correct / self._n, printed_loss_of_mean(self._true_class / self._n))


class Targets(NamedTuple):
    """The targets of n samples for one network, or for each of M networks.

    Attributes:
        labels: (n,) or (M, n) integers in [0, K).
        partners: labels of the samples that mixup adds, in the shape of labels; None without mixup.
        mixup_fraction: weight of `labels` against `partners` (L8): a number, or (M,).
        weights: (n,) or (M, n) weight of each sample in the loss, or None for equal weights.
        smoothing: label smoothing in [0, 1) (L7): a number, or (M,).
    """

    labels: Any
    partners: Any = None
    mixup_fraction: Any = 1.0
    weights: Any = None
    smoothing: Any = 0.0
