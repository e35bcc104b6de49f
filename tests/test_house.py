"""The house's order, read from the syntax trees: imports run one way, and heavy packages stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chalknet

SOURCE = Path(chalknet.__file__).parent
ROOMS = (
    ("errors",),
    ("machine", "records", "config"),
    ("data",),
    ("network",),
    ("engines",),
    ("training",),
    ("artifacts",),
    ("studies",),
    ("reporting",),
    ("serving",),
    ("bench",),
    ("workflows",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
# package -> the only places that may import it
KEPT_IN = {
    # machine/torch_facts.py is the doctor's child process, which asks torch for its devices and ends
    "torch": ("engines/torch_", "bench/peers/", "machine/torch_facts.py"),
    "sklearn": ("bench/peers/", "workflows/classifier.py"),
    "joblib": ("workflows/classifier.py",),
    "jax": ("bench/peers/",),
    "onnx": ("bench/peers/", "artifacts/export_onnx.py"),
    "onnxruntime": ("bench/peers/",),
    "optuna": ("studies/search.py",),
    "ray": ("machine/ray_cluster.py",),  # others are handed the module
    "matplotlib": ("reporting/drawings/",),
    "jinja2": ("reporting/html.py",),
    "markupsafe": ("reporting/html.py",),
    "typst": ("reporting/typst.py",),
    "tensorboard": ("artifacts/tensorboard_writer.py",),
    "mlflow": ("artifacts/mlflow_writer.py",),
    "click": ("cli/",),
    "rich": ("cli/",),
    "safetensors": ("artifacts/tensor_file.py",),
}
# Files that are imported when they are first used, by one file alone, and what they may import at once.
LATE = {
    "workflows/classifier.py": ("sklearn", "joblib"),
    "engines/torch_engine.py": ("torch",),
    "engines/torch_pack.py": ("torch",),
    "engines/torch_pack_tile.py": ("torch",),
    "engines/torch_device.py": ("torch",),
    "engines/torch_samples.py": ("torch",),
    "engines/torch_tile.py": ("torch",),
}
LOADED_BY = {
    "workflows/classifier.py": ("__init__.py",),
    "engines/torch_engine.py": ("training/trainer.py", "bench/peers/own_torch.py", "engines/torch_pack.py"),
    "engines/torch_pack.py": ("training/together.py",),
    "engines/torch_pack_tile.py": ("engines/torch_",),
    "engines/torch_device.py": ("engines/torch_", "training/trainer.py"),
    "engines/torch_samples.py": ("engines/torch_",),
    "engines/torch_tile.py": ("engines/torch_",),
}
# What may not be imported when a module is, since `chalknet --help` and `import chalknet` would wait for it.
HEAVY = (
    "jinja2",
    "markupsafe",
    "typst",
    "matplotlib",
    "PIL",
    "rich",
    "safetensors",
    "torch",
    "sklearn",
    "joblib",
    "jax",
    "onnx",
    "onnxruntime",
    "optuna",
    "ray",
    "threadpoolctl",
)


def broken_rules(path: str, text: str) -> list[str]:
    """ "path:line what is wrong" for each import of a file that breaks the house's order."""
    tree = ast.parse(text)
    top_level = {id(node) for node in ast.walk(tree) if isinstance(node, ast.Module) for node in run_at_import(node)}
    found = []
    for node in ast.walk(tree):
        for module in imported_modules(node):
            found += [f"{path}:{node.lineno} {fault}" for fault in faults(path, module, id(node) in top_level)]
    return found


def run_at_import(module: ast.Module) -> list[ast.stmt]:
    """Statements that run when the module is imported: not in functions, and not under `if TYPE_CHECKING`."""
    todo: list[ast.stmt] = list(module.body)
    found = []
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found.append(node)
        todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide the room they come from"
        return [node.module or ""] if node.module != "chalknet" else [f"chalknet.{alias.name}" for alias in node.names]
    return []


def faults(path: str, module: str, at_import: bool) -> list[str]:
    package, _, rest = module.partition(".")
    if package == "chalknet":
        return order_faults(path, rest.partition(".")[0]) + late_faults(path, module, at_import)
    found = []
    if package in KEPT_IN and not path.startswith(KEPT_IN[package]):
        found.append(f"imports {package}, which only {', '.join(KEPT_IN[package])} may")
    if package in HEAVY and at_import and package not in LATE.get(path, ()):
        found.append(f"imports {package} when it is itself imported; import it where it is used")
    if (
        package == "numpy"
        and at_import
        and (path.startswith(("cli/", "machine/")) or path in ("__init__.py", "config.py"))
    ):
        found.append("imports numpy at import, which chalknet --help would wait for")
    return found


def late_faults(path: str, module: str, at_import: bool) -> list[str]:
    late = {f"chalknet.{file.removesuffix('.py').replace('/', '.')}": file for file in LATE}
    if module not in late:
        return []
    allowed = LOADED_BY[late[module]]
    if not path.startswith(allowed):
        return [f"imports {module}, which only {', '.join(allowed)} may load"]
    if at_import and path not in LATE:
        return [f"imports {module} when it is itself imported; import it where it is used"]
    return []


def order_faults(path: str, room: str) -> list[str]:
    own = path.partition("/")[0].removesuffix(".py")
    if own not in LEVEL or room not in LEVEL:  # the package's own __init__ and __main__ stand outside
        return []
    if LEVEL[room] > LEVEL[own] or (LEVEL[room] == LEVEL[own] and room != own):
        return [f"imports chalknet.{room}, which stands above or beside {own}"]
    return []


def test_every_file_keeps_the_order_of_the_house():
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        path = file.relative_to(SOURCE).as_posix()
        found += broken_rules(path, file.read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


def test_every_room_is_in_the_order():
    rooms = {file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in SOURCE.rglob("*.py")}
    assert rooms - {"__init__", "__main__"} <= set(LEVEL)


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        (
            "network/dense.py",
            "\nfrom chalknet.training.trainer import Trainer",
            "network/dense.py:2 imports chalknet.training",
        ),
        ("data/load.py", "def f():\n    import chalknet.network.model", "data/load.py:2 imports chalknet.network"),
        ("records.py", "import chalknet.config", "records.py:1 imports chalknet.config, which stands above or beside"),
        (
            "training/trainer.py",
            "def f():\n    import torch",
            "training/trainer.py:2 imports torch, which only engines/torch_",
        ),
        (
            "reporting/tables.py",
            "def f():\n    import matplotlib.pyplot",
            "imports matplotlib, which only reporting/drawings/",
        ),
        ("reporting/drawings/curves.py", "import matplotlib", "import it where it is used"),
        ("cli/train.py", "import numpy as np", "imports numpy at import"),
        (
            "workflows/train.py",
            "def f():\n    import sklearn",
            "imports sklearn, which only bench/peers/, workflows/cl",
        ),
        ("bench/peers/scikit.py", "import sklearn", "import it where it is used"),
        (
            "cli/train.py",
            "def f():\n    from chalknet.workflows.classifier import ChalkClassifier",
            "imports chalknet.workflows.classifier, which only __init__.py may load",
        ),
        (
            "training/trainer.py",
            "from chalknet.engines.torch_engine import TorchEngine",
            "imports chalknet.engines.torch_engine when it is itself imported",
        ),
    ],
)
def test_a_broken_rule_is_named_with_its_line(path, text, fault):
    assert any(fault in line for line in broken_rules(path, text))


def test_an_import_for_type_checkers_alone_costs_nothing():
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from matplotlib.axes import Axes"
    assert broken_rules("reporting/drawings/curves.py", text) == []
