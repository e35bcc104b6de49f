"""When to stop: the rule that says whether an epoch is an improvement, and when patience is at its end."""

from __future__ import annotations

from chalknet.config import StoppingConfig
from chalknet.records import EpochRecord


class EarlyStopping:
    """Watches one figure of the validation set, epoch by epoch.

    A loss improves where value < best - min_delta, an accuracy where value > best + min_delta, both in their own unit.
    Training should stop after `patience` epochs without an improvement. Of epochs with the best accuracy, the one with
    the lowest validation loss is kept: few validation samples have few accuracies, so equal ones are common.

    Attributes:
        best: the record of the epoch to keep so far, None before the first.

    Source: Prechelt, Early stopping - but when? (1998), its third class of criteria, with the rule stated in the
    monitor's unit.
    """

    def __init__(self, config: StoppingConfig) -> None:
        self._config = config
        self.best: EpochRecord | None = None
        self._epochs_since = 0

    def update(self, record: EpochRecord) -> bool:
        """Take note of an epoch, which must have validation scores; return whether it is the one to keep so far."""
        if self.best is None or self._is_better(record, self.best):
            self.best, self._epochs_since = record, 0
            return True
        self._epochs_since += 1
        if wins_tie(record, self.best, self._config.monitor):
            self.best = record
            return True
        return False

    @property
    def should_stop(self) -> bool:
        """Whether patience is at its end."""
        return self._epochs_since >= self._config.patience

    def _is_better(self, record: EpochRecord, best: EpochRecord) -> bool:
        monitor = self._config.monitor
        return is_improvement(
            monitored_value(record, monitor), monitored_value(best, monitor), self._config.min_delta, monitor
        )


def monitored_value(record: EpochRecord, monitor: str) -> float:
    """ "valid_loss" in nats or "valid_accuracy" in [0, 1], of an epoch that has validation scores."""
    assert record.valid is not None, "who watches the validation set has made sure that there is one"
    return record.valid.loss if monitor == "valid_loss" else record.valid.accuracy


def is_improvement(value: float, best: float, min_delta: float, monitor: str) -> bool:
    """Whether value is better than best by more than min_delta, in the unit of "valid_loss" or "valid_accuracy"."""
    return value < best - min_delta if monitor == "valid_loss" else value > best + min_delta


def wins_tie(record: EpochRecord, best: EpochRecord, monitor: str) -> bool:
    """Return whether an epoch equals the best one in accuracy and has a lower validation loss."""
    assert record.valid is not None
    assert best.valid is not None
    is_equal = record.valid.accuracy == best.valid.accuracy
    return monitor == "valid_accuracy" and is_equal and record.valid.loss < best.valid.loss
