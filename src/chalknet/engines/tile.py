"""One tile: some rows of samples on their way through a network and back, in buffers that are made once.

A layer's weight and bias are one matrix M (I+1, O), the bias its last row. Samples have a last column of ones, so that
A1 of the first layer is one product, h = [x 1] M, and A3 with A4 another, dL/dM = [x 1]^T dL/dh. Dropout's factors (D1)
are drawn into the slope of the activation, by which the way back multiplies once for both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.network.activations import GELU_CUBE, GELU_SCALE, KINKED, LEAK
from chalknet.network.batch_norm import EPSILON, KEPT_SHARE
from chalknet.network.metrics import printed_loss_of_mean
from chalknet.records import Scores

Matrix = NDArray[Any]
EVERY = slice(None)


@dataclass(eq=False)
class Weights:
    """What a network is made of, layer by layer, as a tile reads it.

    Attributes:
        matrices: (I+1, O) each, the bias its last row.
        gains: (1, O) for each hidden layer, empty without batch normalisation.
        statistics: (2, O) for each of these, running mean and variance.
    """

    matrices: list[Matrix]
    gains: list[Matrix] = field(default_factory=list)
    statistics: list[Matrix] = field(default_factory=list)

    def like(self) -> Weights:
        """Room of the same shapes."""
        return Weights(*([np.empty_like(value) for value in values] for values in self.groups))

    def copy(self) -> Weights:
        """The same values in other arrays."""
        return Weights(*([value.copy() for value in values] for values in self.groups))

    def put(self, other: Weights) -> None:
        """Takes another's values, which are of the same shapes, into its own arrays."""
        for mine, theirs in zip(self.groups, other.groups, strict=True):
            for value, new in zip(mine, theirs, strict=True):
                np.copyto(value, new)

    @property
    def groups(self) -> tuple[list[Matrix], list[Matrix], list[Matrix]]:
        return self.matrices, self.gains, self.statistics


class Outcome:
    """What is kept of each of some samples, for their scores: (n,) arrays that tiles fill in slices.

    true: the true class's logit less the largest. total: sum of exp(logit less the largest). right: whether the largest
    logit (the first of equals) is the true class's.
    """

    def __init__(self, n: int, dtype: Any) -> None:
        self.true = np.empty(n, dtype)
        self.total = np.empty(n, dtype)
        self.right = np.empty(n, bool)

    def losses(self, n: int) -> Matrix:
        """Cross-entropies of the first n, the terms of L2."""
        losses: Matrix = np.log(self.total[:n]) - self.true[:n]
        return losses

    def sums(self, n: int) -> tuple[float, float, float]:
        """Over the first n samples: of L2's terms, of right answers, of the true classes' probabilities."""
        true_class = np.exp(self.true[:n]) / self.total[:n]
        losses = self.losses(n).sum(dtype=np.float64)
        return float(losses), float(self.right[:n].sum()), float(true_class.sum(dtype=np.float64))


class Tally:
    """The sums of all samples of a pass, added in the order in which they are handed over."""

    def __init__(self) -> None:
        self._n = 0
        self._loss = self._right = self._true_class = 0.0

    def add(self, n: int, sums: Iterable[tuple[float, float, float]]) -> None:
        """n samples more, in one or several sums."""
        self._n += n
        for loss, right, true_class in sums:
            self._loss += loss
            self._right += right
            self._true_class += true_class

    @property
    def is_finite(self) -> bool:
        """Whether the losses so far have a finite sum."""
        return math.isfinite(self._loss)

    def scores(self) -> Scores:
        """L2, M1 and M2 over all samples."""
        return Scores(self._loss / self._n, self._right / self._n, printed_loss_of_mean(self._true_class / self._n))


class Targets(NamedTuple):
    """What some samples should be: labels (n,), and partners (n,), share and weights (n,) as in `Samples`."""

    labels: NDArray[np.integer[Any]]
    partners: NDArray[np.integer[Any]] | None = None
    share: float = 1.0
    weights: Matrix | None = None
    smoothing: float = 0.0


