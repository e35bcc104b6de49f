"""The documents' formulas are the derivation's, and their MathML is what Typst makes of them."""

import json
import re
import xml.etree.ElementTree as ET
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import pytest

from chalknet.reporting.formulas import FORMULAS, SYMBOLS, symbol
from chalknet.reporting.html import formula_markup, symbol_markup
from chalknet.reporting.typst import formulas_as_mathml

DERIVATION = (Path(__file__).resolve().parents[2] / "docs" / "derivation.md").read_text(encoding="utf-8")
TAGGED = {tag: latex for latex, tag in re.findall(r"\$\$([^$]+?)\\tag\{(\w+)\}\s*\$\$", DERIVATION)}
STORED = json.loads((resources.files("chalknet.reporting") / "templates" / "mathml.json").read_text(encoding="utf-8"))


def packed(latex):
    return re.sub(r"\s+", "", latex)


def test_every_formula_of_the_derivation_is_here_and_no_other():
    assert list(FORMULAS) == list(TAGGED)


@pytest.mark.parametrize("label", FORMULAS)
def test_the_latex_is_the_derivations(label):
    assert packed(FORMULAS[label].latex) == packed(TAGGED[label])


def letters(text):
    """What is written, without the words of either language."""
    return sorted(re.findall(r"[A-Za-z0-9]", text))


WORDS = re.compile(
    r"\\(?:frac|tfrac|sum|partial|log|max|arg|bigl|bigr|Bigl|Bigr|mathrm|text|qquad|quad|top|delta|ell|epsilon|sqrt"
    r"|sim|mathcal|leftarrow|pm|begin\{\w+\}|end\{\w+\}|tanh|cos|sin|min|pi|mu|gamma|beta|lambda|sigma|cdot"
    r"|lfloor|rfloor)"
    r"|\b(?:partial|sum|log|max|wide|quad|lr|delta|ell|epsilon\.alt|sqrt|tilde|cal|arrow\.l|plus\.minus|upright"
    r"|limits|op|top|tanh|cos|sin|min|pi|mu|gamma|beta|lambda|sigma|dot|floor|mat|cases)\b|arg max"
)


@pytest.mark.parametrize("label", FORMULAS)
def test_both_languages_write_the_same_letters(label):
    formula = FORMULAS[label]
    typst = formula.typst.replace("_", " ")  # which belongs to a word for \b
    assert letters(WORDS.sub(" ", formula.latex)) == letters(WORDS.sub(" ", typst))


def test_a_wrong_letter_in_one_language_is_noticed():
    assert letters(WORDS.sub(" ", FORMULAS["A1"].latex)) != letters(WORDS.sub(" ", FORMULAS["A2"].typst))


@pytest.mark.skipif(version("typst") != STORED["typst"], reason="another version of Typst may write it otherwise")
def test_the_stored_mathml_is_made_from_the_formulas():
    assert formulas_as_mathml() == STORED, "run `python -m chalknet.reporting.typst`"


def test_every_formula_and_symbol_is_well_formed_mathml():
    assert set(STORED["formulas"]) == {*FORMULAS, *SYMBOLS}
    pieces = [formula_markup(label) for label in FORMULAS] + [symbol_markup(name) for name in (*SYMBOLS, "W_h", "x")]
    for piece in pieces:
        assert ET.fromstring(piece).tag == "math"
        assert "\\" not in "".join(ET.fromstring(piece).itertext())  # a command that was not understood


def test_a_symbol_is_a_letter_with_or_without_a_subscript_or_a_known_name():
    assert symbol("x") is not None
    assert symbol("W_h") is not None
    assert symbol("dL/dW_h") is not None
    assert symbol("xy") is None
    assert symbol("W_hh") is None
    assert symbol("#x") is None
    assert symbol_markup("x_1") == '<math alttext="x_1"><msub><mi>x</mi><mn>1</mn></msub></math>'
