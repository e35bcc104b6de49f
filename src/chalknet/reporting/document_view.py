"""A document as its templates see it: dictionaries of text, with references resolved and pictures named.

The HTML and the PDF are made from one view, so that they say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from chalknet.formatting import DASH
from chalknet.reporting.document import (
    Block,
    Code,
    Document,
    FigureBlock,
    Findings,
    FormulaBlock,
    ImageBlock,
    Note,
    Paragraph,
    Section,
    TableBlock,
    picture_kind,
)
from chalknet.reporting.figures import Figure, Matrix, Panel
from chalknet.reporting.markup import Span, parse_markup
from chalknet.reporting.tables import Table

PAGE_WIDTH, PAGE_HEIGHT = 6.5, 8.4  # inches that a picture may fill on A4 between the margins, with its caption
ONE_PANEL_WIDTH = 4.7
PIXELS_PER_INCH = 150  # of bitmaps
LONG_CELL = 30  # characters from which on the cells of a column are broken into lines
NUMERIC = re.compile(r"[-+−±<>≤≥≈~]?\s?[0-9.]")


@dataclass(frozen=True)
class Picture:
    """A picture for white paper and one for a dark page, if there is one."""

    light: bytes
    dark: bytes | None

    @property
    def kind(self) -> str:
        """ "png" or "svg"."""
        return picture_kind(self.light)


def draw_pictures(document: Document) -> dict[str, Picture]:
    """The pictures of a document by name."""
    from chalknet.reporting.drawings.picture import default_settings

    pictures = {}
    for block in document.blocks():
        if isinstance(block, ImageBlock):
            pictures[block.name] = Picture(block.light, block.dark)
        elif isinstance(block, FigureBlock):
            width = figure_width(block.figure)
            with default_settings():
                pictures[block.name] = _draw_for_both_pages(block.figure, width)
    return pictures


def _draw_for_both_pages(figure: Figure, width: float) -> Picture:
    """Return a figure in both themes, drawn once if only lines and letters differ: drawing takes a second."""
    from chalknet.reporting.drawings.curves import draw
    from chalknet.reporting.drawings.picture import drawing_bytes
    from chalknet.reporting.drawings.theme import DARK, LIGHT, TEMPLATE, paint

    if all(isinstance(panel, Panel) for panel in figure.panels):
        svg = drawing_bytes(draw(figure, TEMPLATE, width), "svg")
        return Picture(paint(svg, LIGHT), paint(svg, DARK))
    return Picture(*(drawing_bytes(draw(figure, theme, width), "svg") for theme in (LIGHT, DARK)))


def figure_width(figure: Figure) -> float:
    """Inches: the whole width of the page, or less where one panel stands alone."""
    if len(figure.panels) > 1:
        return PAGE_WIDTH
    panel = figure.panels[0]
    if isinstance(panel, Matrix):
        return min(max(1.2 + 0.34 * len(panel.column_names), 3.0), PAGE_WIDTH)
    return PAGE_WIDTH if len(panel.x_names) > 12 else ONE_PANEL_WIDTH


def document_view(document: Document, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    """The whole document in plain dictionaries, lists, text and numbers."""
    reading = _Reading(document, pictures)
    return {
        "title": clean(document.title),
        "subtitle": clean(document.subtitle),
        "banner": clean(document.banner),
        "language": clean(document.language),
        "notes": [reading.block(note) for note in document.notes],
        "sections": [reading.section(section) for section in document.sections],
    }


def clean(text: str) -> str:
    """text without what no file of text may hold: control characters, halves of surrogate pairs, noncharacters."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]", "�", text)


def picture_size(picture: bytes) -> tuple[float, float]:
    """Width and height in inches at which a picture is meant to be shown; the page's width where it does not say."""
    if picture_kind(picture) == "png":
        across, down = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        return across / PIXELS_PER_INCH, down / PIXELS_PER_INCH
    head = re.search(rb"<svg[^>]*>", picture)
    sizes = [
        re.search(rb"\s" + name + rb'="([\d.]+)(pt|px|)"', head[0] if head else b"") for name in (b"width", b"height")
    ]
    if None in sizes:
        return PAGE_WIDTH, PAGE_WIDTH / 2
    width, height = (float(size[1]) / (72 if size[2] == b"pt" else 96) for size in sizes if size)
    return width, height


