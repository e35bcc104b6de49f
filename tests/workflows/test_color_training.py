"""Networks learn from colors, and everything that uses a model reads colors as it did."""

import io

import numpy as np
import pytest
from colored_ink import NAMES, ink_data, ink_images, save_ink_folder
from PIL import Image

import chalknet
from chalknet.cli.main import main
from chalknet.config import DataConfig, config_from_tables, config_tables
from chalknet.data.color import to_gray, to_rgb
from chalknet.errors import ConfigError, ModelFileError, ShapeError
from chalknet.network.gradcheck import TOLERANCE
from chalknet.workflows.gradcheck import check_recipe

PLAIN = {
    "recipe": "writeup",
    "split": "stratified",
    "train_size": 0.7,
    "valid_size": 0.1,
    "optimizer": "adam",
    "reduction": "mean",
    "learning_rate": 3e-3,
    "batch_size": 20,
    "initializer": "he_normal",
    "workers": 1,
}
DENSE = {**PLAIN, "hidden": [24], "epochs": 60}
LAYERS = [
    {"type": "conv2d", "filters": 6, "bias": False},
    "batch_norm",
    "relu",
    "max_pool2d",
    "flatten",
    {"type": "dense", "units": 8},
    "relu",
]
CONVOLUTIONS = {**PLAIN, "layers": LAYERS, "epochs": 15}


@pytest.fixture(scope="module")
def dense():
    return chalknet.train(ink_data(), **DENSE)


def accuracy(network, images, labels):
    return float((network.predict(images) == labels).mean())


def test_a_dense_network_learns_colors_that_gray_images_do_not_show(dense):
    images, labels = ink_images(80, seed=9)
    assert accuracy(dense.network, images, labels) > 0.95
    gray = chalknet.train(ink_data().in_color("gray"), **DENSE)
    assert accuracy(gray.network, to_gray(images), labels) < 0.7
    assert dense.network.image_shape == (12, 12, 3)
    assert str(dense.network.architecture) == "432-24-4"
    assert dense.network.scaling.scale == 255


def test_a_convolutional_network_learns_colors():
    run = chalknet.train(ink_data(), **CONVOLUTIONS)
    assert run.network.architecture.input_shape == (12, 12, 3)
    assert accuracy(run.network, *ink_images(80, seed=9)) > 0.95


@pytest.mark.parametrize("settings", [DENSE, CONVOLUTIONS], ids=["dense", "convolutions"])
def test_gradients_of_augmented_color_images_are_right(settings):
    chosen = {key: value for key, value in settings.items() if key not in ("recipe", "workers")}
    recipe = (
        chalknet.recipe("strong")
        .with_settings(**{**chosen, "erase": 0.5})
        .with_settings(**({"dropout": 0.2} if "hidden" in chosen else {}))
    )
    checks = check_recipe(ink_data(40), recipe, 6)
    assert max(check.relative_error for check in checks) < TOLERANCE


