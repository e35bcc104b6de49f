"""`chalknet data`: info, show, audit, convert, and build from its own file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from chalknet.cli.lazy import LazyCommand, LazyGroup
from chalknet.cli.options import (
    data_options,
    json_option,
    out_option,
    overwrite_option,
    parse_settings,
    parse_source,
    print_notes,
    recipe_option,
    split_options,
    table_options,
)
from chalknet.cli.output import echo
from chalknet.cli.parameters import DATA_SOURCE, Choice
from chalknet.training.recipes import DEFAULT_RECIPE

if TYPE_CHECKING:
    from chalknet.config import Recipe
    from chalknet.data.dataset import Dataset
    from chalknet.data.near_duplicates import Progress
    from chalknet.data.splits import Splits
    from chalknet.workflows.data import Conversion

FOUND = 3  # The exit code of --strict if the audit has found something.
SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}


@cloup.group(
    cls=LazyGroup,
    lazy={"build": LazyCommand("chalknet.cli.data_build", "build", "Create a data set of letters from fonts.")},
)
def data() -> None:
    """Inspect, audit, convert and create data sets.

    `chalknet data COMMAND --help` shows the options of a command.

    Examples:
        chalknet data info letters.npz
        chalknet data audit letters.npz
    """


def source_argument(command: Any) -> Any:
    """Add the argument SOURCE."""
    return cloup.argument(
        "source",
        type=DATA_SOURCE,
        metavar="SOURCE",
        help="An .npz, .npy or IDX file, a table (CSV, TSV, Parquet, Arrow, Excel, JSON Lines), a folder with one "
        "subfolder of images per class, or glyphs, the built-in letters.",
    )(command)


def reading_group(command: Any) -> Any:
    """Add the options that say how the source is read."""
    command = cloup.option_group("Reading a table", table_options)(command)
    return cloup.option_group("Reading the source", data_options)(command)


def split_group(command: Any) -> Any:
    """Add the options that say how the data is split, which are those of `chalknet train`."""
    return cloup.option_group(
        "Split",
        recipe_option("Recipe whose split settings are used."),
        split_options,
    )(command)


@data.command()
@source_argument
@reading_group
@json_option()
def info(source: str, as_json: bool, **flags: Any) -> None:
    """Show the contents of a data set: samples, classes, values, columns.

    Examples:
        chalknet data info glyphs
        chalknet data info letters.csv --label-column letter
    """
    from chalknet.cli.data_text import info_lines, print_table
    from chalknet.reporting.tables import column_table
    from chalknet.workflows.data import describe

    facts = describe(_load(source, flags))
    if as_json:
        echo(json.dumps(facts.as_dict(), indent=2))
    else:
        echo("\n".join(info_lines(facts)))
        if facts.columns:
            echo()
            print_table(column_table(facts.columns))


@data.command()
@source_argument
@cloup.option_group(
    "Image sheet",
    out_option("File to write: .png, .svg or .pdf. An existing file is replaced.  [default: samples.png]", "FILE"),
    cloup.option("--rows", type=int, metavar="N", help="Rows of images.  [default: 2; with --by-class one per class]"),
    cloup.option("--columns", type=int, default=5, show_default=True, metavar="N", help="Columns of images."),
    cloup.option("--by-class", is_flag=True, help="Draw a row of images for each class."),
    cloup.option(
        "--from",
        "drawn_from",
        type=click.Choice(["train", "valid", "test", "all"]),
        default="train",
        show_default=True,
        help="Split from which images are drawn.",
    ),
    cloup.option("--seed", type=int, default=521, show_default=True, metavar="N", help="Seed of the random draw."),
)
@split_group
@reading_group
def show(
    source: str,
    out: str | None,
    rows: int | None,
    columns: int,
    seed: int,
    by_class: bool,
    drawn_from: str,
    **flags: Any,
) -> None:
    """Draw a sheet of images with their classes.

    Examples:
        chalknet data show glyphs
        chalknet data show notMNIST.npz --columns 20 --by-class -o sheet.svg
    """
    from chalknet.reporting.drawings.images import show_images
    from chalknet.workflows.data import split_like_training

    samples = _load(source, flags)
    print_notes(samples.notes, quiet=False)
    path = out or "samples.png"
    indices, pool = None, f"{len(samples):,} images"
    if drawn_from != "all":
        recipe, splits = split_like_training(samples, flags["recipe"] or DEFAULT_RECIPE, **parse_settings(flags))
        indices = splits.named()[drawn_from]
        pool = f"{len(indices):,} {SPLIT_NAMES[drawn_from]} images ({_split_text(samples, recipe, splits)})"
    show_images(samples, rows, columns, seed=seed, by_class=by_class, indices=indices, path=path)
    echo(f"written to {path}, drawn from {pool}")


@data.command()
@source_argument
@cloup.option_group(
    "Audit",
    cloup.option(
        "--near",
        type=float,
        metavar="X",
        help="Largest RMS difference of near duplicates, as a fraction (0 to 1) of the full range of values. 0 finds "
        "only copies.  [default: 0.03; rows with fewer than 16 columns: 0]",
    ),
    cloup.option("--strict", is_flag=True, help="Exit with code 3 if anything is found."),
    out_option("Draw the most similar pairs to this file: .png, .svg or .pdf.", "FILE"),
    json_option("Print JSON that lists every affected sample."),
)
@split_group
@reading_group
def audit(source: str, near: float | None, strict: bool, as_json: bool, out: str | None, **flags: Any) -> int:
    """Find problems that make a test accuracy too optimistic.

    The audit looks for copies and near duplicates within and across splits, conflicting labels,
    blank images, missing or unbalanced classes, and groups that are in two splits. It estimates how
    much each problem can change the test accuracy. The splits are those that `chalknet train` makes
    with the same options. Samples are numbered through SOURCE, then --valid, then --test.

    Examples:
        chalknet data audit notMNIST.npz
        chalknet data audit glyphs --split group --strict
        chalknet data audit train.csv --valid valid.csv --test test.csv
    """
    from chalknet.cli.data_text import audit_text
    from chalknet.data.audit import audit as audit_data
    from chalknet.reporting.drawings.picture import file_kind
    from chalknet.workflows.data import split_like_training, write_pair_sheet

    if out is not None:
        file_kind(out)  # An invalid name is an error before the audit, which takes time.
    samples = _load(source, flags)
    print_notes(samples.notes, quiet=False)
    recipe, splits = split_like_training(samples, flags["recipe"] or DEFAULT_RECIPE, **parse_settings(flags))
    with _block_progress() as progress:
        result = audit_data(samples, splits, near=near, progress=progress)
    n_drawn = None if out is None else write_pair_sheet(samples, result, Path(out))
    if as_json:
        from dataclasses import asdict

        split = {"recipe": recipe.name, **asdict(recipe.split), "sizes": splits.sizes}
        echo(json.dumps({"split": split, **result.as_dict()}, indent=2))
    else:
        audit_text(result, _split_text(samples, recipe, splits))
        if out is not None:
            echo(
                f"{n_drawn} pairs drawn in {out}"
                if n_drawn
                else f"There are no pairs to draw, so {out} was not written."
            )
    return FOUND if strict and result.findings else 0


@data.command()
@source_argument
@cloup.option_group(
    "Output",
    out_option("File to write (npz, csv) or folder (other formats).", "OUT", required=True),
    cloup.option(
        "--format",
        "kind",
        type=Choice(("npz", "csv", "folder", "idx", "npy", "shards")),
        help="Format: npz, csv, folder (PNG images, one subfolder per class), idx (MNIST's files), npy (arrays that "
        "are read from disk) or shards (the same in several files).  [default: by the name of OUT]",
    ),
    overwrite_option("Replace OUT if it exists."),
)
@reading_group
def convert(source: str, out: str, kind: str | None, overwrite: bool, **flags: Any) -> None:
    """Convert a data set to another format.

    The written files are read again and compared with the source.

    Examples:
        chalknet data convert mnist_folder -o mnist.npz
        chalknet data convert glyphs -o letters
    """
    from chalknet.workflows.data import convert as convert_data

    samples = _load(source, flags)
    print_notes(samples.notes, quiet=False)
    done = convert_data(samples, Path(out), kind, overwrite=overwrite)
    echo("\n".join(_conversion_lines(done)))


def _load(source: str, flags: dict[str, Any]) -> Dataset:
    """Return the data set that the command line names."""
    from chalknet.cli.progress import slow_reading
    from chalknet.data.open_data import open_data

    with slow_reading(source, quiet=False):
        return open_data(parse_source(source, flags))


def _split_text(samples: Dataset, recipe: Recipe, splits: Splits) -> str:
    """Return in words how data is split, with the size of each split."""
    sizes = ", ".join(f"{name} {size:,}" for name, size in splits.sizes.items())
    if samples.provided_valid is not None and samples.provided_test is not None:
        return f"separate files: {sizes}"
    n_folds = recipe.training.folds
    folds = f"; training divides train and valid into {n_folds} folds" if n_folds and len(splits.valid) else ""
    return f"split by recipe {recipe.name} ({recipe.split.split}, seed {recipe.split.split_seed}): {sizes}{folds}"


def _conversion_lines(done: Conversion) -> Iterator[str]:
    """Yield what was written, what the format cannot hold, and the options that reading needs."""
    yield f"written to {done.path}: {done.n_samples:,} samples, {done.size_bytes:,} bytes, checked by reading"
    if done.lost:
        names = {
            "order": "the order of the samples",
            "groups": "the groups",
            "provided_test": "the provided test split",
            "dtype": "the type of the values",
        }
        yield f"not stored in this format: {', '.join(names[name] for name in done.lost)}"
    if "class_names" in done.read_with:
        yield f"to read it, give --class-names {','.join(done.read_with['class_names'])}"
    if "image_size" in done.read_with:
        yield f"to read it, give --image-size {'x'.join(map(str, done.read_with['image_size']))}"
    if "color" in done.read_with:
        yield f"to read it, give --color {done.read_with['color']}"


@contextmanager
def _block_progress() -> Iterator[Progress | None]:
    """Yield a function that shows progress on a terminal, or None if there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("comparing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
