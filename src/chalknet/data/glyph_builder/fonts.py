"""Find font files on disk, in an order that does not depend on the file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chalknet.errors import DataError

SUFFIXES = (".otf", ".ttf", ".ttc", ".otc", ".woff", ".woff2", ".t1", ".pfb", ".pfa")  # in order of preference


@dataclass(frozen=True)
class FontFile:
    """A font file on disk.

    Attributes:
        path: the file.
        name: its path relative to the folder that was searched.
    """

    path: Path
    name: str


def find_fonts(paths: Sequence[Path]) -> list[FontFile]:
    """Find all font files in files and folders, sorted by format and then by name.

    sfnt formats come before Type 1. Links to folders are not followed. A path that is a file is
    used whatever its suffix.

    Raises:
        DataError: a path does not exist, or there are no fonts.
    """
    fonts: dict[Path, FontFile] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; expected fonts.")
        for font in _fonts_below(path):
            fonts.setdefault(font.path.resolve(), font)
    if not fonts:
        places = ", ".join(str(path) for path in paths)
        raise DataError(f"{places}: no font files ({' '.join(SUFFIXES)}).")
    return sorted(fonts.values(), key=_preference)


def _fonts_below(path: Path) -> Iterator[FontFile]:
    """Yield the fonts in a folder, or a single file."""
    if not path.is_dir():
        yield FontFile(path, path.name)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            if file.suffix.lower() in SUFFIXES and file.is_file():
                yield FontFile(file, file.relative_to(path).as_posix())


def _preference(font: FontFile) -> tuple[int, str, str]:
    """Return the sort key of a font."""
    suffix = font.path.suffix.lower()
    return (SUFFIXES.index(suffix) if suffix in SUFFIXES else 0, font.name, str(font.path))
