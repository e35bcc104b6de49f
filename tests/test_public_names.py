import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import chalknet

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_three_indices_agree_and_are_sorted():
    typed = {
        alias.name
        for node in ast.walk(ast.parse(inspect.getsource(chalknet)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chalknet.")
        for alias in node.names
    } - {"__version__"}
    assert list(chalknet.__all__) == sorted(chalknet.__all__)
    assert {*chalknet.__all__, *chalknet._NEEDS_AN_EXTRA} == set(chalknet._MODULE_OF_NAME) == typed
    assert set(dir(chalknet)) == {*typed, "__version__"}


@pytest.mark.parametrize("name", sorted(chalknet._MODULE_OF_NAME))
def test_every_public_name_exists_with_a_docstring(name):
    value = getattr(chalknet, name)
    assert value.__module__ == f"chalknet.{chalknet._MODULE_OF_NAME[name]}"
    assert inspect.getdoc(value)


def test_no_public_name_is_also_a_module():
    # Importing a module sets its name on the package, which would hide a public name.
    source = Path(chalknet.__file__).parent
    rooms = {path.stem for path in source.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not rooms & set(chalknet.__all__)


@pytest.mark.parametrize("name", sorted(chalknet._MODULE_OF_NAME))
def test_every_public_name_is_documented(name):
    assert f"`{name}" in (DOCS / "guide" / "python.md").read_text(encoding="utf-8")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        chalknet.trian  # noqa: B018


def test_an_invalid_command_is_refused_before_numpy_loads():
    code = (
        "import sys; from chalknet.cli.main import main; code = main(['train', '--hidden', '0']); "
        "sys.exit('numpy was loaded' if 'numpy' in sys.modules else code)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("CHALKNET_BLAS", "OPENBLAS_CORETYPE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2, done.stderr
