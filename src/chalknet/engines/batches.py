"""Training batches: the samples of an update, after random transforms."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.engine import Batch, EngineSpec, Update
from chalknet.engines.random_transforms import Mixup, Rows
from chalknet.engines.scores import Matrix, Targets
from chalknet.network.dropout import Dropout
from chalknet.network.optimizers import Step

Labels = NDArray[np.integer[Any]]


class TrainingBatch(NamedTuple):
    """Labels, weights and random draws of one update.

    Attributes:
        batch: positions in the training split.
        labels: (n,).
        weights: (n,) weights of the samples in the loss, or None for equal weights.
        step: number and learning rate of the update.
        augmentation: (n, PARAMETERS_PER_IMAGE) random numbers for the augmenter, or None.
        mixup: partners for mixup, or None.
        n_batch: size of the whole batch, larger than n on a shard.
        places: positions of these samples in the whole batch, ascending; None where they are all of it.
    """

    batch: Batch
    labels: Labels
    weights: Matrix | None
    step: Step
    augmentation: NDArray[np.float64] | None
    mixup: Mixup | None
    n_batch: int
    places: NDArray[np.int64] | None = None

    def targets(self, rows: slice, smoothing: float) -> Targets:
        """Return the targets of some of the samples."""
        weights = None if self.weights is None else self.weights[rows]
        if self.mixup is None:
            return Targets(self.labels[rows], weights=weights, smoothing=smoothing)
        partners = self.labels[self.mixup.partners[rows]]
        return Targets(self.labels[rows], partners, self.mixup.fraction, weights, smoothing)

    def in_batch(self, rows: slice) -> Rows:
        """Return the positions of some of the samples in the whole batch."""
        return rows if self.places is None else self.places[rows]


class BatchBuilder:
    """Builds training batches, and their samples where random transforms change them.

    Args:
        spec: its training split must not be empty.
        floats: (N, >= I) scaled training samples, where they are kept in memory, or None.
    Attributes:
        changes_samples: whether samples are augmented, mixed, or lose inputs, so that `fill` must run.
        input_dropout: the dropout layer before all others, or None.
    """

    def __init__(self, spec: EngineSpec, floats: Matrix | None = None) -> None:
        self._train, self._transforms, self._scaling = spec.splits["train"], spec.transforms, spec.scaling
        self._dtype, self._floats = np.dtype(spec.dtype), floats
        first = spec.architecture.layers[0]
        self.input_dropout = first if isinstance(first, Dropout) and first.rate else None
        self.changes_samples = bool(
            self._transforms.augmenter is not None or self._transforms.mixup or self.input_dropout
        )

    def build(self, update: Update, places: NDArray[np.int64] | None = None, n_batch: int = 0) -> TrainingBatch:
        """Return the batch of an update.

        Args:
            places: if given, the samples are a part of a batch of n_batch samples, at these positions. Mixup must be
                off then.
        """
        number, weights = update.step.number, self._train.weights
        labels = self._train.labels[update.batch]
        n = len(labels)
        loss_weights = None if weights is None else weights[update.batch].astype(self._dtype)
        rows: Rows = slice(0, n) if places is None else places
        augmentation = self._transforms.augmentation_parameters(number, rows)
        mixup = self._transforms.draw_mixup(number, n)
        return TrainingBatch(update.batch, labels, loss_weights, update.step, augmentation, mixup, n_batch or n, places)

    def fill(self, out: Matrix, batch: TrainingBatch, rows: slice) -> None:
        """Write some samples of a batch, augmented, scaled, mixed and with inputs dropped, into out (rows, I)."""
        self._augment(out, batch, np.arange(rows.start, rows.stop))
        if batch.mixup is not None:
            partners = np.empty_like(out)
            self._augment(partners, batch, batch.mixup.partners[rows])
            np.multiply(out, batch.mixup.fraction, out=out)
            np.multiply(partners, 1 - batch.mixup.fraction, out=partners)
            np.add(out, partners, out=out)
        if self.input_dropout is not None:
            width, at = out.shape[1], batch.in_batch(rows)
            rate, number = self.input_dropout.rate, batch.step.number
            np.multiply(out, self._transforms.dropout_mask(0, rate, number, at, width, self._dtype), out=out)

    def _augment(self, out: Matrix, batch: TrainingBatch, positions: NDArray[np.int64]) -> None:
        """Write the samples at some positions of a batch, augmented and scaled, into out."""
        samples = batch.batch
        where = positions + (samples.start or 0) if isinstance(samples, slice) else samples[positions]
        if batch.augmentation is None and self._floats is not None:
            np.copyto(out, self._floats[where, : out.shape[1]])
        else:
            parameters = None if batch.augmentation is None else batch.augmentation[positions]
            self._scaling.transform_into(self._transforms.augment(self._train.inputs[where], parameters), out)


def batch_size(batch: Batch) -> int:
    """Return the number of samples of a batch."""
    return int(batch.stop) - int(batch.start or 0) if isinstance(batch, slice) else len(batch)


def even_cuts(n: int, most: int) -> list[slice]:
    """Cut 0..n in as few slices of at most `most` as possible, all of nearly the same length."""
    count = -(-n // most)
    bounds = [*(round(i * (n / count)) for i in range(count)), n]
    return [slice(a, b) for a, b in pairwise(bounds)]


def part_of_batch(batch: Batch, rows: slice) -> Batch:
    """Return some rows of a batch as a batch."""
    if isinstance(batch, slice):
        first = batch.start or 0
        return slice(first + rows.start, first + rows.stop)
    return batch[rows]
