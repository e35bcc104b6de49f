"""The training at the end: the student's functions train a network with a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.part2.letter_training import train
from chalknet.exercises.task import SHAPE, VALUES, Check, Task

_RNG = np.random.default_rng(27)
_SIDE, _CLASSES = 6, 3


def _made_letters() -> dict[str, Any]:
    """Return small images of horizontal, vertical and slanting lines at any place, with noise."""
    lines = (np.eye(_SIDE)[:1].repeat(_SIDE, 0), np.eye(_SIDE)[:1].repeat(_SIDE, 0).T, np.eye(_SIDE))
    arrays: dict[str, Any] = {}
    for split, size in (("train", 30), ("valid", 12)):
        labels = _RNG.permutation(np.arange(size) % _CLASSES)
        images = [np.roll(lines[label], _RNG.integers(_SIDE, size=2), (0, 1)) for label in labels]
        noise = 0.2 * _RNG.random((size, _SIDE, _SIDE))
        arrays |= {f"{split}_x": (0.8 * np.array(images) + noise)[..., None], f"{split}_labels": labels}
    return arrays


TRAINING = Task(
    name="train",
    title="Training with your own functions",
    outputs=("curves",),
    reference=train,
    solution="train in chalknet/exercises/part2/letter_training.py",
    uses_others=True,
    optional=("curves[parameters]",),
    cases=(
        Case(
            VALUES,
            {
                "letters": _made_letters(),
                "channels": 4,
                "epochs": 12,
                "batch_size": 10,
                "learning_rate": 0.3,
                "rate": 0.1,
                "strength": 0.01,
                "seed": 0,
            },
        ),
    ),
    checks=(
        Check("it runs and returns all curves", 1, SHAPE, (VALUES,)),
        Check("training loss", 2, VALUES, (VALUES,), "curves[train_loss]"),
        Check("validation loss and accuracy", 1, VALUES, (VALUES,), "curves[valid_*]"),
        Check("penalty", 1, VALUES, (VALUES,), "curves[penalty]"),
    ),
    mistakes=(),
)
