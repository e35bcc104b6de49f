"""The tab "Train" of a page trains as the formulas say, and works with mouse, keyboard, files and links."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import parse_qs, quote

import numpy as np
import pytest
from conftest import made_images, needs
from small_models import row_model

from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.serving.page.embedded_model import embed_model
from chalknet.serving.page.embedded_samples import EmbeddedSamples
from chalknet.serving.page.page import PageContent, page_html

pytestmark = pytest.mark.extras

CLASS_NAMES = ("A", "B", "<script>alert(1)</script>", "D")
SHAPE = (6, 5)
N_TRAIN, N_HELD_OUT = 150, 50  # more training samples than a tile of 128 rows
POINTS = "x,y,kind\n" + "".join(f"{k % 7},{k % 5},{'up' if k % 2 else 'down'}\n" for k in range(30))


@pytest.fixture(scope="module")
def samples():
    data = made_images(N_TRAIN + N_HELD_OUT, seed=1, shape=SHAPE)
    return EmbeddedSamples(data.inputs.reshape(-1, 30).astype(np.uint8), data.labels, N_TRAIN, N_HELD_OUT)


@pytest.fixture(scope="module")
def page_file(samples, tmp_path_factory):
    architecture = Architecture(30, (7,), 4)
    model = Network(architecture, initial_parameters(architecture, 2), CLASS_NAMES, Scaling(255.0), SHAPE)
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_bytes(page_html(PageContent("letters", embed_model(model), samples)))
    return path


@pytest.fixture
def opened(open_page, page_file):
    """opened(**state): the page with its tab "Train" in this state, after its first drawing."""

    def open_with(**options):
        names = ("width", "height", "color_scheme", "has_touch")
        state = {name: value for name, value in options.items() if name not in names}
        browser = {name: value for name, value in options.items() if name in names}
        page = open_page(page_file.as_uri() + f"#tab=train&train={quote(json.dumps(state))}", **browser)
        page.wait_for_selector(f".train-tab[data-state=paused][data-epoch='{state.get('at', 0)}']")
        return page

    return open_with


def small(**settings):
    """Settings of the samples with which a test trains in a moment."""
    return {"hidden": 12, "rate": 1e-3, "momentum": 0.9, "batch": 0, "epochs": 10, **settings}


def trained(page, epoch):
    """Press Train, and wait for the end."""
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_selector(f".train-tab[data-state=paused][data-epoch='{epoch}']")


def history(page):
    return page.evaluate("chalk.app.shown.tab.trainer.history")


# The formulas in Python ----------------------------------------------------------------------------------------------


def drawn_parameters(stream, widths):
    """Draw weights (O, I) and biases (O,) as the write-up does, layer by layer (docs/derivation.md, I1)."""
    parameters = []
    for n_inputs, n_outputs in pairwise(widths):
        deviation = np.sqrt(2 / (n_inputs + n_outputs))
        parameters.append([stream.normal(0, deviation, shape) for shape in ((n_outputs, n_inputs), (n_outputs,))])
    return parameters


def scores_and_gradients(parameters, x, labels):
    """Return summed loss, correct predictions, and summed gradients as pairs (weight, bias), in float64."""
    values = [x]
    for weight, bias in parameters:
        values.append(np.maximum(values[-1] @ weight.T + bias, 0))
    logits = values[-2] @ parameters[-1][0].T + parameters[-1][1]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(x))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    gradients = []
    for layer in range(len(parameters) - 1, -1, -1):
        gradients.insert(0, (gradient.T @ values[layer], gradient.sum(axis=0)))
        gradient = (gradient @ parameters[layer][0]) * (values[layer] > 0)
    return -log_p[rows, labels].sum(), (logits.argmax(axis=1) == labels).sum(), gradients


class WriteUp:
    """The write-up's update rule: momentum for weights, plain steps for biases (U1, U2)."""

    def __init__(self, parameters, learning_rate, momentum):
        self.parameters, self.learning_rate, self.momentum = parameters, learning_rate, momentum
        self.velocities = [np.zeros_like(weight) for weight, _ in parameters]

    def update(self, x, labels):
        loss, correct, gradients = scores_and_gradients(self.parameters, x, labels)
        for layer, (grad_weight, grad_bias) in enumerate(gradients):
            self.velocities[layer] = self.momentum * self.velocities[layer] + self.learning_rate * grad_weight
            self.parameters[layer][0] = self.parameters[layer][0] - self.velocities[layer]
            self.parameters[layer][1] = self.parameters[layer][1] - self.learning_rate * grad_bias
        return loss, correct


