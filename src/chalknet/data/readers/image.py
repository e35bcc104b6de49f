"""One image file: decoded within bounds, made gray, and brought to a size."""

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

GrayImage = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
# Pillow knows more, some of which start other programs; only these are tried, whatever a file's name says
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
# how their files begin; BMP's BM and PPM's P5 are left to the name, as a table's first column may be called so
HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")

MAX_FILE_BYTES = 2**28
MAX_PIXELS = 2**27  # of one image: 134 million, below the 179 million that Pillow itself refuses
LARGE_PIXELS = 2**25  # from here on one at a time, and JPEG files in a fraction of their size
MAX_SCANNED = 2**34  # pixels of all scans of a progressive JPEG together, some seconds of decoding
JPEG_SCAN = b"\xff\xda"  # begins a scan, and is nowhere within one
BAND_PIXELS = 2**20  # made gray at a time
BITS_PER_SAMPLE = 258  # a TIFF's tag
FITS = ("stretch", "crop", "pad")
VISIBLE = 1.05  # a change of proportions by less is not told
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # a camera's rotation mark, and those that exchange width and height

_one_large = threading.Lock()

MODE_NAMES = {"L": "gray", "1": "black and white", "P": "palette", "LA": "gray with transparency"}


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One image as it is used, and how it came.

    Attributes:
        gray: (H, W) uint8.
        mode: what its pixels were, in a word: "gray", "RGB", "palette", "16-bit gray", ...
        size: (width, height) as shown, after a camera's rotation mark.
        was_transparent: whether any of it was, and was laid on white.
    """

    gray: GrayImage
    mode: str
    size: tuple[int, int]
    was_transparent: bool = False


def read_image(path: Path, source: str) -> ReadImage:
    """Return the image in a file as a folder's images are read, in its own size or a large JPEG in a part of it.

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
            return decode_image(content)
    except Exception as error:  # a damaged image can raise nearly anything in Pillow's decoders
        raise DataError(f"{source}: {_reason(error)}") from error


