"""Duplicates: samples that are equal, or nearly so, and where their copies lie."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, IntArray, sample_digests

BoolArray = NDArray[np.bool_]
Progress = Callable[[int, int], None]

BLOCK_VALUES = 2**20  # values in a block of samples: 8 MiB in float64, and a product of two blocks is no larger
MAX_BLOCK = 1024
MAX_CLOSEST = 200  # pairs that are kept to be shown
FLOAT32_UNIT = 2.0**-24  # the rounding unit of float32


@dataclass(frozen=True, eq=False)
class Scale:
    """How values are brought to one scale before samples are compared: (x - center) / span, so that they span 1.

    uint8 has span 255; float images have the range of the whole set as their span; float rows have the range of each
    column, so that the choice of a unit decides nothing. A column that never varies counts for nothing.
    """

    center: NDArray[np.float64]
    span: NDArray[np.float64]
    name: str

    @property
    def n_compared(self) -> int:
        """Values of a sample that can differ at all, the D of the distance."""
        return max(int(np.count_nonzero(self.span)), 1)

    def rows(self, inputs: NDArray[Any], chosen: IntArray) -> NDArray[np.float64]:
        """The chosen samples, flattened, each value in [-1/2, 1/2]."""
        values = inputs[chosen].reshape(len(chosen), -1).astype(np.float64)
        # Halves first: the difference of two float64 can overflow, that of their halves cannot.
        difference = values * 0.5 - self.center * 0.5
        return np.divide(difference, self.span * 0.5, out=np.zeros_like(values), where=self.span > 0)


@dataclass(frozen=True, eq=False)
class DuplicateGroups:
    """Samples with equal content, equal label and the same split, put together: U groups for N samples.

    Attributes:
        of_sample: (N,) each sample's group.
        content, label, split: (U,) the content's number, the label, the split.
        size, first: (U,) the number of samples in the group, and the index of the first of them.
    """

    of_sample: IntArray
    content: IntArray
    label: IntArray
    split: IntArray
    size: IntArray
    first: IntArray

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Pair:
    """Two samples, first < second, and their distance: 0 for copies, else RMS difference over full scale."""

    first: int
    second: int
    distance: float


@dataclass(frozen=True, eq=False)
class Duplicates:
    """For every group, in which splits its duplicates are; and how many pairs there are between the splits.

    A copy is a sample with the same values. A near duplicate is not a copy and has an RMS difference of at most the
    threshold.

    Attributes:
        copy_same, copy_other, near_same, near_other: (U, P) has a duplicate of the same / another label in this split.
        copy_pairs, near_pairs: (P, P, 2) pairs of samples between splits p <= q; last axis: same label, another.
        closest: pairs that cross the splits or differ in label: those of two labels first, then the smallest distance.
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
    """Every copy and near duplicate in data, by split.

    distance(a, b) = sqrt((1/D) sum_d (a_d - b_d)^2), with values on `full_scale(data)`; near duplicates have
    0 < distance <= near. The search compares all pairs that can be near and misses none: see `near_pairs`.

    Args:
        split: (N,) the number of each sample's split, in [0, n_splits).
        near: the largest distance of near duplicates, in [0, 1); 0 looks for copies only.
        progress: called with (blocks done, blocks in all).
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
    """The scale on which samples of data are compared."""
    if data.inputs.dtype == np.uint8:
        return Scale(np.full(data.n_inputs, 127.5), np.full(data.n_inputs, 255.0), "0 to 255")
    rows = data.inputs.reshape(len(data), -1)
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    if data.is_images:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        name = f"{low[0]:g} to {high[0]:g}"
    else:
        name = "each column's range"
    half_span = high * 0.5 - low * 0.5
    largest = np.finfo(np.float64).max
    return Scale(low * 0.5 + high * 0.5, np.minimum(half_span, largest / 2) * 2.0, name)


def group_duplicates(data: Dataset, split: IntArray) -> DuplicateGroups:
    """Samples grouped by content, label and split."""
    content = content_numbers(data.inputs)
    keys = np.stack([content, data.labels, split], axis=1)
    distinct, first, of_sample, size = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return DuplicateGroups(of_sample.reshape(-1), distinct[:, 0], distinct[:, 1], distinct[:, 2], size, first)


def content_numbers(inputs: NDArray[Any]) -> IntArray:
    """(N,) the same number for samples with the same values: 0 for the first sample's content, and so on.

    Contents are told apart by SHA-256 digests, so that no second copy of the data is held.
    """
    numbers: dict[bytes, int] = {}
    found = (numbers.setdefault(digest, len(numbers)) for digest in sample_digests(inputs))
    return np.fromiter(found, np.int64, len(inputs))


def near_pairs(
    data: Dataset, groups: DuplicateGroups, near: float, progress: Progress | None = None
) -> Iterator[tuple[IntArray, IntArray, NDArray[np.float64]]]:
    """Pairs of groups (a, b) of different content whose distance is at most near, and their distance; every pair once.

    By the Cauchy-Schwarz inequality |mean(a) - mean(b)| <= distance(a, b). In the order of their means, a sample's near
    duplicates are therefore neighbors, and blocks whose means are further apart than near are passed over.

    The other blocks are compared by one matrix product in float32, |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, whose rounding
    error has a bound. Pairs that lie closer than that to the threshold are decided by a sum of squares in float64. The
    distance is exact for those, else good to that bound.

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
    # A mean is a sum of D roundings; a slack far above them, far below any threshold that means something.
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
    """Positions (i, j) with |a_i - b_j|^2 <= limit, and that square; i < j only where both are the same block."""
    small_a, small_b = rows_a.astype(np.float32), rows_b.astype(np.float32)
    norms_a, norms_b = np.square(small_a).sum(axis=1), np.square(small_b).sum(axis=1)
    squares = small_a @ small_b.T
    squares *= -2.0
    squares += norms_a[:, None]
    squares += norms_b[None, :]
    # gamma_D (|a|^2 + |b|^2) from the norms, as much from the product, a few roundings from scaling and adding.
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
    # A difference of exactly the threshold is near; the last digit of a sum of squares must not decide otherwise.
    kept = exact <= limit * (1 + 1e-12)
    return i[kept], j[kept], exact[kept]


