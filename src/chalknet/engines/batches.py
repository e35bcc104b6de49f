"""Training batches: the samples of an update after random transforms, and how batches are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.engine import Batch, EngineSpec, Update
from chalknet.engines.random_transforms import Mixup, Rows
from chalknet.engines.scores import Matrix, Targets
from chalknet.errors import ConfigError
from chalknet.network.dropout import Dropout
from chalknet.network.optimizers import Step

Labels = NDArray[np.integer[Any]]


class TrainingBatch(NamedTuple):
    """The samples of one update: labels, weights and random numbers.

    On a shard these are only some of the samples of a batch.

    Attributes:
        batch: positions of the n samples in the training split.
        labels: (n,) integers in [0, K).
        weights: (n,) weights of the samples in the loss, or None for equal weights.
        step: number and learning rate of the update.
        augmentation: (n, PARAMETERS_PER_IMAGE) random numbers for the augmenter, or None.
        mixup: partners and fraction, or None without mixup.
        n_batch: size of the whole batch; n, or more on a shard.
        batch_positions: positions of the samples in the whole batch, ascending; None if they are
            the whole batch.
    """

    batch: Batch
    labels: Labels
    weights: Matrix | None
    step: Step
    augmentation: NDArray[np.float64] | None
    mixup: Mixup | None
    n_batch: int
    batch_positions: NDArray[np.int64] | None = None

    def targets(self, rows: slice, smoothing: float) -> Targets:
        """Return the targets of some of the samples, with this label smoothing."""
        if self.weights is None and self.mixup is None:
            return Targets(self.labels[rows], None, 1.0, None, smoothing)
        weights = None if self.weights is None else self.weights[rows]
        if self.mixup is None:
            return Targets(self.labels[rows], weights=weights, smoothing=smoothing)
        partners = self.labels[self.mixup.partners[rows]]
        return Targets(self.labels[rows], partners, self.mixup.fraction, weights, smoothing)

    def positions_in_batch(self, rows: slice) -> Rows:
        """Return the positions in the whole batch of some of the samples."""
        return rows if self.batch_positions is None else self.batch_positions[rows]


class BatchBuilder:
    """Builds training batches and, where random transforms change them, their samples.

    Args:
        spec: what the engine is constructed from; its training split must not be empty.
        floats: (N, >= I) scaled training samples if they are kept in memory, or None.

    Raises:
        ConfigError: a residual connection skips dropout of the samples.

    Attributes:
        changes_samples: whether augmentation, mixup or input dropout changes samples. Then `fill`
            computes the inputs of a batch.
        input_dropout: the dropout layer in front of all others, or None.
    """

    def __init__(self, spec: EngineSpec, floats: Matrix | None = None) -> None:
        """Create a builder for the training split of a spec."""
        self._train, self._transforms, self._scaling = spec.splits["train"], spec.transforms, spec.scaling
        self._dtype, self._floats = np.dtype(spec.dtype), floats
        first = spec.architecture.layers[0]
        self.input_dropout: Dropout | None = first if isinstance(first, Dropout) and first.rate else None
        if self.input_dropout and any(named.shortcut == 0 for named in spec.architecture.named_layers):
            raise ConfigError(
                "a residual connection cannot skip dropout in front of all other layers. Put a layer before the "
                "dropout, or use engine='reference'."
            )
        self.changes_samples: bool = bool(
            self._transforms.augmenter is not None or self._transforms.mixup or self.input_dropout
        )
        # Whether a batch is more than its samples and labels.
        self._needs_more = self.changes_samples or self._train.weights is not None

    def build(
        self, update: Update, batch_positions: NDArray[np.int64] | None = None, n_batch: int = 0
    ) -> TrainingBatch:
        """Return the batch of an update.

        Args:
            update: positions and step.
            batch_positions: if given, the samples of `update` are only some of a batch of n_batch
                samples, at these positions. Mixup must be off then.
            n_batch: size of the whole batch; 0 if it consists of the samples of `update`.
        """
        samples, step = update
        labels = self._train.labels[samples]
        n = len(labels)
        if not self._needs_more:
            return TrainingBatch(samples, labels, None, step, None, None, n_batch or n, batch_positions)
        weights = None if self._train.weights is None else self._train.weights[samples].astype(self._dtype)
        rows: Rows = slice(0, n) if batch_positions is None else batch_positions
        augmentation = self._transforms.augmentation_parameters(step.number, rows)
        mixup = self._transforms.draw_mixup(step.number, n)
        return TrainingBatch(samples, labels, weights, step, augmentation, mixup, n_batch or n, batch_positions)

    def fill(self, out: Matrix, batch: TrainingBatch, rows: slice) -> None:
        """Write the inputs of some samples of a batch after all random transforms.

        Args:
            out: (rows, I) array to write to.
            batch: from `build`.
            rows: which samples of the batch.
        """
        self._augment(out, batch, np.arange(rows.start, rows.stop))
        if batch.mixup is not None:
            partners = np.empty_like(out)
            self._augment(partners, batch, batch.mixup.partners[rows])
            np.multiply(out, batch.mixup.fraction, out=out)
            np.multiply(partners, 1 - batch.mixup.fraction, out=partners)
            np.add(out, partners, out=out)
        if self.input_dropout is not None:
            width, at = out.shape[1], batch.positions_in_batch(rows)
            rate, number = self.input_dropout.rate * batch.step.dropout_multiplier, batch.step.number
            np.multiply(out, self._transforms.dropout_mask(0, rate, number, at, width, self._dtype), out=out)

    def _augment(self, out: Matrix, batch: TrainingBatch, positions: NDArray[np.int64]) -> None:
        """Write the samples at some positions of a batch, augmented and scaled, to out."""
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


def even_slices(n: int, max_length: int) -> list[slice]:
    """Return as few slices as possible that cover 0..n, none longer than max_length.

    Their lengths differ by at most 1.
    """
    count = -(-n // max_length)
    bounds = [*(round(i * (n / count)) for i in range(count)), n]
    return [slice(a, b) for a, b in pairwise(bounds)]


def slice_batch(batch: Batch, rows: slice) -> Batch:
    """Return some rows of a batch, as a batch."""
    if isinstance(batch, slice):
        first = batch.start or 0
        return slice(first + rows.start, first + rows.stop)
    return batch[rows]
