"""Measure brightness and content of images, to notice images unlike the training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import GRAY
from chalknet.data.color import in_color

MAX_IMAGES = 500  # number of images that are measured, evenly spaced
MAX_SIDE = 512  # pixels of a side; larger images are measured at every 2nd, 3rd, ... pixel
TOLERANCE = 0.15  # fraction of the range by which pixels of a plain border can differ
CONTRAST = 0.25  # fraction of the range by which content differs from the border
PLAIN = 0.9  # fraction of equal pixels in a plain border


@dataclass(frozen=True)
class ImageMeasurements:
    """The brightness of one image, and the position of its content.

    Attributes:
        border: median brightness of the border, 0 for black to 1 for white.
        mean: mean brightness, on the same scale.
        is_plain: whether nearly all of the border has that brightness.
        box: (top, bottom, left, right) of the content in pixels; the whole image if it is blank.
        height, width: size of the content as fractions of the image's; 0 if it is blank.
    """

    border: float
    mean: float
    is_plain: bool
    box: tuple[int, int, int, int]
    height: float
    width: float

    @property
    def fill(self) -> float:
        """Return the larger of the content's height and width, as a fraction of the image's."""
        return max(self.height, self.width)


@dataclass(frozen=True)
class ImageFacts:
    """Statistics of the training images; every number is a fraction in [0, 1].

    Attributes:
        dark: fraction of images with a border in the darkest third of the range.
        light: fraction of images with a border in the brightest third.
        mean_low, mean_high: 20 % and 80 % quantiles of the mean brightness.
        fill, usual_fill: 5 % quantile and median of the fraction of the larger side that content
            takes.
        usual_height, usual_width: medians of the fractions of each side that content takes.
    """

    dark: float
    light: float
    mean_low: float
    mean_high: float
    fill: float
    usual_fill: float
    usual_height: float
    usual_width: float

    @property
    def background(self) -> str:
        """Return the background that is three times as frequent: "dark", "light", or "" for neither."""
        return "dark" if self.dark > 3 * self.light else "light" if self.light > 3 * self.dark else ""


def background_of(image: ImageMeasurements) -> str:
    """Return the background of an image: "dark", "light", or "" between them."""
    return "dark" if image.border < 1 / 3 else "light" if image.border > 2 / 3 else ""


def measure_image(image: NDArray[Any], low: float = 0.0, high: float = 255.0) -> ImageMeasurements:
    """Measure one image.

    Args:
        image: (H, W) or (H, W, 3) pixels; of color images the brightness is measured.
        low: the value of black.
        high: the value of white.
    """
    return measure_images(image[None], low, high)[0]


def image_facts(images: Any, index: NDArray[np.int64], max_images: int = MAX_IMAGES) -> ImageFacts:
    """Return statistics of training images.

    Args:
        images: (N, H, W) or (N, H, W, 3) images, in memory or on disk.
        index: (n,) indices of the training images, n >= 1.
        max_images: the largest number of images that are measured, evenly spaced.
    """
    some = images[index[:: -(-len(index) // max_images)]]
    low, high = (0.0, 255.0) if some.dtype == np.uint8 else (float(some.min()), float(some.max()))
    measured = measure_images(some, low, high)
    means, fills = [one.mean for one in measured], [one.fill for one in measured]
    backgrounds = [background_of(one) for one in measured]
    return ImageFacts(
        dark=backgrounds.count("dark") / len(measured),
        light=backgrounds.count("light") / len(measured),
        mean_low=float(np.quantile(means, 0.2)),
        mean_high=float(np.quantile(means, 0.8)),
        fill=float(np.quantile(fills, 0.05)),
        usual_fill=float(np.median(fills)),
        usual_height=float(np.median([one.height for one in measured])),
        usual_width=float(np.median([one.width for one in measured])),
    )


def measure_images(images: NDArray[Any], low: float, high: float) -> list[ImageMeasurements]:
    """Measure each of n images (n, H, W) or (n, H, W, 3), whose black is low and whose white is high."""
    images = in_color(images, GRAY)
    height, width = images.shape[1:]
    step = -(-max(height, width) // MAX_SIDE)
    with np.errstate(all="ignore"):  # values beyond the range of float32 give measurements without meaning
        pixels = ((images[:, ::step, ::step] - np.float64(low)) / max(high - low, 1e-300)).astype(np.float32)
    edge = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]], axis=1)
    border = np.median(edge, axis=1)
    is_plain = (np.abs(edge - border[:, None]) < TOLERANCE).mean(axis=1) >= PLAIN
    content = np.abs(pixels - border[:, None, None]) > CONTRAST
    top, bottom = _extent(content.sum(axis=2), pixels.shape[2], height, step)
    left, right = _extent(content.sum(axis=1), pixels.shape[1], width, step)
    is_blank = (bottom == 0) | (right == 0)
    means, sides = pixels.mean(axis=(1, 2)), np.stack([top, bottom, left, right], axis=1)
    sides[is_blank] = (0, height, 0, width)
    return [
        ImageMeasurements(
            float(level),
            float(mean),
            bool(plain),
            (t, b, le, r),
            0.0 if blank else (b - t) / height,
            0.0 if blank else (r - le) / width,
        )
        for level, mean, plain, blank, (t, b, le, r) in zip(
            border, means, is_plain, is_blank, sides.tolist(), strict=True
        )
    ]


def _extent(
    counts: NDArray[np.int64], n_across: int, size: int, step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where content begins and ends along one side of each image; 0 and 0 if blank.

    Args:
        counts: (n, side) the number of content pixels in each row or column. A row counts as
            content from half a percent of its pixels on; fewer are noise.
        n_across: the number of pixels of a row or column.
        size: the length of the side in pixels of the image.
        step: pixels of the image per pixel that was measured.
    """
    found = counts >= max(1, n_across // 200)
    start = found.argmax(axis=1) * step
    stop = np.minimum((found.shape[1] - found[:, ::-1].argmax(axis=1)) * step, size)
    is_any = found.any(axis=1)
    return np.where(is_any, start, 0), np.where(is_any, stop, 0)
