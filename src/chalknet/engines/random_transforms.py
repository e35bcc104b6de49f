"""Random changes of training samples: changed images, mixed samples, dropout masks.

Everything is drawn from a seed and the number of an update, never from a stream with a state. Tiles of a batch, other
engines and resumed trainings therefore draw the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.augment import PARAMETERS_PER_IMAGE, Augmenter
from chalknet.network.arrays import FloatArray
from chalknet.network.random_numbers import dropout_mask, generator_for, uniforms

Rows = slice | NDArray[np.int64]  # of a batch: a slice, or one or more positions in ascending order

IMAGES, MIXING = 2**32, 2**32 + 1  # streams of their own; dropout layers have smaller numbers


class Mixup(NamedTuple):
    """The second samples of mixup.

    Attributes:
        partners: (B,) positions in the batch of the samples that are mixed in.
        fraction: weight of the sample itself, at least a half.
    """

    partners: NDArray[np.int64]
    fraction: float


@dataclass(frozen=True, eq=False)
class RandomTransforms:
    """Random augmentation, mixup and dropout of training.

    Attributes:
        seed: of all draws.
        mixup: alpha of the Beta distribution; 0 for none.
        augmenter: changes images, or None.
    """

    seed: int = 0
    mixup: float = 0.0
    augmenter: Augmenter | None = None

    def dropout_mask(
        self, stream: int, rate: float, update: int, rows: Rows, width: int, dtype: DTypeLike
    ) -> FloatArray:
        """Return the mask of D1 for some rows of an update's batch; arguments as `random_numbers.dropout_mask`."""
        run, within = _run_of(rows)
        return dropout_mask(self.seed, stream, update, run, width, rate, dtype)[within]

    def draw_mixup(self, update: int, n: int) -> Mixup | None:
        """Return the partners of a batch of n (docs/derivation.md, L8), or None without mixup.

        The fraction is drawn once per batch from Beta(alpha, alpha), and the larger of it and its complement is used.
        """
        if not self.mixup:
            return None
        rng = generator_for(self.seed, MIXING, update)
        fraction = float(rng.beta(self.mixup, self.mixup))
        return Mixup(rng.permutation(n), max(fraction, 1 - fraction))

    def augmentation_parameters(self, update: int, rows: Rows) -> NDArray[np.float64] | None:
        """Return the numbers that the augmenter needs for some rows of an update's batch, or None without one."""
        if self.augmenter is None:
            return None
        run, within = _run_of(rows)
        return uniforms(self.seed, IMAGES, update, run, PARAMETERS_PER_IMAGE)[within]

    def augment(self, raw: NDArray[Any], parameters: NDArray[np.float64] | None) -> NDArray[Any]:
        """Apply the augmenter to raw rows."""
        return raw if self.augmenter is None or parameters is None else self.augmenter(raw, parameters)


def _run_of(rows: Rows) -> tuple[slice, Rows]:
    """Return the shortest slice that covers rows, and their positions in it: numbers are drawn for slices."""
    if isinstance(rows, slice):
        return rows, slice(None)
    first = int(rows[0])
    return slice(first, int(rows[-1]) + 1), rows - first
