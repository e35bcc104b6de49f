import csv
import io
import json
import os
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from conftest import npz_bytes

from chalknet.artifacts.history_file import history_csv
from chalknet.artifacts.run_folder import read_run, refuse_finished, run_files
from chalknet.config import DataConfig, Recipe
from chalknet.data.splits import split_dataset
from chalknet.errors import ConfigError, OutputError, StoreError
from chalknet.records import HISTORY_COLUMNS as COLUMNS
from chalknet.records import EpochRecord, Scores
from chalknet.training.trainer import Trainer, run_epochs


@pytest.fixture(scope="module")
def run_with_samples(small_images):
    recipe = Recipe().with_settings(hidden=[5], epochs=3, train_size=150, valid_size=50)
    splits = split_dataset(small_images, "writeup", 150, 50)
    return run_epochs(Trainer(small_images, splits, recipe, keep_sample_scores=True))


@pytest.fixture(scope="module")
def run(run_with_samples):
    return replace(run_with_samples, valid_sample_scores=())


def test_history_has_the_stated_columns_in_their_order():
    assert ",".join(COLUMNS) == (
        "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,test_loss,test_accuracy,"
        "train_printed_loss,valid_printed_loss,test_printed_loss,seconds"
    )


def test_history_reads_back_to_the_last_digit(run):
    rows = list(csv.DictReader(io.StringIO(history_csv(run.history))))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for row, record in zip(rows, run.history, strict=True):
        assert float(row["train_loss"]) == record.train.loss
        assert float(row["valid_accuracy"]) == record.valid.accuracy
        assert float(row["test_printed_loss"]) == record.test.printed_loss
        assert float(row["seconds"]) == record.seconds


def test_an_empty_split_has_empty_cells():
    record = EpochRecord(1, Scores(0.5, 0.25, 3.0), None, None, 0.1)
    assert history_csv([record]).splitlines()[1] == "1,0.5,0.25,,,,,3.0,,,0.1"


def written(run, folder):
    for name, content in run_files(run, DataConfig("made.npz", "0" * 64)).items():
        (folder / name).write_bytes(content)
    return folder


def test_a_run_reads_back(run_with_samples, tmp_path):
    back = read_run(written(run_with_samples, tmp_path))
    assert back.history == run_with_samples.history
    assert (back.recipe, back.data) == (run_with_samples.recipe, DataConfig("made.npz", "0" * 64))
    assert back.valid_correct.mean(axis=1).tolist() == [record.valid.accuracy for record in back.history]
    losses = [record.valid.loss for record in back.history]
    assert back.valid_losses.mean(axis=1, dtype=float).tolist() == pytest.approx(losses, rel=2**-11)


def test_large_losses_and_old_files_read_back(run_with_samples, tmp_path):
    large = [replace(each, loss=each.loss * 1e6) for each in run_with_samples.valid_sample_scores]
    back = read_run(written(replace(run_with_samples, valid_sample_scores=tuple(large)), tmp_path))
    assert back.valid_losses.dtype == np.float32
    np.testing.assert_array_equal(back.valid_losses, np.stack([each.loss for each in large]))
    cut = np.full(back.valid_losses.shape, 65_504, np.float16)
    np.savez_compressed(tmp_path / "valid_samples.npz", losses=cut, right=back.valid_correct)
    np.testing.assert_array_equal(read_run(tmp_path).valid_losses, cut)


