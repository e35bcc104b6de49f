"""The choice: which images of each letter are taken, and how many were left out for which reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chalknet.data.glyph_builder.deduplication import distinct_rows
from chalknet.data.glyph_builder.faces import Images

IMAGE_RMS = 0.03  # the same within one letter


@dataclass(frozen=True, eq=False)
class Choice:
    """The images of each letter that stay, as faces in the order of choice, and how many went for which reason."""

    faces: tuple[NDArray[np.intp], ...]
    near_identical: tuple[int, ...]
    copies: tuple[int, ...]
    capped: tuple[int, ...]


def choose_images(images: Images, order: NDArray[np.intp], per_letter: int | Sequence[int] | None = None) -> Choice:
    """For each letter the images that stay: no copies of another letter's, none nearly the same twice, at most the cap.

    Solid squares are kept as often as the faces have them: in notMNIST too every sans-serif I is one.

    Args:
        images: (F, K, size, size) uint8.
        order: the F faces, first choice first.
        per_letter: the most images a letter, one number or one a letter; None: no cap.
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
    """(F, K) bool: the image is, byte for byte, also that of another letter which has it at least as often.

    The letter that has it most often keeps it; where two letters have it equally often, neither can be told apart.
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
    """The letter with the most, or -1 when the first place is shared."""
    (first, most), *rest = counts.most_common(2)
    return -1 if rest and rest[0][1] == most else first


def round_robin(groups: NDArray[np.int64]) -> NDArray[np.intp]:
    """All positions: the first of every group, then the second of every group, and so on; a cap then keeps variety."""
    seen: Counter[int] = Counter()
    turn = []
    for group in groups:
        turn.append(seen[int(group)])
        seen[int(group)] += 1
    return np.argsort(turn, kind="stable")
