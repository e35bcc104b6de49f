"""Learning rates over a training, as pure functions of how far it has come."""

from __future__ import annotations

import math

from chalknet.config import ScheduleConfig

RISE_FRACTION = 0.3  # of one cycle
START_FACTOR, END_FACTOR = 1 / 25, 1 / (25 * 1e4)  # of the peak, at the first and the last update of one cycle


def learning_rate_multiplier(config: ScheduleConfig, update: int, n_updates: int, updates_per_epoch: int) -> float:
    """What the recipe's learning rate is multiplied by at one update.

    constant   1
    step       step_factor ^ floor(epochs done / step_epochs)        (docs/derivation.md, E1)
    cosine     (1 + cos(pi u / n)) / 2                               (E2)
    one_cycle  up a half cosine from 1/25 to 1 in three tenths of the updates, down another to 4e-6 in the rest  (E3)
    warm-up    all of this times min(1, (u + 1) / (warm-up epochs x updates an epoch))    (E4)

    Args:
        update: u, from 0 on. n_updates: n, of the whole training. updates_per_epoch: at least 1.

    Returns:
        a number >= 0.

    Source: Loshchilov and Hutter, SGDR (ICLR 2017) for E2; Smith and Topin, Super-Convergence (2018) for E3; Goyal et
    al., Accurate, Large Minibatch SGD (2017) for E4.
    """
    factor = _shape(config, update, n_updates, updates_per_epoch)
    warm = config.warmup_epochs * updates_per_epoch
    return factor * min(1.0, (update + 1) / warm) if warm else factor


def _shape(config: ScheduleConfig, update: int, n_updates: int, updates_per_epoch: int) -> float:
    if config.schedule == "step":
        return float(config.step_factor ** (update // updates_per_epoch // config.step_epochs))
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * update / n_updates)) / 2
    if config.schedule == "one_cycle":
        return _one_cycle(update, n_updates)
    return 1.0


def _one_cycle(update: int, n_updates: int) -> float:
    peak = max(RISE_FRACTION * n_updates - 1, 0.0)
    if update <= peak and peak > 0:
        return _half_cosine(START_FACTOR, 1.0, update / peak)
    return _half_cosine(1.0, END_FACTOR, (update - peak) / max(n_updates - 1 - peak, 1.0))


def _half_cosine(start: float, end: float, fraction: float) -> float:
    """From start to end as half a cosine goes down, fraction of the way."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
