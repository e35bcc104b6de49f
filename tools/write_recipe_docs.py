"""Write docs/recipes/fields.md: every recipe field, its constraint and its values, and all layers.

python tools/write_recipe_docs.py          writes the page
python tools/write_recipe_docs.py --print  prints it
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from chalknet.config import SECTIONS, Recipe, describe_field
from chalknet.formatting import DASH
from chalknet.named_networks import NETWORKS
from chalknet.network.layer_types import LAYER_TYPES
from chalknet.training.recipes import RECIPES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes" / "fields.md"
HEAD = """# The fields of a recipe

Written by `make docs` from `src/chalknet/config.py` and `training/recipes.py`. A field is set by its flag
(`--learning-rate 3e-3`), by `--set optimizer.learning_rate=3e-3`, in Python by `learning_rate=3e-3`, and in config.toml
in its section. Fields that are left out keep the value of the recipe. A dash stands where a field has no effect in a
recipe.
"""
LAYERS_HEAD = """
## Layers

The entries of `layers`. In config.toml and in Python an entry is a name, or a table with the type and the settings
that differ from their defaults. On the command line it is TYPE, or TYPE:VALUE:VALUE with settings in the order of the
table below, or by name: `conv2d:32`, `conv2d:32:5:stride=2`, `conv2d:16:kernel_size=3x5`, `dense:784:bias=false`. For
example, these layers suit rows of numbers whose first 12 columns are not categories:

```toml
layers = [
  {type = "periodic_embedding", columns = 12, learning_rate_multiplier = 0.1},
  {type = "scale", learning_rate_multiplier = 6},
  {type = "dense", units = 256, parametrization = "ntk", bias_learning_rate_multiplier = 0.1},
  {type = "parametric_activation", activation = "selu", learning_rate_multiplier = 0.1},
  {type = "dropout", rate = 0.15},
  {type = "dense", parametrization = "ntk", bias_learning_rate_multiplier = 0.1},
]
```

| layer | setting | meaning | default |
|---|---|---|---|"""
NETWORKS_HEAD = """
## Networks

What the names of `network` stand for. The layers of `--network lenet` are those of `--layers` below, before the output
layer. `dropout` adds a layer of its rate after the activation of each hidden dense layer, or before the output layer
if there is no hidden dense layer.
"""


def page() -> str:
    names = list(RECIPES)
    lines = [HEAD, f"| section | field | meaning | {' | '.join(f'`{name}`' for name in names)} |"]
    lines.append("|---" * (3 + len(names)) + "|")
    for section, kind in SECTIONS.items():
        for number, item in enumerate(fields(kind)):
            values = [_value(RECIPES[name], section, item.name) for name in names]
            meaning = describe_field(item.name)
            first = f"`[{section}]`" if number == 0 else ""
            lines.append(f"| {first} | `{item.name}` | {meaning} | {' | '.join(values)} |")
    return "\n".join([*lines, LAYERS_HEAD, *_layer_rows(), NETWORKS_HEAD, *_network_lines()]) + "\n"


def _network_lines() -> list[str]:
    """Return a paragraph for each named network: what it is, its layers as --layers has them, its source."""
    return [
        f"- `{name}`: {network.words}. Source: {network.source}.\n  `{','.join(map(_layer_text, network.layers))}`"
        for name, network in NETWORKS.items()
    ]


def _layer_text(entry: Mapping[str, Any]) -> str:
    """Return an entry of layers as the command line has it."""
    name, *settings = entry
    first = [str(entry[key]) for key in settings[:1]]
    return ":".join([entry[name], *first, *(f"{key}={str(entry[key]).lower()}" for key in settings[1:])])


def _layer_rows() -> list[str]:
    """Return the rows of the table of layers: those with settings, then the names of the others."""
    rows = []
    for name, layer in LAYER_TYPES.items():
        for number, item in enumerate(fields(layer)):
            meaning = f"{item.metadata['meaning']}. Value: {item.metadata['constraint'].must}"
            default = "" if item.default is MISSING else json.dumps(item.default)
            summary = f"`{name}`: {inspect.getdoc(layer).splitlines()[0]}" if number == 0 else ""
            rows.append(f"| {summary} | `{item.name}` | {meaning} | {default} |")
    plain = [f"`{name}`" for name, layer in LAYER_TYPES.items() if not fields(layer)]
    return [*rows, "", f"Layers without settings: {', '.join(plain)}."]


def _value(recipe: Recipe, section: str, name: str) -> str:
    """Return the value of a field in a recipe, or a dash where another field of the recipe takes away its effect."""
    if name == "restore_best" and not recipe.stopping.stop_early:
        return DASH
    return _shown(getattr(getattr(recipe, section), name))


def _shown(value: Any) -> str:
    """Return a value as TOML writes it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page(), end="")
    else:
        PAGE.write_text(page(), encoding="utf-8")