# Arrays travel as base64, because lists of numbers are slow.
FIVE_UPDATES = """({widths, parameters, inputs, labels, batches, rate, momentum, allowWebAssembly}) => {
  const array = (text) => new Float32Array(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
  const text = (floats) => btoa(Array.from(new Uint8Array(floats.buffer), (one) => String.fromCharCode(one)).join(""));
  const network = new chalk.training.TrainingNetwork(widths, allowWebAssembly);
  network.setParameters(parameters.map(([weight, bias]) => ({ weight: array(weight), bias: array(bias) })));
  const samples = { inputs: array(inputs), labels };
  const losses = batches.map((batch) => network.update(samples, Int32Array.from(batch), rate, momentum));
  const copies = network.parameters().map(({ weight, bias }) => [text(weight), text(bias)]);
  return { losses, parameters: copies, kind: network.arena.kind };
}"""


def as_text(array):
    return base64.b64encode(np.asarray(array, np.float32).tobytes()).decode()


def as_array(text):
    return np.frombuffer(base64.b64decode(text), np.float32)


@pytest.mark.parametrize(
    ("hidden", "batch_size", "rate"),
    [((100,), 300, 1e-4), ((100,), 50, 5e-4), ((9, 13), 300, 1e-4), ((9, 13), 7, 1e-3)],
)
def test_five_updates_equal_the_formulas(opened, hidden, batch_size, rate):
    rng = np.random.RandomState(3)
    widths = (784, *hidden, 10)
    x = np.round(rng.uniform(size=(300, 784)) * 255).astype(np.float32) / np.float32(255)
    labels = rng.randint(0, 10, 300)
    batches = [rng.permutation(300)[:batch_size].tolist() for _ in range(5)]
    parameters = drawn_parameters(rng, widths)
    given = {
        "widths": widths,
        "parameters": [[as_text(weight), as_text(bias)] for weight, bias in parameters],
        "inputs": as_text(x),
        "labels": labels.tolist(),
        "batches": batches,
        "rate": rate,
        "momentum": 0.99,
    }
    page = opened()
    fast, plain = (page.evaluate(FIVE_UPDATES, {**given, "allowWebAssembly": allow}) for allow in (True, False))
    assert (fast.pop("kind"), plain.pop("kind")) == ("WebAssembly", "JavaScript")
    assert fast == plain  # the same bits
    rule = WriteUp(parameters, rate, 0.99)
    for batch, page_scores in zip(batches, fast["losses"], strict=True):
        loss, correct = rule.update(x[batch].astype(np.float64), labels[batch])
        assert page_scores["loss"] / batch_size == pytest.approx(loss / batch_size, abs=1e-5)
        assert page_scores["correct"] == correct
    for arrays, texts in zip(rule.parameters, fast["parameters"], strict=True):
        for array, text in zip(arrays, texts, strict=True):
            np.testing.assert_allclose(as_array(text), array.ravel(), atol=1e-5)  # float32, values below 1


