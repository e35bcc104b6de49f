"""The texts of chapters that are the same in every document, from templates/chapters.txt.

A chapter there is a heading "## NAME" and its blocks, each after a blank line: paragraphs with markup, and formulas by
their label in brackets, such as "(M1)".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from chalknet.reporting.document import Block, FormulaBlock, Paragraph
from chalknet.reporting.formulas import FORMULAS


def standard_text(chapter: str, gaps: Mapping[str, float] | None = None) -> tuple[Block, ...]:
    """Return the blocks of a chapter; a formula whose gap in the gradient check is given has it beside it."""
    blocks: list[Block] = []
    for text in _chapters()[chapter]:
        if (label := text.strip("()")) in FORMULAS:
            gap = (gaps or {}).get(label)
            blocks.append(FormulaBlock(label, "" if gap is None else f"gradient check: relative error {gap:.1e}"))
        else:
            blocks.append(Paragraph(text))
    return tuple(blocks)


@cache
def _chapters() -> dict[str, list[str]]:
    file = resources.files("chalknet.reporting").joinpath("templates", "chapters.txt")
    parts = file.read_text(encoding="utf-8").removeprefix("## ").split("\n## ")
    named = (part.split("\n", 1) for part in parts)
    return {name: [" ".join(text.split()) for text in body.strip().split("\n\n")] for name, body in named}
