"""Font files on disk: found below folders, in an order that does not depend on the file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chalknet.errors import DataError

SUFFIXES = (".otf", ".ttf", ".ttc", ".otc", ".woff", ".woff2", ".t1", ".pfb", ".pfa")  # in order of preference


@dataclass(frozen=True)
class FontFile:
    """A font file on disk, and the name it goes by: its path below the folder that was given."""

    path: Path
    name: str


def find_fonts(paths: Sequence[Path]) -> list[FontFile]:
    """Every font file at or below paths, sfnt formats before Type 1, then by name; links to folders are not followed.

    A file that is named itself is taken whatever its suffix.

    Raises:
        DataError: a path does not exist, or there is no font at all.
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
    if not path.is_dir():
        yield FontFile(path, path.name)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            if file.suffix.lower() in SUFFIXES and file.is_file():
                yield FontFile(file, file.relative_to(path).as_posix())


def _preference(font: FontFile) -> tuple[int, str, str]:
    suffix = font.path.suffix.lower()
    return (SUFFIXES.index(suffix) if suffix in SUFFIXES else 0, font.name, str(font.path))
