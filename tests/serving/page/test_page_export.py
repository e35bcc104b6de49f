"""`chalknet export --html`: what is embedded, what is said, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from page_models import page_of, small_network

import chalknet
from chalknet.cli.main import main
from chalknet.config import read_config
from chalknet.data.preprocess import Scaling
from chalknet.data.splits import split_by_recipe
from chalknet.network.architecture import Architecture
from chalknet.network.dense import Dense
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.network.relu import Relu
from chalknet.serving.loaded_model import resolve_model
from chalknet.serving.page.drawing_facts import drawing_facts
from chalknet.serving.page.embedded_model import FLOAT16, INT8, embed_model
from chalknet.workflows import page as workflow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run on the built-in letters."""
    folder = tmp_path_factory.mktemp("runs") / "letters"
    chalknet.train("glyphs", recipe="strong", hidden=[16], epochs=1, out=folder)
    return folder


def wide_network(width, n_inputs=784):
    architecture = Architecture(n_inputs, (width,), 10)
    return Network(architecture, initial_parameters(architecture, 0), tuple("ABCDEFGHIJ"), Scaling(255.0), (28, 28))


def described(page: bytes) -> str:
    return re.search(r'id="chalk-description">(.*?)</script>', page.decode(), re.DOTALL)[1]


def test_a_run_gives_a_page_with_samples_and_accuracy(run, tmp_path, capsys):
    path = tmp_path / "letters.html"
    assert main(["export", str(run), "--html", str(path), "--title", "Letters <A> to J"]) == 0
    out = capsys.readouterr().out
    assert f"written to {path}: network 784-16-10, {path.stat().st_size:,} bytes" in out
    assert re.search(r"Accuracy on 1,873 test samples: \d\d\.\d\d.%\. The weights in this page are rounded", out)
    page = path.read_text(encoding="utf-8")
    assert "<title>Letters &lt;A&gt; to J</title>" in page
    assert '"n_train":1500,"n_held_out":500' in described(path.read_bytes())
    assert main(["export", str(run), "--html", str(path)]) == 1
    assert main(["export", str(run), "--html", str(path), "--overwrite", "--quiet"]) == 0


def test_held_out_samples_were_not_trained_on(run):
    data = chalknet.load_data("glyphs")
    _, content = workflow.page_of_model(resolve_model(run))
    samples = content.samples
    splits = split_by_recipe(read_config(run / "config.toml")[0], data)
    train = {image.tobytes() for image in data.inputs[splits.train]}
    inside = [row.tobytes() in train for row in samples.inputs]
    assert all(inside[: samples.n_train])
    assert np.mean(inside[samples.n_train :]) < 0.05  # some fonts have equal letters, such as a plain I
    mistakes = slice(samples.n_train + samples.n_held_out, None)
    rounded = content.model.classifier
    assert (rounded.predict(samples.inputs[mistakes].reshape(-1, 28, 28)) != samples.labels[mistakes]).all()
    confidence = rounded.predict_proba(samples.inputs[mistakes].reshape(-1, 28, 28)).max(axis=1)
    assert (np.diff(confidence) <= 0).all()


