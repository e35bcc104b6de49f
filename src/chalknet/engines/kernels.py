"""The tables in which the numpy and the torch engine find their kernels: one entry per layer type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from chalknet.errors import ConfigError
from chalknet.network.layer import Layer

T = TypeVar("T")
# Activations whose derivative is one number on each side of 0: their value is the input times the derivative.
PIECEWISE_LINEAR = frozenset({"relu", "leaky_relu", "identity"})


def registered(table: dict[Any, Any], key: Any) -> Callable[[T], T]:
    """Return a decorator that puts a class or a function into a table."""

    def register(entry: T) -> T:
        table[key] = entry
        return entry

    return register


def kernel_for(table: dict[type[Layer], T], layer: type[Layer], engine: str, other: str) -> T:
    """Return the entry of a layer type, or of the class that it is derived from.

    Raises:
        ConfigError: there is none; the message names the engine, and another one that may have it.
    """
    for one in layer.__mro__:
        if one in table:
            return table[one]
    raise ConfigError(
        f"the {engine} engine has no kernel for layers of type {layer.type}. Use engine={other!r} (--engine {other})."
    )
