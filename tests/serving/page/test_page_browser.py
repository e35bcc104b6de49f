"""The page in Chromium: what it shows, its address, its keys, and texts of strangers."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlencode

import numpy as np
import pytest
from conftest import needs
from page_models import architecture_of, layer_lists, page_of, random_parameters, small_network

from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture, forward
from chalknet.network.dense import Dense
from chalknet.network.layer_types import ACTIVATIONS
from chalknet.network.losses import softmax_cross_entropy
from chalknet.network.model import Ensemble, Network
from chalknet.serving.page.embedded_model import FLOAT16, INT8, embed_model
from chalknet.serving.page.page import PageContent, PageExtras, page_html

pytestmark = pytest.mark.extras

TABS = ("draw", "explain", "backpropagate")
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 6, 5)).astype(np.uint8)
ROWS = np.random.default_rng(1).normal(50, 20, (8, 7))


def image_network(seed=4, class_names=("a", "b", "c", "d"), **facts):
    architecture = Architecture(30, (6,), 4)
    parameters = random_parameters(architecture, seed)
    parameters["hidden1.weight"] *= 0.5
    return Network(
        architecture, parameters, tuple(class_names), **{"scaling": Scaling(255.0), "image_shape": (6, 5), **facts}
    )


def row_network():
    scaling = Scaling(np.linspace(10, 30, 7), np.linspace(40, 60, 7))
    return small_network(scaling=scaling, input_names=tuple(f"column {k}" for k in range(7)))


@pytest.fixture
def show(open_page, tmp_path):
    """show(page, **entries of the address): the page, ready."""

    def shown(page: bytes, width=1280, color_scheme="light", **entries):
        path = tmp_path / "page.html"
        path.write_bytes(page)
        address = path.as_uri() + ("#" + urlencode(entries) if entries else "")
        opened = open_page(address, width=width, color_scheme=color_scheme)
        opened.wait_for_selector("html[data-ready]")
        return opened

    return shown


def probabilities(page):
    return page.evaluate("[...chalk.app.probabilities()]")


def until(page, expression):
    """Wait until an expression is true; Playwright's own way needs eval, which the page's policy forbids."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(30)
    raise AssertionError(f"never true: {expression}")


def entries_of(page):
    page.evaluate("chalk.address.write(chalk.app.entries())")
    return {key: value[0] for key, value in parse_qs(page.evaluate("location.hash.slice(1)")).items()}


@pytest.mark.parametrize("precision", [FLOAT16, INT8])
@pytest.mark.parametrize("kind", ["network", "ensemble", "rows"])
def test_the_page_predicts_what_its_rounded_model_does(show, precision, kind):
    model = {
        "network": image_network,
        "ensemble": lambda: Ensemble(tuple(image_network(seed) for seed in (1, 2, 3))),
        "rows": row_network,
    }[kind]()
    samples = (ROWS if kind == "rows" else IMAGES).astype(np.float32 if kind == "rows" else np.uint8)
    page = show(page_of(model, samples, precision=precision))
    found = page.evaluate("Array.from({length: 8}, (_, k) => [...chalk.app.probabilitiesOf(chalk.app.samples.row(k))])")
    rounded = embed_model(model, precision).classifier
    np.testing.assert_allclose(found, rounded.predict_proba(samples), rtol=1e-5, atol=1e-9)
    # 8 bits round a weight by at most 1/254 of the largest of its row.
    np.testing.assert_allclose(found, model.predict_proba(samples), atol=0.05 if precision == INT8 else 0.003)


LISTS = layer_lists() | {"activations": [one for name in ACTIVATIONS for one in (Dense(5), name)]}


@pytest.mark.parametrize("name", [name for name in LISTS if name not in ACTIVATIONS])
def test_every_tab_shows_every_layer_type(show, name):
    architecture = architecture_of(LISTS[name])
    model = Network(architecture, random_parameters(architecture), ("a", "b", "c", "d"))
    page = show(page_of(model, ROWS.astype(np.float32) / 50))
    for layer in architecture.named_layers:
        if layer.layer.acts_in_prediction:
            position = architecture.named_layers.index(layer)
            page.evaluate("(layer) => chalk.explain(chalk.app, {kind: 'unit', layer, unit: 0})", position)
            assert (
                page.locator("#panel-explain h2")
                .inner_text()
                .endswith(page.evaluate("(at) => chalk.number(chalk.app.pass().values[at + 1][0])", position))
            )
    page.evaluate("chalk.app.show('backpropagate')")
    for _ in range(sum(named.layer.acts_in_prediction for named in architecture.named_layers)):
        page.get_by_role("button", name="Next →").click()
        assert "NaN" not in page.locator("#panel-backpropagate").inner_text()
    assert "They agree" in page.locator("#panel-backpropagate").inner_text()


