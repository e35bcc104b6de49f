"""By how much the validation loss ends above its lowest value, measured where the epoch was not chosen.

    rise_si = loss_s,last,i - loss_s,e(s,i),i        seed s, validation image i
    e(s,i)  = the epoch at which the mean loss of the other half of the seeds on the other half of the images is lowest

The lowest of many epochs is lowest by luck in part, and a rise above it would be that luck: so the seeds and the images
are halved by their places, even and odd, and each half is measured at an epoch that the other half chose. If all seeds
but the measured one chose, nearly the same seeds would choose for each, and their luck would come back. How often a
rise is said where there is none: docs/statistics.md.
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

MIN_IMAGES = 4  # two in each half
HALVES = 2


@dataclass(frozen=True)
class LossRise:
    """How far the mean validation loss ends above its lowest value, as shares of that value.

    Attributes:
        epoch, lowest: where the mean loss of all seeds is lowest, and that loss in nats.
        rise_of_mean: how far the mean loss of all seeds ends above `lowest`, as the drawn curve shows it.
        rise: the rise at epochs that other seeds and images chose, with its interval; nan limits where there is none.
    """

    epoch: int
    lowest: float
    rise_of_mean: float
    rise: Interval


def loss_rise(
    valid_loss: FloatArray, valid_losses: Sequence[NDArray[Any]] | None = None, *, level: float = 0.95
) -> LossRise:
    """The rise of the validation loss after its lowest value, by the formulas at the top of this file.

    With the losses of single images the (S, M) rises go through two-way random effects, so the interval carries seeds
    and images; with one seed, which chooses on one half of the images for the other, the images alone. Without, only
    the seeds are halved, and the interval is Student's over their rises; one seed has none. Nor is there one of fewer
    than `MIN_IMAGES` images, of losses that a file of before has cut off, or where a measured loss is not finite.

    Args:
        valid_loss: (S, E) mean validation losses, nats; values that are not finite are never lowest.
        valid_losses: S arrays (E, M), the losses of the M images that all seeds share; None where each seed has images
            of its own, or they are not known.
        level: of the interval, in (0, 1).

    Raises:
        ShapeError: valid_losses does not fit valid_loss. ConfigError: the level.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite has no interval, and so is not said
        epoch = lowest_epoch(valid_loss)
        mean = valid_loss.mean(axis=0)
        lowest = float(mean[epoch])
        rises = _rises(valid_loss, valid_losses) / lowest if 0.0 < lowest < np.inf else np.empty(0)
        return LossRise(epoch + 1, lowest, float(mean[-1] / lowest - 1.0), mean_interval(rises, level))


def lowest_epoch(curves: FloatArray) -> int:
    """The first epoch, from 0, at which the mean of (S, E) curves is lowest; one that is not finite never is."""
    mean = curves.mean(axis=0)
    return int(np.where(np.isfinite(mean), mean, np.inf).argmin())


def _rises(valid_loss: FloatArray, losses: Sequence[NDArray[Any]] | None) -> FloatArray:
    """(S, M) or (S,) rises in nats; empty where they cannot be told."""
    if losses is None:
        return _rises_of_seeds(valid_loss)
    (n_seeds, n_epochs), shapes = valid_loss.shape, [one.shape for one in losses]
    if len(shapes) != n_seeds or len(set(shapes)) != 1 or len(shapes[0]) != 2 or shapes[0][0] != n_epochs:
        raise ShapeError(f"valid_losses must be ({n_epochs}, M), M alike, for each of {n_seeds} seeds, got {shapes}.")
    few = shapes[0][1] < MIN_IMAGES
    return np.empty(0) if few or any(are_clipped(one) for one in losses) else _rises_of_images(losses)


def _rises_of_images(losses: Sequence[NDArray[Any]]) -> FloatArray:
    """(S, M) rises; seed by seed, so that no more than one seed's losses are held wider than they come."""
    curves = np.array([[one[:, h::HALVES].mean(axis=1, dtype=np.float64) for h in range(HALVES)] for one in losses])
    rises = np.empty((len(losses), losses[0].shape[1]))
    for s, one in enumerate(losses):
        for h in range(HALVES):
            epoch = lowest_epoch(_others(curves[:, 1 - h], s))
            rises[s, h::HALVES] = one[-1, h::HALVES].astype(np.float64) - one[epoch, h::HALVES]
    return rises


def _rises_of_seeds(valid_loss: FloatArray) -> FloatArray:
    """(S,) rises of the seeds' mean losses."""
    return np.array([one[-1] - one[lowest_epoch(_others(valid_loss, s))] for s, one in enumerate(valid_loss)])


def _others(curves: FloatArray, seed: int) -> FloatArray:
    """The curves of the half of the seeds that this one is not in, or of the only seed."""
    return curves if len(curves) == 1 else curves[1 - seed % HALVES :: HALVES]
