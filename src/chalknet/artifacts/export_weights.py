"""What every export needs: a classifier's numbers as float32, each checked to be one there too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chalknet.data.preprocess import PIXEL_SCALE
from chalknet.errors import ConfigError
from chalknet.network.model import Classifier

Float32Array = NDArray[np.float32]


def float32_members(model: Classifier) -> list[dict[str, Float32Array]]:
    """The parameters of each member by name, float32.

    Raises:
        ConfigError: a value of a float64 network is too large.
    """
    return [{name: float32(value, name) for name, value in each.parameters.items()} for each in model.members]


def float32(values: NDArray[np.floating], name: str) -> Float32Array:
    """Values in float32; ConfigError where they are finite and would not be."""
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(narrow).all():
        raise ConfigError(f"{name} holds values that float32, which exports are in, cannot hold.")
    return narrow


def reads_pixels(model: Classifier) -> bool:
    """Whether the model was trained on uint8 values, divided by 255."""
    return model.scaling.shift is None and model.scaling.scale == PIXEL_SCALE
