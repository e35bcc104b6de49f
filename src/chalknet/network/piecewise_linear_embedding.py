"""The piecewise-linear embedding of numbers, its derivatives, and the edges of its bins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.config import MAX_UNITS, integer, setting
from chalknet.errors import ShapeError
from chalknet.network.arrays import FloatArray
from chalknet.network.column_embedding import ColumnEmbedding
from chalknet.network.layer import (
    PREDICTION,
    Even,
    LayerPass,
    Mode,
    OnnxGraph,
    Parameter,
    Parameters,
    Shape,
    Uniform,
    learning_rate_multiplier_setting,
)

MAX_BINS = 256  # more of them would be narrower than float32 numbers can tell apart; see `MIN_RELATIVE_WIDTH`
# Quantiles whose distance, relative to the larger of them, is smaller than this are one edge.
MIN_RELATIVE_WIDTH = 1e-4
UNFITTED_EDGES = Even(-2.0, 2.0)  # for networks without training samples, such as those of a gradient check


class PiecewiseLinearGradients(NamedTuple):
    """The gradients of x (B, I), weight (C, J, T) and bias (C, J)."""

    grad_x: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


def encode(x: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the piecewise-linear encoding of numbers: for each bin, how much of it is below x.

    e_t = (x - edge_t-1) / (edge_t - edge_t-1)                       (docs/derivation.md, V1)
          but at least 0, except in the first bin,
          and at most 1, except in the last bin                      (V2)

    Args:
        x: (B, C) float32 or float64.
        edges: (C, T + 1), increasing along the last axis.

    Returns:
        (B, C, T).

    Source: Gorishniy, Rubachev and Babenko, On Embeddings for Numerical Features in Tabular Deep
    Learning (NeurIPS 2022), section 3.2.
    """
    encoded: FloatArray = (x[:, :, None] - edges[:, :-1]) / (edges[:, 1:] - edges[:, :-1])
    np.maximum(encoded[..., 1:], 0, out=encoded[..., 1:])
    np.minimum(encoded[..., :-1], 1, out=encoded[..., :-1])
    return encoded


def bin_of(x: FloatArray, edges: FloatArray) -> NDArray[np.intp]:
    """Return the bin (B, C) that each x (B, C) lies in: edge_t-1 <= x < edge_t, first and last bin without end."""
    found: NDArray[np.intp] = (x[:, :, None] >= edges[:, 1:-1]).sum(axis=2)
    return found


def piecewise_linear_embedding(
    x: FloatArray, edges: FloatArray, weight: FloatArray, bias: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], PiecewiseLinearGradients]]:
    """Return x, followed by an embedding h of each of its first C columns.

    e          = the encoding of x in bins, (B, C, T)                (docs/derivation.md, V1, V2)
    h          = weight e + bias, (B, C, J)                          (V3)
    dL/dweight = sum over rows of dL/dh e                            (V4)
    dL/dbias   = sum over rows of dL/dh
    dL/dx      = dL/dvalue of x itself + dL/dh weight_t / (edge_t - edge_t-1), t the bin of x  (V5)

    Each column has its own edges and weights; sums over T or J are left out above.

    Args:
        x: (B, I) float32 or float64.
        edges: (C, T + 1), increasing along the last axis; C <= I.
        weight: (C, J, T).
        bias: (C, J).

    Returns:
        value: (B, I + C J): x, then J numbers for each of the first C columns.
        backward: grad_value (B, I + C J) -> PiecewiseLinearGradients, summed over rows.

    Raises:
        ShapeError: the shapes do not fit together.

    Source: Gorishniy, Rubachev and Babenko, On Embeddings for Numerical Features in Tabular Deep
    Learning (NeurIPS 2022), sections 3.2 and 3.4.
    """
    _check_shapes(x, edges, weight, bias)
    n_inputs, (n_columns, n_outputs, _) = x.shape[1], weight.shape
    first = x[:, :n_columns]
    encoded = encode(first, edges)
    embedded = np.einsum("nit,ijt->nij", encoded, weight) + bias

    def backward(grad_value: FloatArray) -> PiecewiseLinearGradients:
        grad = grad_value[:, n_inputs:].reshape(-1, n_columns, n_outputs)
        grad_encoded = np.einsum("nij,ijt->nit", grad, weight) / (edges[:, 1:] - edges[:, :-1])
        grad_x = grad_value[:, :n_inputs].copy()
        grad_x[:, :n_columns] += np.take_along_axis(grad_encoded, bin_of(first, edges)[:, :, None], axis=2)[:, :, 0]
        return PiecewiseLinearGradients(
            grad_x=grad_x,
            grad_weight=np.einsum("nij,nit->ijt", grad, encoded),
            grad_bias=grad.sum(axis=0),
        )

    return np.concatenate([x, embedded.reshape(len(x), -1)], axis=1), backward


def _check_shapes(x: FloatArray, edges: FloatArray, weight: FloatArray, bias: FloatArray) -> None:
    fits = weight.ndim == 3 and bias.shape == weight.shape[:2]
    fits = fits and edges.shape == (weight.shape[0], weight.shape[2] + 1)
    if not fits or x.ndim != 2 or x.shape[1] < len(weight):
        raise ShapeError(
            "a piecewise-linear embedding needs x (B, I), edges (C, T + 1), weight (C, J, T) and bias (C, J) with "
            f"C <= I, got {x.shape}, {edges.shape}, {weight.shape} and {bias.shape}."
        )