@pytest.mark.parametrize("batch_size", [0, 40])
def test_a_seed_gives_the_run_that_numpy_gives(opened, samples, batch_size):
    page = opened(seed=77, samples=small(epochs=10, batch=batch_size))
    trained(page, 10)
    x = samples.inputs.astype(np.float32).astype(np.float64) / 255
    stream = np.random.RandomState(77)
    rule = WriteUp(drawn_parameters(stream, (30, 12, 4)), 1e-3, 0.9)
    expected = []
    for _ in range(10):
        order = stream.permutation(N_TRAIN) if batch_size else np.arange(N_TRAIN)
        batches = [order[start : start + (batch_size or N_TRAIN)] for start in range(0, N_TRAIN, batch_size or N_TRAIN)]
        loss, correct = np.sum([rule.update(x[batch], samples.labels[batch]) for batch in batches], axis=0)
        valid_loss, valid_correct, _ = scores_and_gradients(rule.parameters, x[N_TRAIN:], samples.labels[N_TRAIN:])
        expected.append((loss / N_TRAIN, correct / N_TRAIN, valid_loss / N_HELD_OUT, valid_correct / N_HELD_OUT))
    found = history(page)
    names = ("trainLoss", "trainAccuracy", "validLoss", "validAccuracy")
    np.testing.assert_allclose(np.transpose([found[name] for name in names]), expected, atol=1e-5)
    lowest = int(np.argmin(found["validLoss"])) + 1
    assert f"lowest at epoch {lowest}," in page.locator(".train-results").inner_text()


COMPARED = """async (inPage) => {
  const { used, samples } = chalk.app.shown.tab.trainer;
  let answer;
  const runner = chalk.startTrainingRunner((message) => answer(message), { inPage });
  const next = () => new Promise((resolve) => (answer = resolve));
  const ask = (message) => { const reply = next(); runner.send(message); return reply; };
  runner.send({ type: "data", samples });
  const view = { weights: true };
  let snapshot = await ask({ type: "start", settings: { ...used, batchSize: 40 }, view, run: 1 });
  runner.send({ type: "play", until: 8, speed: 0 });
  while (snapshot.epoch < 8) {
    await new Promise((resolve) => setTimeout(resolve, 5)); // lets the page train
    snapshot = await ask({ type: "snapshot", since: 0, view, run: 1 });
  }
  runner.stop();
  const { weight } = snapshot.parameters[0];
  return { place: runner.place, kind: snapshot.kind, recent: snapshot.recent, weight: [...weight] };
}"""


def test_the_worker_gives_what_the_page_itself_gives(opened):
    page = opened(samples=small())
    worker, here = page.evaluate(COMPARED, False), page.evaluate(COMPARED, True)
    assert (worker.pop("place"), here.pop("place")) == ("worker", "page")
    assert worker == here
    assert worker["kind"] == "WebAssembly"  # the policy of the page allows it in the worker too
    assert len(worker["recent"]["validLoss"]) == 8


NO_WORKER = "void (window.Worker = undefined)"
REFUSED_WORKER = "void (window.Worker = class { constructor() { setTimeout(() => this.onerror()); } postMessage() {} })"


@pytest.mark.parametrize("worker", [NO_WORKER, REFUSED_WORKER], ids=["no worker", "refused worker"])
def test_a_browser_without_workers_trains_in_the_page(open_page, page_file, worker):
    page = open_page(page_file)
    page.wait_for_selector("html[data-ready]", state="attached")
    page.evaluate(worker)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector(".train-tab[data-epoch='0']")
    assert page.evaluate("chalk.app.shown.tab.trainer.runner.place") == "page"
    page.get_by_role("button", name="One epoch").click()
    page.wait_for_selector(".train-tab[data-epoch='1']")


# The tab -------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_curves(opened):
    page = opened(samples=small(batch=50))
    trained(page, 10)
    first = history(page)
    page.get_by_role("button", name="Restart from epoch 0").click()
    page.wait_for_selector(".train-tab[data-epoch='0']")
    trained(page, 10)
    assert history(page) == first
    page.get_by_label("Seed", exact=True).fill("6")
    page.keyboard.press("Enter")
    page.wait_for_selector(".train-tab[data-epoch='0']")
    trained(page, 10)
    assert history(page) != first


