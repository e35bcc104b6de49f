"""Run the notebooks in examples/ in a kernel and store their outputs: `make notebooks`; or some, by their names."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SECONDS = 1_800  # for a cell


def executed(path: Path, folder: str) -> dict[str, Any]:
    """Return a notebook with the outputs of its cells, which ran in a folder."""
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book, timeout=SECONDS, kernel_name="python3", record_timing=False, resources={"metadata": {"path": folder}}
    )
    client.execute()
    plain: dict[str, Any] = json.loads(nbformat.writes(book).replace(f"{folder}/", ""))
    for cell in plain["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell["outputs"] = _joined(cell["outputs"])
    plain["metadata"] = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    return plain


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return outputs without metadata, with pieces of printed text that follow each other as one."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        is_text = output["output_type"] == "stream"
        if is_text and found and found[-1].get("name") == output["name"]:
            found[-1]["text"] += output["text"]
        else:
            found.append(output if is_text else output | {"metadata": {}})
    return found


def main(names: list[str]) -> None:
    """Run the named notebooks, or all."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            book = executed(path, folder)
        path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
