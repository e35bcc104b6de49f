"""Measure how far the validation loss ends above its lowest value, without the luck of the minimum.

    rise_si = loss_s,last,i - loss_s,e(s,i),i        seed s, validation image i
    e(s,i)  = the epoch at which the mean loss of the other half of the seeds on the other half of the images is lowest

The lowest of many epochs is lowest partly by luck, and a rise above it would include that luck. So
seeds and images are halved by their positions, even and odd, and each half is measured at an epoch
that the other half chose. Leaving out only the measured seed would let nearly the same seeds choose
for each, and their luck would return. docs/statistics.md says how often a rise is reported if there
is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.sample_losses import are_clipped
from chalknet.errors import ShapeError
from chalknet.studies.correctness import FloatArray
from chalknet.studies.intervals import Interval
from chalknet.studies.random_effects import mean_interval

MIN_IMAGES = 4  # so that each half has two
HALVES = 2


@dataclass(frozen=True)
class LossRise:
    """How far the mean validation loss ends above its lowest value, as a fraction of that value.

    Attributes:
        epoch: the epoch, from 1, at which the mean loss of all seeds is lowest.
        lowest: that loss, in nats.
        rise_of_mean: how far the mean loss of all seeds ends above `lowest`, as the drawn curve
            shows it.
        rise: the rise at epochs that other seeds and images chose, with its interval; nan limits if
            there is none.
    """

    epoch: int
    lowest: float
    rise_of_mean: float
    rise: Interval


def loss_rise(
    valid_loss: FloatArray, valid_losses: Sequence[NDArray[Any]] | None = None, *, level: float = 0.95
) -> LossRise:
    """Return the rise of the validation loss after its lowest value, by the formulas above.

    With the losses of single images, the (S, M) rises are analyzed by two-way random effects, so
    the interval accounts for seeds and images; with one seed, for images only. Without them, only
    seeds are halved, and the interval is Student's t over their rises; one seed has none. There is
    also none with fewer than `MIN_IMAGES` images, with losses that an early version of chalknet has
    cut off, or if a measured loss is not finite.

    Args:
        valid_loss: (S, E) mean validation losses in nats; values that are not finite are never the
            lowest.
        valid_losses: S arrays (E, M), the losses of the M images that all seeds share; None if
            seeds have their own images, or single losses are not known.
        level: confidence level of the interval, in (0, 1).

    Raises:
        ShapeError: valid_losses does not match valid_loss.
        ConfigError: level is not in (0, 1).
    """
    with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite have no interval
        epoch = lowest_epoch(valid_loss)
        mean = valid_loss.mean(axis=0)
        lowest = float(mean[epoch])
        rises = _rises(valid_loss, valid_losses) / lowest if 0.0 < lowest < np.inf else np.empty(0)
        return LossRise(epoch + 1, lowest, float(mean[-1] / lowest - 1.0), mean_interval(rises, level))


def lowest_epoch(curves: FloatArray) -> int:
    """Return the first epoch, from 0, with the lowest finite mean of (S, E) curves."""
    mean = curves.mean(axis=0)
    return int(np.where(np.isfinite(mean), mean, np.inf).argmin())


def _rises(valid_loss: FloatArray, losses: Sequence[NDArray[Any]] | None) -> FloatArray:
    """Return the (S, M) or (S,) rises in nats, or an empty array if they cannot be measured."""
    if losses is None:
        return _rises_of_seeds(valid_loss)
    (n_seeds, n_epochs), shapes = valid_loss.shape, [one.shape for one in losses]
    if len(shapes) != n_seeds or len(set(shapes)) != 1 or len(shapes[0]) != 2 or shapes[0][0] != n_epochs:
        raise ShapeError(f"valid_losses must be ({n_epochs}, M), M alike, for each of {n_seeds} seeds, got {shapes}.")
    few = shapes[0][1] < MIN_IMAGES
    return np.empty(0) if few or any(are_clipped(one) for one in losses) else _rises_of_images(losses)


def _rises_of_images(losses: Sequence[NDArray[Any]]) -> FloatArray:
    """Return the (S, M) rises; only one seed's losses are converted to float64 at a time."""
    curves = np.array([[one[:, h::HALVES].mean(axis=1, dtype=np.float64) for h in range(HALVES)] for one in losses])
    rises = np.empty((len(losses), losses[0].shape[1]))
    for s, one in enumerate(losses):
        for h in range(HALVES):
            epoch = lowest_epoch(_others(curves[:, 1 - h], s))
            rises[s, h::HALVES] = one[-1, h::HALVES].astype(np.float64) - one[epoch, h::HALVES]
    return rises


def _rises_of_seeds(valid_loss: FloatArray) -> FloatArray:
    """Return the (S,) rises of the mean losses of the seeds."""
    return np.array([one[-1] - one[lowest_epoch(_others(valid_loss, s))] for s, one in enumerate(valid_loss)])


def _others(curves: FloatArray, seed: int) -> FloatArray:
    """Return the curves of the half of the seeds that does not contain this one, if there are two."""
    return curves if len(curves) == 1 else curves[1 - seed % HALVES :: HALVES]
