"""Tables with categories, dates and missing values: from a file or a frame to a model and its predictions."""

from __future__ import annotations

import datetime
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from conftest import needs

import chalknet
from chalknet.cli.main import main
from chalknet.errors import ConfigError, DataError

SETTINGS = {"epochs": 4, "hidden": [8], "stop_early": False}


def passengers(n=400, seed=0):
    """Return a table like that of the Titanic, in which sex and class decide."""
    rng = np.random.default_rng(seed)
    sex, ticket = rng.integers(0, 2, n), rng.integers(1, 4, n)
    survived = rng.random(n) < 0.1 + 0.5 * sex + 0.1 * (3 - ticket)
    age = rng.integers(1, 80, n).astype(object)
    age[rng.random(n) < 0.2] = None
    days = [datetime.date(1912, 4, 1) + datetime.timedelta(days=int(day)) for day in rng.integers(0, 200, n)]
    return pl.DataFrame(
        {
            "passenger_id": np.arange(1, n + 1),
            "survived": np.where(survived, "yes", "no"),
            "class": [f"class {one}" for one in ticket],
            "name": [f"passenger {at}, Esq." for at in range(n)],
            "sex": np.where(sex == 1, "female", "male"),
            "age": pl.Series(age.tolist(), dtype=pl.Int64),
            "port": [None if one < 0.05 else "SCQ"[int(one * 3)] for one in rng.random(n)],
            "born": days,
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    passengers().write_csv(folder / "t.csv")
    run = chalknet.train(folder / "t.csv", label_column="survived", out=folder / "run", **{**SETTINGS, "epochs": 30})
    return folder, run


def test_a_table_trains_with_one_command_and_predicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    passengers().write_csv("t.csv")
    passengers(60, seed=1).drop("survived").write_csv("new.csv")
    assert main(["train", "--data", "t.csv", "--label-column", "survived", "--epochs", "4", "--out", "run"]) == 0
    said = capsys.readouterr()
    assert (
        "Column 'passenger_id' numbers the rows and is left out. To use it, give keep (--keep)." in said.err + said.out
    )
    assert main(["predict", "run", "new.csv", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 61
    assert main(["evaluate", "run", "--split", "test"]) == 0
    assert main(["data", "info", "t.csv", "--label-column", "survived"]) == 0
    shown = capsys.readouterr().out
    assert "passenger_id  id" in shown
    assert "left out: it numbers the rows" in shown
    assert main(["report", "run"]) == 0
    assert main(["data", "audit", "t.csv", "--label-column", "survived"]) == 0


def test_a_file_and_a_frame_train_the_same_network(trained):
    _, run = trained
    frame = passengers()
    other = chalknet.train(frame, label_column="survived", **{**SETTINGS, "epochs": 30})
    np.testing.assert_array_equal(other.network.predict_proba(frame), run.network.predict_proba(frame))
    assert run.network.input_names[:3] == ("age", "born in days", "class: class 1")


def test_the_model_file_predicts_shuffled_extended_and_shortened_tables(trained, tmp_path):
    folder, run = trained
    model = chalknet.load_model(folder / "run" / "model.safetensors")
    assert model.encoding == run.network.encoding
    frame = passengers(50, seed=2)
    wanted = model.predict_proba(frame)
    mixed = frame.select(sorted(frame.columns, reverse=True)).with_columns(pl.lit(1).alias("more"))
    with pytest.warns(UserWarning, match="1 column that the model does not know is ignored: 'more'"):
        np.testing.assert_array_equal(model.predict_proba(mixed), wanted)
    mixed.drop("survived", "name").write_csv(tmp_path / "new.csv")
    found = chalknet.predict(folder / "run", tmp_path / "new.csv")
    np.testing.assert_array_equal(found.probabilities, wanted)
    assert found.notes[-1].endswith("1 column that the model does not know is ignored: 'more'.")
    with pytest.raises(DataError, match="has no column 'sex'"):
        chalknet.predict(folder / "run", frame.drop("sex"))
    with pytest.raises(chalknet.ShapeError, match="or a frame with the columns 'class', 'sex'"):
        model.predict_proba(np.zeros((3, 4)))


def test_an_evaluation_of_another_table_uses_the_encoding_of_the_model(trained, tmp_path):
    folder, run = trained
    other = passengers(80, seed=3).with_columns(pl.lit("male").alias("sex"))
    other.write_csv(tmp_path / "other.csv")
    found = chalknet.evaluate(
        folder / "run", chalknet.load_data(tmp_path / "other.csv", label_column="survived", like=run.network)
    )
    named = np.array(run.network.predict_names(other)) == other["survived"].to_numpy()
    assert found.accuracy.value == pytest.approx(named.mean())


def test_validation_and_test_files_are_encoded_like_the_training_file(tmp_path):
    for name, seed in (("train", 0), ("valid", 1), ("test", 2)):
        passengers(120, seed).write_csv(tmp_path / f"{name}.csv")
    run = chalknet.train(
        tmp_path / "train.csv",
        valid=tmp_path / "valid.csv",
        test=tmp_path / "test.csv",
        label_column="survived",
        **SETTINGS,
    )
    assert {name: len(one) for name, one in run.splits.named().items()} == {"train": 120, "valid": 120, "test": 120}


def test_a_study_of_a_table_and_its_model(tmp_path):
    passengers().write_csv(tmp_path / "t.csv")
    chalknet.study(
        chalknet.load_data(tmp_path / "t.csv", label_column="survived"),
        vary={"hidden": [[4], [8]]},
        seeds=2,
        out=tmp_path / "study",
        jobs=2,
        recipe="strong",
        epochs=2,
    )
    model, *others = sorted((tmp_path / "study" / "models").glob("*.safetensors"))
    assert len(others) == 1
    assert len(chalknet.predict(model, passengers(20, seed=5)).labels) == 20


def test_an_interrupted_run_reads_the_table_again_with_its_options(tmp_path):
    passengers().write_csv(tmp_path / "t.csv")
    options = {"label_column": "survived", "drop": ["born"], "categorical": ["age"], **SETTINGS}
    whole = chalknet.train(tmp_path / "t.csv", **options, seed=3)
    stop = iter([False, True])
    from chalknet.workflows.train import run_training
    from chalknet.workflows.train_options import READ_OPTIONS, TrainOptions

    read = {name: options[name] for name in READ_OPTIONS if name in options}
    with pytest.raises(chalknet.StoppedError):
        run_training(
            TrainOptions(
                tmp_path / "t.csv",
                read_with=read,
                settings={**SETTINGS, "seed": 3},
                out=tmp_path / "run",
                must_stop=lambda: next(stop),
            )
        )
    run = chalknet.resume(tmp_path / "run")
    assert run.data.encoding == whole.data.encoding
    assert "born in days" not in run.data.input_names
    np.testing.assert_array_equal(
        run.network.predict_proba(passengers(9, 1)), whole.network.predict_proba(passengers(9, 1))
    )


def test_the_exported_file_reads_the_table_with_numpy_alone(trained, tmp_path):
    _, run = trained
    chalknet.export_model(run.network, tmp_path / "predictor.py", kind="numpy")
    frame = passengers(40, seed=4)
    frame.write_csv(tmp_path / "new.csv")
    script = (
        "import sys\nsys.path.insert(0, '.')\nimport numpy as np, predictor\n"
        "table = predictor.read_table('new.csv')\n"
        "np.save('p.npy', predictor.predict_proba(table))\n"
    )
    subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), run.network.predict_proba(frame), atol=1e-6)
    printed = subprocess.run(
        [sys.executable, "predictor.py", "new.csv"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert printed.splitlines() == run.network.predict_names(frame)
    frame.drop("sex").write_csv(tmp_path / "new.csv")
    failed = subprocess.run(
        [sys.executable, "predictor.py", "new.csv"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert "the table has no column sex" in failed.stderr


@pytest.mark.extras
def test_onnx_encodes_the_columns_as_python_does(trained, tmp_path):
    needs("onnx")
    runtime = needs("onnxruntime")
    _, run = trained
    chalknet.export_model(run.network, tmp_path / "m.onnx")
    frame = passengers(60, seed=4)
    feed = {}
    for column in run.network.encoding.columns:
        values = frame[column.name]
        if column.kind == "category":
            feed[column.name] = np.array(values.fill_null("").to_list(), object)[:, None]
        else:
            feed[column.name] = values.cast(pl.Float64).to_numpy()[:, None]
    (found,) = runtime.InferenceSession(tmp_path / "m.onnx").run(["probabilities"], feed)
    np.testing.assert_allclose(found, run.network.predict_proba(frame), atol=1e-5)


@pytest.mark.extras
def test_a_frame_of_pandas_is_read_like_one_of_polars():
    pandas = needs("pandas")
    frame = passengers()
    other = pandas.DataFrame({name: frame[name].to_list() for name in frame.columns})
    other["born"] = pandas.to_datetime(other["born"])
    other["sex"] = other["sex"].astype("category")
    one, two = (chalknet.load_data(table, label_column="survived") for table in (frame, other))
    np.testing.assert_array_equal(one.inputs, two.inputs)
    assert one.input_names == two.input_names


def test_the_classifier_takes_mixed_frames_in_searches_and_pipelines():
    from sklearn.compose import ColumnTransformer
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    frame = passengers()
    x, y = frame.drop("survived", "name", "passenger_id"), frame["survived"].to_numpy()
    model = chalknet.ChalkClassifier(random_state=0, epochs=15).fit(x, y)
    assert model.n_features_in_ == 5
    assert model.feature_names_in_.tolist() == x.columns
    assert model.score(x, y) > 0.6
    assert set(model.predict(x)) == {"yes", "no"}
    with pytest.raises(DataError, match="X must be a frame with the columns"):
        model.predict(np.zeros((3, 5)))
    assert len(cross_val_score(chalknet.ChalkClassifier(epochs=2), x, y, cv=3)) == 3
    search = GridSearchCV(chalknet.ChalkClassifier(epochs=2), {"hidden": [4, 8]}, cv=2).fit(x, y)
    assert search.best_estimator_.network_.encoding is not None
    kept = ColumnTransformer([("kept", "passthrough", ["sex", "age", "port"])]).set_output(transform="polars")
    pipeline = make_pipeline(kept, chalknet.ChalkClassifier(epochs=2)).fit(x, y)
    assert pipeline.predict(x).shape == (400,)


def test_onnx_refuses_a_column_named_like_one_of_its_outputs(tmp_path):
    needs("onnx")
    table = {"probabilities": [0.5, 1.5] * 20, "c": list("uvwx") * 10, "label": list("ab") * 20}
    run = chalknet.train(pl.DataFrame(table), hidden=[3], epochs=1, split="stratified")
    with pytest.raises(ConfigError, match=r"input named 'probabilities'\. Rename"):
        chalknet.export_model(run.network, tmp_path / "m.onnx")
