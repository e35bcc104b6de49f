"""Learning rate schedules, as pure functions of the number of the update."""

from __future__ import annotations

import math

from chalknet.config import ScheduleConfig

RISE_FRACTION = 0.3  # the fraction of one cycle in which the learning rate rises
# Multipliers at the first and the last update of one cycle; the peak has multiplier 1.
START_FACTOR, END_FACTOR = 1 / 25, 1 / (25 * 1e4)


def learning_rate_multiplier(config: ScheduleConfig, update: int, n_updates: int, updates_per_epoch: int) -> float:
    """Return the factor of the recipe's learning rate at one update.

    constant   1
    step       step_factor ^ floor(finished epochs / step_epochs)    (docs/derivation.md, E1)
    cosine     (1 + cos(pi update / n_updates)) / 2                  (E2)
    one_cycle  a half cosine from 1/25 up to 1 in the first 30 % of the updates, then a half cosine
               down to 4e-6                                          (E3)
    coslog4    (1 - cos(2 pi log2(1 + 15 update / n_updates))) / 2: four cosine periods, each twice
               as long as the one before                             (E5)
    warm-up    multiplies each of them by min(1, (update + 1) / warm-up updates)  (E4)

    Args:
        config: the schedule of the recipe.
        update: number of the update, starting at 0.
        n_updates: number of updates of the whole training.
        updates_per_epoch: number of batches per epoch, at least 1.

    Returns:
        A float >= 0.

    Source: Loshchilov and Hutter, SGDR (ICLR 2017) for E2; Smith and Topin, Super-Convergence
    (2018) for E3; Goyal et al., Accurate, Large Minibatch SGD (2017) for E4; Holzmueller,
    Grinsztajn and Steinwart, Better by Default (NeurIPS 2024) for E5.
    """
    factor = _shape(config, update, n_updates, updates_per_epoch)
    warm = config.warmup_epochs * updates_per_epoch
    return factor * min(1.0, (update + 1) / warm) if warm else factor


def regularization_multiplier(schedule: str, update: int, n_updates: int) -> float:
    """Return the factor of a dropout rate or of the weight decay at one update.

    constant   1
    flat_cos   1 in the first half, then (1 + cos(pi (2 update / n_updates - 1))) / 2
                                                                     (docs/derivation.md, E6)

    Args:
        schedule: one of the two names above.
        update: number of the update, starting at 0.
        n_updates: number of updates of the whole training.

    Returns:
        A float from 0 to 1.

    Source: Holzmueller, Grinsztajn and Steinwart, Better by Default (NeurIPS 2024), appendix A.
    """
    if schedule == "constant" or 2 * update <= n_updates:
        return 1.0
    return (1 + math.cos(math.pi * (2 * update / n_updates - 1))) / 2


def _shape(config: ScheduleConfig, update: int, n_updates: int, updates_per_epoch: int) -> float:
    if config.schedule == "step":
        return float(config.step_factor ** (update // updates_per_epoch // config.step_epochs))
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * update / n_updates)) / 2
    if config.schedule == "one_cycle":
        return _one_cycle(update, n_updates)
    if config.schedule == "coslog4":
        return (1 - math.cos(2 * math.pi * math.log2(1 + 15 * update / n_updates))) / 2
    return 1.0


def _one_cycle(update: int, n_updates: int) -> float:
    peak = max(RISE_FRACTION * n_updates - 1, 0.0)
    if update <= peak and peak > 0:
        return _half_cosine(START_FACTOR, 1.0, update / peak)
    return _half_cosine(1.0, END_FACTOR, (update - peak) / max(n_updates - 1 - peak, 1.0))


def _half_cosine(start: float, end: float, fraction: float) -> float:
    """Return the value between start and end at a fraction of a half cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
