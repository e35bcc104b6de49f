r"""A document as plain data: sections of blocks.

`html` and `typst` render a document, and `files` writes everything that belongs to it.

The text of paragraphs, captions, notes and findings may carry a small markup, which `markup`
parses. Use `markup.escape` for a name that comes from data.

    `code`   *emphasis*   **strong**
    $W_h$    a symbol: one letter, with a subscript or without, or a name in `formulas.SYMBOLS`
    $M2$     a formula by its label in docs/derivation.md: shown as (M2), as a link where the
             document shows the formula
    [figure:NAME]  [table:NAME]  [section:1.4.1]    "Figure 3", "Table 2", "section 1.4.1", as links

Everything else stands as it is typed. A backslash before one of `*$[\ makes it an ordinary
character. Titles, table cells, alternative texts and `Code` have no markup.
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
    """A remark in a box.

    Attributes:
        text: with markup.
        kind: "plain", or "warning" for a remark that a reader must not miss.
    """

    text: str
    kind: str = "plain"

    def __post_init__(self) -> None:
        """Check the kind."""
        _require(self.kind in ("plain", "warning"), f"a note is plain or a warning, got {self.kind!r}")


@dataclass(frozen=True)
class Findings:
    """A list of sentences that were made from numbers, with markup."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines in a fixed-width font, such as commands."""

    text: str


@dataclass(frozen=True)
class FormulaBlock:
    """A formula of docs/derivation.md.

    Attributes:
        label: such as "N2".
        note: text below the formula, with markup, such as "gradient check: relative error 1.2e-10".
    """

    label: str
    note: str = ""

    def __post_init__(self) -> None:
        """Check that the formula exists."""
        _require(self.label in FORMULAS, f"no formula has the label {self.label!r}")


@dataclass(frozen=True)
class TableBlock:
    """A table. It is also written as tables/NAME.csv.

    Attributes:
        name: in lower case, for references and the file.
        table: the values.
        caption: with markup; the title of the table by default.
        highlight: indices of rows that stand out, such as the chosen configuration.
    """

    name: str
    table: Table
    caption: str = ""
    highlight: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check name, row lengths and highlighted rows."""
        _require_name(self.name)
        widths = {len(row) for row in (self.table.columns, *self.table.rows)}
        _require(len(widths) == 1, f"table {self.name!r} has rows of different lengths")
        _require(all(0 <= row < len(self.table.rows) for row in self.highlight), f"{self.name!r} highlights no row")


@dataclass(frozen=True)
class FigureBlock:
    """A figure. It is also written as figures/NAME.json and figures/NAME.svg.

    Attributes:
        name: in lower case, for references and the files.
        figure: the values.
        caption: with markup.
        alt: what a reader who cannot see the figure needs to know.
    """

    name: str
    figure: Figure
    caption: str
    alt: str

    def __post_init__(self) -> None:
        """Check the name."""
        _require_name(self.name)


@dataclass(frozen=True)
class ImageBlock:
    """A picture that is already drawn. It is also written as figures/NAME.png or .svg.

    Attributes:
        name: in lower case, for references and the file.
        light: bytes of a PNG or an SVG, for white paper.
        caption: with markup.
        alt: what a reader who cannot see the picture needs to know.
        dark: the same for a dark page; None to show `light` there too, on white.
    """

    name: str
    light: bytes
    caption: str
    alt: str
    dark: bytes | None = None

    def __post_init__(self) -> None:
        """Check the name and the kinds of the pictures."""
        _require_name(self.name)
        for picture in (self.light, self.dark):
            _require(picture is None or picture_kind(picture) != "", f"{self.name!r} is neither a PNG nor an SVG")


Block = Paragraph | Note | Findings | Code | FormulaBlock | TableBlock | FigureBlock | ImageBlock


@dataclass(frozen=True)
class Section:
    """Blocks under a heading.

    Attributes:
        number: such as "1", "1.4", "1.4.1" or "A"; the level of the heading follows from it.
        title: plain text.
        blocks: in their order.
    """

    number: str
    title: str
    blocks: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        """Check the number."""
        _require(NUMBER.fullmatch(self.number) is not None, f"{self.number!r} is no number of a section")


@dataclass(frozen=True)
class Document:
    """A whole document.

    Attributes:
        title: plain text.
        subtitle: plain text below the title.
        notes: between the title and the table of contents.
        sections: in their order.
        banner: plain text on every page, such as "Quick form: 2 seeds, 30 epochs".
        author: names below the title; "" for none.
        date: free text beside the author, such as "12 March 2026"; "" for none. A document does not
            take the date of the day, so that equal studies give equal documents.
        language: a tag such as "en".

    Raises:
        ValueError: two tables, two figures or two sections have the same name.
    """

    title: str
    subtitle: str = ""
    notes: tuple[Note, ...] = ()
    sections: tuple[Section, ...] = ()
    banner: str = ""
    author: str = field(default="", kw_only=True)
    date: str = field(default="", kw_only=True)
    language: str = field(default="en", kw_only=True)

    def __post_init__(self) -> None:
        """Check that names and numbers are unique."""
        for kind in (TableBlock, (FigureBlock, ImageBlock)):
            _require_once(f"{block.name}" for block in self.blocks() if isinstance(block, kind))
        _require_once(section.number for section in self.sections)

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks in their order."""
        for section in self.sections:
            yield from section.blocks

    def numbers(self) -> dict[str, int]:
        """Return "table:NAME" and "figure:NAME" -> number of the table or figure, from 1 on."""
        tables = [f"table:{block.name}" for block in self.blocks() if isinstance(block, TableBlock)]
        figures = [f"figure:{block.name}" for block in self.blocks() if isinstance(block, FigureBlock | ImageBlock)]
        return {key: at for keys in (tables, figures) for at, key in enumerate(keys, 1)}

    def formulas(self) -> frozenset[str]:
        """Return the labels of the formulas that are shown."""
        return frozenset(block.label for block in self.blocks() if isinstance(block, FormulaBlock))


def picture_kind(picture: bytes) -> str:
    """Return "png" or "svg", or "" for anything else."""
    if picture.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "svg" if b"<svg" in picture[:1000] else ""


def _require(holds: bool, message: str) -> None:
    """Raise ValueError unless the condition holds, which would be a bug in chalknet."""
    if not holds:
        raise ValueError(f"{message}.")


def _require_name(name: str) -> None:
    _require(NAME.fullmatch(name) is not None, f"{name!r} is no file name of small letters, digits, - and _")


def _require_once(names: Iterator[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    _require(not twice, f"{', '.join(twice)} stands twice in the document")
