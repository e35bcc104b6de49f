"""Remove rows that are nearly equal to an earlier row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from chalknet.data.glyph_builder.faces import Drop, Face

FACE_RMS = 0.03  # relative to full scale; closer faces are one design with two names
LINK_RMS = 0.05  # closer faces share a family group, so that a split by family cannot separate them
BLOCK_ROWS = 512  # rows compared at a time, which bounds the memory


def distinct_rows(
    rows: NDArray[np.uint8], threshold: float, link: float = 0.0
) -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
    """Find the rows that differ from every kept earlier row, and pairs of similar rows.

    Distances are computed from integers below 2**53, hence exactly in float64. The result does not
    depend on the machine, its BLAS or the number of threads.

    Args:
        rows: (n, d) uint8.
        threshold: RMS distance, relative to full scale, up to which a row is dropped.
        link: RMS distance up to which pairs are listed; at least threshold is used.

    Returns:
        keep: (n,) bool.
        links: pairs (kept earlier row, row) within the link distance.
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
    """Compare the rows of one block with each other.

    Rows that are kept are marked in keep.

    Args:
        rows: (n, d) uint8.
        block: (b,) indices of the rows of the block.
        near: (b,) rows that are near a kept row of an earlier block; updated.
        keep: (n,) updated.
        limit: squared distance up to which a row is dropped.
        link_limit: squared distance up to which pairs are listed.

    Returns:
        The pairs within the link distance.
    """
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
    """Yield squared distances of a block's rows to other rows, BLOCK_ROWS columns at a time."""
    a = rows[block].astype(np.float64)
    a_norm = (a * a).sum(axis=1)[:, None]
    for first in range(0, len(others), BLOCK_ROWS):
        some = others[first : first + BLOCK_ROWS]
        b = rows[some].astype(np.float64)
        yield some, a_norm + (b * b).sum(axis=1)[None, :] - 2.0 * (a @ b.T)


def drop_near_identical_faces(faces: Sequence[Face]) -> tuple[NDArray[np.intp], list[tuple[int, int]], list[Drop]]:
    """Drop faces that are nearly equal to an earlier face.

    Returns:
        The indices of the remaining faces, the pairs of faces closer than LINK_RMS, and a `Drop`
        for each dropped face.
    """
    rows = np.stack([face.images for face in faces]).reshape(len(faces), -1)
    keep, links = distinct_rows(rows, FACE_RMS, LINK_RMS)
    like = {second: first for first, second in reversed(links)}
    drops = [
        Drop(faces[i].file, "near-identical face", f"like {faces[like[i]].file}")
        for i in map(int, np.flatnonzero(~keep))
    ]
    return np.flatnonzero(keep), links, drops
