"""The forward pass of prediction, which keeps nothing for a backward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from chalknet.network.architecture import Architecture
from chalknet.network.arrays import FloatArray
from chalknet.network.batch_norm import BatchNorm, fold_batch_norm
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.layer import Buffers


def predict_logits(
    architecture: Architecture, parameters: Mapping[str, FloatArray], x: FloatArray, *, row_by_row: bool = False
) -> FloatArray:
    """Return the logits of scaled samples.

    Layers of images run on a few samples at a time, whose values stay in the cache from layer to layer. The rows
    that they make are collected, because products with the large weight after them are faster for many rows.

    Args:
        architecture: the layers.
        parameters: arrays by name, as `Architecture.shapes` lists them.
        x: (B, I) scaled inputs, dtype of the parameters, which may be overwritten.
        row_by_row: whether the products of dense layers are computed for each row on its own, so that the logits
            of a sample have the same bits whatever other samples there are.

    Returns:
        (B, K) logits.
    """
    layers = architecture.named_layers
    own = {position: named.local(parameters) for position, named in enumerate(layers)}
    normalized = _normalized_convolutions(architecture)
    for position in normalized:
        own[position] = fold_batch_norm(own[position], own[position + 1])
    n_image_layers = sum(len(named.input_shape) == 3 for named in layers)  # they come first
    buffers = [Buffers(1 if row_by_row else len(x)) for _ in layers]
    shortcuts = {named.shortcut for named in layers}

    def through(start: int, stop: int, value: FloatArray) -> FloatArray:
        inputs: dict[int, FloatArray] = {}
        for position in range(start, stop):
            named = layers[position]
            if position in shortcuts:
                inputs[position] = value.copy()  # because layers may overwrite the value
            if row_by_row and isinstance(named.layer, (Dense, CategoryEmbedding)):
                value = named.layer.predict_row_by_row(own[position], value)
            elif named.layer.acts_in_prediction and position - 1 not in normalized:
                shortcut = None if named.shortcut is None else inputs[named.shortcut]
                value = named.layer.predict(own[position], value, buffers[position], shortcut)
        return value

    if not n_image_layers:
        return through(0, len(layers), x)
    images = x.reshape(len(x), *architecture.input_shape)
    rows = np.empty((len(x), math.prod(layers[n_image_layers].input_shape)), x.dtype)
    for start in range(0, len(x), architecture.images_at_once):
        block = slice(start, start + architecture.images_at_once)
        rows[block] = through(0, n_image_layers, images[block])
    return through(n_image_layers, len(layers), rows)


def _normalized_convolutions(architecture: Architecture) -> set[int]:
    """Return the positions of convolutions whose output goes to batch normalization only."""
    layers = architecture.named_layers
    shortcuts = {named.shortcut for named in layers}
    return {
        position
        for position, named in enumerate(layers[:-1])
        if isinstance(named.layer, Conv2d)
        and isinstance(layers[position + 1].layer, BatchNorm)
        and position + 1 not in shortcuts
    }
