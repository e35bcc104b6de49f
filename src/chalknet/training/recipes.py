"""The named recipes, each a complete `Recipe`."""

from __future__ import annotations

from chalknet.config import Recipe, near_match
from chalknet.errors import ConfigError

RECIPES = {
    # Full batch, 200 epochs, momentum 0.99 on the weights alone, 1e-5 on summed gradients, split by seed 521.
    "writeup": Recipe(name="writeup"),
}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none, with the nearest name.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}.{near_match(name, RECIPES)}")
    return RECIPES[name]
