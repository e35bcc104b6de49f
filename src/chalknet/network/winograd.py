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


def transform_pixels(pixels: FloatArray, out: FloatArray, buffer: FloatArray) -> None:
    """Write B d B' of pixels to blocks.

    Args:
        pixels: (4 H + 2, 4 W + 2, n, C), contiguous.
        out: (6, 6, H, W, n, C).
        buffer: (6, H, 4 W + 2, n, C), which is overwritten.
    """
    _transform(_matrix(PIXELS, out.dtype), pixels, out, buffer)


def transform_output_gradient(grad: FloatArray, out: FloatArray, buffer: FloatArray) -> None:
    """Write the gradient A' g A of blocks of products.

    Args:
        grad: (4 H, 4 W, n, O), the gradient of the outputs, contiguous.
        out: (6, 6, H, W, n, O).
        buffer: (6, H, 4 W, n, O), which is overwritten.
    """
    _transform(_matrix(OUTPUTS, out.dtype, True), grad, out, buffer)


def transform_products(products: FloatArray, out: FloatArray, buffer: FloatArray) -> None:
    """Write the outputs A m A' of blocks.

    Args:
        products: (6, 6, H, W, n, O), contiguous.
        out: (4 H, 4 W, n, O), contiguous.
        buffer: (4, 6, H, W, n, O), which is overwritten.
    """
    a, (_, _, high, wide, n, channels) = _matrix(OUTPUTS, out.dtype), products.shape
    np.matmul(a, products.reshape(READ, -1), out=buffer.reshape(SIZE, -1))
    columns = buffer.reshape(SIZE, READ, high, wide, n * channels).transpose(0, 2, 3, 1, 4)
    by_block = out.reshape(high, SIZE, wide, SIZE, n * channels).transpose(1, 0, 2, 3, 4)
    np.matmul(a, columns, out=by_block)


def _transform(matrix: FloatArray, pixels: FloatArray, out: FloatArray, buffer: FloatArray) -> None:
    """Write the products of a matrix (6, R) with the R rows of pixels of each block, and with its R columns."""
    _, _, high, wide, n, channels = out.shape
    n_read, run, step = matrix.shape[1], n * channels, out.itemsize
    row, of_rows = buffer[0, 0].size, buffer.reshape(READ, high, -1)
    rows = _strided(pixels, (high, n_read, row), (SIZE * row, row, 1), step)
    np.matmul(matrix, rows, out=of_rows.transpose(1, 0, 2))
    columns = _strided(buffer, (READ, high, wide, n_read, run), (high * row, row, SIZE * run, run, 1), step)
    np.matmul(matrix, columns, out=out.reshape(READ, READ, high, wide, run).transpose(0, 2, 3, 1, 4))


def _strided(values: FloatArray, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> FloatArray:
    """Return a view of contiguous values, whose strides are in values; blocks of pixels overlap in it."""
    assert values.flags.c_contiguous
    return np.ndarray(shape, values.dtype, values, 0, tuple(itemsize * one for one in strides))
