"""The HTML document: valid, self-contained and reproducible, for any text."""

import re
from html.parser import HTMLParser

import pytest
from demonstration import NASTY, demonstration
from hypothesis import given, settings
from hypothesis import strategies as st

from chalknet.reporting.document import Code, Document, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.document_view import clean_text
from chalknet.reporting.html import document_html, keep_symbols_whole
from chalknet.reporting.markup import code, escape
from chalknet.reporting.tables import Table

VOID = {"meta", "link", "input", "img", "br"}
printable = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co")), min_size=1)


class Page(HTMLParser):
    """Elements and text of a page; an element that is not closed in its order is a fault."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(page.decode("utf-8"))
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append((tag, []))
        if tag not in VOID:
            self.open.append((tag, self.texts[-1][1]))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, text in self.open:
            text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, tag):
        return [" ".join("".join(text).split()) for name, text in self.texts if name == tag]


@pytest.fixture(scope="module")
def page(pictures):
    return document_html(demonstration(), pictures)


def test_equal_documents_are_equal_bytes(page, pictures):
    assert document_html(demonstration(), pictures) == page


def test_every_kind_of_block_is_there(page):
    read = Page(page)
    classes = {one for _, attributes in read.elements for one in (attributes.get("class") or "").split()}
    assert {"note", "warning", "findings", "formula", "table", "picture", "banner", "highlight"} <= classes
    assert {"pre", "math", "img", "table", "nav", "figcaption"} <= {tag for tag, _ in read.elements}


def test_links_have_targets_and_ids_are_unique(page):
    read = Page(page)
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"] for attributes in read.all("a")]
    assert {"#formula-L2", "#table-data", "#figure-samples", "#section-1.4.1"} <= set(targets)
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    labels = [attributes["aria-labelledby"] for _, attributes in read.elements if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)


def test_the_page_loads_nothing_and_runs_nothing(page):
    read = Page(page)
    addresses = [
        (tag, address)
        for tag, attributes in read.elements
        for key in ("src", "href", "srcset", "action", "data", "poster")
        for address in [attributes.get(key)]
        if address
    ]
    assert all(address.startswith(("#", "data:")) for _, address in addresses)
    assert not read.all("script")
    assert not [key for _, attributes in read.elements for key in attributes if key.startswith("on")]
    style = read.said("style")[0]
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [attributes for attributes in read.all("meta") if attributes.get("http-equiv")]
    assert policy["content"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert b"http://" not in re.sub(rb"base64,[\w+/=]+", b"", page)
    assert b"https://" not in re.sub(rb"base64,[\w+/=]+", b"", page)


def test_pictures_have_words_and_tables_have_heads(page):
    read = Page(page)
    assert all(attributes["alt"] for attributes in read.all("img"))
    assert all(attributes["scope"] in ("row", "col") for attributes in read.all("th"))
    assert read.all("html")[0]["lang"] == "en"
    assert len(read.all("h1")) == 1


def test_scrollable_regions_have_a_name_and_take_focus(page):
    read = Page(page)
    boxes = [attributes for attributes in read.all("div") if attributes.get("class") == "scroll"]
    assert len(boxes) > 20
    assert {(box["role"], box["tabindex"]) for box in boxes} == {("region", "0")}
    assert all(box.get("aria-label") or box.get("aria-labelledby") for box in boxes)
    assert {attributes["tabindex"] for attributes in read.all("pre")} == {"0"}


def test_author_and_date_stand_below_the_title_if_given():
    page = document_html(Document("Four letters", author="<Ada & B.>", date="May 2026")).decode()
    assert '<p class="byline">&lt;Ada &amp; B.&gt; · May 2026</p>' in page
    assert '<meta name="author" content="&lt;Ada &amp; B.&gt;">' in page
    assert '<p class="byline">May 2026</p>' in document_html(Document("Four letters", date="May 2026")).decode()
    assert 'byline"' not in document_html(Document("Four letters")).decode()


def test_a_drawing_is_there_twice_and_a_photograph_once(page):
    classes = [attributes["class"] for attributes in Page(page).all("img")]
    assert classes.count("light") == classes.count("dark") == 6
    assert classes.count("paper") == 1


def test_headings_follow_the_sections(page):
    read = Page(page)
    assert "0Set-up" in read.said("h2")
    assert "1.2The derivation" in read.said("h3")
    assert "1.4.1Hidden units" in read.said("h4")


def test_names_that_are_markup_are_shown_as_they_are(page):
    read = Page(page)
    shown = " ".join(NASTY.split())
    assert shown in read.said("th")
    assert shown in read.said("code")
    assert f"Note: {shown}" in read.said("p")
    assert shown in [attributes["alt"] for attributes in read.all("img")]


@settings(max_examples=40)
@given(printable, printable)
def test_any_printable_text_is_on_the_page_as_typed(first, second):
    blocks = (
        Paragraph(escape(first)),
        Note(escape(second)),
        Findings((escape(first),)),
        Code(first),
        Paragraph(code(second)),
        TableBlock("a", Table(first, ("", second), ((first, second),)), escape(second)),
    )
    page = document_html(Document(first, second, sections=(Section("1", second, blocks),), banner=first))
    read = Page(page)
    first, second = (" ".join(clean_text(text).split()) for text in (first, second))
    assert read.said("title") == read.said("h1") == [first]
    assert read.said("li")[-1] == first
    assert f"Note: {second}".strip() in read.said("p")
    assert read.said("th")[-1] == first
    assert f"Table 1. {second}".strip() in read.said("figcaption")
    tags = {"html", "head", "body", "table", "figure", "main", "section", "p", "ul", "li", "code", "pre", "style"}
    assert tags <= {tag for tag, _ in read.elements}
    assert not read.all("script")


def test_a_symbol_keeps_on_its_line_what_touches_it():
    text = "with a share (1/$B$), or $x$ and $y$; *so* $m$*n*"
    page = document_html(Document("", sections=(Section("1", "", (Paragraph(text),)),)))
    assert [said for said in Page(page).said("span") if said != "1"] == ["(1/B),", "x", "y;", "m"]


@given(st.lists(st.tuples(st.sampled_from(("text", "symbol", "code")), st.text("a )(\u0301", max_size=30))))
def test_symbols_take_the_text_that_touches_them(pieces):
    spans = [{"kind": kind, "text": text} for kind, text in pieces]
    shown = [f"{span.get('before', '')}{span['text']}{span.get('after', '')}" for span in keep_symbols_whole(spans)]
    assert "".join(shown) == "".join(text for _, text in pieces)


def test_what_no_file_of_text_may_hold_is_shown_as_missing():
    page = document_html(Document("a\x00b\ud800c\x1b"))
    assert Page(page).said("h1") == ["a�b�c�"]


def test_a_document_may_be_empty():
    assert Page(document_html(Document("Nothing"))).said("h1") == ["Nothing"]
