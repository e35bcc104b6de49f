"""Channels of images: gray images are (N, H, W), color images are (N, H, W, 3) in red, green and blue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import RGB

N_COLORS, WITH_OPACITY = 3, 4
# Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601). The integers are those of
# Pillow, so that pixels of 0..255 become the same gray values as in image files.
GRAY_WEIGHTS = (0.299, 0.587, 0.114)
INTEGER_WEIGHTS, SHIFT = (19_595, 38_470, 7_471), 16


def is_color(shape: tuple[int, ...]) -> bool:
    """Return whether the shape of one sample is that of a color image, (H, W, 3)."""
    return len(shape) == 3


def images_text(shape: tuple[int, ...]) -> str:
    """Return images of a shape in words, such as "images of 28 x 28" or "color images of 28 x 28"."""
    return f"{'color ' if is_color(shape) else ''}images of {shape[0]} x {shape[1]}"


def to_gray(images: NDArray[Any]) -> NDArray[Any]:
    """Return the brightness of color images.

    Args:
        images: (..., 3) uint8 or floats.

    Returns:
        (...) of the same dtype.

    Source: ITU-R BT.601, and for uint8 the integers of Pillow.
    """
    red, green, blue = (images[..., channel] for channel in range(N_COLORS))
    if images.dtype != np.uint8:
        weights = np.asarray(GRAY_WEIGHTS, images.dtype)
        gray: NDArray[Any] = red * weights[0] + green * weights[1] + blue * weights[2]
        return gray
    total = np.full(red.shape, 1 << (SHIFT - 1), np.uint32)
    for weight, one in zip(INTEGER_WEIGHTS, (red, green, blue), strict=True):
        total += one.astype(np.uint32) * np.uint32(weight)
    return (total >> SHIFT).astype(np.uint8)


def to_rgb(images: NDArray[Any]) -> NDArray[Any]:
    """Return gray images (...) with three equal channels, (..., 3)."""
    return np.repeat(images[..., None], N_COLORS, axis=-1)


def in_color(images: NDArray[Any], color: str | None) -> NDArray[Any]:
    """Return images in gray or color, as `color` says; None leaves them as they are.

    Args:
        images: (N, H, W) or (N, H, W, 3).
        color: "gray", "rgb" or None.
    """
    if color is None or (color == RGB) == is_color(images.shape[1:]):
        return images
    return to_rgb(images) if color == RGB else to_gray(images)


def are_blank(images: NDArray[Any]) -> NDArray[np.bool_]:
    """Return (N,) whether all pixels of an image are equal.

    Args:
        images: (N, H, W) or (N, H, W, 3).
    """
    pixels = images.reshape(len(images), -1, *images.shape[3:])
    blank: NDArray[np.bool_] = (pixels.min(axis=1) == pixels.max(axis=1)).reshape(len(images), -1).all(axis=1)
    return blank


def with_usual_channels(images: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return images as (N, H, W) or (N, H, W, 3), and notes about what was changed.

    The axis of a single channel is removed. Three channels that come first are moved to the end. Images with
    a fourth channel, the opacity, are laid on white. Other arrays are returned unchanged.

    Args:
        images: samples of any shape.
    """
    if images.ndim != 4:
        return images, ()
    shape = images.shape
    single = next((axis for axis in (3, 1) if shape[axis] == 1), None)
    if single is not None:
        return images.squeeze(single), (f"images {shape} have one channel, so they are read as gray images.",)
    notes: tuple[str, ...] = ()
    if shape[3] not in (N_COLORS, WITH_OPACITY) and shape[1] == N_COLORS:
        images = np.ascontiguousarray(np.moveaxis(images, 1, 3))
        notes = (f"images {shape} have their channels first, and are read as {images.shape}.",)
    if images.shape[3] == WITH_OPACITY:
        images = _on_white(images)
        notes += (f"images {shape} have a fourth channel, the opacity, and are laid on white.",)
    return images, notes


def _on_white(images: NDArray[Any]) -> NDArray[Any]:
    """Return images (N, H, W, 4) laid on white, as (N, H, W, 3).

    White is 255, or 1 if they are floats up to 1.
    """
    colors, opacity = images[..., :N_COLORS], images[..., N_COLORS:]
    if images.dtype == np.uint8:
        mixed = colors.astype(np.uint32) * opacity + np.uint32(255) * (255 - opacity.astype(np.uint32))
        rounded: NDArray[np.uint8] = ((mixed + 127) // 255).astype(np.uint8)
        return rounded
    white = 1.0 if images.size and images.max() <= 1 else 255.0
    laid: NDArray[Any] = colors * (opacity / white) + (white - opacity)
    return laid.astype(images.dtype, copy=False)
