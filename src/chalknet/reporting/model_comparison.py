"""The document, tables and figure of a comparison of models, of which only correct predictions are known."""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.formatting import DASH, capitalized, count_of, percent, percent_interval
from chalknet.reporting.document import Block, Code, Document, FigureBlock, Findings, Paragraph, Section, TableBlock
from chalknet.reporting.figures import Curve, Figure, Panel
from chalknet.reporting.markup import escape
from chalknet.reporting.sections.comparison import interval_text, significance_text
from chalknet.reporting.study_figures import SEED_OFFSET
from chalknet.reporting.study_tables import MAX_SEED_COLUMNS, differences_table, seed_values, seeds_head
from chalknet.reporting.tables import Table
from chalknet.studies.compare import Comparison
from chalknet.studies.findings import Finding
from chalknet.version import __version__

MAX_FIGURE_MODELS = 12  # names of more models would overlap below a panel


def model_table(comparison: Comparison) -> Table:
    """Return the accuracy of each model with its interval, the highest first."""
    n_seeds = [len(one.by_seed) for one in comparison.configurations]
    several = max(n_seeds) > 1
    rows = [
        (
            one.label,
            percent(one.accuracy),
            percent_interval(one.low, one.high),
            *((str(len(one.by_seed)), seed_values(one.by_seed) if len(one.by_seed) > 1 else DASH) if several else ()),
        )
        for one in comparison.configurations
    ]
    head = "each seed" if min(n_seeds) <= MAX_SEED_COLUMNS else seeds_head(max(n_seeds))
    columns = ("model", "accuracy", "95 % interval", *(("seeds", head) if several else ()))
    n_samples = comparison.configurations[0].n_images
    return Table(f"Accuracy on {count_of(n_samples, 'sample')}", columns, tuple(rows))


def model_differences_table(comparison: Comparison) -> Table:
    """Return the differences of all pairs, or of many pairs those with the best model."""
    return differences_table(comparison, {}, "pair", "Differences between models")


def comparison_document(
    comparison: Comparison,
    findings: Sequence[Finding],
    *,
    n_single: int,
    remarks: Sequence[str] = (),
    command: str = "",
) -> Document:
    """Return the report about a comparison of models.

    Args:
        comparison: the accuracies and their differences.
        findings: what it shows.
        n_single: how many models are a single run whose predictions are right or wrong.
        remarks: further sentences about how it was made.
        command: the line that repeats it; "" if there is none.
    """
    sections = [Section("1", "Accuracy", tuple(_accuracy_blocks(comparison)))]
    if comparison.pairs:
        sections.append(Section("2", "Differences", tuple(_difference_blocks(comparison, findings, n_single))))
    method = (
        "All models are measured on the same samples, so their differences are paired by sample. The model of the "
        "intervals is one of two-way random effects: the seeds of a model, the samples, and a rest. The page "
        "*Statistics* of chalknet's documentation has the formulas and the measured coverage of the intervals."
    )
    blocks: list[Block] = [Paragraph(" ".join([method, *(escape(remark) for remark in remarks)]))]
    if command:
        blocks += [Paragraph("This command repeats the comparison:"), Code(command)]
    sections.append(Section(str(len(sections) + 1), "Method", tuple(blocks)))
    n_models, n_samples = len(comparison.configurations), comparison.configurations[0].n_images
    what = f"{count_of(n_models, 'model')} on {count_of(n_samples, 'sample')}"
    return Document("A comparison of models", f"{capitalized(what)}, by chalknet {__version__}", (), tuple(sections))


def _accuracy_blocks(comparison: Comparison) -> list[Block]:
    models = comparison.configurations
    n_seeds = [len(one.by_seed) for one in models]
    text = f"[table:models] lists the accuracy of each model on the {count_of(models[0].n_images, 'sample')}."
    caption = f"Accuracy of each model{', mean over its seeds' if max(n_seeds) > 1 else ''}, the highest first."
    blocks: list[Block] = [
        Paragraph(f"{text} {interval_text(n_seeds, 'model')}"),
        TableBlock("models", model_table(comparison), caption),
    ]
    if 1 < len(models) <= MAX_FIGURE_MODELS:
        small = " The small points are single seeds." if max(n_seeds) > 1 else ""
        alt = "Accuracy of each model with its interval; the table of models has the numbers."
        blocks.append(
            FigureBlock("accuracy", model_figure(comparison), f"Accuracy with 95 % intervals.{small}", alt),
        )
    return blocks


def _difference_blocks(comparison: Comparison, findings: Sequence[Finding], n_single: int) -> list[Block]:
    caption = "Differences in accuracy, in percentage points, from accuracies that are not rounded."
    return [
        Paragraph(significance_text(comparison, "model", n_single)),
        TableBlock("pairs", model_differences_table(comparison), caption),
        Findings(tuple(escape(one.sentence) for one in findings)),
    ]


def model_figure(comparison: Comparison) -> Figure:
    """Return the mean accuracy of each model with its interval, and each seed as a point."""
    models = comparison.configurations
    x = tuple(float(at) for at in range(len(models)))
    low, high = (tuple(getattr(one, end) for one in models) for end in ("low", "high"))
    curves = [Curve("mean, 95 % interval", x, tuple(one.accuracy for one in models), low, high, style="points")]
    seeds = [(at, value) for at, one in zip(x, models, strict=True) if len(one.by_seed) > 1 for value in one.by_seed]
    if seeds:
        offset = SEED_OFFSET * max(x)
        curves.append(
            Curve("single seeds", tuple(at + offset for at, _ in seeds), tuple(y for _, y in seeds), style="points")
        )
    panel = Panel("", "model", "accuracy", tuple(curves), x_names=tuple(one.label for one in models))
    return Figure("", (panel,), legend="shared")
