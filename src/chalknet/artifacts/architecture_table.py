"""The layers of a network in the headers of model files and checkpoints."""

from __future__ import annotations

import math
from typing import Any

from chalknet.checked import short
from chalknet.errors import ModelFileError
from chalknet.network.architecture import Architecture

MAX_LAYERS = 1_000
MAX_AXES, MAX_INPUTS = 4, 2**40  # of the shape of a sample


def architecture_table(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture as the entries "input_shape" and "layers" of a header."""
    layers = [layer.table() for layer in architecture.layers]
    return {"input_shape": list(architecture.input_shape), "layers": layers}


def architecture_from_table(header: dict[str, Any]) -> Architecture:
    """Return the architecture that a header describes, after checking that its sizes are plausible.

    Raises:
        ModelFileError: the entries are missing, or are not what chalknet writes. (A ValueError.)
        ConfigError: layers that are unknown or do not fit together. (A ValueError.)
    """
    shape: Any = header.get("input_shape")
    layers: Any = header.get("layers")
    is_shape = isinstance(shape, list) and all(type(size) is int and size >= 1 for size in shape)
    if not is_shape or not 1 <= len(shape) <= MAX_AXES or math.prod(shape) > MAX_INPUTS:
        raise ModelFileError(f"its input_shape is {short(shape)}, which is not the shape of a sample.")
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise ModelFileError(f"its layers are {short(layers)}, which is not a list of up to {MAX_LAYERS} layers.")
    return Architecture(shape, layers=layers)


def current_parameter_name(name: str) -> str:
    """Return the current name of a parameter of a format 1 or 2 file, which calls gamma "gain"."""
    return f"{name.removesuffix('.gain')}.gamma" if name.endswith(".gain") else name
