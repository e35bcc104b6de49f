"""Parse the markup of running text. `chalknet.reporting.document` describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chalknet.reporting.formulas import FORMULAS, symbol

SPECIAL = r"\\`*$\["
MARKUP = re.compile(
    rf"\\(?P<literal>[{SPECIAL}])"
    r"|`(?P<code>(?:\\[\\`]|[^\\`])+)`"
    r"|\*\*(?=[^\s*])(?P<strong>(?:\\[\\*]|[^\\*])+)(?<!\s)\*\*"
    r"|\*(?=[^\s*])(?P<emphasis>(?:\\[\\*]|[^\\*])+)(?<!\s)\*"
    r"|\$(?P<math>[^$\\`*\s]+)\$"
    r"|\[(?P<reference>(?:figure|table|section):[A-Za-z0-9._-]+)\]"
)


@dataclass(frozen=True)
class Span:
    """A piece of running text of one kind.

    Attributes:
        kind: "text", "code", "emphasis", "strong", "symbol", "formula" or "reference".
        text: what is shown, without markup; a symbol's name; a formula's label; "figure:NAME" and
            so on.
    """

    kind: str
    text: str


def parse_markup(text: str, known: Callable[[str], bool] = lambda _: True) -> tuple[Span, ...]:
    """Return the spans of a running text; white space becomes single spaces.

    Args:
        text: with markup.
        known: tells whether a reference has a target. One without a target stays text.
    """
    found: list[Span] = []
    for span in _spans(" ".join(text.split()), known):
        if found and span.kind == found[-1].kind == "text":
            found[-1] = Span("text", found[-1].text + span.text)
        elif span.text:
            found.append(span)
    return tuple(found)


def escape(text: str) -> str:
    """Return markup that shows exactly these characters, such as the name of a class or a file."""
    return re.sub(rf"([{SPECIAL}])", r"\\\1", text)


def code(text: str) -> str:
    """Return markup that shows a text in the font of code; "" for an empty text."""
    return "`" + re.sub(r"([\\`])", r"\\\1", text) + "`" if text else ""


def _spans(text: str, known: Callable[[str], bool]) -> Iterator[Span]:
    at = 0
    for match in MARKUP.finditer(text):
        yield Span("text", text[at : match.start()])
        yield _span(match, known)
        at = match.end()
    yield Span("text", text[at:])


def _span(match: re.Match[str], known: Callable[[str], bool]) -> Span:
    kind, content = match.lastgroup or "", match[match.lastgroup or 0]
    if kind == "literal":
        return Span("text", content)
    if kind == "math":
        if content in FORMULAS:
            return Span("formula", content)
        return Span("symbol", content) if symbol(content) else Span("text", match[0])
    if kind == "reference":
        return Span("reference", content) if known(content) else Span("text", match[0])
    return Span(kind, re.sub(rf"\\([{SPECIAL}])", r"\1", content))
