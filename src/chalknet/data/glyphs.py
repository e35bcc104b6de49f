"""The built-in data set `glyphs`: 18,724 images of A to J from free fonts, made as notMNIST was."""

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
    """One face of the data set: its origin, its license and its letters.

    Attributes:
        face_id: its number in the data set's `face` array.
        family_group: its number in the data set's `family` array; faces of one group share a
            design.
        family, face: names in the font file.
        license: SPDX name if there is one; the text is `builtin/licenses/<license>.txt`.
        license_evidence: where the license is stated: "font", "package", "font and package" or
            "by hand".
        source, package, version, subpackage: the distribution, its package, and the TeX Live
            package in it.
        file: path in the package.
        index: number of the face in the file.
        sha256: digest of the font file.
        copyright: the copyright notice in the font, at most 160 characters.
        letters: the letters of this face that are in the data set.
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
    """The part of the data set under one license.

    Attributes:
        license: name of the license.
        faces: number of faces.
        images: number of images.
    """

    license: str
    faces: int
    images: int


def load_glyphs() -> Dataset:
    """Load the built-in letters: (18724, 28, 28) uint8 images of A to J, grouped by font family.

    Raises:
        DataError: the installed file is missing or damaged.
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
    """Return all faces, in the order of the data set's `face` array."""
    rows = csv_rows_from_bytes(_read("manifest.csv.gz"), "glyphs: manifest.csv.gz")
    numbers = ("face_id", "family_group", "index")
    return tuple(
        GlyphFace(**{**row, **{name: int(row[name]) for name in numbers}})  # type: ignore[arg-type]
        for row in rows
    )


def glyph_licenses() -> tuple[LicenseCount, ...]:
    """Return the faces and images under each license, most images first."""
    faces, images = Counter[str](), Counter[str]()
    for face in glyph_manifest():
        faces[face.license] += 1
        images[face.license] += len(face.letters)
    return tuple(LicenseCount(name, faces[name], count) for name, count in images.most_common())


def manifest_path() -> Path:
    """Return the path of the built-in manifest, for `chalknet data build --pinned`.

    It exists only if chalknet is installed as files and not as an archive.
    """
    return Path(str(_builtin() / "manifest.csv.gz"))


def _builtin() -> Traversable:
    """Return the folder of built-in data."""
    return files("chalknet.data") / "builtin"


def _read(name: str) -> bytes:
    """Return the content of a built-in file."""
    try:
        return (_builtin() / name).read_bytes()
    except OSError as error:
        raise DataError(f"glyphs: {name} is missing from the installed package. Install chalknet again.") from error
