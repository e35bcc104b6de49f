import csv
import io
import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from chalknet.artifacts.history_file import COLUMNS, history_csv
from chalknet.artifacts.run_folder import read_run, refuse_finished, run_files
from chalknet.config import DataConfig, Recipe
from chalknet.data.splits import split_dataset
from chalknet.errors import OutputError, StoreError
from chalknet.records import EpochRecord, Scores
from chalknet.training.trainer import Trainer, run_epochs


@pytest.fixture(scope="module")
def run_with_samples(small_images):
    recipe = Recipe().with_settings(hidden=[5], epochs=3, train_size=150, valid_size=50)
    splits = split_dataset(small_images, "writeup", 150, 50)
    return run_epochs(Trainer(small_images, splits, recipe, keep_samples=True))


@pytest.fixture(scope="module")
def run(run_with_samples):
    return replace(run_with_samples, valid_samples=())


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


def test_an_absent_set_has_empty_cells():
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
    assert back.valid_right.mean(axis=1).tolist() == [record.valid.accuracy for record in back.history]
    losses = [record.valid.loss for record in back.history]
    assert back.valid_losses.mean(axis=1, dtype=float).tolist() == pytest.approx(losses, rel=2**-11)


def test_losses_beyond_float16_read_back_and_so_do_files_of_before(run_with_samples, tmp_path):
    large = [replace(each, loss=each.loss * 1e6) for each in run_with_samples.valid_samples]
    back = read_run(written(replace(run_with_samples, valid_samples=tuple(large)), tmp_path))
    assert back.valid_losses.dtype == np.float32
    np.testing.assert_array_equal(back.valid_losses, np.stack([each.loss for each in large]))
    cut = np.full(back.valid_losses.shape, 65_504, np.float16)
    np.savez_compressed(tmp_path / "valid_samples.npz", losses=cut, right=back.valid_right)
    np.testing.assert_array_equal(read_run(tmp_path).valid_losses, cut)


def test_a_run_without_the_scores_of_samples_reads_back_too(run, tmp_path):
    back = read_run(written(run, tmp_path))
    assert (back.history, back.valid_losses, back.valid_right) == (run.history, None, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", None, r"holds no finished run, which would have a summary\.json"),
        ("history.csv", None, r"history\.csv: cannot be read: .*No such file"),
        ("history.csv", b"epoch\n1\n", r"history\.csv: row 1 is not one of a chalknet history"),
        ("history.csv", b"", r"history\.csv: holds no epochs"),
        ("valid_samples.npz", b"PK", r"valid_samples\.npz: is not what a run writes"),
    ],
)
def test_a_folder_that_is_no_run_is_told(run_with_samples, tmp_path, name, content, message):
    written(run_with_samples, tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=message):
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
        OutputError, match=r"already holds a finished summary\.json\. Choose another --out, or add --overwrite"
    ):
        refuse_finished(tmp_path, overwrite=False)
    refuse_finished(tmp_path, overwrite=True)
