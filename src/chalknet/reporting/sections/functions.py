"""The functions that the network is made of: formulas, and where in the code each one stands."""

from __future__ import annotations

from chalknet.reporting.document import FormulaBlock, Paragraph, Section, TableBlock
from chalknet.reporting.tables import Table

# what, formula, derivative, function
IN_CODE = (
    ("softmax", "S2", "S5", "network.softmax.softmax"),
    ("log softmax", "S3", "", "network.softmax.log_softmax"),
    ("relu", "R1", "R2", "network.relu.relu"),
    ("dense layer", "A1", "A2, A3, A4", "network.dense.dense"),
    ("cross-entropy", "L2", "L4", "network.losses.softmax_cross_entropy"),
    ("network", "N1", "N2, N3", "network.architecture.forward"),
    ("initial weights", "I1", "", "network.initialisers.initial_parameters"),
    ("update", "U1, U2", "", "training.optimizers.Momentum"),
    ("accuracy", "M1", "", "network.metrics.accuracy"),
    ("printed loss", "M2", "", "network.metrics.printed_loss"),
)


def helpers_section(number: str) -> Section:
    """How samples are brought into shape, and what is counted."""
    return Section(
        number,
        "Helper functions",
        (
            Paragraph(
                "Images are flattened into rows and their pixels divided by 255, so that $x$ has a sample a row and "
                "values from 0 to 1. Labels are class numbers $y$; as one-hot rows $Y$ they have a 1 at the true "
                "class and 0 elsewhere. Accuracy is the share of samples whose most probable class is the true one:"
            ),
            FormulaBlock("M1"),
            Paragraph(
                "The original printed another figure as its loss, which is kept here under a name of its own, "
                "*printed loss*; [section:1.5] says what it is:"
            ),
            FormulaBlock("M2"),
        ),
    )


def functions_section(number: str) -> Section:
    """The network's parts, forward."""
    rows = tuple((what, formula, derivative, function) for what, formula, derivative, function in IN_CODE)
    table = Table("Formulas in code", ("", "formula", "derivative", "function in chalknet"), rows)
    return Section(
        number,
        "The functions",
        (
            Paragraph(
                "A dense layer is an affine map of each row of a batch, relu takes the positive part, and softmax "
                "turns the last layer's values, the logits, into probabilities:"
            ),
            FormulaBlock("A1"),
            FormulaBlock("R1"),
            FormulaBlock("S2"),
            Paragraph(
                "Subtracting the largest logit $m$ changes nothing, since it cancels, and no exponential can "
                "overflow. The loss is the mean surprise at the true class, in nats; it is taken from the logits by "
                "$S3$, so that no logarithm of a probability that was rounded to 0 is ever needed:"
            ),
            FormulaBlock("S3"),
            FormulaBlock("L2"),
            Paragraph("Together they are the network with one hidden layer:"),
            FormulaBlock("N1"),
            TableBlock("code", table, "Each formula, its derivative, and the function that computes both."),
        ),
    )