def test_five_steps_of_the_page_are_those_of_the_package(show):
    model = image_network()
    page = show(page_of(model, IMAGES), tab="backpropagate", sample="e3")
    page.get_by_label("Class for the loss").select_option("2")
    page.get_by_label("Learning rate r").fill("0.05")
    page.get_by_label("Learning rate r").press("Enter")
    rounded = embed_model(model).classifier
    parameters = {name: value.copy() for name, value in rounded.parameters.items()}
    x = rounded.scaling(IMAGES[3:4].reshape(1, 30), np.float64)
    losses = []
    for _ in range(5):
        page.get_by_role("button", name="Take one step").click()
        network_pass = forward(rounded.architecture, parameters, x)
        loss, through = softmax_cross_entropy(network_pass.logits, np.array([2]))
        losses.append(loss)
        for key, gradient in network_pass.backward(through()).items():
            parameters[key] -= 0.05 * gradient
    found = page.evaluate("chalk.backpropagateTab.view.trail.map((one) => chalk.crossEntropy(one.logits, [2]).loss)")
    np.testing.assert_allclose(found, losses, rtol=1e-9)
    assert losses[-1] < losses[0]
    logits = page.evaluate("[...chalk.app.pass().logits]")
    np.testing.assert_allclose(logits, forward(rounded.architecture, parameters, x).logits[0], rtol=1e-9)
    page.get_by_role("button", name="Reset the network").click()
    np.testing.assert_allclose(probabilities(page), rounded.predict_proba(IMAGES[3:4])[0], rtol=1e-9)


def test_another_sample_takes_the_steps_back(show):
    page = show(page_of(image_network(), IMAGES), tab="backpropagate", sample="e3")
    before = probabilities(page)
    page.get_by_role("button", name="Take one step").click()
    page.get_by_role("button", name="Take one step").click()
    page.get_by_role("tab", name="Draw").click()
    assert "The network has taken 2 steps" in page.locator("#chalk-bar").inner_text()
    page.get_by_role("button", name="Random training sample").click()
    page.evaluate("chalk.app.setSample(chalk.embeddedSample(chalk.app, 3))")
    assert probabilities(page) == before
    assert "steps" not in page.locator("#chalk-bar").inner_text()
    page.get_by_role("tab", name="Backpropagate").click()
    assert "Another sample was chosen" in page.locator("#panel-backpropagate").inner_text()


def test_a_link_leads_to_the_same_moment(show):
    page_bytes = page_of(Ensemble((image_network(1), image_network(2))), IMAGES)
    page = show(page_bytes)
    box = page.locator("canvas.drawing").bounding_box()
    for points in ([(0.2, 0.1), (0.25, 0.9)], [(0.2, 0.5), (0.8, 0.45), (0.7, 0.9)]):
        page.mouse.move(*(box[a] + f * box[b] for f, a, b in zip(points[0], "xy", ("width", "height"), strict=True)))
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(
                *(box[a] + f * box[b] for f, a, b in zip(point, "xy", ("width", "height"), strict=True)), steps=5
            )
        page.mouse.up()
    until(page, "chalk.app.sample.kind === 'drawing' && chalk.app.sample.strokes.length === 2")
    page.get_by_label("Network that is explained").select_option("1")
    page.get_by_role("tab", name="Backpropagate").click()
    page.get_by_label("Class for the loss").select_option("3")
    page.get_by_role("button", name="Next →").click()
    page.get_by_role("button", name="Take one step").click()
    other = show(page_bytes, **entries_of(page))
    assert other.evaluate("[...chalk.app.sample.raw]") == page.evaluate("[...chalk.app.sample.raw]")
    assert probabilities(other) == probabilities(page)
    for expression in (
        "chalk.app.member",
        "chalk.app.entries()",
        "document.querySelector('#panel-backpropagate').innerText",
    ):
        assert other.evaluate(expression) == page.evaluate(expression)


