"""`chalknet report`."""

from __future__ import annotations

import cloup

from chalknet.cli.command import command
from chalknet.cli.options import document_options, out_option, overwrite_option, quiet_option
from chalknet.cli.output import echo
from chalknet.cli.parameters import DATA_SOURCE, FOLDER


@command()
@cloup.argument("folder", type=FOLDER, metavar="FOLDER", help="Folder of a study or a run, finished or not.")
@out_option("Folder for the documents.  [default: report/ in FOLDER]")
@cloup.option(
    "--data",
    type=DATA_SOURCE,
    metavar="FILE|FOLDER",
    help="Where the samples are now, if they have moved. Their SHA-256 is checked.  "
    "[default: where they were in training]",
)
@document_options
@overwrite_option("Replace a report.html or report.pdf that chalknet did not write.")
@quiet_option("Do not print where the document is.")
def report(
    folder: str,
    out: str | None,
    data: str | None,
    title: str | None,
    author: str | None,
    date: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write a report about a study or a run.

    The report compares configurations with confidence intervals and shows the best stopping point,
    the chosen model with its test accuracy, its mistakes, and its weights as images. It is written
    as report.html and report.pdf. Every table is also a file in tables/, and the data of every
    figure a file in figures/. Images of samples can be shown only if the data is still there.

    Examples:
        chalknet report runs/study-hidden
        chalknet report runs/first --out first-report
    """
    from chalknet.workflows.report import report as make_report

    result = make_report(folder, out=out, data=data, title=title, author=author, date=date, overwrite=overwrite)
    if not quiet:
        echo(f"written to {result.html} and {result.pdf}")