def test_a_page_of_1000_units_and_2000_samples_is_below_3_mb():
    rng = np.random.default_rng(0)
    data = chalknet.load_data("glyphs")
    network = wide_network(1_000)
    parameters = {
        name: value + rng.normal(0, 0.01, value.shape).astype(value.dtype) for name, value in network.parameters.items()
    }
    trained = Network(network.architecture, parameters, network.class_names, network.scaling, (28, 28))
    assert len(page_of(trained, data.inputs[:: len(data) // 2_012][:2_012])) <= 3_000_000


def test_a_wider_network_gets_weights_of_8_bits(tmp_path):
    done = chalknet.export_model(wide_network(2_500), tmp_path / "wide.html", "html")
    assert '"precision":"int8"' in described(done.path.read_bytes())
    assert done.size_bytes < 3_000_000


def test_a_model_file_says_why_there_are_no_samples(tmp_path):
    done = chalknet.export_model(small_network(), tmp_path / "page.html", "html")
    assert done.notes == ("This page was made from a model file, so it holds no samples and states no accuracy.",)


def test_a_page_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "MAX_PAGE_BYTES", 100_000)
    with pytest.raises(
        chalknet.ConfigError, match=r"would have \d+ MB, because the model has 99,385 parameters.*serve"
    ):
        chalknet.export_model(wide_network(125), tmp_path / "page.html", "html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one file to write"),
        (["--html", "a.html", "-o", "b.onnx"], "give one file to write"),
        (["--html", "a.txt"], "a file of kind html ends in .html"),
        (["-o", "a.html", "--numpy-only"], "For a page give --html FILE."),
        (["-o", "a.py", "--numpy-only", "--title", "T"], "title and data are for pages"),
    ],
)
def test_arguments_that_do_not_fit_together(tmp_path, capsys, arguments, message):
    chalknet.save_model(small_network(), tmp_path / "m.safetensors")
    assert main(["export", str(tmp_path / "m.safetensors"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_layer_that_the_page_cannot_compute_is_refused():
    class Strange(Relu):
        type = "strange"

    architecture = Architecture(7, layers=[Dense(3), Strange(), Dense(4)])
    network = Network(architecture, initial_parameters(architecture, 0), tuple("abcd"))
    with pytest.raises(chalknet.ConfigError, match="layers of type strange, which a page cannot compute"):
        embed_model(network)


def test_data_that_are_gone_leave_a_page_without_samples(run, tmp_path):
    config = (run / "config.toml").read_text(encoding="utf-8")
    moved = tmp_path / "run"
    moved.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (moved / file.name).write_bytes(file.read_bytes())
    (moved / "config.toml").write_text(config.replace('"glyphs"', '"gone.npz"'), encoding="utf-8")
    done = chalknet.export_model(moved, tmp_path / "page.html", "html")
    assert "could not be read again" in done.notes[0]
    with pytest.raises(chalknet.DataError, match="also-gone"):
        chalknet.export_model(moved, tmp_path / "other.html", "html", data=tmp_path / "also-gone.npz")


@pytest.mark.parametrize(("precision", "largest"), [(FLOAT16, 2**-11), (INT8, 1 / 254)])
def test_rounded_weights_are_near_the_weights(precision, largest):
    network = wide_network(8)
    rounded = embed_model(network, precision).classifier
    for name, value in network.parameters.items():
        error = np.abs(rounded.parameters[name] - value).max()
        assert error <= (largest * 1.001 * np.abs(value).max() if value.ndim > 1 else 1e-7), (
            name
        )  # other arrays are float32


def test_weights_that_float16_cannot_hold_are_rounded_all_the_same():
    network = wide_network(8)
    huge = {name: value * np.float32(1e20) for name, value in network.parameters.items()}
    rounded = embed_model(Network(network.architecture, huge, network.class_names)).classifier
    np.testing.assert_allclose(rounded.parameters["output.weight"], huge["output.weight"], rtol=2**-10, atol=1e16)


def test_facts_of_drawings_follow_the_training_images():
    images = np.full((40, 20, 20), 255, np.uint8)
    images[:, 4:16, 6:8] = 0  # a vertical stroke of 2 pixels on white paper
    images[:, 14:16, 6:14] = 0
    network = small_network(400, class_names="ab", image_shape=(20, 20), scaling=Scaling(255.0))
    facts = drawing_facts(network, images)
    assert (facts["background"], facts["ink"], facts["stretch"]) == (255.0, 0.0, False)
    assert (facts["height"], facts["width"], facts["center"]) == (0.6, 0.4, "box")
    assert facts["stroke"] == pytest.approx(2 / 20, rel=0.3)
    assert drawing_facts(small_network(), None) == {}
    assert drawing_facts(network, None)["ink"] == 255.0


def test_equal_models_give_equal_pages():
    assert page_of(small_network()) == page_of(small_network())


def test_the_page_asks_for_nothing_outside():
    page = page_of(small_network()).decode()
    assert "connect-src 'none'" in page
    assert not re.search(
        r"(?:src|href)=[\"']?(?!data:)|@import|url\(",
        re.sub(r"<script type.*?</script>", "", page, flags=re.DOTALL).replace("data-", ""),
    )