STEPS = [("gradient_descent", "0.1"), ("momentum", "0.05"), ("momentum", "0.05"), ("adam", "0.02"), ("nesterov", "0.1")]


def test_a_link_takes_the_steps_of_each_optimizer_again(show):
    page_bytes = page_of(image_network(), IMAGES)
    page = show(page_bytes, tab="backpropagate", sample="e3")
    for optimizer, rate in STEPS:
        page.get_by_label("Optimizer").select_option(optimizer)
        page.get_by_label("Learning rate r").fill(rate)
        page.get_by_label("Learning rate r").press("Enter")
        page.get_by_label("Class for the loss").select_option("3" if optimizer == "adam" else "2")
        page.get_by_role("button", name="Take one step").click()
    table = page.locator("#panel-backpropagate table").inner_text()
    for text in (
        "gradient descent, r = 0.1",
        "momentum, r = 0.05",
        "Adam, r = 0.02, for d",
        "Nesterov momentum, r = 0.1",
    ):
        assert text in table
    other = show(page_bytes, **entries_of(page))
    assert probabilities(other) == probabilities(page)
    assert other.locator("#panel-backpropagate table").inner_text() == table


def test_all_rows_of_steps_are_those_of_one_class(show):
    page = show(page_of(image_network(), IMAGES), tab="backpropagate", sample="e3")
    before = probabilities(page)
    page.get_by_label("Class for the loss").select_option("2")
    page.get_by_role("button", name="Take one step").click()
    page.get_by_label("Class for the loss").select_option("3")
    after = probabilities(page)
    rows = page.locator("#panel-backpropagate tbody tr").all_inner_texts()
    for row, values in zip(rows, (before, after), strict=True):
        assert page.evaluate("(p) => chalk.number(-Math.log(p), 5)", values[3]) in row


def test_another_network_of_an_ensemble_takes_the_steps_back(show):
    model = Ensemble((image_network(1), image_network(2)))
    page = show(page_of(model, IMAGES), tab="backpropagate", sample="e3")
    before = probabilities(page)
    page.get_by_role("button", name="Take one step").click()
    page.get_by_label("Network that is explained").select_option("1")
    assert probabilities(page) == before
    assert page.locator("#panel-backpropagate tbody tr").count() == 1


def test_numbers_near_one_keep_their_distance_from_it(show):
    page = show(page_of(image_network(), IMAGES), tab="backpropagate", sample="e3")
    texts = page.evaluate("[0.99998899, 1, 0.9876, 0.5].map((p) => [chalk.percent(p), chalk.digitsNearOne(p)])")
    assert texts == [[">\xa099.99\xa0%", 8], ["100.00\xa0%", 4], ["98.8\xa0%", 4], ["50.0\xa0%", 4]]
    assert page.evaluate("chalk.number(-2.67e-5)") == "−2.670\xa0×\xa010⁻⁵"  # without a place to break it
    network = "chalk.app.networks.map((one) => ({...one, parameters: {...one.parameters, 'output.bias': bias}}))"
    page.evaluate(f"() => {{ const bias = Float64Array.of(60, 0, 0, 0); chalk.app.useNetworks({network}); }}")
    widths = page.evaluate("[...document.querySelectorAll('#panel-backpropagate .bar')].map((bar) => bar.style.width)")
    assert "50%" in widths  # the longest bar has the full length of its side


def test_the_first_sample_has_gradients_that_can_be_seen(show):
    page = show(page_of(image_network(), IMAGES))
    own = page.evaluate("chalk.app.probabilities()[chalk.app.sample.label]")
    held_out = page.evaluate(
        "[4, 5, 6, 7].map((at) => chalk.app.probabilitiesOf(chalk.app.samples.row(at))[chalk.app.samples.labels[at]])"
    )
    assert own == next((p for p in held_out if p < 0.95), min(held_out))