def _counts_by_split(key: IntArray, groups: DuplicateGroups, n_splits: int) -> IntArray:
    """(keys, P) samples with each key in each split."""
    counts = np.zeros((int(key.max()) + 1, n_splits), dtype=np.int64)
    np.add.at(counts, (key, groups.split), groups.size)
    return counts


def _content_and_label(groups: DuplicateGroups) -> IntArray:
    """(U,) a number for each content with a label."""
    _, key = np.unique(np.stack([groups.content, groups.label], axis=1), axis=0, return_inverse=True)
    return key.reshape(-1)


def _copies_by_split(groups: DuplicateGroups, n_splits: int) -> tuple[BoolArray, BoolArray]:
    """(U, P) whether a group's samples have a copy, not themselves, in each split: of the same label, of another."""
    key = _content_and_label(groups)
    same = _counts_by_split(key, groups, n_splits)[key]
    every = _counts_by_split(groups.content, groups, n_splits)[groups.content]
    itself = np.arange(n_splits) == groups.split[:, None]
    return same - itself > 0, every - same > 0


def _copy_pairs(groups: DuplicateGroups, n_splits: int) -> IntArray:
    """(P, P, 2) pairs of samples with the same content: same label, another label."""
    every = _pairs_of_counts(_counts_by_split(groups.content, groups, n_splits))
    same = _pairs_of_counts(_counts_by_split(_content_and_label(groups), groups, n_splits))
    return np.stack([same, every - same], axis=-1)


def _pairs_of_counts(counts: IntArray) -> IntArray:
    """(P, P) sum over keys of n_p n_q for p < q, and of n_p (n_p - 1) / 2 on the diagonal."""
    products = counts.T @ counts
    within = (counts * (counts - 1) // 2).sum(axis=0)
    pairs: IntArray = np.triu(products, 1) + np.diag(within)
    return pairs


class _Closest:
    """Keeps the pairs worth looking at: two labels before one, then the smallest distance, `MAX_CLOSEST` at most."""

    def __init__(self, groups: DuplicateGroups) -> None:
        self._groups = groups
        self._heap: list[tuple[int, float, int, int]] = []  # negated rank, so the worst kept pair is on top

    def add(self, a: IntArray, b: IntArray, distance: NDArray[np.float64], other: IntArray) -> None:
        groups = self._groups
        telling = np.flatnonzero((other == 1) | (groups.split[a] != groups.split[b]))
        telling = telling[np.lexsort((distance[telling], 1 - other[telling]))][:MAX_CLOSEST]
        for at in telling:
            first, second = sorted((int(groups.first[a[at]]), int(groups.first[b[at]])))
            item = (int(other[at]) - 1, -float(distance[at]), -first, -second)
            if len(self._heap) < MAX_CLOSEST:
                heapq.heappush(self._heap, item)
            else:
                heapq.heappushpop(self._heap, item)

    def pairs(self, data: Dataset) -> tuple[Pair, ...]:
        """Copies and near pairs together, distances recomputed in float64."""
        scale = full_scale(data)
        # Groups with the content of the one before them: a chain through each content, not all its pairs.
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
