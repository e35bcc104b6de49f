"""Convert the formulas of docs/derivation.md for the documents: `make docs`.

The LaTeX of the derivation is the only source. Pandoc converts it to Typst math for the PDF, and
Typst converts that to MathML for the page. The result is stored in
src/chalknet/reporting/templates/formulas.json, because chalknet does not install Pandoc, and because
Typst's HTML may change between versions. A test converts the formulas again and compares.
"""

from __future__ import annotations

import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DERIVATION = ROOT / "docs" / "derivation.md"
STORED = ROOT / "src" / "chalknet" / "reporting" / "templates" / "formulas.json"
# Symbols in running text that are more than a letter with a subscript.
DERIVATIVES = ("o", "g", "h", "x", "W", "b", "W_h", "b_h", "W_o", "b_o")
SYMBOLS = {f"dL/d{name}": rf"\partial L / \partial {name}" for name in DERIVATIVES}
SYMBOLS |= {"1/B": "1 / B", "beta_1": r"\beta_1", "beta_2": r"\beta_2", "delta_jk": r"\delta_{jk}"}
SYMBOLS |= {name: f"\\{name}" for name in ("epsilon", "gamma", "lambda", "mu")}
# Combining accents, which browsers draw left of the letter, -> the same accents as characters of their own.
ACCENTS = {"\u0302": "\u02c6", "\u0303": "\u02dc", "\u0304": "\u00af"}


def converted_formulas() -> dict[str, Any]:
    """Return the formulas and symbols by label or name, each as LaTeX, Typst math and MathML."""
    text = DERIVATION.read_text(encoding="utf-8")
    tagged = re.findall(r"\$\$([^$]+?)\\tag\{(\w+)\}\s*\$\$", text)
    formulas = {label: " ".join(latex.split()) for latex, label in tagged}
    sources = list({**formulas, **SYMBOLS}.values())
    typst = typst_of(sources)
    both = [
        {"latex": one, "typst": two, "mathml": three}
        for one, two, three in zip(sources, typst, mathml_of(typst), strict=True)
    ]
    return {
        "versions": {name: version(name) for name in ("pypandoc_binary", "typst")},
        "formulas": dict(zip(formulas, both[: len(formulas)], strict=True)),
        "symbols": dict(zip(SYMBOLS, both[len(formulas) :], strict=True)),
    }


def typst_of(sources: list[str]) -> list[str]:
    """Convert LaTeX to Typst math with Pandoc, and correct sizes and spaces that Pandoc loses."""
    import pypandoc

    text = "\n\n".join(f"$${_prepared(latex)}$$" for latex in sources)
    text = pypandoc.convert_text(text, "typst", format="markdown", extra_args=["--wrap=none"])
    text = re.sub(r'upright\(("[^"]*")\)( (?=\())?', r"\1", text)
    text = re.sub(r"lr\((\|[^|]* [^|]*\|)\)", r"\1", text)  # Typst's MathML has no space around these operators
    text = re.sub(r"cases\(.*", lambda cases: cases[0].replace(" & ", " quad & "), text)
    found = re.findall(r"\$ (.*?) \$", text, re.DOTALL)
    assert len(found) == len(sources), "Pandoc writes one equation for each formula"
    return found


def _prepared(latex: str) -> str:
    """Return LaTeX with growing brackets, words as text, and no negative space."""
    latex = re.sub(r"\\[bB]ig[lr]\s*([()])", r"\1", latex)
    latex = latex.replace("(", r"\left(").replace(")", r"\right)")
    latex = re.sub(r"\|([^|]*)\|", r"\\left|\1\\right|", latex)
    return latex.replace(r"\mathrm{", r"\text{").replace(r"\!", "")


def mathml_of(typst_sources: list[str]) -> list[str]:
    """Convert Typst math to MathML with Typst.

    Letters that are not bold are made plain, because MathML slants a single letter by itself in whatever font there is,
    and brackets around a single line are kept from growing. The style sheet of the documents draws a line over
    elements of class "overline".
    """
    import typst

    # Typst's MathML leaves overlines out, so they are written as accents and made lines again below.
    lines = (one.replace("overline(", "macron(") for one in typst_sources)
    source = "\n".join(f"#math.equation(block: true, $ {one} $)" for one in lines)
    compiler = typst.Compiler(source.encode(), ignore_system_fonts=True)
    page, _ = compiler.compile_with_warnings(format="html")  # warns that its HTML is incomplete; its formulas are not
    found = re.findall(r"<math display=\"block\">(.*?)</math>", page.decode(), re.DOTALL)
    return [_plain_mathml(inner) for inner in found]


def _plain_mathml(inner: str) -> str:
    root = ET.fromstring(f"<math>{inner}</math>")
    for element in root.iter("mi"):
        name = unicodedata.name(element.text, "") if element.text and len(element.text) == 1 else ""
        if element.text and name and "SCRIPT" not in name and " BOLD " not in name:
            element.text = unicodedata.normalize("NFKC", element.text)
    for element in root.iter("mover"):
        base, mark = element
        if mark.text == "\u0304" and base.tag != "mi":
            element.remove(mark)
            element.tag, element.attrib = "mrow", {"class": "overline"}
        mark.text = ACCENTS.get(mark.text or "", mark.text)
    for element in root.iter("mrow"):
        is_tall = any(element.find(f".//{tag}") is not None for tag in ("mfrac", "mtable", "munder"))
        for bracket in element.findall("mo"):
            if bracket.text in ("(", ")", "{", "}", "|") and not is_tall:
                bracket.set("stretchy", "false")
    # Rows are kept in fractions and exponents; the outermost is not needed.
    return "".join(ET.tostring(child, encoding="unicode", short_empty_elements=False) for child in root)


if __name__ == "__main__":
    content = json.dumps(converted_formulas(), ensure_ascii=False, indent=1) + "\n"
    STORED.write_text(content, encoding="utf-8")
