"""Choose the images of each letter, and count what was left out for which reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chalknet.data.glyph_builder.deduplication import distinct_rows
from chalknet.data.glyph_builder.faces import Images

IMAGE_RMS = 0.03  # distance below which two images of a letter are near-identical


@dataclass(frozen=True, eq=False)
class Choice:
    """The images that were chosen for each letter, and the numbers that were left out.

    Attributes:
        faces: for each letter, the indices of the chosen faces, in order of preference.
        near_identical: for each letter, images nearly equal to a chosen one of the same letter.
        copies: for each letter, images equal to one of another letter.
        capped: for each letter, images beyond per_letter.
    """

    faces: tuple[NDArray[np.intp], ...]
    near_identical: tuple[int, ...]
    copies: tuple[int, ...]
    capped: tuple[int, ...]


def choose_images(images: Images, order: NDArray[np.intp], per_letter: int | Sequence[int] | None = None) -> Choice:
    """Choose images for each letter, without copies of other letters and near-identical images.

    Solid squares are kept as often as faces have them, because a sans-serif I is one in notMNIST
    too.

    Args:
        images: (F, K, size, size) uint8.
        order: (F,) the faces in order of preference.
        per_letter: the largest number of images per letter, as one number or one per letter, or
            None.
    """
    n_letters = images.shape[1]
    if per_letter is None or isinstance(per_letter, int):
        caps: list[int | None] = [per_letter] * n_letters
    else:
        caps = list(per_letter)
    copies = copies_across_letters(images)
    kept: list[NDArray[np.intp]] = []
    near: list[int] = []
    for k in range(n_letters):
        candidates = order[~copies[order, k]]
        rows = images[candidates, k].reshape(len(candidates), -1)
        stays = (rows == 255).all(axis=1)
        other = np.flatnonzero(~stays)
        stays[other] = distinct_rows(rows[other], IMAGE_RMS)[0]
        near.append(int((~stays).sum()))
        kept.append(candidates[stays])
    capped = [len(some[cap:]) if cap is not None else 0 for some, cap in zip(kept, caps, strict=True)]
    taken = tuple(some[:cap] for some, cap in zip(kept, caps, strict=True))
    return Choice(taken, tuple(near), tuple(int(n) for n in copies.sum(axis=0)), tuple(capped))


def copies_across_letters(images: Images) -> NDArray[np.bool_]:
    """Return (F, K) whether an image equals one of another letter that has it at least as often.

    The letter that has an image most often keeps it. If two letters have it equally often, neither
    does, because they cannot be distinguished.
    """
    n_faces, n_letters = images.shape[:2]
    digests = [[hashlib.sha256(images[f, k].tobytes()).digest() for k in range(n_letters)] for f in range(n_faces)]
    owners: dict[bytes, Counter[int]] = {}
    for row in digests:
        for k, digest in enumerate(row):
            owners.setdefault(digest, Counter())[k] += 1
    winner = {digest: _sole_winner(counts) for digest, counts in owners.items()}
    return np.array([[winner[digest] != k for k, digest in enumerate(row)] for row in digests], bool)


def _sole_winner(counts: Counter[int]) -> int:
    """Return the letter with the largest count, or -1 for a tie."""
    (first, most), *rest = counts.most_common(2)
    return -1 if rest and rest[0][1] == most else first


def round_robin(groups: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return all positions: the first of every group, then the second of every group, and so on.

    A cap on this order keeps as many groups as possible.
    """
    seen: Counter[int] = Counter()
    turn = []
    for group in groups:
        turn.append(seen[int(group)])
        seen[int(group)] += 1
    return np.argsort(turn, kind="stable")
