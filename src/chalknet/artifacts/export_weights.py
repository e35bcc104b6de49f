"""The weights of a classifier as float32, as every export needs them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chalknet.data.preprocess import PIXEL_SCALE
from chalknet.errors import ConfigError
from chalknet.network.model import Classifier

Float32Array = NDArray[np.float32]


def float32_members(model: Classifier) -> list[dict[str, Float32Array]]:
    """Return the parameters of each ensemble member as name -> float32 array.

    Raises:
        ConfigError: a value of a float64 network is too large for float32.
    """
    return [{name: float32(value, name) for name, value in each.parameters.items()} for each in model.members]


def float32(values: NDArray[np.floating], name: str) -> Float32Array:
    """Return values as float32.

    Raises:
        ConfigError: a finite value is not finite in float32.
    """
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(narrow).all():
        raise ConfigError(f"{name} holds values that are too large for float32, the dtype of exports.")
    return narrow


def sample_shape(model: Classifier) -> tuple[int, ...]:
    """Return the shape of one raw sample: (H, W), (H, W, C) for several channels, or (I,)."""
    shape = model.architecture.input_shape
    if model.architecture.reads_images:
        return shape if shape[2] > 1 else shape[:2]
    return model.image_shape or shape


def reads_pixels(model: Classifier) -> bool:
    """Return whether the model was trained on uint8 values, which it divides by 255."""
    return model.scaling.shift is None and model.scaling.scale == PIXEL_SCALE
