"""One tile: some rows of samples on their way through a network and back, in buffers that are made once.

A layer's weight and bias are one matrix M (I+1, O), the bias its last row. Samples have a last column of ones, so that
A1 of the first layer is one product, h = [x 1] M, and A3 with A4 another, dL/dM = [x 1]^T dL/dh.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.network.metrics import printed_loss_of_mean
from chalknet.records import Scores

Matrix = NDArray[Any]
EVERY = slice(None)


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

    def scores(self) -> Scores:
        """L2, M1 and M2 over all samples."""
        return Scores(self._loss / self._n, self._right / self._n, printed_loss_of_mean(self._true_class / self._n))


class Tile:
    """Buffers for up to `rows` samples of one network, and the passes that use them.

    Args:
        widths: I, hidden widths, K.
        rows: the most samples at a time.
        dtype: float32 or float64.
    """

    def __init__(self, widths: Sequence[int], rows: int, dtype: Any) -> None:
        hidden, n_classes = widths[1:-1], widths[-1]
        self.samples = np.ones((rows, widths[0] + 1), dtype)  # of its own; they go into all columns but the last
        self.x = self.samples  # what the first layer reads: its own samples, or some that lie ready elsewhere
        self.g = [np.empty((rows, width), dtype) for width in hidden]  # values after relu; on the way back dL/dh
        self.slope = [np.empty((rows, width), dtype) for width in hidden]  # relu's derivative, 1 or 0
        self.active = [np.empty((rows, width), bool) for width in hidden]
        self.logits = np.empty((rows, n_classes), dtype)  # on the way back dL/do
        # Classes along the first axis: reductions over few classes then run along the many samples.
        self.by_class = np.empty((n_classes, rows), dtype)
        self.grad_by_class = np.empty((n_classes, hidden[-1]), dtype)
        self.largest = np.empty(rows, dtype)
        self.sample = np.arange(rows)
        self.outcome = Outcome(rows, dtype)

    def forward(self, matrices: Sequence[Matrix], n: int) -> None:
        """All layers, of the first n samples of `x`."""
        for layer in range(len(self.g)):
            self.hidden(matrices, layer, n, EVERY)
        self.output(matrices, n)

    def hidden(self, matrices: Sequence[Matrix], layer: int, n: int, columns: slice) -> None:
        """A1 and R1 of some columns of a hidden layer, and where the slope is 1."""
        g, slope, active = (values[layer][:n, columns] for values in (self.g, self.slope, self.active))
        if layer == 0:
            np.matmul(self.x[:n], matrices[0][:, columns], out=g)
        else:
            np.matmul(self.g[layer - 1][:n], matrices[layer][:-1, columns], out=g)
            np.add(g, matrices[layer][-1, columns], out=g)
        # A comparison and a product by 1 or 0 are faster in NumPy than maximum, and the slope is needed later on.
        np.greater(g, 0, out=active)
        np.copyto(slope, active)
        np.multiply(g, slope, out=g)

    def output(self, matrices: Sequence[Matrix], n: int) -> None:
        """A1 of the last layer: the logits."""
        np.matmul(self.g[-1][:n], matrices[-1][:-1], out=self.logits[:n])
        np.add(self.logits[:n], matrices[-1][-1], out=self.logits[:n])

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

    def grad_logits(self, labels: NDArray[np.integer[Any]], outcome: Outcome, at: slice) -> None:
        """L3 after `judge`: p - onehot(y) in place of the logits, not divided by the batch."""
        n = len(labels)
        probabilities = self.by_class[:, :n]
        np.divide(probabilities, outcome.total[at], out=probabilities)
        probabilities[labels, self.sample[:n]] -= 1
        np.copyto(self.logits[:n], probabilities.T)

    def grad_output(self, n: int, out: Matrix) -> None:
        """A3 and A4 of the last layer; with few classes the product is faster with the classes as rows."""
        np.matmul(self.logits[:n].T, self.g[-1][:n], out=self.grad_by_class)
        np.copyto(out[:-1], self.grad_by_class.T)
        np.add.reduce(self.logits[:n], axis=0, out=out[-1])

    def grad_hidden(self, matrices: Sequence[Matrix], layer: int, n: int, columns: slice, out: Matrix) -> None:
        """A2 of the layer after and R2, in place of the layer's values, then A3 and A4; of some columns."""
        grad_h = self.g[layer][:n, columns]
        grad_next = self.logits[:n] if layer == len(self.g) - 1 else self.g[layer + 1][:n]
        np.matmul(grad_next, matrices[layer + 1][:-1][columns].T, out=grad_h)
        np.multiply(grad_h, self.slope[layer][:n, columns], out=grad_h)
        if layer == 0:
            np.matmul(self.x[:n].T, grad_h, out=out)
        else:
            np.matmul(self.g[layer - 1][:n].T, grad_h, out=out[:-1])
            np.add.reduce(grad_h, axis=0, out=out[-1])

    def backward(self, matrices: Sequence[Matrix], n: int, gradients: Sequence[Matrix]) -> None:
        """All layers, after `grad_logits`; gradients are written over."""
        self.grad_output(n, gradients[-1])
        for layer in reversed(range(len(self.g))):
            self.grad_hidden(matrices, layer, n, EVERY, gradients[layer])
