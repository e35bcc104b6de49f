"""Pages of convolutional networks in Chromium: maps, windows, choices of pooling, color, and shortcuts."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import needs
from page_models import N_CLASSES, architecture_of, image_layer_lists, page_of, random_parameters

from chalknet.data.preprocess import Scaling
from chalknet.network.conv2d import Conv2d
from chalknet.network.model import Network
from chalknet.serving.page.embedded_model import embed_model

pytestmark = pytest.mark.extras

GRAY, COLOR = (6, 5, 1), (6, 5, 3)
LISTS = image_layer_lists()


def network(name="course", shape=GRAY):
    architecture = architecture_of(LISTS[name], shape)
    image_shape = shape[:2] if shape[2] == 1 else shape
    parameters = random_parameters(architecture, seed=3)
    return Network(architecture, parameters, tuple("abcd"[:N_CLASSES]), Scaling(255.0), image_shape)


def images(shape=GRAY, n=8):
    drawn = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)
    return drawn if shape[2] > 1 else drawn[..., 0]


@pytest.fixture
def show(open_page, tmp_path):
    """show(page, width, color_scheme): the page, ready."""

    def shown(page: bytes, width=1280, color_scheme="light"):
        path = tmp_path / "page.html"
        path.write_bytes(page)
        opened = open_page(path.as_uri(), width=width, color_scheme=color_scheme)
        opened.wait_for_selector("html[data-ready]")
        return opened

    return shown


@pytest.mark.parametrize("shape", [GRAY, COLOR], ids=["gray", "color"])
@pytest.mark.parametrize("name", LISTS)
def test_every_tab_shows_every_layer_of_images(show, name, shape):
    model = network(name, shape)
    page = show(page_of(model, images(shape)))
    found = page.evaluate("Array.from({length: 8}, (_, k) => [...chalk.app.probabilitiesOf(chalk.app.samples.row(k))])")
    np.testing.assert_allclose(found, embed_model(model).classifier.predict_proba(images(shape)), rtol=1e-5, atol=1e-9)
    panel = page.locator("#panel-explain")
    for position, named in enumerate(model.architecture.named_layers):
        if not named.layer.acts_in_prediction:
            continue
        last = int(np.prod(named.layer.output_shape(named.input_shape))) - 1
        page.evaluate("([layer, unit]) => chalk.explain(chalk.app, {kind: 'unit', layer, unit})", [position, last])
        value = page.evaluate("([at, unit]) => chalk.number(chalk.app.pass().values[at + 1][unit])", [position, last])
        assert panel.locator("h2").inner_text().endswith(value)
        assert not {"NaN", "undefined"} & set(panel.inner_text().split())
    page.evaluate("chalk.app.show('backpropagate')")
    for _ in range(sum(named.layer.acts_in_prediction for named in model.architecture.named_layers)):
        page.get_by_role("button", name="Next →").click()
        text = page.locator("#panel-backpropagate").inner_text()
        assert "NaN" not in text
        assert "undefined" not in text
    assert "They agree" in text


def block_means(picture, shape):
    """The mean of each block of a picture whose sides are multiples of the shape's."""
    height, width = (side // part for side, part in zip(picture.shape[:2], shape[:2], strict=True))
    return picture.reshape(shape[0], height, shape[1], width, 3).mean((1, 3))


@pytest.mark.parametrize("shape", [GRAY, COLOR], ids=["gray", "color"])
def test_an_opened_or_dropped_image_is_stretched_as_the_model_reads(show, tmp_path, shape):
    from PIL import Image

    page = show(page_of(network(shape=shape), images(shape)))
    for seed, way in enumerate(("open", "drop")):
        picture = np.random.default_rng(seed).integers(0, 256, (12, 20, 3)).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{way}.png")
        if way == "open":
            page.set_input_files("input[accept='image/*']", tmp_path / "open.png")
        else:
            page.evaluate(
                """(bytes) => {
                const files = new DataTransfer();
                files.items.add(new File([Uint8Array.from(bytes)], 'drop.png', {type: 'image/png'}));
                const box = document.querySelector("input[accept='image/*']").closest('section');
                box.dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true})); }""",
                list((tmp_path / "drop.png").read_bytes()),
            )
        page.get_by_text(f"Shown: {way}.png.").wait_for()
        means = block_means(picture.astype(np.float64), shape)
        wanted = means if shape[2] == 3 else means @ (0.299, 0.587, 0.114)
        found = np.reshape(page.evaluate("[...chalk.app.sample.raw]"), wanted.shape)
        np.testing.assert_allclose(found, wanted, atol=0.51)  # rounded to whole numbers
        assert page.locator(".sample-text").inner_text().endswith("An image.")


def test_a_file_that_is_no_image_is_refused_in_words(show, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    page = show(page_of(network(), images()))
    before = page.evaluate("[...chalk.app.sample.raw]")
    page.set_input_files("input[accept='image/*']", tmp_path / "notes.txt")
    page.get_by_text("notes.txt is no image that this browser can read.").wait_for()
    assert page.evaluate("[...chalk.app.sample.raw]") == before


def test_a_pixel_of_a_map_is_chosen_by_pointer_and_keys(show):
    page = show(page_of(network(), images()))
    grid = page.locator("#panel-draw").get_by_label("Units of conv1: convolution with 4 filters of 3 x 3 pixels")
    box = grid.bounding_box()
    columns, rows = page.evaluate(
        "() => { const grid = new chalk.TileGrid({label: '', text: String, tiles: chalk.channelTiles([6, 5, 4])});"
        " return [grid.columns, grid.rows]; }"
    )
    assert (columns, rows) == (3 * 6 - 1, 2 * 7 - 1)
    # The second row of the third column in the tile of channel 1.
    grid.click(position={"x": (6 + 2.5) / columns * box["width"], "y": 1.5 / rows * box["height"]})
    heading = page.locator("#panel-explain h2")
    assert heading.inner_text().startswith("Row 1, column 2, channel 1 =")
    grid = page.locator("#panel-explain").get_by_label("Units of conv1: convolution with 4 filters of 3 x 3 pixels")
    grid.focus()
    for _ in range(3):  # over the gap into the next tile
        page.keyboard.press("ArrowRight")
    assert heading.inner_text().startswith("Row 1, column 0, channel 2 =")


def test_all_places_of_tiles_are_their_units(show):
    page = show(page_of(network(), images()))
    wrong = page.evaluate(
        """() => [chalk.channelTiles([3, 4, 5]), chalk.kernelTiles([3, 2, 4, 5])].flatMap((tiles) => {
        const seen = [];
        for (let t = 0; t < tiles.count; t++) for (let y = 0; y < tiles.height; y++)
          for (let x = 0; x < tiles.width; x++) {
            const unit = tiles.unitOf(t, y, x);
            seen.push(unit);
            if (String(tiles.placeOf(unit)) !== String([t, y, x])) return [unit];
          }
        return seen.sort((a, b) => a - b).filter((unit, at) => unit !== at); })"""
    )
    assert wrong == []


def test_pooling_names_the_pixel_that_gets_the_gradient(show):
    model = network()
    page = show(page_of(model, images()))
    page.evaluate("chalk.explain(chalk.app, {kind: 'unit', layer: 3, unit: 5})")  # row 0, column 1, channel 1
    values = np.reshape(page.evaluate("[...chalk.app.pass().values[3]]"), (6, 5, 4))[:2, 2:4, 1]
    row, column = np.unravel_index(values.argmax(), (2, 2))
    text = page.locator("#panel-explain").inner_text()
    assert f"The largest value is at row {row}, column {column + 2}, channel 1." in text
    gradients = page.evaluate(
        "(() => { const pass = chalk.app.pass(); const { gradLogits } = chalk.crossEntropy(pass.logits, [0]);"
        " const g = pass.backward(gradLogits).gradValues; return [[...g[3]], [...g[4]]]; })()"
    )
    back = np.reshape(gradients[0], (6, 5, 4))[:2, 2:4, 1]
    assert back[row, column] == pytest.approx(np.reshape(gradients[1], (3, 2, 4))[0, 1, 1])
    assert np.count_nonzero(back) <= 1


def test_a_window_at_the_edge_counts_the_zeros_around_the_image(show):
    page = show(page_of(network(), images()))
    page.evaluate("chalk.explain(chalk.app, {kind: 'unit', layer: 0, unit: 0})")
    assert "5 of them are with the zeros around the image" in page.locator("#panel-explain").inner_text()


def test_color_images_are_shown_in_color_and_drawings_in_gray(show):
    page = show(page_of(network("course", COLOR), images(COLOR)))
    page.evaluate("chalk.app.setSample(chalk.embeddedSample(chalk.app, 2))")
    shown = page.evaluate("[...document.querySelector('canvas.seen').getContext('2d').getImageData(0, 0, 5, 6).data]")
    np.testing.assert_array_equal(np.reshape(shown, (6, 5, 4))[..., :3], images(COLOR)[2])
    raw = page.evaluate("[...chalk.drawnSample(chalk.app, [{width: 20, points: [[9, 9], [200, 200]]}]).raw]")
    pixels = np.reshape(raw, (6, 5, 3))
    assert len(np.unique(pixels)) > 1
    assert (pixels == pixels[..., :1]).all()


def test_the_tab_train_says_that_it_trains_dense_networks(show):
    sentence = "Training in the page is for dense networks."
    page = show(page_of(network(), images(n=24)))
    page.evaluate("chalk.app.show('train')")
    assert sentence in page.locator("#panel-train").inner_text()


def test_a_page_in_color_trains_a_dense_network(show):
    page = show(page_of(network("course", COLOR), images(COLOR, n=24)))
    page.evaluate("chalk.app.show('train')")
    assert page.get_by_role("button", name="One update").is_enabled()


@pytest.mark.parametrize(("width", "color_scheme"), [(390, "light"), (1280, "dark")])
def test_axe_finds_nothing_serious_in_pages_of_images(show, width, color_scheme):
    axe = needs("axe_playwright_python.sync_playwright").Axe()
    page = show(page_of(network("course", COLOR), images(COLOR)), width, color_scheme)
    found = []
    for tab, unit in (("draw", None), ("explain", (0, 7)), ("explain", (3, 5)), ("backpropagate", None)):
        page.evaluate("(tab) => chalk.app.show(tab)", tab)
        if unit:
            page.evaluate("([layer, unit]) => chalk.explain(chalk.app, {kind: 'unit', layer, unit})", unit)
        if tab == "backpropagate":
            for _ in range(7):
                page.get_by_role("button", name="Next →").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        result = axe.run(page).response["violations"]
        found += [
            (tab, one["id"], one["nodes"][0]["html"]) for one in result if one["impact"] in ("serious", "critical")
        ]
    assert found == []


def test_filters_of_a_page_are_rounded_by_filter():
    model = network("course", COLOR)
    assert model.architecture.layers[0] == Conv2d(4)
    rounded = embed_model(model, "int8").classifier.parameters["conv1.weight"]
    largest = np.abs(model.parameters["conv1.weight"]).max(axis=(1, 2, 3), keepdims=True)
    assert (np.abs(rounded - model.parameters["conv1.weight"]) <= largest / 254 * 1.001).all()
