"""Tables whose large columns of categories are embedded: training, prediction, exports and studies."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import numpy as np
import polars as pl
import pytest
from conftest import needs

import chalknet
from chalknet.cli.main import main
from chalknet.config import Recipe, read_config
from chalknet.data.load import load_data
from chalknet.data.preprocess import IGNORED_SCALE
from chalknet.errors import ConfigError
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.training.recipes import with_category_inputs

CITIES = [f"city {at}" for at in range(20)]
SETTINGS = {"recipe": "strong-rows", "epochs": 80, "hidden": [8], "stop_early": False, "input_dropout": 0.0}
LONG = ["category_embedding", {"type": "dense", "units": 8}, "relu"]


def travelers(n=500, seed=0):
    """Return a table in which the city decides, with missing cities and a column of three categories."""
    rng = np.random.default_rng(seed)
    city = rng.integers(0, len(CITIES), n)
    return pl.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "city": [None if gap else CITIES[at] for gap, at in zip(rng.random(n) < 0.05, city, strict=True)],
            "seat": np.array(["window", "aisle", "middle"])[rng.integers(0, 3, n)],
            "late": np.where(rng.random(n) < np.where(city % 2, 0.9, 0.1), "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    travelers().write_csv(folder / "t.csv")
    run = chalknet.train(folder / "t.csv", label_column="late", out=folder / "run", embed_categories=4, **SETTINGS)
    return folder, run


def unseen():
    """Return a table with cities that training did not have, and without some."""
    frame = travelers(60, seed=1).drop("late")
    return frame.with_columns(
        pl.when(pl.int_range(60) % 7 == 0).then(pl.lit("Atlantis")).otherwise(pl.col("city")).alias("city")
    )


def test_only_columns_with_more_than_nine_categories_are_embedded(trained):
    _, run = trained
    assert run.network.encoding.category_inputs == (1, 21)
    assert run.recipe.network.category_inputs == (1, 21)
    assert run.network.input_names[1:22] == (*(f"city: {one}" for one in sorted(CITIES)), "city: missing")
    assert run.network.architecture.layers[0] == CategoryEmbedding(4, (1, 21))
    # The age, three seats, and four numbers for the city.
    assert run.network.architecture.shapes["hidden1.weight"] == (8, 1 + 3 + 4)
    assert run.kept.test.accuracy > 0.8


def test_inputs_that_are_embedded_are_not_scaled(trained):
    _, run = trained
    scaling = run.network.scaling
    np.testing.assert_array_equal(scaling.shift[1:22], 0)
    assert set(scaling.scale[1:22]) <= {1.0, IGNORED_SCALE}
    assert (scaling.shift[22:] != 0).all()


def test_an_unknown_city_has_the_vector_zero(trained):
    _, run = trained
    network = run.network
    frame = travelers(3, seed=2).drop("late").with_columns(pl.lit("Atlantis").alias("city"))
    known, (note,) = network.encoding.encode(frame, "X")
    assert note == "Column 'city' has 3 values of categories that training did not have."
    assert not known[:, 1:22].any()
    layer = network.architecture.named_layers[0]
    value = layer.layer.forward(layer.local(network.parameters), network.scaling(known, np.float32)).value
    np.testing.assert_array_equal(value[:, -4:], 0)


def test_the_command_line_and_the_long_form_give_the_same_layers(trained, tmp_path):
    folder, run = trained
    flags = ["--data", str(folder / "t.csv"), "--label-column", "late", "--recipe", "strong-rows", "--epochs", "2"]
    assert main(["train", *flags, "--hidden", "8", "--embed-categories", "4", "--out", str(tmp_path / "a")]) == 0
    layers = "category_embedding:4,dense:8,relu"
    assert main(["train", *flags, "--layers", layers, "--out", str(tmp_path / "b")]) == 0
    found = [chalknet.load_model(tmp_path / name / "model.safetensors").architecture for name in ("a", "b")]
    assert found[0].prediction == found[1].prediction == run.network.architecture.prediction


def test_a_config_file_embeds_what_its_new_table_has(trained, tmp_path):
    folder, _ = trained
    recipe, _ = read_config(folder / "run" / "config.toml")
    assert recipe.network.category_inputs == (1, 21)
    other = travelers().with_columns(pl.lit(1.5).alias("fare"), pl.col("city").str.slice(0, 6))
    other.select("fare", *travelers().columns).write_csv(tmp_path / "other.csv")
    run = chalknet.train(tmp_path / "other.csv", label_column="late", recipe=recipe, epochs=1)
    n = len(other["city"].drop_nulls().unique())
    assert n > 9
    assert run.recipe.network.category_inputs == (2, n + 1)


def test_the_model_file_holds_the_groups(trained):
    folder, run = trained
    model = chalknet.load_model(folder / "run" / "model.safetensors")
    assert model.architecture == run.network.architecture
    np.testing.assert_array_equal(model.predict_proba(travelers(40, 3)), run.network.predict_proba(travelers(40, 3)))


def test_the_exported_file_predicts_unseen_and_missing_categories(trained, tmp_path):
    _, run = trained
    chalknet.export_model(run.network, tmp_path / "predictor.py", kind="numpy")
    frame = unseen()
    code = (
        "import json, sys, numpy as np, predictor\n"
        "table = {key: list(column) for key, column in json.load(sys.stdin).items()}\n"
        "print(json.dumps(predictor.predict_proba(table).tolist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, input=json.dumps(frame.to_dict(as_series=False)), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = run.network.predict_proba(frame)
    np.testing.assert_allclose(json.loads(done.stdout), wanted, atol=1e-5)


@pytest.mark.extras
def test_onnx_predicts_unseen_and_missing_categories(trained, tmp_path):
    onnxruntime = needs("onnxruntime")
    _, run = trained
    chalknet.export_model(run.network, tmp_path / "model.onnx")
    frame = unseen()
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    columns = {
        "age": frame["age"].cast(pl.Float64).to_numpy()[:, None],
        "city": np.array([one or "" for one in frame["city"]], object)[:, None],
        "seat": np.array(frame["seat"].to_list(), object)[:, None],
    }
    found = session.run(["probabilities"], columns)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = run.network.predict_proba(frame)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("settings", [{"embed_categories": 4}, {"layers": LONG}], ids=["short", "layers"])
def test_the_classifier_embeds_the_columns_of_a_frame(settings, tmp_path):
    frame = travelers()
    classifier = chalknet.ChalkClassifier(recipe="strong-rows", epochs=40, random_state=0, settings=settings)
    classifier.fit(frame.drop("late"), frame["late"].to_list())
    assert CategoryEmbedding in {type(one) for one in classifier.network_.architecture.layers}
    new = travelers(200, seed=4)
    assert classifier.score(new.drop("late"), new["late"].to_list()) > 0.75
    chalknet.save_model(classifier, tmp_path / "model.safetensors")
    again = chalknet.load_model(tmp_path / "model.safetensors")
    # The classifier returns float64, and the model has the type of its weights.
    found, wanted = again.predict_proba(new.drop("late")), classifier.predict_proba(new.drop("late"))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    classifier.partial_fit(frame.drop("late"), frame["late"].to_list())


def test_a_study_varies_the_embedding(tmp_path):
    travelers(200).write_csv(tmp_path / "t.csv")
    results = chalknet.study(
        load_data(tmp_path / "t.csv", label_column="late"), vary={"embed_categories": [0, 3]}, seeds=1, epochs=2,
        hidden=[4], out=tmp_path / "study", recipe="strong-rows",
    )  # fmt: skip
    inputs = [one.recipe.network.category_inputs for one in results.configurations]
    assert inputs == [(1, 21), (1, 21)]


def test_rows_without_columns_of_categories_are_refused():
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    with pytest.raises(ConfigError, match="is not a table with columns of categories, so there are none to embed"):
        chalknet.train((x, y), embed_categories=4, **SETTINGS)
    run = chalknet.train((x, y), embed_categories=4, category_inputs=[1, 2], **{**SETTINGS, "epochs": 1})
    assert run.network.architecture.layers[0] == CategoryEmbedding(4, (1, 2))


def test_the_embedded_columns_are_named():
    note = "1 column of categories is embedded: 'city'."
    run = chalknet.train(travelers(), label_column="late", embed_categories=4, **{**SETTINGS, "epochs": 1})
    assert note in run.notes
    x, y = travelers().drop("late"), travelers()["late"]
    assert note in chalknet.ChalkClassifier(epochs=1, settings={"embed_categories": 4}).fit(x, y).notes_
    encoding = chalknet.load_data(travelers(), label_column="late").encoding
    assert [encoding.input_names[at].split(":")[0] for at in encoding.category_inputs[::2]] == ["city"]
    small = chalknet.ChalkClassifier(epochs=1, settings={"embed_categories": 4}).fit(x.drop("city"), y)
    assert "no column has so many categories that it is embedded." in small.notes_


def test_a_table_of_small_columns_has_a_note():
    frame = travelers().drop("city")
    run = chalknet.train(frame, label_column="late", embed_categories=4, **{**SETTINGS, "epochs": 1})
    assert "no column has so many categories that it is embedded." in run.notes
    assert run.network.architecture.layers[0].type == "dense"


def test_recipes_that_embed_nothing_are_not_changed(tmp_path):
    travelers().write_csv(tmp_path / "t.csv")
    encoding = load_data(tmp_path / "t.csv", label_column="late").encoding
    assert with_category_inputs(Recipe(), encoding, "t") == (Recipe(), ())
    assert with_category_inputs(Recipe(), encoding, "t", ["layers"])[0].network.category_inputs == (1, 21)
