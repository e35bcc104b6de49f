"""A document as plain data: sections of blocks. `html` and `typst` make one file of it, `files` everything.

Text of paragraphs, captions, notes and findings carries a small markup (`markup` parses it; `escape` takes its meaning
away from a name that comes from data):

    `code`   *emphasis*   **strong**
    $W_h$    a symbol: one letter, with a subscript or without, or a name in `formulas.SYMBOLS`
    $M2$     a formula by its label in docs/derivation.md: shown as (M2), a link where the document shows the formula
    [figure:NAME]  [table:NAME]  [section:1.4.1]    "Figure 3", "Table 2", "section 1.4.1", as links

What is none of these stands as it is typed, and a backslash before one of `*$[\\ makes it an ordinary character.
Titles, table cells, alternative texts and `Code` carry no markup at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from chalknet.reporting.figures import Figure
from chalknet.reporting.formulas import FORMULAS
from chalknet.reporting.tables import Table

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
NUMBER = re.compile(r"[0-9A-Z]+(\.[0-9]+)*")


@dataclass(frozen=True)
class Paragraph:
    """Running text, with markup."""

    text: str


@dataclass(frozen=True)
class Note:
    """A remark set apart; a "warning" is one that a reader must not miss."""

    text: str
    kind: str = "plain"

    def __post_init__(self) -> None:
        _require(self.kind in ("plain", "warning"), f"a note is plain or a warning, got {self.kind!r}")


@dataclass(frozen=True)
class Findings:
    """Sentences that were made from numbers, one an item, with markup."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines to type or to read as they are, such as commands."""

    text: str


@dataclass(frozen=True)
class FormulaBlock:
    """A formula of docs/derivation.md by its label; note stands beside it, such as "gradient check: gap 1.2e-10"."""

    label: str
    note: str = ""

    def __post_init__(self) -> None:
        _require(self.label in FORMULAS, f"no formula has the label {self.label!r}")


@dataclass(frozen=True)
class TableBlock:
    """A table, which is also tables/NAME.csv.

    Attributes:
        caption: with markup; the table's own title where it is empty.
        highlight: rows that stand out, counted from 0, such as the chosen cell.
    """

    name: str
    table: Table
    caption: str = ""
    highlight: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_name(self.name)
        widths = {len(row) for row in (self.table.columns, *self.table.rows)}
        _require(len(widths) == 1, f"table {self.name!r} has rows of different lengths")
        _require(all(0 <= row < len(self.table.rows) for row in self.highlight), f"{self.name!r} highlights no row")


@dataclass(frozen=True)
class FigureBlock:
    """A figure, which is also figures/NAME.json and figures/NAME.svg.

    Attributes:
        caption: with markup.
        alt: what a reader who does not see it needs to know.
    """

    name: str
    figure: Figure
    caption: str
    alt: str

    def __post_init__(self) -> None:
        _require_name(self.name)


@dataclass(frozen=True)
class ImageBlock:
    """A picture that is there already, such as a sample sheet; it is also figures/NAME.png or .svg.

    Attributes:
        light: bytes of a PNG or an SVG, for white paper.
        dark: the same for a dark page; light is shown there too, on white, where it is None.
    """

    name: str
    light: bytes
    caption: str
    alt: str
    dark: bytes | None = None

    def __post_init__(self) -> None:
        _require_name(self.name)
        for picture in (self.light, self.dark):
            _require(picture is None or picture_kind(picture) != "", f"{self.name!r} is neither a PNG nor an SVG")


Block = Paragraph | Note | Findings | Code | FormulaBlock | TableBlock | FigureBlock | ImageBlock


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; how deep it stands follows from its number ("1", "1.4", "1.4.1", "A")."""

    number: str
    title: str
    blocks: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        _require(NUMBER.fullmatch(self.number) is not None, f"{self.number!r} is no number of a section")


@dataclass(frozen=True)
class Document:
    """A whole document.

    Attributes:
        notes: between the title and the contents.
        banner: plain text over everything, on screen and on paper, such as "Quick form: 2 seeds, 30 epochs".
    """

    title: str
    subtitle: str = ""
    notes: tuple[Note, ...] = ()
    sections: tuple[Section, ...] = ()
    banner: str = ""
    language: str = field(default="en", kw_only=True)

    def __post_init__(self) -> None:
        for kind in (TableBlock, (FigureBlock, ImageBlock)):
            _require_once(f"{block.name}" for block in self.blocks() if isinstance(block, kind))
        _require_once(section.number for section in self.sections)

    def blocks(self) -> Iterator[Block]:
        """All blocks in their order."""
        for section in self.sections:
            yield from section.blocks

    def numbers(self) -> dict[str, int]:
        """What a table or figure is called: "table:NAME" and "figure:NAME" -> 1, 2, ... of its kind."""
        tables = [f"table:{block.name}" for block in self.blocks() if isinstance(block, TableBlock)]
        figures = [f"figure:{block.name}" for block in self.blocks() if isinstance(block, FigureBlock | ImageBlock)]
        return {key: at for keys in (tables, figures) for at, key in enumerate(keys, 1)}

    def formulas(self) -> frozenset[str]:
        """Labels of the formulas that are shown."""
        return frozenset(block.label for block in self.blocks() if isinstance(block, FormulaBlock))


def picture_kind(picture: bytes) -> str:
    """ "png", "svg", or "" for anything else."""
    if picture.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "svg" if b"<svg" in picture[:1000] else ""


def _require(holds: bool, message: str) -> None:
    """Documents are made by our own code, so a broken one is a fault of ours."""
    if not holds:
        raise ValueError(f"{message}.")


def _require_name(name: str) -> None:
    _require(NAME.fullmatch(name) is not None, f"{name!r} is no file name of small letters, digits, - and _")


def _require_once(names: Iterator[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    _require(not twice, f"{', '.join(twice)} stands twice in the document")
