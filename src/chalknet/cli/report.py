"""`chalknet report`."""

from __future__ import annotations

import click

from chalknet.cli.options import named_place
from chalknet.cli.output import echo


@click.command()
@click.argument("folder", metavar="STUDY|RUN")
@click.option(
    "--out",
    type=named_place,
    metavar="DIR",
    help="Folder for the documents.  [default: report in the study's or run's own]",
)
@click.option(
    "--data",
    type=named_place,
    metavar="FILE|FOLDER",
    help="Where the samples are now, if they have moved; their digest is checked.",
)
@click.option("--overwrite", is_flag=True, help="Replace a report.html or report.pdf that is not chalknet's, too.")
@click.option("--quiet", is_flag=True, help="Do not say where the document is.")
def report(folder: str, out: str | None, data: str | None, overwrite: bool, quiet: bool) -> None:
    """Make a document of a study, a run or an ensemble, finished or not.

    report.html and report.pdf, with every table under tables/ and every figure under figures/ as plain data: what was
    compared and what the numbers carry, when to stop, the choice and its test figure, mistakes and weights as images.
    Pictures need the samples, which are read again from where they came.

    \b
    chalknet report runs/study-hidden
    chalknet report runs/first --out first-report
    """
    from chalknet.workflows.report import report as make_report

    result = make_report(folder, out=out, data=data, overwrite=overwrite)
    if not quiet:
        echo(f"written to {result.html} and {result.pdf}")
