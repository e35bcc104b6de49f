"""Thinning: of rows that are nearly the same, the first stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from chalknet.data.glyph_builder.faces import Drop, Face

FACE_RMS = 0.03  # of full scale; two faces closer than this are one design under two names
LINK_RMS = 0.05  # faces this close share a family group, so that a split by family cannot divide them
BLOCK_ROWS = 512  # rows compared at a time: bounds the memory of a comparison, whatever the number of faces


def distinct_rows(
    rows: NDArray[np.uint8], threshold: float, link: float = 0.0
) -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
    """Which rows are farther than threshold (RMS, of full scale) from every kept earlier row, and the close pairs.

    Distances are sums of products of integers below 2**53, hence exact in float64: the choice does not depend
    on the machine, its BLAS or the number of threads.

    Args:
        rows: (n, d) uint8.
        threshold: a row at most this far from a kept earlier one is not kept.
        link: pairs (kept earlier row, row) at most this far apart are listed too; at least threshold is taken.
    """
    limit, link_limit = (rows.shape[1] * (255 * t) ** 2 for t in (threshold, max(link, threshold)))
    keep = np.zeros(len(rows), bool)
    links: list[tuple[int, int]] = []
    for first in range(0, len(rows), BLOCK_ROWS):
        block = np.arange(first, min(first + BLOCK_ROWS, len(rows)))
        near = np.zeros(len(block), bool)
        for others, distances in _distances_to(rows, block, np.flatnonzero(keep)):
            near |= (distances <= limit).any(axis=1)
            links += [(int(others[j]), int(block[i])) for i, j in np.argwhere(distances <= link_limit)]
        links += _deduplicate_block(rows, block, near, keep, limit, link_limit)
    return keep, links


def _deduplicate_block(
    rows: NDArray[np.uint8],
    block: NDArray[np.intp],
    near: NDArray[np.bool_],
    keep: NDArray[np.bool_],
    limit: float,
    link_limit: float,
) -> list[tuple[int, int]]:
    """Thins one block among itself, marks what stays in keep, and gives the close pairs."""
    links: list[tuple[int, int]] = []
    ((_, distances),) = _distances_to(rows, block, block)
    for i, row in enumerate(block):
        if not near[i]:
            keep[row] = True
            close = np.flatnonzero(distances[i, i + 1 :] <= link_limit) + i + 1
            links += [(int(row), int(block[j])) for j in close]
            near[i + 1 :] |= distances[i, i + 1 :] <= limit
    return links


def _distances_to(
    rows: NDArray[np.uint8], block: NDArray[np.intp], others: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Squared distances of block's rows to those of others, BLOCK_ROWS columns at a time."""
    a = rows[block].astype(np.float64)
    a_norm = (a * a).sum(axis=1)[:, None]
    for first in range(0, len(others), BLOCK_ROWS):
        some = others[first : first + BLOCK_ROWS]
        b = rows[some].astype(np.float64)
        yield some, a_norm + (b * b).sum(axis=1)[None, :] - 2.0 * (a @ b.T)


def drop_near_identical_faces(faces: Sequence[Face]) -> tuple[NDArray[np.intp], list[tuple[int, int]], list[Drop]]:
    """Positions of the faces that stay, the pairs of faces closer than LINK_RMS, and a `Drop` for each that goes."""
    rows = np.stack([face.images for face in faces]).reshape(len(faces), -1)
    keep, links = distinct_rows(rows, FACE_RMS, LINK_RMS)
    like = {second: first for first, second in reversed(links)}
    drops = [
        Drop(faces[i].file, "near-identical face", f"like {faces[like[i]].file}")
        for i in map(int, np.flatnonzero(~keep))
    ]
    return np.flatnonzero(keep), links, drops
