"""The reference solutions of the course part2: the package's own functions with the exercises' signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chalknet.exercises.reference import (
    Arrays,
    accuracy,
    cross_entropy,
    cross_entropy_gradient,
    dense_backward,
    dense_forward,
    relu_backward,
    relu_forward,
    softmax,
)
from chalknet.network import losses
from chalknet.network import windows as images
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.conv2d import Conv2dGradients, conv2d
from chalknet.network.dense import dense
from chalknet.network.dropout import dropout
from chalknet.network.max_pool2d import max_pool2d
from chalknet.network.relu import relu

PADDING = 1  # of the network's convolution
POOL = 2  # size of the network's pooling windows


def windows(x: FloatArray, size: int, stride: int, padding: int) -> FloatArray:
    """Return the windows of images as rows, the matrix P of docs/derivation.md, K2.

    Args:
        x: (B, H, W, C).
        size: R, height and width of a window.
        stride: pixels between two windows.
        padding: rows and columns of zeros on each side.

    Returns:
        (B H' W', R R C), with H' = (H + 2 padding - R) // stride + 1, and W' likewise.
    """
    images.n_windows(x.shape[1:3], (size, size), stride, (padding, padding))
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return images.windows(padded, (size, size), stride).reshape(-1, size * size * x.shape[3])


def add_windows(grad_rows: FloatArray, shape: tuple[int, ...], size: int, stride: int, padding: int) -> FloatArray:
    """Return the gradient of images, (B, H, W, C), from that of their windows as rows.

    Args:
        grad_rows: (B H' W', R R C), the gradient of `windows`.
        shape: (B, H, W, C).
        size: as for `windows`.
        stride: as for `windows`.
        padding: as for `windows`.
    """
    n_samples, height, width, n_channels = shape
    n_rows, n_columns = images.n_windows((height, width), (size, size), stride, (padding, padding))
    every = grad_rows.reshape(n_samples, n_rows, n_columns, size, size, n_channels)
    padded = (n_samples, height + 2 * padding, width + 2 * padding, n_channels)
    inside = slice(padding, -padding or None)
    return images.add_windows(every, padded, stride)[:, inside, inside]


def conv2d_forward(x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int, padding: int) -> FloatArray:
    """Return the convolution (B, H', W', O) of images (B, H, W, C) (docs/derivation.md, K1)."""
    return conv2d(x, weight, bias, stride, padding)[0]


def conv2d_backward(
    grad_h: FloatArray, x: FloatArray, weight: FloatArray, stride: int, padding: int
) -> Conv2dGradients:
    """Return the gradients of images, weight (O, R, R, C) and bias (docs/derivation.md, K3 to K5)."""
    return conv2d(x, weight, np.zeros(len(weight), weight.dtype), stride, padding)[1](grad_h)


def max_pool_forward(h: FloatArray, size: int) -> FloatArray:
    """Return the largest value of each window and channel (docs/derivation.md, Q1)."""
    return max_pool2d(h, size)[0]


def max_pool_backward(grad_g: FloatArray, h: FloatArray, size: int) -> FloatArray:
    """Return the gradient of h from that of its maxima (docs/derivation.md, Q2)."""
    return max_pool2d(h, size)[1](grad_g)


def dropout_forward(g: FloatArray, uniforms: FloatArray, rate: float) -> tuple[FloatArray, FloatArray]:
    """Return g after dropout, and the mask (docs/derivation.md, D1).

    Args:
        g: (B, F).
        uniforms: (B, F) numbers from 0 to 1. An element is dropped where its number is below rate.
        rate: probability that an element is dropped.
    """
    mask = np.where(uniforms < rate, 0.0, 1 / (1 - rate)).astype(g.dtype)
    return dropout(g, mask)[0], mask


def dropout_backward(grad_value: FloatArray, mask: FloatArray) -> FloatArray:
    """Return the gradient of the values before dropout (docs/derivation.md, D2)."""
    return dropout(grad_value, mask)[1](grad_value)


def l2_penalty(parameters: Mapping[str, FloatArray], strength: float) -> tuple[float, Arrays]:
    """Return the L2 penalty of the weights, whose names begin with W, and all gradients (P1, P2)."""
    weights = {f"{name}.weight": value for name, value in parameters.items() if name.startswith("W")}
    penalty, through = losses.l2_penalty(weights, strength)
    gradients = through()
    return penalty, {name: gradients.get(f"{name}.weight", np.zeros_like(value)) for name, value in parameters.items()}


def conv_network_gradients(
    x: FloatArray, labels: LabelArray, parameters: Mapping[str, FloatArray], uniforms: FloatArray, rate: float
) -> tuple[float, Arrays]:
    """Return the loss of a network with a convolution, and the gradients of its four parameters.

    Args:
        x: (B, H, W, C).
        labels: (B,) integers in [0, K).
        parameters: W_c (F, R, R, C), b_c (F,), W_o (K, H/2 W/2 F) and b_o (K,).
        uniforms: (B, H/2 W/2 F), as for `dropout_forward`.
        rate: dropout rate.
    """
    h, through_convolution = conv2d(x, parameters["W_c"], parameters["b_c"], 1, PADDING)
    g, through_relu = relu(h)
    q, through_pooling = max_pool2d(g, POOL)
    f, mask = dropout_forward(q.reshape(len(q), -1), uniforms, rate)
    o, through_output = dense(f, parameters["W_o"], parameters["b_o"])
    loss, through_loss = losses.softmax_cross_entropy(o, labels)
    output = through_output(through_loss())
    grad_q = dropout_backward(output.grad_x, mask).reshape(q.shape)
    convolution = through_convolution(through_relu(through_pooling(grad_q)))
    return loss, {
        "W_c": convolution.grad_weight,
        "b_c": convolution.grad_bias,
        "W_o": output.grad_weight,
        "b_o": output.grad_bias,
    }


def functions() -> dict[str, Any]:
    """Return the solutions of the tasks by name, and the functions that the exercises give."""
    return {
        one.__name__: one
        for one in (
            windows,
            add_windows,
            conv2d_forward,
            conv2d_backward,
            max_pool_forward,
            max_pool_backward,
            dropout_forward,
            dropout_backward,
            l2_penalty,
            conv_network_gradients,
            *GIVEN,
        )
    }


GIVEN = (
    relu_forward,
    relu_backward,
    dense_forward,
    dense_backward,
    softmax,
    cross_entropy,
    cross_entropy_gradient,
    accuracy,
)
