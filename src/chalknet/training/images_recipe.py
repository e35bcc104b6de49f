"""The recipe `images`: a convolutional network for images of any size, with the settings of each budget.

Convolutions of 3 x 3 pixels with batch normalization, in levels that halve the image, are the form of
Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition (ICLR 2015).
docs/recipes/strong.md shows what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Filters of the convolution of each level; levels after the last have as many as the last.
FILTERS = (32, 64, 128)
# Convolutions of larger images look at every second pixel, which saves most of the time.
LARGEST_FOR_STRIDE_1 = 56
# Pooling ends with images of fewer pixels in height or width.
SMALLEST_TO_POOL = 4
UNITS, DROPOUT = 256, 0.3
EPOCHS = 40
PLANS: dict[str, dict[str, Any]] = {"fast": {"epochs": 10}, "default": {}, "best": {"ensemble": 3}}
BATCH_SIZE, SMALLEST_BATCH = 128, 16
# With few images, batches are halved until an epoch has this many updates. docs/recipes/strong.md measures it.
MIN_UPDATES = 8
# For `estimated_seconds`: floating-point operations per second of these networks on one core.
OPERATIONS_PER_SECOND = 4e10


def image_layers(shape: Sequence[int]) -> list[Any]:
    """Return the layers of a network for images.

    Args:
        shape: (H, W) or (H, W, C) of an image.
    """
    layers: list[Any] = []
    side, level = min(shape[:2]), 0
    while level == 0 or side >= SMALLEST_TO_POOL:
        filters = FILTERS[min(level, len(FILTERS) - 1)]
        convolution = {"type": "conv2d", "filters": filters, "bias": False}
        if side > LARGEST_FOR_STRIDE_1:
            convolution["stride"], side = 2, (side + 1) // 2
        layers += [convolution, "batch_norm", "relu"]
        if side >= SMALLEST_TO_POOL:
            layers.append("max_pool2d")
        side, level = side // 2, level + 1
    dropout = {"type": "dropout", "rate": DROPOUT}
    dense = {"type": "dense", "units": UNITS, "bias": False}
    return [*layers, "flatten", dropout, dense, "batch_norm", "relu", dropout]


def batch_size_for(n_images: int) -> int:
    """Return the batch size for a number of training images, 128 unless an epoch then has few updates."""
    size = BATCH_SIZE
    while size > SMALLEST_BATCH and n_images < MIN_UPDATES * size:
        size //= 2
    return size


def estimated_seconds(settings: dict[str, Any], n_images: int, shape: Sequence[int], n_classes: int) -> float:
    """Return roughly how many seconds of CPU time a training with these settings takes.

    Args:
        settings: the fields that a budget sets.
        n_images: number of training images.
        shape: (H, W) or (H, W, C) of an image.
        n_classes: number of classes.
    """
    height, width, channels = (*shape, 1)[:3]
    operations = 0
    for layer in image_layers(shape):
        if layer == "max_pool2d":
            height, width = height // 2, width // 2
        elif isinstance(layer, dict) and layer["type"] == "conv2d":
            height, width = -(-height // layer.get("stride", 1)), -(-width // layer.get("stride", 1))
            operations += 18 * channels * layer["filters"] * height * width
            channels = layer["filters"]
    operations += 2 * UNITS * (height * width * channels + n_classes)
    trained = n_images * settings.get("epochs", EPOCHS) * settings.get("ensemble", 1)
    return float(3 * operations * trained / OPERATIONS_PER_SECOND)
