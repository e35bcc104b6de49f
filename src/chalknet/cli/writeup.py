"""`chalknet writeup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import data_options, named_place, parsed_settings, parsed_source, recipe_options, say_notes
from chalknet.cli.output import echo

# Recipe fields that may be given; what seeds vary, and what would make it another write-up, may not.
FIELDS = ("split", "train_size", "valid_size", "split_seed", "learning_rate", "momentum", "epochs", "batch_size")

STOPPED = 130  # exit code of Ctrl-C


@click.command()
@click.option(
    "--data", metavar="FILE|FOLDER|glyphs", help="The letters to use.  [default: glyphs, the built-in letters]"
)
@click.option("--hidden", metavar="N,N,...", help="Widths to compare.  [default: 100,500,1000,2000]")
@click.option("--seeds", type=int, metavar="N", help="Trainings of each width.  [default: 3]")
@click.option("--quick", is_flag=True, help="A short form, marked as such: fewer widths, epochs and seeds.")
@data_options
@recipe_options(*FIELDS, "engine", "device", "precision", "dtype")
@click.option("--jobs", type=int, metavar="N", help="Trainings at a time.  [default: one a core]")
@click.option(
    "--out",
    type=named_place,
    metavar="DIR",
    help="Folder for everything; what was begun there goes on.  [default: runs/writeup]",
)
@click.option("--overwrite", is_flag=True, help="Replace a writeup.html or writeup.pdf that is not chalknet's, too.")
@click.option("--quiet", is_flag=True, help="No progress; only where the document is.")
def writeup(
    data: str | None,
    hidden: str | None,
    seeds: int | None,
    quick: bool,
    jobs: int | None,
    out: str | None,
    overwrite: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Make the course write-up again, whole, from data.

    A study over the number of hidden units, several seeds each, and a document of it: writeup.html and writeup.pdf,
    with every table under tables/ and every figure under figures/ as plain data. Stopped and started again with the
    same --out, it goes on where it was.

    \b
    chalknet writeup
    chalknet writeup --quick
    chalknet writeup --data notMNIST.npz --out runs/notmnist
    """
    from chalknet.workflows.settle_writeup import settle_writeup, writeup_folder

    source = parsed_source(data, flags)
    settings = parsed_settings(flags) | {"hidden": hidden}
    spec = settle_writeup(quick=quick, seeds=seeds, settings=settings, data=source)
    folder = Path(out) if out else writeup_folder(source.source, quick)
    kernels = choose_kernels()  # before anything imports NumPy

    from chalknet.cli.writeup_progress import WriteupBar
    from chalknet.data.open_data import open_data
    from chalknet.workflows.writeup import writeup as run_writeup

    samples = open_data(spec.data)
    say_notes((*kernels, *samples.notes), quiet)
    try:
        with WriteupBar(quiet=quiet) as progress:
            result = run_writeup(
                samples,
                out=folder,
                seeds=seeds,
                quick=quick,
                jobs=jobs,
                overwrite=overwrite,
                on_progress=progress,
                **settings,
            )
    except KeyboardInterrupt:
        echo(f"chalknet: stopped; what is finished is kept. The same command goes on (--out {folder}).", err=True)
        return STOPPED
    echo(f"written to {result.html} and {result.pdf}")
    if result.results.failed:
        shown = f"{len(result.results.failed)} of {len(result.results.runs)} trainings failed"
        echo(f"chalknet: {shown}; the document says which.", err=True)
        return 1
    return 0
