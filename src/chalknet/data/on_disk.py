"""Samples that stay on disk and are read when they are needed, for data sets larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import DataError, ShapeError
from chalknet.files import open_regular

READ_BYTES = 4 * 2**20  # read at a time in a pass over samples
WINDOWS_KEPT = 2  # per split, because a batch can begin in one window and end in the next


@dataclass(frozen=True)
class OnDiskArray:
    """One C-ordered array in a file.

    Attributes:
        path: the file.
        offset: position of the first value in bytes.
        shape: (n, ...), with n samples.
        dtype: type of the values, in native byte order.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to recreate this array in another process and working directory."""
        return OnDiskArray, (self.path.absolute(), self.offset, self.shape, self.dtype)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read samples start to stop into a new array; threads may do so at the same time.

        Raises:
            DataError: the file has been truncated or can no longer be read.
        """
        values = int(np.prod(self.shape[1:]))
        try:
            # Not mapped, because mapped pages count as memory of this process until the system needs them.
            with open_regular(self.path) as file:
                offset = self.offset + start * values * self.dtype.itemsize
                found = np.fromfile(file, self.dtype, (stop - start) * values, offset=offset)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read any more: {error.strerror or error}.") from error
        if len(found) != (stop - start) * values:
            raise DataError(f"{self.path}: has become shorter since it was opened.")
        return found.reshape(stop - start, *self.shape[1:])


class OnDiskSamples:
    """(N, H, W) or (N, H, W, 3) images or (N, I) rows in one or more files, read when they are indexed.

    They behave like an array where samples are selected: `len`, `shape`, `dtype`, `samples[5]`,
    `samples[10:20]` and `samples[positions]` work and return NumPy arrays. `numpy.asarray(samples)`
    reads all of them.

    Args:
        arrays: one or more arrays with the same type and the same shape of a sample.
    """

    def __init__(self, arrays: Sequence[OnDiskArray]) -> None:
        """Create samples from arrays in files; nothing is read."""
        self.arrays: tuple[OnDiskArray, ...] = tuple(arrays)
        self._starts = np.cumsum([0, *(array.shape[0] for array in arrays)])
        self.dtype: np.dtype[Any] = arrays[0].dtype
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *arrays[0].shape[1:])
        self.ndim: int = len(self.shape)
        self.size: int = int(np.prod(self.shape))
        self.nbytes: int = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of samples, N."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read the samples at a number, slice, index array or boolean mask."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return self.read(start, stop) if step == 1 else self.take(np.arange(start, stop, step))
        positions = np.asarray(key)
        if positions.dtype == bool:
            positions = np.flatnonzero(positions)
        if positions.dtype.kind not in "ui" or positions.ndim > 1:
            raise ShapeError(f"samples on disk are taken by number, slice or (n,) positions, got {key!r}.")
        return self.take(positions) if positions.ndim else self.read(int(positions), int(positions) + 1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all samples."""
        if copy is False:
            raise ValueError("samples on disk are read from a file, which makes a copy.")
        return self.read(0, len(self)).astype(dtype or self.dtype, copy=False)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read samples start to stop, across files; fewer if there are no more."""
        if not 0 <= start <= len(self):
            raise IndexError(f"sample {start} of {len(self)}")
        parts = []
        while start < min(stop, len(self)):
            number = int(np.searchsorted(self._starts, start, side="right")) - 1
            base, end = int(self._starts[number]), int(self._starts[number + 1])
            parts.append(self.arrays[number].read(start - base, min(stop, end) - base))
            start = end
        if not parts:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def take(self, positions: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Read the samples at (n,) positions, in one forward pass over the files."""
        out = np.empty((len(positions), *self.shape[1:]), self.dtype)
        order = np.argsort(positions, kind="stable")
        ascending = np.asarray(positions)[order]
        if len(ascending) and (ascending[0] < 0 or ascending[-1] >= len(self)):
            raise IndexError(f"positions must be in 0..{len(self) - 1}")
        at, rows = 0, self.rows_at_once
        while at < len(ascending):
            start = int(ascending[at])
            until = int(np.searchsorted(ascending, start + rows))
            block = self.read(start, int(ascending[until - 1]) + 1)
            out[order[at:until]] = block[ascending[at:until] - start]
            at = until
        return out

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all samples in blocks, each with the position of its first sample."""
        for start in range(0, len(self), self.rows_at_once):
            yield start, self.read(start, start + self.rows_at_once)

    @property
    def rows_at_once(self) -> int:
        """Return the number of samples in `READ_BYTES`, at least one."""
        return max(1, READ_BYTES // (self.nbytes // max(1, len(self)) or 1))

    def min(self) -> float:
        """Return the smallest value of all samples."""
        return min(float(block.min()) for _, block in self.blocks())

    def max(self) -> float:
        """Return the largest value of all samples."""
        return max(float(block.max()) for _, block in self.blocks())


class OnDiskSplit:
    """Some samples on disk as (n, I) rows, for training without holding them in memory.

    A slice is read directly. Positions are served from windows of consecutive samples, and the last
    two windows are cached. If the order of batches stays within windows, an epoch reads every
    sample once, forwards.

    Args:
        samples: all samples.
        index: (n,) positions of the samples of this split, preferably in ascending order.
        window: the number of samples in a window.
    """

    def __init__(self, samples: OnDiskSamples, index: NDArray[np.int64], window: int) -> None:
        """Create a split; nothing is read."""
        self._samples, self._index, self._window = samples, index, window
        self._windows: dict[int, NDArray[Any]] = {}
        self.dtype: np.dtype[Any] = samples.dtype
        self.shape: tuple[int, int] = (len(index), samples.size // len(samples))
        self.size: int = self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        """Return the number of samples, n."""
        return self.shape[0]

    def some(self, positions: NDArray[np.int64], window: int) -> OnDiskSplit:
        """Return the samples at some positions of this split; nothing is read."""
        return OnDiskSplit(self._samples, self._index[positions], window)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read the rows at a slice, or at (n,) positions through the window cache."""
        if isinstance(key, slice):
            return self._rows(self._index[key])
        positions = np.asarray(key)
        numbers = positions // self._window
        out = np.empty((len(positions), self.shape[1]), self.dtype)
        for number in np.unique(numbers).tolist():
            of_window = numbers == number
            if number not in self._windows:
                while len(self._windows) >= WINDOWS_KEPT:
                    del self._windows[next(iter(self._windows))]  # the oldest one
                self._windows[number] = self._rows(self._index[number * self._window : (number + 1) * self._window])
            out[of_window] = self._windows[number][positions[of_window] - number * self._window]
        return out

    def _rows(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Read the samples at (n,) positions of all samples as rows."""
        return self._samples.take(positions).reshape(len(positions), self.shape[1])
