"""Compare a rebuilt letter set with the file that it should equal, pixel by pixel."""

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

SLIGHT = 16  # of 255 levels: an edge that another rasterizer places slightly differently
FAR = 64  # of 255 levels: an edge that moved by a quarter of a pixel or more
# Fraction of images that may be far off. Between FreeType 2.13.2 and 2.14.3 it was 1.1 % for the built-in set and 1.9 %
# for another one. An em that is one pixel smaller gives 33 %, and box resampling 12 %. A limit of 5 % allows other
# versions and still detects such changes. docs/glyphs.md lists these numbers and what is not detected.
TOLERANCE = 0.05
MAX_MADE_WITH = 200  # characters; enough for the names of two libraries


@dataclass(frozen=True, eq=False)
class Reference:
    """The file that a build should equal.

    Attributes:
        data: its samples.
        made_with: the libraries that drew it, or None if the file does not say.
    """

    data: Dataset
    made_with: str | None


@dataclass(frozen=True)
class Comparison:
    """The differences between the images of a build and those of a file, in the same order.

    Attributes:
        source: the file.
        images: number of images compared.
        identical: images with all pixels equal.
        slightly_off: images with a pixel that differs by more than SLIGHT levels.
        far_off: images with a pixel that differs by more than FAR levels.
        largest: the largest difference of a pixel, 0..255.
        made_with: the libraries that drew the build.
        source_made_with: the libraries that drew the file, or None if it does not say.
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
        """Return the fraction of images that are far off."""
        return self.far_off / self.images

    @property
    def agrees(self) -> bool:
        """Return whether the differences are no larger than between versions of FreeType."""
        return self.far_fraction <= TOLERANCE


def read_reference(path: Path) -> Reference:
    """Read the samples of an .npz file, and its `made_with` if that is one line of text.

    Raises:
        DataError: the file cannot be read, or does not hold a set of images.
    """
    with open_source(path, str(path)) as file:
        return Reference(read_npz(file), _stored_made_with(NpzArchive(file)))


def _stored_made_with(archive: NpzArchive) -> str | None:
    """Return the text `made_with` of a file if it is valid, or None."""
    if MADE_WITH not in archive.keys:
        return None
    stored = archive.array(MADE_WITH)
    if stored.dtype.kind != "U" or stored.size != 1:
        return None
    try:
        text = stored.tobytes().decode("utf-32").rstrip("\0")  # str(stored) does not check code points
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and 0 < len(text) <= MAX_MADE_WITH else None


def compare_images(letters: LetterSet, reference: Reference) -> Comparison:
    """Compare a build with a file that has the same images in the same order.

    Raises:
        DataError: number, size or type of the images differ, or a label does; names the first.
    """
    _check_comparable(letters, reference.data)
    drawn, stored = letters.images, reference.data.inputs
    worst = (np.maximum(drawn, stored) - np.minimum(drawn, stored)).max(axis=(1, 2))  # without overflow of uint8
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
    """Raise DataError unless shapes and labels agree."""
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
