"""Comparing a build with a file: what is counted, and what is refused."""

import io
from dataclasses import replace

import numpy as np
import pytest

from chalknet.data.glyph_builder.archive import npz_bytes
from chalknet.data.glyph_builder.building import build_letters
from chalknet.data.glyph_builder.comparison import TOLERANCE, compare_images, read_reference
from chalknet.errors import DataError


@pytest.fixture
def made(three_fonts):
    return build_letters([three_fonts], "ABI", jobs=1)


@pytest.fixture
def compared(made, tmp_path):
    """made compared with a file of some other set."""

    def compare(other):
        path = tmp_path / "other.npz"
        path.write_bytes(npz_bytes(other))
        return compare_images(made, read_reference(path))

    return compare


def with_pixel_off(letters, levels, n_images=1):
    """The set with the middle pixel of its first images off by so many levels, up or down as there is room."""
    images = letters.images.copy()
    middle = images[:n_images, 14, 14].astype(int)
    images[:n_images, 14, 14] = np.where(middle + levels <= 255, middle + levels, middle - levels)
    return replace(letters, images=images)


def test_a_file_of_the_same_set_is_identical(made, compared):
    found = compared(made)
    assert (found.images, found.identical, found.slightly_off, found.far_off, found.largest) == (9, 9, 0, 0, 0)
    assert found.made_with == found.source_made_with == made.made_with
    assert found.agrees


@pytest.mark.parametrize(
    ("levels", "slightly_off", "far_off"), [(16, 0, 0), (17, 1, 0), (20, 1, 0), (64, 1, 0), (65, 1, 1)]
)
def test_one_pixel_counts_where_it_passes_a_limit(made, compared, levels, slightly_off, far_off):
    found = compared(with_pixel_off(made, levels))
    assert (found.identical, found.largest) == (8, levels)
    assert (found.slightly_off, found.far_off) == (slightly_off, far_off)


def test_differences_count_in_both_directions(made, compared):
    images = made.images.copy()
    images[0], images[1] = 255 - images[0], 255 - images[1]
    found = compared(replace(made, images=images))
    assert (found.identical, found.far_off, found.largest) == (7, 2, 255)


def test_agreement_ends_where_the_tolerance_does(made, compared):
    found = compared(made)
    assert replace(found, images=1000, far_off=int(1000 * TOLERANCE)).agrees
    assert not replace(found, images=1000, far_off=int(1000 * TOLERANCE) + 1).agrees


def test_labels_that_differ_are_counted_and_the_first_is_named(made, compared):
    labels = made.labels.copy()
    at = int(np.flatnonzero(labels == 0)[0])
    labels[at] = 1
    with pytest.raises(DataError, match=rf"other.npz: 1 of 9 labels differ .* first at image {at}: 'A' drawn, 'B' in"):
        compared(replace(made, labels=labels))


def test_labels_are_compared_by_class_name_not_by_number(made, compared):
    order = [2, 0, 1]
    renumbered = np.array([order.index(label) for label in made.labels], np.uint8)
    assert compared(replace(made, labels=renumbered, class_names=("I", "A", "B"))).agrees


@pytest.mark.parametrize(
    "changed",
    [
        {"images": np.zeros((9, 27, 28), np.uint8)},
        {"images": np.zeros((9, 28, 28), np.float32)},
        {"images": np.zeros((8, 28, 28), np.uint8), "labels": np.arange(8) % 3, "family": np.zeros(8, np.uint16)},
    ],
)
def test_a_file_of_another_size_cannot_be_compared(made, compared, changed):
    with pytest.raises(DataError, match=r"other.npz: expected images \(9, 28, 28\) uint8, as just drawn, got \(\d, 2"):
        compared(replace(made, **changed))


@pytest.mark.parametrize(
    "stored",
    [
        None,
        np.array(["Pillow 13", "FreeType 2"]),
        np.array("two\nlines"),
        np.array("\x1b[2J"),
        np.array(""),
        np.array("x" * 201),
        np.array(7),
        np.array([0x7FFFFFFF], np.uint32).view("<U1")[0:1],  # no character has this number
    ],
    ids=["absent", "two", "lines", "control", "empty", "long", "number", "not Unicode"],
)
def test_a_file_need_not_say_what_drew_it(tmp_path, stored):
    arrays = {"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, 1])}
    content = io.BytesIO()
    np.savez(content, **arrays, **({} if stored is None else {"made_with": stored}))
    (tmp_path / "old.npz").write_bytes(content.getvalue())
    assert read_reference(tmp_path / "old.npz").made_with is None


def test_a_file_that_is_missing_or_no_npz_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.npz: cannot be read: No such file"):
        read_reference(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("letters")
    with pytest.raises(DataError, match=r"text.npz: not a readable .npz file"):
        read_reference(tmp_path / "text.npz")