def looks_like_image(head: bytes, name: str) -> bool:
    """Whether a file is meant as an image, by its first bytes or, where they are damaged, by its name."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(HEADS) or is_webp or name.lower().endswith(SUFFIXES)


class _Timed(io.BytesIO):
    """The bytes of an image file, whose decoding may not take too long."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._budget = Budget("image", len(content), "It may be damaged.", SlowImageError)

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
        scans = content.count(JPEG_SCAN) if image.format == "JPEG" else 1
        if scans * width * height > MAX_SCANNED:  # seen before, since one call of the decoder passes over thousands
            raise SlowImageError(f"image: has {scans:,} scans, more than a JPEG of its size can use.")
        with _one_large if width * height > LARGE_PIXELS else nullcontext():
            if width * height > LARGE_PIXELS:
                # A JPEG decoder gives a half, a quarter or an eighth of the size; other formats stay as they are.
                part = next((n for n in (2, 4) if width * height <= n * n * LARGE_PIXELS), 8)
                image.draft(None, (width // part, height // part))
            image.load()
            orientation = image.getexif().get(ORIENTATION, 1)
            bits = _bits(image)
            gray, was_transparent = _gray(image, bits)
            mode = f"{bits}-bit gray" if bits else MODE_NAMES.get(image.mode, image.mode)
    size = (height, width) if orientation in TURNED else (width, height)
    return ReadImage(_upright(gray, orientation), mode, size, was_transparent)


def _bits(image: Image) -> int:
    """The bits of a gray pixel where they are more than 8, else 0.

    Pillow may hold 16 bits in 32. A TIFF says which of the two it has.
    """
    if image.mode.startswith("F"):
        raise ValueError("its pixels are floats, and what white is among them is not known")
    if not image.mode.startswith("I"):
        return 0
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    return 32 if image.mode == "I" and bits == (32,) else 16


def _gray(image: Image, bits: int) -> tuple[GrayImage, bool]:
    """(H, W), made in bands, which bounds the memory of what lies between, and whether any of it was transparent.

    Whole numbers of 32 bits have no white of their own: images of at most 255 are taken for pixels of 8 bits, as ImageJ
    and scikit-image write them, and others for pixels of 16.
    """
    rows = max(1, BAND_PIXELS // image.width)
    places = [(top, min(top + rows, image.height)) for top in range(0, image.height, rows)]
    gray, was_transparent = np.empty((image.height, image.width), np.uint8), False
    is_8_bit = bits == 32 and all(np.asarray(_band(image, *place)).max() <= 255 for place in places)
    for top, bottom in places:
        band = _band(image, top, bottom)
        if bits:
            gray[top:bottom] = _from_wide(np.asarray(band), 1 if is_8_bit else 257)
        elif band.has_transparency_data:
            gray[top:bottom], is_transparent = _on_white(band)
            was_transparent |= is_transparent
        else:
            gray[top:bottom] = np.asarray(band.convert("L"))
    return gray, was_transparent


def _band(image: Image, top: int, bottom: int) -> Image:
    return image.crop((0, top, image.width, bottom))


def _upright(gray: GrayImage, orientation: int) -> GrayImage:
    """An image as a camera's rotation mark has it."""
    if orientation not in range(2, 9):
        return gray
    from PIL import Image, ImageOps

    marked = Image.fromarray(gray)
    marked.getexif()[ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(marked))


def _from_wide(values: NDArray[Any], divisor: int) -> GrayImage:
    """0..65535 to 0..255, rounded; 65535 = 255 · 257. A wider range has no scale."""
    if values.min() < 0 or values.max() > 65_535:
        raise ValueError("values outside the 16-bit range")
    return ((values.astype(np.uint32) + divisor // 2) // divisor).astype(np.uint8)


def _on_white(image: Image) -> tuple[GrayImage, bool]:
    from PIL import Image as PillowImage

    layered = image.convert("RGBA")
    was_transparent = layered.getchannel("A").getextrema() != (255, 255)
    paper = PillowImage.new("RGBA", layered.size, "white")
    return np.asarray(PillowImage.alpha_composite(paper, layered).convert("L")), was_transparent


def fitted(
    gray: GrayImage,
    image_size: tuple[int, int] | None,
    fit: str = "stretch",
    fill: float = 1.0,
    level: int | None = None,
) -> GrayImage:
    """Return an image of (H, W) pixels, by Lanczos; as it is where it has that size.

    Args:
        fit: "stretch" to change its proportions, "crop" to cut off what is too much, equally on both sides, "pad" to
            add what is missing.
        fill: with "pad", the part of the larger side that the image takes.
        level: with "pad", the value of what is added; by default the median of the image's border.
    """
    if image_size is None or (gray.shape == image_size and fill == 1.0):
        return gray
    height, width = image_size
    if fit == "crop":
        tall, wide = (
            min(gray.shape[0], _of(gray.shape[1] * height / width)),
            min(gray.shape[1], _of(gray.shape[0] * width / height)),
        )
        top, left = (gray.shape[0] - tall) // 2, (gray.shape[1] - wide) // 2
        gray = gray[top : top + tall, left : left + wide]
    if fit != "pad":
        return _resized(gray, height, width)
    scale = fill * min(height / gray.shape[0], width / gray.shape[1])
    tall, wide = _of(gray.shape[0] * scale), _of(gray.shape[1] * scale)
    if level is None:
        level = int(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))
    padded = np.full(image_size, level, np.uint8)
    top, left = (height - tall) // 2, (width - wide) // 2
    padded[top : top + tall, left : left + wide] = _resized(gray, tall, wide)
    return padded


def is_stretched(shape: tuple[int, ...], image_size: tuple[int, int] | None) -> bool:
    """Whether bringing an image of this shape to another size changes its proportions visibly."""
    if image_size is None:
        return False
    change = (shape[0] * image_size[1]) / (shape[1] * image_size[0])
    return not 1 / VISIBLE < change < VISIBLE


def _resized(gray: GrayImage, height: int, width: int) -> GrayImage:
    from PIL import Image

    return np.array(Image.fromarray(gray).resize((width, height), Image.Resampling.LANCZOS))


def _of(size: float) -> int:
    return max(1, round(size))


def _reason(error: Exception) -> str:
    """Why a file is no image that can be used, in words; Pillow's own would name objects in memory."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"is no image of a known kind ({', '.join(FORMATS)})."
    if isinstance(error, Image.DecompressionBombError):
        return f"says that it has far more than {MAX_PIXELS:,} pixels. Give a smaller image."
    if isinstance(error, SlowImageError):
        return f"{str(error).removeprefix('image: ')} Save it as PNG."
    if isinstance(error, ValueError) and "pixels, more than" in str(error):
        return f"has {error}. Give a smaller image."
    return f"is damaged, or of a kind that is not read ({' '.join(str(error).split()) or type(error).__name__})."
