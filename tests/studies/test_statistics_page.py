"""docs/statistics.md and benchmarks/results/coverage.json agree, and the page states the constants of the rules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chalknet.studies import curve_findings, findings, random_effects

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
RESULT = json.loads((ROOT / "benchmarks" / "results" / "coverage.json").read_text(encoding="utf-8"))


def test_the_tables_are_written_from_the_stored_result():
    command = [sys.executable, str(ROOT / "benchmarks" / "coverage.py"), "--print"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert page == PAGE, "run `python benchmarks/coverage.py --docs`"


def test_the_stored_result_is_a_whole_run():
    assert not RESULT["quick"]
    assert RESULT["trials"] == 1_000
    assert {row["n_seeds"] for row in RESULT["settings"]} == {1, 3, 5, 10, 30}


@pytest.mark.parametrize("module", [random_effects, findings, curve_findings], ids=lambda module: module.__name__)
def test_every_constant_of_a_rule_is_on_the_page(module):
    names = [name for name in vars(module) if name.isupper() and isinstance(getattr(module, name), (int, float))]
    assert names
    for name in names:
        assert f"`{name}` = {getattr(module, name):g}" in PAGE, name
