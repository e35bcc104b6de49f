"""Single image files: bounded decoding, conversion to gray or RGB, and resizing."""

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

from chalknet.data.color import N_COLORS, to_rgb
from chalknet.errors import DataError
from chalknet.files import Budget, read_bytes, reading

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]  # (H, W) gray or (H, W, 3) color

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
# Pillow has more decoders, some of which start other programs. Only these formats are tried, whatever
# the name of a file is.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
# First bytes of these formats. BMP ("BM") and PPM ("P5") are recognized by name, because a table can begin
# with these characters.
HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")

MAX_FILE_BYTES = 2**28
MAX_PIXELS = 2**27  # of one image: 134 million, below the limit of Pillow (179 million)
LARGE_PIXELS = 2**25  # larger images are decoded one at a time, and JPEG files in reduced size
MAX_SCANNED = 2**34  # pixels times scans of a progressive JPEG: some seconds of decoding
JPEG_SCAN = b"\xff\xda"  # marks the beginning of a scan, and does not occur inside one
BAND_PIXELS = 2**20  # converted at a time
LOOKED_AT = 64  # pixels of a side that are looked at to see whether an image has colors
COLORFUL, MIN_COLORFUL = 32, 0.01  # difference of channels of a colored pixel, and the fraction of such pixels
BITS_PER_SAMPLE = 258  # a tag of TIFF files
FITS = ("stretch", "crop", "pad")
DEFAULT_FIT = "stretch"
VISIBLE = 1.05  # smaller changes of the proportions get no note
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # EXIF tag of the rotation, and its values that exchange width and height

_one_large = threading.Lock()

MODE_NAMES = {"L": "gray", "1": "black and white", "P": "palette", "LA": "gray with transparency"}


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One decoded image.

    Attributes:
        pixels: (H, W) or, in color, (H, W, 3) uint8.
        mode: what the pixels were: "gray", "RGB", "palette", "16-bit gray", ...
        size: (width, height) as displayed, with EXIF rotation applied.
        was_transparent: whether a pixel was transparent and laid on white.
        lost_color: whether colors were converted to gray.
    """

    pixels: Pixels
    mode: str
    size: tuple[int, int]
    was_transparent: bool = False
    lost_color: bool = False


def read_image(path: Path, source: str, *, color: bool = False) -> ReadImage:
    """Read one image file in its own size; a large JPEG is reduced.

    Args:
        path: the file.
        source: what messages call it.
        color: whether to return red, green and blue, and not gray.

    Raises:
        DataError: the file is not an image of a supported format, is damaged, or is too large.
    """
    with reading(source):
        content = read_bytes(path, MAX_FILE_BYTES)
    return image_of_bytes(content, source, color=color)


def image_of_bytes(content: bytes, source: str, max_pixels: int | None = None, *, color: bool = False) -> ReadImage:
    """Return the image of a file whose content is in memory; a large JPEG is reduced.

    Args:
        content: the bytes of the file.
        source: what messages call it.
        max_pixels: the largest number of pixels; by default `MAX_PIXELS`.
        color: whether to return red, green and blue, and not gray.

    Raises:
        DataError: the file is not an image of a supported format, is damaged, or is too large.
    """
    if not content:
        raise DataError(f"{source}: the file is empty.")
    try:
        with warnings.catch_warnings():  # Pillow warns about what it can ignore, such as a damaged date
            warnings.simplefilter("ignore")
            return decode_image(content, max_pixels, color=color)
    except Exception as error:  # Pillow's decoders can raise anything for a damaged image
        raise DataError(f"{source}: {_reason(error)}") from error


def looks_like_image(head: bytes, name: str) -> bool:
    """Return whether a file is meant as an image, by its first bytes or its name."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(HEADS) or is_webp or name.lower().endswith(SUFFIXES)


