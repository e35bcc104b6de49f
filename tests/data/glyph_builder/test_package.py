"""The package's page is true: it lists every file, and a file imports only from those before it."""

import ast
import re
from pathlib import Path

from chalknet.data import glyph_builder

FOLDER = Path(glyph_builder.__file__).parent
NAME = "chalknet.data.glyph_builder."


def listed_files():
    """The names in the two columns of the docstring, the left column first."""
    rows = re.findall(r"^(\w+) {2,}\S.*? {2,}(\w+) {2,}\S|^(\w+) {2,}\S", glyph_builder.__doc__, re.MULTILINE)
    return [left or alone for left, _, alone in rows] + [right for _, right, _ in rows if right]


def test_every_file_is_listed_once():
    assert sorted(listed_files()) == sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


def test_files_import_only_from_those_listed_before_them():
    order = listed_files()
    for name in order:
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(NAME):
                assert node.module.removeprefix(NAME) in order[: order.index(name)], f"{name} imports {node.module}"
