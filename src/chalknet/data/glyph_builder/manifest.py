"""The manifest: the faces of a set as records and as CSV, and the fonts on disk that it lists."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chalknet.data.glyph_builder.choice import Choice
from chalknet.data.glyph_builder.faces import Face
from chalknet.data.glyph_builder.fonts import FontFile
from chalknet.errors import DataError
from chalknet.files import read_bytes, reading
from chalknet.formatting import csv_text

MANIFEST_COLUMNS = ("face_id", "family_group", "family", "face", "file", "index", "sha256", "letters")
MAX_MANIFEST_BYTES = 2**28  # enough for half a million faces


@dataclass(frozen=True)
class FaceRecord:
    """A face as the manifest lists it.

    Attributes:
        face_id: number of the face.
        family_group: number of the family group.
        family, face: names in the font.
        file: name of the font file.
        index: number of the face in the file.
        sha256: digest of the file.
        letters: the letters of this face that are in the set, in order.
    """

    face_id: int
    family_group: int
    family: str
    face: str
    file: str
    index: int
    sha256: str
    letters: str


def face_records(
    faces: Sequence[Face], groups: NDArray[np.int64], chosen: Choice, letters: Sequence[str]
) -> tuple[tuple[FaceRecord, ...], list[int]]:
    """Return a record for every face with an image in the set, and the indices of these faces.

    Args:
        faces: the drawn faces.
        groups: (F,) family group of each face; renumbered in the records.
        chosen: the images in the set.
        letters: K letters.
    """
    of_face: dict[int, str] = {}
    for letter, kept in zip(letters, chosen.faces, strict=True):
        for i in kept:
            of_face[int(i)] = of_face.get(int(i), "") + letter
    used = sorted(of_face)
    numbers: dict[int, int] = {}
    records = []
    for face_id, i in enumerate(used):
        group = numbers.setdefault(int(groups[i]), len(numbers))
        face = faces[i]
        records.append(
            FaceRecord(face_id, group, face.family, face.style, face.file, face.index, face.sha256, of_face[i])
        )
    return tuple(records), used


def manifest_csv(records: Sequence[FaceRecord]) -> str:
    """Return records as CSV with a header line, for `read_manifest`."""
    rows = ([getattr(record, column) for column in MANIFEST_COLUMNS] for record in records)
    return csv_text([MANIFEST_COLUMNS, *rows], is_data=True)


def read_manifest(path: Path) -> tuple[FaceRecord, ...]:
    """Read a manifest from a CSV file, gzipped or not.

    Columns other than MANIFEST_COLUMNS are ignored, and `index` may be missing.

    Raises:
        DataError: the file cannot be read, a column or value is missing or invalid, or there are no
            faces.
    """
    rows = csv_rows(path)
    missing = [c for c in MANIFEST_COLUMNS if c != "index" and rows and c not in rows[0]]
    if not rows or missing:
        lack = f"column {missing[0]!r} is missing" if missing else "no faces are listed"
        raise DataError(f"{path}: {lack}; a manifest has the columns {', '.join(MANIFEST_COLUMNS)}.")
    return tuple(_record(row, f"{path}: line {number}") for number, row in enumerate(rows, start=2))


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file in UTF-8, gzipped or not, as {column: text}.

    Raises:
        DataError: the file cannot be read.
    """
    with reading(str(path)):
        return csv_rows_from_bytes(read_bytes(path, MAX_MANIFEST_BYTES), str(path))


def csv_rows_from_bytes(data: bytes, source: str) -> list[dict[str, str]]:
    """Return the rows in the bytes of a CSV file, as `csv_rows`.

    Raises:
        DataError: the bytes are not CSV in UTF-8.
    """
    try:
        text = _unzipped(data, source).decode("utf-8")
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True, restval=""))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{source}: not a readable manifest (CSV in UTF-8, gzipped or not): {error}.") from error


def _unzipped(data: bytes, source: str) -> bytes:
    """Return the bytes of a file, decompressed if they are gzipped."""
    if data[:2] != b"\x1f\x8b":
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        plain = file.read(MAX_MANIFEST_BYTES + 1)
    if len(plain) > MAX_MANIFEST_BYTES:
        raise DataError(f"{source}: more than {MAX_MANIFEST_BYTES:,} bytes unpacked; that is no manifest.")
    return plain


def _record(row: dict[str, str], where: str) -> FaceRecord:
    """Return one row of a manifest as a record, checked."""
    values: dict[str, int | str] = {}
    for field in fields(FaceRecord):
        text = row.get(field.name) or ("0" if field.name == "index" else "")
        values[field.name] = _integer(text, field.name, where) if field.type == "int" else text
    if not re.fullmatch(r"[0-9a-f]{64}", str(values["sha256"])):
        raise DataError(f"{where}: sha256 must be 64 hexadecimal digits, got {values['sha256']!r}.")
    if not values["letters"]:
        raise DataError(f"{where}: letters is empty.")
    return FaceRecord(**values)  # type: ignore[arg-type]


def _integer(text: str, column: str, where: str) -> int:
    """Return a cell as an integer."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise DataError(f"{where}: {column} must be an integer, got {text!r}.")
    return int(text)


def match_pinned(fonts: Sequence[FontFile], manifest: Sequence[FaceRecord], source: str) -> list[FontFile]:
    """Return the font of each record, found by its digest.

    Args:
        fonts: the font files on disk.
        manifest: the records.
        source: what messages call the manifest.

    Raises:
        DataError: fonts are missing or differ; the message counts them and names the first.
    """
    by_digest: dict[str, FontFile] = {}
    for font in fonts:
        by_digest.setdefault(_file_sha256(font.path), font)
    missing = [record for record in manifest if record.sha256 not in by_digest]
    if missing:
        names = {Path(font.name).name for font in fonts}
        shown = [f"{r.file} ({'differs' if Path(r.file).name in names else 'missing'})" for r in missing[:3]]
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"{source}: {len(missing)} of {len(manifest)} fonts are not as listed: {', '.join(shown)}{more}."
        )
    return [by_digest[record.sha256] for record in manifest]


def _file_sha256(path: Path) -> str:
    """Return the digest of a file, or "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # the caller reports it as missing