def bin_edges(values: FloatArray, n_bins: int) -> FloatArray:
    """Return edges of bins with about equally many values each.

    The edges are quantiles. Equal or almost equal quantiles are one edge, and the widest bins are then
    halved until there are enough. So all bins have a width above 0, also for a column with few
    different values (docs/derivation.md, V6).

    Args:
        values: (N,) numbers; infinite ones and NaN are left out.
        n_bins: T.

    Returns:
        (T + 1,) float64, increasing; evenly spaced around the value if there is only one.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.linspace(*UNFITTED_EDGES, n_bins + 1)
    edges = list[float]()
    for edge in np.quantile(finite, np.linspace(0, 1, n_bins + 1)).tolist():
        if not edges or edge - edges[-1] > MIN_RELATIVE_WIDTH * max(abs(edge), abs(edges[-1])):
            edges.append(edge)
    if len(edges) == 1:
        around = max(1.0, abs(edges[0]))
        return np.linspace(edges[0] - around, edges[0] + around, n_bins + 1)
    while len(edges) <= n_bins:
        widest = int(np.argmax(np.diff(edges)))
        edges.insert(widest + 1, edges[widest] / 2 + edges[widest + 1] / 2)
    return np.array(edges)


@dataclass(frozen=True)
class PiecewiseLinearEmbedding(ColumnEmbedding):
    """A piecewise-linear embedding of the first inputs; all inputs pass through unchanged.

    The edges of bins are quantiles of the training samples. They are a parameter that is not learned.

    Attributes:
        columns: C, how many of the first inputs are embedded; 0 for all.
        bins: T, the number of bins of each input.
        outputs: J, the numbers that each input gets in addition to itself.
        learning_rate_multiplier: factor of the learning rate of weight and bias, >= 0.
    """

    type = "piecewise_linear_embedding"
    is_smooth = False
    is_fitted = True
    columns: int = setting(0, integer(0, MAX_UNITS), "number of the first inputs that are embedded; 0 for all")
    bins: int = setting(16, integer(1, MAX_BINS), "number of bins of each input")
    outputs: int = setting(3, integer(1, MAX_UNITS), "numbers that each input gets in addition to itself")
    learning_rate_multiplier: float = learning_rate_multiplier_setting("weight and bias")
    predictor_source = '''
def piecewise_linear_embedding(x, p):
    """x, then weight e + bias for each of its first columns; e says how much of each bin is below x."""
    low, high = p["edges"][:, :-1], p["edges"][:, 1:]
    encoded = (x[:, : len(low), None] - low) / (high - low)
    encoded[..., 1:] = np.maximum(encoded[..., 1:], 0)
    encoded[..., :-1] = np.minimum(encoded[..., :-1], 1)
    embedded = np.einsum("nit,ijt->nij", encoded, p["weight"]) + p["bias"]
    return np.concatenate([x, embedded.reshape(len(x), -1)], axis=1)
'''

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return weight, bias and edges; see `Layer.parameters`."""
        n, j, multiplier = self.n_columns(input_shape), self.outputs, self.learning_rate_multiplier
        linear = Uniform(1 / math.sqrt(self.bins))
        return {
            "weight": Parameter((n, j, self.bins), linear, learning_rate_multiplier=multiplier),
            "bias": Parameter((n, j), linear, learning_rate_multiplier=multiplier),
            "edges": Parameter((n, self.bins + 1), UNFITTED_EDGES, is_learned=False),
        }

    def fit(self, x: FloatArray) -> Parameters:
        """Return the edges: quantiles of each column of x (N, I); see `Layer.fit`."""
        return {"edges": np.array([bin_edges(column, self.bins) for column in x.T[: self.n_columns(x.shape[1:])]])}

    def pieces(self, x: FloatArray, parameters: Mapping[str, FloatArray]) -> NDArray[Any]:
        """Return the bin of each embedded number; see `Layer.pieces`."""
        edges = parameters["edges"]
        return bin_of(x[:, : len(edges)], edges)

    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Apply `piecewise_linear_embedding` to x; see `Layer.forward`."""
        del mode
        value, through = piecewise_linear_embedding(x, *(parameters[name] for name in ("edges", "weight", "bias")))

        def backward(grad_value: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
            grad_x, grad_weight, grad_bias = through(grad_value)
            return grad_x, {"weight": grad_weight, "bias": grad_bias}

        return LayerPass(value, backward)

    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the nodes of V1 to V3; see `Layer.to_onnx`."""

        def part(value: str, axis: int, start: int, stop: int) -> str:
            return graph.add("Slice", [value, graph.integers(start), graph.integers(stop), graph.integers(axis)])

        first, edges, n = part(x, 1, 0, self.columns) if self.columns else x, parameters["edges"], self.bins
        low, high = part(edges, 1, 0, n), part(edges, 1, 1, n + 1)
        above = graph.add("Sub", [graph.add("Unsqueeze", [first, graph.integers(2)]), low])
        encoded = graph.add("Div", [above, graph.add("Sub", [high, low])])
        if n > 1:
            zero, one = graph.scalar(0.0), graph.scalar(1.0)
            parts = [graph.add("Min", [part(encoded, 2, 0, 1), one])]
            parts += [graph.add("Clip", [part(encoded, 2, 1, n - 1), zero, one])] if n > 2 else []
            encoded = graph.add("Concat", [*parts, graph.add("Max", [part(encoded, 2, n - 1, n), zero])], axis=2)
        product = graph.add("Einsum", [encoded, parameters["weight"]], equation="nit,ijt->nij")
        embedded = graph.add("Flatten", [graph.add("Add", [product, parameters["bias"]])], axis=1)
        return graph.add("Concat", [x, embedded], axis=1)