def test_a_run_without_the_scores_of_samples_reads_back_too(run, tmp_path):
    back = read_run(written(run, tmp_path))
    assert (back.history, back.valid_losses, back.valid_correct) == (run.history, None, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", None, r"holds no finished run \(no summary\.json\)"),
        ("history.csv", None, r"history\.csv: cannot be read: .*No such file"),
        ("history.csv", b"epoch\n1\n", r"history\.csv: is not a chalknet history \('train_loss'"),
        ("history.csv", b"", r"history\.csv: is not a chalknet history \(it has no epochs\)"),
        ("history.csv", b"\xff", r"history\.csv: cannot be read: "),
        ("history.csv", (",".join(COLUMNS) + "\n1" + 9 * ",nan" + ",1\n").encode(), r"has the loss nan and the acc"),
        ("history.csv", (",".join(COLUMNS) + "\n" + "9" * 5000 + 10 * ",1" + "\n").encode(), r"is not a chalknet"),
        ("valid_samples.npz", b"PK", r"valid_samples\.npz: not a readable \.npz file"),
        ("valid_samples.npz", npz_bytes(x=np.ones(3)), r"valid_samples\.npz: is not what a run writes: it holds 'x'"),
        ("config.toml", b"a" + b".a" * 100_000 + b" = 1", r"config\.toml: line 1 has more than 64 dots outside of quo"),
    ],
)
def test_a_folder_that_is_not_a_run_is_an_error(run_with_samples, tmp_path, name, content, message):
    written(run_with_samples, tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((StoreError, ConfigError), match=message):
        read_run(tmp_path)


def test_a_file_of_zeros_that_expands_is_refused(run_with_samples, tmp_path, monkeypatch):
    monkeypatch.setattr("chalknet.files.BASE_BYTES", 2**20)
    packed = npz_bytes(np.savez_compressed, losses=np.zeros((3, 10**6), np.float16), right=np.zeros((3, 10**6), bool))
    (written(run_with_samples, tmp_path) / "valid_samples.npz").write_bytes(packed)
    with pytest.raises(StoreError, match=r"valid_samples\.npz: needs more than the [\d,]+ bytes of memory"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "history.csv", "config.toml"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(run_with_samples, tmp_path, name):
    written(run_with_samples, tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises((StoreError, ConfigError), match=r"a pipe, a socket or a device|holds no finished run"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("data"), "'data' is missing"),
        (lambda s: s.update(data=[]), r"data is \[\], which is not a table"),
        (lambda s: s["data"].update(samples="240"), "samples is '240', which is not an integer"),
        (lambda s: s["samples"].pop("test"), "'test' is missing"),
        (lambda s: s["kept"].update(epoch=99), "it keeps epoch 99 of 3"),
        (lambda s: s["kept"].update(epoch=10**400), "it keeps epoch 1000"),
        (lambda s: s["kept"].update(epoch=float("inf")), "the kept epoch is inf, which is not an integer"),
        (lambda s: s["kept"]["test"].update(accuracy=None), "accuracy is None, which is not a finite number"),
        (lambda s: s["kept"].update(test=3), "test is 3, which is not a table"),
        (lambda s: s.update(seconds=10**400), "seconds is 1000.* which is not a finite number"),
        (lambda s: s.update(machine={"cores": {}}), "'cores' is {}, which is not"),
    ],
)
def test_a_summary_that_no_run_writes_is_named(run_with_samples, tmp_path, change, message):
    path = written(run_with_samples, tmp_path) / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))
    with pytest.raises(StoreError, match=rf"summary\.json: is not what a run writes: .*{message}"):
        read_run(tmp_path)


def test_a_run_is_four_files_that_say_the_same(run):
    files = run_files(run, DataConfig("made.npz", "0" * 64))
    assert sorted(files) == ["config.toml", "history.csv", "model.safetensors", "summary.json"]
    summary = json.loads(files["summary.json"])
    assert summary["samples"] == {"train": 150, "valid": 50, "test": 40}
    assert summary["final"]["test"]["accuracy"] == run.history[-1].test.accuracy
    assert summary["network"] == "30-5-4"
    assert summary["parameters"] == 5 * 31 + 4 * 6
    best = min(run.history, key=lambda record: record.valid.loss)
    assert summary["smallest_valid_loss"]["epoch"] == best.epoch
    assert summary["machine"]["cores"] >= 1
    config = tomllib.loads(files["config.toml"].decode())
    assert config["network"]["hidden"] == [5]
    assert config["data"] == {"source": "made.npz", "sha256": "0" * 64}


def test_a_finished_run_is_not_written_over_unless_asked(tmp_path):
    refuse_finished(tmp_path, overwrite=False)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(
        OutputError,
        match=r"already holds a finished summary\.json\. Choose another out, or give overwrite=True",
    ):
        refuse_finished(tmp_path, overwrite=False)
    refuse_finished(tmp_path, overwrite=True)
