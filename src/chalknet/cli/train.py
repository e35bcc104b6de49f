"""`chalknet train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import data_options, parsed_settings, parsed_source, recipe_options, say_notes


@click.command()
@click.option("--recipe", metavar="NAME", help="The named recipe to start from.  [default: writeup]")
@click.option(
    "--config", metavar="FILE", help="A config.toml to start from, such as an earlier run's; repeats that run."
)
@click.option("--data", metavar="FILE|FOLDER|glyphs", help="What to learn.  [default: glyphs, the built-in letters]")
@data_options
@recipe_options()
@click.option("--out", metavar="DIR", help="Folder for the run.  [default: runs/RECIPE-HIDDEN-seedN, or the next free]")
@click.option("--overwrite", is_flag=True, help="Write into --out even if it holds a finished run.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads; results do not depend on it.  [default: one a core]",
)
@click.option("--quiet", is_flag=True, help="No progress and no statistics.")
def train(
    recipe: str | None,
    config: str | None,
    data: str | None,
    out: str | None,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    **flags: Any,
) -> None:
    """Train a network and write a run folder.

    The folder holds history.csv (every epoch), summary.json, config.toml (complete: `chalknet train --config` repeats
    the run), model.safetensors, and curves.png and curves.svg.

    \b
    chalknet train --data notMNIST.npz --hidden 1000 --epochs 200 --seed 0 --out runs/first
    chalknet train --data digits.csv --split stratified --train 0.7 --valid 0.15
    """
    from chalknet.workflows.settle import default_folder, settle

    chosen, source = settle(recipe, config, parsed_settings(flags), parsed_source(data, flags))
    kernels = choose_kernels()  # before anything imports NumPy

    from chalknet.cli.progress import EpochProgress
    from chalknet.reporting.tables import statistics_table
    from chalknet.workflows.train import open_data, split_by, train_run

    samples = open_data(source)
    splits = split_by(chosen, samples)
    say_notes((*kernels, *samples.notes), quiet)
    folder = Path(out) if out else default_folder(chosen)
    with EpochProgress(chosen.training.epochs, len(splits.train), quiet=quiet) as progress:
        run = train_run(
            samples,
            splits,
            chosen,
            out=folder,
            numbered=not out,
            overwrite=overwrite,
            observe=progress,
            workers=workers,
        )
    if not quiet:
        click.echo(statistics_table(run).text())
        click.echo(f"written to {run.folder}")
