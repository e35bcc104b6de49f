"""`chalknet data build`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from chalknet.cli.command import command
from chalknet.cli.options import out_option, quiet_option
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE
from chalknet.errors import DataError

if TYPE_CHECKING:
    from chalknet.data.glyph_builder.comparison import Comparison
    from chalknet.data.glyph_builder.letter_set import BuildSummary
    from chalknet.data.glyph_builder.scanning import Progress
    from chalknet.workflows.data_build import BuildResult

MAX_EXAMPLES = 3  # The number of dropped faces that are named for each reason.


@command("build")
@cloup.argument("fonts", nargs=-1, required=True, type=click.Path(path_type=Path), help="Font files or folders.")
@cloup.option_group(
    "Images",
    cloup.option(
        "--letters",
        metavar="LETTERS",
        help='Classes, such as "A-J", "A-Ja-z0-9" or "ÄÖÜ". Not with --pinned.  [default: A-J]',
    ),
    cloup.option("--size", default=28, show_default=True, metavar="PIXELS", help="Height and width of an image."),
    cloup.option(
        "--per-letter",
        type=int,
        metavar="N",
        help="Largest number of images per letter, spread over font families. Not with --pinned.  [default: no limit]",
    ),
    cloup.option(
        "--seed", default=0, show_default=True, metavar="N", help="Seed of the choice and order of the images."
    ),
)
@cloup.option_group(
    "Output",
    out_option("The .npz file to write. Required unless --compare is given.", "FILE"),
    cloup.option("--manifest", type=FILE, metavar="FILE", help="Also write the list of faces to this CSV file."),
    quiet_option("Print only errors."),
)
@cloup.option_group(
    "Reproduce a data set",
    cloup.option("--pinned", type=FILE, metavar="FILE", help="Draw exactly the faces in this file of --manifest."),
    cloup.option("--compare", type=FILE, metavar="FILE", help="With --pinned: compare the images with this .npz file."),
)
@cloup.option_group(
    "Machines",
    cloup.option("--jobs", type=int, metavar="N", help="Number of processes.  [default: one per core]"),
)
def build(
    fonts: tuple[Path, ...],
    letters: str | None,
    size: int,
    out: str | None,
    per_letter: int | None,
    seed: int,
    jobs: int | None,
    pinned: str | None,
    manifest: str | None,
    compare: str | None,
    quiet: bool,
) -> None:
    """Create a data set of letters from fonts, like notMNIST.

    Examples:
        chalknet data build ~/fonts -o letters.npz
        chalknet data build ~/fonts --letters А-Я -o cyrillic.npz
        chalknet data build ~/fonts --pinned letters.csv --compare letters.npz

    A face is one style of a font. Faces that lack a letter, near-identical faces and near-identical
    images are dropped and counted. With --pinned, exactly the faces that an earlier --manifest
    lists are drawn, and each font file must have the SHA-256 that is listed there.

    --compare allows for small differences, because versions of Pillow draw some edges differently.
    If labels differ, or more than 5 % of the images have a pixel that differs by more than 64 of
    255 levels, nothing is written and the exit code is 1.
    """
    from chalknet.workflows.data_build import build_file

    with _progress(quiet) as on_progress:
        built = build_file(
            fonts,
            _path(out),
            letters=letters,
            size=size,
            per_letter=per_letter,
            seed=seed,
            jobs=jobs,
            pinned=_path(pinned),
            manifest=_path(manifest),
            compare=_path(compare),
            on_progress=on_progress,
        )
    if not quiet:
        for line in result_lines(built):
            echo(line)
    if built.comparison is not None and not built.comparison.agrees:
        raise DataError(disagreement(built.comparison))


def _path(text: str | None) -> Path | None:
    """Return the name of a file as a path."""
    return None if text is None else Path(text)


def result_lines(built: BuildResult) -> list[str]:
    """Return the summary, the comparison and the written files, one line each."""
    lines = summary_lines(built.summary)
    if built.comparison is not None:
        lines += comparison_lines(built.comparison)
    if built.file is not None:
        lines.append(f"{built.file.path}: {built.file.size_bytes:,} bytes, sha256 {built.file.sha256}")
    if built.manifest is not None:
        lines.append(f"{built.manifest}: {built.summary.kept_faces:,} faces listed")
    return lines


def summary_lines(summary: BuildSummary) -> list[str]:
    """Return what was read, what was dropped and why, and the number of images, one line each."""
    lines = [f"{summary.files:,} font files, {summary.faces:,} faces with all letters"]
    for kind, count in summary.drop_counts.items():
        some = [f"{d.name} {d.detail}".rstrip() for d in summary.drops if d.kind == kind][:MAX_EXAMPLES]
        lines.append(f"  dropped {count:,}: {kind} ({'; '.join(some)}{'; …' if count > len(some) else ''})")
    for reason, counts in (
        ("near-identical images of the same letter", summary.near_identical),
        ("exact copies of an image of another letter", summary.copies),
        ("images above the limit of --per-letter", summary.capped),
    ):
        if counts and any(counts.values()):
            lines.append(f"  dropped {sum(counts.values()):,}: {reason} ({_counts(counts)})")
    total = sum(summary.images.values())
    lines.append(f"{total:,} images of {summary.kept_faces:,} faces in {summary.families:,} families")
    lines.append(f"  {_counts(summary.images)}")
    return lines


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return how many images are equal or differ, by how much, and which versions drew them."""
    from chalknet.data.glyph_builder.comparison import FAR, SLIGHT, TOLERANCE

    c = comparison
    return [
        f"{c.images:,} images compared with {c.source}, labels agree",
        f"  {c.identical:,} identical",
        f"  {c.slightly_off:,} with a pixel more than {SLIGHT} levels off",
        f"  {c.far_off:,} with a pixel more than {FAR} levels off ({c.far_fraction:.2%}; limit {TOLERANCE:.0%})",
        f"  largest difference {c.largest} levels of 255",
        f"  this build: {c.made_with}",
        f"  {c.source}: {c.source_made_with or 'versions not recorded'}",
    ]


def disagreement(comparison: Comparison) -> str:
    """Return the message for a comparison that failed."""
    from chalknet.data.glyph_builder.comparison import FAR, TOLERANCE

    c = comparison
    return (
        f"{c.source}: {c.far_off:,} of {c.images:,} images ({c.far_fraction:.2%}) have a pixel more than {FAR} levels "
        f"off. Another version of FreeType explains up to {TOLERANCE:.0%}. Nothing was written."
    )


def _counts(counts: dict[str, int]) -> str:
    """Return the counts of letters that are not 0."""
    return ", ".join(f"{letter} {count:,}" for letter, count in counts.items() if count)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """Yield a function that shows progress in a bar or, without a terminal, in ten lines."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        printed = 0  # Tenths of the files for which a line has been printed.

        def print_tenth(done: int, total: int) -> None:
            nonlocal printed
            if done * 10 // total > printed:
                printed = done * 10 // total
                echo(f"drawing: {done:,} of {total:,} files", err=True)

        yield print_tenth
        return
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
