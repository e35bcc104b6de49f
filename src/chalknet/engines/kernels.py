"""The registries in which the numpy and the torch engine find the kernel of each layer type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from chalknet.errors import ConfigError
from chalknet.network.layer import Layer

T = TypeVar("T")
# Activations that are a straight line on each side of 0. Their value is the input times the
# derivative.
PIECEWISE_LINEAR = frozenset({"relu", "leaky_relu", "identity"})


def registered(table: dict[Any, Any], key: Any) -> Callable[[T], T]:
    """Return a decorator that registers a class or a function.

    Args:
        table: the registry.
        key: what the entry is found by: a layer type, or the name of an activation.
    """

    def register(entry: T) -> T:
        table[key] = entry
        return entry

    return register


def kernel_for(table: dict[type[Layer], T], layer: type[Layer], engine: str, other: str) -> T:
    """Return the kernel of a layer type, or of the nearest class that it is derived from.

    Args:
        table: the registry of an engine.
        layer: the layer type.
        engine: name of the engine, for the message.
        other: name of an engine that may have the layer, for the message.

    Raises:
        ConfigError: the engine has no kernel for this layer type.
    """
    for one in layer.__mro__:
        if one in table:
            return table[one]
    raise _no_kernel(layer.type, engine, other)


def function_for(table: dict[str, T], activation: str, engine: str, other: str) -> T:
    """Return the function of an activation.

    Args:
        table: the registry of an engine.
        activation: type of the activation layer.
        engine: name of the engine, for the message.
        other: name of an engine that may have the activation, for the message.

    Raises:
        ConfigError: the engine has no function for this activation.
    """
    if activation not in table:
        raise _no_kernel(activation, engine, other)
    return table[activation]


def _no_kernel(layer_type: str, engine: str, other: str) -> ConfigError:
    return ConfigError(
        f"the {engine} engine has no kernel for layers of type {layer_type}. Use engine={other!r} (--engine {other})."
    )
