"""Drawing: one glyph, one face, one file.

An image is made as notMNIST's were: the glyph drawn at 128 pixels an em, cut to its ink, brought to size × size by
Lanczos resampling; its aspect is not kept, so a sans-serif I becomes a solid square. docs/glyphs.md has the recipe.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chalknet.data.glyph_builder.faces import Drop, Face, Images
from chalknet.data.glyph_builder.fonts import FontFile

if TYPE_CHECKING:
    from PIL import Image, ImageFont

EM_PIXELS = 128  # large enough that the edges after resampling look like notMNIST's; docs/glyphs.md compares sizes
MIN_DISTINCT = 0.9  # share of a face's letters that must differ from each other
UNMAPPED = ("\uffff", "\U0001fffe")  # never characters, so a font draws its .notdef glyph for them
_GlyphIdentity = tuple[tuple[int, int], bytes] | None
Drawn = list[Face | Drop]  # of one file


@dataclass(frozen=True)
class DrawTask:
    """Draw these letters of one file: of every face in it, or of the face at index however much its glyphs repeat."""

    font: FontFile
    letters: tuple[str, ...]
    size: int
    index: int | None = None


def draw_file(task: DrawTask) -> Drawn:
    """Every face of one file, or why not; a font that cannot be read is a `Drop`, never an exception."""
    try:
        data = task.font.path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        indices = range(_face_count(data)) if task.index is None else [task.index]
        return [_draw_face(data, digest, index, task) for index in indices]
    except Exception as error:  # broken fonts raise nearly anything, and one must not end the build
        return [Drop(task.font.name, "unreadable", f"{type(error).__name__}: {error}")]


def _face_count(data: bytes) -> int:
    """Faces of a font file: a collection states its own in bytes 8 to 11; every other format has one."""
    return min(int.from_bytes(data[8:12], "big"), 256) if data[:4] == b"ttcf" else 1


def _draw_face(data: bytes, digest: str, index: int, task: DrawTask) -> Face | Drop:
    from PIL import ImageFont

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of a glyph of absurd size before it allocates it
        font = ImageFont.truetype(io.BytesIO(data), EM_PIXELS, index=index, layout_engine=ImageFont.Layout.BASIC)
        inks = [_ink(font, letter) for letter in task.letters]
        absent = {_identity(_ink(font, letter)) for letter in UNMAPPED}
    family, style = font.getname()
    problem = _problem(inks, absent, task)
    if problem is not None:
        return problem
    images = np.stack([_resampled(ink, task.size) for ink in inks if ink is not None])
    return Face(task.font.name, index, digest, _clean(family) or Path(task.font.name).stem, _clean(style), images)


def _problem(inks: Sequence[Image.Image | None], absent: set[_GlyphIdentity], task: DrawTask) -> Drop | None:
    for letter, ink in zip(task.letters, inks, strict=True):
        if ink is None:
            return Drop(task.font.name, "letter blank or missing", letter)
        if _identity(ink) in absent:
            return Drop(task.font.name, "letter missing", letter)
    distinct = len({_identity(ink) for ink in inks})
    if task.index is None and distinct < math.ceil(MIN_DISTINCT * len(inks)):
        return Drop(task.font.name, "repeated glyphs", f"{distinct} distinct of {len(inks)}")
    return None


def _clean(name: str | None) -> str:
    """A font's name without control characters and doubled spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in name or "").split())


def drawing_libraries() -> str:
    """The versions that decide how a glyph's edges fall: "Pillow 13.0.0, FreeType 2.14.3"."""
    import PIL
    from PIL import features

    return f"Pillow {PIL.__version__}, FreeType {features.version('freetype2')}"


def draw_letter(font: ImageFont.FreeTypeFont, letter: str, size: int) -> Images | None:
    """The letter as (size, size) uint8, white on black, its ink reaching all four edges; None if there is no ink."""
    ink = _ink(font, letter)
    return None if ink is None else _resampled(ink, size)


def _ink(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image | None:
    """The drawn letter cut to its ink; None when it is thinner than two pixels of the em."""
    from PIL import Image

    mask = font.getmask(letter, mode="L")
    if 0 in mask.size:
        return None
    image = Image.frombytes("L", mask.size, bytes(mask))  # type: ignore[call-overload, unused-ignore]
    box = image.getbbox()
    if box is None or box[2] - box[0] < 2 or box[3] - box[1] < 2:
        return None
    return _without_soft_rim(image.crop(box))


def _without_soft_rim(ink: Image.Image) -> Image.Image:
    """A rectangle cut to its full pixels; any other drawing as it is.

    A stem rarely ends on a whole pixel, and resampling would blow the gray rim of a sans-serif I up to a seventh of the
    image. notMNIST's were drawn by a hinter that snapped stems to pixels: one I in six there is a solid square.
    """
    full = np.asarray(ink) == 255
    rows, columns = np.flatnonzero(full.any(axis=1)), np.flatnonzero(full.any(axis=0))
    if rows.size < 2 or columns.size < 2:
        return ink
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    rim = max(top, ink.height - bottom, left, ink.width - right)
    if rim > 1 or not full[top:bottom, left:right].all():
        return ink
    return ink.crop((int(left), int(top), int(right), int(bottom)))


def _resampled(ink: Image.Image, size: int) -> Images:
    from PIL import Image

    return np.asarray(ink.resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8)


def _identity(ink: Image.Image | None) -> _GlyphIdentity:
    """What makes two glyphs the same drawing: their size and pixels before the aspect is lost."""
    return None if ink is None else (ink.size, ink.tobytes())
