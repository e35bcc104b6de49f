"""`chalknet evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import cloup

from chalknet.cli.command import command
from chalknet.cli.options import (
    json_option,
    out_option,
    overwrite_option,
    parse_source,
    print_notes,
    quiet_option,
    reading_options,
    table_file_options,
)
from chalknet.cli.output import echo
from chalknet.cli.parameters import DATA_SOURCE, FILE

if TYPE_CHECKING:
    from chalknet.reporting.tables import Table
    from chalknet.serving.evaluation import Evaluation

WIDTH = 80  # A confusion matrix that is wider, in characters, is not printed.


@command()
@cloup.argument("model", type=FILE, metavar="MODEL", help="A model file or the folder of a run.")
@cloup.argument(
    "data",
    type=DATA_SOURCE,
    metavar="[DATA]",
    required=False,
    help="Labeled samples: anything that `chalknet train --data` reads.  [default: the data of the run]",
)
@cloup.option_group(
    "Data",
    cloup.option(
        "--split",
        type=click.Choice(["all", "test", "valid", "train"]),
        default="all",
        help="Samples to evaluate. A split can be chosen only for a run folder and the data of that run.  "
        "[default: all, including the training samples]",
    ),
    reading_options("as in the run"),
)
@cloup.option_group("Table", table_file_options("as in training", "always, besides those of the model"))
@cloup.option_group(
    "Output",
    out_option("Folder for evaluation.json, tables as CSV files, and images."),
    overwrite_option("Write into --out even if it holds an evaluation."),
    json_option(),
    quiet_option("Show no notes."),
)
def evaluate(
    model: str, data: str | None, split: str, as_json: bool, out: str | None, overwrite: bool, quiet: bool, **flags: Any
) -> None:
    """Measure a model on labeled data.

    This prints accuracy, loss (mean cross-entropy in nats), the scores of each class, a confusion
    matrix and the calibration of the probabilities. Classes are matched by name, or by position if
    the data has only class numbers. Images in a folder are resized as the training images
    were.

    The 95 % confidence interval of the accuracy (Wilson) accounts for the random choice of samples.
    It does not account for variation between trained models. The expected calibration error
    compares confidence with accuracy in 15 bins (Guo et al. 2017). The folder of --out also
    receives images of the most confident mistakes and of the reliability diagram.

    Examples:
        chalknet evaluate runs/first --split test
        chalknet evaluate runs/first/model.safetensors scans -o runs/first/scans
    """
    from chalknet.cli.progress import slow_reading
    from chalknet.workflows.evaluate import evaluate as run_evaluate
    from chalknet.workflows.evaluate import evaluation_json

    with slow_reading(data or "the data", quiet=quiet):
        found = run_evaluate(model, parse_source(data, flags), split=split, out=out, overwrite=overwrite)
    print_notes(found.notes, quiet)
    if as_json:
        echo(evaluation_json(found), nl=False)
        return
    echo("\n\n".join(table.text() for table in _shown(found)))
    if out is not None:
        echo(f"\nwritten to {out}")


def _shown(found: Evaluation) -> list[Table]:
    """Return the tables to print, with frequent mistakes if the confusion matrix is too wide."""
    from chalknet.serving.evaluation_tables import (
        MAX_CLASSES,
        class_score_table,
        confusion_table,
        frequent_mistakes_table,
        reliability_table,
        score_table,
    )

    matrix = confusion_table(found)
    fits = max(map(len, matrix.text().splitlines())) <= WIDTH and len(matrix.rows) <= MAX_CLASSES
    mistakes = matrix if fits else frequent_mistakes_table(found)
    tables = [
        score_table(found),
        class_score_table(found, MAX_CLASSES),
        mistakes,
        reliability_table(found, with_empty=False),
    ]
    return [table for table in tables if table.rows]
