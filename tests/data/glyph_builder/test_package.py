"""The docstring of the package lists every module, and modules import only from those above them."""

import ast
import re
from pathlib import Path

from chalknet.data import glyph_builder

FOLDER = Path(glyph_builder.__file__).parent
NAME = "chalknet.data.glyph_builder."


def listed_modules():
    """Return the modules that the docstring lists, in its order."""
    return re.findall(r"^(\w+) {2,}\S", glyph_builder.__doc__, re.MULTILINE)


def test_every_module_is_listed_once():
    assert sorted(listed_modules()) == sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


def test_modules_import_only_from_those_above_them():
    order = listed_modules()
    for name in order:
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(NAME):
                assert node.module.removeprefix(NAME) in order[: order.index(name)], f"{name} imports {node.module}"
