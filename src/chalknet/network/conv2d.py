"""The two-dimensional convolution and its three derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.windows import add_windows, n_windows, windows


class Conv2dGradients(NamedTuple):
    """The gradients dL/dx (B, H, W, C), dL/dW (O, R, S, C / groups) and dL/db (O,)."""

    grad_x: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


def conv2d(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[FloatArray, Callable[[FloatArray], Conv2dGradients]]:
    """Return the products of a kernel with every window of images, plus a bias.

    The kernel is not turned around, as in all libraries for neural networks, so this is a correlation.
    Each window becomes a row of a matrix, and the convolution is a dense layer of these rows.

    h_naj     = sum over k, i of X_n,Sa+k,i W_jki + b_j              (docs/derivation.md, K1)
    h         = P W^T + b, with a window of X in each row of P       (K2)
    dL/dW_jki = sum over n, a of D_naj X_n,Sa+k,i                    (K3)
    dL/db_j   = sum over n, a of D_naj                               (K4)
    dL/dX_nti = sum over j and all a, k with Sa+k = t of D_naj W_jki (K5)

    Here X is x with zeros around it, S is the stride, a and t are positions of pixels, k is a position
    in the kernel, i a channel of x, j a channel of h, and D is dL/dh.

    Args:
        x: (B, H, W, C) float32 or float64, images with the channels last.
        weight: (O, R, S, C / groups), one kernel of R x S pixels per output channel.
        bias: (O,).
        stride: pixels between two windows, >= 1, in both directions.
        padding: rows and columns of zeros on each side of an image, >= 0.
        groups: number of groups of channels, which divides C and O. Output channels of a group see the
            input channels of the same group only. With C groups, the convolution is depthwise.

    Returns:
        h: (B, H', W', O), with H' = (H + 2 padding - R) // stride + 1, and W' likewise.
        backward: grad_h (B, H', W', O) -> Conv2dGradients, summed over the batch.

    Raises:
        ShapeError: the shapes, stride, padding and groups do not fit together.

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), sections 9.1 and 9.5; Chellapilla,
    Puri and Simard, High performance convolutional neural networks for document processing (2006).
    """
    _check_shapes(x, weight, bias, groups)
    if groups > 1:
        return _grouped(x, weight, bias, stride, padding, groups)
    n_outputs, *kernel, n_channels = weight.shape
    rows, columns = n_windows(x.shape[1:3], (kernel[0], kernel[1]), stride, padding)
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    size = kernel[0] * kernel[1] * n_channels
    patches = windows(padded, (kernel[0], kernel[1]), stride).reshape(-1, size)
    flat = weight.reshape(n_outputs, size)

    def backward(grad_h: FloatArray) -> Conv2dGradients:
        grad = grad_h.reshape(-1, n_outputs)
        grad_patches = (grad @ flat).reshape(len(x), rows, columns, *kernel, n_channels)
        grad_padded = add_windows(grad_patches, padded.shape, stride)
        inside = slice(padding, -padding or None)
        return Conv2dGradients(
            grad_x=grad_padded[:, inside, inside],
            grad_weight=(grad.T @ patches).reshape(weight.shape),
            grad_bias=grad.sum(axis=0),
        )

    return (patches @ flat.T + bias).reshape(len(x), rows, columns, n_outputs), backward


def _grouped(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int, padding: int, groups: int
) -> tuple[FloatArray, Callable[[FloatArray], Conv2dGradients]]:
    """Return the convolution of each group of channels."""
    parts = [
        conv2d(part, kernel, start, stride, padding)
        for part, kernel, start in zip(
            np.split(x, groups, axis=3), np.split(weight, groups), np.split(bias, groups), strict=True
        )
    ]

    def backward(grad_h: FloatArray) -> Conv2dGradients:
        gradients = [through(grad) for (_, through), grad in zip(parts, np.split(grad_h, groups, axis=3), strict=True)]
        grad_x, grad_weight, grad_bias = zip(*gradients, strict=True)
        return Conv2dGradients(np.concatenate(grad_x, 3), np.concatenate(grad_weight), np.concatenate(grad_bias))

    return np.concatenate([value for value, _ in parts], axis=3), backward


def _check_shapes(x: FloatArray, weight: FloatArray, bias: FloatArray, groups: int) -> None:
    if x.ndim != 4:
        raise ShapeError(f"a convolution expects images (B, H, W, C), with the channels last, got {x.shape}.")
    if weight.ndim != 4 or bias.shape != weight.shape[:1]:
        raise ShapeError(f"weight must be (O, R, S, C / groups) and bias (O,), got {weight.shape} and {bias.shape}.")
    if groups < 1 or x.shape[3] % groups or len(weight) % groups:
        raise ShapeError(
            f"groups must divide the {x.shape[3]} channels of x and the {len(weight)} of weight, got {groups}."
        )
    if x.shape[3] != weight.shape[3] * groups:
        raise ShapeError(
            f"x has {x.shape[3]} channels, but weight {weight.shape} with {groups} groups needs "
            f"{weight.shape[3] * groups}."
        )
