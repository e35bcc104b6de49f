"""What training reports: frozen, named by their definitions, ready for JSON."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("train", "valid", "test")
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

    def part(self, name: str) -> Scores | None:
        """The scores of "train", "valid" or "test"."""
        scores = {"train": self.train, "valid": self.valid, "test": self.test}
        return scores[name]

    def logged_scores(self) -> dict[tuple[str, str], float]:
        """Return loss and accuracy of each set that is there, by set and measure, as logs show them."""
        return {
            (name, measure): getattr(scores, measure)
            for name in PARTS
            if (scores := self.part(name)) is not None
            for measure in ("loss", "accuracy")
        }
