"""Single image files: decoding, gray values, sizes, and one line for invalid files."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import image_bytes, lying_png
from PIL import Image

from chalknet import files
from chalknet.data.readers import image as image_reader
from chalknet.data.readers.folder import read_folder
from chalknet.data.readers.image import decode_image, fitted, looks_like_image, read_image
from chalknet.errors import DataError

RED = Image.new("RGB", (6, 4), (255, 0, 0))
CASES = {
    "gray": (Image.new("L", (6, 4), 76), "PNG"),
    "black and white": (Image.new("1", (6, 4), 1), "PNG"),
    "RGB": (RED, "PNG"),
    "RGBA": (RED.convert("RGBA"), "PNG"),
    "palette": (RED.quantize(4), "PNG"),
    "gray with transparency": (Image.new("LA", (6, 4), (76, 255)), "PNG"),
    "CMYK": (RED.convert("CMYK"), "TIFF"),
    "16-bit gray": (Image.fromarray(np.full((4, 6), 76 * 257, np.uint16)), "PNG"),
}


@pytest.mark.parametrize("mode", CASES)
def test_every_mode_becomes_gray_and_says_what_it_was(tmp_path, mode):
    image, kind = CASES[mode]
    path = tmp_path / "x"
    path.write_bytes(image_bytes(image, kind))
    read = read_image(path, "x")
    assert (read.mode, read.size, read.pixels.shape, read.pixels.dtype) == (mode, (6, 4), (4, 6), np.uint8)
    assert np.abs(read.pixels.astype(int) - (255 if mode == "black and white" else 76)).max() <= 1


def test_an_image_is_read_and_resized_as_a_folder_of_images_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 31, 3)).astype(np.uint8)
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "x.png")
    folder, _ = read_folder(tmp_path, "letters", image_size=(9, 8))
    read = read_image(tmp_path / "a" / "x.png", "x")
    assert (read.pixels.shape, read.size) == ((40, 31), (31, 40))
    np.testing.assert_array_equal(fitted(read.pixels, (9, 8)), folder.inputs[0])
    assert "2 images stretched to other proportions, which image_fit='pad' keeps" in folder.notes[1]


@pytest.mark.parametrize(
    ("fit", "expected"),
    [("stretch", [10, 10, 200, 200]), ("crop", [10, 10, 200, 200]), ("pad", [105, 105, 105, 105])],
)
def test_other_proportions_are_stretched_cropped_or_padded(fit, expected):
    image = np.repeat(np.uint8([[10] * 40 + [200] * 40]), 20, axis=0)  # 20 high, 80 wide, half dark and half light
    made = fitted(image, (8, 8), fit)
    assert made.shape == (8, 8)
    np.testing.assert_allclose(made[0, [0, 1, 6, 7]], expected, atol=3)
    np.testing.assert_allclose(made[4, [0, 1, 6, 7]], [10, 10, 200, 200], atol=3)
    tall = np.repeat(np.uint8([[9], [9], [80], [9], [9]]), 3, axis=1).repeat(2, axis=0)
    assert fitted(tall, (3, 3), "crop").max() > 60  # the middle is kept


def test_padding_can_leave_a_margin():
    made = fitted(np.full((10, 20), 255, np.uint8), (20, 20), "pad", fill=0.5, level=0)
    assert np.argwhere(made).min(axis=0).tolist() == [7, 5]
    assert np.argwhere(made).max(axis=0).tolist() == [11, 14]
    assert fitted(np.full((1, 60_000), 7, np.uint8), (8, 8), "pad", level=0).sum() == 56


@pytest.mark.parametrize(("largest", "white"), [(255, 255), (65_535, 65_535)])
def test_32_bit_images_are_scaled_by_their_range(tmp_path, largest, white):
    values = np.array([[0, 220, largest]], np.int32)
    content = image_bytes(Image.fromarray(values), "TIFF")
    image = decode_image(content)
    np.testing.assert_array_equal(image.pixels, [[0, round(220 * 255 / white), 255]])
    assert image.mode == "32-bit gray"
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.tif").write_bytes(content)
    assert read_folder(tmp_path, "scans")[0].notes[0].startswith("2 images of 32-bit integers, read as 8-bit pixels")


def test_images_of_12_bits_in_16_are_noted(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(np.array([[0, 4_095]], np.uint16)).save(tmp_path / name / "x.png")
    assert read_folder(tmp_path, "scans")[0].notes[0].startswith("2 images of 16-bit pixels, none of them above 4,096")


def test_a_jpeg_with_too_many_scans_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024)).astype(np.uint8)
    content = image_bytes(Image.fromarray(noise), "JPEG", progressive=True, quality=5)
    shortest = min((scan.split(b"\xff\xc4")[0] for scan in content.split(b"\xff\xda")[1:]), key=len)
    many = content[:-2] + (b"\xff\xda" + shortest) * 20_000 + content[-2:]
    for path, sent in ((tmp_path / "x.jpg", content), (tmp_path / "bomb.jpg", many)):
        path.write_bytes(sent)
    assert read_image(tmp_path / "x.jpg", "x.jpg").size == (1024, 1024)
    start = time.thread_time()
    with pytest.raises(DataError, match=r"^bomb\.jpg: has 20,0\d\d scans, more than a JPEG of its size can use"):
        read_image(tmp_path / "bomb.jpg", "bomb.jpg")
    assert time.thread_time() - start < 1


def test_an_image_that_takes_too_long_is_refused(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    monkeypatch.setattr(files, "BASE_SECONDS", -1e9)
    with pytest.raises(DataError, match=r"^x\.png: takes more than the -\d+ seconds that reading it may take"):
        read_image(tmp_path / "x.png", "x.png")


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    path = tmp_path / "x.gif"
    first, second = Image.new("L", (3, 3), 10), Image.new("L", (3, 3), 200)
    first.save(path, save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(path, "x.gif").pixels, 10)


def test_the_size_is_that_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the picture is on the right of the sensor
    Image.new("L", (6, 4)).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg", "x.jpg").size == (4, 6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"text", "is no image of a known kind"),
        (image_bytes(Image.new("L", (9, 9)))[:45], "is damaged"),
        (lying_png(50_000, 50_000), "far more than 134,217,728 pixels"),
        (lying_png(12_000, 12_000), "has 12000 x 12000 pixels, more than 134,217,728"),
        (image_bytes(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), r"not read \(its pixels are floats, and"),
        (image_bytes(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF"), "values outside the 16-bit range"),
    ],
    ids=["empty", "text", "cut short", "2.5 billion pixels", "144 million pixels", "floats", "17 bits"],
)
def test_invalid_images_give_one_line(tmp_path, content, message):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_image(tmp_path / "x.png", "given/x.png")
    assert str(raised.value).startswith("given/x.png: ")
    assert "\n" not in str(raised.value)
    assert " object at " not in str(raised.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # Pillow's, from 89 million pixels on
@pytest.mark.parametrize("size", [(8_000, 6_000), (12_000, 9_000)])
def test_a_large_photo_is_decoded_in_reduced_size(tmp_path, size):
    halves = Image.new("L", size, 40)
    halves.paste(200, (0, 0, size[0] // 2, size[1]))
    halves.save(tmp_path / "x.jpg")
    read = read_image(tmp_path / "x.jpg", "x.jpg")
    assert read.size == size
    assert np.abs(fitted(read.pixels, (2, 8)).astype(int)[:, [0, 1, 6, 7]] - [200, 200, 40, 40]).max() <= 2
    assert decode_image((tmp_path / "x.jpg").read_bytes()).pixels.size <= image_reader.LARGE_PIXELS


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "LA", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_bands_and_rotation_change_no_pixel(monkeypatch, mode, orientation):
    values = np.random.default_rng(0).integers(0, 256, (7, 5, 4)).astype(np.uint8)
    image = Image.fromarray(values[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(values)
    image = image if image.mode == mode else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = image_bytes(image, "TIFF" if mode == "CMYK" else "PNG", exif=exif)
    whole = decode_image(content)
    monkeypatch.setattr(image_reader, "LARGE_PIXELS", 10)
    monkeypatch.setattr(image_reader, "BAND_PIXELS", 10)
    banded = decode_image(content)
    np.testing.assert_array_equal(banded.pixels, whole.pixels)
    assert (banded.mode, banded.size, banded.was_transparent) == (whole.mode, whole.size, whole.was_transparent)
    assert whole.pixels.shape == whole.size[::-1] == ((5, 7) if orientation == 6 else (7, 5))


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(image_reader, "LARGE_PIXELS", 10)
    active, most, pixels = [], [], image_reader._pixels

    def slow(image, bits, color):
        active.append(image)
        time.sleep(0.02)
        most.append(len(active))
        active.remove(image)
        return pixels(image, bits, color)

    monkeypatch.setattr(image_reader, "_pixels", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode_image, [image_bytes(Image.new("L", (9, 9)))] * 8))
    assert most == [1] * 8


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"no\.png: cannot be read: No such file"):
        read_image(tmp_path / "no.png", "no.png")


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"\x89PNG\r\n", "letter", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", "letter", True),
        (b"", "letter.JPG", True),
        (b"P1,P2,label\n1,2,a\n", "table.csv", False),
        (b"BMI,age,label\n", "table.csv", False),
        (b"PK\x03\x04", "letters.npz", False),
    ],
)
def test_images_are_distinguished_from_other_files(head, name, expected):
    assert looks_like_image(head, name) is expected
