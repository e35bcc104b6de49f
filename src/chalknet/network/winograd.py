"""The transformations of 3 x 3 convolutions with stride 1 that need fewer multiplications.

A block is 4 x 4 outputs, which read 6 x 6 pixels d. With the matrices below, its outputs are

    A ((G w G') * (B d B')) A'

with the product * of elements, summed over the input channels. So a block needs 36 multiplications for each
input and output channel, and not 144.

Images are (H, W, n, C), so that a row of pixels of all images is one run of memory. Arrays of blocks are
(6, 6, H / 4, W / 4, n, C): the first two axes are the rows and columns within a block after the transformation.
Transformations are products with the small matrices, because the BLAS keeps intermediate values in registers.

In float32, the error of an output is about five times that of a direct sum.

Source: Winograd, Arithmetic complexity of computations (1980); Lavin and Gray, Fast algorithms for
convolutional neural networks (CVPR 2016), sections 4.1 to 4.3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from chalknet.network.arrays import FloatArray

SIZE = 4  # rows and columns of the outputs of a block
READ = 6  # rows and columns of the pixels that it reads
PIXELS = (  # B
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
WEIGHTS = (  # G
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
OUTPUTS = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))  # A

# (name, *shape) -> a contiguous array that may hold anything, and that the next call with this name may overwrite
Take = Callable[..., FloatArray]


@cache
def _matrix(rows: tuple[tuple[float, ...], ...], dtype: Any, transposed: bool = False) -> FloatArray:
    """Return a matrix of a transformation."""
    return np.ascontiguousarray(np.array(rows, dtype).T if transposed else np.array(rows, dtype))


def n_blocks(rows: int, columns: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of blocks for a number of rows and columns of outputs."""
    return -(-rows // SIZE), -(-columns // SIZE)


def transform_weights(weight: FloatArray) -> FloatArray:
    """Return G w G' (36, I, O) of weights (3, 3, I, O)."""
    _, _, n_in, n_out = weight.shape
    g = _matrix(WEIGHTS, weight.dtype)
    vertical = np.matmul(g, weight.reshape(3, -1))
    both: FloatArray = np.matmul(g, vertical.reshape(READ, 3, -1))
    return both.reshape(-1, n_in, n_out)


def weight_gradient(grad: FloatArray, out: FloatArray) -> None:
    """Write the gradient of weights (9 I, O) from that of the transformed weights, (36 I, O)."""
    g = _matrix(WEIGHTS, grad.dtype, True)
    horizontal = np.matmul(g, grad.reshape(READ, READ, -1))
    np.matmul(g, horizontal.reshape(READ, -1), out=out.reshape(3, -1))


def transform_pixels(pixels: FloatArray, start: int, out: FloatArray, take: Take) -> None:
    """Write B d B' of pixels to blocks.

    Args:
        pixels: (H', W', n, C), contiguous, with zeros around the image; blocks begin at the left.
        start: the row of pixels where the first row of blocks begins.
        out: (6, 6, H, W, n, C).
        take: returns a buffer.
    """
    _transform(_matrix(PIXELS, out.dtype), pixels, (start, 0), out, take)


def transform_output_gradient(grad: FloatArray, start: tuple[int, int], out: FloatArray, take: Take) -> None:
    """Write the gradient A' g A of blocks of products.

    Args:
        grad: (H', W', n, O), the gradient of the outputs, contiguous, with zeros after an incomplete block.
        start: the row and column where the first block begins.
        out: (6, 6, H, W, n, O).
        take: returns a buffer.
    """
    _transform(_matrix(OUTPUTS, out.dtype, True), grad, start, out, take)


def transform_products(products: FloatArray, out: FloatArray, take: Take) -> None:
    """Write the outputs A m A' of blocks.

    Args:
        products: (6, 6, H, W, n, O), contiguous.
        out: (4 H, 4 W, n, O), contiguous.
        take: returns a buffer.
    """
    a, (_, _, high, wide, n, channels) = _matrix(OUTPUTS, out.dtype), products.shape
    columns = take("half", SIZE, READ, high, wide, n * channels)
    np.matmul(a, products.reshape(READ, -1), out=columns.reshape(SIZE, -1))
    by_block = out.reshape(high, SIZE, wide, SIZE, n * channels).transpose(1, 0, 2, 3, 4)
    np.matmul(a, columns.transpose(0, 2, 3, 1, 4), out=by_block)


def _transform(matrix: FloatArray, pixels: FloatArray, start: tuple[int, int], out: FloatArray, take: Take) -> None:
    """Write the products of a matrix (6, R) with the R rows of pixels of each block, and with its R columns."""
    assert pixels.flags.c_contiguous
    _, _, high, wide, n, channels = out.shape
    n_read, run, step = matrix.shape[1], n * channels, out.itemsize
    row = (SIZE * wide + n_read - SIZE) * run  # values of a row of pixels that the blocks read
    # In these views, blocks that read the same pixels overlap.
    whole, at = step * pixels[0].size, start[0] * step * pixels[0].size + start[1] * step * run
    rows = np.ndarray((high, n_read, row), out.dtype, pixels, at, (SIZE * whole, whole, step))
    of_rows = take("half", READ, high, row)
    np.matmul(matrix, rows, out=of_rows.transpose(1, 0, 2))
    strides = (high * row * step, row * step, SIZE * run * step, run * step, step)
    columns = np.ndarray((READ, high, wide, n_read, run), out.dtype, of_rows, 0, strides)
    np.matmul(matrix, columns, out=out.reshape(READ, READ, high, wide, run).transpose(0, 2, 3, 1, 4))
