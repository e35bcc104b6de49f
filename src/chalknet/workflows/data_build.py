"""`chalknet data build`: render letters from fonts to an .npz file, or check such a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chalknet.artifacts.atomic import write_bytes
from chalknet.data.glyph_builder.archive import npz_bytes
from chalknet.data.glyph_builder.building import build_letters, build_pinned
from chalknet.data.glyph_builder.comparison import Comparison, compare_images, read_reference
from chalknet.data.glyph_builder.letter_set import BuildSummary, LetterSet
from chalknet.data.glyph_builder.letters import expand_letters
from chalknet.data.glyph_builder.manifest import manifest_csv, read_manifest
from chalknet.data.glyph_builder.scanning import Progress
from chalknet.errors import ConfigError, OutputError

DEFAULT_LETTERS = "A-J"


@dataclass(frozen=True)
class BuiltFile:
    """The file that was written.

    Attributes:
        path: the file.
        sha256: its digest.
        size_bytes: its size.
    """

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class BuildResult:
    """The result of a build.

    Attributes:
        summary: how many faces were used and left out, and why.
        file: the file that was written, or None.
        manifest: the manifest that was written, or None.
        comparison: the comparison with another file, or None. If it does not agree, nothing is written.
    """

    summary: BuildSummary
    file: BuiltFile | None
    manifest: Path | None
    comparison: Comparison | None


def build_file(
    fonts: Sequence[Path],
    out: Path | None,
    *,
    letters: str | None = None,
    size: int = 28,
    per_letter: int | None = None,
    seed: int = 0,
    jobs: int | None = None,
    pinned: Path | None = None,
    manifest: Path | None = None,
    compare: Path | None = None,
    on_progress: Progress | None = None,
) -> BuildResult:
    """Render letters from fonts, optionally compare them with a file, and write them.

    Args:
        fonts: font files and folders.
        out: the .npz file to write; None to compare only.
        letters: see `expand_letters`; None for "A-J", or with pinned for the letters of that list.
        size: height and width of the images in pixels.
        per_letter: largest number of images per letter, or None.
        seed: seed of the choice and order of the images.
        jobs: number of processes.
        pinned: a manifest that lists the (file, letter) pairs to render.
        manifest: where to write the manifest of the set.
        compare: an .npz file with the same images. If it differs, nothing is written.
        on_progress: called with the number of files done and of all files.

    Raises:
        ConfigError: an invalid setting, pinned together with letters or per_letter, or compare without
            pinned.
        DataError: the fonts, the manifest or the file to compare with cannot be used.
        OutputError: out or manifest cannot be written.
    """
    _check_purpose(out, pinned, compare)
    for path in filter(None, (out, manifest)):
        _check_place(path)
    reference = None if compare is None else read_reference(compare)
    if pinned is None:
        chosen = expand_letters(letters if letters is not None else DEFAULT_LETTERS)
        built = build_letters(
            fonts, chosen, size=size, per_letter=per_letter, seed=seed, jobs=jobs, on_progress=on_progress
        )
    else:
        _check_pinned_alone(letters, per_letter)
        records = read_manifest(pinned)
        built = build_pinned(
            fonts, records, size=size, seed=seed, jobs=jobs, source=str(pinned), on_progress=on_progress
        )
    comparison = None if reference is None else compare_images(built, reference)
    if comparison is not None and not comparison.agrees:
        return BuildResult(built.summary, None, None, comparison)
    return _write(built, out, manifest, comparison)


def _write(built: LetterSet, out: Path | None, manifest: Path | None, comparison: Comparison | None) -> BuildResult:
    file = None
    if out is not None:
        data = npz_bytes(built)
        write_bytes(out, data)
        file = BuiltFile(out, hashlib.sha256(data).hexdigest(), len(data))
    if manifest is not None:
        write_bytes(manifest, manifest_csv(built.faces).encode())
    return BuildResult(built.summary, file, manifest, comparison)


def _check_purpose(out: Path | None, pinned: Path | None, compare: Path | None) -> None:
    if out is None and compare is None:
        raise ConfigError(
            "no output: give a file to write as out (-o FILE.npz), or a file to compare with as compare (--compare "
            "FILE)."
        )
    if compare is not None and pinned is None:
        raise ConfigError(
            "compare needs pinned (--pinned), the manifest of the file, because another version of Pillow may select "
            "other images."
        )


def _check_place(path: Path) -> None:
    """Raise OutputError for a missing folder before the minutes of rendering, not after them."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: folder {path.parent} does not exist. Create it first.")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; expected the name of a file to write.")


def _check_pinned_alone(letters: str | None, per_letter: int | None) -> None:
    given = [flag for flag, value in (("letters", letters), ("per_letter", per_letter)) if value is not None]
    if given:
        raise ConfigError(
            f"{given[0]} cannot be combined with a pinned manifest, which lists every image. Leave it out."
        )
