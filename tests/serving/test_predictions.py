"""Predictions for files are those of the model, and a bad file does not affect the others."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import lying_png
from PIL import Image
from small_models import LETTERS, SHAPE, ensemble, image_model, row_model

from chalknet import files as files_module
from chalknet.data.dataset import UnlabeledSamples
from chalknet.data.on_disk import OnDiskSamples
from chalknet.data.preprocess import Scaling
from chalknet.data.readers.image import ReadImage, fitted, read_image
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import printable
from chalknet.network.architecture import CHUNK_ROWS
from chalknet.network.model import Network
from chalknet.serving import inputs as inputs_module
from chalknet.serving.inputs import InputOptions
from chalknet.serving.prediction_tables import conversion_lines
from chalknet.serving.predictions import predict_files, predict_samples

PLAIN = InputOptions()


def drawn(seed, size=(31, 40)):
    """Return an RGB image of noise of size (width, height)."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))


def saved(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def as_folder_reads(path):
    return fitted(read_image(path, "x").pixels, SHAPE)


MODES = {
    "RGB.png": drawn(0),
    "RGBA.png": drawn(1).convert("RGBA"),
    "palette.png": drawn(2).quantize(16),
    "gray.jpg": drawn(3).convert("L"),
    "bits.png": drawn(4).convert("1"),
    "cmyk.jpg": drawn(5).convert("CMYK"),
    "16.png": Image.fromarray(np.random.default_rng(6).integers(0, 65_536, (9, 9)).astype(np.uint16)),
    "letter.webp": drawn(7),
}


@pytest.mark.parametrize("model", [image_model(), ensemble()], ids=["network", "ensemble"])
def test_images_of_every_mode_are_predicted_in_order(tmp_path, model):
    paths = [saved(image, tmp_path / name) for name, image in MODES.items()]
    predictions = predict_files(model, paths, PLAIN)
    expected = model.predict_proba(np.stack([as_folder_reads(path) for path in paths]))
    np.testing.assert_array_equal(predictions.probabilities, expected)
    assert predictions.names == tuple(map(str, paths))
    assert predictions.labels == [LETTERS[k] for k in expected.argmax(axis=1)]
    assert predictions.read_as[:3] == tuple(
        f"31x40 {mode} -> 5x6 gray, stretched" for mode in ("RGB", "RGBA", "palette")
    )
    assert predictions.notes[0].startswith(
        "8 images stretched to the proportions of the training images. How those were resized is not known. If they "
        "were cropped or padded, give image_fit='crop', or pad"
    )
    assert predictions.unreadable == ()


def test_the_rotation_mark_is_obeyed_and_the_first_frame_taken(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    saved(drawn(0, (6, 5)), tmp_path / "turned.png", exif=exif)
    saved(drawn(1), tmp_path / "moving.gif", save_all=True, append_images=[drawn(2)])
    upright = np.rot90(np.asarray(drawn(0, (6, 5)).convert("L")), -1)
    predictions = predict_files(image_model(), [tmp_path / "turned.png", tmp_path / "moving.gif"], PLAIN)
    expected = image_model().predict_proba(np.stack([upright, as_folder_reads(tmp_path / "moving.gif")]))
    np.testing.assert_array_equal(predictions.probabilities, expected)


def test_an_image_that_fits_is_not_touched(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    predictions = predict_files(image_model(), [saved(Image.fromarray(pixels), tmp_path / "a.png")], PLAIN)
    np.testing.assert_array_equal(predictions.probabilities, image_model().predict_proba(pixels[None]))
    assert predictions.read_as == ("5x6 gray, as it is",)


def test_invert_exchanges_black_and_white_and_says_so(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    predictions = predict_files(
        image_model(), [saved(Image.fromarray(pixels), tmp_path / "a.png")], InputOptions(invert=True)
    )
    np.testing.assert_array_equal(predictions.probabilities, image_model().predict_proba(255 - pixels[None]))
    assert predictions.read_as == ("5x6 gray, inverted",)


def test_transparency_is_laid_on_white_and_said(tmp_path):
    clear = saved(Image.new("RGBA", (5, 6), (0, 0, 0, 0)), tmp_path / "a.png")
    predictions = predict_files(image_model(), [clear], PLAIN)
    assert predictions.read_as == ("5x6 RGBA -> 5x6 gray, transparency on white",)
    np.testing.assert_array_equal(
        predictions.probabilities, image_model().predict_proba(np.full((1, *SHAPE), 255, np.uint8))
    )


def test_a_model_of_other_units_needs_the_value_of_white(tmp_path):
    path = saved(drawn(0), tmp_path / "a.png")
    fractions = image_model(scale=1.0)
    with pytest.raises(
        ConfigError, match=r"the value of a white pixel in its training samples is unknown\. Give white"
    ):
        predict_files(fractions, [path], PLAIN)
    gray = as_folder_reads(path)[None]
    predictions = predict_files(fractions, [path], InputOptions(white=1.0))
    np.testing.assert_array_equal(predictions.probabilities, fractions.predict_proba(gray / 255.0))
    first = image_model()
    learned = Network(
        first.architecture, first.parameters, LETTERS, Scaling(np.full(30, 60.0), np.full(30, 99.0)), SHAPE
    )
    predictions = predict_files(learned, [path], InputOptions(white=255.0, invert=True))
    np.testing.assert_array_equal(predictions.probabilities, learned.predict_proba(255 - gray))
    with pytest.raises(ConfigError, match="white must be a number > 0"):
        InputOptions(white=0.0)


def test_bad_files_are_named_and_the_others_predicted(tmp_path):
    first, last = saved(drawn(0), tmp_path / "a.png"), saved(drawn(1), tmp_path / "z.png")
    (tmp_path / "junk.png").write_bytes(b"junk")
    (tmp_path / "huge.png").write_bytes(lying_png(50_000, 50_000))
    (tmp_path / "t.csv").write_text("1,2\n")
    sources = [first, tmp_path / "junk.png", tmp_path / "huge.png", tmp_path / "no.png", tmp_path / "t.csv", last]
    predictions = predict_files(image_model(), sources, PLAIN)
    assert predictions.names == (str(first), str(last))
    told = [line.removeprefix(str(tmp_path)) for line in predictions.unreadable]
    for line, beginning in zip(
        told,
        [
            "/junk.png: is no image of a known kind",
            "/huge.png: says that it has far more than",
            "/no.png: cannot be read: No such file",
            "/t.csv: has 2 columns; expected 30, or 31",
        ],
        strict=True,
    ):
        assert line.startswith(beginning)


def test_where_nothing_can_be_read_it_is_an_error(tmp_path):
    (tmp_path / "junk.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"junk\.png: is no image"):
        predict_files(image_model(), [tmp_path / "junk.png"], PLAIN)
    with pytest.raises(DataError, match=r"none of 7 inputs can be read: .* and 2 more"):
        predict_files(image_model(), [tmp_path / f"{k}.png" for k in range(7)], PLAIN)


def test_a_folder_is_the_images_in_it_and_in_its_subfolders(tmp_path):
    images = ["10.png", "9.png", "A/x.png", "B.png", "a.PNG", "b.png", "sub/c.png", "sub/deeper/0.jpeg", "sub/x y.png"]
    hidden = [".hidden.png", ".git/e.png", "sub/.thumbs/e.png", "__MACOSX/A/x.png", "sub/__MACOSX/x.png"]
    for name in (*images[::-1], *hidden):
        saved(drawn(len(name)), tmp_path / name)
    for name in ("list.txt", "sub/deeper/list.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty" / "emptier").mkdir(parents=True)
    predictions = predict_files(image_model(), [tmp_path], PLAIN)
    assert predictions.names == tuple(str(tmp_path / name) for name in images)
    assert predictions.notes[0] == f"{tmp_path}: 2 files other than images left out: 'list.txt', 'sub/deeper/list.txt'."
    of_files = predict_files(image_model(), [tmp_path / name for name in images], PLAIN)
    np.testing.assert_array_equal(predictions.probabilities, of_files.probabilities)


def test_names_of_images_in_subfolders_begin_with_the_given_path(tmp_path, monkeypatch):
    saved(drawn(0), tmp_path / "scans" / "page 1" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert predict_files(image_model(), ["scans"], PLAIN).names == (str(Path("scans", "page 1", "a.png")),)


def test_links_in_a_circle_end(tmp_path):
    saved(drawn(0), tmp_path / "images" / "A" / "a.png")
    saved(drawn(0), tmp_path / "elsewhere" / "b.png")
    (tmp_path / "images" / "B").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "images" / "A" / "up").symlink_to(tmp_path / "images", target_is_directory=True)
    (tmp_path / "images" / "C").symlink_to("C")
    predictions = predict_files(image_model(), [tmp_path / "images"], PLAIN)
    assert [Path(name).name for name in predictions.names] == ["a.png", "b.png"]
    assert "2 files other than images left out: 'A/up', 'C'" in predictions.notes[0]


def test_a_subfolder_that_cannot_be_listed_is_skipped(tmp_path, monkeypatch):
    for name in ("A/a.png", "B/b.png"):
        saved(drawn(0), tmp_path / name)
    scandir = os.scandir

    def listed(path):
        if Path(path).name == "A":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    predictions = predict_files(image_model(), [tmp_path], PLAIN)
    assert predictions.names == (str(tmp_path / "B" / "b.png"),)
    (message,) = predictions.unreadable
    assert "cannot list" in message
    assert "Permission denied. Check its permissions." in message


def test_a_folder_without_images_is_one_line(tmp_path):
    with pytest.raises(DataError, match=rf"^{tmp_path}: holds no images .* in its subfolders, found nothing\.$"):
        predict_files(image_model(), [tmp_path], PLAIN)
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"found 'A/a\.txt'\.$"):
        predict_files(image_model(), [tmp_path], PLAIN)


def test_images_of_a_folder_have_one_budget_of_time(tmp_path, monkeypatch):
    for name in ("a.png", "b.png", "c.png"):
        saved(drawn(0), tmp_path / name)
    monkeypatch.setattr(files_module, "BASE_SECONDS", 2.0)
    clock = iter(range(100))
    monkeypatch.setattr(inputs_module.time, "thread_time", lambda: float(next(clock)))  # one second for each image
    image = ReadImage(np.zeros(SHAPE, np.uint8), "gray", SHAPE)
    monkeypatch.setattr(inputs_module, "read_image", lambda *_, **__: image)
    with pytest.raises(DataError, match=r"takes more than the 2 seconds .* Give fewer images at once"):
        predict_files(image_model(), [tmp_path], PLAIN)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: is neither a file nor a folder"):
        predict_files(image_model(), [tmp_path / "a.png"], PLAIN)


def test_an_image_for_a_model_of_rows_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: is an image, but the model was trained on rows of 3 values"):
        predict_files(row_model(), [saved(drawn(0), tmp_path / "a.png")], PLAIN)


def test_data_files_and_images_may_be_mixed_and_keep_their_order(tmp_path):
    path = saved(drawn(0), tmp_path / "a.png")
    images = np.random.default_rng(1).integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    np.savez(tmp_path / "two.npz", images=images, labels=[0, 1])
    predictions = predict_files(image_model(), [path, tmp_path / "two.npz", path], PLAIN)
    assert predictions.names == (str(path), f"{tmp_path}/two.npz[0]", f"{tmp_path}/two.npz[1]", str(path))
    np.testing.assert_allclose(predictions.probabilities[1:3], image_model().predict_proba(images), rtol=1e-6)


def test_batches_of_a_large_file_give_the_bits_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs_module, "BATCH_BYTES", 1)
    images = np.random.default_rng(0).integers(0, 256, (2 * CHUNK_ROWS + 100, *SHAPE)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    seen = []
    read = OnDiskSamples.read

    def watched(self, start, stop):
        seen.append(stop - start)
        return read(self, start, stop)

    monkeypatch.setattr(OnDiskSamples, "read", watched)
    predictions = predict_files(image_model(), [tmp_path / "images.npy"], PLAIN)
    np.testing.assert_array_equal(predictions.probabilities, image_model().predict_proba(images))
    assert max(seen) == CHUNK_ROWS
    assert predictions.names[-1].endswith(f"images.npy[{len(images) - 1}]")


def test_tables_with_and_without_labels_predict_the_same(tmp_path):
    (tmp_path / "a.csv").write_text("u,v,w,label\n1,2,3,x\n4,5,6,y\n")
    (tmp_path / "b.csv").write_text("1,2,3\n4,5,6\n")
    first, second = (predict_files(row_model(), [tmp_path / name], PLAIN) for name in ("a.csv", "b.csv"))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.probabilities, row_model().predict_proba([[1.0, 2, 3], [4, 5, 6]]))
    assert first.notes == (f"{tmp_path}/a.csv: The label, column 'label', is left out.",)


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (image_model(), (2, 5, 6), "holds images of 5 x 6, but the model reads images of 6 x 5 or rows of 30 values"),
        (image_model(), (2, 29), "holds rows of 29 values, but the model reads images of 6 x 5"),
        (row_model(), (2, 4), "holds rows of 4 values, but the model reads rows of 3 values"),
    ],
)
def test_samples_of_another_size_are_one_line_with_both_sizes(tmp_path, model, shape, message):
    np.savez(tmp_path / "a.npz", X=np.ones(shape, np.float32))
    with pytest.raises(DataError, match=message):
        predict_files(model, [tmp_path / "a.npz"], PLAIN)


def test_images_are_rows_to_a_model_of_rows():
    images = np.random.default_rng(0).normal(size=(4, 2, 2))
    predictions = predict_samples(row_model(4), UnlabeledSamples(images, "inputs"))
    np.testing.assert_array_equal(predictions.probabilities, row_model(4).predict_proba(images.reshape(4, 4)))


def test_values_of_another_scale_are_noted():
    fractions = UnlabeledSamples(np.full((2, *SHAPE), 0.5), "inputs")
    assert "values up to 1, but the model was trained on pixels" in predict_samples(image_model(), fractions).notes[0]
    pixels = UnlabeledSamples(np.full((2, *SHAPE), 9, np.uint8), "inputs")
    assert "holds pixels of 0..255, but" in predict_samples(image_model(scale=1.0), pixels).notes[0]
    assert predict_samples(image_model(), pixels).notes == ()


def test_settings_without_a_use_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((2, 30)))
    with pytest.raises(ConfigError, match="invert is for image files"):
        predict_files(image_model(), [tmp_path / "a.npz"], InputOptions(invert=True))
    with pytest.raises(ConfigError, match=r"label_column has no meaning for an \.npz file"):
        predict_files(image_model(), [tmp_path / "a.npz"], InputOptions(label_column="x"))
    with pytest.raises(ConfigError, match="got ''"):
        predict_files(image_model(), [""], PLAIN)


