"""The layers of a convolutional network: sizes, formulas, and the code that computes each."""

from __future__ import annotations

import math

from chalknet.formatting import DASH, count_of
from chalknet.network.architecture import architecture_for
from chalknet.reporting.document import Block, Paragraph, Section, TableBlock
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.functions import CODE_CAPTION
from chalknet.reporting.sections.learning import learning_configuration
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.tables import Table

# what, formula, derivative, function
IN_CODE = (
    ("convolution", "K1, K2", "K3, K4, K5", "network.conv2d.conv2d"),
    ("relu", "R1", "R2", "network.relu.relu"),
    ("batch normalization", "B1, B2, B3", "B4, B5", "network.batch_norm.batch_norm"),
    ("max pooling", "Q1", "Q2", "network.max_pool2d.max_pool2d"),
    ("dense layer", "A1", "A2, A3, A4", "network.dense.dense"),
    ("dropout", "D1", "D2", "network.dropout.dropout"),
    ("log softmax", "S3", "", "network.softmax.log_softmax"),
    ("cross-entropy", "L2", "L4", "network.losses.softmax_cross_entropy"),
    ("L2 penalty", "P1", "P2", "network.losses.l2_penalty"),
    ("network", "", "", "network.architecture.forward"),
    ("initial weights", "I1", "", "network.initializers.initial_parameters"),
    ("update", "U4, U5", "", "network.optimizers.Adam"),
    ("accuracy", "M1", "", "network.metrics.accuracy"),
    ("softmax twice", "M9", "", "network.metrics.double_softmax_loss"),
)


def layers_section(report_data: ReportData, number: str, title: str = "The layers") -> Section:
    """Show the layers of the network with their sizes, and the functions of the forward pass."""
    code = TableBlock(
        "code",
        Table("Formulas in code", ("", "formula", "derivative", "function in chalknet"), IN_CODE),
        CODE_CAPTION,
    )
    return Section(number, title, (*_sizes(report_data), *standard_text("part2 functions"), code))


def layers_table(report_data: ReportData) -> Table:
    """Return a row per layer of the network that is shown in full: its output and its learned values."""
    runs, facts = learning_configuration(report_data), report_data.results.data
    recipe = report_data.recipe if runs is None else runs.configuration.recipe
    rows = []
    for named in architecture_for(recipe, facts.sample_shape, len(facts.class_names)).named_layers:
        shape = named.layer.output_shape(named.input_shape)
        counts = [math.prod(one.shape) for one in named.parameters.values() if one.is_learned]
        size = " × ".join(f"{length:,}" for length in shape)
        rows.append((str(named.layer).replace(" x ", " × "), size, f"{sum(counts):,}" if counts else DASH))
    return Table("The layers", ("layer", "output", "learned values"), tuple(rows))


def _sizes(report_data: ReportData) -> tuple[Block, ...]:
    table, facts = layers_table(report_data), report_data.results.data
    learned = [int(row[2].replace(",", "")) for row in table.rows if row[2] != DASH]
    text = (
        f"[table:layers] lists the layers from the input, an image of {' × '.join(map(str, facts.sample_shape[:2]))} "
        f"pixels, to the output. The network learns {sum(learned):,} values, its parameters. "
        f"{100 * max(learned) / sum(learned):.1f} % of them are in one layer: the dense layer that reads all values "
        "after pooling."
    )
    caption = (
        f"The {count_of(len(table.rows), 'layer')}: shape of the output for one image (rows × columns × channels, or "
        "units), and number of learned values."
    )
    return (Paragraph(text), TableBlock("layers", table, caption))
