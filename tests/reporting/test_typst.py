"""The PDF: made from any text, reproducible, with the text of the document."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from demonstration import demonstration
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from study_factory import make_report_data

from chalknet.reporting.document import (
    Code,
    Document,
    FigureBlock,
    Findings,
    FormulaBlock,
    Note,
    Paragraph,
    Section,
    TableBlock,
)
from chalknet.reporting.documents import writeup_document
from chalknet.reporting.figures import Curve, Figure, Panel
from chalknet.reporting.markup import code, escape
from chalknet.reporting.tables import Table
from chalknet.reporting.typst import _covered, document_pdf


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
    assert document_pdf(everywhere(text, Paragraph(text), Note(escape(text), "warning"))).startswith(b"%PDF-")


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


def test_system_fonts_are_used_only_for_missing_letters():
    assert _covered({"a": ["Grüße – 5 × 3 ≤ 20 €, Ω, Ж, “x”\u00a0…", 3, None]})
    assert not _covered(["日本"])
    assert not _covered("😀")


@pytest.fixture
def extracted(tmp_path):
    """extracted(pdf, *flags): its text, by poppler's pdftotext."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not here; on Debian: apt install poppler-utils")

    def run(pdf, *flags):
        (tmp_path / "d.pdf").write_bytes(pdf)
        done = subprocess.run(["pdftotext", *flags, "d.pdf", "-"], cwd=tmp_path, capture_output=True, check=True)
        return done.stdout.decode()

    return run


DIGEST = "27b69c09918f03fbe6119d3c2dc7982dd0f35a591422bb87bb134b47a1816379"
FOLDER = "/srv/studies/letters_of_many_fonts/hidden-units.v2/second"
COMMAND = f"chalknet report {FOLDER} --quiet"


def everywhere(text, *more):
    """The text in every place that a document has for one."""
    blocks = (
        *more,
        Paragraph(escape(text)),
        Paragraph(code(text)),
        Note(code(text)),
        Findings((escape(text),)),
        Code(text),
        FormulaBlock("L2", escape(text)),
        TableBlock("a", Table("", ("what", "value"), (("it", text),)), escape(text), highlight=(0,)),
    )
    sections = (Section("1", text, blocks), Section("2", "", (Paragraph("."),) * 50))
    return Document(text, text, sections=sections, banner=text)


@pytest.mark.parametrize("text", [DIGEST, FOLDER, COMMAND])
def test_text_copied_from_the_pdf_is_as_typed(text, extracted):
    pages = extracted(document_pdf(everywhere(text))).replace(
        "\u2060", ""
    )  # Typst's, before page numbers in the contents
    assert not re.search("[\u00ad\u200b-\u200f\ufeff]", pages)
    assert pages.splitlines().count(text) >= 4  # paragraphs, code, cell; where it is too long, it stands on two lines
    assert "".join(pages.split()).count("".join(text.split())) >= 10


@pytest.mark.parametrize(
    "word", ["x" * 150, "W" * 60, "." * 150, "/a_folder" * 20, "a.b=1," * 30, "incomprehensibly" * 9]
)
def test_long_words_break_before_the_margin(word, extracted):
    pdf = document_pdf(everywhere(word))
    edge = (210 - 22) * 72 / 25.4  # points from the left; half an em more, as punctuation may hang into the margin
    ends = [float(end) for end in re.findall(r'xMax="([\d.]+)"', extracted(pdf, "-bbox"))]
    assert len(ends) > 10
    assert max(ends) < edge + 5
    assert "".join(extracted(pdf).split()).count(word) >= 10


def test_author_and_date_are_on_the_first_page(extracted):
    text = extracted(document_pdf(Document("Four letters", author='Ada "B."', date="May 2026")))
    assert 'Ada "B." · May 2026' in text


def test_the_pdf_has_the_text_of_the_document(pdf, extracted):
    text = " ".join(extracted(pdf, "-layout").split())
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


def test_figures_and_tables_stand_where_the_text_has_them(extracted):
    """Each between the paragraphs around it, wherever on a page that is."""
    curve = Curve("a", (1.0, 2.0), (1.0, 2.0))
    tall = Figure("tall", tuple(Panel(f"panel {k}", "x", "y", (curve,)) for k in range(6)))
    table = Table("", ("what", "value"), tuple((f"row {k}", f"{k}") for k in range(20)))
    blocks, expected = [], []
    for k in range(4):
        blocks += [
            Paragraph(f"Before{k}."),
            FigureBlock(f"f{k}", tall, f"Drawn{k}.", ""),
            Paragraph(f"After{k}. " * 40),
        ]
        blocks += [TableBlock(f"t{k}", table, f"Listed{k}."), Paragraph(f"Then{k}.")]
        expected += [f"{word}{k}" for word in ("Before", "Drawn", "After", "Listed", "Then")]
    text = extracted(document_pdf(Document("", sections=(Section("1", "", tuple(blocks)),))))
    found = re.findall(r"\b(?:Before|Drawn|After|Listed|Then)\d", text)
    assert list(dict.fromkeys(found)) == expected


def largest_gap(page):
    """The longest run of rows without ink between header and footer, as a fraction of the rows there."""
    gray = np.asarray(Image.open(page).convert("L"))
    height = len(gray)
    rows = (gray[int(0.09 * height) : int(0.92 * height)] < 200).any(axis=1)
    inked = np.flatnonzero(np.concatenate([[True], rows, [True]]))
    return (np.diff(inked).max() - 1) / len(rows)


@pytest.mark.slow
def test_no_page_of_the_writeup_has_a_large_gap(tmp_path):
    """A page ends early only where the next figure does not fit, and two of the tallest figures fit on a page."""
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm is not here; on Debian: apt install poppler-utils")
    (tmp_path / "d.pdf").write_bytes(document_pdf(writeup_document(make_report_data("hidden=100,500,1000,2000"))))
    subprocess.run(["pdftoppm", "-r", "30", "-png", "d.pdf", "page"], cwd=tmp_path, check=True)
    *pages, _last = sorted(tmp_path.glob("page-*.png"))
    assert len(pages) > 6
    assert {page.name: largest_gap(page) for page in pages if largest_gap(page) > 0.3} == {}
