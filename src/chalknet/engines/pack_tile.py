"""One tile of a pack: the same number of samples on their way through every network of it.

The formulas and their buffers are those of `tile`, over an axis more. A network's numbers are, bit for bit, those that
it has alone: what goes element by element does so whatever lies beside it, later layers are the very products that
`Tile` asks the BLAS for, and whether one wide product of first layers has the bits of the single ones is tried out
before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.pack_layout import Layout, Stacked
from chalknet.engines.tile import Matrix, Outcome, activate


class Goals(NamedTuple):
    """What the samples should be: labels (networks, n), and of each network smoothing, and weights (n,) or None."""

    labels: NDArray[np.integer[Any]]
    smoothing: Sequence[float]
    weights: Sequence[Matrix | None]


class PackTile:
    """Buffers for n samples of every network, and the passes that use them.

    Args:
        bunches: networks that read the same n samples.

    Attributes:
        x: of each bunch its samples (n, I+1), a last column of ones.
        samples: buffers for these, made when asked for.
        keep: of each hidden layer the factors of dropout, as `hidden` gives them; None where no network drops any.
    """

    def __init__(
        self, layout: Layout, n: int, bunches: list[slice], dtype: np.dtype[Any], activations: Sequence[str]
    ) -> None:
        self._layout, self.n, self.bunches, self._dtype, self._activations = layout, n, bunches, dtype, activations
        n_networks, n_units = len(layout.hidden), layout.columns[-1].stop
        self.x: list[Matrix] = [np.empty((0, 0), dtype)] * len(bunches)
        self._samples: list[Matrix | None] = [None] * len(bunches)
        # Of each hidden layer the arrays that its values are in: of the first one for all, of others one a run.
        self._values = [[np.empty((n, n_units), dtype)], *self._room_of_runs()]
        self._slopes = [[np.empty_like(one) for one in values] for values in self._values]
        self._active = [[np.empty(one.shape, bool) for one in values] for values in self._values]
        self.keep: list[list[Matrix] | None] = [None] * len(self._values)
        self._g = [layout.by_run(self._values[0][0]), *self._values[1:]]
        self.logits = np.empty((n_networks, n, layout.n_classes), dtype)
        self._by_class = np.empty((layout.n_classes, n_networks * n), dtype)
        self._largest, self._total = np.empty(n_networks * n, dtype), np.empty(n_networks * n, dtype)
        self._sample = np.arange(n_networks * n)
        self._same_bits = [self._is_same_side_by_side(networks) for networks in bunches]

    def _room_of_runs(self) -> list[list[Matrix]]:
        layout = self._layout
        depth = len(layout.hidden[0])
        sizes = [(run.stop - run.start, self.n) for run in layout.runs]
        return [
            [np.empty((*size, layout.widths(run)[layer]), self._dtype) for run, size in enumerate(sizes)]
            for layer in range(1, depth)
        ]

    def _is_same_side_by_side(self, networks: slice) -> bool:
        layout = self._layout
        widths = tuple(widths[0] for widths in layout.hidden[networks])
        return layout.is_wide and is_same_side_by_side(self.n, layout.n_inputs + 1, widths, self._dtype)

    def samples(self, bunch: int) -> Matrix:
        """Room for a bunch's samples, with its column of ones."""
        found = self._samples[bunch]
        if found is None:
            found = self._samples[bunch] = np.ones((self.n, self._layout.n_inputs + 1), self._dtype)
        return found

    def factors(self, layer: int) -> list[Matrix]:
        """Room for dropout's factors of a hidden layer, 1 where nobody writes."""
        kept = self.keep[layer]
        if kept is None:
            kept = self.keep[layer] = [np.ones_like(values) for values in self._values[layer]]
        return kept

    def of_network(self, layer: int, values: list[Matrix], number: int) -> Matrix:
        """(n, F): a network's part of what is kept of a hidden layer."""
        run, place = self._layout.places[number]
        return values[0][:, self._layout.columns[number]] if layer == 0 else values[run][place]

    def forward(self, weights: Stacked, learns: bool = False) -> None:
        """All layers, of the samples in `x`, into `logits`; learns says whether values are dropped."""
        for x, networks, is_same in zip(self.x, self.bunches, self._same_bits, strict=True):
            self._first(weights, networks, x, is_same)
        self._activate(0, learns)
        for layer in range(1, len(self._g)):
            for run, g in enumerate(self._g[layer]):
                _dense(self._g[layer - 1][run], weights.later[layer - 1][run], g)
            self._activate(layer, learns)
        for run, networks in enumerate(self._layout.runs):
            _dense(self._g[-1][run], weights.later[-1][run], self.logits[networks])

    def _first(self, weights: Stacked, networks: slice, x: Matrix, is_same: bool) -> None:
        (values,) = self._values[0]
        columns = self._layout.columns_of(networks)
        if is_same and weights.wide is not None:
            np.matmul(x, weights.wide[columns].T, out=values[:, columns])
            return
        for number in range(networks.start, networks.stop):
            # In the order in memory that it has alone, in which small products have bits of their own.
            matrix = np.ascontiguousarray(weights.first(number))
            np.matmul(x, matrix, out=values[:, self._layout.columns[number]])

    def _activate(self, layer: int, learns: bool) -> None:
        keep = self.keep[layer] if learns else None
        for part, g in enumerate(self._values[layer]):
            slope, active = self._slopes[layer][part], self._active[layer][part]
            activate(self._activations[layer], g, slope, active, None if keep is None else keep[part])

    def judge(self, labels: NDArray[np.integer[Any]], outcome: Outcome, at: slice) -> None:
        """`Tile.judge` of every network; labels (networks, n), outcome (networks, samples)."""
        n_networks, n, n_classes = self.logits.shape
        shifted = self._by_class
        np.equal(self.logits.argmax(axis=2), labels, out=outcome.right[:, at])
        np.copyto(shifted.reshape(n_classes, n_networks, n), self.logits.transpose(2, 0, 1))
        np.maximum.reduce(shifted, axis=0, out=self._largest)
        np.subtract(shifted, self._largest, out=shifted)
        outcome.true[:, at] = shifted[labels.reshape(-1), self._sample].reshape(n_networks, n)
        np.exp(shifted, out=shifted)
        if n == 1:  # NumPy adds up a single column in another order than several side by side
            for number in range(n_networks):
                np.add.reduce(shifted[:, number : number + 1], axis=0, out=self._total[number : number + 1])
        else:
            np.add.reduce(shifted, axis=0, out=self._total)
        outcome.total[:, at] = self._total.reshape(n_networks, n)

    def grad_logits(self, goals: Goals) -> None:
        """`Tile.grad_logits` of every network, after `judge`."""
        n_networks, n, n_classes = self.logits.shape
        probabilities = np.divide(self._by_class, self._total, out=self._by_class)
        of_network = probabilities.reshape(n_classes, n_networks, n)
        whole: Any = 1
        if any(goals.smoothing):
            whole = np.repeat(np.array([1 - share for share in goals.smoothing], self._dtype), n)
            for number, share in enumerate(goals.smoothing):
                np.subtract(of_network[:, number], share / n_classes, out=of_network[:, number])
        probabilities[goals.labels.reshape(-1), self._sample] -= whole
        for number, weights in enumerate(goals.weights):
            if weights is not None:
                np.multiply(of_network[:, number], weights, out=of_network[:, number])
        np.copyto(self.logits, of_network.transpose(1, 2, 0))

    def backward(self, weights: Stacked, gradients: Stacked) -> None:
        """All layers, after `grad_logits`; gradients are written over."""
        runs = self._layout.runs
        for run, networks in enumerate(runs):
            grad, g, out = self.logits[networks], self._g[-1][run], gradients.later[-1][run]
            # With few classes the product is faster with the classes as rows.
            np.copyto(out[:, :-1], np.matmul(grad.transpose(0, 2, 1), g).transpose(0, 2, 1))
            np.add.reduce(grad, axis=1, out=out[:, -1])
        for layer in reversed(range(len(self._g))):
            for run, networks in enumerate(runs):
                grad_next = self.logits[networks] if layer == len(self._g) - 1 else self._g[layer + 1][run]
                np.matmul(grad_next, weights.later[layer][run][:, :-1].transpose(0, 2, 1), out=self._g[layer][run])
            for grad, slope in zip(self._values[layer], self._slopes[layer], strict=True):
                np.multiply(grad, slope, out=grad)
            if layer:
                for run, grad in enumerate(self._g[layer]):
                    out = gradients.later[layer - 1][run]
                    np.matmul(self._g[layer - 1][run].transpose(0, 2, 1), grad, out=out[:, :-1])
                    np.add.reduce(grad, axis=1, out=out[:, -1])
        for x, networks, is_same in zip(self.x, self.bunches, self._same_bits, strict=True):
            self._grad_first(gradients, networks, x, is_same)

    def _grad_first(self, gradients: Stacked, networks: slice, x: Matrix, is_same: bool) -> None:
        (grad,) = self._values[0]
        columns = self._layout.columns_of(networks)
        if is_same and gradients.wide is not None:
            np.matmul(grad[:, columns].T, x, out=gradients.wide[columns])
            return
        for number in range(networks.start, networks.stop):
            own, out = grad[:, self._layout.columns[number]], gradients.first(number)
            if gradients.wide is None:
                np.matmul(x.T, own, out=out)
            else:
                np.copyto(out, np.matmul(x.T, own))


def _dense(x: Matrix, matrices: Matrix, out: Matrix) -> None:
    """A1 of a run's networks, the bias the last row of each matrix."""
    np.matmul(x, matrices[:, :-1], out=out)
    np.add(out, matrices[:, -1:], out=out)


@lru_cache(maxsize=256)
def is_same_side_by_side(n: int, n_rows: int, widths: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether the products of first layers side by side, forward and back, have the bits of one after the other.

    A BLAS adds up in an order that it chooses by the sizes alone, so what one product of random numbers shows holds for
    all of these sizes. Small products, for which it has routines of their own, differ.
    """
    rng = np.random.default_rng(0)
    x = rng.random((n, n_rows), np.float32).astype(dtype)
    wide = rng.random((sum(widths), n_rows), np.float32).astype(dtype)
    values = np.matmul(x, wide.T)
    gradients = np.matmul(values.T, x)
    ends = np.cumsum([0, *widths]).tolist()
    for a, b in pairwise(ends):
        alone = np.matmul(x, np.ascontiguousarray(wide[a:b].T))
        if not np.array_equal(alone, values[:, a:b]) or not np.array_equal(np.matmul(x.T, alone), gradients[a:b].T):
            return False
    return True
