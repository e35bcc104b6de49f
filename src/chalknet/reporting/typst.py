"""Render a document as a PDF with Typst.

The text reaches Typst as JSON, which templates/document.typ reads, so that no character of it can
be taken for markup.
"""

from __future__ import annotations

import json
import tempfile
import textwrap
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from chalknet.reporting.document import Document
from chalknet.reporting.document_view import Picture, document_view, draw_pictures, encode_utf8
from chalknet.reporting.formulas import FORMULAS, symbol

# Characters in the fonts that come with Typst: Latin, Greek, Cyrillic, punctuation, arrows,
# mathematical signs.
COVERED = ((0x20, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x2010, 0x2027), (0x2030, 0x205E), (0x2190, 0x22FF))
ALSO_COVERED = "\n\u202f€ℓ−·"
N_LONGEST = 4  # longest cells of a column, from which its width is measured


def document_pdf(document: Document, pictures: Mapping[str, Picture] | None = None) -> bytes:
    """Return a document as a PDF on A4; equal documents give equal bytes with one version of Typst.

    Only the fonts of Typst are used, unless the text has letters that they lack. Those letters come
    from the fonts of the system.

    Args:
        document: what to show.
        pictures: the result of `draw_pictures`; None to draw them now.
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
    """Return symbol -> Typst source, for the symbols that the view uses."""
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
    """Add to each table its heads in short lines and a few rows with the longest cells of each column.

    The template measures the width of these rows, because measuring all rows of a table is slow.
    """
    for section in view["sections"]:
        for block in section["blocks"]:
            if block["type"] == "table":
                columns = [
                    sorted(cells, key=len, reverse=True)[:N_LONGEST] for cells in zip(*block["rows"], strict=True)
                ]
                block["longest"] = [list(row) for row in zip(*columns, strict=True)]
                widths = [max(len(row[at]) for row in block["longest"]) for at in range(len(columns))]
                heads = zip(block["columns"], widths or [0] * len(block["columns"]), strict=True)
                block["stacked"] = [_stacked(head, width) for head, width in heads]


def _stacked(head: str, width: int) -> list[str]:
    """Return the lines of a head that is not wider than its column needs, as far as its words allow."""
    return textwrap.wrap(head, max(width, *map(len, head.split())), break_long_words=False) if head else [""]


def _covered(view: Any) -> bool:
    """Return whether the fonts of Typst have all letters of a view."""
    if isinstance(view, dict):
        return all(_covered(value) for value in view.values())
    if isinstance(view, list):
        return all(_covered(item) for item in view)
    if not isinstance(view, str):
        return True
    return all(c in ALSO_COVERED or any(low <= ord(c) <= high for low, high in COVERED) for c in view)