def test_the_engines_agree_on_augmented_color_images():
    settings = {**CONVOLUTIONS, "epochs": 1, "rotation_degrees": 20.0, "zoom": 0.2, "shift_pixels": 1.0, "erase": 0.5}
    losses = [
        chalknet.train(ink_data(40), engine=engine, dtype="float64", **settings).history[-1].train.loss
        for engine in ("numpy", "reference")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_a_model_file_holds_the_shape_of_color_images(dense, tmp_path):
    path = tmp_path / "model.safetensors"
    chalknet.save_model(dense.network, path)
    loaded = chalknet.load_model(path)
    images, _ = ink_images(8)
    assert loaded.image_shape == (12, 12, 3)
    np.testing.assert_array_equal(loaded.predict_proba(images), dense.network.predict_proba(images))
    np.testing.assert_array_equal(
        loaded.predict_proba(images.reshape(8, -1)), loaded.predict_proba(images.transpose(0, 3, 1, 2))
    )
    with pytest.raises(ShapeError, match=r"or \(N, 12, 12, 3\), got \(8, 12, 12\)"):
        loaded.predict(to_gray(images))
    with pytest.raises(ShapeError, match=r"got \(8, 9, 16, 3\)"):
        loaded.predict(images.reshape(8, 9, 16, 3))
    content = path.read_bytes()
    for wrong in (b"[18, 12, 2]", b"[36, 12, 1]"):
        (tmp_path / "wrong").write_bytes(content.replace(b"[12, 12, 3]", wrong))
        with pytest.raises(ModelFileError, match="image_shape is"):
            chalknet.load_model(tmp_path / "wrong")


def test_image_files_are_read_in_the_color_of_the_model(dense, tmp_path):
    images, labels = ink_images(12, seed=4)
    for at, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{at:02}.png")
    found = chalknet.predict(dense.network, tmp_path)
    assert found.labels == [NAMES[label] for label in labels]
    assert found.read_as[0] == "12x12 RGB, as it is"
    Image.fromarray(images[0]).convert("L").save(tmp_path / "gray.png")
    [read_as] = chalknet.predict(dense.network, tmp_path / "gray.png").read_as
    assert read_as == "12x12 gray -> 12x12 RGB"
    large = Image.fromarray(images[1]).resize((36, 24))
    large.save(tmp_path / "large.png")
    found = chalknet.predict(dense.network, tmp_path / "large.png", image_fit="pad")
    assert found.read_as == ("36x24 RGB -> 12x12 RGB",)


def test_dark_color_images_are_inverted_like_gray_ones(dense, tmp_path):
    images, _ = ink_images(1)
    Image.fromarray(255 - images[0]).save(tmp_path / "dark.png")
    found = chalknet.predict(dense.network, tmp_path / "dark.png")
    assert "inverted" in found.read_as[0]
    np.testing.assert_allclose(found.probabilities, dense.network.predict_proba(images))


def test_arrays_in_another_color_are_converted_with_a_note(dense, tmp_path):
    images, labels = ink_images(12, seed=4)
    np.savez(tmp_path / "gray.npz", images=to_gray(images), labels=labels)
    expected = dense.network.predict_proba(to_rgb(to_gray(images)))
    for inputs in (tmp_path / "gray.npz", to_gray(images)):
        found = chalknet.predict(dense.network, inputs)
        np.testing.assert_array_equal(found.probabilities, expected)
        assert any("read in color, as the training images were" in note for note in found.notes)
    scores = chalknet.evaluate(dense.network, (to_gray(images), labels))
    assert any("read in color" in note for note in scores.notes)


def test_a_run_on_a_folder_repeats_with_its_colors(tmp_path, capsys):
    folder = save_ink_folder(tmp_path / "ink")
    command = ["train", "--data", str(folder), "--color", "rgb", "--hidden", "8", "--epochs", "2", "--quiet"]
    assert main([*command, "-o", str(tmp_path / "first")]) == 0
    assert (
        main(["train", "--config", str(tmp_path / "first" / "config.toml"), "--quiet", "-o", str(tmp_path / "again")])
        == 0
    )
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("first", "again")]
    assert models[0] == models[1]
    assert chalknet.load_model(tmp_path / "first" / "model.safetensors").image_shape == (12, 12, 3)
    assert main(["evaluate", str(tmp_path / "first"), "--split", "test"]) == 0
    assert "test split: 4 samples" in capsys.readouterr().out


def test_a_folder_is_evaluated_in_the_color_of_the_model(dense, tmp_path):
    folder = save_ink_folder(tmp_path / "ink")
    found = chalknet.evaluate(dense.network, folder)
    assert found.accuracy.value > 0.95, "gray images would not show the color"
    assert found.loss == chalknet.evaluate(dense.network, chalknet.load_data(folder, color="rgb")).loss


def test_the_color_of_the_data_is_in_its_configuration():
    tables = config_tables(chalknet.recipe("writeup"), DataConfig("ink", color="rgb"))
    assert (tables["format"], tables["data"]["color"]) == (4, "rgb")
    assert config_from_tables(tables, "config.toml")[1] == DataConfig("ink", color="rgb")
    assert config_tables(chalknet.recipe("writeup"), DataConfig("ink"))["format"] == 2
    tables["data"]["color"] = "cmyk"
    with pytest.raises(ConfigError, match=r"color must be one of gray, rgb, got 'cmyk' \(config.toml, \[data\]\)"):
        config_from_tables(tables, "config.toml")


