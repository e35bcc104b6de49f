"""The comparison: a set just drawn beside the file it should equal, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chalknet.data.dataset import Dataset
from chalknet.data.glyph_builder.archive import MADE_WITH
from chalknet.data.glyph_builder.letter_set import LetterSet
from chalknet.data.readers.npz import NpzArchive, read_npz
from chalknet.data.readers.source_file import open_source
from chalknet.errors import DataError

SLIGHT = 16  # levels of 255: an edge that another rasterizer places a little differently
FAR = 64  # levels of 255: an edge that has moved by a quarter of a pixel or more
# Share of images that may be far off. FreeType 2.13.2 beside 2.14.3 gave 1.1 % of the built-in set and 1.9 % of another
# one; an em one pixel smaller gives 33 %, box resampling 12 %. 5 % leaves room for other versions and still tells of
# such a change. docs/glyphs.md has the figures, and what passes all the same.
TOLERANCE = 0.05
MAX_MADE_WITH = 200  # characters; more is not the name of two libraries


@dataclass(frozen=True, eq=False)
class Reference:
    """A file that a build should equal: its samples, and what drew them if it says so."""

    data: Dataset
    made_with: str | None


@dataclass(frozen=True)
class Comparison:
    """How far the images of a build are from those of a file, image by image in order.

    Attributes:
        source: the file.
        images: images compared.
        identical: images equal in every pixel.
        slightly_off: images with a pixel more than SLIGHT levels off.
        far_off: images with a pixel more than FAR levels off.
        largest: the largest difference of a pixel, 0..255.
        made_with: what drew the build.
        source_made_with: what drew the file; None if it does not say.
    """

    source: str
    images: int
    identical: int
    slightly_off: int
    far_off: int
    largest: int
    made_with: str
    source_made_with: str | None

    @property
    def far_fraction(self) -> float:
        return self.far_off / self.images

    @property
    def agrees(self) -> bool:
        """Whether the differences are no more than another FreeType makes."""
        return self.far_fraction <= TOLERANCE


def read_reference(path: Path) -> Reference:
    """The images, labels and class names of an .npz file, and its `made_with` if that is one line of text.

    Raises:
        DataError: the file cannot be read or does not hold a set of images.
    """
    with open_source(path, str(path)) as file:
        return Reference(read_npz(file), _stored_made_with(NpzArchive(file)))


def _stored_made_with(archive: NpzArchive) -> str | None:
    if MADE_WITH not in archive.keys:
        return None
    stored = archive.array(MADE_WITH)
    if stored.dtype.kind != "U" or stored.size != 1:
        return None
    try:
        text = stored.tobytes().decode("utf-32").rstrip("\0")  # str(stored) trusts any 32 bits to be a character
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and 0 < len(text) <= MAX_MADE_WITH else None


def compare_images(letters: LetterSet, reference: Reference) -> Comparison:
    """The differences between a build and a file of the same images in the same order.

    Raises:
        DataError: number, size or kind of the images differ, or a label; the message names the first.
    """
    _check_comparable(letters, reference.data)
    drawn, stored = letters.images, reference.data.inputs
    worst = (np.maximum(drawn, stored) - np.minimum(drawn, stored)).max(axis=(1, 2))  # stays within uint8
    return Comparison(
        source=reference.data.source,
        images=len(worst),
        identical=int((worst == 0).sum()),
        slightly_off=int((worst > SLIGHT).sum()),
        far_off=int((worst > FAR).sum()),
        largest=int(worst.max()),
        made_with=letters.made_with,
        source_made_with=reference.made_with,
    )


def _check_comparable(letters: LetterSet, data: Dataset) -> None:
    if data.inputs.shape != letters.images.shape or data.inputs.dtype != letters.images.dtype:
        raise DataError(
            f"{data.source}: expected images {letters.images.shape} uint8, as just drawn, got {data.inputs.shape} "
            f"{data.inputs.dtype}. Give the manifest and the size (--size) that it was made with."
        )
    drawn = np.array(letters.class_names)[letters.labels]
    stored = np.array(data.class_names)[data.labels]
    differ = np.flatnonzero(drawn != stored)
    if differ.size:
        first = differ[0]
        raise DataError(
            f"{data.source}: {differ.size} of {drawn.size} labels differ from those just drawn, the first at image "
            f"{first}: {str(drawn[first])!r} drawn, {str(stored[first])!r} in the file. "
            "Give the manifest and the seed (--seed) that it was made with."
        )
