"""The built-in letters: the installed file and its manifest agree."""

import csv
import gzip
import io
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from chalknet.data import glyphs
from chalknet.data.glyph_builder.manifest import MANIFEST_COLUMNS, read_manifest
from chalknet.data.glyphs import glyph_licenses, glyph_manifest, load_glyphs
from chalknet.errors import DataError

BUILTIN = files("chalknet.data") / "builtin"
DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def data():
    return load_glyphs()


@pytest.fixture(scope="module")
def manifest():
    return glyph_manifest()


@pytest.fixture(scope="module")
def faces():
    """(18724,) the number of the face of each image."""
    with np.load(io.BytesIO((BUILTIN / "glyphs.npz").read_bytes())) as archive:
        return archive["face"]


def license_text(name):
    return (BUILTIN / "licenses" / f"{name}.txt").read_text(encoding="utf-8")


def test_there_are_as_many_images_as_the_writeup_had(data):
    assert data.inputs.shape == (18_724, 28, 28)
    assert data.inputs.dtype == np.uint8
    assert data.class_names == tuple("ABCDEFGHIJ")
    assert sorted(data.class_counts.tolist()) == [1872] * 6 + [1873] * 4


def test_the_file_is_the_one_that_was_measured(data):
    assert data.sha256 == glyphs.GLYPHS_SHA256
    assert (data.source, data.provided_test) == ("glyphs", None)


def test_the_file_stays_within_seven_megabytes():
    assert len((BUILTIN / "glyphs.npz").read_bytes()) <= 7_000_000


def test_a_damaged_file_is_refused(monkeypatch):
    monkeypatch.setattr(glyphs, "_read", lambda name: b"PK damaged " + name.encode())
    with pytest.raises(DataError, match=r"glyphs: the installed glyphs.npz is damaged .* Install chalknet again"):
        load_glyphs()


def test_every_image_is_of_a_face_that_lists_its_letter(data, manifest, faces):
    listed = {(face.face_id, letter) for face in manifest for letter in face.letters}
    shown = list(zip(faces.tolist(), (data.class_names[k] for k in data.labels), strict=True))
    assert len(shown) == len(set(shown))
    assert set(shown) == listed


def test_groups_are_the_families_of_the_faces(data, manifest, faces):
    family = np.array([face.family_group for face in manifest])
    assert np.array_equal(data.groups, family[faces])
    assert data.groups.max() + 1 == len(set(data.groups.tolist())) > 500


def test_faces_are_numbered_in_the_order_of_the_list(manifest):
    assert [face.face_id for face in manifest] == list(range(len(manifest)))
    assert len({face.sha256 for face in manifest}) == len(manifest)


def test_no_image_is_an_exact_copy_of_another_letters(data):
    letters_of = {}
    for image, label in zip(data.inputs, data.labels, strict=True):
        letters_of.setdefault(image.tobytes(), set()).add(int(label))
    assert all(len(letters) == 1 for letters in letters_of.values())


def test_only_solid_squares_come_twice_and_all_of_them_are_i(data):
    rows, counts = np.unique(data.inputs.reshape(len(data), -1), axis=0, return_counts=True)
    assert (rows[counts > 1] == 255).all()
    solid = (data.inputs == 255).all(axis=(1, 2))
    assert set(data.labels[solid].tolist()) == {8}
    assert 150 < solid.sum() < 350  # real notMNIST: one I in six


def test_ink_reaches_the_top_and_bottom_of_nearly_every_image(data):
    touches = (data.inputs[:, 0].max(axis=1) > 0) & (data.inputs[:, -1].max(axis=1) > 0)
    assert touches.mean() > 0.999


def test_the_order_is_shuffled(data):
    counts = np.bincount(data.labels[15_000:16_000], minlength=10)  # the write-up's validation set
    assert counts.min() > 60
    assert counts.max() < 150


def test_every_license_is_an_accepted_one_with_its_text(manifest):
    shares = glyph_licenses()
    assert sum(share.images for share in shares) == 18_724
    assert sum(share.faces for share in shares) == len(manifest)
    assert {share.license for share in shares}.isdisjoint({"GPL", "LGPL", "AGPL", "CC-BY-SA", ""})
    assert all(len(license_text(share.license)) > 200 for share in shares)
    assert {file.name for file in (BUILTIN / "licenses").iterdir()} == {f"{share.license}.txt" for share in shares}


def test_aenigma_fonts_carry_their_permission():
    assert "you can redistribute any of my fonts" in license_text("Aenigma")


def test_the_manifest_serves_as_a_pin_list(manifest):
    records = read_manifest(glyphs.manifest_path())
    for column in MANIFEST_COLUMNS:
        assert [getattr(r, column) for r in records] == [getattr(face, column) for face in manifest]


def test_the_manifest_names_no_place_on_the_machine_that_built_it():
    text = gzip.decompress((BUILTIN / "manifest.csv.gz").read_bytes()).decode()
    for row in csv.DictReader(io.StringIO(text)):
        assert row["file"].startswith("usr/share/")
        assert not [cell for cell in row.values() if cell.startswith("/") or "file:" in cell]


def test_the_file_has_the_keys_and_types_that_the_builder_writes(manifest):
    with np.load(io.BytesIO((BUILTIN / "glyphs.npz").read_bytes()), allow_pickle=False) as archive:
        assert archive["face_names"].tolist() == [f"{face.family} {face.face}".strip() for face in manifest]
        kinds = {key: archive[key].dtype.name for key in ("images", "labels", "face", "family")}
        made_with = str(archive["made_with"])
    assert kinds == {"images": "uint8", "labels": "uint8", "face": "uint16", "family": "uint16"}
    assert made_with in (DOCS / "glyphs.md").read_text(encoding="utf-8")
