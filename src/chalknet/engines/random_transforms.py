"""Random transforms of training samples: augmented images, mixup, dropout masks.

Every random number is a function of a seed, the number of the update and the row of the batch;
there is no generator with a state. So tiles of a batch can be computed in any order and on any
thread, every engine draws the same numbers, and a resumed run continues with the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.augment import PARAMETERS_PER_IMAGE, Augmenter
from chalknet.network.arrays import FloatArray
from chalknet.network.random_numbers import dropout_mask, generator_for, uniforms

# Rows of a batch: a slice, or one or more positions in ascending order.
Rows = slice | NDArray[np.int64]

# Numbers of the random streams. Those of dropout layers are smaller.
IMAGES, MIXING = 2**32, 2**32 + 1


class Mixup(NamedTuple):
    """What mixup (docs/derivation.md, L8) needs for one batch.

    Attributes:
        partners: (B,) position in the batch of the sample that is added to each sample.
        fraction: weight of the sample itself, in [0.5, 1]; its partner has the rest.
    """

    partners: NDArray[np.int64]
    fraction: float


@dataclass(frozen=True, eq=False)
class RandomTransforms:
    """Random augmentation, mixup and dropout of training samples.

    Attributes:
        seed: seed of all random numbers.
        mixup: alpha of the Beta distribution from which mixup's fraction is drawn; 0 for no mixup.
        augmenter: changes images at random; None for no augmentation.
    """

    seed: int = 0
    mixup: float = 0.0
    augmenter: Augmenter | None = None

    def dropout_mask(
        self, stream: int, rate: float, update: int, rows: Rows, width: int, dtype: DTypeLike
    ) -> FloatArray:
        """Return the dropout mask (D1) for some rows of an update's batch.

        Args:
            stream: number of the dropout layer's random stream.
            rate: probability of dropping a value, in [0, 1).
            update: number of the update.
            rows: rows of the batch.
            width: number of values of a row.
            dtype: float type of the mask.

        Returns:
            (rows, width) array of 0 and 1 / (1 - rate).
        """
        run, within = _run_of(rows)
        return dropout_mask(self.seed, stream, update, run, width, rate, dtype)[within]

    def draw_mixup(self, update: int, n: int) -> Mixup | None:
        """Draw partners and fraction for a batch of n samples; None without mixup.

        One fraction per batch is drawn from Beta(alpha, alpha). The larger of it and its complement
        is used, so that a sample always keeps at least half of itself and its label is the larger
        part of the target.
        """
        if not self.mixup:
            return None
        rng = generator_for(self.seed, MIXING, update)
        fraction = float(rng.beta(self.mixup, self.mixup))
        return Mixup(rng.permutation(n), max(fraction, 1 - fraction))

    def augmentation_parameters(self, update: int, rows: Rows) -> NDArray[np.float64] | None:
        """Return uniform random numbers for the augmenter, a row for each of these rows of a batch.

        Returns:
            (rows, PARAMETERS_PER_IMAGE) floats in [0, 1), or None without an augmenter.
        """
        if self.augmenter is None:
            return None
        run, within = _run_of(rows)
        return uniforms(self.seed, IMAGES, update, run, PARAMETERS_PER_IMAGE)[within]

    def augment(self, raw: NDArray[Any], parameters: NDArray[np.float64] | None) -> NDArray[Any]:
        """Return raw rows (n, I) as the augmenter changes them.

        Without an augmenter, these are the same rows.
        """
        return raw if self.augmenter is None or parameters is None else self.augmenter(raw, parameters)


def _run_of(rows: Rows) -> tuple[slice, Rows]:
    """Return the shortest slice that covers rows, and the positions of rows in it.

    Random numbers are drawn for slices, and the rows that are needed are taken out.
    """
    if isinstance(rows, slice):
        return rows, slice(None)
    first = int(rows[0])
    return slice(first, int(rows[-1]) + 1), rows - first
