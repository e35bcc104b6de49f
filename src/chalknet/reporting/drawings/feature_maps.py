"""Draw what a convolutional network sees: its filters, the feature maps of an image, and the pixels that decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.color import N_COLORS, to_rgb
from chalknet.data.dataset import dataset_from_arrays
from chalknet.network.activation import Activation
from chalknet.network.architecture import forward
from chalknet.network.batch_norm import BatchNorm
from chalknet.network.conv2d import Conv2d
from chalknet.network.layer import Mode
from chalknet.network.model import Network
from chalknet.network.residual import Residual
from chalknet.reporting.drawings.images import EMPTY, as_grid, draw_images
from chalknet.reporting.drawings.picture import drawing_bytes

MAX_FILTERS, MAX_COLOR_FILTERS, FILTER_COLUMNS = 32, 16, 8
MAX_MAPS, MAX_STAGES = 10, 8  # feature maps of a stage, and stages
SCALE_QUANTILE = 0.995  # of the absolute values; the few larger ones are drawn white or black
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class SignedSheet:
    """A sheet of values around 0, which is gray.

    Attributes:
        picture: PNG.
        shown: number of filters or images.
        total: how many there are.
        scale: the value from which on a pixel is white; black from -scale on.
    """

    picture: bytes
    shown: int
    total: int
    scale: float


@dataclass(frozen=True)
class Stage:
    """The feature maps after some layers of a network.

    Attributes:
        name: the last convolution or pooling, such as "conv 1".
        maps: (C, H, W).
    """

    name: str
    maps: NDArray[np.float64]


def filter_sheet(network: Network) -> SignedSheet | None:
    """Draw the filters of the first layer, or return None if it is no convolution.

    The filters with the largest norm come first. A filter that reads colors has a row for each of them.
    """
    first = next((one for one in network.architecture.named_layers if one.names), None)
    if first is None or not isinstance(first.layer, Conv2d):
        return None
    weights = np.asarray(network.parameters[first.names["weight"]], np.float64)  # (O, R, S, C)
    channels = weights.shape[3]
    limit = MAX_FILTERS if channels == 1 else MAX_COLOR_FILTERS
    order = np.argsort(-np.linalg.norm(weights.reshape(len(weights), -1), axis=1), kind="stable")[:limit]
    columns = min(FILTER_COLUMNS, len(order))
    order = order[: len(order) // columns * columns]
    # All channels of the filters of a row, one channel after the other.
    shown = weights[order].reshape(-1, columns, *weights.shape[1:]).transpose(0, 4, 1, 2, 3)
    titles = None
    if channels > 1:
        names = CHANNELS if channels == len(CHANNELS) else [f"channel {k}" for k in range(channels)]
        titles = [name for _ in range(len(shown)) for name in names]
    flat = shown.reshape(-1, *weights.shape[1:3])
    gray, scale = _signed(flat)
    return SignedSheet(
        _png(gray, as_grid(np.arange(len(gray)), columns), row_titles=titles), len(order), len(weights), scale
    )


def stages(network: Network, image: NDArray[Any]) -> list[Stage]:
    """Return the feature maps of an image, after each convolution or pooling with what follows it.

    Args:
        network: a network of images.
        image: (H, W) or (H, W, C), raw values.
    """
    x = network.scaling(np.asarray(image).reshape(1, -1), np.float64)
    value = x.reshape(1, *network.architecture.input_shape)
    found: list[Stage] = []
    inputs: list[NDArray[Any]] = []
    layers, n_convolutions, name = network.architecture.named_layers, 0, ""
    for position, named in enumerate(layers):
        inputs.append(value)
        shortcut = None if named.shortcut is None else inputs[named.shortcut]
        value = named.layer.forward(named.local(network.parameters), value, Mode(shortcut=shortcut)).value
        if value.ndim != 4:
            break
        if isinstance(named.layer, Conv2d):
            n_convolutions += 1
            name = f"conv {n_convolutions}"
        elif named.layer.reads_images:
            name = {"max_pool2d": "max pooling", "average_pool2d": "mean pooling"}.get(named.layer.type, name)
        following = layers[position + 1].layer
        is_end = not isinstance(following, (Activation, BatchNorm, Residual)) and following.acts_in_prediction
        if is_end and name:
            found.append(Stage(name, np.moveaxis(value[0], 2, 0)))
    return found[:MAX_STAGES]


def feature_map_sheet(network: Network, image: NDArray[Any]) -> bytes:
    """Draw an image, and below it some feature maps of each stage, as a PNG.

    A stage is drawn from its smallest value, black, to its largest, white. Maps that are smaller than the image are
    drawn larger. A pooling shows the channels of the convolution before it. Elsewhere the maps with the largest
    variance are shown.
    """
    height, width, _ = network.architecture.input_shape
    pictures, rows, titles = [_unit_range(_shown(network, image[None])[0])], [[0]], ["image"]
    chosen: NDArray[np.intp] | None = None
    for stage in stages(network, image):
        if chosen is None or "pooling" not in stage.name or chosen.max() >= len(stage.maps):
            chosen = np.sort(np.argsort(-stage.maps.var(axis=(1, 2)), kind="stable")[:MAX_MAPS])
        low, high = stage.maps[chosen].min(), stage.maps[chosen].max()
        rows.append([len(pictures) + k for k in range(len(chosen))])
        pictures += [_enlarged((one - low) / max(high - low, 1e-300), height, width) for one in stage.maps[chosen]]
        titles.append(stage.name)
    grid = np.full((len(rows), max(map(len, rows))), EMPTY, np.int64)
    for row, places in enumerate(rows):
        grid[row, : len(places)] = places
    return _png(_with_equal_channels(pictures), grid, row_titles=titles)


def deciding_pixels(network: Network, images: NDArray[Any]) -> NDArray[np.float64]:
    """Return gradient times input: the derivative of the predicted class's logit at each pixel, times the pixel.

    Args:
        network: a network of images.
        images: (N, H, W) or (N, H, W, C), raw values.

    Returns:
        (N, H, W), sums over channels.
    """
    x = network.scaling(np.asarray(images).reshape(len(images), -1), np.float64)
    done = forward(network.architecture, network.parameters, x)
    of_class = np.eye(network.architecture.n_classes)[done.logits.argmax(axis=1)]
    shape = (len(x), *network.architecture.input_shape)
    products: NDArray[np.float64] = (done.input_gradient(of_class).reshape(shape) * x.reshape(shape)).sum(axis=3)
    return products


def pixel_sheet(network: Network, images: NDArray[Any], titles: Sequence[str]) -> SignedSheet:
    """Draw images, and below each of them its `deciding_pixels`.

    Args:
        network: a network of images.
        images: (N, H, W) or (N, H, W, C), raw values.
        titles: one for each image, such as its class.
    """
    gray, scale = _signed(deciding_pixels(network, images))
    pictures = _with_equal_channels([*map(_unit_range, _shown(network, images)), *gray])
    grid = np.arange(len(pictures)).reshape(2, -1)
    names = [*titles, *("" for _ in titles)]
    return SignedSheet(_png(pictures, grid, titles=names), len(images), len(images), scale)


def _shown(network: Network, images: NDArray[Any]) -> NDArray[np.float64]:
    """Return images as they are drawn: (N, H, W, 3) in color, else (N, H, W), the means over channels."""
    pixels = np.asarray(images, np.float64).reshape(-1, *network.architecture.input_shape)
    shown: NDArray[np.float64] = pixels if pixels.shape[3] == N_COLORS else pixels.mean(3)
    return shown


def _with_equal_channels(pictures: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return pictures as one array; gray ones have three equal channels if others are in color."""
    has_color = any(one.ndim == 3 for one in pictures)
    return np.stack([to_rgb(one) if has_color and one.ndim == 2 else one for one in pictures])