class Tile:
    """Buffers for up to `rows` samples of one network, and the passes that use them.

    Args:
        widths: I, hidden widths, K.
        rows: the most samples at a time.
        dtype: float32 or float64.
        activations: one a hidden layer.
        batch_norm: whether hidden layers are normalised; a tile that learns then is a whole batch.
    """

    def __init__(
        self, widths: Sequence[int], rows: int, dtype: Any, activations: Sequence[str] = (), batch_norm: bool = False
    ) -> None:
        hidden, n_classes = widths[1:-1], widths[-1]
        self.rows = rows
        self.activations = tuple(activations) or ("relu",) * len(hidden)
        self.batch_norm = batch_norm
        self.samples = np.ones((rows, widths[0] + 1), dtype)  # of its own; they go into all columns but the last
        self.x = self.samples  # what the first layer reads: its own samples, or some that lie ready elsewhere
        self.g = [np.empty((rows, width), dtype) for width in hidden]  # values after all; on the way back dL/dh
        # The activation's derivative times dropout's factors.
        self.slope = [np.empty((rows, width), dtype) for width in hidden]
        self.active = [np.empty((rows, width), bool) for width in hidden]
        self.keep: list[Matrix | None] = [None] * len(hidden)  # dropout's factors of the present samples
        self.z = [np.empty((rows, width), dtype) for width in hidden] if batch_norm else []
        self.root = [np.empty(width, dtype) for width in hidden] if batch_norm else []
        self.logits = np.empty((rows, n_classes), dtype)  # on the way back dL/do
        # Classes along the first axis: reductions over few classes then run along the many samples.
        self.by_class = np.empty((n_classes, rows), dtype)
        self.grad_by_class = np.empty((n_classes, hidden[-1]), dtype)
        self.largest = np.empty(rows, dtype)
        self.sample = np.arange(rows)
        self.outcome = Outcome(rows, dtype)

    def forward(self, weights: Weights, n: int, learns: bool = False) -> None:
        """All layers, of the first n samples of `x`; learns says by which statistics batch normalisation goes."""
        for layer in range(len(self.g)):
            self.hidden(weights, layer, n, EVERY, learns)
        self.output(weights, n)

    def hidden(self, weights: Weights, layer: int, n: int, columns: slice, learns: bool = False) -> None:
        """A1, B1 to B3 and the activation of some columns of a hidden layer, and its slope."""
        g, matrix = self.g[layer][:n, columns], weights.matrices[layer]
        if self.batch_norm:
            before = self.x[:n, :-1] if layer == 0 else self.g[layer - 1][:n]
            np.matmul(before, matrix[:-1, columns], out=g)
            self._normalise(weights, layer, n, columns, learns)
        elif layer == 0:
            np.matmul(self.x[:n], matrix[:, columns], out=g)
        else:
            np.matmul(self.g[layer - 1][:n], matrix[:-1, columns], out=g)
            np.add(g, matrix[-1, columns], out=g)
        keep = self.keep[layer] if learns else None
        slope, active = self.slope[layer][:n, columns], self.active[layer][:n, columns]
        activate(self.activations[layer], g, slope, active, None if keep is None else keep[:n, columns])

    def output(self, weights: Weights, n: int) -> None:
        """A1 of the last layer: the logits."""
        matrix = weights.matrices[-1]
        np.matmul(self.g[-1][:n], matrix[:-1], out=self.logits[:n])
        np.add(self.logits[:n], matrix[-1], out=self.logits[:n])

    def judge(self, labels: NDArray[np.integer[Any]], outcome: Outcome, at: slice) -> None:
        """S3 of the logits, and what the scores need of it, into a slice of the outcome."""
        n = len(labels)
        shifted, largest, sample = self.by_class[:, :n], self.largest[:n], self.sample[:n]
        np.copyto(shifted, self.logits[:n].T)
        np.equal(shifted.argmax(axis=0), labels, out=outcome.right[at])
        np.maximum.reduce(shifted, axis=0, out=largest)
        np.subtract(shifted, largest, out=shifted)
        outcome.true[at] = shifted[labels, sample]
        np.exp(shifted, out=shifted)
        np.add.reduce(shifted, axis=0, out=outcome.total[at])

    def grad_logits(self, targets: Targets, outcome: Outcome, at: slice) -> None:
        """L6 after `judge`: w (p - T) in place of the logits, not divided by the batch; L3 where targets are plain."""
        n = len(targets.labels)
        probabilities, sample = self.by_class[:, :n], self.sample[:n]
        np.divide(probabilities, outcome.total[at], out=probabilities)
        if targets.smoothing:
            np.subtract(probabilities, targets.smoothing / len(probabilities), out=probabilities)
        whole = 1 - targets.smoothing
        probabilities[targets.labels, sample] -= whole * targets.share
        if targets.partners is not None:
            probabilities[targets.partners, sample] -= whole * (1 - targets.share)
        if targets.weights is not None:
            np.multiply(probabilities, targets.weights, out=probabilities)
        np.copyto(self.logits[:n], probabilities.T)

    def grad_output(self, n: int, out: Weights) -> None:
        """A3 and A4 of the last layer; with few classes the product is faster with the classes as rows."""
        np.matmul(self.logits[:n].T, self.g[-1][:n], out=self.grad_by_class)
        np.copyto(out.matrices[-1][:-1], self.grad_by_class.T)
        np.add.reduce(self.logits[:n], axis=0, out=out.matrices[-1][-1])

    def grad_hidden(self, weights: Weights, layer: int, n: int, columns: slice, out: Weights) -> None:
        """A2 of the layer after, the slope and B5, in place of the layer's values, then A3 and A4; of some columns."""
        grad_h = self.g[layer][:n, columns]
        grad_next = self.logits[:n] if layer == len(self.g) - 1 else self.g[layer + 1][:n]
        np.matmul(grad_next, weights.matrices[layer + 1][:-1][columns].T, out=grad_h)
        np.multiply(grad_h, self.slope[layer][:n, columns], out=grad_h)
        grad_matrix = out.matrices[layer][:, columns]
        if self.batch_norm:
            grad_bias = self._grad_normalise(weights, layer, n, columns, out)
            before = self.x[:n, :-1] if layer == 0 else self.g[layer - 1][:n]
            np.matmul(before.T, grad_h, out=grad_matrix[:-1])
            np.copyto(grad_matrix[-1], grad_bias)
        elif layer == 0:
            np.matmul(self.x[:n].T, grad_h, out=grad_matrix)
        else:
            np.matmul(self.g[layer - 1][:n].T, grad_h, out=grad_matrix[:-1])
            np.add.reduce(grad_h, axis=0, out=grad_matrix[-1])

    def backward(self, weights: Weights, n: int, gradients: Weights) -> None:
        """All layers, after `grad_logits`; gradients are written over."""
        self.grad_output(n, gradients)
        for layer in reversed(range(len(self.g))):
            self.grad_hidden(weights, layer, n, EVERY, gradients)

    def _normalise(self, weights: Weights, layer: int, n: int, columns: slice, learns: bool) -> None:
        """B2 and B3 of some columns in place, by the batch's statistics (B1, B6) or by the running ones."""
        g, z, root = self.g[layer][:n, columns], self.z[layer][:n, columns], self.root[layer][columns]
        running = weights.statistics[layer][:, columns]
        mean, variance = np.add.reduce(g, axis=0) / n if learns else running[0], running[1]
        np.subtract(g, mean, out=z)
        if learns:
            variance = np.add.reduce(np.multiply(z, z, out=g), axis=0) / n
            unbiased = variance * (n / max(n - 1, 1))
            for kept, of_batch in zip(running, (mean, unbiased), strict=True):
                np.multiply(kept, KEPT_SHARE, out=kept)
                np.add(kept, (1 - KEPT_SHARE) * of_batch, out=kept)
        np.sqrt(variance + g.dtype.type(EPSILON), out=root)
        np.divide(z, root, out=z)
        np.multiply(z, weights.gains[layer][0, columns], out=g)
        np.add(g, weights.matrices[layer][-1, columns], out=g)

    def _grad_normalise(self, weights: Weights, layer: int, n: int, columns: slice, out: Weights) -> Matrix:
        """B4 and B5 of some columns in place of the layer's values; gives out dL/dbias."""
        grad, z, root = self.g[layer][:n, columns], self.z[layer][:n, columns], self.root[layer][columns]
        grad_bias: Matrix = np.add.reduce(grad, axis=0)
        grad_gain = np.einsum("ij,ij->j", grad, z)
        out.gains[layer][0, columns] = grad_gain
        np.multiply(z, grad_gain / n, out=z)
        np.subtract(grad, z, out=grad)
        np.subtract(grad, grad_bias / n, out=grad)
        np.multiply(grad, weights.gains[layer][0, columns] / root, out=grad)
        return grad_bias


