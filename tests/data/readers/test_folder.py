"""Folders of images."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import image_bytes, lying_png
from PIL import Image

from chalknet import files
from chalknet.data.load import load_data
from chalknet.data.open_data import open_data
from chalknet.data.readers import folder as folder_reader
from chalknet.data.readers import image as image_reader
from chalknet.data.readers.image import decode_image
from chalknet.errors import ConfigError, DataError
from chalknet.files import Budget


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)


def gray(value, height=6, width=5):
    return np.full((height, width), value, np.uint8)


@pytest.fixture
def letters(tmp_path):
    """Two classes of three images whose gray value says which they are."""
    for label, name in enumerate(["a", "b"]):
        for at in range(3):
            save(tmp_path / name / f"{at}.png", gray(100 * label + at))
    return tmp_path


def test_sub_folders_are_classes_in_sorted_order(letters):
    data = load_data(letters)
    assert data.class_names == ("a", "b")
    assert data.inputs.shape == (6, 6, 5)
    assert data.inputs.dtype == np.uint8
    np.testing.assert_array_equal(data.inputs[:, 0, 0], [0, 1, 2, 100, 101, 102])
    np.testing.assert_array_equal(data.labels, [0, 0, 0, 1, 1, 1])
    assert data.notes == ()


def test_class_names_give_the_order_of_the_classes(letters):
    data = load_data(letters, class_names=["b", "a"])
    np.testing.assert_array_equal(data.labels, [1, 1, 1, 0, 0, 0])
    with pytest.raises(DataError, match="names of the sub-folders in any order, 'a', 'b', got 'b', 'c'"):
        load_data(letters, class_names=["b", "c"])


def test_the_order_does_not_depend_on_threads(letters, monkeypatch):
    expected = load_data(letters).inputs
    monkeypatch.setattr(folder_reader, "BATCH_FILES", 1)
    for _ in range(5):
        np.testing.assert_array_equal(load_data(letters).inputs, expected)


@pytest.mark.parametrize("suffix", ["png", "PNG", "gif", "bmp", "tif", "tiff", "pgm", "ppm"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 8)).astype(np.uint8)
    for name in "ab":
        save(tmp_path / name / f"x.{suffix}", pixels)
    np.testing.assert_array_equal(load_data(tmp_path).inputs, [pixels, pixels])


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_formats_come_back_nearly(tmp_path, suffix):
    for name in "ab":
        save(tmp_path / name / f"x.{suffix}", gray(90, 16, 16))
    assert np.abs(load_data(tmp_path).inputs.astype(int) - 90).max() <= 2


def test_hidden_files_and_folders_are_ignored(letters):
    save(letters / ".thumbnails" / "x.png", gray(1, 2, 2))
    save(letters / "__MACOSX" / "x.png", gray(1, 2, 2))
    (letters / "a" / "._0.png").write_bytes(b"resource fork")
    (letters / ".DS_Store").write_bytes(b"x")
    data = load_data(letters)
    assert len(data) == 6
    assert data.notes == ()


def test_files_that_are_not_images_are_left_out_and_noted(letters):
    (letters / "readme.txt").write_text("x")
    (letters / "b" / "list.csv").write_text("x")
    (letters / "b" / "inner.png").mkdir()
    (letters / "b" / "inner.png" / "list.txt").write_text("x")
    assert load_data(letters).notes == (
        "1 file outside the class folders left out: 'readme.txt'.",
        "2 entries that are no image files left out: 'b/inner.png/list.txt', 'b/list.csv'.",
    )


def test_folders_without_images_are_left_out_and_noted(letters):
    (letters / "aa" / "empty").mkdir(parents=True)
    (letters / "c").mkdir()
    (letters / "c" / "photo.heic").write_bytes(b"x")
    data = load_data(letters)
    assert data.class_names == ("a", "b")
    np.testing.assert_array_equal(data.labels, [0, 0, 0, 1, 1, 1])
    assert data.notes == (
        "2 folders without images left out: 'aa', 'c'.",
        "1 entry that is no image file left out: 'c/photo.heic'.",
    )
    np.testing.assert_array_equal(load_data(letters, class_names=["b", "a"]).labels, [1, 1, 1, 0, 0, 0])
    with pytest.raises(DataError, match="class 'c' has no image files"):
        load_data(letters, class_names=["c", "b", "a"])
    for at in range(3):
        (letters / "b" / f"{at}.png").unlink()
    assert load_data(letters, known_classes=["a", "b"]).class_names == ("a", "b")


def test_a_class_folder_that_cannot_be_listed_is_no_empty_one(letters, monkeypatch):
    (letters / "c").mkdir()
    scandir = os.scandir

    def listed(path):
        if Path(path).name == "c":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folder_reader.os, "scandir", listed)
    with pytest.raises(DataError, match=r"cannot list '.*c': Permission denied\. Check its permissions\."):
        load_data(letters)


def test_images_in_deeper_folders_are_read_and_noted(letters):
    for at in range(3):
        save(letters / "a" / "2023" / "may" / f"{at}.png", gray(10 + at))
    save(letters / "b" / ".thumbs" / "0.png", gray(1))
    save(letters / "b" / "__MACOSX" / "0.png", gray(1))
    (letters / "b" / "loop").symlink_to(letters)
    data = load_data(letters)
    np.testing.assert_array_equal(data.inputs[:, 0, 0], [0, 1, 2, 10, 11, 12, 100, 101, 102])
    np.testing.assert_array_equal(data.labels, [0] * 6 + [1] * 3)
    assert data.notes == (
        "3 of 9 images are in subfolders of the class folders, such as 'a/2023/may', and read with the class of the "
        "outer folder, here 'a'. If the subfolders are the classes, give the folder that holds them.",
        "1 entry that is no image file left out: 'b/loop'.",
    )


def test_class_folders_may_hold_all_images_in_subfolders(tmp_path):
    for label, name in enumerate(("flower", "leaf")):
        for year in ("2024", "2025"):
            save(tmp_path / name / year / "0.png", gray(100 * label + int(year) % 100))
    (tmp_path / "unsorted").mkdir()
    data = load_data(tmp_path)
    assert data.class_names == ("flower", "leaf")
    np.testing.assert_array_equal(data.inputs[:, 0, 0], [24, 25, 124, 125])
    assert data.notes[0] == "1 folder without images left out: 'unsorted'."
    (tmp_path / "leaf" / "2025" / "0.png").write_bytes(b"x")
    assert any("'leaf/2025/0.png'" in note for note in load_data(tmp_path).notes)


def test_a_subfolder_that_cannot_be_listed_is_noted(letters, monkeypatch):
    save(letters / "a" / "closed" / "0.png", gray(1))
    scandir = os.scandir

    def listed(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folder_reader.os, "scandir", listed)
    data = load_data(letters)
    assert len(data) == 6
    (note,) = data.notes
    assert note.startswith("1 subfolder left out. ")
    assert note.endswith("closed': Permission denied. Check its permissions.")


def test_a_folder_of_splits_is_not_read_as_classes(letters):
    for split in ("train", "val"):
        for name in ("a", "b"):
            save(letters / "all" / split / name / "0.png", gray(1))
    with pytest.raises(DataError, match=r"'train', 'val' are splits, and no classes\. Give each of them"):
        load_data(letters / "all")
    assert load_data(letters / "all" / "train").class_names == ("a", "b")


def test_class_names_are_composed_unicode(tmp_path):
    for name in ("cafe\u0301", "the"):
        save(tmp_path / name / "x.png", gray(1))
    assert load_data(tmp_path).class_names == ("caf\u00e9", "the")
    assert load_data(tmp_path, class_names=["the", "caf\u00e9"]).class_names == ("the", "caf\u00e9")


def test_links_in_a_circle_are_neither_classes_nor_images(letters):
    (letters / "c").symlink_to("c")
    (letters / "a" / "9.png").symlink_to("9.png")
    data = load_data(letters)
    assert data.class_names == ("a", "b")
    assert data.notes == ("1 entry that is no image file left out: 'a/9.png'.",)


def test_broken_images_are_left_out_and_noted(letters):
    whole = (letters / "a" / "0.png").read_bytes()
    for at in range(6):
        (letters / "b" / f"broken{at}.png").write_bytes(
            [b"", b"\x89PNG", whole[:40], b"text", whole[:-20], b"\0" * 99][at]
        )
    data = load_data(letters)
    assert len(data) == 6
    assert data.notes == (
        "6 image files could not be read and left out: 'b/broken0.png', 'b/broken1.png', 'b/broken2.png', "
        "'b/broken3.png', 'b/broken4.png' and 1 more.",
    )


def test_too_large_images_are_left_out_without_decoding(letters, monkeypatch):
    (letters / "a" / "bomb.png").write_bytes(lying_png(50_000, 50_000))
    assert "'a/bomb.png'" in load_data(letters).notes[0]
    monkeypatch.setattr(image_reader, "MAX_PIXELS", 29)  # letters have 30
    with pytest.raises(DataError, match="class 'a' has no readable image among 4 image files"):
        load_data(letters)


def test_the_memory_of_all_images_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BASE_BYTES", 2**21)
    monkeypatch.setattr(folder_reader.os, "cpu_count", lambda: 1)
    for at in range(60):
        save(tmp_path / "ab"[at % 2] / f"{at}.png", np.zeros((1024, 1024), bool))
    decoded = []
    real = folder_reader.decode_image
    monkeypatch.setattr(
        folder_reader, "decode_image", lambda content, **more: decoded.append(1) or real(content, **more)
    )
    with pytest.raises(DataError, match=r"bytes of memory that .* Give a smaller image_size"):
        load_data(tmp_path)
    assert len(decoded) < 10
    assert len(load_data(tmp_path, image_size=(8, 8))) == 60


def test_the_time_of_all_threads_is_limited(letters, monkeypatch):
    spend = Budget.spend
    monkeypatch.setattr(Budget, "spend", lambda budget, _: spend(budget, 7.0))
    with pytest.raises(DataError, match=r"takes more than the 4 seconds"):
        load_data(letters)


def test_an_image_that_takes_too_long_is_left_out(letters, monkeypatch):
    frames = image_bytes(Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 500), np.uint8)))
    (letters / "a" / "slow.png").write_bytes(frames)
    monkeypatch.setattr(image_reader, "Budget", lambda of, size, *how: Budget(of, -(10**7) * (size > 10**5), *how))
    assert load_data(letters).notes == ("1 image file could not be read and left out: 'a/slow.png'.",)


def test_images_of_another_size_are_resized_to_the_size_of_most(letters):
    save(letters / "a" / "1b.png", gray(7, 9, 5))
    data = load_data(letters)
    assert data.sample_shape == (6, 5)
    np.testing.assert_array_equal(data.inputs[:, 0, 0], [0, 1, 7, 2, 100, 101, 102])
    resized, stretched, chosen = data.notes
    assert resized == "1 image resized to 6 high and 5 wide."
    assert "1 image stretched" in stretched
    assert chosen == (
        "images differ in size, and all are made 6 high and 5 wide (the median height and width). To choose the size, "
        "give image_size=(H, W)."
    )
    assert (data.origin.image_size, data.origin.image_fit) == ((6, 5), "stretch")
    np.testing.assert_array_equal(open_data(data.origin).inputs, data.inputs)


def test_large_images_of_many_sizes_are_reduced_to_64_pixels(tmp_path):
    for k in range(4):
        save(tmp_path / "ab"[k % 2] / f"{k}.jpg", gray(7, 300 + 100 * k, 200 + k))
    data = load_data(tmp_path)
    assert data.sample_shape == (64, 32)  # 400 and 201 of 300, 400, 500, 600 and 200, 201, 202, 203
    assert "(the median height and width, 400 and 201, reduced to at most 64 pixels)" in data.notes[-1]
    assert load_data(tmp_path, image_size=(8, 9)).sample_shape == (8, 9)
    padded = load_data(tmp_path, image_fit="pad")
    assert (padded.sample_shape, padded.origin.image_fit) == ((64, 32), "pad")


def test_turned_photos_count_in_the_size_in_which_they_are_shown(tmp_path):
    exif = Image.Exif()
    exif[image_reader.ORIENTATION] = 6
    for kind in ("jpg", "tif", "webp", "png"):
        for name, more in (("upright", {}), ("turned", {"exif": exif})):
            save(tmp_path / f"{name}.{kind}", gray(1, 9, 20), **more)
            content = (tmp_path / f"{name}.{kind}").read_bytes()
            assert image_reader.size_in_header(content) == decode_image(content).pixels.shape


def test_images_of_several_sizes_that_are_too_large_are_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BASE_BYTES", 2**21)
    monkeypatch.setattr(folder_reader.os, "cpu_count", lambda: 1)
    for at in range(60):
        save(tmp_path / "ab"[at % 2] / f"{at}.png", np.zeros((1024, 1024 + (at == 9)), bool))
    assert load_data(tmp_path).sample_shape == (64, 64)


def test_images_in_a_folder_with_the_split_of_another_get_its_size(letters, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name, height in (("a", 6), ("a", 7), ("b", 9)):
        save(other / name / f"{height}.png", gray(3, height, 5))
    assert load_data(other, like=load_data(letters)).sample_shape == (6, 5)
    assert load_data(other, like=load_data(letters), image_size=(8, 8)).sample_shape == (8, 8)


def test_image_size_resizes_only_images_of_other_sizes(letters):
    save(letters / "a" / "1b.png", gray(7, 9, 5))
    data = load_data(letters, image_size=(6, 5))
    np.testing.assert_array_equal(data.inputs[:, 0, 0], [0, 1, 7, 2, 100, 101, 102])
    assert data.notes[0] == "1 image resized to 6 high and 5 wide."
    assert "1 image stretched to other proportions, which image_fit='pad' keeps, as does crop" in data.notes[1]
    assert data.origin.image_fit == "stretch"
    padded = load_data(letters, image_size=(6, 5), image_fit="pad")
    assert len(padded.notes) == 1
    np.testing.assert_array_equal(open_data(padded.origin).inputs, padded.inputs)
    assert open_data(padded.origin).origin.image_fit == "pad"
    with pytest.raises(ConfigError, match="image_fit must be one of stretch, crop, pad, got 'squash'"):
        load_data(letters, image_fit="squash")
    assert load_data(letters, image_size=(4, 3)).inputs.shape == (7, 4, 3)


def test_color_becomes_its_luminance():
    red = image_bytes(Image.new("RGB", (2, 2), (255, 0, 0)))
    image = decode_image(red)
    np.testing.assert_array_equal(image.pixels, 76)  # 0.299 · 255, ITU-R 601
    assert not image.was_transparent


def test_transparency_is_laid_on_white():
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    image = decode_image(image_bytes(half))
    np.testing.assert_array_equal(image.pixels, [[0, 255]])
    assert image.was_transparent
    assert not decode_image(image_bytes(Image.new("RGBA", (2, 1), (9, 9, 9, 255)))).was_transparent


def test_a_palettes_transparent_color_is_laid_on_white():
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 10, 10, 20, 20, 20])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(decode_image(image_bytes(palette, transparency=1)).pixels, [[10, 255]])


def test_transparent_images_are_noted(letters):
    save(letters / "a" / "3.png", np.zeros((6, 5, 4), np.uint8))
    assert load_data(letters).notes == ("1 image with transparency laid on white: 'a/3.png'.",)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_to_8_and_rounded(kind):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    expected = [[round(value / 257) for value in values[0].tolist()]]
    np.testing.assert_array_equal(decode_image(image_bytes(Image.fromarray(values), kind)).pixels, expected)


def test_warnings_of_pillow_are_suppressed(letters):
    cut_short = b"Exif\0\0II*\0\x08\0\0\0\x05\0"  # a list of five entries, none of which follows
    save(letters / "a" / "3.png", gray(3), exif=cut_short)
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        decode_image((letters / "a" / "3.png").read_bytes())
    data = load_data(letters)  # warnings are errors here
    assert len(data) == 7
    assert data.notes == ()


def test_exif_rotation_is_applied():
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the picture is on the right of the sensor
    np.testing.assert_array_equal(decode_image(image_bytes(image, exif=exif)).pixels, [[3, 0], [4, 1], [5, 2]])


@pytest.mark.parametrize(
    "kind", ["EPS", "PCX"]
)  # PostScript would be handed to another program; Pillow reads PCX itself
def test_unlisted_formats_are_not_decoded(letters, kind):
    (letters / "a" / "x.png").write_bytes(image_bytes(Image.new("L", (5, 6)), kind))
    assert "'a/x.png'" in load_data(letters).notes[0]


def test_the_digest_is_of_names_and_bytes(letters):
    before = load_data(letters).sha256
    assert load_data(letters).sha256 == before
    (letters / "a" / "0.png").rename(letters / "a" / "00.png")
    renamed = load_data(letters).sha256
    save(letters / "a" / "00.png", gray(55))
    assert len({before, renamed, load_data(letters).sha256}) == 3


def test_a_file_without_permission_is_left_out(letters, monkeypatch):
    read = folder_reader.read_bytes

    def refuse(path, max_bytes):
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return read(path, max_bytes)

    monkeypatch.setattr(folder_reader, "read_bytes", refuse)
    data = load_data(letters)
    assert len(data) == 4
    assert "'a/1.png', 'b/1.png'" in data.notes[0]
