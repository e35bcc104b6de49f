"""The numbers that training reports, as frozen dataclasses that can be written as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = ("train", "valid", "test")
MEASURES = ("loss", "accuracy", "printed_loss")
SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}
# The columns of a history as a table: of history.csv and of frames.
HISTORY_COLUMNS = (
    "epoch",
    *(f"{split}_{measure}" for split in SPLITS for measure in ("loss", "accuracy")),
    *(f"{split}_printed_loss" for split in SPLITS),
    "seconds",
)


@dataclass(frozen=True)
class Scores:
    """The scores of a network on one split.

    Attributes:
        loss: mean cross-entropy in nats per sample (docs/derivation.md, L2).
        accuracy: fraction of correct predictions, in [0, 1] (M1).
        printed_loss: the number that the original write-up printed as its loss (M2). It is not a
            cross-entropy.
    """

    loss: float
    accuracy: float
    printed_loss: float


@dataclass(frozen=True)
class EpochRecord:
    """The scores and the time of one epoch.

    Attributes:
        epoch: number of the epoch, starting at 1.
        train: scores on the training samples, computed before each update of the epoch.
        valid: scores on the validation split after the epoch, or None if it is empty.
        test: scores on the test split after the epoch, or None if it is empty.
        seconds: wall time of the epoch, including its evaluations.
    """

    epoch: int
    train: Scores
    valid: Scores | None
    test: Scores | None
    seconds: float

    def scores(self, split: str) -> Scores | None:
        """Return the scores of "train", "valid" or "test", or None if the split is empty."""
        by_split = {"train": self.train, "valid": self.valid, "test": self.test}
        return by_split[split]

    def logged_scores(self) -> dict[tuple[str, str], float]:
        """Return the loss and accuracy of each split that has samples, by (split, measure)."""
        return {
            (name, measure): getattr(scores, measure)
            for name in SPLITS
            if (scores := self.scores(name)) is not None
            for measure in ("loss", "accuracy")
        }


def history_value(record: EpochRecord, column: str) -> float | None:
    """Return the value of an epoch in one of `HISTORY_COLUMNS`, None for a split without samples."""
    if column in ("epoch", "seconds"):
        value: float = getattr(record, column)
        return value
    split, measure = column.split("_", 1)
    scores = record.scores(split)
    return None if scores is None else float(getattr(scores, measure))


def history_columns(history: Iterable[EpochRecord]) -> dict[str, list[float | None]]:
    """Return a history as columns, a row per epoch."""
    records = list(history)
    return {column: [history_value(record, column) for record in records] for column in HISTORY_COLUMNS}


def checked_history(records: Iterable[EpochRecord], *, may_be_empty: bool = False) -> tuple[EpochRecord, ...]:
    """Return the history of a file as a tuple after checking it.

    Raises:
        ValueError: the history is empty and must not be, its epochs are not numbered 1, 2, ..., or a
            score or a time is out of range.
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
    if not (history or may_be_empty):
        raise ValueError("it has no epochs")
    return history
