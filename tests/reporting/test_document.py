"""Documents as plain data: validation, numbers and references, markup, and files."""

import csv
import io

import pytest
from demonstration import demonstration
from hypothesis import given
from hypothesis import strategies as st

from chalknet.errors import OutputError
from chalknet.reporting.document import (
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
)
from chalknet.reporting.document_view import ViewBuilder, document_view, picture_size
from chalknet.reporting.files import document_files, write_document
from chalknet.reporting.markup import Span, code, escape, parse_markup
from chalknet.reporting.tables import Table

TABLE = Table("A title", ("", "loss"), (("test", "0.5"),))
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (300).to_bytes(4, "big") + (150).to_bytes(4, "big")


def document_of(*blocks, **settings):
    return Document("A title", sections=(Section("1", "A section", blocks),), **settings)


def spans(text):
    return [(span.kind, span.text) for span in parse_markup(text)]


def test_each_kind_of_markup_is_read():
    assert spans("a `b` *c* **d** $W_h$ $M2$ [figure:e_f] g") == [
        ("text", "a "),
        ("code", "b"),
        ("text", " "),
        ("emphasis", "c"),
        ("text", " "),
        ("strong", "d"),
        ("text", " "),
        ("symbol", "W_h"),
        ("text", " "),
        ("formula", "M2"),
        ("text", " "),
        ("reference", "figure:e_f"),
        ("text", " g"),
    ]


@pytest.mark.parametrize(
    "text",
    ["5 * 3 * 2", "$5 and $6", "$nothing$", "a_b_c", "one ` mark", "*", "**", "``", "$$", "[figure:]", "[x]", "<b>"],
)
def test_what_is_no_markup_stands_as_it_is_typed(text):
    assert spans(text) == [("text", text)]


@given(st.text())
def test_an_escaped_text_is_read_as_its_own_characters(text):
    assert parse_markup(escape(text)) == tuple(Span("text", line) for line in [" ".join(text.split())] if line)


@given(st.text())
def test_a_text_as_code_is_read_as_its_own_characters(text):
    (span,) = parse_markup(code(text)) or (Span("code", ""),)
    assert (span.kind, span.text.strip()) == ("code", " ".join(text.split()))


@given(st.text(alphabet="ab `*$\\[]:_figure"))
def test_any_text_is_read(text):
    assert isinstance(parse_markup(text), tuple)


def test_tables_and_figures_are_numbered_separately():
    document = document_of(TableBlock("a", TABLE), ImageBlock("a", PNG, "", ""), TableBlock("b", TABLE))
    assert document.numbers() == {"table:a": 1, "table:b": 2, "figure:a": 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FormulaBlock("X9"), "no formula has the label 'X9'"),
        (lambda: Note("", "loud"), "plain or a warning"),
        (lambda: TableBlock("a b", TABLE), "no file name"),
        (lambda: TableBlock("../a", TABLE), "no file name"),
        (lambda: TableBlock("a", Table("", ("", "b"), (("c",),))), "rows of different lengths"),
        (lambda: TableBlock("a", TABLE, highlight=(1,)), "highlights no row"),
        (lambda: ImageBlock("a", b"GIF89a", "", ""), "neither a PNG nor an SVG"),
        (lambda: Section("1..2", ""), "no number of a section"),
        (lambda: document_of(TableBlock("a", TABLE), TableBlock("a", TABLE)), "a stands twice"),
        (lambda: Document("", sections=(Section("1", ""), Section("1", ""))), "1 stands twice"),
    ],
)
def test_an_invalid_document_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_headings_stand_below_those_sections_that_are_there():
    numbers = ("0.1", "1", "1.4", "1.4.1", "A")
    view = document_view(Document("", sections=tuple(Section(number, "") for number in numbers)), {})
    assert [section["level"] for section in view["sections"]] == [1, 1, 2, 3, 1]


def test_columns_are_aligned_by_their_content():
    rows = (("1", "–", "1.5 %", "yes", "long " * 9), ("2", "-0.4 to 1.3", "–", "3", ""))
    view = document_view(document_of(TableBlock("a", Table("", ("", "b", "c", "d", "e"), rows))), {})
    assert view["sections"][0]["blocks"][0]["kinds"] == ["name", "number", "number", "name", "long"]


def test_the_size_of_a_picture_comes_from_its_file():
    assert picture_size(PNG) == (2.0, 1.0)
    assert picture_size(b'<svg width="72pt" height="36pt">') == (1.0, 0.5)
    assert picture_size(b'<svg width="96" height="48px">') == (1.0, 0.5)
    assert picture_size(b"<svg>") == (6.5, 3.25)


def test_the_demonstration_has_every_kind_of_block():
    kinds = {type(block) for block in demonstration().blocks()}
    assert kinds == {Paragraph, Note, Findings, Code, FormulaBlock, TableBlock, FigureBlock, ImageBlock}


def test_tables_and_figures_are_also_plain_data():
    document = demonstration()
    files = document_files(document, "report")
    assert {"report.html", "report.pdf", "figures/samples.png", "figures/curves.svg"} <= set(files)
    for block in document.blocks():
        if isinstance(block, TableBlock):
            text = files[f"tables/{block.name}.csv"].decode()
            assert list(csv.reader(io.StringIO(text))) == [list(block.table.columns), *map(list, block.table.rows)]
        if isinstance(block, FigureBlock):
            assert files[f"figures/{block.name}.json"].decode() == block.figure.json()


def test_a_reference_to_a_section_has_a_capital_where_it_begins_a_sentence():
    texts = ("[section:2] shows `x` [section:2] in [section:2]. [section:2] is *next*. [section:2]", "[section:2]")
    document = Document("t", "s", (), (Section("2", "Two", tuple(map(Paragraph, texts))),))
    views = [ViewBuilder(document, {}).spans(text) for text in texts]
    words = [[span["text"].split("\u00a0")[0] for span in view if span["kind"] == "reference"] for view in views]
    assert words == [["Section", "section", "section", "Section", "Section"], ["Section"]]


def test_a_document_is_written_into_a_new_folder(tmp_path):
    paths = write_document(document_of(TableBlock("a", TABLE)), tmp_path / "runs" / "one")
    assert {path.relative_to(tmp_path / "runs" / "one").as_posix() for path in paths} == {
        "tables/a.csv",
        "writeup.html",
        "writeup.pdf",
    }
    assert all(path.is_file() for path in paths)


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_document(document_of(TableBlock("a", TABLE)), tmp_path / "file")


def test_pictures_are_drawn_for_light_and_dark_pages(pictures):
    assert pictures["samples"].dark is None
    assert pictures["curves"].dark not in (None, pictures["curves"].light)
