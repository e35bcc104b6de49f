"""Scores of samples, computed from their logits and accumulated over tiles and batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
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

    def write(self, rows: slice, terms: SoftmaxTerms) -> None:
        """Write the first terms of others to some samples."""
        for own, other in ((self.true, terms.true), (self.total, terms.total), (self.correct, terms.correct)):
            own[rows] = other[: len(own[rows])]

    def losses(self, rows: slice) -> Matrix:
        """Return the cross-entropy of each of some samples in nats, the terms of L2."""
        losses: Matrix = np.log(self.total[rows]) - self.true[rows]
        return losses

    def sums(self, rows: slice) -> ScoreSums:
        """Return sums of losses, correct predictions and true-class probabilities of some samples."""
        probabilities = np.exp(self.true[rows]) / self.total[rows]
        losses = self.losses(rows).sum(dtype=np.float64)
        return float(losses), float(self.correct[rows].sum()), float(probabilities.sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class EpochScores:
    """The scores of an epoch's updates so far, as an engine adds them up.

    Attributes:
        n_updates: number of updates that were made.
        n: number of samples in `sums`.
        sums: sums over these samples.
        terms: the terms of later samples, which are not summed yet; or None.
    """

    n_updates: int
    n: int
    sums: ScoreSums
    terms: SoftmaxTerms | None = None

    @property
    def n_samples(self) -> int:
        """The number of samples that were trained on."""
        return self.n + (0 if self.terms is None else len(self.terms.true))

    @property
    def is_finite(self) -> bool:
        """Whether the losses so far are finite."""
        if not math.isfinite(self.sums[0]):
            return False
        with np.errstate(all="ignore"):
            return self.terms is None or bool(np.isfinite(self.terms.losses(slice(None))).all())


class ScoreAccumulator:
    """Sums of scores over a pass, added in the order of the calls.

    Args:
        start: what was added up before; None for nothing.

    Attributes:
        n_updates: number of updates, which an engine counts.
    """

    def __init__(self, start: EpochScores | None = None) -> None:
        """Create an accumulator."""
        start = start or EpochScores(0, 0, (0.0, 0.0, 0.0))
        self.n_updates: int = start.n_updates
        self._n = start.n
        self._loss, self._correct, self._true_class = start.sums
        if start.terms is not None:
            self.add(len(start.terms.true), [start.terms.sums(slice(None))])

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

    def so_far(self) -> EpochScores:
        """Return what was added up, to continue from it."""
        return EpochScores(self.n_updates, self._n, (self._loss, self._correct, self._true_class))


class TermsAccumulator(ScoreAccumulator):
    """A `ScoreAccumulator` that also collects the terms of small batches, and sums many in one call.

    One call costs less than a call per update. The order of the sums is that of the updates if
    `sum_terms` is called before `add`.

    Args:
        room: number of samples whose terms are collected at most.
        dtype: float type of the terms.
        start: what was added up before; None for nothing.

    Attributes:
        terms: the collected terms of the first `n_terms` samples.
        n_terms: number of samples whose terms are not summed yet.
    """

    def __init__(self, room: int, dtype: Any, start: EpochScores | None = None) -> None:
        """Create an accumulator."""
        self.terms: SoftmaxTerms = SoftmaxTerms(room, dtype)
        self.n_terms: int = 0
        terms = None if start is None else start.terms
        if start is not None and terms is not None and len(terms.true) <= room:
            self.n_terms, start = len(terms.true), replace(start, terms=None)
            self.terms.write(slice(0, self.n_terms), terms)
        super().__init__(start)

    def has_room(self, n: int) -> bool:
        """Return whether the terms of n more samples can be collected."""
        return self.n_terms + n <= len(self.terms.true)

    def sum_terms(self) -> None:
        """Add the collected terms to the sums."""
        self.add(self.n_terms, [self.terms.sums(slice(0, self.n_terms))])
        self.n_terms = 0

    def so_far(self) -> EpochScores:
        """Return what was added up and collected, to continue from it."""
        terms = SoftmaxTerms(self.n_terms, self.terms.true.dtype)
        terms.write(slice(None), self.terms)
        return replace(super().so_far(), terms=terms)


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
