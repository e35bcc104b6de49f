"""Find the best epoch of finished runs from their full curves, with an interval.

    curve(e) = mean over seeds s and validation images i of value_sei        the monitor after epoch e
    stop     = the first epoch with the smallest loss; or with the largest accuracy, equal ones by loss

The interval is that of the percentile bootstrap: seeds and images are drawn together with
replacement, and images stay paired over epochs and seeds (Sellam et al., The MultiBERTs, ICLR
2022). It says how far the best epoch would move with other seeds and other validation images; with
one seed, with other images only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.sample_losses import are_clipped
from chalknet.errors import ShapeError
from chalknet.records import SPLITS, EpochRecord
from chalknet.studies.configurations import Configuration
from chalknet.studies.intervals import Interval
from chalknet.studies.results import RunResult, StudyResults

RESAMPLES = 2_000
AT_A_TIME = 250  # number of resamples whose curves are in memory at a time
LEVEL = 0.95
DIGITS = 12  # of a mean accuracy; more digits are rounding errors
RESAMPLING_SEED = 0  # fixed, so that the same results give the same interval


@dataclass(frozen=True)
class StoppingPoint:
    """The best epoch of runs that differ only in their seeds, and what further training changed.

    Attributes:
        monitor: "valid_loss" or "valid_accuracy".
        epoch: the best epoch, from 1, with its interval; nan limits if there are no values of
            single images.
        by_seed: the best epoch of each seed.
        n_epochs: number of epochs that were trained.
        accuracy_at_best: by split, the accuracy of each seed after the best epoch; splits without
            samples are left out.
        accuracy_at_end: the same after the last epoch.
        valid_gain: mean validation accuracy at the end minus that at the best epoch, with its
            interval, in [-1, 1].
        wrong_loss: mean validation loss of the misclassified images over all seeds, after the best
            epoch and after the last, in nats; nan if there are none, or if single losses are not
            known exactly.
        correct_loss: the same for the images that were classified correctly.
    """

    monitor: str
    epoch: Interval
    by_seed: tuple[int, ...]
    n_epochs: int
    accuracy_at_best: Mapping[str, tuple[float, ...]]
    accuracy_at_end: Mapping[str, tuple[float, ...]]
    valid_gain: Interval
    wrong_loss: tuple[float, float] = (math.nan, math.nan)
    correct_loss: tuple[float, float] = (math.nan, math.nan)

    def gain(self, split: str) -> float:
        """Return the mean accuracy of a split at the end minus that at the best epoch."""
        return float(np.mean(self.accuracy_at_end[split]) - np.mean(self.accuracy_at_best[split]))


def stopping_point(
    histories: Sequence[Sequence[EpochRecord]],
    losses: NDArray[Any] | None,
    correct: NDArray[np.bool_] | None,
    rng: np.random.Generator,
    *,
    monitor: str = "valid_loss",
    resamples: int = RESAMPLES,
) -> StoppingPoint:
    """Return the stopping point of S runs of E epochs each, scored on the same M validation images.

    Args:
        histories: S runs, each of E records with validation scores.
        losses: (S, E, M) float, the loss of each validation image after each epoch; None if they
            were not stored. If an early version of chalknet has cut off the largest of them, the
            epoch of the lowest loss has no interval.
        correct: (S, E, M) bool, whether each image was classified correctly; None if not stored.
        rng: draws the resamples.
        monitor: "valid_loss" or "valid_accuracy".
        resamples: number of resamples of the bootstrap.

    Raises:
        ShapeError: there is no run, the lengths differ, validation scores are missing, or losses
            and correct have other shapes.
    """
    curves = _monitored_curves(histories, monitor)
    n_seeds, n_epochs = curves.shape
    each_loss = _monitored_curves(histories, "valid_loss")
    mean_loss = each_loss.mean(axis=0)
    best = _best_epoch(_equal_where_near(curves.mean(axis=0), monitor), mean_loss)
    epoch_ends = gain_ends = wrong_loss = correct_loss = (math.nan, math.nan)
    if losses is not None and correct is not None:
        if losses.shape != correct.shape or losses.shape[:2] != (n_seeds, n_epochs) or not losses.shape[2]:
            raise ShapeError(f"losses {losses.shape} and correct {correct.shape} must be ({n_seeds}, {n_epochs}, M).")
        values = losses if monitor == "valid_loss" else ~correct
        # In resamples, too, the smaller loss decides between equal epochs.
        order = np.argsort(mean_loss, kind="stable")
        bests, gains = _resampled(values[:, order], correct, best, rng, resamples, monitor)
        bests = order[bests]
        gain_ends = _ends(gains)
        if not are_clipped(values):  # with clipped losses the stopping point could lie outside its interval
            epoch_ends = _ends(bests + 1)
        if not are_clipped(losses):
            wrong_loss, correct_loss = (_losses_of(losses, each, best) for each in (~correct, correct))
    splits = [split for split in SPLITS if histories[0][0].scores(split) is not None]
    then = {split: _accuracies(histories, split, best) for split in splits}
    end = {split: _accuracies(histories, split, n_epochs - 1) for split in splits}
    return StoppingPoint(
        monitor=monitor,
        epoch=Interval(best + 1, *epoch_ends, LEVEL),
        by_seed=tuple(_best_epoch(*one) + 1 for one in zip(curves, each_loss, strict=True)),
        n_epochs=n_epochs,
        accuracy_at_best=then,
        accuracy_at_end=end,
        valid_gain=Interval(float(np.mean(end["valid"]) - np.mean(then["valid"])), *gain_ends, LEVEL),
        wrong_loss=wrong_loss,
        correct_loss=correct_loss,
    )


def find_stopping_point(
    histories: Sequence[Sequence[EpochRecord]],
    n_epochs: int,
    losses: NDArray[Any] | None,
    correct: NDArray[np.bool_] | None,
    monitor: str = "valid_loss",
) -> tuple[StoppingPoint | None, str]:
    """Return `stopping_point`, or None and the reason; n_epochs is the planned number of epochs."""
    if histories[0][0].valid is None:
        return None, "it has no validation samples to judge by"
    if any(len(history) < n_epochs for history in histories):
        return None, "it stopped early, so its curves are not whole"
    rng = np.random.default_rng(RESAMPLING_SEED)
    return stopping_point(histories, losses, correct, rng, monitor=monitor), ""


def find_configuration_stopping_point(
    results: StudyResults, config: Configuration, runs: Sequence[RunResult], monitor: str = "valid_loss"
) -> tuple[StoppingPoint | None, str]:
    """Return the stopping point of a configuration from its finished runs, or None and the reason.

    There is no interval if each seed has its own validation images, which cannot be paired.
    """
    if len(runs) < len(results.seeds):
        return None, f"{len(runs)} of its {len(results.seeds)} seeds are done"
    same = results.has_same_images or len(runs) == 1
    has_samples = same and all(run.valid_losses.shape[1] for run in runs)
    n_epochs = {len(run.history) for run in runs}
    losses = correct = None
    if has_samples and len(n_epochs) == 1:
        losses, correct = (np.stack([getattr(run, name) for run in runs]) for name in ("valid_losses", "valid_correct"))
    histories = [run.history for run in runs]
    return find_stopping_point(histories, config.recipe.training.epochs, losses, correct, monitor)


def _monitored_curves(histories: Sequence[Sequence[EpochRecord]], monitor: str) -> NDArray[np.float64]:
    """Return (S, E) values to minimize: the loss, or the fraction of misclassified images."""
    lengths = {len(history) for history in histories}
    if len(lengths) != 1 or not lengths - {0}:
        raise ShapeError(f"runs must have the same number of epochs, one at least, got {sorted(lengths)}.")
    if any(record.valid is None for history in histories for record in history):
        raise ShapeError("a stopping point needs validation scores, and there are none.")
    scores = [[record.valid for record in history if record.valid is not None] for history in histories]
    if monitor == "valid_loss":
        return np.array([[score.loss for score in run] for run in scores])
    return np.array([[1 - score.accuracy for score in run] for run in scores])


def _best_epoch(curve: NDArray[np.float64], loss: NDArray[np.float64]) -> int:
    """Return the epoch, from 0, with the smallest value of a curve (E,), by loss among equal ones."""
    return int(np.lexsort((loss, curve))[0])


def _equal_where_near(values: NDArray[np.float64], monitor: str) -> NDArray[np.float64]:
    """Return mean accuracies without their last digits, so that rounding does not order equal ones."""
    return values if monitor == "valid_loss" else values.round(DIGITS)


def _resampled(
    values: NDArray[Any], correct: NDArray[np.bool_], best: int, rng: np.random.Generator, resamples: int, monitor: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the best epoch of each resample, from 0, and its gain in accuracy after `best`."""
    n_seeds, n_epochs, n_images = values.shape
    flat = _summable(values.reshape(-1, n_images))
    change = correct[:, -1].astype(np.float64) - correct[:, best]  # (S, M)
    bests, gains = [], []
    for start in range(0, resamples, AT_A_TIME):
        n = min(AT_A_TIME, resamples - start)
        of_images = rng.multinomial(n_images, np.full(n_images, 1 / n_images), n)
        of_seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), n) / n_seeds
        curves = (flat @ of_images.T.astype(flat.dtype)).reshape(n_seeds, n_epochs, n)
        means = np.einsum("rs,ser->re", of_seeds, curves.astype(np.float64))
        bests.append(_equal_where_near(means, monitor).argmin(axis=1))
        gains.append(np.einsum("rs,sr->r", of_seeds, change @ of_images.T) / n_images)
    return np.concatenate(bests), np.concatenate(gains)


def _summable(values: NDArray[Any]) -> NDArray[Any]:
    """Return (S E, M) values in a type and scale in which no sum over images overflows."""
    if values.dtype.itemsize <= np.float16().itemsize:
        return np.ascontiguousarray(values, dtype=np.float32)
    scaled: NDArray[Any] = values.astype(np.float64) / values.shape[1]
    return scaled


def _losses_of(losses: NDArray[Any], chosen: NDArray[np.bool_], best: int) -> tuple[float, float]:
    """Return the mean loss of chosen images after the best epoch and the last; nan if none."""
    found = (losses[:, at][chosen[:, at]] for at in (best, -1))
    first, last = (float(one.mean(dtype=np.float64)) if one.size else math.nan for one in found)
    return first, last


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    """Return the limits of the middle 95 % of values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return float(low), float(high)


def _accuracies(histories: Sequence[Sequence[EpochRecord]], split: str, epoch: int) -> tuple[float, ...]:
    """Return each run's accuracy on a split after an epoch, counted from 0."""
    scores = [history[epoch].scores(split) for history in histories]
    return tuple(score.accuracy for score in scores if score is not None)
