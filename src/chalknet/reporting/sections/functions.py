"""The functions of the network: formulas, and the code that computes each."""

from __future__ import annotations

from chalknet.reporting.document import Section, TableBlock
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.tables import Table

CODE_CAPTION = (
    "Each formula, its derivative, and the function that computes them. Appendix B shows the code of the layers, the "
    "loss, the network and the update."
)
# what, formula, derivative, function
IN_CODE = (
    ("softmax", "S2", "S5", "network.softmax.softmax"),
    ("log softmax", "S3", "", "network.softmax.log_softmax"),
    ("relu", "R1", "R2", "network.relu.relu"),
    ("dense layer", "A1", "A2, A3, A4", "network.dense.dense"),
    ("cross-entropy", "L2", "L4", "network.losses.softmax_cross_entropy"),
    ("network", "N1", "N2, N3", "network.architecture.forward"),
    ("initial weights", "I1", "", "network.initializers.initial_parameters"),
    ("update", "U1, U2", "", "network.optimizers.Momentum"),
    ("accuracy", "M1", "", "network.metrics.accuracy"),
    ("printed loss", "M2", "", "network.metrics.printed_loss"),
)


def helpers_section(number: str) -> Section:
    """Show how samples are prepared and what is measured."""
    return Section(number, "Helper functions", standard_text("helpers"))


def functions_section(number: str) -> Section:
    """Show the functions of the forward pass."""
    table = Table("Formulas in code", ("", "formula", "derivative", "function in chalknet"), IN_CODE)
    code = TableBlock(
        "code",
        table,
        CODE_CAPTION,
    )
    return Section(number, "The functions", (*standard_text("functions"), code))
