"""A document as a PDF, set by Typst.

Its text reaches Typst as data (templates/document.typ reads it), so that no character of it can be taken for markup.
"""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chalknet.reporting.document import Document
from chalknet.reporting.formulas import FORMULAS, SYMBOLS, symbol
from chalknet.reporting.views import Picture, document_view, draw_all, encoded

# What the fonts hold that come with Typst: Latin, Greek, Cyrillic, punctuation, arrows, mathematical signs.
COVERED = ((0x20, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x2010, 0x2027), (0x2030, 0x205E), (0x2190, 0x22FF))
COVERED_TOO = "\n\u202f€ℓ−·"
N_LONGEST = 4  # cells of a column that stand for all when a table's width is measured


def document_pdf(document: Document, pictures: Mapping[str, Picture] | None = None) -> bytes:
    """The PDF, on A4; equal documents give equal bytes with one version of Typst.

    Only Typst's own fonts are used, unless a text has letters that they lack: those are taken from the system's.

    Args:
        pictures: what `draw_all` gave, where it is at hand already.
    """
    pictures = draw_all(document) if pictures is None else pictures
    view = document_view(document, pictures)
    _add_longest(view)
    view["formulas"] = {label: {"typst": FORMULAS[label].typst, "latex": FORMULAS[label].latex} for label in FORMULAS}
    view["symbols"] = _symbols(view)
    with tempfile.TemporaryDirectory(prefix="chalknet-") as folder:
        root = Path(folder)
        (root / "document.typ").write_bytes(_template())
        (root / "document.json").write_bytes(encoded(json.dumps(view, ensure_ascii=False)))
        for name, picture in pictures.items():
            (root / f"{name}.{picture.kind}").write_bytes(picture.light)
        return _compile(root / "document.typ", system_fonts=not _covered(view))


def formulas_as_mathml() -> dict[str, Any]:
    """The formulas and symbols as MathML, as templates/mathml.json holds them.

    `python -m chalknet.reporting.typst` writes that file anew. It is stored, and not made for each page, as Typst calls
    its HTML unfinished: a page does not depend on what the next version makes of it.

    Typst writes it from the same text that it sets in the PDF. Letters are made plain (MathML slants a single one by
    itself, in whatever font there is), and brackets about one line are kept from growing.
    """
    import typst

    formulas = {**FORMULAS, **SYMBOLS}
    source = "\n".join(f"#math.equation(block: true, $ {formula.typst} $)" for formula in formulas.values())
    compiler = typst.Compiler(source.encode(), ignore_system_fonts=True)
    page, _ = compiler.compile_with_warnings(format="html")  # warns that its HTML is incomplete; its formulas are not
    assert isinstance(page, bytes)
    found = re.findall(r"<math display=\"block\">(.*?)</math>", page.decode(), re.DOTALL)
    pairs = zip(formulas, found, strict=True)
    return {"typst": version("typst"), "formulas": {name: _plain_mathml(inner) for name, inner in pairs}}


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
        assert known is not None, "`inline` lets only symbols through"
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


def _plain_mathml(inner: str) -> str:
    root = ET.fromstring(f"<math>{inner}</math>")
    for element in root.iter():
        if element.tag == "mi" and element.text and len(element.text) == 1 and not _calligraphic(element.text):
            element.text = unicodedata.normalize("NFKC", element.text)
    for element in root.iter("mrow"):
        for bracket in element.findall("mo"):
            if bracket.text in ("(", ")", "{", "}", "|") and element.find(".//mfrac") is None:
                bracket.set("stretchy", "false")
    # In a fraction or an exponent every row is its own; the outermost needs none.
    return "".join(ET.tostring(child, encoding="unicode", short_empty_elements=False) for child in root)


def _calligraphic(letter: str) -> bool:
    return "SCRIPT" in unicodedata.name(letter, "")


if __name__ == "__main__":
    place = Path(__file__).parent / "templates" / "mathml.json"
    place.write_text(json.dumps(formulas_as_mathml(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
