"""A document as a PDF, set by Typst.

Its text reaches Typst as data (templates/document.typ reads it), so that no character of it can be taken for markup.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from chalknet.reporting.document import Document
from chalknet.reporting.document_view import Picture, document_view, draw_pictures, encode_utf8
from chalknet.reporting.formulas import FORMULAS, symbol

# What the fonts hold that come with Typst: Latin, Greek, Cyrillic, punctuation, arrows, mathematical signs.
COVERED = ((0x20, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x2010, 0x2027), (0x2030, 0x205E), (0x2190, 0x22FF))
COVERED_TOO = "\n\u202f€ℓ−·"
N_LONGEST = 4  # cells of a column that stand for all when a table's width is measured


def document_pdf(document: Document, pictures: Mapping[str, Picture] | None = None) -> bytes:
    """The PDF, on A4; equal documents give equal bytes with one version of Typst.

    Only Typst's own fonts are used, unless a text has letters that they lack: those are taken from the system's.

    Args:
        pictures: what `draw_pictures` gave, where it is at hand already.
    """
    pictures = draw_pictures(document) if pictures is None else pictures
    view: dict[str, Any] = dict(document_view(document, pictures))
    _add_longest(view)
    view["formulas"] = {label: {"typst": FORMULAS[label].typst, "latex": FORMULAS[label].latex} for label in FORMULAS}
    view["symbols"] = _symbols(view)
    with tempfile.TemporaryDirectory(prefix="chalknet-") as folder:
        root = Path(folder)
        (root / "document.typ").write_bytes(_template())
        (root / "document.json").write_bytes(encode_utf8(json.dumps(view, ensure_ascii=False)))
        for name, picture in pictures.items():
            (root / f"{name}.{picture.kind}").write_bytes(picture.light)
        return _compile(root / "document.typ", system_fonts=not _covered(view))


def _compile(source: Path, *, system_fonts: bool) -> bytes:
    import typst

    compiler = typst.Compiler(source, root=source.parent, ignore_system_fonts=not system_fonts)
    pdf = compiler.compile(format="pdf", timestamp=0)
    assert isinstance(pdf, bytes)
    return pdf


def _template() -> bytes:
    return resources.files("chalknet.reporting").joinpath("templates", "document.typ").read_bytes()


def _symbols(view: Any) -> dict[str, str]:
    """Symbol -> Typst, for those that are used."""
    if isinstance(view, list):
        return {name: source for item in view for name, source in _symbols(item).items()}
    if not isinstance(view, dict):
        return {}
    if view.get("kind") == "symbol":
        known = symbol(view["text"])
        assert known is not None, "`parse_markup` lets only symbols through"
        return {view["text"]: known.typst}
    return _symbols(list(view.values()))


def _add_longest(view: dict[str, Any]) -> None:
    """To each table a few rows of each column's longest cells, from which its width is taken; all rows are slow."""
    for section in view["sections"]:
        for block in section["blocks"]:
            if block["type"] == "table":
                columns = [
                    sorted(cells, key=len, reverse=True)[:N_LONGEST] for cells in zip(*block["rows"], strict=True)
                ]
                block["longest"] = [list(row) for row in zip(*columns, strict=True)]


def _covered(view: Any) -> bool:
    if isinstance(view, dict):
        return all(_covered(value) for value in view.values())
    if isinstance(view, list):
        return all(_covered(item) for item in view)
    if not isinstance(view, str):
        return True
    return all(c in COVERED_TOO or any(low <= ord(c) <= high for low, high in COVERED) for c in view)