def test_the_last_step_keeps_the_focus_and_a_position_is_corrected(show):
    page = show(
        page_of(image_network(), IMAGES),
        tab="backpropagate",
        sample="e3",
        backpropagate=json.dumps({"step": 2, "parameter": {"name": "output.weight", "index": 99999}}),
    )
    assert json.loads(entries_of(page)["backpropagate"])["parameter"]["index"] == 23
    page.get_by_role("button", name="Next →").press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "← Back"


def test_a_broken_address_shows_the_page_all_the_same(show):
    page = show(page_of(image_network(), IMAGES), tab="nothing", sample="e9999", draw="{", member="7")
    for sample in ("e9999", "dAAA", "b!!", "n1_2", "x", "e-1", "e1.5", "d____"):
        broken = urlencode({"tab": "nothing", "sample": sample, "draw": "{", "member": "7"})
        page.evaluate("(text) => { location.hash = text; }", broken)
        page.wait_for_timeout(20)
        assert page.get_by_role("tab", name="Draw").get_attribute("aria-selected") == "true"
        assert sum(probabilities(page)) == pytest.approx(1)


def test_a_drawing_gets_the_margins_of_the_training_images(show):
    page = show(page_of(image_network(), IMAGES))
    facts = {
        "background": 255,
        "ink": 0,
        "height": 0.8,
        "width": 0.8,
        "stretch": False,
        "center": "box",
        "stroke": 0.05,
    }

    def drawn(pen, points, **changed):
        values = page.evaluate(
            "([strokes, facts]) => [...chalk.rasterized(strokes, [20, 20], facts)]",
            [[{"width": pen, "points": points}], {**facts, **changed}],
        )
        return np.reshape(values, (20, 20))

    small, large = drawn(4, [[10, 10], [10, 50], [40, 50]]), drawn(16, [[40, 40], [40, 200], [160, 200]])
    np.testing.assert_array_equal(small, large)  # place and size do not count
    rows, columns = np.nonzero(small < 128)
    assert (rows.min(), rows.max()) == (2, 17)  # 80 % of the height, in the middle
    assert columns.min() == 20 - 1 - columns.max()
    assert small[0].tolist() == [255] * 20
    filled = drawn(4, [[10, 10], [10, 50], [40, 50]], stretch=True, height=1, width=1, background=0, ink=1)
    rows, columns = np.nonzero(filled > 0.5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 19, 0, 19)
    assert set(np.unique(filled)) <= {k / 16 for k in range(17)}
    thin = drawn(1, [[0, 0], [0, 255], [255, 255]], stroke=0.1)
    assert (thin[10] < 128).sum() == 2  # a stroke is at least as wide as a narrow one of the training images


def test_a_drawing_can_be_centered_by_its_mass(show):
    page = show(page_of(image_network(), IMAGES))
    facts = {"background": 0, "ink": 1, "height": 0.6, "width": 0.6, "stretch": False, "center": "mass", "stroke": 0.05}
    strokes = [{"width": 20, "points": [[50, 50], [50, 200], [200, 200]]}]
    image = np.reshape(page.evaluate("([s, f]) => [...chalk.rasterized(s, [28, 28], f)]", [strokes, facts]), (28, 28))
    center = [(image.sum(axis=axis) * (np.arange(28) + 0.5)).sum() / image.sum() for axis in (1, 0)]
    assert center == pytest.approx([14, 14], abs=0.15)  # the image is drawn with 4 x 4 samples in each pixel


@pytest.mark.parametrize("tab", ["backpropagate", "train", "explain"])
def test_large_text_fits_into_a_narrow_window(show, tab):
    page = show(page_of(image_network(), IMAGES), tab=tab, sample="e3", width=390)
    for _ in range(3):
        page.get_by_role("button", name="Larger text").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_letters_of_a_logit_are_told(show):
    page = show(page_of(image_network(), IMAGES), tab="explain", sample="e3")
    assert "Below, o stands for h, and g stands for x." in page.locator("#panel-explain").inner_text()


