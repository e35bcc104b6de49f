"""Convolutions by blocks: the numbers of a plain convolution, and the error in float32."""

import numpy as np
import pytest

from chalknet.engines.numpy_passes import Scratch
from chalknet.network import winograd
from chalknet.network.conv2d import Conv2d, conv2d


def by_blocks(x, weight):
    """Return outputs of images (n, 4 H + 2, 4 W + 2, I), transformed pixels and number of blocks."""
    n, height, width, n_in = x.shape
    high, wide = (height - 2) // 4, (width - 2) // 4
    blocks = np.empty((6, 6, high, wide, n, n_in), x.dtype)
    pixels = np.ascontiguousarray(x.transpose(1, 2, 0, 3))
    winograd.transform_pixels(pixels, 0, blocks, Scratch(x.dtype).take)
    weights = winograd.transform_weights(np.ascontiguousarray(weight.transpose(1, 2, 3, 0)))
    products = np.matmul(blocks.reshape(36, -1, n_in), weights).reshape(*blocks.shape[:-1], len(weight))
    out = np.empty((4 * high, 4 * wide, n, len(weight)), x.dtype)
    winograd.transform_products(products, out, Scratch(x.dtype).take)
    return out.transpose(2, 0, 1, 3), blocks


def made(dtype):
    """Return images, weights and gradients of outputs of 2 x 3 blocks."""
    rng = np.random.default_rng(0)
    shapes = (2, 10, 14, 20), (7, 3, 3, 20), (2, 8, 12, 7)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


# Twice the errors that were seen: rounding is different in every BLAS.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-5)])
def test_blocks_give_a_convolution_and_its_weight_gradient(dtype, tolerance):
    x, weight, grad = made(dtype)
    want, backward = conv2d(*(one.astype(np.float64) for one in (x, weight)), np.zeros(7))
    found, blocks = by_blocks(x, weight)
    np.testing.assert_allclose(found, want, rtol=0, atol=tolerance * np.abs(want).max())

    products = np.empty((*blocks.shape[:-1], 7), dtype)
    pixels = np.ascontiguousarray(np.pad(grad.transpose(1, 2, 0, 3), ((1, 0), (2, 1), (0, 0), (0, 0))))
    winograd.transform_output_gradient(pixels, (1, 2), products, Scratch(dtype).take)
    transformed = np.matmul(blocks.reshape(36, -1, 20).transpose(0, 2, 1), products.reshape(36, -1, 7))
    grad_weight = np.empty((180, 7), dtype)
    winograd.weight_gradient(transformed.reshape(-1, 7), grad_weight)
    want = backward(grad.astype(np.float64)).grad_weight.transpose(1, 2, 3, 0).reshape(180, 7)
    np.testing.assert_allclose(grad_weight, want, rtol=0, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize(
    ("layer", "shape", "has_blocks"),
    [
        (Conv2d(4), (28, 28, 32), True),
        (Conv2d(4), (7, 7, 8), True),
        (Conv2d(4), (5, 5, 8), False),  # 4 blocks are hardly fewer products
        (Conv2d(4), (28, 28, 7), False),
        (Conv2d(4, 5), (28, 28, 32), False),
        (Conv2d(4, stride=2), (28, 28, 32), False),
        (Conv2d(4, groups=2), (28, 28, 32), False),
    ],
)
def test_convolutions_have_blocks_where_they_save_work(layer, shape, has_blocks):
    assert layer.has_blocks(shape) is has_blocks
