"""docs/statistics.md states the constants of the rules, and its stored results are complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chalknet.studies import curve_findings, findings, loss_rise, random_effects

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
RESULT = json.loads((ROOT / "benchmarks" / "results" / "coverage.json").read_text(encoding="utf-8"))


def test_the_stored_result_is_a_whole_run():
    assert not RESULT["quick"]
    assert RESULT["trials"] == 1_000
    assert {row["n_seeds"] for row in RESULT["settings"]} == {1, 3, 5, 10, 30}


def test_false_rises_are_reported_for_at_most_5_percent():
    result = json.loads((ROOT / "benchmarks" / "results" / "over_fitting.json").read_text(encoding="utf-8"))
    assert result["trials"] == 1_000
    assert {row["n_seeds"] for row in result["settings"]} == {1, 3, 5, 10}
    assert max(row["said"] for row in result["settings"]) <= 5.0


@pytest.mark.parametrize(
    "module", [random_effects, findings, curve_findings, loss_rise], ids=lambda module: module.__name__
)
def test_every_constant_of_a_rule_is_on_the_page(module):
    names = [name for name in vars(module) if name.isupper() and isinstance(getattr(module, name), (int, float))]
    assert names
    for name in names:
        assert f"`{name}` = {getattr(module, name):g}" in PAGE, name
