"""Color images: how they are read, converted, changed and compared."""

import numpy as np
import pytest
from colored_ink import INKS, NAMES, ink_data, ink_images, save_ink_folder
from conftest import image_bytes
from PIL import Image

from chalknet.config import AugmentationConfig
from chalknet.data.audit import audit
from chalknet.data.augment import PARAMETERS_PER_IMAGE, Augmenter
from chalknet.data.color import are_blank, to_gray, to_rgb, with_usual_channels
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.image_facts import image_facts
from chalknet.data.load import load_data
from chalknet.data.on_disk import OnDiskSamples
from chalknet.data.provided_splits import with_provided_splits
from chalknet.data.readers.image import decode_image, fitted
from chalknet.data.splits import split_dataset
from chalknet.errors import ConfigError, DataError
from chalknet.reporting.drawings.images import _Sheet, as_grid, sample_sheet
from chalknet.workflows.data import convert

RANDOM = np.random.default_rng(5).integers(0, 256, (40, 9, 7, 3)).astype(np.uint8)


def test_gray_values_are_those_of_pillow():
    gray = to_gray(RANDOM)
    for image, expected in zip(RANDOM, gray, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.fromarray(image).convert("L")), expected)
    np.testing.assert_allclose(to_gray(RANDOM.astype(np.float64)), gray, atol=0.51)
    np.testing.assert_array_equal(to_gray(to_rgb(gray)), gray)


