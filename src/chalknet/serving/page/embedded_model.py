"""The model of a page: layers as JSON, and weights of 16 or 8 bits."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import ACTIVATION_NAMES
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture, NamedLayer
from chalknet.network.layer import Parameters
from chalknet.network.model import Classifier, Ensemble, Network

# The layer types that the page has an object for, in assets/.
PAGE_LAYERS = frozenset(
    (
        *(*ACTIVATION_NAMES, "batch_norm", "dense", "dropout", "parametric_activation", "scale"),
        *("periodic_embedding", "piecewise_linear_embedding", "category_embedding"),
        *("conv2d", "max_pool2d", "average_pool2d", "global_average_pool", "flatten", "residual"),
    )
)
FLOAT16, INT8 = "float16", "int8"
MAX_INT8 = 127


@dataclass(frozen=True, eq=False)
class EmbeddedModel:
    """A model as a page holds it.

    Attributes:
        classifier: the model with the rounded weights, as float64. The page computes what it computes.
        precision: "float16" or "int8", the type of the weights.
        description: JSON-ready layers, class names, scaling, and the position of each array in data.
        data: the arrays, little-endian.
    """

    classifier: Classifier
    precision: str
    description: dict[str, Any]
    data: bytes


def embed_model(model: Classifier, precision: str = FLOAT16) -> EmbeddedModel:
    """Return a model with its weights rounded for a page.

    Learned arrays with two or more axes are rounded. A float16 number is stored relative to the largest of
    its array, an int8 number relative to the largest of its row. Other arrays are float32.

    Args:
        model: a network or an ensemble.
        precision: "float16" or "int8".

    Raises:
        ConfigError: the model has a layer that the page cannot compute.
    """
    unknown = sorted({layer.type for layer in model.architecture.layers} - PAGE_LAYERS)
    if unknown:
        raise ConfigError(
            f"the model has layers of type {', '.join(unknown)}, which a page cannot compute. Use chalknet serve for "
            "this model."
        )
    writer = _ArrayWriter(precision)
    members = tuple(_embed_network(network, number, writer) for number, network in enumerate(model.members, start=1))
    classifier: Classifier = members[0] if len(members) == 1 else Ensemble(members)
    description = {
        "layers": layer_tables(model.architecture),
        "members": len(members),
        "text": str(model.architecture),
        "n_inputs": model.architecture.n_inputs,
        "n_parameters": model.architecture.n_parameters,
        "multipliers": {k: v for k, v in model.architecture.learning_rate_multipliers.items() if v != 1},
        "statistics": sorted(model.architecture.statistics),
        "class_names": list(model.class_names),
        "image_shape": None if model.image_shape is None else list(model.image_shape),
        "input_names": list(model.input_names),
        "encoding": None if model.encoding is None else {"columns": [asdict(one) for one in model.encoding.columns]},
        "precision": precision,
        "scaling": _scaling(model, writer),
        "arrays": writer.places,
    }
    return EmbeddedModel(classifier, precision, description, b"".join(writer.parts))


class _ArrayWriter:
    """Collects arrays as bytes, with the place of each by name."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.parts: list[bytes] = []
        self.places: dict[str, dict[str, Any]] = {}
        self._size = 0

    def add(self, name: str, values: NDArray[Any], **facts: Any) -> None:
        """Add an array as it is."""
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        self._add(name, data, dtype=values.dtype.name, shape=list(values.shape), **facts)

    def add_exact(self, name: str, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Add a parameter as float32, and return its values."""
        exact = values.astype(np.float32)
        self.add(name, exact)
        return exact.astype(np.float64)

    def add_rounded(self, name: str, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Add a parameter with rounded values, and return these."""
        if values.ndim < 2:
            return self.add_exact(name, values)
        axes = tuple(range(1, values.ndim)) if self.precision == INT8 else None
        largest = np.abs(values).max(axis=axes, keepdims=True).astype(np.float64)
        scale = np.where(largest > 0, largest / (MAX_INT8 if axes else 1), 1.0).astype(np.float32).astype(np.float64)
        if self.precision == INT8:
            small = np.clip(np.rint(values / scale), -MAX_INT8, MAX_INT8).astype(np.int8)
            self.add(name, small, scale=f"{name} scale")
            self.add(f"{name} scale", scale.astype(np.float32).ravel())
        else:
            small = (values / scale).astype(np.float16)
            # Low bytes first, then high bytes: gzip packs the high bytes, which are alike.
            data = np.ascontiguousarray(small.astype("<f2").reshape(-1, 1).view(np.uint8).T).tobytes()
            self._add(name, data, dtype=FLOAT16, shape=list(values.shape), scale=float(scale.item()))
        return small.astype(np.float64) * scale

    def _add(self, name: str, data: bytes, **facts: Any) -> None:
        self.places[name] = {"at": self._size, "bytes": len(data), **facts}
        self.parts.append(data)
        self._size += len(data)


def _embed_network(network: Network, number: int, writer: _ArrayWriter) -> Network:
    """Add the parameters of a network, and return it with the values that the page has."""
    rounded: Parameters = {}
    for name, value in network.parameters.items():
        # Rounded edges of bins could be equal.
        add = writer.add_exact if name in network.architecture.statistics else writer.add_rounded
        rounded[name] = add(f"member{number}/{name}", value)
    return replace(network, parameters=rounded)


def layer_tables(architecture: Architecture) -> list[dict[str, Any]]:
    """Return all layers as the page reads them."""
    tables = [_layer_table(position, named) for position, named in enumerate(architecture.named_layers)]
    for table in tables:
        if table["shortcut"] is not None:
            table["shortcut_shape"] = tables[table["shortcut"]]["input_shape"]
    return tables


def _layer_table(position: int, named: NamedLayer) -> dict[str, Any]:
    """Return a layer as the page reads it: type, settings, sizes and names of its parameters."""
    layer = named.layer
    output_shape = layer.output_shape(named.input_shape)
    return {
        "type": layer.type,
        "position": position,
        "settings": layer.settings(),
        "title": str(layer),
        "inputs": math.prod(named.input_shape),
        "outputs": math.prod(output_shape),
        "input_shape": list(named.input_shape),
        "output_shape": list(output_shape),
        "shortcut": named.shortcut,
        "names": named.names,
        "shapes": {key: list(one.shape) for key, one in layer.parameters(named.input_shape).items()},
        "acts_in_prediction": layer.acts_in_prediction,
    }


def _scaling(model: Classifier, writer: _ArrayWriter) -> dict[str, Any]:
    scaling = model.scaling
    found: dict[str, Any] = {}
    for key, value in (("shift", scaling.shift), ("scale", scaling.scale), ("fill", scaling.fill)):
        if isinstance(value, np.ndarray) and value.ndim:
            writer.add(f"input.{key}", value.astype(np.float64))
            found[key] = f"input.{key}"
        else:
            found[key] = None if value is None else float(value)
    return found
