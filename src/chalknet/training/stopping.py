"""Early stopping: whether an epoch is an improvement, and when training should stop."""

from __future__ import annotations

from chalknet.config import StoppingConfig
from chalknet.records import EpochRecord


class EarlyStopping:
    """Early stopping by the validation loss, the validation accuracy or another score.

    A loss improves if value < best - min_delta, an accuracy or another score if value > best + min_delta. Training
    should stop after `patience` epochs without an improvement, but never in the first half of its
    epochs: a learning rate that is still high, or still rising, hides what later epochs gain. Of
    several epochs with the best accuracy or score, the one with the lowest validation loss is kept,
    because equal accuracies are common with few validation samples.

    Attributes:
        best: the record of the best epoch so far, or None before the first epoch.

    Source: Prechelt, Early stopping - but when? (1998), the third class of criteria (UP), here with
    an absolute min_delta.
    """

    def __init__(self, config: StoppingConfig, n_epochs: int) -> None:
        """Create a rule with the monitor, patience and min_delta of config.

        Args:
            config: the section [stopping] of the recipe.
            n_epochs: number of epochs if training does not stop early.
        """
        self._config, self._n_epochs = config, n_epochs
        self.best: EpochRecord | None = None
        self._best_score: float | None = None
        self._epochs = self._epochs_since = 0

    def update(self, record: EpochRecord, score: float | None = None) -> bool:
        """Add a finished epoch, and return whether it is the best one so far.

        Args:
            record: the epoch's record, which must have validation scores.
            score: a score of the epoch that is watched instead of the monitor, where greater is better. It is given
                for all epochs or for none.
        """
        self._epochs += 1
        if self.best is None or self._is_better(record, self.best, score):
            self.best, self._best_score, self._epochs_since = record, score, 0
            return True
        self._epochs_since += 1
        if self._wins_tie(record, self.best, score):
            self.best = record
            return True
        return False

    @property
    def should_stop(self) -> bool:
        """Whether `patience` epochs have passed without an improvement, and half of all epochs."""
        return self._epochs_since >= self._config.patience and 2 * self._epochs >= self._n_epochs

    def _is_better(self, record: EpochRecord, best: EpochRecord, score: float | None) -> bool:
        monitor = self._config.monitor
        if score is not None and self._best_score is not None:
            return score > self._best_score + self._config.min_delta
        return is_improvement(
            monitored_value(record, monitor), monitored_value(best, monitor), self._config.min_delta, monitor
        )

    def _wins_tie(self, record: EpochRecord, best: EpochRecord, score: float | None) -> bool:
        if score is None:
            return wins_tie(record, best, self._config.monitor)
        assert record.valid is not None
        assert best.valid is not None
        return score == self._best_score and record.valid.loss < best.valid.loss


def monitored_value(record: EpochRecord, monitor: str) -> float:
    """Return the "valid_loss" (nats) or "valid_accuracy" (in [0, 1]) of an epoch."""
    assert record.valid is not None, "early stopping is only used with validation samples"
    return record.valid.loss if monitor == "valid_loss" else record.valid.accuracy


def is_improvement(value: float, best: float, min_delta: float, monitor: str) -> bool:
    """Return whether value is better than best by more than min_delta.

    Args:
        value: the monitored value of an epoch.
        best: the best value before it.
        min_delta: smallest change that counts, in the unit of the monitor, >= 0.
        monitor: "valid_loss", which improves downwards, or "valid_accuracy", upwards.
    """
    return value < best - min_delta if monitor == "valid_loss" else value > best + min_delta


def wins_tie(record: EpochRecord, best: EpochRecord, monitor: str) -> bool:
    """Return whether an epoch has the best epoch's accuracy and a lower validation loss."""
    assert record.valid is not None
    assert best.valid is not None
    is_equal = record.valid.accuracy == best.valid.accuracy
    return monitor == "valid_accuracy" and is_equal and record.valid.loss < best.valid.loss