def test_buttons_make_one_update_one_epoch_and_pause(opened):
    page = opened(samples=small(batch=50, epochs=5000, speed=50))
    page.get_by_role("button", name="One update").click()
    page.get_by_text("Epoch 0, batch 1 of 3").wait_for()
    page.get_by_role("button", name="One epoch").click()
    page.get_by_text("Epoch 1. 3 updates.").wait_for()
    page.get_by_role("button", name="Continue").focus()
    page.keyboard.press("Space")
    page.wait_for_selector(".train-tab[data-state=training]:not([data-epoch='1'])")
    assert page.get_by_role("button", name="One update").is_disabled()
    page.get_by_role("slider", name="Speed").press("ArrowRight")
    page.get_by_role("slider", name="Pause after").press("ArrowLeft")
    page.get_by_role("button", name="Pause", exact=True).press("Space")
    page.wait_for_selector(".train-tab[data-state=paused]")
    assert page.get_by_text("Paused after epoch").is_visible()
    assert len(history(page)["validLoss"]) > 1  # neither slider has started the training again
    assert page.evaluate("chalk.app.shown.tab.trainer.target") == 2000


def test_numbers_of_the_last_update_add_up(opened):
    page = opened(samples=small())
    page.get_by_label("Hidden unit, 0 to 11").fill("99")  # the nearest that there is: 11
    page.keyboard.press("Tab")
    assert page.get_by_label("Hidden unit, 0 to 11").input_value() == "11"
    page.get_by_label("Hidden unit, 0 to 11").fill("")  # no number changes nothing
    page.keyboard.press("Tab")
    assert page.get_by_label("Hidden unit, 0 to 11").input_value() == "11"
    page.get_by_label("Hidden unit, 0 to 11").fill("2")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="One update").click()
    page.get_by_text("Epoch 1. 1 update.").wait_for()
    trace = page.evaluate("chalk.app.shown.tab.trainer.snapshot.trace")
    before, after = trace["before"], trace["after"]
    assert after["velocity"] == pytest.approx(0.9 * before["velocity"] + 1e-3 * after["gradient"], rel=1e-6)
    assert after["weight"] == pytest.approx(before["weight"] - after["velocity"], abs=1e-7)
    assert after["bias"] == pytest.approx(before["bias"] - 1e-3 * after["biasGradient"], abs=1e-7)
    weights = page.evaluate("[...chalk.app.shown.tab.trainer.snapshot.parameters[0].weight]")
    assert after["weight"] == weights[2 * 30 + 17]  # unit 2, and the input in row 3, column 2 of 6 x 5, counted from 0
    assert page.get_by_text("Input 17 is the pixel in row 3, column 2.").is_visible()


def test_an_image_of_weights_chooses_the_weight_to_follow(opened):
    page = opened(samples=small(hidden=1), has_touch=True)
    image = page.locator("canvas.weights").first
    box = image.bounding_box()  # 6 x 5 pixels and a frame
    image.tap(position={"x": box["width"] * 1.5 / 7, "y": box["height"] * 6.5 / 8})
    assert page.get_by_label("Input, 0 to 29").input_value() == "25"  # row 5, column 0


def test_divergence_is_told_with_what_to_do(opened):
    page = opened(mode="plane", plane={"second": 16, "rate": 10, "momentum": 0.99, "batch": 0})
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_selector(".train-tab[data-state=diverged]")
    told = page.get_by_role("alert").inner_text()
    assert "stopped being a finite number" in told
    assert "Early stopping keeps" not in page.locator(".train-results").inner_text()
    assert "Choose a learning rate below 10 or a momentum below 0.99" in told
    page.get_by_role("button", name="Restart from epoch 0", exact=True).click()
    page.wait_for_selector(".train-tab[data-state=paused]")
    assert page.get_by_role("alert").count() == 0


def test_a_loss_far_above_a_guess_is_told(opened):
    page = opened(samples=small(rate=1, momentum=0.99))
    trained(page, 10)
    assert "equal probabilities for all 4 classes have a loss of ln 4 = 1.39" in page.get_by_role("alert").inner_text()


