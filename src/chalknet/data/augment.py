"""Random changes of training images: shift, rotation, zoom, shear and erased rectangles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import AugmentationConfig
from chalknet.errors import ConfigError

# The random numbers of an image: angle, zoom y and x, shear, shift y and x, erase, its size and its place.
PARAMETERS_PER_IMAGE = 11
ROWS_AT_ONCE = 32  # images whose intermediate values fit into the cache


class Augmenter:
    """A random transformation of images that is determined by given random numbers.

    An output pixel at the position `to` = (y, x), relative to the center of the image, is read from
    the image at the position

        from = A_1 A_2 A_3 to + shift                                  (docs/derivation.md, X1)

        A_1 = [[cos angle, -sin angle], [sin angle, cos angle]]
        A_2 = [[1, 0], [shear, 1]],   A_3 = diag(zoom_1, zoom_2)

    by bilinear interpolation (X2). Values outside the image are 0. Angle, shear and shift are
    uniform within plus and minus their bounds. zoom_1 and zoom_2 are 1 + zoom to a uniform power
    from -1 to 1.

    Args:
        config: the bounds.
        image_shape: (H, W), or (H, W, 3) in color. All channels of an image change alike.

    Attributes:
        config: the bounds.
        image_shape: the shape of the images.
        moves: whether it shifts, rotates, scales or shears images.
    """

    def __init__(self, config: AugmentationConfig, image_shape: tuple[int, ...]) -> None:
        """Create an augmenter for images of one shape."""
        self.config: AugmentationConfig = config
        self.image_shape: tuple[int, ...] = image_shape
        height, width = image_shape[:2]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        self._y, self._x = (y - (height - 1) / 2).ravel(), (x - (width - 1) / 2).ravel()
        bounds = (config.shift_pixels, config.rotation_degrees, config.zoom, config.shear)
        self.moves: bool = any(bounds)

    def __call__(self, rows: NDArray[Any], parameters: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return changed images.

        Args:
            rows: (n, H·W) raw images, or (n, H·W·3) in color.
            parameters: (n, `PARAMETERS_PER_IMAGE`) uniform random numbers in [0, 1), one row
                per image.

        Returns:
            Rows of the same shape, float32, in the units of rows. The result for an image does not depend on the
            other images.
        """
        images = rows.astype(np.float32)
        if self.moves:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                images[part] = self._moved(images[part], parameters[part])
        if self.config.erase:
            self._erase(images, parameters)
        return images

    def _moved(self, images: NDArray[np.float32], parameters: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return images shifted, rotated, scaled and sheared."""
        height, width, *channels = self.image_shape
        # A border of zeros, so that reading outside of the image gives 0. It is one pixel wide before
        # the image and two after it, because interpolation also reads the next pixel.
        padded = np.zeros((len(images), height + 3, width + 3, *channels), np.float32)
        padded[:, 1:-2, 1:-2] = images.reshape(-1, *self.image_shape)
        (yy, yx, ty), (xy, xx, tx) = self._maps(parameters)
        read_y = np.clip(yy * self._y + yx * self._x + (ty + (height + 1) / 2), 0, height + 1).astype(np.float32)
        read_x = np.clip(xy * self._y + xx * self._x + (tx + (width + 1) / 2), 0, width + 1).astype(np.float32)
        row, column = read_y.astype(np.int32), read_x.astype(np.int32)
        read_y -= row
        read_x -= column
        row *= width + 3
        row += column
        row += (np.arange(len(images), dtype=np.int32) * ((height + 3) * (width + 3)))[:, None]
        flat = padded.reshape(-1, *channels)
        if channels:
            read_x, read_y = read_x[:, :, None], read_y[:, :, None]
        above = _between(flat.take(row, axis=0), flat.take(row + 1, axis=0), read_x)
        row += width + 3
        below = _between(flat.take(row, axis=0), flat.take(row + 1, axis=0), read_x)
        return _between(above, below, read_y).reshape(images.shape)

    def _maps(self, parameters: NDArray[np.float64]) -> tuple[tuple[NDArray[np.float32], ...], ...]:
        """Return the two rows of R S Z and t for each image, each number as (n, 1)."""
        config = self.config
        signed = (2 * parameters[:, :6] - 1).T[:, :, None]
        angle = signed[0] * np.deg2rad(config.rotation_degrees)
        zoom_y, zoom_x = (1 + config.zoom) ** signed[1], (1 + config.zoom) ** signed[2]
        shear = signed[3] * config.shear
        cos, sin = np.cos(angle), np.sin(angle)
        rows = (
            ((cos - sin * shear) * zoom_y, -sin * zoom_x, signed[4] * config.shift_pixels),
            ((sin + cos * shear) * zoom_y, cos * zoom_x, signed[5] * config.shift_pixels),
        )
        return tuple(tuple(number.astype(np.float32) for number in row) for row in rows)

    def _erase(self, images: NDArray[np.float32], parameters: NDArray[np.float64]) -> None:
        """Set a rectangle in some images to 0.

        Each side is uniform up to the largest, and the position is uniform inside the image.
        """
        height, width = self.image_shape[:2]
        view = images.reshape(-1, *self.image_shape)
        for n in np.flatnonzero(parameters[:, 6] < self.config.erase):
            size_y, size_x, place_y, place_x = parameters[n, 7:PARAMETERS_PER_IMAGE]
            tall, wide = (
                int(np.ceil(u * self.config.erase_size * side)) for u, side in ((size_y, height), (size_x, width))
            )
            top, left = int(place_y * (height - tall + 1)), int(place_x * (width - wide + 1))
            view[n, top : top + tall, left : left + wide] = 0


def _between(
    first: NDArray[np.float32], second: NDArray[np.float32], fraction: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return first + fraction (second - first) (docs/derivation.md, X2), overwriting second."""
    np.subtract(second, first, out=second)
    np.multiply(second, fraction, out=second)
    np.add(second, first, out=second)
    return second


def augmenter_for(config: AugmentationConfig, image_shape: tuple[int, ...] | None) -> Augmenter | None:
    """Return the augmenter of a recipe, or None if the recipe changes no images.

    Args:
        config: the augmentation settings.
        image_shape: (H, W) or (H, W, 3), or None if the samples are rows.

    Raises:
        ConfigError: the recipe changes images, but the samples are rows.
    """
    changes = [name for name in ("shift_pixels", "rotation_degrees", "zoom", "shear", "erase") if getattr(config, name)]
    if not changes:
        return None
    if image_shape is None:
        raise ConfigError(f"{changes[0]} changes images, but the samples are rows of numbers. Set it to 0.")
    return Augmenter(config, image_shape)
