"""The formulas in documents are those of the derivation, converted to Typst and MathML."""

import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import pytest

from chalknet.reporting.formulas import FORMULAS, SYMBOLS, symbol
from chalknet.reporting.html import formula_markup, symbol_markup

ROOT = Path(__file__).resolve().parents[2]
STORED = json.loads((resources.files("chalknet.reporting") / "templates" / "formulas.json").read_text(encoding="utf-8"))


@pytest.mark.skipif(
    any(version(name) != stored for name, stored in STORED["versions"].items()),
    reason="another version of Pandoc or Typst may write them otherwise",
)
def test_stored_formulas_are_those_of_the_derivation(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from write_formulas import converted_formulas

    assert converted_formulas() == STORED, "run `make docs`"


def test_words_and_brackets_survive_the_conversion():
    """What Pandoc alone converts badly: brackets of a fixed size, words letter by letter, cases without a gap."""
    everything = " ".join(formula.typst for formula in FORMULAS.values())
    assert not re.search(r"#scale|upright\(\w \w", everything)
    assert '"softmax"(o_n)' in FORMULAS["L5"].typst
    assert "quad &" in FORMULAS["R3"].typst


def test_accents_and_overlines_survive_the_conversion():
    """Typst's MathML has no overlines, and browsers draw combining accents beside their letter."""
    for formula in FORMULAS.values():
        assert formula.mathml.count('<mrow class="overline">') == formula.latex.count(r"\overline{")
        assert not any(map(unicodedata.combining, formula.mathml))
    for file in ("reporting/templates/document.css", "serving/page/assets/page.css"):
        assert "math .overline {" in (resources.files("chalknet") / file).read_text(encoding="utf-8")


def test_every_formula_and_symbol_is_well_formed_mathml():
    assert len(FORMULAS) > 60
    pieces = [formula_markup(label) for label in FORMULAS] + [symbol_markup(name) for name in (*SYMBOLS, "W_h", "x")]
    for piece in pieces:
        assert ET.fromstring(piece).tag == "math"
        assert "\\" not in "".join(ET.fromstring(piece).itertext())  # a command that was not understood


def test_symbols_are_letters_with_subscripts_or_known_names():
    assert symbol("x") is not None
    assert symbol("W_h") is not None
    assert symbol("dL/dW_h") is not None
    assert symbol("xy") is None
    assert symbol("W_hh") is None
    assert symbol("#x") is None
    assert symbol_markup("x_1") == '<math alttext="x_1"><msub><mi>x</mi><mn>1</mn></msub></math>'
