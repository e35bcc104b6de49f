"""Render a document as one HTML file, without scripts, for screen and print."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from chalknet.reporting.document import Document, picture_kind
from chalknet.reporting.document_view import Picture, document_view, draw_pictures, encode_utf8
from chalknet.reporting.formulas import FORMULAS, Formula, symbol

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

# Short text that touches a symbol, before it and after it.
BEFORE_SYMBOL, AFTER_SYMBOL = re.compile(r"\S{0,12}\Z"), re.compile(r"\A\S{0,12}")
MEDIA_TYPES = {"png": "image/png", "svg": "image/svg+xml"}


def document_html(document: Document, pictures: Mapping[str, Picture] | None = None) -> bytes:
    """Return a document as an HTML page in UTF-8; equal documents give equal bytes.

    Args:
        document: what to show.
        pictures: the result of `draw_pictures`; None to draw them now.
    """
    pictures = draw_pictures(document) if pictures is None else pictures
    page = _environment().get_template("document.html")
    return encode_utf8(page.render(document=document_view(document, pictures), pictures=pictures))


def document_css() -> str:
    """Return the style of documents, for other pages that shall look alike."""
    return _environment().get_template("document.css").render()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chalknet.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["formula"] = formula_markup
    environment.filters["keep_symbols_whole"] = keep_symbols_whole
    environment.filters["symbol"] = symbol_markup
    environment.filters["data_uri"] = data_uri
    return environment


def keep_symbols_whole(spans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return spans in which each symbol has the text that touches it, as in "(1/B)".

    Browsers may break a line beside a formula, so the template keeps symbol and text together.

    Returns:
        The spans; those of symbols have "before" and "after", which neighbors have lost.
    """
    found = [dict(span) for span in spans]
    for at, span in enumerate(found):
        if span["kind"] == "symbol":
            span["before"] = _take_text(found, at - 1, BEFORE_SYMBOL)
            span["after"] = _take_text(found, at + 1, AFTER_SYMBOL)
    return found


def _take_text(spans: list[dict[str, Any]], at: int, pattern: re.Pattern[str]) -> str:
    """Remove the match of a pattern from a span of text and return it; "" without such a span."""
    if not 0 <= at < len(spans) or spans[at]["kind"] != "text":
        return ""
    text = spans[at]["text"]
    match = pattern.search(text)
    assert match is not None, "both patterns match the empty text"
    spans[at]["text"] = text[: match.start()] + text[match.end() :]
    return match[0]


def data_uri(picture: bytes) -> str:
    """Return a picture as a data URI."""
    return f"data:{MEDIA_TYPES[picture_kind(picture)]};base64,{base64.b64encode(picture).decode()}"


def formula_markup(label: str) -> Markup:
    """Return a formula as MathML; screen readers read its LaTeX source."""
    return _math(FORMULAS[label], block=True)


def symbol_markup(name: str) -> Markup:
    """Return a symbol of running text as MathML."""
    found = symbol(name)
    assert found is not None, "`parse_markup` lets only symbols through"
    return _math(found)


def _math(formula: Formula, *, block: bool = False) -> Markup:
    from markupsafe import Markup

    display = ' display="block"' if block else ""
    return Markup(f'<math{display} alttext="{{}}">{{}}</math>').format(formula.latex, Markup(formula.mathml))
