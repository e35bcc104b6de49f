"""`chalknet stopping`."""

from __future__ import annotations

import json

import click

from chalknet.cli.output import echo


@click.command()
@click.argument("folder", metavar="RUN|STUDY")
@click.option(
    "--monitor", default="valid_loss", show_default=True, metavar="NAME", help="valid_loss or valid_accuracy."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stopping(folder: str, monitor: str, as_csv: bool, as_json: bool) -> None:
    """Say when training should have stopped, from full curves.

    For a run's folder, or for each configuration of a study's: the epoch at which the monitor is best, how far it would
    move with other seeds and other validation images (95 % interval of a bootstrap over both), the accuracies there and
    at
    the end, and what training on cost or gained. The validation figures at the chosen epoch flatter, since it was
    chosen on them; the test figures do not.
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
