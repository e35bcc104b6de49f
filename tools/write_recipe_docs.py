"""Write docs/recipes/fields.md: every recipe field, its constraint, and its values.

python tools/write_recipe_docs.py          writes the page
python tools/write_recipe_docs.py --print  prints it
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from chalknet.config import SECTIONS, describe_field
from chalknet.training.recipes import RECIPES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes" / "fields.md"
HEAD = """# The fields of a recipe

Written by `make docs` from `src/chalknet/config.py` and `training/recipes.py`. A field is set by its flag
(`--learning-rate 3e-3`), by `--set optimizer.learning_rate=3e-3`, in Python by `learning_rate=3e-3`, and in config.toml
in its section. Fields that are left out keep the value of the recipe.
"""


def page() -> str:
    names = list(RECIPES)
    lines = [HEAD, f"| section | field | meaning | {' | '.join(f'`{name}`' for name in names)} |"]
    lines.append("|---" * (3 + len(names)) + "|")
    for section, kind in SECTIONS.items():
        for number, item in enumerate(fields(kind)):
            values = [_shown(getattr(getattr(RECIPES[name], section), item.name)) for name in names]
            meaning = describe_field(item.name)
            first = f"`[{section}]`" if number == 0 else ""
            lines.append(f"| {first} | `{item.name}` | {meaning} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    """Return a value as TOML writes it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page(), end="")
    else:
        PAGE.write_text(page(), encoding="utf-8")