class _Timed(io.BytesIO):
    """The bytes of an image file, with a limit of the time for decoding."""

    def __init__(self, content: bytes) -> None:
        """Create a stream of these bytes, and start its budget."""
        super().__init__(content)
        self._budget = Budget("image", len(content), "It may be damaged.", SlowImageError)

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes after checking the time."""
        self._budget.check_time()
        return super().read(size)


class SlowImageError(DataError):
    """Raised when decoding an image takes longer than its size can explain."""


def decode_image(content: bytes, max_pixels: int | None = None, *, color: bool = False) -> ReadImage:
    """Decode the bytes of an image file; a large JPEG is reduced to a half, a quarter or an eighth.

    Only one large image is decoded at a time, in all threads together. The largest images take less
    than 1 GiB, or 2 GiB as WebP, whose decoder makes copies.

    Raises:
        Exception: any error of Pillow for bytes that are not an image. ValueError: there are too
            many pixels, or their scale is unknown.
    """
    from PIL import Image

    max_pixels = max_pixels or MAX_PIXELS
    with Image.open(_Timed(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ValueError(f"{width} x {height} pixels, more than {max_pixels:,}")
        scans = content.count(JPEG_SCAN) if image.format == "JPEG" else 1
        # Checked before decoding, because a single call of the decoder processes all scans.
        if scans * width * height > MAX_SCANNED:
            raise SlowImageError(f"image: has {scans:,} scans, more than a JPEG of its size can use.")
        with _one_large if width * height > LARGE_PIXELS else nullcontext():
            if width * height > LARGE_PIXELS:
                # A JPEG decoder can reduce to a half, a quarter or an eighth; other formats stay unchanged.
                factor = next((n for n in (2, 4) if width * height <= n * n * LARGE_PIXELS), 8)
                image.draft(None, (width // factor, height // factor))
            image.load()
            orientation = image.getexif().get(ORIENTATION, 1)
            bits = _bits(image)
            pixels, was_transparent = _pixels(image, bits, color)
            lost_color = not color and not bits and _has_colors(image)
            mode = f"{bits}-bit gray" if bits else MODE_NAMES.get(image.mode, image.mode)
    size = (height, width) if orientation in TURNED else (width, height)
    return ReadImage(_upright(pixels, orientation), mode, size, was_transparent, lost_color)


def size_in_header(content: bytes) -> tuple[int, int]:
    """Return the height and width of an image file as displayed, without decoding its pixels.

    Raises:
        Exception: any error of Pillow for bytes that are not an image.
    """
    from PIL import Image

    with Image.open(_Timed(content), formats=FORMATS) as image:
        width, height = image.size
        # The size of a TIFF file is already that of the turned image. Pillow would decode a PNG file to look
        # for EXIF data behind its pixels, which is rare.
        has_rotation = "exif" in image.info and image.format != "TIFF"
        is_turned = has_rotation and image.getexif().get(ORIENTATION) in TURNED
    return (width, height) if is_turned else (height, width)


def _bits(image: Image) -> int:
    """Return the bits of a gray pixel if they are more than 8, and 0 otherwise.

    Pillow can store 16-bit pixels in 32 bits; a TIFF says which of the two it has.
    """
    if image.mode.startswith("F"):
        raise ValueError("its pixels are floats, and the value of white is unknown")
    if not image.mode.startswith("I"):
        return 0
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    return 32 if image.mode == "I" and bits == (32,) else 16


def _has_colors(image: Image) -> bool:
    """Return whether an image is not gray, by about `LOOKED_AT` x `LOOKED_AT` of its pixels."""
    if image.mode in ("L", "LA", "1"):
        return False
    from PIL import Image as PillowImage

    size = (min(image.width, LOOKED_AT), min(image.height, LOOKED_AT))
    small = image if size == image.size else image.resize(size, PillowImage.Resampling.NEAREST)
    pixels = _on_white(small, "RGB")[0] if small.has_transparency_data else np.asarray(small.convert("RGB"))
    red, green, blue = np.moveaxis(pixels, 2, 0)  # much faster than maxima over the last axis
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool(np.count_nonzero(spread > COLORFUL) > MIN_COLORFUL * spread.size)


def _pixels(image: Image, bits: int, color: bool) -> tuple[Pixels, bool]:
    """Return the image, (H, W) or in color (H, W, 3), and whether any pixel was transparent.

    The image is converted in bands, which bounds the memory. 32-bit integers have no defined white:
    images with values up to 255 are read as 8-bit pixels, as ImageJ and scikit-image write them,
    and others as 16-bit pixels.
    """
    rows = max(1, BAND_PIXELS // image.width)
    places = [(top, min(top + rows, image.height)) for top in range(0, image.height, rows)]
    kind, channels = ("RGB", (N_COLORS,)) if color else ("L", ())
    pixels, was_transparent = np.empty((image.height, image.width, *channels), np.uint8), False
    is_8_bit = bits == 32 and all(np.asarray(_band(image, *place)).max() <= 255 for place in places)
    for top, bottom in places:
        band = _band(image, top, bottom)
        if bits:
            gray = _from_wide(np.asarray(band), 1 if is_8_bit else 257)
            pixels[top:bottom] = to_rgb(gray) if color else gray
        elif band.has_transparency_data:
            pixels[top:bottom], is_transparent = _on_white(band, kind)
            was_transparent |= is_transparent
        else:
            pixels[top:bottom] = np.asarray(band.convert(kind))
    return pixels, was_transparent


def _band(image: Image, top: int, bottom: int) -> Image:
    """Return the rows top to bottom of an image."""
    return image.crop((0, top, image.width, bottom))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Return an image with EXIF rotation applied."""
    if orientation not in range(2, 9):
        return pixels
    from PIL import Image, ImageOps

    marked = Image.fromarray(pixels)
    marked.getexif()[ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(marked))