def _signed(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return values as gray, 0 for -scale, 1/2 for 0 and 1 for scale, and the scale."""
    scale = max(float(np.quantile(np.abs(values), SCALE_QUANTILE)), float(np.finfo(np.float32).tiny))
    return np.clip(values / (2 * scale) + 0.5, 0.0, 1.0), scale


def _unit_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values from 0, the smallest, to 1, the largest."""
    low, high = values.min(), values.max()
    ranged: NDArray[np.float64] = (values - low) / max(high - low, 1e-300)
    return ranged


def _enlarged(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return an image of another size whose pixels are the nearest ones."""
    rows, columns = (np.arange(size) * own // size for size, own in zip((height, width), values.shape, strict=True))
    enlarged: NDArray[np.float64] = values[rows[:, None], columns]
    return enlarged


def _png(
    images: NDArray[np.float64],
    grid: NDArray[np.int64],
    *,
    titles: Sequence[str] | None = None,
    row_titles: Sequence[str] | None = None,
) -> bytes:
    """Return a sheet of gray images (N, H, W) or color images (N, H, W, 3) in [0, 1]."""
    data = dataset_from_arrays(images, np.zeros(len(images), np.int64))
    return drawing_bytes(draw_images(data, grid, titles=titles, row_titles=row_titles), "png")
