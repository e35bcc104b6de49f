"""Draw one glyph, one face or one font file.

An image is made as in notMNIST: the glyph is drawn with 128 pixels per em, cropped to its ink, and
resized to size × size by Lanczos resampling. The aspect ratio is not kept, so a sans-serif I
becomes a solid square. docs/glyphs.md describes the procedure.
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

EM_PIXELS = 128  # edges after resizing then look like notMNIST's; docs/glyphs.md compares sizes
MIN_DISTINCT = 0.9  # fraction of a face's letters that must differ from each other
UNMAPPED = ("\uffff", "\U0001fffe")  # noncharacters, for which a font draws its .notdef glyph
_GlyphIdentity = tuple[tuple[int, int], bytes] | None
Drawn = list[Face | Drop]  # the result for one file


@dataclass(frozen=True)
class DrawTask:
    """The letters to draw from one font file.

    Attributes:
        font: the file.
        letters: K single characters.
        size: height and width of an image in pixels.
        index: number of the face, which is then drawn even if its glyphs repeat; None for all
            faces.
    """

    font: FontFile
    letters: tuple[str, ...]
    size: int
    index: int | None = None


def draw_file(task: DrawTask) -> Drawn:
    """Draw every face of a file; a font that cannot be read gives a `Drop`, not an exception."""
    try:
        data = task.font.path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        indices = range(_face_count(data)) if task.index is None else [task.index]
        return [_draw_face(data, digest, index, task) for index in indices]
    except Exception as error:  # broken fonts can raise anything, and must not end the build
        return [Drop(task.font.name, "unreadable", f"{type(error).__name__}: {error}")]


def _face_count(data: bytes) -> int:
    """Return the number of faces; a collection states it in bytes 8 to 11, other files have one."""
    return min(int.from_bytes(data[8:12], "big"), 256) if data[:4] == b"ttcf" else 1


def _draw_face(data: bytes, digest: str, index: int, task: DrawTask) -> Face | Drop:
    """Draw one face, or return why it cannot be used."""
    from PIL import ImageFont

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns about an absurdly large glyph before allocating it
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
    """Return why the drawn glyphs of a face cannot be used, or None."""
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
    """Return a font name without control characters and repeated spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in name or "").split())


def drawing_libraries() -> str:
    """Return the versions that determine the pixels: "Pillow 13.0.0, FreeType 2.14.3"."""
    import PIL
    from PIL import features

    return f"Pillow {PIL.__version__}, FreeType {features.version('freetype2')}"


def _ink(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image | None:
    """Return the drawn letter cropped to its ink; None if it is thinner than two pixels."""
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
    """Return a rectangle cropped to its full pixels, and any other drawing unchanged.

    A stem rarely ends on a pixel border, and resizing would enlarge the gray rim of a sans-serif I
    to a seventh of the image. The fonts of notMNIST were drawn with hinting that snaps stems to
    pixels: one I in six is a solid square there.
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
    """Return a drawing resized to (size, size)."""
    from PIL import Image

    return np.asarray(ink.resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8)


def _identity(ink: Image.Image | None) -> _GlyphIdentity:
    """Return a key that is equal for equal drawings: size and pixels before resizing."""
    return None if ink is None else (ink.size, ink.tobytes())
