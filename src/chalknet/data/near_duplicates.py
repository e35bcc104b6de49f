"""Find duplicates: samples that are equal (copies) or nearly equal (near duplicates)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, IntArray, sample_digests
from chalknet.data.tables.rows import column_bounds

BoolArray = NDArray[np.bool_]
Progress = Callable[[int, int], None]

BLOCK_VALUES = 2**20  # values in a block of samples: 8 MiB in float64; a product of two blocks is not larger
MAX_BLOCK = 1024
MAX_CLOSEST = 200  # number of pairs to show
FLOAT32_UNIT = 2.0**-24  # the rounding unit of float32


@dataclass(frozen=True, eq=False)
class Scale:
    """The linear map (x - center) / span that brings values to a common scale before comparison.

    uint8 values have span 255. For float images the span is the range of the whole data set, and
    for float rows it is the range of each column, so that the units of columns do not matter.
    Columns that never vary are ignored.

    Attributes:
        center: (D,) center of the range of each value.
        span: (D,) length of the range; 0 for values that never vary.
        name: the range in words, for messages.
    """

    center: NDArray[np.float64]
    span: NDArray[np.float64]
    name: str

    @property
    def n_compared(self) -> int:
        """Return the number of values of a sample that vary, at least 1: D of the distance."""
        return max(int(np.count_nonzero(self.span)), 1)

    def rows(self, inputs: NDArray[Any], chosen: IntArray) -> NDArray[np.float64]:
        """Return the chosen samples as flat rows, with each value in [-1/2, 1/2]."""
        values = inputs[chosen].reshape(len(chosen), -1).astype(np.float64)
        # Halve first: the difference of two float64 can overflow, the difference of their halves cannot.
        difference = values * 0.5 - self.center * 0.5
        return np.divide(difference, self.span * 0.5, out=np.zeros_like(values), where=self.span > 0)


@dataclass(frozen=True, eq=False)
class DuplicateGroups:
    """Samples grouped by equal values, equal label and equal split: G groups of N samples.

    Attributes:
        of_sample: (N,) the group of each sample.
        content: (G,) a number that is equal for groups with equal values.
        label: (G,) the label.
        split: (G,) the number of the split.
        size: (G,) the number of samples in the group.
        first: (G,) the smallest index of a sample in the group.
    """

    of_sample: IntArray
    content: IntArray
    label: IntArray
    split: IntArray
    size: IntArray
    first: IntArray

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.first)


@dataclass(frozen=True)
class Pair:
    """Two duplicate samples.

    Attributes:
        first: the smaller index.
        second: the larger index.
        distance: RMS difference over full scale; 0 for copies.
    """

    first: int
    second: int
    distance: float


@dataclass(frozen=True, eq=False)
class Duplicates:
    """All duplicates in a data set.

    A copy has equal values. A near duplicate is not a copy and has an RMS difference of at most the
    threshold. P is the number of splits, G the number of groups.

    Attributes:
        groups: the samples by values, label and split.
        copy_same: (G, P) whether a group has a copy with the same label in each split.
        copy_other: (G, P) the same for copies with another label.
        near_same: (G, P) whether a group has a near duplicate with the same label in each split.
        near_other: (G, P) the same for near duplicates with another label.
        copy_pairs: (P, P, 2) pairs of copies between splits p <= q; last axis: same label, another.
        near_pairs: (P, P, 2) the same for near duplicates.
        closest: pairs that cross splits or differ in label; those of two labels first, then by
            distance.
    """

    groups: DuplicateGroups
    copy_same: BoolArray
    copy_other: BoolArray
    near_same: BoolArray
    near_other: BoolArray
    copy_pairs: IntArray
    near_pairs: IntArray
    closest: tuple[Pair, ...]


def find_duplicates(
    data: Dataset, split: IntArray, n_splits: int, near: float, progress: Progress | None = None
) -> Duplicates:
    """Find every copy and near duplicate.

    distance(a, b) = sqrt((1/D) sum_d (a_d - b_d)^2), with values scaled by `full_scale(data)`. Near
    duplicates have 0 < distance <= near. The search is exact, see `near_pairs`.

    Args:
        data: the samples, in memory.
        split: (N,) number of each sample's split, in [0, n_splits).
        n_splits: the number of splits, P.
        near: the largest distance of near duplicates, in [0, 1); 0 looks for copies only.
        progress: called with (blocks done, blocks in total).

    Returns:
        The duplicates by group and split, and the closest pairs.
    """
    groups = group_duplicates(data, split)
    copy_same, copy_other = _copies_by_split(groups, n_splits)
    near_same, near_other = np.zeros_like(copy_same), np.zeros_like(copy_same)
    pairs = np.zeros((n_splits, n_splits, 2), dtype=np.int64)
    closest = _Closest(groups)
    for a, b, distance in near_pairs(data, groups, near, progress):
        other = (groups.label[a] != groups.label[b]).astype(np.int64)
        for x, y in ((a, b), (b, a)):
            near_same[x[other == 0], groups.split[y[other == 0]]] = True
            near_other[x[other == 1], groups.split[y[other == 1]]] = True
        low, high = np.minimum(groups.split[a], groups.split[b]), np.maximum(groups.split[a], groups.split[b])
        np.add.at(pairs, (low, high, other), groups.size[a] * groups.size[b])
        closest.add(a, b, distance, other)
    return Duplicates(
        groups, copy_same, copy_other, near_same, near_other, _copy_pairs(groups, n_splits), pairs, closest.pairs(data)
    )


def full_scale(data: Dataset) -> Scale:
    """Return the scale on which samples of a data set are compared."""
    if data.inputs.dtype == np.uint8:
        return Scale(np.full(data.n_inputs, 127.5), np.full(data.n_inputs, 255.0), "0 to 255")
    low, high = (one.astype(np.float64) for one in column_bounds(data.inputs))
    if data.is_images:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        name = f"{low[0]:g} to {high[0]:g}"
    else:
        name = "each column's range"
    half_span = high * 0.5 - low * 0.5
    largest = np.finfo(np.float64).max
    return Scale(low * 0.5 + high * 0.5, np.minimum(half_span, largest / 2) * 2.0, name)


def group_duplicates(data: Dataset, split: IntArray) -> DuplicateGroups:
    """Group samples by values, label and split."""
    content = content_numbers(data.inputs)
    keys = np.stack([content, data.labels, split], axis=1)
    distinct, first, of_sample, size = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return DuplicateGroups(of_sample.reshape(-1), distinct[:, 0], distinct[:, 1], distinct[:, 2], size, first)


def content_numbers(inputs: NDArray[Any]) -> IntArray:
    """Return (N,) numbers that are equal for samples with equal values; the first sample has 0.

    Samples are compared by SHA-256 digests, so that no second copy of the data is needed.
    """
    numbers: dict[bytes, int] = {}
    found = (numbers.setdefault(digest, len(numbers)) for digest in sample_digests(inputs))
    return np.fromiter(found, np.int64, len(inputs))


def near_pairs(
    data: Dataset, groups: DuplicateGroups, near: float, progress: Progress | None = None
) -> Iterator[tuple[IntArray, IntArray, NDArray[np.float64]]]:
    """Yield pairs of groups with different values and a distance of at most near, each pair once.

    By the Cauchy-Schwarz inequality |mean(a) - mean(b)| <= distance(a, b). Samples are therefore
    sorted by their means, and blocks whose means differ by more than near are skipped.

    Other blocks are compared by one matrix product in float32,
    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, whose rounding error is bounded. Pairs closer to the
    threshold than the bound are decided by a sum of squares in float64. The distance is exact for
    these pairs, and accurate to the bound for others.

    Args:
        data: the samples, in memory.
        groups: the samples by values, label and split.
        near: the largest distance; nothing is yielded for 0.
        progress: called with (blocks done, blocks in total).

    Yields:
        Group numbers a (n,) and b (n,), and their distances (n,).

    Source of the bound: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1.
    """
    if near <= 0:
        return
    scale = full_scale(data)
    block = int(min(max(BLOCK_VALUES // data.n_inputs, 16), MAX_BLOCK))
    parts = [scale.rows(data.inputs, groups.first[i : i + block]).sum(axis=1) for i in range(0, len(groups), block)]
    means = np.concatenate(parts) / scale.n_compared
    order = np.argsort(means, kind="stable")
    means = means[order]
    starts = np.arange(0, len(order), block)
    # 1e-9 is far above the rounding errors of the means and far below any useful threshold.
    last = np.searchsorted(means, means[np.minimum(starts + block, len(order)) - 1] + near + 1e-9, side="right")
    total, done = int(np.ceil((last - starts) / block).sum()), 0
    for start, stop in zip(starts, last, strict=True):
        a = order[start : start + block]
        rows_a = scale.rows(data.inputs, groups.first[a])
        for other in range(start, stop, block):
            b = order[other : other + block]
            rows_b = rows_a if other == start else scale.rows(data.inputs, groups.first[b])
            i, j, squares = _near_in_blocks(rows_a, rows_b, near**2 * scale.n_compared, triangle=other == start)
            different = groups.content[a[i]] != groups.content[b[j]]
            i, j, squares = i[different], j[different], squares[different]
            if len(i):
                yield a[i], b[j], np.sqrt(np.maximum(squares, 0.0) / scale.n_compared)
            done += 1
            if progress is not None:
                progress(done, total)


def _near_in_blocks(
    rows_a: NDArray[np.float64], rows_b: NDArray[np.float64], limit: float, *, triangle: bool
) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """Return positions (i, j) with |a_i - b_j|^2 <= limit, and these squares.

    Args:
        rows_a: (n, D) scaled samples of one block.
        rows_b: (m, D) scaled samples of the other block.
        limit: the largest squared distance.
        triangle: whether both blocks are the same; then only pairs i < j are returned.
    """
    small_a, small_b = rows_a.astype(np.float32), rows_b.astype(np.float32)
    norms_a, norms_b = np.square(small_a).sum(axis=1), np.square(small_b).sum(axis=1)
    squares = small_a @ small_b.T
    squares *= -2.0
    squares += norms_a[:, None]
    squares += norms_b[None, :]
    # gamma_D (|a|^2 + |b|^2) for the norms, the same for the product, and a few roundings for the rest.
    error = (2 * rows_a.shape[1] + 16) * FLOAT32_UNIT * float(norms_a.max() + norms_b.max())
    i, j = np.nonzero(squares <= limit + error)
    if triangle:
        i, j = i[i < j], j[i < j]
    exact = squares[i, j].astype(np.float64)
    unsure = np.flatnonzero(np.abs(exact - limit) <= error)
    step = max(BLOCK_VALUES // rows_a.shape[1], 1)
    for at in range(0, len(unsure), step):
        some = unsure[at : at + step]
        exact[some] = np.square(rows_a[i[some]] - rows_b[j[some]]).sum(axis=1)
    # A distance equal to the threshold is near, even if rounding raises the sum of squares a little.
    kept = exact <= limit * (1 + 1e-12)
    return i[kept], j[kept], exact[kept]


def _counts_by_split(key: IntArray, groups: DuplicateGroups, n_splits: int) -> IntArray:
    """Return (keys, P) the number of samples with each key in each split."""
    counts = np.zeros((int(key.max()) + 1, n_splits), dtype=np.int64)
    np.add.at(counts, (key, groups.split), groups.size)
    return counts


def _content_and_label(groups: DuplicateGroups) -> IntArray:
    """Return (G,) numbers that are equal for groups with equal values and label."""
    _, key = np.unique(np.stack([groups.content, groups.label], axis=1), axis=0, return_inverse=True)
    return key.reshape(-1)


def _copies_by_split(groups: DuplicateGroups, n_splits: int) -> tuple[BoolArray, BoolArray]:
    """Return (G, P) whether a sample of each group has another copy in each split, by label."""
    key = _content_and_label(groups)
    same = _counts_by_split(key, groups, n_splits)[key]
    every = _counts_by_split(groups.content, groups, n_splits)[groups.content]
    itself = np.arange(n_splits) == groups.split[:, None]
    return same - itself > 0, every - same > 0


def _copy_pairs(groups: DuplicateGroups, n_splits: int) -> IntArray:
    """Return (P, P, 2) the number of pairs of copies; last axis: same label, another label."""
    every = _pairs_of_counts(_counts_by_split(groups.content, groups, n_splits))
    same = _pairs_of_counts(_counts_by_split(_content_and_label(groups), groups, n_splits))
    return np.stack([same, every - same], axis=-1)


def _pairs_of_counts(counts: IntArray) -> IntArray:
    """Return (P, P) sum over keys of n_p n_q for p < q, and of n_p (n_p - 1) / 2 for p = q."""
    products = counts.T @ counts
    within = (counts * (counts - 1) // 2).sum(axis=0)
    pairs: IntArray = np.triu(products, 1) + np.diag(within)
    return pairs


class _Closest:
    """The `MAX_CLOSEST` most interesting pairs: two labels first, then the smallest distance."""

    def __init__(self, groups: DuplicateGroups) -> None:
        """Create an empty selection."""
        self._groups = groups
        self._heap: list[tuple[int, float, int, int]] = []  # a heap with the worst selected pair on top

    def add(self, a: IntArray, b: IntArray, distance: NDArray[np.float64], other: IntArray) -> None:
        """Add those pairs of groups (a_i, b_i) that cross splits or differ in label."""
        groups = self._groups
        interesting = np.flatnonzero((other == 1) | (groups.split[a] != groups.split[b]))
        interesting = interesting[np.lexsort((distance[interesting], 1 - other[interesting]))][:MAX_CLOSEST]
        for at in interesting:
            first, second = sorted((int(groups.first[a[at]]), int(groups.first[b[at]])))
            item = (int(other[at]) - 1, -float(distance[at]), -first, -second)
            if len(self._heap) < MAX_CLOSEST:
                heapq.heappush(self._heap, item)
            else:
                heapq.heappushpop(self._heap, item)

    def pairs(self, data: Dataset) -> tuple[Pair, ...]:
        """Return near duplicates and copies in order, with distances recomputed in float64."""
        scale = full_scale(data)
        # Neighbors in the order of content: a chain through the groups of equal values, not all their pairs.
        order = np.argsort(self._groups.content, kind="stable")
        content = self._groups.content[order]
        at = np.flatnonzero(content[1:] == content[:-1])
        for a, b in zip(order[at], order[at + 1], strict=True):
            other = np.array([self._groups.label[a] != self._groups.label[b]]).astype(np.int64)
            self.add(np.array([a]), np.array([b]), np.zeros(1), other)
        ranked = sorted(self._heap, reverse=True)
        found = []
        for first, second in ((-i, -j) for _, _, i, j in ranked):
            x, y = scale.rows(data.inputs, np.array([first, second]))
            found.append(Pair(first, second, float(np.sqrt(np.square(x - y).sum() / scale.n_compared))))
        return tuple(found)