def test_the_best_classes_come_in_their_order():
    predictions = predict_samples(
        image_model(), UnlabeledSamples(np.random.default_rng(0).normal(size=(9, 30)), "inputs")
    )
    for row, label, best in zip(predictions.probabilities, predictions.labels, predictions.best(3), strict=True):
        assert best[0] == (label, row.max())
        assert [share for _, share in best] == sorted(row.tolist(), reverse=True)
    assert predictions.names[:2] == ("0", "1")


def test_images_converted_alike_share_a_line(tmp_path):
    paths = [saved(drawn(k, (9, 9)), tmp_path / f"{k}.png") for k in range(3)]
    paths += [saved(drawn(k, (10 + k, 9)), tmp_path / f"x{k}.png") for k in range(9)]
    lines = list(conversion_lines(predict_files(image_model(), paths, PLAIN)))
    assert lines[0] == f"3 images such as {paths[0]}: 9x9 RGB -> 5x6 gray, stretched"
    assert lines[1] == f"{paths[3]}: 10x9 RGB -> 5x6 gray, stretched"
    assert lines[-1] == "and 2 kinds of images more; --json tells each"
    assert len(lines) == 9


def test_what_would_steer_a_terminal_is_not_printed():
    assert printable("a\x1b[31m.png") == r"a\x1b[31m.png"
    assert printable("é.png") == "é.png"
