"""Logs for TensorBoard and MLflow: what they read back, and what happens if a log cannot be written."""

import errno
import os
import re
import socket
import subprocess
import sys
import time
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
from conftest import needs

import chalknet
from chalknet.artifacts import mlflow_writer
from chalknet.artifacts.csv_writer import CsvWriter
from chalknet.artifacts.history_file import history_csv
from chalknet.artifacts.mlflow_writer import MlflowWriter
from chalknet.artifacts.tensorboard_writer import TensorBoardWriter
from chalknet.cli.main import main
from chalknet.errors import MissingExtraError
from chalknet.version import install_command

SETTINGS = {"recipe": "writeup", "hidden": [4], "epochs": 3, "train_size": 160, "valid_size": 40}


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_each_epoch_once_after_two_starts(tmp_path, small_images):
    needs("tensorboard")
    needs("tensorboardX")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        with TensorBoardWriter(tmp_path) as write:
            run = chalknet.train(small_images, callbacks=write, **SETTINGS)
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
        run = chalknet.train(small_images, callbacks=write, **SETTINGS)
    client = MlflowClient(tracking_uri=uri)
    found = client.get_metric_history(write.run_id, "valid_accuracy")
    assert [(one.step, one.value) for one in found] == [(r.epoch, r.valid.accuracy) for r in run.history]
    stored = client.get_run(write.run_id)
    assert stored.data.params["optimizer.learning_rate"] == "2e-05"
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", "first")


@pytest.mark.parametrize(
    ("writer", "package", "extra"),
    [(TensorBoardWriter, "tensorboardX", "tensorboard"), (MlflowWriter, "mlflow", "mlflow")],
)
def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch, writer, package, extra):
    for name in (package, f"{package}.entities", f"{package}.tracking", f"{package}.proto"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command(extra))):
        writer(str(tmp_path / "log"))


