"""The derivation: each derivative with the figure of its numerical check."""

from __future__ import annotations

from chalknet.formatting import count_of, listed
from chalknet.reporting.document import Block, FormulaBlock, Paragraph, Section, TableBlock
from chalknet.reporting.gathered import Gathered
from chalknet.reporting.sections.learning import learning_cell
from chalknet.reporting.tables import gradient_table

DIGITS = 9  # of the two derivatives, so that the table fits a page


def derivation_section(gathered: Gathered, number: str) -> Section:
    """From the loss backwards to every weight."""

    def checked(label: str) -> FormulaBlock:
        gap = gathered.formula_gaps.get(label)
        return FormulaBlock(label, "" if gap is None else f"gradient check: gap {gap:.1e}")

    blocks: tuple[Block, ...] = (
        Paragraph(
            "The derivatives follow from the definitions by the chain rule, from the loss backwards. Beside each "
            "formula stands the relative gap between it and a central difference of the loss, on 20 samples of this "
            "data, in float64; a gap of at most 1e-7 passes. Right formulas come out near 1e-9; a flipped sign or a "
            "forgotten factor gives a gap of the order of 1."
        ),
        Paragraph("*Softmax.* By the quotient rule a probability depends on every logit of its row,"),
        FormulaBlock("S4"),
        Paragraph("so that a loss reached through $p$ collects all of these paths:"),
        checked("S5"),
        Paragraph("*Cross-entropy.* For one sample the shift cancels, and what is left is prediction minus truth:"),
        FormulaBlock("L3"),
        Paragraph("For a batch it is averaged (the original sums instead, which is the same without $1/B$):"),
        checked("L4"),
        Paragraph("*Dense layer*, with $D$ for the derivative of the loss by its output:"),
        checked("A2"),
        checked("A3"),
        checked("A4"),
        Paragraph("*Relu.* At exactly 0, where there is no derivative, 0 is taken:"),
        checked("R2"),
        Paragraph("*The network.* The output layer, by $L4$ and $A2$ to $A4$, summed over the batch:"),
        checked("N2"),
        Paragraph("And the hidden layer, by $R2$, $A3$ and $A4$:"),
        checked("N3"),
        Paragraph(
            "*Update.* Weights move by a velocity $v$ that keeps a share $m$ of itself; the biases take plain steps, "
            "as in the original. All start from normal random numbers whose deviation is chosen so that values keep "
            "their size from layer to layer:"
        ),
        FormulaBlock("U1"),
        FormulaBlock("U2"),
        FormulaBlock("I1"),
        *_check(gathered),
    )
    return Section(number, "The derivation", blocks)


def _hidden(gathered: Gathered) -> str:
    """ " of 1,000 hidden units": of the network whose training is shown in full, which is the one that is checked."""
    runs = learning_cell(gathered)
    if runs is None:
        return ""
    *below, last = runs.cell.recipe.network.hidden
    return f" of {listed([*(f'{width:,}' for width in below), count_of(last, 'hidden unit')])}"


def _check(gathered: Gathered) -> tuple[Block, ...]:
    if not gathered.checks:
        return ()
    worst = max(check.gap for check in gathered.checks)
    text = (
        f"[table:gradient_check] checks the whole network{_hidden(gathered)}, with the weights it starts from: the "
        "derivative of the loss along one direction in each group of parameters, by the formulas and by differences, "
        "$G1$ to $G3$. The "
        f"largest gap is {worst:.1e}"
    )
    passed = all(check.ok for check in gathered.checks)
    text += ", so every derivative passes." if passed else ", which is more than 1e-7: a derivative fails."
    table = gradient_table(gathered.checks, DIGITS)
    formulas = tuple(FormulaBlock(label) for label in ("G1", "G2", "G3"))
    return (Paragraph(text), *formulas, TableBlock("gradient_check", table, "The gradient check of the whole network."))
