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

EXAMPLES_SHOWN = 3


@command("build")
@cloup.argument("fonts", nargs=-1, required=True, type=click.Path(path_type=Path), help="Font files or folders.")
@cloup.option_group(
    "Images",
    cloup.option("--letters", metavar="LETTERS", help='Classes, such as "A-J", "A-Ja-z0-9" or "ÄÖÜ".  [default: A-J]'),
    cloup.option("--size", default=28, show_default=True, metavar="PIXELS", help="Height and width of an image."),
    cloup.option(
        "--per-letter", type=int, metavar="N", help="Largest number of images per letter, spread over font families."
    ),
    cloup.option("--seed", default=0, show_default=True, metavar="N", help="Seed of the shuffle."),
)
@cloup.option_group(
    "Output",
    out_option("The .npz file to write.", "FILE"),
    cloup.option("--manifest", type=FILE, metavar="FILE", help="Also write the list of font faces to this CSV file."),
    quiet_option("Print only errors."),
)
@cloup.option_group(
    "Reproduce a data set",
    cloup.option("--pinned", type=FILE, metavar="MANIFEST", help="Render exactly the faces in this manifest."),
    cloup.option("--compare", type=FILE, metavar="FILE", help="Compare the images with this .npz file."),
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
        chalknet data build ~/fonts --letters А-Я --per-letter 500 -o cyrillic.npz
        chalknet data build ~/fonts --pinned letters.csv --compare letters.npz

    Fonts that lack a letter, near-identical faces and near-identical images are skipped and counted. With --pinned,
    the faces are those of the manifest, and each font file must have the SHA-256 that it lists.

    --compare allows for small differences, because versions of Pillow draw some edges differently. If labels differ,
    or more than 5 % of the images have a pixel that differs by more than 64 of 255 levels, nothing is written and the
    exit code is 1.
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
    """What was done, a line each: the summary, the comparison and the files written, as far as there are any."""
    lines = summary_lines(built.summary)
    if built.comparison is not None:
        lines += comparison_lines(built.comparison)
    if built.file is not None:
        lines.append(f"{built.file.path}: {built.file.size_bytes:,} bytes, sha256 {built.file.sha256}")
    if built.manifest is not None:
        lines.append(f"{built.manifest}: {built.summary.kept_faces:,} faces listed")
    return lines


def summary_lines(summary: BuildSummary) -> list[str]:
    """What was read, what was dropped and why, and what came out, a line each."""
    lines = [f"{summary.files:,} font files, {summary.faces:,} faces with all letters"]
    for kind, count in summary.drop_counts.items():
        some = [f"{d.name} {d.detail}".rstrip() for d in summary.drops if d.kind == kind][:EXAMPLES_SHOWN]
        lines.append(f"  dropped {count:,}: {kind} ({'; '.join(some)}{'; …' if count > len(some) else ''})")
    for reason, counts in (
        ("near-identical images of the letter", summary.near_identical),
        ("exact copies of another letter's image", summary.copies),
        ("images beyond the cap", summary.capped),
    ):
        if counts and any(counts.values()):
            lines.append(f"  dropped {sum(counts.values()):,}: {reason} ({_counts(counts)})")
    total = sum(summary.images.values())
    lines.append(f"{total:,} images of {summary.kept_faces:,} faces in {summary.families:,} families")
    lines.append(f"  {_counts(summary.images)}")
    return lines


def comparison_lines(comparison: Comparison) -> list[str]:
    """How many images are equal and how many are off by how much, and what drew either side."""
    from chalknet.data.glyph_builder.comparison import FAR, SLIGHT, TOLERANCE

    c = comparison
    return [
        f"{c.images:,} images compared with {c.source}, labels agree",
        f"  {c.identical:,} identical",
        f"  {c.slightly_off:,} with a pixel more than {SLIGHT} levels off",
        f"  {c.far_off:,} with a pixel more than {FAR} levels off ({c.far_fraction:.2%}; up to {TOLERANCE:.0%} agrees)",
        f"  largest difference {c.largest} levels of 255",
        f"  this build: {c.made_with}",
        f"  {c.source}: {c.source_made_with or 'versions not recorded'}",
    ]


def disagreement(comparison: Comparison) -> str:
    """One line for a comparison that does not agree."""
    from chalknet.data.glyph_builder.comparison import FAR, TOLERANCE

    c = comparison
    return (
        f"{c.source}: {c.far_off:,} of {c.images:,} images ({c.far_fraction:.2%}) have a pixel more than {FAR} levels "
        f"off; another FreeType explains up to {TOLERANCE:.0%}. Nothing was written."
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{letter} {count:,}" for letter, count in counts.items() if count)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """A bar with speed and time left on a terminal, a line each tenth of the way in a log, nothing when quiet."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        told = 0  # tenths of the files for which a line is printed already

        def tell(done: int, total: int) -> None:
            nonlocal told
            if done * 10 // total > told:
                told = done * 10 // total
                echo(f"drawing: {done:,} of {total:,} files", err=True)

        yield tell
        return
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
