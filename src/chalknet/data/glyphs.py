"""`glyphs`, the letters that chalknet brings along: 18,724 images of A to J from free fonts, made as notMNIST was."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from chalknet.data.dataset import Dataset
from chalknet.data.glyph_builder.manifest import FaceRecord, csv_rows_from_bytes
from chalknet.errors import DataError

GLYPHS_SHA256 = "27b69c09918f03fbe6119d3c2dc7982dd0f35a591422bb87bb134b47a1816379"


@dataclass(frozen=True)
class GlyphFace(FaceRecord):
    """One face of the set: where it comes from, what it may be used for, and the letters it gave.

    Attributes:
        face_id: its number in the set's `face` array.
        family_group: its number in the set's `family` array; faces of one group share a design.
        family, face: the names in the font.
        license: SPDX name where there is one; the text is `builtin/licenses/<license>.txt`.
        license_evidence: who says so: "font", "package", "font and package" or "by hand".
        source, package, version, subpackage: the distribution, its package, and the TeX Live package within.
        file: path inside the package.
        index: face number within the file.
        sha256: digest of the font file.
        copyright: the font's own notice, cut at 160 characters.
        letters: the letters of this face that are in the set.
    """

    license: str
    license_evidence: str
    source: str
    package: str
    version: str
    subpackage: str
    copyright: str


@dataclass(frozen=True)
class LicenseCount:
    """How much of the set is under one license."""

    license: str
    faces: int
    images: int


def load_glyphs() -> Dataset:
    """The built-in letters: inputs (18724, 28, 28) uint8, labels of A to J, groups the families of fonts.

    Raises:
        DataError: the installed file is missing or not the one that was shipped.
    """
    data = _read("glyphs.npz")
    digest = hashlib.sha256(data).hexdigest()
    if digest != GLYPHS_SHA256:
        raise DataError(f"glyphs: the installed glyphs.npz is damaged (sha256 {digest[:12]}…). Install chalknet again.")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return Dataset(
            inputs=archive["images"],
            labels=archive["labels"],
            class_names=tuple(archive["class_names"].tolist()),
            groups=archive["family"],
            source="glyphs",
            sha256=digest,
        )


def glyph_manifest() -> tuple[GlyphFace, ...]:
    """Every face of the set, in the order of the set's `face` array."""
    rows = csv_rows_from_bytes(_read("manifest.csv.gz"), "glyphs: manifest.csv.gz")
    numbers = ("face_id", "family_group", "index")
    return tuple(
        GlyphFace(**{**row, **{name: int(row[name]) for name in numbers}})  # type: ignore[arg-type]
        for row in rows
    )


def glyph_faces() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(18724,) face_id of each image, in the order of `load_glyphs`."""
    with np.load(io.BytesIO(_read("glyphs.npz")), allow_pickle=False) as archive:
        faces: np.ndarray[tuple[int], np.dtype[np.int64]] = archive["face"].astype(np.int64)
        return faces


def glyph_licenses() -> tuple[LicenseCount, ...]:
    """Faces and images under each license, most images first."""
    faces, images = Counter[str](), Counter[str]()
    for face in glyph_manifest():
        faces[face.license] += 1
        images[face.license] += len(face.letters)
    return tuple(LicenseCount(name, faces[name], count) for name, count in images.most_common())


def license_text(name: str) -> str:
    """Return the text of a license that `glyph_licenses` names.

    Raises:
        DataError: the set has nothing under that license.
    """
    known = [share.license for share in glyph_licenses()]
    if name not in known:
        raise DataError(f"glyphs: no font under license {name!r}; there are {', '.join(known)}.")
    return _read(f"licenses/{name}.txt").decode("utf-8")


def manifest_path() -> Path:
    """The pin list on disk, for `chalknet data build --pinned`; only for packages that are installed as files."""
    return Path(str(_builtin() / "manifest.csv.gz"))


def _builtin() -> Traversable:
    return files("chalknet.data") / "builtin"


def _read(name: str) -> bytes:
    try:
        return (_builtin() / name).read_bytes()
    except OSError as error:
        raise DataError(f"glyphs: {name} is missing from the installed package. Install chalknet again.") from error