def activate(name: str, g: Matrix, slope: Matrix, active: NDArray[np.bool_], keep: Matrix | None) -> None:
    """An activation in place of g, then D1; its slope is left for the way back, and active is written over."""
    is_scaled = name in KINKED or name == "identity"  # the value is the slope times what goes in
    if name in KINKED:
        # A comparison and a product by 1 or 0 are faster in NumPy than maximum, and the slope is needed later on.
        np.greater(g, 0, out=active)
        if name == "relu":
            np.copyto(slope, active)
        else:
            slope.fill(LEAK)
            np.copyto(slope, 1, where=active)
    elif name == "identity":
        slope.fill(1)
    elif name == "tanh":
        np.tanh(g, out=g)
        np.multiply(g, g, out=slope)
        np.subtract(1, slope, out=slope)
    else:
        _gelu(g, slope)
    if keep is not None:
        np.multiply(slope, keep, out=slope)
    if is_scaled:
        np.multiply(g, slope, out=g)
    elif keep is not None:
        np.multiply(g, keep, out=g)


def _gelu(g: Matrix, slope: Matrix) -> None:
    """R7 in place of g, and R8's factor into slope."""
    squared = g * g
    t = np.multiply(squared, GELU_CUBE)
    np.add(t, 1, out=t)
    np.multiply(t, g, out=t)
    np.multiply(t, GELU_SCALE, out=t)
    np.tanh(t, out=t)
    np.multiply(squared, 3 * GELU_CUBE, out=squared)
    np.add(squared, 1, out=squared)
    np.multiply(squared, g, out=squared)
    np.multiply(squared, GELU_SCALE / 2, out=squared)
    np.multiply(t, t, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(slope, squared, out=slope)  # x (1 - t^2) u' / 2
    np.add(t, 1, out=t)
    np.multiply(t, 0.5, out=t)
    np.add(slope, t, out=slope)
    np.multiply(g, t, out=g)
