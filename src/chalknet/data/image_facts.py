"""What training images look like, so that images of another kind can be told before a model answers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_IMAGES = 1_000  # that are looked at, evenly spread
MAX_SIDE = 512  # pixels of a side that are looked at
TOLERANCE = 0.15  # of the range: pixels of a plain border differ less from each other
CONTRAST = 0.25  # of the range: content differs more from the border
PLAIN = 0.9  # of the border's pixels are alike where a border is plain


@dataclass(frozen=True)
class ImageLook:
    """One image: the brightness of its border, of all of it, and where its content is.

    Attributes:
        border, mean: median brightness of the border, and mean brightness, 0 for black to 1 for white.
        is_plain: whether nearly all of the border has that brightness.
        box: (top, bottom, left, right) of the content, in pixels; the whole image where nothing stands out.
        height, width: of the content, as fractions of the image's.
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


def background_of(look: ImageLook) -> str:
    """Return "dark" or "light" for the border of an image, or "" for one between them."""
    return "dark" if look.border < 1 / 3 else "light" if look.border > 2 / 3 else ""


def look_at(image: NDArray[Any], low: float = 0.0, high: float = 255.0) -> ImageLook:
    """Return how an image (H, W) looks, whose black is low and whose white is high."""
    step = -(-max(image.shape) // MAX_SIDE)
    pixels = (image[::step, ::step].astype(np.float64) - low) / max(high - low, np.finfo(float).tiny)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    border = float(np.median(edge))
    content = np.abs(pixels - border) > CONTRAST
    sides, fills = list[int](), list[float]()
    for axis, size in enumerate(image.shape):
        # A row or column counts from half a percent of its pixels on, so that dust does not.
        found = np.flatnonzero(content.sum(axis=1 - axis) >= max(1, pixels.shape[1 - axis] // 200))
        start, stop = (int(found[0]) * step, min(size, (int(found[-1]) + 1) * step)) if found.size else (0, size)
        sides += [start, stop]
        fills.append((stop - start) / size)
    is_plain = float((np.abs(edge - border) < TOLERANCE).mean()) >= PLAIN
    return ImageLook(border, float(pixels.mean()), is_plain, (sides[0], sides[1], sides[2], sides[3]), *fills)


def image_facts(images: Any, index: NDArray[np.int64]) -> ImageFacts:
    """Return the facts of the images (N, H, W) at index, n >= 1 of them."""
    some = images[index[:: -(-len(index) // MAX_IMAGES)]]
    low, high = (0.0, 255.0) if some.dtype == np.uint8 else (float(some.min()), float(some.max()))
    looks = [look_at(image, low, high) for image in some]
    means = [look.mean for look in looks]
    backgrounds = [background_of(look) for look in looks]
    return ImageFacts(
        dark=backgrounds.count("dark") / len(looks),
        light=backgrounds.count("light") / len(looks),
        mean_low=float(np.quantile(means, 0.2)),
        mean_high=float(np.quantile(means, 0.8)),
        fill=float(np.quantile([look.fill for look in looks], 0.05)),
        usual_fill=float(np.median([look.fill for look in looks])),
        usual_height=float(np.median([look.height for look in looks])),
        usual_width=float(np.median([look.width for look in looks])),
    )
