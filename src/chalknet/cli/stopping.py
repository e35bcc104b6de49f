"""`chalknet stopping`."""

from __future__ import annotations

import json

import cloup

from chalknet.cli.command import command
from chalknet.cli.options import csv_option, json_option
from chalknet.cli.output import echo
from chalknet.cli.parameters import FOLDER, Choice
from chalknet.config import MONITORS


@command()
@cloup.argument("folder", type=FOLDER, metavar="FOLDER", help="Folder of a run or a study.")
@cloup.option(
    "--monitor",
    type=Choice(MONITORS),
    default="valid_loss",
    show_default=True,
    help="Score that decides the epoch. It need not be the one that training monitored (recipe strong: "
    "valid_accuracy).",
)
@csv_option("Print the table as CSV.")
@json_option()
def stopping(folder: str, monitor: str, as_csv: bool, as_json: bool) -> None:
    """Find the epoch at which training should have stopped.

    For a run, or for each configuration of a study, this prints the epoch with the best monitored
    score, its 95 % confidence interval over seeds and validation samples (bootstrap), the
    accuracies at this epoch and at the end, and what the later epochs changed. The validation
    scores at the chosen epoch are optimistic, because the epoch was chosen on the validation
    samples. The test accuracy is not biased in this way.

    To train with N epochs, use `chalknet train --epochs N --no-stop-early`.

    Examples:
        chalknet stopping runs/first
        chalknet stopping runs/widths --csv
    """
    from chalknet.reporting.study_tables import stopping_table
    from chalknet.workflows.stopping import find_stopping

    found = find_stopping(folder, monitor)
    if as_json:
        echo(json.dumps([one.as_dict() for one in found], indent=2))
        return
    points = [(one.label, one.point) for one in found if one.point is not None]
    if as_csv:
        echo(stopping_table(points).csv(), nl=False)
    else:
        table = [stopping_table(points, joined=True).text()] if points else []
        echo("\n\n".join([*table, "\n".join(one.sentences() for one in found)]))
