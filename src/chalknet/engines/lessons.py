"""What an update learns from: its samples as they are, or as chance changes and mixes them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import Batch, Part, Step, Update
from chalknet.engines.noise import Mixing, Noise, Rows
from chalknet.engines.tile import Matrix, Targets

Labels = NDArray[np.integer[Any]]


class Lesson(NamedTuple):
    """All of an update: the samples' positions and labels, what each counts, and what chance does to them.

    Attributes:
        n_batch: samples of the batch, of which these may be a part only: the others are learnt elsewhere.
        places: of these samples in the batch, ascending; None where they are all of it.
    """

    batch: Batch
    labels: Labels
    weights: Matrix | None
    step: Step
    draws: NDArray[np.float64] | None
    mixing: Mixing | None
    n_batch: int
    places: NDArray[np.int64] | None = None

    def targets(self, rows: slice, smoothing: float) -> Targets:
        """What some of its samples should be."""
        weights = None if self.weights is None else self.weights[rows]
        if self.mixing is None:
            return Targets(self.labels[rows], weights=weights, smoothing=smoothing)
        partners = self.labels[self.mixing.partners[rows]]
        return Targets(self.labels[rows], partners, self.mixing.share, weights, smoothing)

    def in_batch(self, rows: slice) -> Rows:
        """Where in the batch some of its samples are."""
        return rows if self.places is None else self.places[rows]


class Lessons:
    """Makes lessons of updates, and their samples where chance changes them.

    Args:
        train: the training part. noise: what is random. scaling: from raw inputs to what the network reads.
        dtype: of the samples made. floats: (N, >= I) the part's samples scaled, where they lie ready, or None.
    Attributes:
        changes: whether samples are changed, mixed, or lose inputs, so that `make` has to make them.
    """

    def __init__(
        self, train: Part, noise: Noise, scaling: Scaling, dtype: DTypeLike, floats: Matrix | None = None
    ) -> None:
        self._train, self._noise, self._scaling = train, noise, scaling
        self._dtype, self._floats = np.dtype(dtype), floats
        self.changes = noise.augmenter is not None or noise.mixup > 0 or noise.input_dropout > 0

    def of(self, update: Update, places: NDArray[np.int64] | None = None, n_batch: int = 0) -> Lesson:
        """All of an update but its samples.

        With places, they are a part of a batch of n_batch samples, and lie there in it; then none are mixed.
        """
        number, weights = update.step.number, self._train.weights
        labels = self._train.labels[update.batch]
        n = len(labels)
        counts = None if weights is None else weights[update.batch].astype(self._dtype)
        draws = self._noise.draws(number, slice(0, n) if places is None else places)
        mixing = self._noise.mixing(number, n)
        return Lesson(update.batch, labels, counts, update.step, draws, mixing, n_batch or n, places)

    def make(self, out: Matrix, lesson: Lesson, rows: slice) -> None:
        """Some of a lesson's samples changed, scaled, mixed and with inputs dropped, into out (rows, I)."""
        self._change(out, lesson, np.arange(rows.start, rows.stop))
        if lesson.mixing is not None:
            partners = np.empty_like(out)
            self._change(partners, lesson, lesson.mixing.partners[rows])
            np.multiply(out, lesson.mixing.share, out=out)
            np.multiply(partners, 1 - lesson.mixing.share, out=partners)
            np.add(out, partners, out=out)
        keep = self._noise.keep(0, lesson.step.number, lesson.in_batch(rows), out.shape[1], self._dtype)
        if keep is not None:
            np.multiply(out, keep, out=out)

    def _change(self, out: Matrix, lesson: Lesson, positions: NDArray[np.int64]) -> None:
        """The samples at some positions of a lesson, changed if images are, scaled, into out."""
        batch = lesson.batch
        where = positions + (batch.start or 0) if isinstance(batch, slice) else batch[positions]
        if lesson.draws is None and self._floats is not None:
            np.copyto(out, self._floats[where, : out.shape[1]])
        else:
            draws = None if lesson.draws is None else lesson.draws[positions]
            self._scaling.put(self._noise.changed(self._train.inputs[where], draws), out)


def even_cuts(n: int, most: int) -> list[slice]:
    """0..n in as few runs of at most `most` as there can be, all of nearly the same length."""
    count = -(-n // most)
    bounds = [*(round(i * (n / count)) for i in range(count)), n]
    return [slice(a, b) for a, b in pairwise(bounds)]


def part_of_batch(batch: Batch, rows: slice) -> Batch:
    """Rows of a batch as positions of their own."""
    if isinstance(batch, slice):
        first = batch.start or 0
        return slice(first + rows.start, first + rows.stop)
    return batch[rows]
