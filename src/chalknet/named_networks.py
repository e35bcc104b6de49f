"""Networks with names, as lists of layers without the output layer: `--network lenet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LayerEntry = Mapping[str, Any]  # as in `layers` of a recipe
DENSE = "dense"  # the network of the fields `hidden`, `activation`, `batch_norm` and `dropout`


@dataclass(frozen=True)
class NamedNetwork:
    """A network with a name.

    Attributes:
        words: what it is, for reports and documentation, after "the architecture NAME: ".
        source: the publication that it is taken from.
        layers: all layers below the output layer, without dropout.
    """

    words: str
    source: str
    layers: tuple[LayerEntry, ...]

    def layers_with(self, dropout: float) -> tuple[LayerEntry, ...]:
        """Return the layers, with dropout after the activation of each hidden dense layer.

        A network without hidden dense layers has it before its output layer.

        Args:
            dropout: the rate, or 0 for no dropout.
        """
        if not dropout:
            return self.layers
        entry = {"type": "dropout", "rate": dropout}
        is_dense = [layer["type"] == "dense" for layer in self.layers]
        if not any(is_dense):
            return (*self.layers, entry)
        layers: list[LayerEntry] = []
        for position, layer in enumerate(self.layers):
            layers.append(layer)
            if position and is_dense[position - 1]:  # the activation of a dense layer
                layers.append(entry)
        return tuple(layers)


def _layer(kind: str, **settings: Any) -> LayerEntry:
    return {"type": kind, **settings}


def _normalized(filters: int, stride: int = 1) -> list[LayerEntry]:
    """Return a convolution without bias, and batch normalization."""
    steps = {} if stride == 1 else {"stride": stride}
    return [_layer("conv2d", filters=filters, **steps, bias=False), _layer("batch_norm")]


def _residual_block(filters: int, stride: int = 1) -> list[LayerEntry]:
    """Return two convolutions with a residual connection around them."""
    inner = [*_normalized(filters, stride), _layer("relu"), *_normalized(filters)]
    return [*inner, _layer("residual", layers=len(inner)), _layer("relu")]


def _joined(*parts: Sequence[LayerEntry]) -> tuple[LayerEntry, ...]:
    return tuple(layer for part in parts for layer in part)


NETWORKS: dict[str, NamedNetwork] = {
    "part2": NamedNetwork(
        "the convolutional network of the second part of the course's assignment",
        "the assignment: one convolution, batch normalization, max pooling and a dense layer of 784 units",
        (
            _layer("conv2d", filters=32),
            _layer("relu"),
            _layer("batch_norm"),
            _layer("max_pool2d", size=2),
            _layer("flatten"),
            _layer("dense", units=784),
            _layer("relu"),
        ),
    ),
    # Relu, max pooling and softmax stand for the scaled tanh, the pooling with weights and the radial
    # basis functions of the original. Its images have 32 x 32 pixels; zeros around 28 x 28 pixels make
    # them as large.
    "lenet": NamedNetwork(
        "LeNet-5 in its modern form, with relu and max pooling",
        "LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998), "
        "section II.B",
        (
            _layer("conv2d", filters=6, kernel_size=5),
            _layer("relu"),
            _layer("max_pool2d", size=2),
            _layer("conv2d", filters=16, kernel_size=5, padding=0),
            _layer("relu"),
            _layer("max_pool2d", size=2),
            _layer("flatten"),
            _layer("dense", units=120),
            _layer("relu"),
            _layer("dense", units=84),
            _layer("relu"),
        ),
    ),
    "small-resnet": NamedNetwork(
        "a residual network of eight layers with weights, with shortcuts without parameters (option A)",
        "He, Zhang, Ren and Sun, Deep residual learning for image recognition (CVPR 2016), sections 3.3 and 4.2",
        _joined(
            _normalized(32),
            [_layer("relu"), _layer("max_pool2d", size=2)],
            _residual_block(32),
            _residual_block(64, stride=2),
            _residual_block(128, stride=2),
            [_layer("global_average_pool")],
        ),
    ),
}
NETWORK_NAMES = (DENSE, *NETWORKS)
