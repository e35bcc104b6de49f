"""The training loop that the exercises of part2 give to students, written with the functions of the exercises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chalknet.exercises.part2.reference import conv2d_forward, conv_network_gradients, l2_penalty, max_pool_forward
from chalknet.exercises.reference import accuracy, cross_entropy, dense_forward, relu_forward, softmax


# The source of this function is copied into the files of the students, and its globals are then
# their functions. So it uses only `np`, built-in functions and the functions of the exercises.
def train(
    letters: Mapping[str, Any],
    channels: int = 8,
    epochs: int = 10,
    batch_size: int = 20,
    learning_rate: float = 0.2,
    rate: float = 0.2,
    strength: float = 0.001,
    seed: int = 0,
) -> dict[str, Any]:
    """Train a network with a convolution by gradient descent on small batches, and return its curves.

    Args:
        letters: the arrays that `load_letters` returns.
        channels: number of kernels of 3 x 3 pixels.
        epochs: number of epochs.
        batch_size: number of samples of each update.
        learning_rate: learning rate of all parameters.
        rate: dropout rate.
        strength: strength of the L2 penalty.
        seed: seed of the initial weights, of the order of the samples and of dropout.

    Returns:
        A dictionary: the lists train_loss, valid_loss, valid_accuracy and penalty with one value for
        each epoch, and the parameters after the last one.
    """
    x, labels = letters["train_x"], letters["train_labels"]
    n_inputs, n_classes = (x.shape[1] // 2) * (x.shape[2] // 2) * channels, int(labels.max()) + 1
    rng = np.random.default_rng(seed)
    parameters: dict[str, Any] = {
        "W_c": rng.normal(0, np.sqrt(2 / (9 * x.shape[3])), (channels, 3, 3, x.shape[3])),
        "b_c": np.zeros(channels),
        "W_o": rng.normal(0, np.sqrt(1 / n_inputs), (n_classes, n_inputs)),
        "b_o": np.zeros(n_classes),
    }
    curves: dict[str, Any] = {"train_loss": [], "valid_loss": [], "valid_accuracy": [], "penalty": []}
    for _ in range(epochs):
        order = rng.permutation(len(x))
        batches = [order[first : first + batch_size] for first in range(0, len(x), batch_size)]
        losses = []
        for batch in batches:
            uniforms = rng.random((len(batch), n_inputs))
            loss, gradients = conv_network_gradients(x[batch], labels[batch], parameters, uniforms, rate)
            penalty, penalty_gradients = l2_penalty(parameters, strength)
            parameters = {
                name: value - learning_rate * (gradients[name] + penalty_gradients[name])
                for name, value in parameters.items()
            }
            losses.append(float(loss))
        h = conv2d_forward(letters["valid_x"], parameters["W_c"], parameters["b_c"], 1, 1)
        g = max_pool_forward(relu_forward(h), 2)
        o = dense_forward(g.reshape(len(g), -1), parameters["W_o"], parameters["b_o"])
        curves["train_loss"].append(float(np.mean(losses)))
        curves["penalty"].append(float(penalty))
        curves["valid_loss"].append(float(cross_entropy(o, letters["valid_labels"])))
        curves["valid_accuracy"].append(float(accuracy(softmax(o), letters["valid_labels"])))
    return {**curves, "parameters": parameters}
