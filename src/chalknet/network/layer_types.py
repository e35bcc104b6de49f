"""All layer types by name, and functions that read layers from recipes and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

from chalknet.config import ACTIVATION_NAMES, LAYER_NAMES, near_match
from chalknet.errors import ConfigError
from chalknet.network.activation import Activation
from chalknet.network.layer import Layer


def _layer_type(name: str) -> type[Layer]:
    """Import network/NAME.py and return its layer class."""
    module = import_module(f"chalknet.network.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Layer) and vars(value).get("type") == name:
            return value
    raise AssertionError(f"{module.__file__} has no layer class whose type is {name!r}.")


LAYER_TYPES: dict[str, type[Layer]] = {name: _layer_type(name) for name in LAYER_NAMES}
ACTIVATIONS: dict[str, type[Activation]] = {
    name: layer for name, layer in LAYER_TYPES.items() if name in ACTIVATION_NAMES and issubclass(layer, Activation)
}


def layer_from_table(value: Any) -> Layer:
    """Return the layer that a table or a name describes.

    Args:
        value: a table such as {"type": "dense", "units": 512}; the name of a type, for its default
            settings; or a `Layer`, which is returned.

    Raises:
        ConfigError: the type or a setting is unknown, a setting is missing, or its value is
            invalid.
    """
    if isinstance(value, Layer):
        return value
    table = {"type": value} if isinstance(value, str) else value
    name = table.get("type") if isinstance(table, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f'a layer must be a name or a table with a "type", got {value!r}.')
    if name not in LAYER_TYPES:
        raise ConfigError(f"unknown layer type {name!r}.{near_match(name, LAYER_TYPES)}")
    layer = LAYER_TYPES[name]
    known = [item.name for item in fields(layer)]
    settings = {key: setting for key, setting in table.items() if key != "type"}
    for key in settings:
        if key not in known:
            hint = near_match(key, known) if known else " It has no settings."
            raise ConfigError(f"layer {name}: unknown setting {key!r}.{hint}")
    for item in fields(layer):
        if item.default is MISSING and item.name not in settings:
            raise ConfigError(f"layer {name}: {item.name} is missing, the {item.metadata['meaning']}.")
    try:
        return layer(**settings)
    except ConfigError as error:
        raise ConfigError(f"layer {name}: {error}") from None


def layers_from_tables(values: Sequence[Any]) -> tuple[Layer, ...]:
    """Return the layers of a list of tables or names; see `layer_from_table`.

    Raises:
        ConfigError: an entry is invalid. The message has its position, counted from 1.
    """
    layers = []
    for number, value in enumerate(values, start=1):
        try:
            layers.append(layer_from_table(value))
        except ConfigError as error:
            raise ConfigError(f"layers, entry {number}: {error}") from None
    return tuple(layers)
