"""The training loop that the exercises give to students, written with the functions of the exercises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chalknet.exercises.reference import (
    accuracy,
    cross_entropy,
    dense_forward,
    early_stopping,
    momentum_update,
    network_gradients,
    relu_forward,
    softmax,
)


# The source of this function is copied into the files of the students, and its globals are then
# their functions. So it uses only `np`, built-in functions and the functions of the exercises.
def train(
    letters: Mapping[str, Any],
    hidden: int = 100,
    epochs: int = 100,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    patience: int = 10,
    seed: int = 0,
) -> dict[str, Any]:
    """Train a network with one hidden layer on full batches, and return its curves.

    Args:
        letters: the arrays that `load_letters` returns.
        hidden: number of hidden units, F.
        epochs: number of epochs, each with one update.
        learning_rate: learning rate of all parameters.
        momentum: momentum of the weights.
        patience: patience of early stopping. It chooses an epoch but does not end the training.
        seed: seed of the initial weights.

    Returns:
        A dictionary: the lists train_loss, valid_loss, test_loss and valid_accuracy with one value
        for each epoch, best_epoch (counted from 1), test_loss_of_best, and the parameters after the
        last epoch.
    """
    n_inputs, n_classes = letters["train_x"].shape[1], int(letters["train_labels"].max()) + 1
    rng = np.random.default_rng(seed)
    parameters: dict[str, Any] = {
        "W_h": rng.normal(0, np.sqrt(2 / (n_inputs + hidden)), (hidden, n_inputs)),
        "b_h": np.zeros(hidden),
        "W_o": rng.normal(0, np.sqrt(2 / (hidden + n_classes)), (n_classes, hidden)),
        "b_o": np.zeros(n_classes),
    }
    velocities = {name: np.zeros_like(value) for name, value in parameters.items()}
    curves: dict[str, Any] = {"train_loss": [], "valid_loss": [], "test_loss": [], "valid_accuracy": []}
    for _ in range(epochs):
        loss, gradients = network_gradients(letters["train_x"], letters["train_labels"], parameters)
        parameters, velocities = momentum_update(parameters, gradients, velocities, learning_rate, momentum)
        curves["train_loss"].append(float(loss))
        for split in ("valid", "test"):
            g = relu_forward(dense_forward(letters[f"{split}_x"], parameters["W_h"], parameters["b_h"]))
            o = dense_forward(g, parameters["W_o"], parameters["b_o"])
            curves[f"{split}_loss"].append(float(cross_entropy(o, letters[f"{split}_labels"])))
            if split == "valid":
                curves["valid_accuracy"].append(float(accuracy(softmax(o), letters["valid_labels"])))
    best, test_loss = early_stopping(np.array(curves["valid_loss"]), np.array(curves["test_loss"]), patience)
    return {**curves, "best_epoch": int(best), "test_loss_of_best": float(test_loss), "parameters": parameters}
