"""`chalknet writeup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import data_options, parsed_settings, parsed_source, recipe_options, say_notes


@click.command()
@click.option(
    "--data", metavar="FILE|FOLDER|glyphs", help="The letters to use.  [default: glyphs, the built-in letters]"
)
@data_options
@recipe_options()
@click.option("--out", metavar="DIR", help="Folder for everything.  [default: runs/writeup, or the next free]")
@click.option("--overwrite", is_flag=True, help="Write into --out even if it holds a finished write-up.")
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def writeup(data: str | None, out: str | None, overwrite: bool, quiet: bool, **flags: Any) -> None:
    """Make the course write-up again, from data.

    Sections 0 to 1.3: the data with a sample sheet, every derivative against central differences, and the network with
    1,000 hidden units, its curves, statistics and time. The folder holds summary.txt, tables/, figures/ and the run.

    \b
    chalknet writeup
    chalknet writeup --data notMNIST.npz --out writeup
    """
    from chalknet.workflows.settle import settle

    recipe, source = settle(None, None, parsed_settings(flags), parsed_source(data, flags))
    kernels = choose_kernels()  # before anything imports NumPy

    from chalknet.cli.progress import EpochProgress
    from chalknet.workflows.train import open_data, split_by
    from chalknet.workflows.writeup import write_writeup

    samples = open_data(source)
    splits = split_by(recipe, samples)
    say_notes((*kernels, *samples.notes), quiet)
    folder = Path(out) if out else Path("runs") / "writeup"
    with EpochProgress(recipe.training.epochs, len(splits.train), quiet=quiet) as progress:
        result = write_writeup(samples, splits, recipe, folder, numbered=not out, overwrite=overwrite, observe=progress)
    if not quiet:
        click.echo(result.text())
        click.echo(f"written to {result.folder}")