def _from_wide(values: NDArray[Any], divisor: int) -> Pixels:
    """Return values in 0..65535 scaled to 0..255 and rounded; 65535 = 255 · 257."""
    if values.min() < 0 or values.max() > 65_535:
        raise ValueError("values outside the 16-bit range")
    return ((values.astype(np.uint32) + divisor // 2) // divisor).astype(np.uint8)


def _on_white(image: Image, kind: str) -> tuple[Pixels, bool]:
    """Return a transparent image laid on white in Pillow's mode "L" or "RGB", and whether a pixel was transparent."""
    from PIL import Image as PillowImage

    layered = image.convert("RGBA")
    was_transparent = layered.getchannel("A").getextrema() != (255, 255)
    paper = PillowImage.new("RGBA", layered.size, "white")
    return np.asarray(PillowImage.alpha_composite(paper, layered).convert(kind)), was_transparent


def fitted(
    pixels: Pixels,
    image_size: tuple[int, int] | None,
    fit: str = "stretch",
    fill: float = 1.0,
    level: int | NDArray[np.integer[Any]] | None = None,
) -> Pixels:
    """Return an image resized to (H, W) by Lanczos resampling; unchanged if it has that size.

    Args:
        pixels: (h, w) or (h, w, 3) uint8.
        image_size: (H, W), or None to return the image unchanged.
        fit: "stretch" to change the proportions, "crop" to cut off both sides equally, or "pad" to
            add a margin.
        fill: with "pad", the fraction of the larger side that the image takes.
        level: with "pad", the value of the margin, one for each channel; the median of the image's
            border by default.
    """
    if image_size is None or (pixels.shape[:2] == image_size and fill == 1.0):
        return pixels
    height, width = image_size
    if fit == "crop":
        tall, wide = (
            min(pixels.shape[0], _side(pixels.shape[1] * height / width)),
            min(pixels.shape[1], _side(pixels.shape[0] * width / height)),
        )
        top, left = (pixels.shape[0] - tall) // 2, (pixels.shape[1] - wide) // 2
        pixels = pixels[top : top + tall, left : left + wide]
    if fit != "pad":
        return _resized(pixels, height, width)
    scale = fill * min(height / pixels.shape[0], width / pixels.shape[1])
    tall, wide = _side(pixels.shape[0] * scale), _side(pixels.shape[1] * scale)
    padded = np.empty((*image_size, *pixels.shape[2:]), np.uint8)
    padded[...] = border_level(pixels) if level is None else level
    top, left = (height - tall) // 2, (width - wide) // 2
    padded[top : top + tall, left : left + wide] = _resized(pixels, tall, wide)
    return padded


def border_level(pixels: Pixels) -> NDArray[np.int64]:
    """Return the median of the border of an image, () or one for each channel."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.asarray(np.median(border, axis=0)).astype(np.int64)


def is_stretched(shape: tuple[int, ...], image_size: tuple[int, int] | None) -> bool:
    """Return whether resizing changes the proportions of an image visibly."""
    if image_size is None:
        return False
    change = (shape[0] * image_size[1]) / (shape[1] * image_size[0])
    return not 1 / VISIBLE < change < VISIBLE


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return an image resized by Lanczos resampling."""
    from PIL import Image

    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _side(size: float) -> int:
    """Return a size rounded to pixels, at least 1."""
    return max(1, round(size))


def _reason(error: Exception) -> str:
    """Return why a file cannot be used; messages of Pillow itself would show object addresses."""
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
