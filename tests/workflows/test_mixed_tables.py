"""Tables with categories, dates and missing values: from a file or a frame to a model and its predictions."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import needs

import chalknet
from chalknet.cli.main import main
from chalknet.config import DataConfig, TableOptions
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
    assert "Column 'passenger_id' numbers the rows and is left out. To use it, give --keep." in said.err + said.out
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
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    page = (Path(__file__).parents[2] / "docs" / "file_formats.md").read_text(encoding="utf-8")
    code = textwrap.dedent(page[page.index("    feed = {}\n") : page.index("    session.run(")])
    names = {"json": json, "pl": pl, "session": session, "frame": frame}
    exec(code, names)
    (found,) = session.run(["probabilities"], names["feed"])
    columns = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    assert [one["name"] for one in columns] == [one.name for one in session.get_inputs()]
    assert columns[1] == {"name": "sex", "kind": "category", "categories": ["female", "male"]}
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


@pytest.mark.parametrize("library", ["polars", "dict"])
def test_evaluate_takes_a_frame_and_knows_the_label_of_the_model(trained, library):
    _, run = trained
    frame = passengers(80, seed=3)
    found = chalknet.evaluate(run.network, frame if library == "polars" else frame.to_dict(as_series=False))
    named = np.array(run.network.predict_names(frame)) == frame["survived"].to_numpy()
    assert found.accuracy.value == pytest.approx(named.mean())
    renamed = frame.rename({"survived": "alive"})
    assert chalknet.evaluate(run.network, renamed, label_column="alive").accuracy == found.accuracy
    with pytest.raises(DataError, match="has no label column 'survived', as the training table had"):
        chalknet.evaluate(run.network, frame.drop("survived", "class").with_columns(pl.lit("a").alias("ticket")))


def test_evaluate_and_load_data_use_the_label_of_the_model_for_files(trained, tmp_path, monkeypatch, capsys):
    folder, run = trained
    monkeypatch.chdir(tmp_path)
    frame = passengers(80, seed=3)
    frame.write_csv("new.csv")
    frame.write_parquet("new.parquet")
    wanted = chalknet.evaluate(run.network, frame).accuracy
    for name in ("new.csv", "new.parquet"):
        assert main(["evaluate", str(folder / "run"), name]) == 0
        assert chalknet.evaluate(folder / "run", name).accuracy == wanted
        assert chalknet.load_data(name, like=run.network).class_names == ("no", "yes")
    frame.drop("survived").rename({"class": "kind"}).write_csv("new.csv")
    capsys.readouterr()
    assert main(["evaluate", str(folder / "run"), "new.csv"]) == 1
    assert "has no label column 'survived', as the training table had" in capsys.readouterr().err


def test_a_frame_of_numbers_fits_a_model_of_plain_rows(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"a": rng.random(60), "b": rng.random(60), "kind": rng.integers(0, 2, 60)})
    frame.write_csv(tmp_path / "plain.csv")
    run = chalknet.train(tmp_path / "plain.csv", label_column="kind", out=tmp_path / "run", **SETTINGS)
    assert run.network.encoding is None
    from_file = chalknet.evaluate(run.network, chalknet.load_data(tmp_path / "plain.csv", label_column="kind"))
    found = chalknet.evaluate(run.network, frame.select("b", "kind", "a"), label_column="kind")
    assert found.accuracy == from_file.accuracy
    frame.head(50).write_csv(tmp_path / "other.csv")
    assert len(chalknet.evaluate(tmp_path / "run", tmp_path / "other.csv")) == 50


def test_options_that_the_model_decides_are_refused(trained):
    folder, run = trained
    for name in ("drop", "keep", "categorical", "numeric"):
        assert main(["evaluate", str(folder / "run"), str(folder / "t.csv"), f"--{name}", "age"]) == 2
        with pytest.raises(chalknet.ConfigError, match=f"{name} has no effect on a table that is read like another"):
            chalknet.load_data(folder / "t.csv", like=run.network, **{name: ["age"]})
        options = DataConfig(str(folder / "t.csv"), table=TableOptions(**{name: ["age"]}))
        with pytest.raises(chalknet.ConfigError, match=f"{name} has no effect on a table that is read like another"):
            chalknet.evaluate(folder / "run", options)


def test_evaluate_says_what_data_may_be(trained):
    _, run = trained
    with pytest.raises(chalknet.ConfigError, match=r"Use dataset_from_arrays\(inputs, labels\)"):
        chalknet.evaluate(run.network, np.zeros((3, 4)))
    data = chalknet.load_data(passengers(), like=run.network)
    with pytest.raises(chalknet.ConfigError, match="label_column names a column of a table, but data is a Dataset"):
        chalknet.evaluate(run.network, data, label_column="survived")


def test_validation_frames_are_read_like_the_training_frame_with_its_options():
    run = chalknet.train(
        passengers(120),
        valid=passengers(60, 1),
        label_column="survived",
        drop=["born"],
        categorical=["age"],
        **SETTINGS,
    )
    assert len(run.splits.valid) == 60


@pytest.mark.parametrize("mark", ["|", "#"])
def test_the_delimiter_of_the_training_table_reads_new_tables(mark, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    passengers().write_csv("t.csv", separator=mark)
    passengers(20, 1).drop("survived").write_csv("new.csv", separator=mark)
    passengers(20, 1).write_csv("labeled.csv", separator=mark)
    passengers(20, 1).drop("survived").write_csv("comma.csv")
    train = ["train", "--data", "t.csv", "--label-column", "survived", "--epochs", "2", "--out", "run"]
    assert main([*train, "--delimiter", mark]) == 0
    for model in ("run", "run/model.safetensors"):
        for name in ("new.csv", "comma.csv"):
            assert main(["predict", model, name]) == 0
    assert main(["evaluate", "run", "labeled.csv"]) == 0
    passengers(20, 1).write_csv("star.csv", separator="*")
    assert main(["predict", "run", "star.csv"]) == 1
    assert "divides the cells, give --delimiter." in capsys.readouterr().err
    assert main(["predict", "run", "star.csv", "--delimiter", "*"]) == 0


def test_a_new_file_may_have_another_decimal_mark_and_missing_texts(tmp_path):
    rng = np.random.default_rng(0)
    values, kinds = rng.random((80, 2)).round(3), rng.integers(0, 2, 80)

    def table(mark, missing):
        cells = [
            [f"{a}".replace(".", mark), f"{b}".replace(".", mark), "xy"[k]]
            for (a, b), k in zip(values, kinds, strict=True)
        ]
        cells[3][0] = missing
        return "a;b;class\n" + "\n".join(";".join(row) for row in cells) + "\n"

    (tmp_path / "t.csv").write_text(table(",", ""))
    (tmp_path / "new.csv").write_text(table(".", "gone"))
    run = chalknet.train(tmp_path / "t.csv", decimal=",", out=tmp_path / "run", **SETTINGS)
    wanted = chalknet.predict(run.network, tmp_path / "t.csv").probabilities
    found = chalknet.predict(tmp_path / "run", tmp_path / "new.csv", decimal=".", missing=["gone"])
    np.testing.assert_array_equal(found.probabilities, wanted)
    assert (
        main(["evaluate", str(tmp_path / "run"), str(tmp_path / "new.csv"), "--decimal", ".", "--missing", "gone"]) == 0
    )


@pytest.mark.parametrize("label_at", [0, 2])
def test_a_table_without_header_is_predicted_without_its_label(label_at, tmp_path):
    rng = np.random.default_rng(0)
    rows = [[f"{a:.3f}", "rg"[k]] for a, k in zip(rng.random(60), rng.integers(0, 2, 60), strict=True)]
    labeled = [[*row[:label_at], "no" if row[1] == "r" else "yes", *row[label_at:]] for row in rows]
    for name, table in (("t", labeled), ("new", rows), ("short", [row[:1] for row in rows])):
        (tmp_path / f"{name}.csv").write_text("\n".join(map(",".join, table)) + "\n")
    run = chalknet.train(tmp_path / "t.csv", label_column=label_at, header=False, out=tmp_path / "run", **SETTINGS)
    assert run.network.encoding.label == f"column {label_at + 1}"
    wanted = chalknet.predict(run.network, tmp_path / "t.csv").probabilities
    np.testing.assert_array_equal(chalknet.predict(tmp_path / "run", tmp_path / "new.csv").probabilities, wanted)
    assert len(chalknet.evaluate(tmp_path / "run", tmp_path / "t.csv")) == 60
    with pytest.raises(DataError, match="has 1 column, but the training table, which had no header, had 3, or 2 with"):
        chalknet.predict(tmp_path / "run", tmp_path / "short.csv")
    with pytest.raises(DataError, match="has no label column"):
        chalknet.evaluate(run.network, tmp_path / "new.csv")


def test_the_classifier_uses_all_numbers_and_warns_of_texts_that_it_leaves_out():
    frame = passengers()
    y = frame["survived"].to_numpy()
    numbers, mixed = frame.select("passenger_id"), frame.select("passenger_id", "sex")
    assert chalknet.ChalkClassifier(epochs=2).fit(numbers, y).encoding_ is None
    model = chalknet.ChalkClassifier(epochs=2).fit(mixed, y)
    assert model.encoding_.names == ("passenger_id", "sex")
    assert model.notes_ == ()
    with pytest.warns(UserWarning, match="Column 'name' has another text in every row and is left out") as caught:
        model = chalknet.ChalkClassifier(epochs=2).fit(frame.drop("survived"), y)
    assert len(caught) == 1
    assert str(caught[0].message) == model.notes_[0]
    assert caught[0].filename == __file__


def test_the_classifier_reads_a_frame_with_the_options_of_table():
    from sklearn.base import clone

    frame = passengers()
    x, y = frame.select("passenger_id", "age", "sex", "name"), frame["survived"].to_numpy()
    options = {"drop": ["passenger_id", "name"], "categorical": ["age"], "missing": ["male"]}
    model = clone(chalknet.ChalkClassifier(epochs=2, table=options)).fit(x, y)
    assert model.encoding_.ignored == ("passenger_id", "name")
    assert model.encoding_.columns[0].kind == "category"
    assert model.encoding_.columns[1].categories == ("female",)
    numbers = pl.DataFrame({"a": [1, 2, 3] * 20, "b": [float(at) for at in range(60)]})
    model = chalknet.ChalkClassifier(epochs=2, table={"categorical": ["a"]}).fit(numbers, [0, 1] * 30)
    assert model.network_.input_names == ("b", "a: 1", "a: 2", "a: 3")
    with pytest.raises(chalknet.ConfigError, match="table may have drop, keep, categorical, numeric, missing and deci"):
        chalknet.ChalkClassifier(table={"header": True}).fit(numbers, [0, 1] * 30)
    with pytest.raises(chalknet.ConfigError, match="table is for frames, but X is ndarray"):
        chalknet.ChalkClassifier(table={"drop": ["a"]}).fit(numbers.to_numpy(), [0, 1] * 30)


def test_the_classifier_says_that_training_had_no_missing_values():
    numbers = pl.DataFrame({"a": [1, 2, 3] * 20, "b": [float(at) for at in range(60)]})
    model = chalknet.ChalkClassifier(epochs=2).fit(numbers, [0, 1] * 30)
    gaps = numbers.with_columns(pl.lit(None, pl.Float64).alias("b"))
    with pytest.raises(DataError, match="X has missing values in 'b', and the training samples had none"):
        model.predict(gaps)
    model = chalknet.ChalkClassifier(epochs=2).fit(
        pl.concat([numbers.with_columns(pl.col("a").cast(int)), gaps]), [0, 1] * 60
    )
    assert len(model.predict(gaps)) == 60


def test_run_notes_hold_the_notes_of_the_data():
    run = chalknet.train(passengers(), label_column="survived", **SETTINGS)
    assert run.notes[: len(run.data.notes)] == run.data.notes
    assert run.notes[0].startswith("Column 'passenger_id' numbers the rows and is left out")


def run_predictor(folder, *arguments):
    command = [sys.executable, "predictor.py", *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def test_the_exported_file_says_what_it_reads(trained, tmp_path):
    _, run = trained
    chalknet.export_model(run.network, tmp_path / "predictor.py", kind="numpy")
    frame = passengers(9, seed=4)
    frame.write_parquet(tmp_path / "new.parquet")
    (tmp_path / "new.xlsx").write_bytes(b"PK\x03\x04")
    for name in ("new.parquet", "new.xlsx"):
        said = run_predictor(tmp_path, name).stderr
        assert said == f"{name}: this is no .csv, .tsv, .npy or .npz file. Save the table as CSV\n"
    shown = run_predictor(tmp_path, "--help")
    assert "python predictor.py table.csv" in shown.stdout
    assert shown.returncode == 0
    frame.write_csv(tmp_path / "new.csv", separator="|")
    assert len(run_predictor(tmp_path, "new.csv").stdout.splitlines()) == 9
    (tmp_path / "new.csv").write_text("a,b\n\n1,2\n3\n")
    assert "row 3 has 1 cells, but the first row has 2" in run_predictor(tmp_path, "new.csv").stderr


def test_the_exported_file_reads_a_table_without_header_and_label(tmp_path):
    rng = np.random.default_rng(0)
    rows = [["ny"[at % 2], f"{a:.3f}", "rgb"[at % 3]] for at, a in enumerate(rng.random(60))]
    for name, first in (("t", 0), ("new", 1), ("short", 2)):
        (tmp_path / f"{name}.csv").write_text("\n".join(",".join(row[first:]) for row in rows) + "\n")
    network = chalknet.train(tmp_path / "t.csv", label_column=0, header=False, **SETTINGS).network
    chalknet.export_model(network, tmp_path / "predictor.py", kind="numpy")
    wanted = chalknet.predict(network, tmp_path / "t.csv").labels
    assert run_predictor(tmp_path, "t.csv").stdout.splitlines() == wanted
    assert run_predictor(tmp_path, "new.csv").stdout.splitlines() == wanted
    assert "the table has 1 columns, but the training table" in run_predictor(tmp_path, "short.csv").stderr


def test_export_prints_the_inputs_of_a_table(trained, tmp_path, capsys):
    from chalknet.cli.export import _lines
    from chalknet.workflows.export import Export

    _, run = trained
    assert _lines(Export(tmp_path / "m.onnx", "onnx", 9, run.network))[1] == (
        "one input (N, 1) per column, class (text), sex (text), age (float64), port (text), born (float64) -> "
        "probabilities (N, 2), label (N,)"
    )
    assert main(["export", str(trained[0] / "run"), "--numpy-only", "-o", str(tmp_path / "m.py")]) == 0
    assert "m.py table.csv prints the class of each row" in capsys.readouterr().out


def test_predictions_are_named_by_a_column(trained, tmp_path, monkeypatch, capsys):
    folder, run = trained
    monkeypatch.chdir(tmp_path)
    frame = passengers(3, seed=4).with_columns(pl.Series("key", ["007", "a b", None]))
    frame.write_csv("new.csv")
    frame.write_parquet("new.parquet")
    for source in ("new.csv", "new.parquet", frame):
        found = chalknet.predict(folder / "run", source, id_column="key")
        assert found.names == ("007", "a b", "")
        assert found.notes == ()
    assert main(["predict", str(folder / "run"), "new.csv", "--id", "key", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("007,")
    assert chalknet.predict(run.network, "new.csv", id_column="age").names[0] == str(frame["age"][0])
    with pytest.raises(DataError, match=r"has no column 'keys', which id_column names"):
        chalknet.predict(folder / "run", "new.csv", id_column="keys")
    np.save("a.npy", np.zeros((3, run.network.architecture.n_inputs)))
    with pytest.raises(chalknet.ConfigError, match="needs a table whose columns the model finds by their names"):
        chalknet.predict(folder / "run", "a.npy", id_column="key")
    with pytest.raises(chalknet.ConfigError, match="id_column says how files are read"):
        chalknet.predict(folder / "run", np.zeros((3, 4)), id_column="key")


@pytest.mark.parametrize("name", ["t.npz", "t", "t2.csv"])
def test_a_table_with_gaps_is_not_converted(trained, tmp_path, name, capsys):
    folder, _ = trained
    kind = ["--format", "npy"] if name == "t" else []
    out = tmp_path / name
    command = ["data", "convert", str(folder / "t.csv"), "--label-column", "survived", "-o", str(out), *kind]
    assert main(command) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"chalknet: {out}: cannot be written, because {folder / 't.csv'} has ")
    assert said.endswith("Use the table itself, which all commands read, or fill the gaps first.")
    assert not out.exists()
