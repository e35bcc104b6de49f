"""The layers of a network in the headers of model files and checkpoints."""

from __future__ import annotations

import math
from typing import Any

from chalknet.checked import short
from chalknet.errors import ModelFileError
from chalknet.network.architecture import Architecture

MAX_LAYERS = 1_000
MAX_AXES, MAX_INPUTS = 4, 2**40  # of the shape of a sample
# The weights in a file limit what rows cost, but a small kernel can be moved over an image of any size. So networks of
# images have limits on the values of a layer, and on the time of one sample (`Layer.work`): a few seconds.
MAX_IMAGE_VALUES, MAX_WORK, VALUE_WORK = 2**25, 2**36, 32


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
    architecture = Architecture(shape, layers=layers)
    _check_image_sizes(architecture)
    return architecture


def _check_image_sizes(architecture: Architecture) -> None:
    """Raise ModelFileError if one image takes very much memory or time."""
    if not architecture.reads_images:
        return
    if architecture.largest_layer > MAX_IMAGE_VALUES:
        raise ModelFileError(
            f"its largest layer has {short(architecture.largest_layer)} values for each image, and at most "
            f"{MAX_IMAGE_VALUES:,} are computed."
        )
    values = sum(math.prod(named.input_shape) for named in architecture.named_layers)
    if architecture.work + VALUE_WORK * values > MAX_WORK:
        raise ModelFileError(f"its layers take the time of more than {MAX_WORK:,} multiplications for each image.")


def current_parameter_name(name: str) -> str:
    """Return the current name of a parameter of a format 1 or 2 file, which calls gamma "gain"."""
    return f"{name.removesuffix('.gain')}.gamma" if name.endswith(".gain") else name
