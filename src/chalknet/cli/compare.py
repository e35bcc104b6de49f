"""`chalknet compare`."""

from __future__ import annotations

from pathlib import Path

import cloup

from chalknet.cli.command import command
from chalknet.cli.options import (
    document_options,
    json_option,
    out_option,
    overwrite_option,
    print_notes,
    quiet_option,
)
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE
from chalknet.errors import ConfigError


@command()
@cloup.argument(
    "files",
    type=FILE,
    metavar="[NAME=]FILE...",
    nargs=-1,
    required=True,
    help="CSV files, one for each model. NAME is the name of the model, by default that of the file.",
)
@cloup.option_group(
    "Files",
    cloup.option(
        "--label-column",
        metavar="NAME",
        help="Column with the true classes; the other cells are then predicted classes.  "
        "[default: the column named label, class, target or y, if there is one]",
    ),
    cloup.option(
        "--id-column",
        metavar="NAME",
        help="Column with a name for each sample, by which the rows of the files are matched.  "
        "[default: the column named sample, id or index, or without a name]",
    ),
)
@cloup.option(
    "--paired-seeds",
    is_flag=True,
    help="Pair the seeds of all models, if seed 1 of each has something in common, such as the training samples of a "
    "fold.",
)
@cloup.option_group(
    "Output",
    out_option("Folder for comparison.html, comparison.pdf, tables and figures.  [default: print only]"),
    document_options,
    overwrite_option("Replace a comparison.html or comparison.pdf that chalknet did not write."),
    json_option("Print JSON with all digits."),
    quiet_option("Show no notes."),
)
def compare(
    files: tuple[str, ...],
    label_column: str | None,
    id_column: str | None,
    paired_seeds: bool,
    out: str | None,
    title: str | None,
    author: str | None,
    date: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare models of any library by their predictions.

    Each file is the table of one model. Its rows are samples, and its columns are runs of the model
    with different seeds. The first line names the columns. The cells are predicted classes if
    there is a column of true classes. Otherwise they are 1 for a correct and 0 for a wrong
    prediction.

    This prints the accuracies, their differences with 95 % confidence intervals over seeds and
    samples, and which differences are significant. With --out, it writes a report.

    Examples:
        chalknet compare forest.csv network.csv
        chalknet compare forest=a/test.csv network=b/test.csv -o runs/compared
    """
    from chalknet.workflows.compare import compare as compare_models

    found = compare_models(
        _named(files),
        paired_seeds=paired_seeds,
        id_column=id_column,
        label_column=label_column,
        out=out,
        title=title,
        author=author,
        date=date,
        overwrite=overwrite,
    )
    print_notes(found.notes, quiet)
    echo(found.json() if as_json else f"{found.text()}\n", nl=False)
    if found.html is not None and not as_json:
        echo(f"\nwritten to {found.html} and {found.pdf}")


def _named(files: tuple[str, ...]) -> dict[str, str]:
    """Return the files by the names of their models."""
    named: dict[str, str] = {}
    for word in files:
        name, equals, path = word.partition("=")
        if not equals or not name or Path(word).exists():
            name, path = Path(word).stem, word
        if name in named:
            raise ConfigError(f"two models are named {name!r}. Name them: NAME=FILE.")
        named[name] = path
    return named
