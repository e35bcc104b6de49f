"""The training at the end: the student's functions train a network on letters."""

from __future__ import annotations

from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.letter_training import train
from chalknet.exercises.task import SHAPE, VALUES, Check, Task

_RNG = np.random.default_rng(18)
_SIDE, _CLASSES = 6, 3


def _made_letters() -> dict[str, Any]:
    """Return small images of three bars with noise, in the form of the exercise's letters."""
    arrays: dict[str, Any] = {}
    for split, size in (("train", 24), ("valid", 12), ("test", 12)):
        labels = _RNG.permutation(np.arange(size) % _CLASSES)
        images = _RNG.random((size, _SIDE, _SIDE)) * 0.7
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 2] += 0.3
        arrays |= {f"{split}_x": images.reshape(size, -1), f"{split}_labels": labels}
    return arrays


TRAINING = Task(
    name="train",
    title="Training with your own functions",
    outputs=("curves",),
    reference=train,
    solution="train in chalknet/exercises/letter_training.py",
    uses_others=True,
    optional=("curves[parameters]",),
    cases=(
        Case(
            VALUES,
            {
                "letters": _made_letters(),
                "hidden": 5,
                "epochs": 6,
                "learning_rate": 0.2,
                "momentum": 0.9,
                "patience": 2,
                "seed": 0,
            },
        ),
    ),
    checks=(
        Check("it runs and returns all curves", 1, SHAPE, (VALUES,)),
        Check("training loss", 1, VALUES, (VALUES,), "curves[train_loss]"),
        Check("validation and test loss", 1, VALUES, (VALUES,), "curves[*_loss]"),
        Check("validation accuracy", 1, VALUES, (VALUES,), "curves[valid_accuracy]"),
        Check("epoch of early stopping", 1, VALUES, (VALUES,), "curves[*best*]"),
    ),
    mistakes=(),
)
