"""Put chosen images together to a numbered and shuffled set, with a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chalknet.data.glyph_builder.choice import Choice
from chalknet.data.glyph_builder.drawing import drawing_libraries
from chalknet.data.glyph_builder.faces import Drop, Face, Images
from chalknet.data.glyph_builder.manifest import FaceRecord, face_records
from chalknet.errors import DataError


@dataclass(frozen=True)
class BuildSummary:
    """The numbers of a build: input, drops with their reasons, and output.

    Attributes:
        files: font files read.
        faces: faces that could be drawn with all letters.
        kept_faces: faces with at least one image in the set.
        families: family groups in the set.
        images: images in the set, by letter.
        drops: files and faces that are not used, each with its reason.
        near_identical: images left out because another one of the letter is nearly equal, by
            letter.
        copies: images left out because another letter has an equal one, by letter.
        capped: images left out because of per_letter, by letter.
    """

    files: int
    faces: int
    kept_faces: int
    families: int
    images: dict[str, int]
    drops: tuple[Drop, ...] = ()
    near_identical: dict[str, int] | None = None
    copies: dict[str, int] | None = None
    capped: dict[str, int] | None = None

    @property
    def drop_counts(self) -> dict[str, int]:
        """Return the number of drops by kind, largest first."""
        return dict(Counter(drop.kind for drop in self.drops).most_common())


@dataclass(frozen=True, eq=False)
class LetterSet:
    """N images in shuffled order with labels, faces and families.

    Attributes:
        images: (N, size, size) uint8.
        labels: (N,) unsigned integers in [0, K).
        face: (N,) unsigned integers, index into faces.
        family: (N,) unsigned integers, index into family_names.
        class_names: K letters.
        faces: one record per face; as a file they are the manifest of the set.
        family_names: one name per family group, that of its first face.
        made_with: versions of Pillow and FreeType that drew the images.
        summary: the numbers of the build.
    """

    images: Images
    labels: NDArray[np.unsignedinteger]
    face: NDArray[np.unsignedinteger]
    family: NDArray[np.unsignedinteger]
    class_names: tuple[str, ...]
    faces: tuple[FaceRecord, ...]
    family_names: tuple[str, ...]
    made_with: str
    summary: BuildSummary


def assemble_set(
    faces: Sequence[Face],
    groups: NDArray[np.int64],
    chosen: Choice,
    letters: tuple[str, ...],
    seed: int,
    n_files: int,
    drops: tuple[Drop, ...],
) -> LetterSet:
    """Return the chosen images of any fonts as a set; faces without a chosen image become drops.

    Args:
        faces: the drawn faces.
        groups: (F,) family group of each face.
        chosen: the images to use.
        letters: K letters.
        seed: seed of the shuffle.
        n_files: font files read.
        drops: files and faces dropped so far.

    Raises:
        DataError: a letter has no image.
    """
    records, used = face_records(faces, groups, chosen, letters)
    unused = tuple(Drop(faces[i].file, "no image left") for i in sorted(set(range(len(faces))) - set(used)))
    pairs = [(row, letters.index(c)) for row, record in enumerate(records) for c in record.letters]
    counts = Counter(k for _, k in pairs)
    empty = [letter for k, letter in enumerate(letters) if not counts[k]]
    if empty:
        raise DataError(
            f"no image of {empty[0]!r} is left: every one is an exact copy of another letter's. Leave it out."
        )
    summary = BuildSummary(
        files=n_files,
        faces=len(faces) + sum(drop.kind == "near-identical face" for drop in drops),
        kept_faces=len(records),
        families=len({record.family_group for record in records}),
        images=per_letter_counts(counts, letters),
        drops=drops + unused,
        near_identical=dict(zip(letters, chosen.near_identical, strict=True)),
        copies=dict(zip(letters, chosen.copies, strict=True)),
        capped=dict(zip(letters, chosen.capped, strict=True)),
    )
    images = np.stack([faces[used[row]].images[k] for row, k in pairs])
    return shuffled_set(images, [p[1] for p in pairs], [p[0] for p in pairs], letters, records, seed, summary)


def per_letter_counts(counts: Counter[int], letters: Sequence[str]) -> dict[str, int]:
    """Return counts by label as counts by letter, with 0 for missing letters."""
    return {letter: counts[k] for k, letter in enumerate(letters)}


def shuffled_set(
    images: Images,
    labels: Sequence[int],
    face: Sequence[int],
    letters: tuple[str, ...],
    records: tuple[FaceRecord, ...],
    seed: int,
    summary: BuildSummary,
) -> LetterSet:
    """Return images in the order of a manifest as a shuffled set.

    Args:
        images: (N, size, size) uint8.
        labels: (N,) index into letters.
        face: (N,) index into records.
        letters: K letters.
        records: the faces.
        seed: seed of the shuffle.
        summary: the numbers of the build.
    """
    # The stream of RandomState is frozen, so a seed gives the same order with every version of NumPy.
    order = np.random.RandomState(seed).permutation(len(images))
    family_names: dict[int, str] = {}
    for record in records:
        family_names.setdefault(record.family_group, record.family)
    group_of_face = np.array([record.family_group for record in records])
    return LetterSet(
        images=images[order],
        labels=_smallest_unsigned(np.array(labels)[order], np.uint8),
        face=_smallest_unsigned(np.array(face)[order], np.uint16),
        family=_smallest_unsigned(group_of_face[np.array(face)[order]], np.uint16),
        class_names=letters,
        faces=records,
        family_names=tuple(family_names[group] for group in sorted(family_names)),
        made_with=drawing_libraries(),
        summary=summary,
    )


def _smallest_unsigned(values: NDArray[np.int64], least: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Return values in the smallest unsigned type that holds them, at least `least`."""
    kinds: tuple[type[np.unsignedinteger], ...] = (least, np.uint16, np.uint32)
    return values.astype(next(kind for kind in kinds if values.max() <= np.iinfo(kind).max))