def test_a_link_holds_settings_and_the_state_after_an_epoch(opened):
    page = opened(seed=9, samples=small(batch=50, epochs=10, rate=3e-4))
    trained(page, 10)
    page.get_by_label("the weights", exact=True).check()
    page.wait_for_url(lambda address: "%22at%22%3A10" in address and "weights" in address)
    told = page.locator(".train-numbers").last.inner_text()
    address = page.evaluate("location.href")
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".train-tab[data-state=paused][data-epoch='10']")
    assert page.locator(".train-numbers").last.inner_text() == told
    assert page.get_by_label("Seed", exact=True).input_value() == "9"
    assert page.get_by_label("Hidden units F").get_attribute("aria-valuetext") == "12"
    assert page.get_by_label("Learning rate r").get_attribute("aria-valuetext") == "r = 0.0003"
    assert page.get_by_label("the weights", exact=True).is_checked()


def test_a_link_to_an_epoch_can_be_paused_on_its_way(open_page, page_file):
    state = {"samples": small(hidden=128, batch=5), "at": 90_000}
    page = open_page(page_file.as_uri() + f"#tab=train&train={quote(json.dumps(state))}")
    page.wait_for_selector(".train-tab[data-state=training]")
    assert page.get_by_text("Training again up to epoch 90000, as the link asks.").is_visible()
    page.get_by_text("Lowest validation loss so far").wait_for()
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_text("Paused after epoch").or_(page.get_by_text("Ready to train.")).wait_for()


