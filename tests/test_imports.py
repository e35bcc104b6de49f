"""What is loaded by importing chalknet. pyproject.toml has the import contracts between modules."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import made_images

from chalknet.workflows.study import study

# Packages that take long to import or that an extra installs. A module imports them inside the functions that use them.
HEAVY = {
    *("PIL", "jax", "jinja2", "joblib", "markupsafe", "matplotlib", "mlflow", "onnx", "onnxruntime", "optuna"),
    *("fastapi", "httptools", "prometheus_client", "python_multipart", "swagger_ui_bundle", "uvicorn", "uvloop"),
    *("numba", "orjson", "starlette"),
    *("ray", "rich", "safetensors", "scipy.stats", "sklearn", "tensorboardX", "threadpoolctl", "torch", "typst"),
}
# These modules need their extra when they are loaded: the scikit-learn estimator, the torch engine, the loops that
# Numba compiles, the HTTP protocol of uvicorn. Contracts say who loads them.
APART = (
    "chalknet.__main__",
    "chalknet.workflows.classifier",
    "chalknet.engines.torch_",
    "chalknet.engines.compiled_loops",
    "chalknet.serving.server.protocol",
)
IMPORT_EVERYTHING = f"""
import pkgutil, sys
from importlib import import_module
import chalknet
for module in pkgutil.walk_packages(chalknet.__path__, "chalknet."):
    if not module.name.startswith({APART}):
        import_module(module.name)
"""


def loaded(code: str) -> set[str]:
    """The names in `sys.modules` after a fresh interpreter has run the code."""
    code += "\nimport sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_importing_chalknet_loads_nothing_heavy():
    assert not loaded("import chalknet") & {*HEAVY, "numpy", "click"}


@pytest.mark.parametrize(
    "code",
    [
        "import chalknet.cli.main",
        "from chalknet.cli.main import main; main(['--help'])",
        "from chalknet.cli.main import main; main(['predict', '--help'])",
        "from chalknet.cli.main import main\n"
        "for words in ([], ['info'], ['show'], ['audit'], ['convert']): main(['data', *words, '--help'])",
    ],
    ids=["import", "help", "help of predict", "help of data"],
)
def test_the_command_line_starts_without_numpy_or_a_command(code):
    assert not loaded(code) & {*HEAVY, "numpy", "chalknet.cli.train"}


def test_importing_any_module_loads_nothing_heavy():
    names = loaded(IMPORT_EVERYTHING)
    assert {"numpy", "chalknet.training.trainer", "chalknet.cli.train"} <= names
    assert not names & HEAVY


def test_commands_and_machine_facts_load_without_numpy():
    # The modules named `_text` print results, which exist only once NumPy is loaded.
    early = "module.name.startswith(('chalknet.cli', 'chalknet.machine')) and not module.name.endswith('_text')"
    names = loaded("import chalknet.config" + IMPORT_EVERYTHING.replace("if not", f"if {early} and not"))
    assert {"chalknet.cli.train", "chalknet.machine.kernels"} <= names
    assert "numpy" not in names


SHOW = """
import chalknet
from chalknet.cli.main import main
results = chalknet.read_results({folder!r})
results.run(results.configurations[0], 0)
assert main(["study", "show", {folder!r}]) == 0
assert main(["report", {folder!r}, "--out", {folder!r} + "/report"]) == 0
from pathlib import Path
from chalknet.serving.watch.sources import FolderSource
assert FolderSource(Path({folder!r})).page().phase == "finished"
import chalknet.serving.watch.training_folder
"""


def test_reading_a_study_or_reporting_it_loads_no_trainer_or_engine(tmp_path):
    study(made_images(60, seed=0), {"hidden": [3]}, out=tmp_path, seeds=1, epochs=1, train_size=40, valid_size=10)
    names = loaded(SHOW.format(folder=str(tmp_path)))
    assert "chalknet.studies.store" in names
    assert not [name for name in names if name.startswith(("chalknet.training.trainer", "chalknet.engines", "torch"))]