class _Reading:
    """The document that is being read, and what its references may lead to."""

    def __init__(self, document: Document, pictures: Mapping[str, Picture]):
        self.pictures = pictures
        self.numbers = document.numbers()
        self.formulas = document.formulas()
        self.section_numbers = tuple(section.number for section in document.sections)

    def section(self, section: Section) -> dict[str, Any]:
        """The heading's level is 1 below the page's title, and 1 more for each section that it is part of."""
        above = [number for number in self.section_numbers if section.number.startswith(number + ".")]
        return {
            "number": section.number,
            "title": clean(section.title),
            "level": len(above) + 1,
            "anchor": f"section-{section.number}",
            "blocks": [self.block(block) for block in section.blocks],
        }

    def block(self, block: Block) -> dict[str, Any]:
        kind = type(block).__name__.lower()
        if isinstance(block, Paragraph):
            return {"type": kind, "spans": self.spans(block.text)}
        if isinstance(block, Note):
            return {"type": kind, "kind": block.kind, "spans": self.spans(block.text)}
        if isinstance(block, Findings):
            return {"type": kind, "items": [self.spans(item) for item in block.items]}
        if isinstance(block, Code):
            return {"type": kind, "text": clean(block.text.strip("\n").expandtabs(4))}
        if isinstance(block, FormulaBlock):
            anchor = f"formula-{block.label}"
            return {"type": kind, "label": block.label, "anchor": anchor, "note": self.spans(block.note)}
        if isinstance(block, TableBlock):
            return {**self.named("table", block), **_table_view(block.table), "highlight": list(block.highlight)}
        return {**self.named("figure", block), "alt": clean(block.alt), **self.picture(block.name)}

    def named(self, kind: str, block: TableBlock | FigureBlock | ImageBlock) -> dict[str, Any]:
        """What tables and figures share: a number, an anchor and a caption."""
        caption = self.spans(block.caption)
        if isinstance(block, TableBlock) and not caption:
            caption = [{"kind": "text", "text": clean(block.table.title)}]
        number = self.numbers[f"{kind}:{block.name}"]
        return {
            "type": kind,
            "name": block.name,
            "anchor": f"{kind}-{block.name}",
            "number": number,
            "caption": caption,
        }

    def picture(self, name: str) -> dict[str, Any]:
        picture = self.pictures[name]
        width, height = picture_size(picture.light)
        scale = min(1.0, PAGE_WIDTH / width, PAGE_HEIGHT / height)
        return {"file": f"{name}.{picture.kind}", "width": round(width * scale, 4), "height": round(height * scale, 4)}

    def spans(self, text: str) -> list[dict[str, Any]]:
        return [self.span(span) for span in parse_markup(clean(text), self.leads_somewhere)]

    def span(self, span: Span) -> dict[str, Any]:
        if span.kind == "formula":
            href = f"formula-{span.text}" if span.text in self.formulas else ""
            return {"kind": "reference", "text": f"({span.text})", "href": href}
        if span.kind == "reference":
            kind, _, name = span.text.partition(":")
            called = name if kind == "section" else self.numbers[span.text]
            word = kind if kind == "section" else kind.capitalize()
            return {"kind": "reference", "text": f"{word}\u00a0{called}", "href": f"{kind}-{name}"}
        return {"kind": span.kind, "text": span.text}

    def leads_somewhere(self, reference: str) -> bool:
        return reference in self.numbers or reference.removeprefix("section:") in self.section_numbers


def _table_view(table: Table) -> dict[str, Any]:
    columns = list(zip(table.columns, *table.rows, strict=True))
    kinds = [_column_kind(at, cells) for at, cells in enumerate(columns)]
    rows = [[clean(cell) for cell in row] for row in table.rows]
    return {"columns": [clean(head) for head in table.columns], "kinds": kinds, "rows": rows}


def _column_kind(at: int, cells: tuple[str, ...]) -> str:
    """ "number" stands right; "name" stands left on one line; "long" is broken into lines."""
    if any(len(cell) > LONG_CELL for cell in cells[1:]):
        return "long"
    told = [cell for cell in cells[1:] if cell and cell != DASH]
    return "number" if at and all(NUMERIC.match(cell) for cell in told) else "name"


encode_utf8 = partial(str.encode, encoding="utf-8", errors="replace")