def test_color_images_are_trained_from_disk_as_from_memory(tmp_path):
    images, labels = ink_images(60)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    settings = {**DENSE, "epochs": 3, "batch_size": "full"}
    in_memory = chalknet.train((images, labels), **settings).network
    on_disk = chalknet.train(tmp_path, **settings).network
    for name, value in in_memory.parameters.items():
        np.testing.assert_allclose(on_disk.parameters[name], value, atol=1e-4)  # sums in another order


def test_a_study_in_another_color_is_refused(tmp_path):
    folder, settings = save_ink_folder(tmp_path / "ink"), {"epochs": 1, "train_size": 20, "valid_size": 10}
    color = chalknet.load_data(folder, color="rgb")
    chalknet.study(color, {"hidden": [4]}, seeds=1, out=tmp_path / "study", **settings)
    with pytest.raises(chalknet.DataError, match=r"read in another way .* class names or shape"):
        chalknet.study(folder, {"hidden": [4]}, seeds=1, out=tmp_path / "study", **settings)


def test_color_images_are_embedded_in_a_page(tmp_path):
    images, labels = ink_images()
    np.savez(tmp_path / "ink.npz", images=images, labels=labels, class_names=np.array(NAMES))
    chalknet.train(tmp_path / "ink.npz", out=tmp_path / "run", **{**DENSE, "epochs": 1})
    done = chalknet.export_model(tmp_path / "run", tmp_path / "page.html", "html")
    n_inputs = images[0].size
    assert f'"n_inputs":{n_inputs},"dtype":"uint8"' in done.path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_report_shows_color_images(tmp_path):
    images, labels = ink_images()
    np.savez(tmp_path / "ink.npz", images=images, labels=labels, class_names=np.array(NAMES))
    chalknet.train(tmp_path / "ink.npz", out=tmp_path / "run", **{**CONVOLUTIONS, "epochs": 3})
    made = chalknet.report(tmp_path / "run")
    assert "120 color images of 12 × 12 pixels" in made.html.read_text("utf-8")
    for name in ("samples", "feature_maps", "pixels"):
        picture = np.asarray(Image.open(made.folder / "figures" / f"{name}.png").convert("RGB")).astype(int)
        assert np.ptp(picture, axis=2).max() > 60, f"{name} is in color"


def test_the_estimator_takes_color_images():
    pytest.importorskip("sklearn")
    images, labels = ink_images()
    names = np.array(NAMES)[labels]
    model = chalknet.ChalkClassifier(hidden=16, image_shape=(12, 12, 3), epochs=40, learning_rate=0.01, random_state=0)
    model.fit(images, names)
    assert model.network_.image_shape == (12, 12, 3)
    others, wanted = ink_images(40, seed=9)
    assert model.score(others, np.array(NAMES)[wanted]) > 0.9
    np.testing.assert_array_equal(model.predict(others), model.predict(others.reshape(40, -1)))
    by_name = chalknet.ChalkClassifier(image_shape=(12, 12, 3), settings={"network": "part2"}, epochs=1, random_state=0)
    assert str(by_name.fit(images, names).network_.architecture).startswith("12x12x3-conv32")
    with pytest.raises(ShapeError, match=r"For color images it is \(height, width, 3\)"):
        chalknet.ChalkClassifier(image_shape=(12, 12, 2)).fit(images.reshape(120, -1)[:, :288], names)


def test_a_picture_in_memory_is_uploaded_in_color(dense):
    """Return the same prediction from the bytes of a file, as a server reads it."""
    from chalknet.files import Budget
    from chalknet.serving.inputs import InputOptions
    from chalknet.serving.predictions import predict_images

    images, _ = ink_images(1)
    buffer = io.BytesIO()
    Image.fromarray(images[0]).save(buffer, format="PNG")
    content = buffer.getvalue()
    budget = Budget("the images", len(content), "", counts_thread=False)
    found = predict_images(dense.network, [("a.png", content)], InputOptions(), 10_000, budget)
    np.testing.assert_array_equal(found.probabilities, dense.network.predict_proba(images))
