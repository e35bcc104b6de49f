"""Facts about training images, with which a page prepares what is drawn on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import GRAY
from chalknet.data.color import in_color
from chalknet.data.image_facts import ImageMeasurements, image_facts, measure_images
from chalknet.data.preprocess import PIXEL_SCALE
from chalknet.network.model import Classifier

MAX_MEASURED = 1_000
FILLED = 0.95  # content that usually takes this fraction of both sides was stretched to fill the image
# Without images: sizes as fractions of the image's side.
DEFAULT_FILL, DEFAULT_STROKE = 0.8, 0.1
INK = 0.5  # fraction of the range beyond which a pixel counts as ink


def drawing_facts(model: Classifier, images: NDArray[Any] | None) -> dict[str, Any]:
    """Return how drawings must look to resemble the training images, JSON-ready; {} for rows.

    - background, ink: raw values of paper and pen.
    - height, width: fractions of the image's sides that content usually takes.
    - stretch: whether content fills both sides, so that drawings are stretched.
    - center: "box" if the middle of the content's box is in the middle of the image, "mass" if its
      center of mass is nearer to it.
    - stroke: a narrow stroke (20 % quantile) as a fraction of the image's smaller side.

    Args:
        model: the model that the page shows.
        images: (n, H, W) or (n, H, W, 3) training images, or None.
    """
    if model.image_shape is None:
        return {}
    if images is None or not len(images):
        return _facts_without_images(model)
    images = images[:: -(-len(images) // MAX_MEASURED)]
    images = in_color(images, GRAY)
    low, high = (0.0, PIXEL_SCALE) if images.dtype == np.uint8 else (float(images.min()), float(images.max()))
    facts = image_facts(images, np.arange(len(images)))
    is_light = facts.background == "light"
    ink = (images.astype(np.float64) - low) / max(high - low, 1e-300)
    ink = 1 - ink if is_light else ink
    measured = [one for one in measure_images(images, low, high) if one.fill]
    return {
        "background": high if is_light else low,
        "ink": low if is_light else high,
        "height": facts.usual_height,
        "width": facts.usual_width,
        "stretch": min(facts.usual_height, facts.usual_width) >= FILLED,
        "center": _center(ink, measured),
        "stroke": _narrow_stroke(ink) / min(images.shape[1:]),
    }


def _facts_without_images(model: Classifier) -> dict[str, Any]:
    facts = model.image_facts
    # Scaled pixels are divided by a number, so white is that number. Standardized ones have no known white.
    white = float(model.scaling.scale) if model.scaling.shift is None else PIXEL_SCALE
    is_light = facts is not None and facts.background == "light"
    height, width = (DEFAULT_FILL,) * 2 if facts is None else (facts.usual_height, facts.usual_width)
    return {
        "background": white if is_light else 0.0,
        "ink": 0.0 if is_light else white,
        "height": height or DEFAULT_FILL,
        "width": width or DEFAULT_FILL,
        "stretch": min(height, width) >= FILLED,
        "center": "box",
        "stroke": DEFAULT_STROKE,
    }


def _center(ink: NDArray[np.float64], measured: list[ImageMeasurements]) -> str:
    """Return which center of the content varies less around the middle of the image."""
    height, width = ink.shape[1:]
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
    total = np.maximum(ink.sum(axis=(1, 2)), 1e-9)
    mass_y = (ink.sum(axis=2) * y).sum(axis=1) / total - height / 2
    mass_x = (ink.sum(axis=1) * x).sum(axis=1) / total - width / 2
    boxes = np.array([one.box for one in measured] or [(0, height, 0, width)], np.float64)
    box_y, box_x = boxes[:, :2].mean(axis=1) - height / 2, boxes[:, 2:].mean(axis=1) - width / 2
    by_mass, by_box = np.hypot(mass_y, mass_x).mean(), np.hypot(box_y, box_x).mean()
    return "mass" if by_mass < by_box else "box"


def _narrow_stroke(ink: NDArray[np.float64]) -> float:
    """Return the 20 % quantile of the images' stroke widths in pixels.

    The stroke width of an image is twice its area divided by the length of its outline.
    """
    area = ink.sum(axis=(1, 2))
    is_ink = np.pad(ink > INK, ((0, 0), (1, 1), (1, 1)))
    steps = [np.abs(np.diff(is_ink.astype(np.int8), axis=axis)).sum(axis=(1, 2)) for axis in (1, 2)]
    # An outline of a slanted stroke on a grid of pixels is about a quarter longer than the line it follows.
    outline = (steps[0] + steps[1]) * 0.8
    known = outline > 0
    return (
        float(np.clip(np.quantile(2 * area[known] / outline[known], 0.2), 1.0, min(ink.shape[1:])))
        if known.any()
        else 2.0
    )
