"""examples/writeup.ipynb: valid, without outputs, and every cell of it runs without a warning."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "writeup.ipynb"
# The second cell of the notebook decides how long it takes.
QUICK = 'WIDTHS, EPOCHS, SEEDS, TRAIN = [5, 9], 3, 2, 600\nFOLDER = "study"\n'


@pytest.fixture(scope="module")
def notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def code_of(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_one_and_holds_no_outputs(notebook):
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"] == [] and cell["execution_count"] is None)
    assert NOTEBOOK.read_text(encoding="utf-8") == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    parameters, *cells = code_of(notebook)
    assert re.match(r"WIDTHS, EPOCHS, SEEDS, TRAIN = .*\nFOLDER = ", parameters)
    names = {}
    for code in [QUICK, *cells]:
        exec(compile(code, NOTEBOOK.name, "exec"), names)
    said = capsys.readouterr().out
    assert said.count(" ok\n") == 4
    assert "WRONG" not in said
    assert "significant" in said or "beats" in said
    assert (tmp_path / "study" / "report" / "report.pdf").is_file()
