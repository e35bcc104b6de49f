"""The PDF: one for any text, the same bytes every time, with what the document says in it."""

import subprocess

import pytest
from demonstration import demonstration
from hypothesis import given, settings
from hypothesis import strategies as st

from chalknet.reporting.document import Code, Document, Findings, FormulaBlock, Note, Paragraph, Section, TableBlock
from chalknet.reporting.inline import code, escaped
from chalknet.reporting.tables import Table
from chalknet.reporting.typst import _breakable, _covered, document_pdf


@pytest.fixture(scope="module")
def pdf(pictures):
    return document_pdf(demonstration(), pictures)


def test_equal_documents_are_equal_bytes(pdf):
    """Drawn anew as well."""
    assert document_pdf(demonstration()) == pdf


def test_it_is_a_pdf_with_the_title_and_without_a_date(pdf):
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 100_000
    assert b"CreationDate(D:1970" in pdf.replace(b" ", b"") or b"CreationDate" not in pdf


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co")), min_size=1))
def test_any_printable_text_is_set(text):
    blocks = (
        Paragraph(escaped(text)),
        Paragraph(text),
        Note(escaped(text), "warning"),
        Findings((code(text),)),
        Code(text),
        FormulaBlock("L2", escaped(text)),
        TableBlock("a", Table(text, ("", text), ((text, "1"),)), highlight=(0,)),
    )
    pdf = document_pdf(Document(text, text, sections=(Section("1", text, blocks),), banner=text))
    assert pdf.startswith(b"%PDF-")


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "\ufffe", "x" * 5_000, " ", "\u202e abc", "#" * 40])
def test_text_that_no_file_should_hold_is_set_too(text):
    assert document_pdf(Document(text, sections=(Section("1", text, (Code(text),)),))).startswith(b"%PDF-")


def test_an_empty_document_and_empty_blocks_are_set():
    blocks = (Paragraph(""), Note(""), Findings(()), Code(""), TableBlock("a", Table("", ("",), ())))
    for document in (Document(""), Document("", sections=(Section("1", "", blocks),))):
        assert document_pdf(document).startswith(b"%PDF-")


def test_a_table_of_many_columns_and_rows_is_set():
    table = Table(
        "", tuple(f"class {k}" for k in range(60)), tuple(tuple(f"{k}" for k in range(60)) for _ in range(90))
    )
    assert document_pdf(Document("", sections=(Section("1", "", (TableBlock("a", table),)),))).startswith(b"%PDF-")


def test_only_letters_that_typsts_fonts_lack_are_looked_for_on_the_system():
    assert _covered({"a": ["Grüße – 5 × 3 ≤ 20 €, Ω, Ж, “x”\u00a0…", 3, None]})
    assert not _covered(["日本"])
    assert not _covered("😀")


def test_long_words_may_be_broken_and_others_are_left_alone():
    assert _breakable({"text": "x" * 30, "href": "y" * 40})["text"] == "\u200b".join(["x" * 10] * 3)
    assert _breakable({"text": "x" * 30, "href": "y" * 40})["href"] == "y" * 40
    assert _breakable(["word " * 20]) == ["word " * 20]


def test_the_text_of_the_pdf_is_the_documents(pdf, tmp_path):
    """By poppler's pdftotext, where it is installed."""
    try:
        subprocess.run(["pdftotext", "-v"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("pdftotext is not here")
    (tmp_path / "d.pdf").write_bytes(pdf)
    done = subprocess.run(["pdftotext", "-layout", "d.pdf", "-"], cwd=tmp_path, capture_output=True, check=True)
    text = " ".join(done.stdout.decode().split())
    for part in (
        "Ten letters, one hidden layer",
        "Quick form: 2 seeds",
        "Warning: Choices were made on validation figures only; see section 1.4.1.",
        "Table 1. Samples of each class in each part",
        "Figure 1. Ten training images with their letters.",
        "gradient check: relative gap 1.2e-10",
        "(M2)",
        "2000 units beat 100 by 2.4 points",
        "chalknet writeup --data glyphs",
    ):
        assert part in text
