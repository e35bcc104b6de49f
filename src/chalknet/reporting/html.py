"""A document as one HTML file: no script, no network, light and dark, for the screen and for paper."""

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

UP_TO_IT, FROM_IT = re.compile(r"\S{0,12}\Z"), re.compile(r"\A\S{0,12}")  # what touches a symbol, if it is short
MEDIA_TYPES = {"png": "image/png", "svg": "image/svg+xml"}


def document_html(document: Document, pictures: Mapping[str, Picture] | None = None) -> bytes:
    """The page, in UTF-8; equal documents give equal bytes.

    Args:
        pictures: what `draw_pictures` gave, where it is at hand already.
    """
    pictures = draw_pictures(document) if pictures is None else pictures
    page = _environment().get_template("document.html")
    return encode_utf8(page.render(document=document_view(document, pictures), pictures=pictures))


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
    environment.filters["glued"] = glued
    environment.filters["symbol"] = symbol_markup
    environment.filters["data_uri"] = data_uri
    return environment


def glued(spans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The spans, where a symbol has taken what touches it, as in "(1/B)": browsers break lines beside a formula."""
    found = [dict(span) for span in spans]
    for at, span in enumerate(found):
        if span["kind"] == "symbol":
            span["before"], span["after"] = _taken(found, at - 1, UP_TO_IT), _taken(found, at + 1, FROM_IT)
    return found


def _taken(spans: list[dict[str, Any]], at: int, part: re.Pattern[str]) -> str:
    """That part of a text, taken from it; nothing where there is no text."""
    if not 0 <= at < len(spans) or spans[at]["kind"] != "text":
        return ""
    text = spans[at]["text"]
    match = part.search(text)
    assert match is not None, "both parts may be empty"
    spans[at]["text"] = text[: match.start()] + text[match.end() :]
    return match[0]


def data_uri(picture: bytes) -> str:
    """The picture as an address that holds it."""
    return f"data:{MEDIA_TYPES[picture_kind(picture)]};base64,{base64.b64encode(picture).decode()}"


def formula_markup(label: str) -> Markup:
    """Return a formula as MathML; screen readers read its LaTeX."""
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
