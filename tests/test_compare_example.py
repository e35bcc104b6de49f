"""examples/compare_models.py: models of scikit-learn and PyTorch are trained and compared."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import needs

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "compare_models.py"


@pytest.mark.slow
@pytest.mark.extras
def test_two_libraries_are_compared(tmp_path):
    needs("torch")
    needs("sklearn")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "random forest" in done.stdout
    assert "significant" in done.stdout
    assert (tmp_path / "compared" / "comparison.pdf").is_file()
