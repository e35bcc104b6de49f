"""Image sheets: which images are where, their titles, and reproducible bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from chalknet.data.dataset import dataset_from_arrays
from chalknet.errors import ConfigError, DataError, OutputError
from chalknet.records import EpochRecord, Scores
from chalknet.reporting.drawings.curves import plot_curves
from chalknet.reporting.drawings.images import (
    EMPTY,
    as_grid,
    choose_images,
    cut_to_width,
    draw_images,
    show_images,
    text_width,
)
from chalknet.reporting.drawings.picture import drawing_bytes

LETTERS = tuple("ABCD")


@pytest.fixture
def letters():
    """40 images 28 x 28 of four classes; the values of an image say its number."""
    images = np.full((40, 28, 28), 0, dtype=np.uint8)
    images += (5 * np.arange(40, dtype=np.uint8))[:, None, None]
    images[:, 0, 0] = 255
    return dataset_from_arrays(images, np.arange(40) % 4, LETTERS)


def rendered(drawing) -> np.ndarray:
    """(height, width) gray pixels of the PNG."""
    return np.asarray(Image.open(io.BytesIO(drawing_bytes(drawing, "png"))).convert("L"))


def test_the_default_sheet_is_two_by_five_with_titles(letters):
    drawing = show_images(letters, seed=3)
    grid = choose_images(letters, seed=3)
    texts = [text.get_text() for text in drawing.axes[0].texts]
    assert grid.shape == (2, 5)
    assert texts == [LETTERS[letters.labels[i]] for i in grid.ravel()]


def test_a_pixel_becomes_a_square_of_equal_pixels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 28, 28)).astype(np.uint8)
    data = dataset_from_arrays(image, [0])
    sheet = rendered(draw_images(data, np.array([[0]])))
    (top, *_), (left, *_) = np.nonzero(sheet == 153)  # the frame's corner
    shown = sheet[top + 1 : top + 1 + 168, left + 1 : left + 1 + 168]
    assert np.array_equal(shown, image[0].repeat(6, axis=0).repeat(6, axis=1))


def test_images_come_from_the_indices_without_repeats(letters):
    grid = choose_images(letters, 3, 4, indices=np.arange(10, 22))
    assert sorted(grid.ravel()) == list(range(10, 22))


def test_the_seed_decides_the_draw(letters):
    assert np.array_equal(choose_images(letters, seed=1), choose_images(letters, seed=1))
    assert not np.array_equal(choose_images(letters, seed=1), choose_images(letters, seed=2))


def test_by_class_puts_class_k_in_row_k(letters):
    grid = choose_images(letters, None, 6, by_class=True, indices=np.arange(14))
    assert grid.shape == (4, 6)
    for k, row in enumerate(grid):
        shown = row[row != EMPTY]
        assert set(letters.labels[shown]) == {k}
        assert len(shown) == (4 if k < 2 else 3)


def test_by_class_names_each_row_once(letters):
    texts = show_images(letters, columns=6, by_class=True).axes[0].texts
    assert [text.get_text() for text in texts] == list(LETTERS)


def test_few_images_give_a_smaller_grid(letters):
    assert choose_images(letters, 3, 5, indices=[1, 2, 3]).shape == (1, 3)
    assert as_grid([1, 2, 3, 4], 3).tolist() == [[1, 2, 3], [4, EMPTY, EMPTY]]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_equal_sheets_are_equal_bytes(letters, tmp_path, kind):
    first, second = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    show_images(letters, path=first)
    show_images(letters, path=second)
    assert first.read_bytes() == second.read_bytes()
    assert b"Date" not in first.read_bytes().replace(b"CreationDate", b"Date" if kind != "pdf" else b"")


@pytest.mark.parametrize(
    ("rows", "columns", "by_class"), [(2, 5, False), (10, 4, False), (4, 20, True), (1, 30, False)]
)
def test_titles_stay_on_the_sheet_and_apart(letters, rows, columns, by_class):
    names = ("Wide WWWWWWWWWWWWWWWWWWW", "a very long name of a class, with words", "日本語の名前のとても長いもの", "i")
    data = dataset_from_arrays(
        letters.inputs, letters.labels, [name.encode("ascii", "replace").decode() for name in names]
    )
    drawing = show_images(data, rows, columns, by_class=by_class)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(drawing).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in drawing.axes[0].texts if text.get_text()]
    width, height = drawing.get_size_inches() * drawing.dpi
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_margins_are_even(letters):
    sheet = rendered(show_images(letters, titles=False))
    rows, columns = np.flatnonzero((sheet < 255).any(axis=1)), np.flatnonzero((sheet < 255).any(axis=0))
    margins = {rows[0], columns[0], sheet.shape[0] - 1 - rows[-1], sheet.shape[1] - 1 - columns[-1]}
    assert margins == {23}  # 24 less the frame


def test_class_names_are_text_and_never_formulas(letters):
    data = dataset_from_arrays(letters.inputs, letters.labels, ["$x", "$\\frac$", "\\frac", "a  b"])
    assert len(rendered(show_images(data))) > 100


def test_a_name_that_does_not_fit_ends_in_an_ellipsis():
    assert cut_to_width("short", 10) == "short"
    assert cut_to_width("a class of many words", 6).endswith("…")
    assert text_width(cut_to_width("W" * 50, 6)) <= 6 + 0.64
    assert cut_to_width("two\nlines", 20) == "two lines"


def test_float_images_span_black_to_white():
    data = dataset_from_arrays(np.array([[[-3.0, 5.0], [1.0, 1.0]]]), [0])
    sheet = rendered(draw_images(data, np.array([[0]])))
    shown = sheet[24 : 24 + 168, 24 : 24 + 168]
    assert [shown[10, 10], shown[10, 160], shown[160, 10]] == [0, 255, 128]


def test_large_images_are_averaged_to_the_size_of_a_place():
    image = np.zeros((1, 1_000, 600), dtype=np.uint8)
    image[:, ::2] = 255
    sheet = rendered(draw_images(dataset_from_arrays(image, [0]), np.array([[0]])))
    assert max(sheet.shape) < 250
    assert sheet[100, 70] == 128


def test_drawing_changes_no_settings_and_opens_no_window(letters):
    import matplotlib

    before = dict(matplotlib.rcParams)
    show_images(letters)
    assert dict(matplotlib.rcParams) == before
    assert (
        "matplotlib.pyplot" not in __import__("sys").modules or not __import__("matplotlib.pyplot").pyplot.get_fignums()
    )


def test_table_rows_cannot_be_shown():
    with pytest.raises(DataError, match="holds rows of 3 values, which cannot be shown as images"):
        show_images(dataset_from_arrays(np.zeros((4, 3)), [0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rows": 0}, ConfigError, "rows must be an integer from 1 to 100, got 0"),
        ({"columns": 101}, ConfigError, "columns must be"),
        ({"seed": -1}, ConfigError, "seed must be"),
        ({"rows": 5, "by_class": True}, ConfigError, "rows must be at most 4"),
        ({"indices": [40]}, ConfigError, "indices name sample 40"),
        ({"indices": []}, DataError, "no images to show"),
        ({"path": "sheet.jpg"}, ConfigError, "must end in .png, .svg, .pdf"),
        ({"path": "no/such/folder/sheet.png"}, OutputError, "cannot be written"),
    ],
)
def test_invalid_arguments_of_a_sheet_are_refused(letters, tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        show_images(letters, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_pictures_show_themselves_in_a_notebook(letters):
    """Without pyplot, IPython asks an object itself how it looks."""
    history = [EpochRecord(1, Scores(0.5, 0.9, 3.0), None, None, 0.1)]
    for drawing in (show_images(letters), plot_curves(history)):
        assert drawing._repr_png_().startswith(b"\x89PNG")
