"""The embedding of categories: a learned vector for each category of a column, and its derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from chalknet.config import EMBEDDING_OUTPUTS, INPUT_GROUPS, MAX_UNITS, group_pairs, integer, setting
from chalknet.errors import ConfigError, ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import (
    PREDICTION,
    Layer,
    LayerPass,
    Mode,
    Normal,
    OnnxGraph,
    Parameter,
    Shape,
    flat_size,
    learning_rate_multiplier_setting,
)


class CategoryGradients(NamedTuple):
    """The gradients of x (B, I) and weight (J, S)."""

    grad_x: FloatArray
    grad_weight: FloatArray


class GroupPlaces(NamedTuple):
    """Where one group of inputs is, and what belongs to it.

    Attributes:
        inputs: its inputs.
        weights: its columns of the weight (J, S).
        outputs: its vector in the output.
    """

    inputs: slice
    weights: slice
    outputs: slice


def kept_inputs(groups: Sequence[int], n_inputs: int) -> list[tuple[slice, slice]]:
    """Return the inputs that are in no group: runs of inputs, each with its place in the output."""
    ends = [0, *(end for start, size in group_pairs(groups) for end in (start, start + size)), n_inputs]
    runs, at = [], 0
    for start, stop in list(pairwise(ends))[::2]:
        if stop > start:
            runs.append((slice(start, stop), slice(at, at + stop - start)))
        at += stop - start
    return runs


def group_places(groups: Sequence[int], n_inputs: int, n_outputs: int) -> Iterator[GroupPlaces]:
    """Yield the places of each group, for vectors of n_outputs numbers behind the other inputs."""
    pairs = group_pairs(groups)
    column, at = 0, n_inputs - sum(size for _, size in pairs)
    for start, size in pairs:
        yield GroupPlaces(slice(start, start + size), slice(column, column + size), slice(at, at + n_outputs))
        column, at = column + size, at + n_outputs


def category_embedding(
    x: FloatArray, weight: FloatArray, groups: Sequence[int]
) -> tuple[FloatArray, Callable[[FloatArray], CategoryGradients]]:
    """Return the inputs that are in no group, followed by a vector h for each group of inputs.

    h_g        = x_g W_g^T, (B, J)                                   (docs/derivation.md, Z1)
    dL/dW_g    = (dL/dh_g)^T x_g                                     (Z2)
    dL/dx_g    = (dL/dh_g) W_g                                       (Z3)

    The inputs x_g of a group say which category a sample has: 1 for this category and 0 for all
    others. Its vector is then the column of W_g that belongs to the category. A sample without a known
    category has the vector 0.

    Args:
        x: (B, I) float32 or float64.
        weight: (J, S), a column for each of the S inputs that are in a group, in their order.
        groups: the first input and the number of inputs of each group, one after the other.

    Returns:
        value: (B, I - S + G J): the other inputs, then J numbers for each of the G groups.
        backward: grad_value (B, I - S + G J) -> CategoryGradients, summed over rows.

    Raises:
        ShapeError: the shapes do not fit together.

    Source: Guo and Berkhahn, Entity Embeddings of Categorical Variables (2016), section 3.
    """
    pairs = group_pairs(groups)
    n_grouped, last = sum(size for _, size in pairs), max((start + size for start, size in pairs), default=0)
    if x.ndim != 2 or x.shape[1] < last or weight.ndim != 2 or weight.shape[1] != n_grouped:
        raise ShapeError(
            f"a category embedding of the groups {list(groups)} needs x (B, I) with I >= {last} and weight "
            f"(J, {n_grouped}), got {x.shape} and {weight.shape}."
        )
    n_inputs, n_outputs = x.shape[1], len(weight)
    kept, places = kept_inputs(groups, n_inputs), list(group_places(groups, n_inputs, n_outputs))
    value = np.empty((len(x), n_inputs - n_grouped + len(pairs) * n_outputs), np.result_type(x, weight))
    for source, target in kept:
        value[:, target] = x[:, source]
    for inputs, weights, outputs in places:
        value[:, outputs] = x[:, inputs] @ weight[:, weights].T

    def backward(grad_value: FloatArray) -> CategoryGradients:
        grad_x, grad_weight = np.empty_like(x, value.dtype), np.empty_like(weight, value.dtype)
        for source, target in kept:
            grad_x[:, source] = grad_value[:, target]
        for inputs, weights, outputs in places:
            grad_weight[:, weights] = grad_value[:, outputs].T @ x[:, inputs]
            grad_x[:, inputs] = grad_value[:, outputs] @ weight[:, weights]
        return CategoryGradients(grad_x, grad_weight)

    return value, backward


@dataclass(frozen=True)
class CategoryEmbedding(Layer):
    """A learned vector for each category of a column; the other inputs come first, unchanged.

    In a recipe, groups is left empty. It is then filled from the table: each column with more than 9
    categories is a group.

    Attributes:
        outputs: J, the numbers that stand for the category of a column.
        groups: the first input and the number of inputs of each group, one after the other.
        learning_rate_multiplier: factor of the learning rate of the vectors, >= 0.
    """

    type = "category_embedding"
    outputs: int = setting(EMBEDDING_OUTPUTS, integer(1, MAX_UNITS), "numbers that stand for the category of a column")
    groups: tuple[int, ...] = setting(
        (),
        INPUT_GROUPS,
        "the first input and the number of inputs of each column of categories; left out: from the table",
    )
    learning_rate_multiplier: float = learning_rate_multiplier_setting("the vectors")
    predictor_source = '''
def category_embedding(x, p):
    """The inputs that are in no group, then x W^T for the inputs of each group."""
    kept, embedded, end, column = [], [], 0, 0
    for start, size in zip(p["groups"][::2], p["groups"][1::2]):
        kept.append(x[:, end:start])
        embedded.append(x[:, start : start + size] @ p["weight"][:, column : column + size].T)
        end, column = start + size, column + size
    return np.concatenate([*kept, x[:, end:], *embedded], axis=1)
'''

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (I - S + G J,); see `Layer.output_shape`.

        Raises:
            ConfigError: there are no groups, or fewer inputs than they have.
        """
        n_inputs, pairs = flat_size(self, input_shape), group_pairs(self.groups)
        if not pairs:
            raise ConfigError(
                f"layer {self.type} has no groups of inputs. Give groups the first input and the number of inputs of "
                "each column of categories, or train with a table."
            )
        if sum(pairs[-1]) > n_inputs:
            raise ConfigError(
                f"layer {self.type} has a group of the inputs {pairs[-1][0]} to {sum(pairs[-1]) - 1}, but there are "
                f"only {n_inputs}. Inputs are counted from 0."
            )
        return (n_inputs - sum(size for _, size in pairs) + len(pairs) * self.outputs,)

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return weight; see `Layer.parameters`."""
        del input_shape
        shape = (self.outputs, sum(size for _, size in group_pairs(self.groups)))
        start = Normal(1 / math.sqrt(self.outputs))
        return {"weight": Parameter(shape, start, learning_rate_multiplier=self.learning_rate_multiplier)}

    def work(self, input_shape: Shape) -> int:
        """Return the multiplications of a sample; see `Layer.work`."""
        return math.prod(self.parameters(input_shape)["weight"].shape)

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `category_embedding` to x; see `Layer.forward`."""
        del mode
        value, through = category_embedding(x, parameters["weight"], self.groups)

        def backward(grad_value: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            grad_x, grad_weight = through(grad_value)
            return grad_x, {"weight": grad_weight}

        return LayerPass(value, backward)

    def predict_row_by_row(self, parameters: Mapping[str, FloatArray], x: FloatArray) -> FloatArray:
        """Return the value of `forward` with a product for each row of x (B, I) on its own."""
        weight, n_inputs = parameters["weight"], x.shape[1]
        value = np.empty((len(x), *self.output_shape((n_inputs,))), np.result_type(x, weight))
        for source, target in kept_inputs(self.groups, n_inputs):
            value[:, target] = x[:, source]
        for inputs, weights, outputs in group_places(self.groups, n_inputs, self.outputs):
            value[:, outputs] = np.matmul(x[:, None, inputs], weight[:, weights].T)[:, 0]
        return value

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        return f"embedding of categories in {self.outputs} numbers"

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add a Gemm for each group (Z1); see `Layer.to_onnx`."""
        (n_inputs,) = graph.sample_shape(x)

        def columns(value: str, part: slice) -> str:
            return graph.add("Slice", [value, graph.integers(part.start), graph.integers(part.stop), graph.integers(1)])

        parts = [columns(x, source) for source, _ in kept_inputs(self.groups, n_inputs)]
        for inputs, weights, _ in group_places(self.groups, n_inputs, self.outputs):
            factors = [columns(x, inputs), columns(parameters["weight"], weights)]
            parts.append(graph.add("Gemm", factors, transB=1))
        return graph.add("Concat", parts, axis=1)
