"""Tests that take minutes: a training and the wheel as users install it. `make test-slow`."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import check_wheel  # tools/ is on the path
import pytest

import chalknet

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def test_a_network_trained_on_the_built_in_glyphs_reads_real_letters(real_letters_file):
    run = chalknet.train("glyphs", recipe="writeup", hidden=[1000], epochs=200, seed=0)
    real = chalknet.load_data(real_letters_file)
    accuracy = chalknet.accuracy(run.network.predict(real.inputs), real.labels)
    print(f"accuracy on {len(real)} real letters: {accuracy:.4f}")
    assert accuracy >= 0.90


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that `pip install .` would install, built with the build backend at hand and no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
    ]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("chalknet-*.whl"))


def test_the_wheel_contains_data_licenses_and_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"chalknet/data/builtin/glyphs.npz", "chalknet/data/builtin/manifest.csv.gz", "chalknet/py.typed"} <= names
    assert any(name.startswith("chalknet/data/builtin/licenses/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.lower().endswith((".ttf", ".otf", ".pfb", ".woff", ".woff2"))]


def test_the_wheel_works_outside_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path / "nowhere")}
    command = ["train", "--recipe", "writeup", "--hidden", "5", "--epochs", "1", "--out", "run", "--quiet"]
    subprocess.run([sys.executable, "-m", "chalknet", *command], check=True, cwd=tmp_path, env=environment)
    where = subprocess.run(
        [sys.executable, "-c", "import chalknet; print(chalknet.__file__)"],
        check=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(tmp_path))
    assert (tmp_path / "run" / "curves.png").exists()


def test_the_distributions_work_in_bare_environments(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["make", ".venv-release/.installed"], cwd=ROOT, check=True, env=environment)
    command = [ROOT / ".venv-release" / "bin" / "python", ROOT / "tools" / "check_wheel.py", "--dist", tmp_path]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works on Python" in done.stdout
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"completions/chalknet.bash", "docs/derivation.md", "mkdocs.yml"} <= names
    with pytest.raises(SystemExit, match="placeholder"):
        check_wheel.refuse_placeholder(next(tmp_path.glob("*.whl")))
