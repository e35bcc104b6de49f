"""A document as its templates need it: dictionaries of text with resolved references.

The HTML and the PDF are rendered from one `DocumentView`, so that they have the same content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, TypedDict

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
from chalknet.reporting.figures import Figure, HeatMap, Matrix, Panel
from chalknet.reporting.markup import Span, parse_markup
from chalknet.reporting.tables import Table

# Inches that a picture may fill on A4 between the margins, with space for its caption.
PAGE_WIDTH, PAGE_HEIGHT = 6.5, 8.4
SHEET_HEIGHT = 3.4  # of a bitmap with images of samples or weights, so that text fits on its page
ONE_PANEL_WIDTH = 4.7
FEW_VALUES, FEW_VALUES_WIDTH = 3, 3.6  # width of a panel with points at so few places
PIXELS_PER_INCH = 150  # resolution of bitmaps
LONG_CELL = 30  # characters from which on the cells of a column are broken into lines
WIDE_NAMES = 12  # categories on an axis from which on a panel takes the whole width
# A hyphen that is the sign of a number: not in a word, a range, a date or an exponent.
MINUS = re.compile(r"(?<![\w.\-−])-(?=\d)")
PERCENT = re.compile(r"(?<=\d) (?=%)")  # the space in "94.8 %", at which a line must not break
NUMERIC = re.compile(r"[-+−±<>≤≥≈~]?\s?[0-9.]")


@dataclass(frozen=True)
class Picture:
    """A picture for white paper and one for a dark page.

    Attributes:
        light: bytes of a PNG or an SVG.
        dark: the same for a dark page, or None.
    """

    light: bytes
    dark: bytes | None

    @property
    def kind(self) -> str:
        """Kind of the file: "png" or "svg"."""
        return picture_kind(self.light)


def draw_pictures(document: Document) -> dict[str, Picture]:
    """Return the pictures of a document by name; figures are drawn."""
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
    """Return a figure in both themes, drawn only once if it has no shaded cells."""
    from chalknet.reporting.drawings.curves import draw
    from chalknet.reporting.drawings.picture import drawing_bytes
    from chalknet.reporting.drawings.theme import DARK, LIGHT, TEMPLATE, paint

    if all(isinstance(panel, Panel) for panel in figure.panels):
        svg = drawing_bytes(draw(figure, TEMPLATE, width), "svg")
        return Picture(paint(svg, LIGHT), paint(svg, DARK))
    return Picture(*(drawing_bytes(draw(figure, theme, width), "svg") for theme in (LIGHT, DARK)))


def figure_width(figure: Figure) -> float:
    """Return the width of a figure in inches: that of the page, or less for a single panel."""
    if len(figure.panels) > 1:
        return PAGE_WIDTH
    panel = figure.panels[0]
    if isinstance(panel, HeatMap):
        return PAGE_WIDTH if len(panel.column_names) > WIDE_NAMES else ONE_PANEL_WIDTH
    if isinstance(panel, Matrix):
        return min(max(1.2 + 0.28 * len(panel.column_names), 3.0), PAGE_WIDTH)
    if panel.curves and panel.curves[0].style != "line" and len(set(panel.curves[0].x)) <= FEW_VALUES:
        return FEW_VALUES_WIDTH
    has_words = any(" " in name for name in panel.x_names)
    return PAGE_WIDTH if len(panel.x_names) > WIDE_NAMES or has_words else ONE_PANEL_WIDTH


class DocumentView(TypedDict):
    """What both templates get. Blocks and spans are dictionaries with a "type" or "kind"."""

    title: str
    subtitle: str
    author: str
    date: str
    banner: str
    language: str
    notes: list[dict[str, Any]]
    sections: list[dict[str, Any]]


def document_view(document: Document, pictures: Mapping[str, Picture]) -> DocumentView:
    """Return a document as dictionaries, lists, text and numbers, for the templates.

    Args:
        document: what to show.
        pictures: the pictures of its figures and images by name.
    """
    builder = ViewBuilder(document, pictures)
    return {
        "title": clean_text(document.title),
        "subtitle": clean_text(document.subtitle),
        "author": clean_text(document.author),
        "date": clean_text(document.date),
        "banner": clean_text(document.banner),
        "language": clean_text(document.language),
        "notes": [builder.block(note) for note in document.notes],
        "sections": [builder.section(section) for section in document.sections],
    }


def clean_text(text: str) -> str:
    """Replace characters that text files must not hold: controls, lone surrogates, noncharacters."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]", "�", text)


def typeset_numbers(text: str) -> str:
    """Return a text with true minus signs, as in "−1.8 to +2.4", and with no line break between a number and "%"."""
    return PERCENT.sub("\u00a0", MINUS.sub("−", text))


def picture_size(picture: bytes) -> tuple[float, float]:
    """Return the size of a picture in inches; the width of the page if an SVG has no size."""
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


