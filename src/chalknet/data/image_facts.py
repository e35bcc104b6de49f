"""What training images look like, so that images of another kind can be told before a model answers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_IMAGES = 500  # that are looked at, evenly spread
MAX_SIDE = 512  # pixels of a side that are looked at
TOLERANCE = 0.15  # of the range: pixels of a plain border differ less from each other
CONTRAST = 0.25  # of the range: content differs more from the border
PLAIN = 0.9  # of the border's pixels are alike where a border is plain


@dataclass(frozen=True)
class ImageMeasurements:
    """One image: the brightness of its border, of all of it, and where its content is.

    Attributes:
        border, mean: median brightness of the border, and mean brightness, 0 for black to 1 for white.
        is_plain: whether nearly all of the border has that brightness.
        box: (top, bottom, left, right) of the content, in pixels; the whole image where nothing stands out.
        height, width: of the content, as fractions of the image's; 0 where nothing stands out.
    """

    border: float
    mean: float
    is_plain: bool
    box: tuple[int, int, int, int]
    height: float
    width: float

    @property
    def fill(self) -> float:
        """The larger of the content's height and width, as a fraction of the image's."""
        return max(self.height, self.width)


@dataclass(frozen=True)
class ImageFacts:
    """Training images as a whole; every number is a fraction in [0, 1].

    Attributes:
        dark, light: images whose border is darker than a third, and brighter than two thirds, of the range.
        mean_low, mean_high: the 20 % and 80 % quantiles of their mean brightness.
        fill, usual_fill: the 5 % quantile and the median of how much of the larger side content takes.
        usual_height, usual_width: medians of how much of each side it takes.
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
        """The usual brightness behind the content: "dark", "light", or "" where neither is three times the other."""
        return "dark" if self.dark > 3 * self.light else "light" if self.light > 3 * self.dark else ""


def background_of(look: ImageMeasurements) -> str:
    """Return "dark" or "light" for the border of an image, or "" for one between them."""
    return "dark" if look.border < 1 / 3 else "light" if look.border > 2 / 3 else ""


def measure_image(image: NDArray[Any], low: float = 0.0, high: float = 255.0) -> ImageMeasurements:
    """Return how an image (H, W) looks, whose black is low and whose white is high."""
    return _looks(image[None], low, high)[0]


def image_facts(images: Any, index: NDArray[np.int64], max_images: int = MAX_IMAGES) -> ImageFacts:
    """Return the facts of the images (N, H, W) at index, n >= 1, of which at most max_images are looked at."""
    some = images[index[:: -(-len(index) // max_images)]]
    low, high = (0.0, 255.0) if some.dtype == np.uint8 else (float(some.min()), float(some.max()))
    looks = _looks(some, low, high)
    means, fills = [look.mean for look in looks], [look.fill for look in looks]
    backgrounds = [background_of(look) for look in looks]
    return ImageFacts(
        dark=backgrounds.count("dark") / len(looks),
        light=backgrounds.count("light") / len(looks),
        mean_low=float(np.quantile(means, 0.2)),
        mean_high=float(np.quantile(means, 0.8)),
        fill=float(np.quantile(fills, 0.05)),
        usual_fill=float(np.median(fills)),
        usual_height=float(np.median([look.height for look in looks])),
        usual_width=float(np.median([look.width for look in looks])),
    )


def _looks(images: NDArray[Any], low: float, high: float) -> list[ImageMeasurements]:
    """How each of n images (n, H, W) looks."""
    height, width = images.shape[1:]
    step = -(-max(height, width) // MAX_SIDE)
    with np.errstate(all="ignore"):  # a range beyond float32 has no look that could be compared
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
    """Where content begins and ends along one side of each image, in its pixels; 0 and 0 where there is none.

    Args:
        counts: (n, side) pixels of content in each row or column, which has n_across. Half a percent of them are dust.
    """
    found = counts >= max(1, n_across // 200)
    start = found.argmax(axis=1) * step
    stop = np.minimum((found.shape[1] - found[:, ::-1].argmax(axis=1)) * step, size)
    is_any = found.any(axis=1)
    return np.where(is_any, start, 0), np.where(is_any, stop, 0)