def test_a_folder_is_gray_by_default_and_in_color_on_request(tmp_path):
    folder = save_ink_folder(tmp_path / "ink")
    gray, asked, color = load_data(folder), load_data(folder, color="gray"), load_data(folder, color="rgb")
    np.testing.assert_array_equal(gray.inputs, asked.inputs)
    assert (gray.sample_shape, color.sample_shape) == ((12, 12), (12, 12, 3))
    np.testing.assert_array_equal(to_gray(color.inputs), gray.inputs)
    assert gray.sha256 == color.sha256, "the digest is of the files"
    assert gray.notes[0].startswith("40 images with colors, read as gray; color='rgb' keeps colors")
    assert color.notes == asked.notes == ()
    assert color.origin.color == "rgb"
    assert np.abs(color.inputs.astype(int).min(axis=(1, 2)) - INKS[color.labels // 2]).max() < 40


def test_gray_files_among_color_files_have_three_equal_channels(tmp_path):
    folder = save_ink_folder(tmp_path / "ink")
    gray = np.arange(144, dtype=np.uint8).reshape(12, 12)
    Image.fromarray(gray).save(folder / NAMES[0] / "zz.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(folder / NAMES[1] / "zz.png")
    found = load_data(folder, color="rgb")
    for name in (0, 1):
        last = found.inputs[np.flatnonzero(found.labels == name)[-1]]
        np.testing.assert_array_equal(last, to_rgb(gray))


def test_colors_are_laid_on_white_turned_and_resized():
    half = Image.fromarray(np.array([[[255, 0, 0, 255], [0, 0, 0, 0]]], np.uint8))
    image = decode_image(image_bytes(half), color=True)
    np.testing.assert_array_equal(image.pixels, [[[255, 0, 0], [255, 255, 255]]])
    assert image.was_transparent
    turned = Image.fromarray(RANDOM[0])
    exif = turned.getexif()
    exif[0x0112] = 6
    upright = decode_image(image_bytes(turned, exif=exif), color=True).pixels
    np.testing.assert_array_equal(upright, np.rot90(RANDOM[0], -1))
    wide = np.zeros((4, 8, 3), np.uint8) + np.array([10, 200, 90], np.uint8)
    padded = fitted(wide, (8, 8), "pad")
    np.testing.assert_array_equal(padded, np.broadcast_to([10, 200, 90], (8, 8, 3)))


def test_a_gray_scan_saved_in_color_loses_nothing():
    scan = to_rgb(RANDOM[0, :, :, 0])
    assert not decode_image(image_bytes(Image.fromarray(scan))).lost_color
    assert decode_image(image_bytes(Image.fromarray(RANDOM[0]))).lost_color
    assert not decode_image(image_bytes(Image.fromarray(RANDOM[0])), color=True).lost_color


@pytest.mark.parametrize(
    ("shape", "expected", "note"),
    [
        ((5, 8, 8, 3), (5, 8, 8, 3), None),
        ((5, 3, 8, 8), (5, 8, 8, 3), "channels first"),
        ((5, 8, 8, 1), (5, 8, 8), "one channel"),
        ((5, 1, 8, 8), (5, 8, 8), "one channel"),
        ((5, 8, 8, 4), (5, 8, 8, 3), "laid on white"),
        ((5, 3, 3, 3), (5, 3, 3, 3), None),
    ],
    ids=str,
)
def test_arrays_of_usual_shapes_are_images(shape, expected, note):
    found = dataset_from_arrays(np.zeros(shape, np.uint8), np.arange(5) % 2)
    assert found.inputs.shape == expected
    assert note is None if not found.notes else note in " ".join(found.notes)


@pytest.mark.parametrize("shape", [(5, 8, 8, 2), (5, 4, 8, 8), (5, 2, 2, 2, 3)], ids=str)
def test_other_channels_are_refused(shape):
    with pytest.raises(DataError, match=r"images must be \(N, H, W\), or \(N, H, W, 3\) in color"):
        dataset_from_arrays(np.zeros(shape, np.uint8), np.arange(5) % 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_transparent_arrays_are_laid_on_white(dtype):
    white = 255 if dtype == np.uint8 else 1
    pixels = np.array([[0, white, 0, white], [0, 0, 0, 0]] * 2, dtype).reshape(1, 2, 2, 4)
    found, _ = with_usual_channels(pixels)
    np.testing.assert_allclose(found, [[[[0, white, 0], [white, white, white]]] * 2])
    assert found.dtype == dtype


def test_arrays_keep_their_color_unless_gray_is_asked_for(tmp_path):
    images, labels = ink_images(20)
    np.savez(tmp_path / "color.npz", images=images, labels=labels)
    np.savez(tmp_path / "gray.npz", images=to_gray(images), labels=labels)
    assert load_data(tmp_path / "color.npz").sample_shape == (12, 12, 3)
    np.testing.assert_array_equal(load_data(tmp_path / "color.npz", color="gray").inputs, to_gray(images))
    np.testing.assert_array_equal(load_data(tmp_path / "gray.npz", color="rgb").inputs, to_rgb(to_gray(images)))
    assert load_data((images, labels), color="gray").sample_shape == (12, 12)


def test_the_digest_of_gray_arrays_is_that_of_earlier_versions():
    data = dataset_from_arrays(np.arange(48, dtype=np.uint8).reshape(3, 4, 4), np.array([0, 1, 0]))
    assert data.sha256 == "e90f083f87042bdb80d20cf397797041b8923a10fa7eb9ce6b9acc06a1e71f90"


@pytest.mark.parametrize(
    ("source", "color", "message"),
    [
        ((np.zeros((4, 3)), [0, 1, 0, 1]), "rgb", "color has no meaning for rows of numbers"),
        ((np.zeros((4, 3, 3)), [0, 1, 0, 1]), "cmyk", "color must be one of gray, rgb, got 'cmyk'"),
        ({"a": [1, 2], "label": ["x", "y"]}, "rgb", "color has no meaning for a table in memory"),
    ],
)
def test_a_color_that_cannot_be_meant_is_refused(source, color, message):
    with pytest.raises(ConfigError, match=message):
        load_data(source, color=color)


def test_rows_of_a_table_are_color_images_on_request(tmp_path):
    images, labels = ink_images(20)
    rows = [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    found = load_data(tmp_path / "rows.csv", image_size=(12, 12), color="rgb", label_column=0)
    np.testing.assert_array_equal(found.inputs, images)
    gray = load_data(tmp_path / "rows.csv", image_size=(12, 12), color="gray", label_column=0)
    np.testing.assert_array_equal(gray.inputs, to_gray(images))
    with pytest.raises(DataError, match=r"three for each pixel, give color='rgb'"):
        load_data(tmp_path / "rows.csv", image_size=(12, 12), label_column=0)


def test_color_images_stay_on_disk_and_cannot_be_converted_there(tmp_path):
    images, labels = ink_images(20)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    data = load_data(tmp_path, color="rgb")
    assert isinstance(data.inputs, OnDiskSamples)
    np.testing.assert_array_equal(data.inputs[[3, 1]], images[[3, 1]])
    with pytest.raises(ConfigError, match="holds color images that stay on disk, so color='gray'"):
        load_data(tmp_path, color="gray")
    np.save(tmp_path / "images.npy", images.transpose(0, 3, 1, 2))
    with pytest.raises(DataError, match="with the channels last"):
        load_data(tmp_path)


@pytest.mark.parametrize("kind", ["npz", "idx", "folder", "csv", "npy", "shards"])
def test_every_format_holds_color_images(kind, tmp_path):
    data = ink_data(20)
    done = convert(data, tmp_path / "made", kind)
    back = load_data(tmp_path / "made", **done.read_with)
    assert back.sample_shape == (12, 12, 3)
    assert ("color" in done.read_with) == (kind in ("folder", "csv"))


def test_validation_images_of_another_color_are_refused_with_advice():
    data = ink_data(20)
    with pytest.raises(DataError, match=r"Read both with the same color: gray or rgb"):
        with_provided_splits(data, data.in_color("gray"))


def test_all_channels_of_an_image_change_alike():
    parameters = np.random.default_rng(1).random((len(RANDOM), PARAMETERS_PER_IMAGE))
    config = AugmentationConfig(shift_pixels=2, rotation_degrees=30, zoom=0.3, shear=0.2, erase=0.5)
    color = Augmenter(config, (9, 7, 3))(RANDOM.reshape(len(RANDOM), -1), parameters).reshape(RANDOM.shape)
    for channel in range(3):
        rows = np.ascontiguousarray(RANDOM[..., channel]).reshape(len(RANDOM), -1)
        gray = Augmenter(config, (9, 7))(rows, parameters)
        np.testing.assert_array_equal(color[..., channel].reshape(len(RANDOM), -1), gray)


def test_the_brightness_of_color_images_is_measured():
    data = ink_data()
    every = np.arange(len(data))
    assert image_facts(data.inputs, every) == image_facts(data.in_color("gray").inputs, every)


def test_an_audit_tells_colors_apart():
    images = np.zeros((8, 6, 6, 3), np.uint8)
    images[:, 2:4] = INKS[np.arange(8) % 2][:, None, None]
    images[:, 0, 0] = np.arange(8)[:, None] * 30  # no two images are equal
    images[6:] = INKS[[0, 0]][:, None, None]  # of one color only, and equal
    data = dataset_from_arrays(images, np.arange(8) % 2)
    assert are_blank(images).tolist() == [False] * 6 + [True] * 2
    splits = split_dataset(data, "random", 4, 2, 0)
    found = audit(data, splits, near=0.01)
    assert found.check("blank").samples == (6, 7)
    assert [(blank.value, blank.by_class) for blank in found.blanks] == [(98.0, {"0": 1, "1": 1})]
    assert {pair.samples for pair in found.worst} <= {(6, 7)}


def test_sheets_show_colors():
    data = ink_data(8)
    grid = as_grid(np.arange(8), 4)
    sheet = _Sheet.plan(data, grid, None, None, 4)
    pixels = sheet.pixels(data, grid)
    x, y = sheet.corner(0, 1)
    shown = pixels[y : y + sheet.cell[0] : sheet.zoom, x : x + sheet.cell[1] : sheet.zoom]
    np.testing.assert_array_equal(shown, data.inputs[1])
    assert sample_sheet(data, np.arange(8), seed=0).axes[0].images[0].get_array().shape[2] == 3
