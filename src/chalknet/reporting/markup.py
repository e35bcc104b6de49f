"""The markup of running text, read into plain pieces; `chalknet.reporting.document` says what it is."""

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
    """A piece of running text.

    Attributes:
        kind: "text", "code", "emphasis", "strong", "symbol", "formula" or "reference".
        text: what is shown, without markup; a symbol's name; a formula's label; "figure:NAME" and so on.
    """

    kind: str
    text: str


def parse_markup(text: str, known: Callable[[str], bool] = lambda _: True) -> tuple[Span, ...]:
    """The pieces of a running text; white space is folded to single spaces.

    Args:
        known: whether a reference leads anywhere; one that does not stands as it is typed.
    """
    found: list[Span] = []
    for span in _spans(" ".join(text.split()), known):
        if found and span.kind == found[-1].kind == "text":
            found[-1] = Span("text", found[-1].text + span.text)
        elif span.text:
            found.append(span)
    return tuple(found)


def escape(text: str) -> str:
    """A text that `parse_markup` reads as exactly these characters, such as a class's or a file's name."""
    return re.sub(rf"([{SPECIAL}])", r"\\\1", text)


def code(text: str) -> str:
    """Markup for a text from data as code; a text without any character gives none."""
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
