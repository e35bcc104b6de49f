"""Raw samples made ready for products: flattened, scaled, and labels as one-hot rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.errors import ShapeError

PIXEL_SCALE = 255.0
MAX_SCALED_PIXEL = 16.0  # larger values are not those of pixels that were divided by 255 or standardized
IGNORED_SCALE = 1e30  # leaves nothing of values that float32 holds, beside others of about 1
SAMPLES_AT_ONCE = 4_096  # read at a time to learn a scaling
VALUES_AT_ONCE = 2**15  # scaled at a time in a wider type; as float64 they stay in the cache


def flatten(inputs: Any) -> NDArray[Any]:
    """(N, H, W) images as (N, H·W) rows, pixel rows one after the other; (N, I) rows as they are.

    Raises:
        ShapeError: anything but two or three dimensions.
    """
    array = np.asarray(inputs)
    if array.ndim not in (2, 3):
        raise ShapeError(f"samples must be (N, H, W) or (N, I), got {array.shape}.")
    return array.reshape(len(array), int(np.prod(array.shape[1:])))  # not -1, which NumPy refuses when N is 0


@dataclass(frozen=True, eq=False)
class Scaling:
    """How raw values become what a network reads: x = (raw - shift) / scale.

    Attributes:
        scale: > 0, one number or one an input (I,).
        shift: None, or one number an input (I,), float64.
    """

    scale: float | NDArray[np.float64] = 1.0
    shift: NDArray[np.float64] | None = None

    @property
    def ignored(self) -> list[int]:
        """The inputs that were the same in all training samples."""
        return np.flatnonzero(np.asarray(self.scale) == IGNORED_SCALE).tolist()

    def without_ignored(self) -> Scaling:
        """Return the scaling that leaves inputs at their deviation from their first value where none varied so far."""
        return Scaling(np.where(np.asarray(self.scale) == IGNORED_SCALE, 1.0, self.scale), self.shift)

    def __call__(self, inputs: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
        """(N, I) raw values scaled, in dtype, as `transform_into` does it."""
        scaled = np.empty(inputs.shape, dtype)
        self.transform_into(inputs, scaled)
        return scaled

    def transform_into(self, inputs: NDArray[Any], out: NDArray[Any]) -> None:
        """The same into an array of the inputs' shape, in its dtype.

        The arithmetic is done in the narrowest type that holds raw values and dtype: float64 of float64 and of wide
        integers, of which float32 would lose what 1e9 + 1 and 1e9 - 1 differ by before the shift is taken off.
        """
        kind = arithmetic_type(inputs.dtype, out.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is told where it shows: in a loss
            if kind == out.dtype:
                self._transform_into(inputs, out, kind)
            else:
                rows = max(1, VALUES_AT_ONCE // max(1, inputs.shape[1]))
                room = np.empty((min(rows, len(inputs)), inputs.shape[1]), kind)
                for start in range(0, len(inputs), rows):
                    some = inputs[start : start + rows]
                    self._transform_into(some, room[: len(some)], kind)
                    out[start : start + rows] = room[: len(some)]

    def _transform_into(self, inputs: NDArray[Any], out: NDArray[Any], kind: np.dtype[Any]) -> None:
        scale = np.asarray(self.scale, kind)[()]  # of that type, so that quotients are too
        if self.shift is not None:
            np.subtract(inputs, self.shift.astype(kind), out=out, dtype=kind, casting="unsafe")
            inputs = out
        np.divide(inputs, scale, out=out, dtype=kind, casting="unsafe")


def arithmetic_type(raw: DTypeLike, dtype: DTypeLike) -> np.dtype[Any]:
    """What values of type raw are scaled in to become dtype: the narrowest type that holds both, float64 at most."""
    return np.dtype(dtype) if np.can_cast(raw, dtype) else np.dtype(np.float64)


def input_scale(dtype: DTypeLike) -> float:
    """What raw values of a type are divided by before training: 255 for uint8 pixels, 1 for anything else."""
    return PIXEL_SCALE if np.dtype(dtype) == np.uint8 else 1.0


def fit_scaling(
    kind: str,
    inputs: Any,
    train: NDArray[np.int64],
    are_images: bool,
    counts: NDArray[np.float64] | None = None,
) -> Scaling:
    """The scaling that a recipe names, learned from the training samples alone.

    pixels     uint8 values divided by 255, others as they are; images of other types whose values exceed
               MAX_SCALED_PIXEL are divided by 255, or by their largest value if that is more
    standard   mean 0 and standard deviation 1 of each input over the training samples   (docs/derivation.md, X3)
    auto       pixels for images, standard for rows

    Args:
        inputs: (N, ...) raw, in memory or stored; read a piece at a time. train: positions of the training samples.
        counts: (N,) > 0, relative weights of the samples, or None for equal ones.
    Returns:
        a `Scaling`. An input that is the same in all training samples is divided by `IGNORED_SCALE`, so that it has no
        influence when it is something else later.
    """
    if kind == "pixels" or (kind == "auto" and are_images):
        is_raw = are_images and inputs.dtype != np.uint8
        return Scaling(_pixel_scale(inputs, train) if is_raw else input_scale(inputs.dtype))
    with np.errstate(over="ignore", invalid="ignore"):  # sums beyond 1e308, of which the scaled values tell
        return _standard(inputs, train, counts)


def _pixel_scale(inputs: Any, train: NDArray[np.int64]) -> float:
    """Return what images that are not bytes are divided by: nothing of values that have been scaled already."""
    largest = max((float(np.abs(rows).max()) for rows, _ in _pieces(inputs, train, None)), default=0.0)
    return 1.0 if largest <= MAX_SCALED_PIXEL else max(largest, PIXEL_SCALE)


def _standard(inputs: Any, train: NDArray[np.int64], counts: NDArray[np.float64] | None) -> Scaling:
    """Mean 0 and standard deviation 1 of each input over the training samples (docs/derivation.md, X3)."""
    n, total = 0.0, np.zeros(())
    low, high = np.asarray(np.inf), np.asarray(-np.inf)
    for rows, times in _pieces(inputs, train, counts):
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        n, total = n + float(times.sum()), total + _added_up(times, rows)
    # Of equal values the mean can be rounded, and what it leaves is no deviation.
    varies = low < high
    mean = np.where(varies, total / (n or 1.0), low)
    largest = np.where(varies, np.maximum(high - mean, mean - low), 1.0)
    squares = np.zeros(())
    for rows, times in _pieces(inputs, train, counts):
        shares = (rows - mean) / largest  # whose squares neither overflow nor vanish
        squares = squares + _added_up(times, np.square(shares))
    deviation = largest * np.sqrt(squares / (n or 1.0))
    return Scaling(np.where(varies & (deviation > 0), deviation, IGNORED_SCALE), mean)


def _pieces(
    inputs: Any, train: NDArray[np.int64], counts: NDArray[np.float64] | None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The training samples as rows of float64, some at a time, with what each counts."""
    for start in range(0, len(train), SAMPLES_AT_ONCE):
        some = train[start : start + SAMPLES_AT_ONCE]
        yield flatten(inputs[some]).astype(np.float64), np.ones(len(some)) if counts is None else counts[some]


def _added_up(times: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows times what each counts, added up without BLAS, so that its threads change no bit."""
    added: NDArray[np.float64] = np.einsum("n,ni->i", times, rows)
    return added


def one_hot(labels: Any, n_classes: int | None = None) -> NDArray[np.float64]:
    """Rows of zeros with a one at the label: the write-up's targets.

    Args:
        labels: (N,) integers in [0, n_classes).
        n_classes: K; the largest label + 1 when not given.
    Returns:
        (N, K) float64.
    Raises:
        ShapeError: labels are not (N,) integers, or one of them names no class.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise ShapeError(f"labels must be (N,) integers, got {labels.shape} {labels.dtype}.")
    k = n_classes if n_classes is not None else int(labels.max(initial=-1)) + 1
    bad = np.flatnonzero((labels < 0) | (labels >= k))
    if bad.size:
        raise ShapeError(f"labels[{bad[0]}] is {labels[bad[0]]}, which is not in 0..{k - 1}.")
    rows = np.zeros((len(labels), k))
    rows[np.arange(len(labels)), labels] = 1.0
    return rows
