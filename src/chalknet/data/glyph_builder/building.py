"""The two ways to build a letter set: from any fonts, or exactly as a manifest lists it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chalknet.data.glyph_builder.choice import choose_images, round_robin
from chalknet.data.glyph_builder.deduplication import drop_near_identical_faces
from chalknet.data.glyph_builder.drawing import DrawTask
from chalknet.data.glyph_builder.faces import Drop, Face
from chalknet.data.glyph_builder.families import family_groups
from chalknet.data.glyph_builder.fonts import find_fonts
from chalknet.data.glyph_builder.letter_set import (
    BuildSummary,
    LetterSet,
    assemble_set,
    per_letter_counts,
    shuffled_set,
)
from chalknet.data.glyph_builder.letters import check_letters
from chalknet.data.glyph_builder.manifest import FaceRecord, match_pinned
from chalknet.data.glyph_builder.scanning import Progress, run_tasks, scan_fonts
from chalknet.errors import ConfigError, DataError


def build_letters(
    paths: Sequence[Path],
    letters: Sequence[str],
    *,
    size: int = 28,
    per_letter: int | None = None,
    seed: int = 0,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> LetterSet:
    """Build a letter set from any fonts: draw, remove near-identical images, limit and shuffle.

    Time grows with the square of the number of faces (6,000 faces of ten letters: about ten seconds
    of comparisons). Memory is the number of faces times K·size² bytes, plus 2·BLOCK_ROWS rows as
    float64.

    Args:
        paths: font files, and folders that are searched recursively.
        letters: K >= 2 single characters, as `expand_letters` returns them.
        size: height and width of an image in pixels, 2..1024.
        per_letter: the largest number of images per letter, or None for no limit. The remaining
            faces are spread over the families.
        seed: seed of the shuffle, in [0, 2**32).
        jobs: number of processes that draw; None for one per core; 1 to draw in this process, which
            a font that crashes FreeType would end.
        on_progress: called with (files done, files in total).

    Returns:
        The letter set.

    Raises:
        ConfigError: letters, size, per_letter, seed or jobs are invalid.
        DataError: a path does not exist, there are no fonts, or fewer than two letters have images.
    """
    _check_settings(letters, size, per_letter, seed, jobs)
    fonts = find_fonts(paths)
    faces, drops = scan_fonts(fonts, letters, size=size, jobs=jobs, on_progress=on_progress)
    if not faces:
        raise DataError(_nothing_drawn(len(fonts), letters, drops))
    kept, links, near = drop_near_identical_faces(faces)
    groups = family_groups([face.family for face in faces], links)[kept]
    faces = [faces[i] for i in kept]
    chosen = choose_images(np.stack([f.images for f in faces]), round_robin(groups), per_letter)
    return assemble_set(faces, groups, chosen, tuple(letters), seed, len(fonts), (*drops, *near))


def build_pinned(
    paths: Sequence[Path],
    manifest: Sequence[FaceRecord],
    *,
    size: int = 28,
    seed: int = 0,
    jobs: int | None = None,
    source: str = "the manifest",
    on_progress: Progress | None = None,
) -> LetterSet:
    """Build exactly the images that a manifest lists, in its order, and shuffle them.

    Fonts are recognized by the SHA-256 of their bytes, wherever they are in the paths.

    Args:
        paths: font files, and folders that are searched recursively.
        manifest: the faces with their letters.
        size: height and width of an image in pixels, 2..1024.
        seed: seed of the shuffle, in [0, 2**32).
        jobs: number of processes that draw; None for one per core.
        source: what messages call the manifest.
        on_progress: called with (files done, files in total).

    Returns:
        The letter set.

    Raises:
        DataError: a listed font is missing, differs, or cannot be drawn; the message names it.
        ConfigError: size, seed or jobs are invalid.
    """
    letters = tuple(sorted({letter for record in manifest for letter in record.letters}))
    _check_settings(letters, size, None, seed, jobs)
    found = match_pinned(find_fonts(paths), manifest, source)
    tasks = [DrawTask(font, tuple(r.letters), size, r.index) for font, r in zip(found, manifest, strict=True)]
    results = run_tasks(tasks, jobs, on_progress)
    drawn = [_only_face(result, source) for result in results]
    pairs = [(row, letters.index(c), k) for row, r in enumerate(manifest) for k, c in enumerate(r.letters)]
    images = np.stack([drawn[row].images[k] for row, _, k in pairs])
    summary = BuildSummary(
        files=len({r.sha256 for r in manifest}),
        faces=len(manifest),
        kept_faces=len(manifest),
        families=len({r.family_group for r in manifest}),
        images=per_letter_counts(Counter(k for _, k, _ in pairs), letters),
    )
    return shuffled_set(images, [p[1] for p in pairs], [p[0] for p in pairs], letters, tuple(manifest), seed, summary)


def _check_settings(letters: Sequence[str], size: int, per_letter: int | None, seed: int, jobs: int | None) -> None:
    """Raise ConfigError for an invalid setting."""
    check_letters(letters, "".join(letters))
    if not 2 <= size <= 1024:
        raise ConfigError(f"size must be 2 to 1024 pixels, got {size}.")
    if per_letter is not None and per_letter < 1:
        raise ConfigError(f"per_letter must be at least 1, got {per_letter}.")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed must be 0 to 4294967295, got {seed}.")
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}.")


def _only_face(result: Sequence[Face | Drop], source: str) -> Face:
    """Return the face of a result; raise DataError if it was dropped."""
    face = result[0]
    if isinstance(face, Drop):
        raise DataError(
            f"{face.name}: listed in {source} but cannot be drawn: {face.kind} {face.detail}".rstrip() + "."
        )
    return face


def _nothing_drawn(n_files: int, letters: Sequence[str], drops: Sequence[Drop]) -> str:
    """Return the message for fonts that do not have all letters."""
    first = drops[0]
    shown = "".join(letters[:20])
    return (
        f"{n_files} font files, none with all of {shown}; the first, {first.name}: {first.kind} {first.detail}".rstrip()
        + "."
    )
