"""What training reports: frozen, named by their definitions, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = ("train", "valid", "test")
MEASURES = ("loss", "accuracy", "printed_loss")


@dataclass(frozen=True)
class Scores:
    """How a network does on one set of samples.

    Attributes:
        loss: mean cross-entropy, nats per sample (docs/derivation.md, L2).
        accuracy: share of right answers, in [0, 1] (M1).
        printed_loss: the figure that the write-up printed as its loss (M2); not a cross-entropy.
    """

    loss: float
    accuracy: float
    printed_loss: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: train as scored before each of its updates, valid and test after them; None where a set is absent.

    seconds: wall time of this epoch, its evaluations included.
    """

    epoch: int
    train: Scores
    valid: Scores | None
    test: Scores | None
    seconds: float

    def scores(self, split: str) -> Scores | None:
        """The scores of "train", "valid" or "test"."""
        by_split = {"train": self.train, "valid": self.valid, "test": self.test}
        return by_split[split]

    def logged_scores(self) -> dict[tuple[str, str], float]:
        """Return loss and accuracy of each set that is there, by set and measure, as logs show them."""
        return {
            (name, measure): getattr(scores, measure)
            for name in SPLITS
            if (scores := self.scores(name)) is not None
            for measure in ("loss", "accuracy")
        }


def checked_history(records: Iterable[EpochRecord]) -> tuple[EpochRecord, ...]:
    """Return a history that was read from a file.

    Raises:
        ValueError: it is empty, its epochs are not numbered from 1, or a score or a time is one that cannot be.
    """
    history = tuple(records)
    for number, record in enumerate(history, start=1):
        if record.epoch != number:
            raise ValueError(f"its epoch {number} is numbered {record.epoch}")
        for scores in filter(None, map(record.scores, SPLITS)):
            if not 0 <= scores.accuracy <= 1 + 1e-9 or not 0 <= scores.loss < math.inf:  # a weighted mean is rounded
                raise ValueError(f"its epoch {number} has the loss {scores.loss} and the accuracy {scores.accuracy}")
        if not 0 <= record.seconds < math.inf:
            raise ValueError(f"its epoch {number} took {record.seconds} seconds")
    if not history:
        raise ValueError("it has no epochs")
    return history
