"""The random changes of training images (`data.augment`) as torch computes them, for networks of a stack at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chalknet.data.augment import Augmenter


class TorchAugmenter:
    """The augmenters of some networks, for their samples on a device.

    The arithmetic has the dtypes and the order of `Augmenter`, so that results are equal to rounding.

    Args:
        augmenters: the augmenter of each network, or None for a network that changes no images. At
            least one is not None.
        device: the torch device.
    """

    def __init__(self, augmenters: Sequence[Augmenter | None], device: Any) -> None:
        """Put the bounds of all networks on the device."""
        present = [one for one in augmenters if one is not None]
        self._shape = present[0].image_shape
        height, width = self._shape[:2]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        self._y, self._x = (
            torch.from_numpy((one - (side - 1) / 2).ravel()).to(device) for one, side in ((y, height), (x, width))
        )
        self._pixel_y, self._pixel_x = torch.arange(height, device=device), torch.arange(width, device=device)
        configs = [None if one is None else one.config for one in augmenters]

        def bounds(name: str) -> Tensor:
            values = [0.0 if one is None else float(getattr(one, name)) for one in configs]
            return torch.tensor(values, dtype=torch.float64, device=device)[:, None]

        self._shift, self._zoom, self._shear = bounds("shift_pixels"), 1 + bounds("zoom"), bounds("shear")
        self._angle = torch.deg2rad(bounds("rotation_degrees"))
        self._erased, self._erase_size = bounds("erase"), bounds("erase_size")
        self._moves = any(one is not None and one.moves for one in augmenters)
        self._erases = any(one is not None and one.erase for one in configs)
        self._changes = None
        if len(present) < len(augmenters):
            self._changes = torch.tensor([one is not None for one in augmenters], device=device)[:, None, None]

    def __call__(self, raw: Tensor, parameters: Tensor) -> Tensor:
        """Return changed images.

        Args:
            raw: (M, n, I) raw images of each network.
            parameters: (M, n, PARAMETERS_PER_IMAGE) float64 uniform random numbers in [0, 1).

        Returns:
            (M, n, I) float32, or the dtype of raw images that float32 does not hold, if some network
            changes no images.
        """
        images = raw.to(torch.float32)
        if self._moves:
            images = self._moved(images, parameters)
        if self._erases:
            images = self._with_erased(images, parameters)
        return images if self._changes is None else torch.where(self._changes, images, raw)

    def _moved(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return images shifted, rotated, scaled and sheared (X1, X2)."""
        height, width, *channels = self._shape
        padded = images.new_zeros(*images.shape[:2], height + 3, width + 3, *(channels or [1]))
        padded[:, :, 1:-2, 1:-2] = images.unflatten(-1, (height, width, -1))
        cells = padded.flatten(2, 3)
        (yy, yx, ty), (xy, xx, tx) = self._maps(parameters)
        read_y = (yy * self._y + yx * self._x + (ty + (height + 1) / 2)).clamp_(0, height + 1)
        read_x = (xy * self._y + xx * self._x + (tx + (width + 1) / 2)).clamp_(0, width + 1)
        row, column = read_y.to(torch.int64), read_x.to(torch.int64)
        read_y, read_x = (read_y - row).unsqueeze(-1), (read_x - column).unsqueeze(-1)
        corner = (row * (width + 3) + column).unsqueeze(-1)

        def read(offset: int) -> Tensor:
            """Return the values of the cells at an offset from the corners."""
            return cells.gather(2, (corner + offset).expand(-1, -1, -1, cells.shape[-1]))

        above = _between(read(0), read(1), read_x)
        below = _between(read(width + 3), read(width + 4), read_x)
        return _between(above, below, read_y).flatten(2)

    def _maps(self, parameters: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Return the two rows of A_1 A_2 A_3 and the shift for each image, each number as (M, n, 1) float32."""
        signed = (2 * parameters[..., :6] - 1).unbind(-1)
        angle, shear = signed[0] * self._angle, signed[3] * self._shear
        zoom_y, zoom_x = self._zoom ** signed[1], self._zoom ** signed[2]
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = (
            ((cos - sin * shear) * zoom_y, -sin * zoom_x, signed[4] * self._shift),
            ((sin + cos * shear) * zoom_y, cos * zoom_x, signed[5] * self._shift),
        )
        return tuple(tuple(number.to(torch.float32).unsqueeze(-1) for number in row) for row in rows)

    def _with_erased(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return images in which a rectangle is 0, if their number says so."""
        height, width = self._shape[:2]
        chance, size_y, size_x, place_y, place_x = parameters[..., 6:].unbind(-1)
        inside = []
        sides = ((self._pixel_y, height, size_y, place_y), (self._pixel_x, width, size_x, place_x))
        for pixels, side, size, place in sides:
            length = torch.ceil(size * self._erase_size * side)
            first = torch.floor(place * (side - length + 1)).unsqueeze(-1)
            inside.append((pixels >= first) & (pixels < first + length.unsqueeze(-1)))
        erased = inside[0].unsqueeze(-1) & inside[1].unsqueeze(-2) & (chance < self._erased)[..., None, None]
        return images.unflatten(-1, (height, width, -1)).masked_fill(erased.unsqueeze(-1), 0).flatten(2)


def _between(first: Tensor, second: Tensor, fraction: Tensor) -> Tensor:
    """Return first + fraction (second - first) (X2), overwriting second."""
    return second.sub_(first).mul_(fraction).add_(first)
