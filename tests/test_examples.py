"""Every example runs in its quick form, in an empty folder, and writes its picture."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# test_compare_example.py runs the example that needs PyTorch.
WITHOUT_TORCH = [script for script in EXAMPLES if "import torch" not in script.read_text(encoding="utf-8")]


def test_every_example_says_what_it_shows_and_has_a_picture():
    assert len(EXAMPLES) >= 12
    for script in EXAMPLES:
        first = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).splitlines()[0]
        assert first.endswith(f": `python examples/{script.name}`.")
        assert (ROOT / "docs" / "pictures" / "examples" / f"{script.stem}.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("script", WITHOUT_TORCH, ids=lambda script: script.stem)
def test_an_example_runs_and_writes_its_picture(script, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "error", str(script), "--quick"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{script.stem}.png").stat().st_size > 1000
