"""Preparation of raw samples for a network: flattening, scaling, and one-hot labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.config import group_pairs
from chalknet.data.tables.rows import TableRows
from chalknet.errors import ShapeError

PIXEL_SCALE = 255.0
MAX_SCALED_PIXEL = 16.0  # larger values mean that pixels were neither divided by 255 nor standardized
IGNORED_SCALE = 1e30  # makes every float32 value negligible beside inputs of about 1
SAMPLES_AT_ONCE = 4_096  # read at a time to compute a scaling
HALF_TOLERANCE = 1e-9  # relative; sums of weights that differ by less are equal
MAX_QUANTILE_SAMPLES = 100_000  # more of them hardly change a quantile
VALUES_AT_ONCE = 2**15  # scaled at a time in a wider type; as float64 they fit into the cache


def flatten(inputs: Any) -> NDArray[Any]:
    """Return images (N, H, W) or (N, H, W, C) as rows, row by row; (N, I) rows are returned unchanged.

    Color images (N, H, W, 3) become (N, H·W·3), pixel by pixel.

    Raises:
        ShapeError: inputs have fewer than two or more than four dimensions.
    """
    array = np.asarray(inputs)
    if array.ndim not in (2, 3, 4):
        raise ShapeError(f"samples must be (N, H, W), (N, H, W, C) or (N, I), got {array.shape}.")
    return array.reshape(len(array), math.prod(array.shape[1:]))  # not -1, which NumPy rejects if N is 0


@dataclass(frozen=True, eq=False)
class Scaling:
    """The map from raw values to the inputs of a network: x = (raw - shift) / scale.

    Attributes:
        scale: > 0, one number or (I,) one per input.
        shift: (I,) float64, or None for no shift.
        fill: (I,) float64, what replaces a missing value (NaN) first; None if no value can be missing.
    """

    scale: float | NDArray[np.float64] = 1.0
    shift: NDArray[np.float64] | None = None
    fill: NDArray[np.float64] | None = None

    @property
    def ignored(self) -> list[int]:
        """Return the inputs that had the same value in all training samples."""
        return np.flatnonzero(np.asarray(self.scale) == IGNORED_SCALE).tolist()

    def without_ignored(self) -> Scaling:
        """Return a scaling with scale 1 for inputs that did not vary in the training samples.

        These inputs are then the deviation from their constant value.
        """
        return Scaling(np.where(np.asarray(self.scale) == IGNORED_SCALE, 1.0, self.scale), self.shift, self.fill)

    def without_groups(self, groups: Sequence[int], n_inputs: int) -> Scaling:
        """Return a scaling that leaves inputs of categories as they are: 0 or 1, or about 0 if they did not vary.

        Args:
            groups: the first input and the number of inputs of each group, one after the other.
            n_inputs: I.
        """
        if not groups:
            return self
        shift = np.zeros(n_inputs) if self.shift is None else self.shift.copy()
        scale = np.broadcast_to(np.asarray(self.scale, np.float64), (n_inputs,)).copy()
        for start, size in group_pairs(groups):
            shift[start : start + size] = 0.0
            own = scale[start : start + size]
            own[own != IGNORED_SCALE] = 1.0
        return Scaling(scale, shift, self.fill)

    def __call__(self, inputs: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
        """Return scaled values.

        Args:
            inputs: (N, I) raw values.
            dtype: type of the result.
        """
        scaled = np.empty(inputs.shape, dtype)
        self.transform_into(inputs, scaled)
        return scaled

    def transform_into(self, inputs: NDArray[Any], out: NDArray[Any]) -> None:
        """Write scaled values into an array.

        The arithmetic uses the narrowest type that represents both raw values and results: float64
        for float64 and wide integers. In float32 the difference between 1e9 + 1 and 1e9 - 1 would
        be lost before the shift is subtracted.

        Args:
            inputs: (N, I) raw values.
            out: (N, I) array that is overwritten; its dtype determines the type of the result.
        """
        kind = arithmetic_type(inputs.dtype, out.dtype)
        # Values that become infinite are reported when the loss becomes infinite.
        with np.errstate(over="ignore", invalid="ignore"):
            if kind == out.dtype:
                self._transform_into(inputs, out, kind)
            else:
                rows = max(1, VALUES_AT_ONCE // max(1, inputs.shape[1]))
                buffer = np.empty((min(rows, len(inputs)), inputs.shape[1]), kind)
                for start in range(0, len(inputs), rows):
                    some = inputs[start : start + rows]
                    self._transform_into(some, buffer[: len(some)], kind)
                    out[start : start + rows] = buffer[: len(some)]

    def _transform_into(self, inputs: NDArray[Any], out: NDArray[Any], kind: np.dtype[Any]) -> None:
        """Write scaled values into out, computed in one type."""
        scale = np.asarray(self.scale, kind)[()]  # in that type, so that quotients have it too
        if self.fill is not None:
            inputs = filled(inputs, self.fill.astype(kind))
        if self.shift is not None:
            np.subtract(inputs, self.shift.astype(kind), out=out, dtype=kind, casting="unsafe")
            inputs = out
        np.divide(inputs, scale, out=out, dtype=kind, casting="unsafe")


def filled(rows: NDArray[Any], fill: NDArray[np.float64] | None) -> NDArray[Any]:
    """Return rows with missing values replaced.

    Args:
        rows: (N, I), NaN where a value is missing.
        fill: (I,) the replacements, or None for rows without missing values.
    """
    return rows if fill is None else np.where(np.isnan(rows), fill, rows)


def arithmetic_type(raw: DTypeLike, dtype: DTypeLike) -> np.dtype[Any]:
    """Return the type in which raw values are scaled: the narrowest that holds both types."""
    return np.dtype(dtype) if np.can_cast(raw, dtype) else np.dtype(np.float64)


def input_scale(dtype: DTypeLike) -> float:
    """Return the divisor of raw values of a type: 255 for uint8 pixels, 1 for other types."""
    return PIXEL_SCALE if np.dtype(dtype) == np.uint8 else 1.0


def fit_scaling(
    kind: str,
    inputs: Any,
    train: NDArray[np.int64],
    are_images: bool,
    counts: NDArray[np.float64] | None = None,
    may_be_missing: bool = False,
) -> Scaling:
    """Return the scaling that a recipe names, computed from the training samples alone.

    pixels     uint8 values divided by 255, others unchanged. Images of other types with values
               above MAX_SCALED_PIXEL are divided by 255, or by their largest value if larger.
    standard   mean 0 and standard deviation 1 of each input          (docs/derivation.md, X3)
    robust     median 0 and interquartile range 1 of each input       (X4)
    auto       pixels for images, standard for rows

    Args:
        kind: "pixels", "standard", "robust" or "auto".
        inputs: (N, ...) raw samples, in memory or on disk.
        train: (n,) indices of the training samples.
        are_images: whether the samples are images.
        counts: (N,) > 0, relative weights of the samples, or None for equal weights.
        may_be_missing: whether values can be missing. They are replaced by the median of the training
            samples, before mean and deviation are computed.

    Returns:
        A `Scaling`. Inputs that are constant in the training samples are divided by
        `IGNORED_SCALE`, so that they have no effect if they vary later.
    """
    fill = _medians(inputs, train, counts) if may_be_missing else None
    if kind == "pixels" or (kind == "auto" and are_images):
        is_raw = are_images and inputs.dtype != np.uint8
        return Scaling(_pixel_scale(inputs, train) if is_raw else input_scale(inputs.dtype), None, fill)
    if kind == "robust":
        return _robust(inputs, train, counts, fill)
    with np.errstate(over="ignore", invalid="ignore"):  # sums beyond 1e308 show in the scaled values
        return _standard(inputs, train, counts, fill)


def _pixel_scale(inputs: Any, train: NDArray[np.int64]) -> float:
    """Return the divisor of images that are not uint8; 1 if they are scaled already."""
    largest = max((float(np.abs(rows).max()) for rows, _ in _pieces(inputs, train, None)), default=0.0)
    return 1.0 if largest <= MAX_SCALED_PIXEL else max(largest, PIXEL_SCALE)


def _medians(inputs: Any, train: NDArray[np.int64], counts: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the weighted median of each column's training values, 0 where all of them are missing.

    The median is the mean of the smallest and the largest value m such that the values below m and
    those above m have at most half of the weight each.
    """
    medians = np.zeros(inputs.shape[1])
    # What is derived from the columns of a table is never missing, and takes long to compute column by column.
    for at in range(inputs.n_numbers if isinstance(inputs, TableRows) else len(medians)):
        column = np.asarray(inputs[train, at], np.float64)
        known = np.flatnonzero(~np.isnan(column))
        if not len(known):
            continue
        if counts is None:
            medians[at] = np.median(column[known])
            continue
        weights = counts[train]
        order = known[np.argsort(column[known], kind="stable")]
        below = np.cumsum(weights[order])
        half = below[-1] / 2
        # Sums are rounded. The tolerance makes the median the same for weights w and 1000 w.
        low = np.searchsorted(below, half * (1 - HALF_TOLERANCE), "left")
        high = np.searchsorted(below, half * (1 + HALF_TOLERANCE), "right")
        medians[at] = (column[order[low]] + column[order[min(high, len(order) - 1)]]) / 2
    return medians


