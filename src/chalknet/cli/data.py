"""`chalknet data`: info, show, audit, convert, and build from its own file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chalknet.cli.lazy import LazyCommand, LazyGroup
from chalknet.cli.options import data_options, named_place, parsed_settings, parsed_source, recipe_options, say_notes
from chalknet.cli.output import echo

if TYPE_CHECKING:
    from chalknet.config import Recipe
    from chalknet.data.dataset import Dataset
    from chalknet.data.splits import Splits
    from chalknet.data.twins import Progress
    from chalknet.workflows.data import Conversion

FOUND = 3  # exit code of --strict


@click.group(
    cls=LazyGroup,
    lazy={"build": LazyCommand("chalknet.cli.data_build", "build", "Make a set of letters from fonts.")},
)
def data() -> None:
    """Look at data sets, audit, convert and build them.

    SOURCE is an .npz file, IDX files, a folder of image folders, a CSV table, or glyphs, the built-in letters.
    """


def source_argument(command: Any) -> Any:
    """SOURCE, with the flags that say how it is read."""
    return click.argument("source", metavar="SOURCE")(data_options(command))


def division_options(command: Any) -> Any:
    """The flags that say how data are divided, named as those of `chalknet train`."""
    option = click.option(
        "--recipe", default="strong", show_default=True, metavar="NAME", help="Recipe that divides the data."
    )
    return option(recipe_options("split", "train_size", "valid_size", "split_seed")(command))


@data.command()
@source_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(source: str, as_json: bool, **flags: Any) -> None:
    """Say what a data set is: samples, classes, values, digest.

    \b
    chalknet data info glyphs
    chalknet data info letters.csv --label-column letter
    """
    from chalknet.cli.data_text import info_lines
    from chalknet.workflows.data import describe

    facts = describe(_load(source, flags))
    if as_json:
        echo(json.dumps(facts.as_dict(), indent=2))
    else:
        echo("\n".join(info_lines(facts)))


@data.command()
@source_argument
@click.option(
    "-o",
    "--output",
    default="samples.png",
    show_default=True,
    type=named_place,
    metavar="FILE",
    help=".png, .svg or .pdf.",
)
@click.option("--rows", type=int, metavar="N", help="Rows of images.  [default: 2; a row a class with --by-class]")
@click.option("--columns", type=int, default=5, show_default=True, metavar="N", help="Columns of images.")
@click.option("--seed", type=int, default=521, show_default=True, metavar="N", help="Seed of the draw.")
@click.option("--by-class", is_flag=True, help="A row of images for each class.")
@click.option(
    "--part",
    type=click.Choice(["train", "valid", "test", "all"]),
    default="train",
    show_default=True,
    help="Samples to draw from, divided as training does.",
)
@division_options
def show(
    source: str, output: str, rows: int | None, columns: int, seed: int, by_class: bool, part: str, **flags: Any
) -> None:
    """Draw a sheet of images with their classes.

    \b
    chalknet data show glyphs
    chalknet data show notMNIST.npz --rows 10 --columns 20 --by-class -o sheet.svg

    A file of that name is replaced.
    """
    from chalknet.reporting.drawings.images import show_images
    from chalknet.workflows.data import divide

    samples = _load(source, flags)
    say_notes(samples.notes, quiet=False)
    indices, drawn_from = None, f"{len(samples):,} images"
    if part != "all":
        recipe, splits = divide(samples, flags["recipe"], **parsed_settings(flags))
        indices = splits.named()[part]
        drawn_from = f"{len(indices):,} images of {part} ({_division(recipe, splits)})"
    show_images(samples, rows, columns, seed=seed, by_class=by_class, indices=indices, path=output)
    echo(f"written to {output}, drawn from {drawn_from}")


@data.command()
@source_argument
@division_options
@click.option(
    "--near",
    type=float,
    metavar="X",
    help="Largest RMS difference of near twins.  [default: 0.03; 0, copies alone, for rows of few columns]",
)
@click.option("--strict", is_flag=True, help="Exit with code 3 if anything is found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every sample that is concerned.")
@click.option("-o", "--output", type=named_place, metavar="FILE", help="Draw the worst pairs here: .png, .svg or .pdf.")
def audit(
    source: str,
    near: float | None,
    strict: bool,
    as_json: bool,
    output: str | None,
    **flags: Any,
) -> int:
    """Find what makes a test figure less than honest.

    Copies and near copies within and across the parts, images with two labels, blank images, classes out of balance or
    missing, groups on two sides; and what each can do to the test figure, as a number.

    \b
    chalknet data audit notMNIST.npz
    chalknet data audit glyphs --split group --strict

    The parts are those that `chalknet train` would make of the data with the same flags.
    """
    from chalknet.cli.data_text import audit_text
    from chalknet.data.audit import audit as audit_data
    from chalknet.reporting.drawings.picture import file_kind
    from chalknet.workflows.data import divide, write_pair_sheet

    if output is not None:
        file_kind(output)  # a name that cannot be is told before the work
    samples = _load(source, flags)
    say_notes(samples.notes, quiet=False)
    recipe, splits = divide(samples, flags["recipe"], **parsed_settings(flags))
    with _block_progress() as progress:
        result = audit_data(samples, splits, near=near, progress=progress)
    n_drawn = None if output is None else write_pair_sheet(samples, result, Path(output))
    if as_json:
        from dataclasses import asdict

        split = {"recipe": recipe.name, **asdict(recipe.split), "sizes": splits.sizes}
        echo(json.dumps({"split": split, **result.as_dict()}, indent=2))
    else:
        audit_text(result, _division(recipe, splits))
        if output is not None:
            echo(f"{n_drawn} pairs drawn in {output}" if n_drawn else f"no pairs to draw; {output} is not written")
    return FOUND if strict and result.findings else 0


@data.command()
@source_argument
@click.option(
    "-o",
    "--output",
    required=True,
    type=named_place,
    metavar="OUT",
    help="File for npz and csv, folder for the others.",
)
@click.option(
    "--format",
    "kind",
    metavar="NAME",
    help="npz, csv, folder (PNG images in a folder a class), idx (MNIST's files), npy or shards (one pair of arrays or "
    "many, which training reads from disk).  [default: from OUT's name]",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def convert(source: str, output: str, kind: str | None, overwrite: bool, **flags: Any) -> None:
    """Write a data set in another format, and check that it reads back the same.

    \b
    chalknet data convert mnist_folder -o mnist.npz
    chalknet data convert glyphs -o letters
    """
    from chalknet.workflows.data import convert as convert_data

    samples = _load(source, flags)
    say_notes(samples.notes, quiet=False)
    done = convert_data(samples, Path(output), kind, overwrite=overwrite)
    echo("\n".join(_conversion_lines(done)))


def _load(source: str, flags: dict[str, Any]) -> Dataset:
    from chalknet.data.open_data import open_data

    return open_data(parsed_source(source, flags))


def _division(recipe: Recipe, splits: Splits) -> str:
    """A division in a few words: the recipe that it is of, its method and seed, and the parts' sizes."""
    sizes = ", ".join(f"{part} {size:,}" for part, size in splits.sizes.items())
    return f"divided as by recipe {recipe.name} ({recipe.split.split}, seed {recipe.split.split_seed}): {sizes}"


def _conversion_lines(done: Conversion) -> Iterator[str]:
    yield f"written to {done.path}: {done.n_samples:,} samples, {done.size_bytes:,} bytes, read back and found equal"
    if done.lost:
        words = {
            "order": "the order",
            "groups": "the groups",
            "own_test": "the test part",
            "dtype": "the type of value",
        }
        yield f"not kept by this format: {', '.join(words[name] for name in done.lost)}"
    if "class_names" in done.read_with:
        yield f"read it with --class-names {','.join(done.read_with['class_names'])}"
    if "image_size" in done.read_with:
        yield f"read it with --image-size {'x'.join(map(str, done.read_with['image_size']))}"


@contextmanager
def _block_progress() -> Iterator[Progress | None]:
    """A bar on a terminal, with the time left; nothing elsewhere, as an audit takes seconds."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("comparing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
