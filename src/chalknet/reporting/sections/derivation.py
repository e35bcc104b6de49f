"""The derivation: each derivative with its error in the numerical check."""

from __future__ import annotations

from chalknet.formatting import count_of, listed
from chalknet.named_networks import DENSE
from chalknet.reporting.document import Block, FormulaBlock, Paragraph, Section, TableBlock
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.learning import learning_configuration
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.tables import gradient_table

DIGITS = 9  # of the two derivatives, so that the table fits a page


def derivation_section(report_data: ReportData, number: str, chapter: str = "derivation") -> Section:
    """Show the derivation from the loss backward to every weight.

    Args:
        report_data: the study with its gradient checks.
        number: number of the section.
        chapter: the standard text that holds the derivation.
    """
    blocks = (*standard_text(chapter, report_data.formula_errors), *_check(report_data))
    return Section(number, "The derivation", blocks)


def _hidden(report_data: ReportData) -> str:
    """Return " with 1,000 hidden units", for the network that is checked: the one whose run is shown in full."""
    runs = learning_configuration(report_data)
    if runs is None:
        return ""
    network = runs.configuration.recipe.network
    if network.network != DENSE or not network.hidden:
        return "" if network.network == DENSE else f" {network.network}"
    *below, last = network.hidden
    return f" with {listed([*(f'{width:,}' for width in below), count_of(last, 'hidden unit')])}"


def _check(report_data: ReportData) -> tuple[Block, ...]:
    if not report_data.checks:
        return ()
    worst = max(check.relative_error for check in report_data.checks)
    text = (
        f"[table:gradient_check] checks the whole network{_hidden(report_data)} at its initial weights. For each "
        "parameter, it shows the derivative of the loss along one direction, once by the formulas, $G1$, and once as a "
        "central difference, $G2$. The direction $u$ has length 1. It is the sum of the gradient's direction and a "
        "random one, scaled. The step Δ is the cube root of the float64 precision, 6.1e-6. The floor in $G3$ keeps "
        "rounding errors out of the comparison where both derivatives are nearly 0. A derivative passes if its "
        f"relative error is at most 1e-7. The largest one is {worst:.1e}"
    )
    passed = all(check.ok for check in report_data.checks)
    text += ", so every derivative passes." if passed else ", so a derivative fails."
    table = gradient_table(report_data.checks, DIGITS)
    formulas = tuple(FormulaBlock(label) for label in ("G1", "G2", "G3"))
    caption = (
        "Gradient check of the whole network: the number of values of each parameter, the derivatives $G1$ and $G2$ "
        "along one direction, and their relative error $G3$."
    )
    return (Paragraph(text), *formulas, TableBlock("gradient_check", table, caption))