def _robust(
    inputs: Any,
    train: NDArray[np.int64],
    counts: NDArray[np.float64] | None,
    fill: NDArray[np.float64] | None,
) -> Scaling:
    """Return the scaling to median 0 and interquartile range 1 (docs/derivation.md, X4).

    Of more than `MAX_QUANTILE_SAMPLES` training samples, about so many at equal distances give the
    quantiles.

    Source: Holzmueller, Grinsztajn and Steinwart, Better by Default: Strong Pre-Tuned MLPs and Boosted
    Trees on Tabular Data (NeurIPS 2024), section 3.1.
    """
    some = train[:: max(1, -(-len(train) // MAX_QUANTILE_SAMPLES))]
    weights = np.ones(len(some)) if counts is None else counts[some]
    rows = filled(flatten(np.asarray(inputs[some])), fill)
    low, high = _bounds(inputs, train, counts, fill)
    shift, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    for at in range(rows.shape[1]):
        values = rows[:, at].astype(np.float64)
        if not low[at] < high[at]:
            shift[at], scale[at] = low[at], IGNORED_SCALE
        elif not np.isin(values, (-1.0, 0.0, 1.0)).all():
            first, median, third = _quantiles(values, weights, (0.25, 0.5, 0.75))
            shift[at], scale[at] = median, third - first if third > first else high[at] / 2 - low[at] / 2
    return Scaling(scale, shift, fill)


def _bounds(
    inputs: Any,
    train: NDArray[np.int64],
    counts: NDArray[np.float64] | None,
    fill: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest training value of each input; 0 and 0 without samples."""
    if not len(train):
        zeros = np.zeros(int(np.prod(inputs.shape[1:])))
        return zeros, zeros
    pieces = [(rows.min(axis=0), rows.max(axis=0)) for rows, _ in _pieces(inputs, train, counts, fill)]
    lows, highs = zip(*pieces, strict=True)
    return np.min(lows, axis=0), np.max(highs, axis=0)


def _quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], fractions: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return for each fraction the smallest value up to which the values have that fraction of the weight."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    # Sums are rounded. The tolerance makes the quantiles the same for weights w and 1000 w.
    wanted = below[-1] * np.asarray(fractions) * (1 - HALF_TOLERANCE)
    found: NDArray[np.float64] = values[order[np.searchsorted(below, wanted, "left")]]
    return found


def _standard(
    inputs: Any,
    train: NDArray[np.int64],
    counts: NDArray[np.float64] | None,
    fill: NDArray[np.float64] | None = None,
) -> Scaling:
    """Return the scaling to mean 0 and standard deviation 1 (docs/derivation.md, X3)."""
    n, total = 0.0, np.zeros(())
    low, high = np.asarray(np.inf), np.asarray(-np.inf)
    for rows, times in _pieces(inputs, train, counts, fill):
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        n, total = n + float(times.sum()), total + _added_up(times, rows)
    # The computed mean of equal values can differ from them by rounding, which is not a deviation.
    varies = low < high
    mean = np.where(varies, total / (n or 1.0), low)
    largest = np.where(varies, np.maximum(high - mean, mean - low), 1.0)
    squares = np.zeros(())
    for rows, times in _pieces(inputs, train, counts, fill):
        scaled = (rows - mean) / largest  # so that squares neither overflow nor underflow
        squares = squares + _added_up(times, np.square(scaled))
    deviation = largest * np.sqrt(squares / (n or 1.0))
    return Scaling(np.where(varies & (deviation > 0), deviation, IGNORED_SCALE), mean, fill)


def _pieces(
    inputs: Any,
    train: NDArray[np.int64],
    counts: NDArray[np.float64] | None,
    fill: NDArray[np.float64] | None = None,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the training samples as float64 rows in blocks, with the weight of each row."""
    if isinstance(inputs, TableRows) and fill is not None:
        inputs, fill = inputs.filled(fill), None
    for start in range(0, len(train), SAMPLES_AT_ONCE):
        some = train[start : start + SAMPLES_AT_ONCE]
        yield (
            filled(flatten(inputs[some]).astype(np.float64, copy=False), fill),
            np.ones(len(some)) if counts is None else counts[some],
        )


def _added_up(times: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted sum of rows, without BLAS, whose threads could change the last bits."""
    added: NDArray[np.float64] = np.einsum("n,ni->i", times, rows)
    return added


def one_hot(labels: Any, n_classes: int | None = None) -> NDArray[np.float64]:
    """Return labels as rows of zeros with a one at the label, as the write-up uses them.

    Args:
        labels: (N,) integers in [0, n_classes).
        n_classes: K; the largest label + 1 by default.

    Returns:
        (N, K) float64.

    Raises:
        ShapeError: labels are not (N,) integers, or one of them is out of range.
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