def test_columns_of_a_table_are_scaled(open_page, tmp_path):
    rng = np.random.default_rng(0)
    inputs = (rng.normal(size=(200, 3)) * [1, 100, 0] + [5, 0, 7]).astype(np.float32)
    samples = EmbeddedSamples(inputs, (inputs[:, 1] > 0).astype(np.int64), 150, 50)
    path = tmp_path / "rows.html"
    path.write_bytes(page_html(PageContent("rows", embed_model(row_model()), samples)))
    page = open_page(path.as_uri() + f"#tab=train&train={quote(json.dumps({'at': 3}))}")
    page.wait_for_selector(".train-tab[data-state=paused][data-epoch='3']")
    used = np.reshape(page.evaluate("[...chalk.app.shown.tab.trainer.samples.inputs]"), (200, 3))
    np.testing.assert_allclose(used[:150].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(used[:150].std(axis=0), [1, 1, 0], atol=1e-5)


@pytest.mark.parametrize("entry", ['{"mode":3,"samples":{"hidden":-1,"batch":"x"},"at":1e99}', "null", "{"])
def test_a_wrong_address_gives_the_defaults(open_page, page_file, entry):
    page = open_page(page_file.as_uri() + f"#tab=train&train={quote(entry)}")
    page.wait_for_selector("html[data-ready]", state="attached")
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector(".train-tab[data-state=paused][data-epoch='0']")
    assert page.get_by_label("Hidden units F").get_attribute("aria-valuetext") == "100"


def test_a_page_without_samples_trains_on_points(open_page, tmp_path):
    path = tmp_path / "rows.html"
    path.write_bytes(page_html(PageContent("rows", embed_model(row_model()))))
    page = open_page(path.as_uri() + "#tab=train")
    page.wait_for_selector(".train-tab[data-epoch='0']")
    assert page.get_by_text("the samples of this page").is_hidden()
    page.get_by_role("button", name="One epoch").click()
    page.wait_for_selector(".train-tab[data-epoch='1']")


# Points in the plane -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "blobs", "xor"])
def test_a_made_set_is_learned_from_its_seed(opened, name):
    plane = {"set": name, "noise": 0.05, "classes": 2, "epochs": 200, "hidden": 24, "second": 16, "speed": 0}
    page = opened(mode="plane", plane=plane)
    trained(page, 200)
    assert max(history(page)["validAccuracy"]) > 0.9
    made = "([name, dataSeed]) => [...chalk.toyPlane(name, { samples: 40, noise: 0.1, classes: 2, dataSeed }).points]"
    assert page.evaluate(made, [name, 4]) == page.evaluate(made, [name, 4]) != page.evaluate(made, [name, 5])


def test_the_field_shows_what_the_network_predicts(opened):
    page = opened(mode="plane", plane={"set": "blobs", "classes": 3, "epochs": 100, "second": 5, "speed": 0})
    trained(page, 100)
    found = page.evaluate("""() => {
      const { snapshot, view } = chalk.app.shown.tab.trainer;
      const some = (array, n) => [...array.subarray(0, 500 * n)];
      return { p: some(snapshot.probabilities, 3), inputs: some(view.plane.grid.inputs, 2),
               hidden: snapshot.hidden.map((one) => one.length / view.plane.mapGrid.n),
               parameters: snapshot.parameters.map(({weight, bias}) => [[...weight], [...bias]]) };
    }""")
    values = np.reshape(found["inputs"], (-1, 2))
    for layer, (weight, bias) in enumerate(found["parameters"]):
        values = values @ np.reshape(weight, (len(bias), -1)).T + bias
        values = np.maximum(values, 0) if layer < 2 else values
    expected = np.exp(values - values.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.reshape(found["p"], (-1, 3)), expected, atol=1e-5)
    assert found["hidden"] == [16, 5]


GOOD_FILES = {
    "header": POINTS,
    "no header": POINTS.split("\n", 1)[1],
    "semicolons, decimal commas": POINTS.replace(",", ";").replace("0;", "0,5;"),
    "tabs, Windows line ends": POINTS.replace(",", "\t").replace("\n", "\r\n"),
    "quotes": "".join(f'"{line.replace(",", chr(34) + "," + chr(34))}"\n' for line in POINTS.strip().split("\n")),
    "byte order mark, empty lines": "\ufeff" + POINTS.replace("\n", "\n\n"),
    "class first": "".join(",".join(reversed(line.split(","))) + "\n" for line in POINTS.strip().split("\n")),
}


def test_csv_files_are_read(opened):
    page = opened(mode="plane")
    read = "(text) => { const { points, labels, classNames } = chalk.planeFromCsv(text); "
    for name, text in GOOD_FILES.items():
        found = page.evaluate(read + "return { points: [...points], labels: [...labels], classNames }; }", text)
        expected = np.array([[k % 7, k % 5] for k in range(30)], dtype=float)
        expected[expected == 0] = 0.5 if "commas" in name else 0.0
        points = expected[:, ::-1] if name == "class first" else expected
        np.testing.assert_array_equal(np.reshape(found["points"], (-1, 2)), points, err_msg=name)
        assert found["classNames"] == ["down", "up"], name
        assert found["labels"] == [k % 2 for k in range(30)], name


BAD_FILES = {
    "": "The file is empty.",
    POINTS.replace("3,3,up", "3,n/a,up"): "Line 5, column 'y': expected a number such as 0.5, got 'n/a'.",
    POINTS.replace("3,3,up", "3,,up"): "Line 5, column 'y': expected a number such as 0.5, got an empty field.",
    POINTS.replace("3,3,up", "3,1e999,up"): "Line 5, column 'y'",
    POINTS.replace(
        "3,3,up", "3,3"
    ): "Line 5: expected 3 fields (two numbers and a class) with commas between them, got 2",
    POINTS.replace("3,3,up", "3,3,"): "Line 5: the class is empty.",
    POINTS.replace("3,3,up", '3,3,"up'): "Line 5: the quote is not closed.",
    POINTS.replace("3,3,up", '3,3,"u"p'): "Line 5: expected a delimiter or the end of the line",
    POINTS.replace("3,3,up", "3,5,3,5,up"): "decimal commas need semicolons",
    POINTS.replace("up", "down"): "Expected at least two classes, got only 'down'.",
    "".join(
        f"{k},{k},{chr(65 + k)}\n" for k in range(11)
    ): "Line 11: expected at most 10 classes, and 'K' is one more.",
    "1,2,a\n2,3,b\n": "Expected at least 10 rows of numbers, got 2.",
    "1,2,a\n2,3,b\n" * 3000: "Expected at most 5,000 rows, got 6,000.",
}


def test_bad_csv_files_are_refused_with_their_line(opened):
    page = opened(mode="plane")
    read = "(text) => { try { chalk.planeFromCsv(text); } catch (error) { return error.message; } }"
    for text, message in BAD_FILES.items():
        assert message in page.evaluate(read, text)


def test_a_file_is_opened_trained_on_and_named_in_the_link(opened, open_page):
    page = opened(mode="plane")
    rows = POINTS.replace("up", "<script>alert(1)</script>").encode()
    page.locator("input[type=file]").set_input_files({"name": "my.csv", "mimeType": "text/csv", "buffer": rows})
    page.get_by_text("my.csv: 30 samples, 2 classes.").wait_for()
    assert "<script>alert(1)" in page.locator(".classes").inner_text()
    page.get_by_role("button", name="One epoch").click()
    page.wait_for_selector(".train-tab[data-epoch='1']")
    page.wait_for_url(lambda address: "my.csv" in address)
    other = open_page(page.evaluate("location.href"))
    other.get_by_text("This link needs the file my.csv. Open it, and the page trains up to epoch 1.").wait_for()
    assert other.get_by_role("button", name="Train", exact=True).is_hidden()
    assert other.get_by_text("random points are for training").is_hidden()
    assert json.loads(parse_qs(other.evaluate("location.hash.slice(1)"))["train"][0])["at"] == 1
    other.locator("input[type=file]").set_input_files({"name": "my.csv", "mimeType": "text/csv", "buffer": rows})
    other.wait_for_selector(".train-tab[data-state=paused][data-epoch='1']")
    assert history(other) == history(page)


def test_a_link_with_a_file_can_be_used_with_other_points(open_page, page_file):
    state = {"mode": "plane", "file": "my.csv", "at": 5}
    page = open_page(page_file.as_uri() + f"#tab=train&train={quote(json.dumps(state))}")
    page.get_by_role("button", name="Use other points").click()
    page.wait_for_selector(".train-tab[data-state=paused][data-epoch='0']")
    page.wait_for_url(lambda address: "my.csv" not in address)


def test_weights_have_not_changed_before_the_first_update(opened):
    page = opened(samples=small())
    assert page.get_by_text("No weight has changed yet.").is_visible()
    colors = """() => {
      const context = document.querySelector("canvas.weights").getContext("2d");
      return new Set(new Uint32Array(context.getImageData(1, 1, 5, 6).data.buffer)).size;
    }"""
    assert page.evaluate(colors) == 1
    page.get_by_role("button", name="One epoch").click()
    page.wait_for_selector(".train-tab[data-epoch='1']")
    assert page.get_by_text("the largest change of a weight").is_visible()


def test_test_samples_that_validate_are_told(opened):
    page = opened(samples=small())
    assert page.get_by_text("Do not report their accuracy as a test result.").is_visible()


def test_a_dropped_file_that_is_no_table_is_refused(opened):
    page = opened(mode="plane")
    drop = """(bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(bytes)], "photo.csv"));
      document.querySelector(".train-tab").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    }"""
    page.evaluate(drop, [137, 80, 78, 71, 0, 1, 2])
    page.get_by_text("photo.csv: This is not a text file.").wait_for()
    page.evaluate(drop, list(POINTS.replace("up", "süß").encode("windows-1252")))
    page.get_by_text("photo.csv: 30 samples").wait_for()
    assert "süß" in page.locator(".classes").inner_text()


# Look and access -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["samples", "plane"])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, mode, color_scheme):
    axe = needs("axe_playwright_python.sync_playwright").Axe()
    page = opened(mode=mode, at=2, color_scheme=color_scheme)
    violations = axe.run(page).response["violations"]
    assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("mode", ["samples", "plane"])
@pytest.mark.parametrize("width", [390, 1920])
def test_nothing_is_wider_than_the_window(opened, mode, width):
    page = opened(mode=mode, at=1, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small_targets = page.evaluate("""() => [...document.querySelectorAll(".train-tab :is(button, input, select)")]
      .map((one) => (one.closest("label") ?? one).getBoundingClientRect())
      .filter(({ width, height }) => width > 2 && height < 24).length""")
    assert small_targets == 0
