"""The notebooks in examples/: valid, with stored outputs and pictures, and every cell runs without a warning."""

import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# The first code cell of each notebook decides how long it takes. These take its place.
QUICK = {
    "own_images": 'FOLDER, IMAGE_SIZE, EPOCHS = "photos", (28, 28), 2\nRUN = "runs/photos"\n',
    "part2": "EPOCHS, SEEDS, TRAIN = 1, 2, 300\n",
    "study": 'WIDTHS, DROPOUT, SEEDS, EPOCHS, TRAIN = [5, 9], [0.0, 0.3], 2, 2, 400\nFOLDER = "study"\n',
    "table": 'ROWS, BUDGET = 300, "fast"\n',
    "teaching": 'FOLDER, EPOCHS, TRAIN = "exercises", 3, 400\n',
    "writeup": 'WIDTHS, EPOCHS, SEEDS, TRAIN = [5, 9], 3, 2, 600\nFOLDER = "study"\n',
}
# What the output has to say, where a cell could go wrong without an error.
SAID = {"writeup": " ok\n", "teaching": "slope 1 where h = 0", "table": "categories that training did not have"}
MAX_BYTES = 700_000


def read(name):
    return json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))


def outputs(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", ())]


def test_each_notebook_has_quick_settings():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(QUICK)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_notebook_is_valid_and_small(name):
    notebook, path = read(name), EXAMPLES / f"{name}.ipynb"
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert path.read_text(encoding="utf-8") == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_notebook_holds_the_outputs_of_a_run_with_pictures(name):
    notebook = read(name)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [kind for output in outputs(notebook) for kind in output.get("data", {})]
    assert "image/png" in kinds or "<svg" in json.dumps(outputs(notebook))
    assert "text/html" in kinds
    assert not [output for output in outputs(notebook) if output["output_type"] == "error"]
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    assert "/tmp/" not in json.dumps(outputs(notebook))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(QUICK))
def test_every_cell_of_a_notebook_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, *cells = ["".join(cell["source"]) for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    names = {}
    for code in [QUICK[name], *cells]:
        exec(compile(code, f"{name}.ipynb", "exec"), names)
    said = capsys.readouterr().out
    assert SAID.get(name, "") in said
    assert "WRONG" not in said
