"""`chalknet evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chalknet.cli.options import data_options, named_place, parsed_source, say_notes
from chalknet.cli.output import echo

if TYPE_CHECKING:
    from chalknet.reporting.tables import Table
    from chalknet.serving.evaluation import Evaluation

WIDTH = 80


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="[DATA]", required=False)
@data_options
@click.option(
    "--split",
    type=click.Choice(["all", "test", "valid", "train"]),
    default="all",
    show_default=True,
    help="Samples to judge by; splits are those of the run whose folder MODEL is, of its own data.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--out", type=named_place, metavar="DIR", help="Folder for evaluation.json, tables as CSV, and pictures.")
@click.option("--overwrite", is_flag=True, help="Write into --out even if it holds an evaluation.")
@click.option("--quiet", is_flag=True, help="No notes.")
def evaluate(
    model: str, data: str | None, split: str, as_json: bool, out: str | None, overwrite: bool, quiet: bool, **flags: Any
) -> None:
    """Say how good a model is on labeled data.

    MODEL is a model file or a run's folder. DATA is whatever `chalknet train --data` reads, by default what the run was
    trained on; images of a folder are resized to what the model reads. Classes are matched by name, or by position
    where the data's are mere numbers.

    Accuracy has Wilson's 95 % interval, which carries the number of samples and speaks of this one model. Loss is the
    mean cross-entropy in nats. The expected calibration error is how far the confidence of answers is from the share
    of them that is right, over 15 bins (Naeini et al. 2015; Guo et al. 2017). --out gets the most confident mistakes
    as a picture, and the reliability diagram.

    \b
    chalknet evaluate runs/first --split test
    chalknet evaluate runs/first/model.safetensors scans --out runs/first/scans
    """
    from chalknet.workflows.evaluate import evaluate as run_evaluate
    from chalknet.workflows.evaluate import evaluation_json

    found = run_evaluate(model, parsed_source(data, flags), split=split, out=out, overwrite=overwrite)
    say_notes(found.notes, quiet)
    if as_json:
        echo(evaluation_json(found), nl=False)
        return
    echo("\n\n".join(table.text() for table in _shown(found)))
    if out is not None:
        echo(f"\nwritten to {out}")


def _shown(found: Evaluation) -> list[Table]:
    """What a terminal shows: the confusion matrix where it fits, else the mistakes that are made most often."""
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
