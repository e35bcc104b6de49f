"""The documents agree with the code: cited formulas exist, recipe fields are documented, examples run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import chalknet
from chalknet.config import LAYER_NAMES, SECTION_OF_FIELD

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(chalknet.__file__).parent
LABELS = re.findall(r"\\tag\{(\w+)\}", (ROOT / "docs" / "derivation.md").read_text(encoding="utf-8"))


def cited_labels(text):
    """Labels in "(docs/derivation.md, L2)" and in the bare "(L4)" or "(U1, U2)" of the lines around it."""
    citations = re.findall(r"\((?:docs/derivation\.md, )?((?:[A-Z]\d+)(?:(?:, | to )[A-Z]\d+)*)\)", text)
    return {label for citation in citations for label in re.findall(r"[A-Z]\d+", citation)}


def test_labels_are_unique():
    assert len(LABELS) == len(set(LABELS)) > 20


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda f: f.relative_to(SOURCE).as_posix())
def test_every_cited_formula_exists(file):
    assert cited_labels(file.read_text(encoding="utf-8")) <= set(LABELS)


def test_every_function_of_network_cites_its_formula():
    for name in (
        *(name for name in LAYER_NAMES if name != "flatten"),  # it computes nothing
        "softmax",
        "losses",
        "metrics",
        "calibration",
        "initializers",
        "architecture",
        "gradcheck",
        "clipping",
        "objective",
    ):
        text = (SOURCE / "network" / f"{name}.py").read_text(encoding="utf-8")
        assert cited_labels(text), name


def test_every_formula_is_cited_somewhere():
    everything = "".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    ranges = everything.replace("N1 to N4", "N1, N2, N3, N4")
    assert set(LABELS) - cited_labels(ranges) <= {"S4", "L3"}  # steps of a derivation that no code computes


@pytest.mark.parametrize("name", sorted(SECTION_OF_FIELD))
def test_every_recipe_field_is_documented(name):
    assert f"`{name}`" in (ROOT / "docs" / "recipes" / "fields.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_only_targets_for_developers_install_the_tools_of_developers(tmp_path):
    def commands(target):
        line = ["make", "-n", target, f"VENV={tmp_path / 'venv'}"]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    for target in ("run", "quick", "part2", "page"):
        assert "pip install" in commands(target)
        assert "[dev]" not in commands(target)
    assert "[dev]" in commands("test")


def test_the_changelog_knows_this_version():
    assert f"## {chalknet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'version = "{chalknet.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"version: {chalknet.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.slow
def test_training_by_hand_runs_and_learns(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_by_hand.py"), "--quick"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,  # it writes a picture
    )
    accuracies = [float(found) for found in re.findall(r"test accuracy (\d\.\d+)", done.stdout)]
    assert accuracies[-1] > accuracies[0]


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    "page", ["README.md", "docs/guide/compare.md", "docs/guide/exercises.md", "docs/guide/python.md"]
)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(ROOT / page)
    assert blocks
    # The pages train as a reader would; here two epochs of a small network show that every line runs.
    code = "\n".join(blocks).replace("hidden=[1000]", "hidden=[20]").replace("epochs=200", "epochs=2")
    code = code.replace('load_data("notMNIST.npz")', 'load_data("glyphs")')
    exec(compile(code, page, "exec"), {"__name__": "page"})
