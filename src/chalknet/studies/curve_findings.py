"""Sentences about learning curves, by rules with stated constants: over-fitting, convergence, instability.

Curves are plain arrays: (S, E), a row a seed, a column an epoch, epoch 1 first. The rules are chalknet's own;
docs/statistics.md lists them with these constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ShapeError
from chalknet.formatting import count_of, json_ready
from chalknet.studies.correctness import FloatArray, checked_correct
from chalknet.studies.findings import Finding, points
from chalknet.studies.intervals import Interval
from chalknet.studies.loss_rise import LossRise, loss_rise
from chalknet.studies.random_effects import mean_interval

MIN_GAP = 0.01  # of accuracy: a train-validation gap is over-fitting where its whole interval lies above this
MIN_LOSS_RISE = 0.02  # of the lowest mean validation loss: a rise is said where its whole interval lies above this
NEAR_FINAL = 0.01  # of the final value: a curve has converged where it stays this near to it
LATE_FRACTION = 0.9  # of the epochs: a curve that converges later than this was still moving when it was stopped
MIN_JUMP = 0.05  # of the value before: a train loss that rises by more in one epoch is unstable there
MIN_DISAGREEMENT = 0.02  # of accuracy: seeds whose final validation accuracies differ by more disagree


@dataclass(frozen=True, eq=False)
class Curves:
    """The learning curves of one configuration, each (S, E) float64; a loss may be inf or nan where training diverged.

    Raises:
        ShapeError: a curve that is not (S, E) with S >= 1 and E >= 1, or curves of different shapes.
    """

    train_loss: FloatArray
    train_accuracy: FloatArray
    valid_loss: FloatArray
    valid_accuracy: FloatArray

    def __post_init__(self) -> None:
        shapes = {}
        for name in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
            shapes[name] = getattr(self, name).shape
        if len(set(shapes.values())) > 1 or self.train_loss.ndim != 2 or not self.train_loss.size:
            raise ShapeError(f"all curves must be (S, E), seeds and epochs, of one shape, got {shapes}.")


def curve_findings(
    label: str,
    curves: Curves,
    *,
    valid_correct: Any = None,
    valid_losses: Sequence[NDArray[Any]] | None = None,
    level: float = 0.95,
) -> tuple[Finding, ...]:
    """Over-fitting, convergence and instability of one configuration, as sentences; nothing where a rule finds nothing.

    Args:
        label: the configuration's, put into the sentences as it is.
        curves: of all seeds.
        valid_correct: (S, M) bool, who is right on which validation image after the last epoch; without it the
            interval of the gap carries the seeds alone.
        valid_losses: S arrays (E, M), the loss of each validation image after each epoch, where all seeds share the
            images; without it the interval of the loss's rise carries the seeds alone.
        level: of both intervals.
    Raises:
        ShapeError, DataError, ConfigError: see `final_gap` and `loss_rise`.
    """
    return (
        *_over_fitting(
            label,
            curves,
            final_gap(curves, valid_correct, level=level),
            loss_rise(curves.valid_loss, valid_losses, level=level),
        ),
        *_convergence(label, curves),
        *_instability(label, curves),
    )


def final_gap(curves: Curves, valid_correct: Any = None, *, level: float = 0.95) -> Interval:
    """Train accuracy minus validation accuracy after the last epoch, mean over seeds, with its interval.

    With valid_correct the (S, M) values  train_accuracy_s - correct_si  go through two-way random effects, so the
    interval carries seeds and validation images; the training set is taken as it is. Without, it is Student's t over
    the seeds' gaps.

    Args:
        curves: of all seeds; valid_correct: (S, M) bool or numbers in [0, 1], or None; level: in (0, 1).
    Raises:
        ShapeError: valid_correct has another number of seeds. DataError: see `checked_correct`. ConfigError: the level.
    """
    train = curves.train_accuracy[:, -1]
    if valid_correct is not None:
        correct = checked_correct(valid_correct, "valid_correct")
        if len(correct) != len(train):
            raise ShapeError(f"valid_correct must have a row for each of {len(train)} seeds, got {len(correct)}.")
        return mean_interval(train[:, None] - correct, level)
    return mean_interval(train - curves.valid_accuracy[:, -1], level)


def epochs_to_final(curve: Any) -> int:
    """The first epoch from which a curve (E,) stays within 1 % of its final value.

    Args:
        curve: (E,) finite values; where the final value is 0, from which it is 0.
    Raises:
        ShapeError: not (E,) with E >= 1.
    """
    values = np.asarray(curve, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ShapeError(f"a curve must be (E,) with E >= 1 epochs, got {values.shape}.")
    away = ~(np.abs(values - values[-1]) <= NEAR_FINAL * abs(values[-1]))  # nan is away
    return int(np.flatnonzero(away)[-1]) + 2 if away.any() else 1


def jumps(train_loss: Any) -> list[list[int]]:
    """For each seed the epochs in which the train loss rose by more than 5 % over the epoch before, or is not finite.

    Args:
        train_loss: (S, E).
    """
    loss = np.asarray(train_loss, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        rose = loss[:, 1:] > (1.0 + MIN_JUMP) * loss[:, :-1]
    found = ~np.isfinite(loss)
    found[:, 1:] |= rose
    return [[int(epoch) + 1 for epoch in np.flatnonzero(row)] for row in found]


def _over_fitting(label: str, curves: Curves, gap: Interval, loss: LossRise) -> list[Finding]:
    n_epochs, rise = curves.train_loss.shape[1], loss.rise
    said = []
    if gap.low > MIN_GAP:
        limits = f"{100 * gap.level:g} % interval {points(gap.low)} to {points(gap.high)}, of {gap.variance_sources}"
        said.append(f"its training accuracy ends {points(gap.value)} points above the validation accuracy ({limits})")
    if rise.low > MIN_LOSS_RISE and _training_goes_on(curves, loss.epoch):
        limits = (
            f"{100 * rise.level:g} % interval {points(rise.low)} to {points(rise.high)} %, of {rise.variance_sources}"
        )
        lowest = f"its validation loss is lowest at epoch {loss.epoch} of {n_epochs}"
        said.append(f"{lowest} and rises by {points(rise.value)} % from there ({limits})")
    if not said:
        return []
    figures = {
        "gap": gap.value,
        "gap_low": gap.low,
        "gap_high": gap.high,
        "lowest_loss_epoch": loss.epoch,
        "loss_rise": rise.value,
        "loss_rise_low": rise.low,
        "loss_rise_high": rise.high,
    }
    return [Finding("over_fitting", (label,), f"{label} over-fits: {', and '.join(said)}.", json_ready(figures))]


def _training_goes_on(curves: Curves, epoch: int) -> bool:
    """Whether the training loss still falls after an epoch; where both losses rise, training is unstable.

    An epoch's training scores are taken before its updates, so those of the network after epoch e stand in the record
    of epoch e + 1: exactly with full batches, as near as there is with mini-batches. After the last epoch but one there
    is no second figure to compare with.
    """
    train = curves.train_loss.mean(axis=0)
    if epoch + 1 >= len(train):
        return False
    return bool(np.isfinite(train[-1]) and train[-1] <= train[epoch])


def _convergence(label: str, curves: Curves) -> list[Finding]:
    if not np.isfinite(curves.train_loss).all():
        return []
    n_epochs = curves.train_loss.shape[1]
    loss = [epochs_to_final(row) for row in curves.train_loss]
    accuracy = [epochs_to_final(row) for row in curves.valid_accuracy]
    late = sum(epoch > LATE_FRACTION * n_epochs for epoch in loss)
    if 2 * late > len(loss):
        settled = f"its training loss was still moving when training stopped ({late} of {count_of(len(loss), 'seed')})"
        then = f"and its validation accuracy came to within 1 % of its final value by {_epochs(accuracy)}"
    else:
        settled = f"its training loss comes to within 1 % of its final value by {_epochs(loss)}"
        then = f"and its validation accuracy by {_epochs(accuracy)}"
    sentence = f"{label}: {settled}, {then} of {n_epochs}."
    figures = {"train_loss_epochs": float(np.median(loss)), "valid_accuracy_epochs": float(np.median(accuracy))}
    return [Finding("convergence", (label,), sentence, {**figures, "epochs": n_epochs, "late_seeds": late})]


def _instability(label: str, curves: Curves) -> list[Finding]:
    found = jumps(curves.train_loss)
    final = curves.valid_accuracy[:, -1]
    spread = float(final.max() - final.min())
    said = []
    if any(found):
        n_jumps, first = sum(map(len, found)), min(epochs[0] for epochs in found if epochs)
        seeds = f"{sum(bool(epochs) for epochs in found)} of {count_of(len(found), 'seed')}"
        times = "once" if n_jumps == 1 else f"{n_jumps} times"
        jump = f"its training loss rises by more than {100 * MIN_JUMP:.0f} % in an epoch"
        said.append(f"{jump} {times}, first in epoch {first} ({seeds})")
    if spread > MIN_DISAGREEMENT:
        ends = f"{100 * final.min():.1f} % to {100 * final.max():.1f} %"
        said.append(f"its seeds disagree: final validation accuracies from {ends}")
    if not said:
        return []
    figures = {"jumps": sum(map(len, found)), "final_accuracy_range": spread}
    return [Finding("instability", (label,), f"{label} is unstable: {', and '.join(said)}.", {**figures})]


def _epochs(found: list[int]) -> str:
    """ "epoch 50", or "epochs 48 to 53" where seeds differ."""
    return f"epoch {found[0]}" if min(found) == max(found) else f"epochs {min(found)} to {max(found)}"
