"""Trainings that are interrupted between two updates, and continue from their checkpoint file."""

from __future__ import annotations

from chalknet.artifacts.checkpoint import checkpoint_bytes, read_checkpoint
from chalknet.training import trainer as trainer_module
from chalknet.training.callbacks import Callback
from chalknet.training.trainer import run_epochs


class Interruption(Callback):
    """Takes a checkpoint within an epoch, and interrupts the training there."""

    def __init__(self, trainer, epoch, n_updates):
        self.trainer, self.where = trainer, (epoch, n_updates)
        self.taken = None

    def between_updates(self):
        checkpoint = self.trainer.checkpoint(within_epoch=True)
        made = 0 if checkpoint.unfinished is None else checkpoint.unfinished.scores.n_updates
        if (len(checkpoint.history) + 1, made) == self.where:
            self.taken = checkpoint
            raise KeyboardInterrupt


def pause_after_every_update(monkeypatch):
    monkeypatch.setattr(trainer_module, "PAUSE_SECONDS", 0.0)


def interrupted(trainer, epoch, n_updates):
    """Return the checkpoint of a training that is interrupted in an epoch after some updates."""
    interruption = Interruption(trainer, epoch, n_updates)
    try:
        run_epochs(trainer, interruption)
    except KeyboardInterrupt:
        return interruption.taken
    raise AssertionError("the training has ended before")


def through_a_file(checkpoint, folder):
    """Return a checkpoint after it was written to a file and read again."""
    path = folder / "checkpoint.safetensors"
    path.write_bytes(checkpoint_bytes(checkpoint))
    return read_checkpoint(path)


def scores_of(history):
    return [(one.epoch, one.train, one.valid, one.test) for one in history]


def assert_same_end(trainer, whole):
    """Check that two finished trainings have the same scores, weights and state, bit by bit."""
    assert scores_of(trainer.history) == scores_of(whole.history)
    mine, theirs = trainer.checkpoint(), whole.checkpoint()
    for found, expected in ((mine.parameters, theirs.parameters), (mine.state, theirs.state)):
        assert set(found) == set(expected)
        assert all((found[name] == value).all() for name, value in expected.items())
