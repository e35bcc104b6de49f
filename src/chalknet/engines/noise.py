"""What training adds at random: dropout, changed images, mixed samples; each drawn from a seed and an update's number.

Nothing is drawn from a stream that has a state, so tiles, other engines and a resumed training all draw the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.augment import DRAWS, Augmenter
from chalknet.network.arrays import FloatArray
from chalknet.network.dropout import generator_of, keep_factors, uniforms

Rows = slice | NDArray[np.int64]  # of a batch: a run of them, or one or more in ascending order

IMAGES, MIXING = 2**32, 2**32 + 1  # streams of their own; the layers have 0 (the inputs), 1, 2, ...


class Mixing(NamedTuple):
    """partners: (B,) positions in the batch of the samples mixed in; share: of the sample itself, at least a half."""

    partners: NDArray[np.int64]
    share: float


@dataclass(frozen=True, eq=False)
class Noise:
    """What is random in training beside the order of samples.

    Attributes:
        seed: of all of it.
        dropout, input_dropout: rates, in [0, 1).
        mixup: alpha of the Beta distribution; 0 for none.
        augmenter: what changes images, or None.
    """

    seed: int = 0
    dropout: float = 0.0
    input_dropout: float = 0.0
    mixup: float = 0.0
    augmenter: Augmenter | None = None

    def rate(self, layer: int) -> float:
        """Of the inputs (0) or of a hidden layer's values (1, 2, ...)."""
        return self.dropout if layer else self.input_dropout

    def keep(self, layer: int, update: int, rows: Rows, width: int, dtype: DTypeLike) -> FloatArray | None:
        """The factors of D1 for some rows of an update's batch; None where nothing is dropped."""
        rate = self.rate(layer)
        if not rate:
            return None
        run, within = _run_of(rows)
        return keep_factors(self.seed, layer, update, run, width, rate, dtype)[within]

    def mixing(self, update: int, n: int) -> Mixing | None:
        """Who is mixed with whom in a batch of n (docs/derivation.md, L8); None without mixup.

        The share is drawn once a batch from Beta(alpha, alpha), and counted from the larger side.
        """
        if not self.mixup:
            return None
        rng = generator_of(self.seed, MIXING, update)
        share = float(rng.beta(self.mixup, self.mixup))
        return Mixing(rng.permutation(n), max(share, 1 - share))

    def draws(self, update: int, rows: Rows) -> NDArray[np.float64] | None:
        """What the augmenter needs for some rows of an update's batch; None where there is none."""
        if self.augmenter is None:
            return None
        run, within = _run_of(rows)
        return uniforms(self.seed, IMAGES, update, run, DRAWS)[within]

    def changed(self, raw: NDArray[Any], draws: NDArray[np.float64] | None) -> NDArray[Any]:
        """Raw rows as the augmenter leaves them."""
        return raw if self.augmenter is None or draws is None else self.augmenter(raw, draws)


def _run_of(rows: Rows) -> tuple[slice, Rows]:
    """The shortest run that has all of some rows, and where in it they are: numbers are drawn for runs."""
    if isinstance(rows, slice):
        return rows, slice(None)
    first = int(rows[0])
    return slice(first, int(rows[-1]) + 1), rows - first
