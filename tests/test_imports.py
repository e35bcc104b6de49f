"""What is loaded by importing chalknet. pyproject.toml has the import contracts between modules."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import made_images

from chalknet.workflows.study import study
from chalknet.workflows.train import train

# Packages that take long to import or that an extra installs. A module imports them inside the functions that use them.
HEAVY = {
    *("PIL", "jax", "jinja2", "joblib", "markupsafe", "matplotlib", "mlflow", "onnx", "onnxruntime", "optuna"),
    *("fastapi", "httptools", "prometheus_client", "python_multipart", "swagger_ui_bundle", "uvicorn", "uvloop"),
    *("fastexcel", "numba", "orjson", "pandas", "starlette"),
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


# Modules that train, or that compute with an engine. No other module loads an engine when it is imported.
TRAINING = (
    *("chalknet.engines", "chalknet.artifacts.checkpoint"),
    *("chalknet.training.trainer", "chalknet.training.joint_training", "chalknet.training.divergence"),
    *("chalknet.studies.study_training", "chalknet.studies.job_planner"),
    *("chalknet.studies.runner.worker", "chalknet.studies.runner.ray_pool"),
    *("chalknet.workflows.train", "chalknet.workflows.single_run", "chalknet.workflows.ensemble"),
    *("chalknet.workflows.resolve", "chalknet.workflows.sharding", "chalknet.workflows.writeup"),
    *("chalknet.workflows.classifier_training", "chalknet.workflows.gradcheck"),
)
ENGINES = ("chalknet.engines.", "chalknet.training.trainer", "torch")


def test_importing_a_module_that_does_not_train_loads_no_engine():
    names = loaded(
        f"TRAINING = {TRAINING}\n"
        + IMPORT_EVERYTHING.replace(
            "if not", "if module.name not in TRAINING and not module.name.startswith('chalknet.engines') and not"
        )
    )
    assert {"chalknet.reporting.documents", "chalknet.workflows.report", "chalknet.studies.store"} <= names
    assert not [name for name in names if name.startswith(ENGINES)]


READ = """
import chalknet
from pathlib import Path
from chalknet.cli.main import main
from chalknet.serving.watch.sources import FolderSource
from chalknet.serving.watch.training_folder import TrainingFolder
study, run = {folder!r} + "/study", {folder!r} + "/run"
results = chalknet.read_results(study)
results.run(results.configurations[0], 0)
for words in (["study", "show", study], ["stopping", study], ["stopping", run]):
    assert main(words) == 0
for folder in (study, run):
    assert main(["report", folder, "--out", folder + "/report"]) == 0
    assert FolderSource(Path(folder)).page().phase == "finished"
"""


def test_reading_results_and_reporting_them_loads_no_engine(tmp_path):
    options = {"epochs": 1, "train_size": 40, "valid_size": 10}
    study(made_images(60, seed=0), {"hidden": [3]}, out=tmp_path / "study", seeds=1, **options)
    train(made_images(60, seed=0), hidden=[3], out=tmp_path / "run", **options)
    names = loaded(READ.format(folder=str(tmp_path)))
    assert "chalknet.studies.store" in names
    assert not [name for name in names if name.startswith(ENGINES)]
