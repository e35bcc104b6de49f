"""The formulas of docs/derivation.md by label, as LaTeX, Typst math and MathML.

They are stored in templates/formulas.json. `make docs` writes that file from the derivation with
tools/write_formulas.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources

LETTER = re.compile(r"([A-Za-z])(?:_([A-Za-z0-9]))?")


@dataclass(frozen=True)
class Formula:
    """One formula in three languages.

    Attributes:
        latex: source for alternative texts.
        typst: Typst math source for the PDF.
        mathml: content of a <math> element for HTML.
    """

    latex: str
    typst: str
    mathml: str


_STORED = json.loads(
    resources.files("chalknet.reporting").joinpath("templates", "formulas.json").read_text(encoding="utf-8")
)
FORMULAS = {label: Formula(**formula) for label, formula in _STORED["formulas"].items()}
# Symbols in running text that are more than a letter with a subscript, such as "dL/dW".
SYMBOLS = {name: Formula(**formula) for name, formula in _STORED["symbols"].items()}


def symbol(name: str) -> Formula | None:
    """Return the symbol that `$name$` stands for in running text, or None if it is no symbol."""
    letter = LETTER.fullmatch(name)
    if letter is None:
        return SYMBOLS.get(name)
    base, below = letter.groups()
    if below is None:
        return Formula(name, name, f"<mi>{base}</mi>")
    tag = "mn" if below.isdigit() else "mi"
    return Formula(name, name, f"<msub><mi>{base}</mi><{tag}>{below}</{tag}></msub>")