def test_the_keyboard_draws_and_changes_tabs(show):
    page = show(page_of(image_network(), IMAGES))
    page.locator("canvas.drawing").focus()
    for key in ("Space", *["ArrowRight"] * 5, *["ArrowDown"] * 5, "Space"):
        page.keyboard.press(key)
    until(page, "chalk.app.sample.kind === 'drawing'")
    assert page.evaluate("chalk.app.sample.strokes[0].points.length") == 11
    page.keyboard.press("Backspace")
    until(page, "chalk.app.sample.strokes.length === 0")
    assert page.locator(".sample-text").inner_text().strip() == "Nothing is drawn yet."
    page.get_by_role("tab", name="Draw").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#panel-explain").is_visible()
    grid = page.locator("#panel-explain").get_by_label("Units of hidden1: relu")
    grid.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#panel-explain h2").inner_text().startswith("Unit 1 =")


def test_touch_draws(show):
    page = show(page_of(image_network(), IMAGES), width=390)
    page.evaluate(
        """() => { const canvas = document.querySelector("canvas.drawing");
        const box = canvas.getBoundingClientRect();
        const send = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {pointerId: 5, pointerType: "touch",
          clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true, button: 0}));
        canvas.setPointerCapture = () => {};
        send("pointerdown", 0.2, 0.2); send("pointermove", 0.8, 0.2); send("pointermove", 0.8, 0.8);
        send("pointerup", 0.8, 0.8); }"""
    )
    until(page, "chalk.app.sample.kind === 'drawing'")
    assert page.evaluate("chalk.app.sample.strokes[0].points.length") == 3


def test_fields_of_a_table_are_read_and_checked(show):
    model = row_network()
    page = show(page_of(model, ROWS.astype(np.float32)))
    for k in range(7):
        page.get_by_label(f"column {k}").fill(str(45 + 2.5 * k))
    expected = embed_model(model).classifier.predict_proba(45 + 2.5 * np.arange(7.0)[None])[0]
    np.testing.assert_allclose(probabilities(page), expected, rtol=1e-9)
    page.get_by_label("column 2").fill("")
    assert page.get_by_role("alert").inner_text() == "column 2: a number is expected."
    np.testing.assert_allclose(probabilities(page), expected, rtol=1e-9)


HOSTILE = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "${title}", "'\"&lt;\\")


def test_texts_of_strangers_are_only_text(show):
    network = image_network(class_names=HOSTILE)
    page = show(
        page_of(network, IMAGES, title="<b>$title</b></title><script>alert(3)</script>", notes=("<i>note</i>",))
    )
    for tab in TABS:
        page.evaluate("(tab) => chalk.app.show(tab)", tab)
        text = page.locator("body").inner_text()
        assert HOSTILE[0] in text
    assert page.locator("h1").inner_text() == "<b>$title</b></title><script>alert(3)</script>"
    assert page.locator("h1 b, footer i, main img").count() == 0


def test_extra_scripts_add_panels_and_data(show):
    content = PageContent("Test", embed_model(row_network()))
    script = "chalk.addPanel({title: 'Upload', render: (box) => box.append(chalk.data.extras.text)});"
    page = show(
        page_html(content, PageExtras((script,), (".box { color: red; }",), True, {"text": "from <the> server"}))
    )
    assert "from <the> server" in page.locator(".box", has_text="Upload").inner_text()
    assert "connect-src 'self'" in page.locator("meta[http-equiv]").get_attribute("content")


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(show, color_scheme, width):
    axe = needs("axe_playwright_python.sync_playwright").Axe()
    page = show(
        page_of(Ensemble((image_network(1), image_network(2))), IMAGES),
        width=width,
        color_scheme=color_scheme,
        sample="e3",
    )
    found = []
    for tab in TABS:
        page.evaluate("(tab) => chalk.app.show(tab)", tab)
        if tab == "backpropagate":
            page.get_by_role("button", name="Next →").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        result = axe.run(page).response["violations"]
        found += [
            (tab, one["id"], one["nodes"][0]["html"]) for one in result if one["impact"] in ("serious", "critical")
        ]
    assert found == []


def test_the_state_of_a_tab_is_json_in_the_address(show):
    page = show(page_of(image_network(), IMAGES), tab="explain", sample="e2")
    page.evaluate("chalk.explainTab.view.select({kind: 'unit', layer: 0, unit: 5, weight: 7})")
    assert json.loads(entries_of(page)["explain"]) == {"kind": "unit", "layer": 0, "unit": 5, "weight": 7}
    assert entries_of(page)["sample"] == "e2"