class ViewBuilder:
    """Builds the view of one document; it knows what references may lead to."""

    def __init__(self, document: Document, pictures: Mapping[str, Picture]):
        """Collect the numbers and anchors of a document."""
        self.pictures = pictures
        self.numbers: dict[str, int] = document.numbers()
        self.formulas: frozenset[str] = document.formulas()
        self.section_numbers: tuple[str, ...] = tuple(section.number for section in document.sections)

    def section(self, section: Section) -> dict[str, Any]:
        """Return a section; a section within n others has a heading of level n + 1."""
        above = [number for number in self.section_numbers if section.number.startswith(number + ".")]
        return {
            "number": section.number,
            "title": clean_text(section.title),
            "level": len(above) + 1,
            "anchor": f"section-{section.number}",
            "blocks": [self.block(block) for block in section.blocks],
        }

    def block(self, block: Block) -> dict[str, Any]:
        """Return a block with its type."""
        kind = type(block).__name__.lower()
        if isinstance(block, Paragraph):
            return {"type": kind, "spans": self.spans(block.text)}
        if isinstance(block, Note):
            return {"type": kind, "kind": block.kind, "spans": self.spans(block.text)}
        if isinstance(block, Findings):
            return {"type": kind, "items": [self.spans(item) for item in block.items]}
        if isinstance(block, Code):
            return {"type": kind, "text": clean_text(block.text.strip("\n").expandtabs(4))}
        if isinstance(block, FormulaBlock):
            anchor = f"formula-{block.label}"
            return {"type": kind, "label": block.label, "anchor": anchor, "note": self.spans(block.note)}
        if isinstance(block, TableBlock):
            return {**self.named("table", block), **_table_view(block.table), "highlight": list(block.highlight)}
        return self.figure(block)

    def figure(self, block: FigureBlock | ImageBlock) -> dict[str, Any]:
        """Return a figure or an image with its picture."""
        return {**self.named("figure", block), "alt": clean_text(block.alt), **self.picture(block.name)}

    def named(self, kind: str, block: TableBlock | FigureBlock | ImageBlock) -> dict[str, Any]:
        """Return what tables and figures share: a number, an anchor and a caption."""
        caption = self.spans(block.caption)
        if isinstance(block, TableBlock) and not caption:
            caption = [{"kind": "text", "text": clean_text(block.table.title)}]
        number = self.numbers[f"{kind}:{block.name}"]
        return {
            "type": kind,
            "name": block.name,
            "anchor": f"{kind}-{block.name}",
            "number": number,
            "caption": caption,
        }

    def picture(self, name: str) -> dict[str, Any]:
        """Return the file of a picture and its size in inches, scaled down to fit a page."""
        picture = self.pictures[name]
        width, height = picture_size(picture.light)
        highest = SHEET_HEIGHT if picture.kind == "png" else PAGE_HEIGHT
        scale = min(1.0, PAGE_WIDTH / width, highest / height)
        return {"file": f"{name}.{picture.kind}", "width": round(width * scale, 4), "height": round(height * scale, 4)}

    def spans(self, text: str) -> list[dict[str, Any]]:
        """Return the parsed spans of a text with markup."""
        parsed = parse_markup(clean_text(text), self.leads_somewhere)
        before = accumulate((span.text for span in parsed), initial="")
        return [self.span(span, begins=_begins(left)) for span, left in zip(parsed, before, strict=False)]

    def span(self, span: Span, *, begins: bool = False) -> dict[str, Any]:
        """Return a span; references get their text and target, with a capital where they begin a sentence."""
        if span.kind == "formula":
            href = f"formula-{span.text}" if span.text in self.formulas else ""
            return {"kind": "reference", "text": f"({span.text})", "href": href}
        if span.kind == "reference":
            kind, _, name = span.text.partition(":")
            called = name if kind == "section" else self.numbers[span.text]
            word = kind if kind == "section" and not begins else kind.capitalize()
            return {"kind": "reference", "text": f"{word}\u00a0{called}", "href": f"{kind}-{name}"}
        text = span.text if span.kind in ("code", "symbol") else typeset_numbers(span.text)
        return {"kind": span.kind, "text": text}

    def leads_somewhere(self, reference: str) -> bool:
        """Return whether the document has the target of a reference."""
        return reference in self.numbers or reference.removeprefix("section:") in self.section_numbers


def _table_view(table: Table) -> dict[str, Any]:
    columns = list(zip(table.columns, *table.rows, strict=True))
    kinds = [_column_kind(at, cells) for at, cells in enumerate(columns)]
    rows = [
        [
            typeset_numbers(clean_text(cell)) if kind == "number" else clean_text(cell)
            for kind, cell in zip(kinds, row, strict=True)
        ]
        for row in table.rows
    ]
    return {"columns": [clean_text(head) for head in table.columns], "kinds": kinds, "rows": rows}


def _column_kind(at: int, cells: tuple[str, ...]) -> str:
    """Return the kind of a column: "number" (right), "name" (left) or "long" (left, broken)."""
    if any(len(cell) > LONG_CELL for cell in cells[1:]):
        return "long"
    filled = [cell for cell in cells[1:] if cell and cell != DASH]
    return "number" if at and all(NUMERIC.match(cell) for cell in filled) else "name"


encode_utf8: Callable[[str], bytes] = partial(str.encode, encoding="utf-8", errors="replace")


def _begins(left: str) -> bool:
    """Return whether what follows a text begins a sentence."""
    return not left.strip() or (left[-1].isspace() and left.rstrip()[-1] in ".?!")
