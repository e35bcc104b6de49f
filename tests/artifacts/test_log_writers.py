"""What TensorBoard and MLflow read back of a logged training."""

import pytest
from conftest import needs

import chalknet
from chalknet.artifacts.mlflow_writer import MlflowWriter
from chalknet.artifacts.tensorboard_writer import TensorBoardWriter
from chalknet.cli.main import main
from chalknet.errors import MissingExtraError
from chalknet.workflows.logs import Log, parsed_log

SETTINGS = {"recipe": "writeup", "hidden": [4], "epochs": 3, "train_size": 160, "valid_size": 40}


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_every_epochs_scalars_and_a_second_start_replaces_its_epochs(tmp_path, small_images):
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        with TensorBoardWriter(tmp_path) as write:
            run = chalknet.train(small_images, observe=write, **SETTINGS)
    board = EventAccumulator(str(tmp_path)).Reload()
    assert set(board.Tags()["scalars"]) == {
        f"{m}/{p}" for m in ("loss", "accuracy") for p in ("train", "valid", "test")
    }
    found = board.Scalars("loss/valid")
    assert [one.step for one in found] == [1, 2, 3]
    assert [one.value for one in found] == pytest.approx([r.valid.loss for r in run.history], rel=1e-6)


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_every_epochs_metrics_and_the_recipe(tmp_path, small_images):
    needs("mlflow")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    recipe = chalknet.recipe("writeup").with_settings(learning_rate=2e-5)
    with MlflowWriter(uri, run_name="first", recipe=recipe) as write:
        run = chalknet.train(small_images, observe=write, **SETTINGS)
    client = MlflowClient(tracking_uri=uri)
    found = client.get_metric_history(write.run_id, "valid_accuracy")
    assert [(one.step, one.value) for one in found] == [(r.epoch, r.valid.accuracy) for r in run.history]
    stored = client.get_run(write.run_id)
    assert stored.data.params["optimizer.learning_rate"] == "2e-05"
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", "first")


@pytest.mark.parametrize(
    ("writer", "package", "extra"),
    [(TensorBoardWriter, "tensorboard", "tensorboard"), (MlflowWriter, "mlflow", "mlflow")],
)
def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch, writer, package, extra):
    for name in (package, f"{package}.entities", f"{package}.tracking", f"{package}.compat.proto"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "chalknet\[{extra}\]"'):
        writer(str(tmp_path / "log"))


def test_a_line_logs_each_network_of_an_ensemble_by_itself(tmp_path, monkeypatch, small_images):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.savez("letters.npz", images=small_images.inputs, labels=small_images.labels)
    line = ["train", "--data", "letters.npz", "--hidden", "3", "--epochs", "2", "--ensemble", "2", "--quiet"]
    assert main([*line, "--log", "csv:log.csv", "--out", "run"]) == 0
    for seed in (0, 1):
        logged = (tmp_path / f"log-seed{seed}.csv").read_text()
        assert logged == (tmp_path / "run" / "members" / f"seed{seed}" / "history.csv").read_text()


def test_what_log_names_is_understood():
    assert parsed_log("csv:a.csv") == Log("csv", "a.csv")
    assert parsed_log("mlflow") == Log("mlflow", "")
    assert parsed_log("mlflow:sqlite:///x.db") == Log("mlflow", "sqlite:///x.db")


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("csvv:x", "--log csvv:x names no kind of log. Did you mean 'csv'?"),
        ("tensorboard", "--log tensorboard needs a place, such as tensorboard:runs/board."),
    ],
)
def test_a_log_that_cannot_be_meant_is_one_line(tmp_path, monkeypatch, capsys, log, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--epochs", "1", "--log", log]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"chalknet: {message}"