@pytest.mark.usefixtures("letters")
@pytest.mark.slow
def test_the_command_logs_each_network_of_an_ensemble(tmp_path):
    line = ["train", "--data", "letters.npz", "--hidden", "3", "--epochs", "2", "--ensemble", "2", "--quiet"]
    assert main([*line, "--log", "csv:log.csv", "--out", "run"]) == 0
    for seed in (0, 1):
        logged = (tmp_path / f"log-seed{seed}.csv").read_text()
        assert logged == (tmp_path / "run" / "members" / f"seed{seed}" / "history.csv").read_text()


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("csvv:x", "--log csvv:x: unknown kind of log 'csvv'. Did you mean 'csv'?"),
        ("tensorboard", "--log tensorboard needs a place, such as tensorboard:runs/board."),
    ],
)
def test_an_invalid_log_is_one_line(tmp_path, monkeypatch, capsys, log, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--epochs", "1", "--log", log]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"chalknet: {message}"


@pytest.fixture
def letters(letters):
    return Path(letters).resolve().parent


LINE = ["train", "--recipe", "writeup", "--data", "letters.npz", "--hidden", "4", "--train", "160", "--valid", "40"]


def board_of(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def float32(values):
    """Return (step, value) as a TensorBoard event holds it."""
    return [(step, float(np.float32(value))) for step, value in values]


def metrics_of(uri):
    """Return for each run of the store its status, and (step, value) of one metric."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("chalknet").experiment_id])
    found = {}
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "train_loss")
        assert run.info.run_name not in found
        found[run.info.run_name] = (run.info.status, [(one.step, one.value) for one in history])
    return found


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_each_network_of_an_ensemble_has_its_own_log(tmp_path, small_images):
    needs("tensorboard")
    needs("tensorboardX")
    needs("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    writers = [
        CsvWriter(tmp_path / "log.csv"),
        TensorBoardWriter(tmp_path / "board"),
        MlflowWriter(uri, run_name="five"),
    ]
    assert [writer.view_command for writer in writers] == [
        "", f"tensorboard --logdir {tmp_path / 'board'}", f"mlflow ui --backend-store-uri {uri}"
    ]  # fmt: skip
    run = chalknet.train(small_images, callbacks=writers, ensemble=2, **SETTINGS)
    stored = metrics_of(uri)
    for seed, member in enumerate(run.members):
        assert (tmp_path / f"log-seed{seed}.csv").read_text() == history_csv(member.history)
        losses = [(record.epoch, record.train.loss) for record in member.history]
        assert stored[f"five-seed{seed}"] == ("FINISHED", losses)
        assert board_of(tmp_path / "board" / f"seed{seed}")["loss/train"] == float32(losses)
    assert len(stored) == 2
    assert not (tmp_path / "log.csv").exists()


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_networks", [1, 2])
def test_logs_after_a_kill_equal_those_of_an_undisturbed_run(letters, n_networks):
    needs("tensorboard")
    needs("tensorboardX")
    needs("mlflow")
    uri = f"sqlite:///{letters}/mlflow.db"
    logs = ["--log", "csv:log.csv", "--log", "tensorboard:board", "--log", f"mlflow:{uri}"]
    line = [*LINE, "--epochs", "30", "--ensemble", str(n_networks), "--out", "run"]
    # Checkpoints after every tenth epoch: what is logged after one is repeated once the training goes on.
    killed_at(letters, [*line, *logs, "--checkpoint-epochs", "10"], n_epochs=25 + 30 * (n_networks - 1))
    assert main(["train", "--resume", "run", "--quiet", *logs]) == 0
    stored = metrics_of(uri)
    assert len(stored) == n_networks
    for seed in range(n_networks):
        single = n_networks == 1
        history = history_of(letters / "run" if single else letters / "run" / "members" / f"seed{seed}")
        losses = [(record.epoch, record.train.loss) for record in history]
        assert len(losses) == 30
        logged = (letters / ("log.csv" if single else f"log-seed{seed}.csv")).read_text().splitlines()
        assert [row.rpartition(",")[0] for row in logged] == [
            row.rpartition(",")[0] for row in history_csv(history).splitlines()
        ]
        assert stored[f"writeup-seed{seed}"] == ("FINISHED", losses)
        board = board_of(letters / "board" if single else letters / "board" / f"seed{seed}")
        assert board["loss/train"] == float32(losses)


def history_of(folder):
    from chalknet.artifacts.run_folder import read_run

    return read_run(folder).history


KILLED = """
import os, signal, sys
from chalknet.artifacts.checkpoint import CheckpointCallback
real = CheckpointCallback.on_epoch_end
left = int(sys.argv.pop(1))
def see(self, record):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, record)
CheckpointCallback.on_epoch_end = see
from chalknet.cli.main import main
main()
"""


def killed_at(folder, line, n_epochs):
    """Run the command in a process that is killed after it has logged some epochs."""
    process = subprocess.run([sys.executable, "-c", KILLED, str(n_epochs), *line], cwd=folder, capture_output=True)
    assert process.returncode == -9, process.stderr.decode()


@pytest.mark.slow
def test_a_log_added_on_resume_has_all_epochs(letters):
    killed_at(letters, [*LINE, "--epochs", "9", "--out", "run", "--checkpoint-epochs", "4"], n_epochs=6)
    assert main(["train", "--resume", "run", "--quiet", "--log", "csv:log.csv"]) == 0
    assert (letters / "log.csv").read_text() == (letters / "run" / "history.csv").read_text()


class FullDisk:
    """A disk that is full after some additions to a file and takes only a part of the next one."""

    def __init__(self, n):
        self.left = n

    def open(self, path, mode="wb"):
        disk = self

        class File(FileIO):
            pending = b""

            def write(self, data):
                self.pending += data

            def flush(self):
                written, self.pending = self.pending, b""
                disk.left -= bool(written)
                if written and disk.left < 0:
                    super().write(written[: len(written) // 2])
                    raise OSError(errno.ENOSPC, "No space left on device")
                super().write(written)

        return File(path, mode)


def fill_disk_of(kind, monkeypatch, n):
    """Let a log have room for n additions."""
    disk, real = FullDisk(n), Path.open
    if kind == "csv":
        monkeypatch.setattr(
            Path, "open", lambda p, mode="r", **kw: (disk.open if mode == "ab" else real)(p, mode, **kw)
        )
    else:
        monkeypatch.setattr("tensorboardX.record_writer.open_file", disk.open)


@pytest.mark.extras
@pytest.mark.parametrize("kind", ["csv", "tensorboard"])
def test_a_full_disk_ends_the_log_but_not_the_training(letters, monkeypatch, capsys, kind):
    place = {"csv": "log.csv", "tensorboard": "board"}[kind]
    if kind == "tensorboard":
        needs("tensorboard")
        needs("tensorboardX")
    fill_disk_of(kind, monkeypatch, 2)
    line = [*LINE, "--epochs", "5", "--quiet", "--out", "run", "--log", f"{kind}:{place}"]
    assert main(line) == 1
    want = (
        f"chalknet: {place}: cannot be written: No space left on device. "
        "Training continues; the log ends before epoch 3."
    )
    assert capsys.readouterr().err.splitlines() == [want]
    assert len(history_of(letters / "run")) == 5
    if kind == "csv":
        assert (letters / "log.csv").read_text() == "".join(
            line + "\n" for line in (letters / "run" / "history.csv").read_text().splitlines()[:3]
        )
    else:
        assert [step for step, _ in board_of(letters / "board")["loss/train"]] == [1, 2]


def test_in_python_the_line_is_a_warning_and_the_run_is_there(tmp_path, small_images, monkeypatch):
    fill_disk_of("csv", monkeypatch, 1)
    writer = CsvWriter(tmp_path / "log.csv")
    with pytest.warns(UserWarning, match=r"log\.csv: cannot be written: No space left.*; the log ends before epoch 2"):
        run = chalknet.train(small_images, callbacks=writer, **SETTINGS)
    assert len(run.history) == 3
    assert writer.has_failed


@pytest.fixture(params=["nobody", "silence"])
def dead_server(request):
    """Yield the address of a port that refuses, or of one that never answers a request."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "silence":
            server.listen(8)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_an_unreachable_server_is_reported_soon(letters, capsys, monkeypatch, dead_server):
    needs("mlflow")
    monkeypatch.setitem(mlflow_writer.SHORT_TIMEOUTS, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")  # the user's own, which stays
    before = dict(os.environ)
    begun = time.monotonic()
    assert main([*LINE, "--epochs", "3", "--out", "run", "--log", f"mlflow:{dead_server}"]) == 1
    assert time.monotonic() - begun < 60  # MLflow's own patience is four minutes; this bound is for slow machines
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"chalknet: MLflow, {dead_server}: cannot be opened: no server answers there (")
    assert not (letters / "run").exists()
    assert {key: value for key, value in os.environ.items() if key.startswith("MLFLOW_HTTP")} == {
        key: value for key, value in before.items() if key.startswith("MLFLOW_HTTP")
    }


def test_a_server_gets_ten_seconds_or_the_users_timeout(monkeypatch):
    tries = 1 + int(mlflow_writer.SHORT_TIMEOUTS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    assert tries * int(mlflow_writer.SHORT_TIMEOUTS["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "33")
    with mlflow_writer._short_timeouts():
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "33"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "33"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_a_store_that_goes_away_ends_the_log_in_one_line(letters, capsys, monkeypatch):
    needs("mlflow")
    from mlflow.tracking import MlflowClient

    def gone(*_, **__):
        raise RuntimeError("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT INTO metrics ...]")

    line = [*LINE, "--epochs", "3", "--quiet", "--out", "run", "--log", f"mlflow:sqlite:///{letters}/mlflow.db"]
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", gone)
        patch.setattr(MlflowClient, "set_terminated", gone)
        assert main(line) == 1
    said = [one for one in capsys.readouterr().err.splitlines() if one.startswith("chalknet:")]
    assert len(said) == 1
    assert "cannot be written: (sqlite3.OperationalError) database or disk is full. Training continues" in said[0]
    assert len(history_of(letters / "run")) == 3


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_a_store_that_cannot_be_opened_is_an_early_error(letters, capsys):
    needs("mlflow")
    assert main([*LINE, "--epochs", "1", "--out", "run", "--log", "mlflow:nothing://x"]) == 1
    said = [one for one in capsys.readouterr().err.splitlines() if one.startswith("chalknet:")]
    assert len(said) == 1
    assert said[0].startswith("chalknet: MLflow, nothing://x: cannot be opened: ")
    assert not (letters / "run").exists()


@pytest.mark.parametrize("kind", ["csv", "tensorboard"])
def test_an_unwritable_log_is_reported_before_training(letters, capsys, kind):
    if kind == "tensorboard":
        needs("tensorboard")
    Path("taken").write_text("a file")
    assert main([*LINE, "--epochs", "1", "--out", "run", "--log", f"{kind}:taken/log"]) == 1
    assert "taken/log: cannot be written: Not a directory." in capsys.readouterr().err
    assert not (letters / "run").exists()
