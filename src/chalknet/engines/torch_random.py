"""The random numbers of `network.random_numbers`, drawn by torch: the same bits on any device.

A draw is a few hundred operations on whole tensors, however many numbers it draws. So an engine draws
the numbers of many updates at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chalknet.network.random_numbers import NUMBERS_PER_STEP, RATE_STEPS, WORDS_PER_STEP

# The constants of Philox 4x64: factors of the two halves of the counter, what is added to the two parts
# of the key after each round, and the number of rounds.
FACTORS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10
LOW_HALF = 2**32 - 1


class RandomStreams:
    """Random streams on a device, one for each network of a stack.

    A word is an int64 tensor element with the bits of the unsigned number. Products of such elements
    have the right lower 64 bits.

    Args:
        seeds: for each network, an integer in [0, 2**32).
        streams: for each network, the number of its stream.
        device: the torch device.

    Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
    """

    def __init__(self, seeds: Sequence[int], streams: Sequence[int], device: Any) -> None:
        """Compute the keys of all rounds."""
        keys = np.array([seeds, streams], np.uint64)
        rounds = np.arange(ROUNDS, dtype=np.uint64)[:, None, None]
        keys = keys + rounds * np.array(KEY_STEPS, np.uint64)[:, None]
        # (rounds, 2, 1, M, 1), to be combined with counters (2, U, M, words).
        self._keys = _signed(keys[:, :, None, :, None], device)
        factors = np.array(FACTORS, np.uint64).reshape(2, 1, 1, 1)
        self._factors = _signed(factors, device)
        self._low, self._high = _signed(factors & LOW_HALF, device), _signed(factors >> np.uint64(32), device)

    def words(self, updates: Tensor, rows: slice, steps: int) -> Tensor:
        """Return the words that `random_numbers.random_words` draws, (U, M, rows, 4 steps).

        Args:
            updates: (U, M) int64 numbers of updates.
            rows: positions in the batch.
            steps: steps of the generator for each row.
        """
        # The generator of NumPy counts before it draws, so the first counter is 1.
        counter = torch.arange(rows.start * steps + 1, rows.stop * steps + 1, device=updates.device)
        even = torch.stack([counter, torch.zeros_like(counter)])[:, None, None]
        odd = torch.stack([updates, torch.zeros_like(updates)]).unsqueeze(-1)
        for key in self._keys:
            high, low = self._products(even)
            even, odd = high.flip(0) ^ odd ^ key, low.flip(0)
        words = torch.stack([even[0], odd[0], even[1], odd[1]], -1)
        return words.unflatten(2, (rows.stop - rows.start, steps)).flatten(-2)

    def uniforms(self, updates: Tensor, rows: slice, n: int) -> Tensor:
        """Return the numbers of `random_numbers.uniforms`, (U, M, rows, n) float64; arguments as for `words`."""
        words = self.words(updates, rows, -(-n // WORDS_PER_STEP))[..., :n]
        return (words >> 11).bitwise_and_(2**53 - 1).to(torch.float64).mul_(2.0**-53)

    def dropout_masks(self, updates: Tensor, rows: slice, width: int, thresholds: Tensor, dtype: Any) -> Tensor:
        """Return the masks of `random_numbers.dropout_mask`, (U, M, rows, width); arguments as for `words`.

        Args:
            updates: (U, M) int64 numbers of updates.
            rows: positions in the batch.
            width: number of columns.
            thresholds: (U, M, 1, 1) int32 dropout rates in steps of 1 / RATE_STEPS.
            dtype: float type of the masks.
        """
        words = self.words(updates, rows, -(-width // NUMBERS_PER_STEP))
        # A word holds four numbers of 16 bits, the lowest first. Without their sign, the smallest is -2**15.
        numbers = words.view(torch.int16)[..., :width].bitwise_xor(-(2**15))
        scale = (RATE_STEPS / (RATE_STEPS - thresholds).to(torch.float64)).to(dtype)
        return (numbers >= thresholds - 2**15).to(dtype).mul_(scale)

    def _products(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the upper and the lower 64 bits of the products of words and the factors."""
        low, high = x & LOW_HALF, _upper_half(x)
        # No sum exceeds 64 bits.
        middle = (high * self._low).add_(_upper_half(low * self._low))
        other = (low * self._high).add_(middle & LOW_HALF)
        upper = (high * self._high).add_(_upper_half(middle)).add_(_upper_half(other))
        return upper, x * self._factors


def _upper_half(x: Tensor) -> Tensor:
    """Return the upper 32 bits of words."""
    return (x >> 32).bitwise_and_(LOW_HALF)


def _signed(words: Any, device: Any) -> Tensor:
    """Return unsigned words as a tensor with the same bits."""
    return torch.from_numpy(np.ascontiguousarray(words).view(np.int64)).to(device)
