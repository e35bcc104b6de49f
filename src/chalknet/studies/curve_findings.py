"""Find overfitting, late settling and instability in learning curves, by rules with stated constants.

Curves are plain arrays (S, E): one row per seed, one column per epoch, starting with epoch 1. The rules are
chalknet's own; docs/statistics.md, section 7, lists them with these constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ShapeError
from chalknet.studies.correctness import FloatArray, checked_correct
from chalknet.studies.intervals import Interval
from chalknet.studies.loss_rise import LossRise, loss_rise
from chalknet.studies.random_effects import mean_interval

# Overfitting: the whole interval of the accuracy gap lies above this, a difference of accuracies.
MIN_GAP = 0.01
# Overfitting: the whole interval of the rise lies above this, a fraction of the lowest mean validation loss.
MIN_LOSS_RISE = 0.02
# A loss has settled where it stays this near to its final value, as a fraction of its change from the first epoch to
# the last. A fraction of the final value would never be reached by a training loss that goes to 0.
SETTLED_LOSS = 0.01
# An accuracy has settled where it stays this near to its final value.
SETTLED_ACCURACY = 0.01
# A curve that settles after this fraction of the epochs had not settled when training ended.
LATE_FRACTION = 0.9
# With fewer epochs the rest after LATE_FRACTION is one epoch, and every curve is near its final value there.
MIN_SETTLING_EPOCHS = 20
# A jump is a rise of the training loss in one epoch by more than this fraction of its value before, and by more than
# SETTLED_LOSS of its change over the whole training: 5 % of a loss of 0.0001 is nothing.
MIN_JUMP = 0.05
# Jumps after this fraction of the epochs make training unstable. Earlier ones are common with a large momentum.
LATE_JUMPS = 0.5
# Seeds disagree where their final validation accuracies differ by more than this.
MIN_DISAGREEMENT = 0.02


@dataclass(frozen=True, eq=False)
class Curves:
    """The learning curves of one configuration, each (S, E) float64. A loss may be inf or nan after a divergence.

    Raises:
        ShapeError: a curve is not (S, E) with S >= 1 and E >= 1, or the shapes differ.
    """

    train_loss: FloatArray
    train_accuracy: FloatArray
    valid_loss: FloatArray
    valid_accuracy: FloatArray

    def __post_init__(self) -> None:
        """Convert the curves to float64 and check their shapes."""
        shapes = {}
        for name in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
            shapes[name] = getattr(self, name).shape
        if len(set(shapes.values())) > 1 or self.train_loss.ndim != 2 or not self.train_loss.size:
            raise ShapeError(f"all curves must be (S, E), seeds and epochs, of one shape, got {shapes}.")


@dataclass(frozen=True, eq=False)
class CurveFindings:
    """What the rules find in the learning curves of one configuration.

    Attributes:
        n_epochs: E.
        gap: training accuracy minus validation accuracy after the last epoch, mean over the seeds.
        loss: the lowest validation loss and the rise after it.
        training_continues: whether the mean training loss still falls after the epoch with the lowest validation loss.
            Where both losses rise, training is unstable, and the rise is not overfitting.
        loss_settled: for each seed the epoch at which the training loss has settled; empty if a loss is not finite or
            the training loss is noisy, or with fewer than `MIN_SETTLING_EPOCHS` epochs.
        accuracy_settled: for each seed the epoch at which the validation accuracy has settled; empty with so few
            epochs.
        jumps: for each seed the epochs in which the training loss jumps or is not finite; if it is noisy, those in
            which it is not finite.
        final_accuracies: for each seed the validation accuracy after the last epoch.
        is_finite: whether the training loss of all seeds is finite at every epoch.
        has_noisy_training: whether the training scores include dropout, augmentation or mixup.
    """

    n_epochs: int
    gap: Interval
    loss: LossRise
    training_continues: bool
    loss_settled: tuple[int, ...]
    accuracy_settled: tuple[int, ...]
    jumps: tuple[tuple[int, ...], ...]
    final_accuracies: tuple[float, ...]
    is_finite: bool = True
    has_noisy_training: bool = False

    @property
    def has_accuracy_gap(self) -> bool:
        """Whether training accuracy exceeds validation accuracy by more than `MIN_GAP`, with the whole interval."""
        return self.gap.low > MIN_GAP

    @property
    def has_loss_rise(self) -> bool:
        """Whether the validation loss rises by more than `MIN_LOSS_RISE`, with the whole interval."""
        return self.training_continues and self.loss.rise.low > MIN_LOSS_RISE

    @property
    def overfits(self) -> bool:
        """Whether there is an accuracy gap or a rise of the loss."""
        return self.has_accuracy_gap or self.has_loss_rise

    @property
    def has_settled(self) -> bool:
        """Whether the training loss of at least half of the seeds settled before the last tenth of the epochs."""
        return have_settled(self.loss_settled, self.n_epochs)

    @property
    def is_unstable(self) -> bool:
        """Whether the training loss of a seed jumps in the second half of training, or is not finite at any epoch."""
        late = any(epoch > LATE_JUMPS * self.n_epochs for row in self.jumps for epoch in row)
        return late or not self.is_finite

    @property
    def seeds_disagree(self) -> bool:
        """Whether the final validation accuracies of two seeds differ by more than `MIN_DISAGREEMENT`."""
        return max(self.final_accuracies) - min(self.final_accuracies) > MIN_DISAGREEMENT


def curve_findings(
    curves: Curves,
    *,
    valid_correct: Any = None,
    valid_losses: Sequence[NDArray[Any]] | None = None,
    has_noisy_training: bool = False,
    level: float = 0.95,
) -> CurveFindings:
    """Apply the rules to the curves of one configuration.

    Args:
        curves: of all seeds.
        valid_correct: (S, M) bool, which validation images each seed classifies correctly after the last epoch. Without
            it the interval of the gap covers the seeds alone.
        valid_losses: S arrays (E, M), the loss of each validation image after each epoch, where all seeds share the
            images. Without it the interval of the rise covers the seeds alone.
        has_noisy_training: whether the training scores include dropout, augmentation or mixup. The training loss then
            differs from epoch to epoch by the random draws, and it is not judged whether it settles or jumps.
        level: of both intervals, in (0, 1).

    Raises:
        ShapeError, DataError, ConfigError: as `final_gap` and `loss_rise`.
    """
    loss = loss_rise(curves.valid_loss, valid_losses, level=level)
    train_loss, n_epochs = curves.train_loss, curves.train_loss.shape[1]
    finite, long = bool(np.isfinite(train_loss).all()), n_epochs >= MIN_SETTLING_EPOCHS
    judged = train_loss if long and finite and not has_noisy_training else train_loss[:0]
    return CurveFindings(
        n_epochs=n_epochs,
        gap=final_gap(curves, valid_correct, level=level),
        loss=loss,
        training_continues=_training_continues(curves, loss.epoch),
        loss_settled=tuple(settling_epoch(row, SETTLED_LOSS * abs(row[0] - row[-1])) for row in judged),
        accuracy_settled=tuple(settling_epoch(row, SETTLED_ACCURACY) for row in curves.valid_accuracy if long),
        jumps=jumps(np.where(np.isfinite(train_loss), 0.0, np.inf) if has_noisy_training else train_loss),
        final_accuracies=tuple(float(value) for value in curves.valid_accuracy[:, -1]),
        is_finite=finite,
        has_noisy_training=has_noisy_training,
    )


def have_settled(epochs: Sequence[int], n_epochs: int) -> bool:
    """Return whether at least half of the curves settled before the last tenth of the epochs.

    Args:
        epochs: the epoch at which each curve has settled.
        n_epochs: number of epochs.
    """
    late = sum(epoch > LATE_FRACTION * n_epochs for epoch in epochs)
    return bool(epochs) and 2 * late <= len(epochs)


def final_gap(curves: Curves, valid_correct: Any = None, *, level: float = 0.95) -> Interval:
    """Return training accuracy minus validation accuracy after the last epoch, mean over seeds, with its interval.

    With valid_correct the (S, M) values  train_accuracy_s - correct_si  go through two-way random effects, so the
    interval covers seeds and validation images; the training set is taken as it is. Without it, the interval is
    Student's t over the seeds' gaps.

    Args:
        curves: of all seeds.
        valid_correct: (S, M) bool or numbers in [0, 1], or None.
        level: of the interval, in (0, 1).

    Raises:
        ShapeError: valid_correct has another number of seeds.
        DataError: as `checked_correct`.
        ConfigError: the level is not in (0, 1).
    """
    train = curves.train_accuracy[:, -1]
    if valid_correct is not None:
        correct = checked_correct(valid_correct, "valid_correct")
        if len(correct) != len(train):
            raise ShapeError(f"valid_correct must have a row for each of {len(train)} seeds, got {len(correct)}.")
        return mean_interval(train[:, None] - correct, level)
    return mean_interval(train - curves.valid_accuracy[:, -1], level)


def settling_epoch(curve: Any, tolerance: float) -> int:
    """Return the first epoch, starting at 1, from which a curve stays within a tolerance of its final value.

    Args:
        curve: (E,) finite values.
        tolerance: largest absolute distance from the final value, >= 0.

    Raises:
        ShapeError: the curve is not (E,) with E >= 1.
    """
    values = np.asarray(curve, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ShapeError(f"a curve must be (E,) with E >= 1 epochs, got {values.shape}.")
    # Accuracies are multiples of 1/M, so a distance can equal the tolerance but for rounding. nan is away.
    away = ~(np.abs(values - values[-1]) <= tolerance * (1 + 1e-9))
    return int(np.flatnonzero(away)[-1]) + 2 if away.any() else 1


def jumps(train_loss: Any) -> tuple[tuple[int, ...], ...]:
    """Return for each seed the epochs in which the training loss jumps or is not finite.

    A jump is a rise over the epoch before by more than `MIN_JUMP` of the value there and by more than `SETTLED_LOSS` of
    the change between the first and the last finite loss of the seed.

    Args:
        train_loss: (S, E), nats.
    """
    return tuple(_jumps_of_seed(row) for row in np.asarray(train_loss, dtype=np.float64))


def _jumps_of_seed(loss: FloatArray) -> tuple[int, ...]:
    finite = np.isfinite(loss)
    known = loss[finite]
    change = abs(known[0] - known[-1]) if known.size else 0.0
    found = ~finite
    with np.errstate(invalid="ignore"):
        rise = np.diff(loss)
        found[1:] |= (rise > MIN_JUMP * loss[:-1]) & (rise > SETTLED_LOSS * change)
    return tuple(int(epoch) + 1 for epoch in np.flatnonzero(found))


def _training_continues(curves: Curves, epoch: int) -> bool:
    """Return whether the training loss is lower at the end than after an epoch.

    The training scores of an epoch are computed before its updates, so those of the network after epoch e are in the
    record of epoch e + 1: exactly with full batches, approximately with mini-batches. After the last epoch but one
    there is no second value to compare with.
    """
    train = curves.train_loss.mean(axis=0)
    if epoch + 1 >= len(train):
        return False
    return bool(np.isfinite(train[-1]) and train[-1] <= train[epoch])
