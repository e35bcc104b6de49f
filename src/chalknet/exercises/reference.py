"""The reference solutions of the exercises: the package's own functions with the exercises' signatures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chalknet.network import losses, metrics
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.dense import dense
from chalknet.network.optimizers import Momentum, Step
from chalknet.network.relu import relu
from chalknet.network.softmax import softmax as softmax_with_backward
from chalknet.training.stopping import is_improvement

Arrays = dict[str, FloatArray]


def softmax(logits: FloatArray) -> FloatArray:
    """Return class probabilities, (B, K), from logits (B, K) (docs/derivation.md, S2)."""
    return softmax_with_backward(logits)[0]


def cross_entropy(logits: FloatArray, labels: LabelArray) -> float:
    """Return the mean cross-entropy in nats of logits (B, K) for labels (B,) (docs/derivation.md, L2)."""
    return losses.softmax_cross_entropy(logits, labels)[0]


def cross_entropy_gradient(logits: FloatArray, labels: LabelArray) -> FloatArray:
    """Return the gradient (B, K) of `cross_entropy` with respect to the logits (docs/derivation.md, L4)."""
    return losses.softmax_cross_entropy(logits, labels)[1]()


def dense_forward(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Return x W^T + b, (B, O), of x (B, I), weight (O, I) and bias (O,) (docs/derivation.md, A1)."""
    return dense(x, weight, bias)[0]


def dense_backward(grad_h: FloatArray, x: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the gradients of x, weight and bias from that of h, (B, O) (docs/derivation.md, A2 to A4)."""
    gradients = dense(x, weight, np.zeros(len(weight), weight.dtype))[1](grad_h)
    return gradients.grad_x, gradients.grad_weight, gradients.grad_bias


def relu_forward(h: FloatArray) -> FloatArray:
    """Return max(h, 0) of every element (docs/derivation.md, R1)."""
    return relu(h)[0]


def relu_backward(grad_g: FloatArray, h: FloatArray) -> FloatArray:
    """Return the gradient of h from that of relu(h) (docs/derivation.md, R2)."""
    return relu(h)[1](grad_g)


def network_gradients(x: FloatArray, labels: LabelArray, parameters: Mapping[str, FloatArray]) -> tuple[float, Arrays]:
    """Return the loss of the network with one hidden layer, and the gradients of its four parameters.

    Args:
        x: (B, I).
        labels: (B,) integers in [0, K).
        parameters: W_h (F, I), b_h (F,), W_o (K, F) and b_o (K,).
    """
    h, through_hidden = dense(x, parameters["W_h"], parameters["b_h"])
    g, through_relu = relu(h)
    o, through_output = dense(g, parameters["W_o"], parameters["b_o"])
    loss, through_loss = losses.softmax_cross_entropy(o, labels)
    output = through_output(through_loss())
    hidden = through_hidden(through_relu(output.grad_x))
    return loss, {
        "W_h": hidden.grad_weight,
        "b_h": hidden.grad_bias,
        "W_o": output.grad_weight,
        "b_o": output.grad_bias,
    }


def momentum_update(
    parameters: Mapping[str, FloatArray],
    gradients: Mapping[str, FloatArray],
    velocities: Mapping[str, FloatArray],
    learning_rate: float,
    momentum: float,
) -> tuple[Arrays, Arrays]:
    """Return parameters and velocities after one step, with momentum for weights only (docs/derivation.md, U1, U2).

    Args:
        parameters: arrays by name. Names of weights begin with W, names of biases with b.
        gradients: arrays by the same names.
        velocities: arrays by the same names; those of biases are 0 and stay 0.
        learning_rate: r.
        momentum: m in [0, 1).
    """
    # `Momentum` knows weights by the end of their names.
    full = {name: f"{name}.weight" if name.startswith("W") else f"{name}.bias" for name in parameters}
    state = {f"velocity/{full[name]}": velocities[name] for name in parameters}
    moved, after = Momentum(momentum).step(
        {full[name]: value for name, value in parameters.items()},
        {full[name]: value for name, value in gradients.items()},
        state,
        Step(1, learning_rate),
    )
    return (
        {name: moved[full[name]] for name in parameters},
        {name: after[f"velocity/{full[name]}"] for name in parameters},
    )


def accuracy(probabilities: FloatArray, labels: LabelArray) -> float:
    """Return the fraction of rows (B, K) whose largest value is that of the true class (docs/derivation.md, M1)."""
    return metrics.accuracy(probabilities.argmax(axis=1), labels)


def early_stopping(
    valid_losses: Sequence[float] | FloatArray, test_losses: Sequence[float] | FloatArray, patience: int
) -> tuple[int, float]:
    """Return the epoch that early stopping keeps, counted from 1, and the test loss of this epoch.

    Args:
        valid_losses: (E,) validation loss after each epoch; nan is never an improvement.
        test_losses: (E,) test loss after each epoch.
        patience: number of epochs in a row without an improvement after which training stops.
    """
    best, best_loss = 0, math.inf
    for epoch, loss in enumerate(valid_losses, start=1):
        if is_improvement(float(loss), best_loss, 0.0, "valid_loss"):
            best, best_loss = epoch, float(loss)
        elif epoch - best >= patience:
            break
    return best, float(test_losses[best - 1])


def functions() -> dict[str, Any]:
    """Return all reference solutions by name."""
    return {
        one.__name__: one
        for one in (
            softmax,
            cross_entropy,
            cross_entropy_gradient,
            dense_forward,
            dense_backward,
            relu_forward,
            relu_backward,
            network_gradients,
            momentum_update,
            accuracy,
            early_stopping,
        )
    }
