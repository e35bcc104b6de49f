"""One image file: decoded within bounds, made grey, and brought to a size."""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import DataError
from chalknet.files import Budget, read_bytes, reading

if TYPE_CHECKING:
    from PIL.Image import Image

GreyImage = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
# Pillow knows more, some of which start other programs; only these are tried, whatever a file's name says
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
# how their files begin; BMP's BM and PPM's P5 are left to the name, as a table's first column may be called so
HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")

MAX_FILE_BYTES = 2**28
MAX_PIXELS = 2**27  # of one image: 134 million, below the 179 million that Pillow itself refuses
LARGE_PIXELS = 2**25  # from here on one at a time, and JPEG files in a fraction of their size
BAND_PIXELS = 2**20  # made grey at a time
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # a camera's rotation mark, and those that exchange width and height

_one_large = threading.Lock()

MODE_NAMES = {"L": "grey", "1": "black and white", "P": "palette", "LA": "grey with transparency"}


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One image as it is used, and how it came.

    Attributes:
        grey: (H, W) uint8.
        mode: what its pixels were, in a word: "grey", "RGB", "palette", "16-bit grey", ...
        size: (width, height) as shown, after a camera's rotation mark.
        was_transparent: whether any of it was, and was laid on white.
    """

    grey: GreyImage
    mode: str
    size: tuple[int, int]
    was_transparent: bool = False


def read_image(path: Path, source: str, image_size: tuple[int, int] | None = None) -> ReadImage:
    """The image in a file as a folder's images are read, resized to (H, W) where image_size says so.

    Args:
        source: what messages call the file.
    Raises:
        DataError: no image of a known kind, a damaged one, or one beyond the bounds.
    """
    with reading(source):
        content = read_bytes(path, MAX_FILE_BYTES)
    try:
        with warnings.catch_warnings():  # Pillow warns of what it can pass over, such as a damaged date
            warnings.simplefilter("ignore")
            image = decode_image(content)
    except Exception as error:  # a damaged image can raise nearly anything in Pillow's decoders
        raise DataError(f"{source}: {_reason(error)}") from error
    return ReadImage(resized(image.grey, image_size), image.mode, image.size, image.was_transparent)


def looks_like_image(head: bytes, name: str) -> bool:
    """Whether a file is meant as an image, by its first bytes or, where they are damaged, by its name."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(HEADS) or is_webp or name.lower().endswith(SUFFIXES)


class _Timed(io.BytesIO):
    """The bytes of an image file; decoding may not take too long, as a progressive JPEG can hold thousands of scans."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._budget = Budget("image", len(content), error=SlowImageError)

    def read(self, size: int | None = -1) -> bytes:
        self._budget.check_time()
        return super().read(size)


class SlowImageError(DataError):
    """An image that takes longer to decode than its size can explain."""


def decode_image(content: bytes) -> ReadImage:
    """The image in the bytes of an image file, in its own size, or a large JPEG in half, a quarter or an eighth of it.

    Large ones are decoded one at a time, whatever the threads. The largest take less than 1 GiB, and 2 GiB as WebP,
    whose decoder makes copies.

    Raises:
        Exception: whatever Pillow raises for bytes that are no image; ValueError for too many or unscaled pixels.
    """
    from PIL import Image

    with Image.open(_Timed(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")
        with _one_large if width * height > LARGE_PIXELS else nullcontext():
            if width * height > LARGE_PIXELS:
                # A JPEG decoder gives a half, a quarter or an eighth of the size; other formats stay as they are.
                part = next((n for n in (2, 4) if width * height <= n * n * LARGE_PIXELS), 8)
                image.draft(None, (width // part, height // part))
            image.load()
            orientation = image.getexif().get(ORIENTATION, 1)
            grey, was_transparent = _grey(image)
            mode = "16-bit grey" if image.mode.startswith("I") else MODE_NAMES.get(image.mode, image.mode)
    size = (height, width) if orientation in TURNED else (width, height)
    return ReadImage(_upright(grey, orientation), mode, size, was_transparent)


def _grey(image: Image) -> tuple[GreyImage, bool]:
    """(H, W), made in bands, which bounds the memory of what lies between, and whether any of it was transparent."""
    grey, was_transparent = np.empty((image.height, image.width), np.uint8), False
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        band = image.crop((0, top, image.width, bottom))
        grey[top:bottom], is_transparent = _grey_band(band)
        was_transparent |= is_transparent
    return grey, was_transparent


def _grey_band(band: Image) -> tuple[GreyImage, bool]:
    if band.mode.startswith(("I", "F")):
        return _from_16_bits(np.asarray(band)), False
    if band.has_transparency_data:
        return _on_white(band)
    return np.asarray(band.convert("L")), False


def _upright(grey: GreyImage, orientation: int) -> GreyImage:
    """An image as a camera's rotation mark has it."""
    if orientation not in range(2, 9):
        return grey
    from PIL import Image, ImageOps

    marked = Image.fromarray(grey)
    marked.getexif()[ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(marked))


def _from_16_bits(values: NDArray[Any]) -> GreyImage:
    """0..65535 to 0..255, rounded; 65535 = 255 · 257. Pillow may hold 16 bits in 32; a wider range has no scale."""
    if values.dtype.kind == "f":
        raise ValueError("its pixels are floats, and what white is among them is not known")
    if values.min() < 0 or values.max() > 65_535:
        raise ValueError("values outside the 16-bit range")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _on_white(image: Image) -> tuple[GreyImage, bool]:
    from PIL import Image as PillowImage

    layered = image.convert("RGBA")
    was_transparent = layered.getchannel("A").getextrema() != (255, 255)
    paper = PillowImage.new("RGBA", layered.size, "white")
    return np.asarray(PillowImage.alpha_composite(paper, layered).convert("L")), was_transparent


def resized(grey: GreyImage, image_size: tuple[int, int] | None) -> GreyImage:
    """An image of (H, W) pixels, by Lanczos and without keeping the aspect ratio; as it is where it has that size."""
    if image_size is None or grey.shape == image_size:
        return grey
    from PIL import Image

    height, width = image_size
    return np.array(Image.fromarray(grey).resize((width, height), Image.Resampling.LANCZOS))


def _reason(error: Exception) -> str:
    """Why a file is no image that can be used, in words; Pillow's own would name objects in memory."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"is no image of a known kind ({', '.join(FORMATS)})."
    if isinstance(error, Image.DecompressionBombError):
        return f"says that it has far more than {MAX_PIXELS:,} pixels. Give a smaller image."
    if isinstance(error, ValueError) and "pixels, more than" in str(error):
        return f"has {error}. Give a smaller image."
    return f"is damaged, or of a kind that is not read ({' '.join(str(error).split()) or type(error).__name__})."
