import os

import pytest

import chalknet
from chalknet.artifacts.csv_writer import CsvWriter
from chalknet.artifacts.history_file import history_csv
from chalknet.errors import OutputError
from chalknet.records import EpochRecord, Scores

SETTINGS = {"recipe": "writeup", "hidden": [4], "epochs": 4, "train_size": 160, "valid_size": 40}


def record(epoch):
    return EpochRecord(epoch, Scores(1.5 / epoch, 0.5, 20.0), None, Scores(0.25, 0.75, 1 / 3), 0.125)


def test_rows_are_there_as_soon_as_epochs_are(tmp_path):
    write = CsvWriter(tmp_path / "log.csv")
    for epoch in (1, 2, 3):
        write(record(epoch))
        assert (tmp_path / "log.csv").read_text() == history_csv([record(e) for e in range(1, epoch + 1)])


def test_a_training_that_is_logged_leaves_its_own_history(tmp_path, small_images):
    seen = []
    run = chalknet.train(small_images, callbacks=[CsvWriter(tmp_path / "log.csv"), seen.append], **SETTINGS)
    assert (tmp_path / "log.csv").read_text() == history_csv(run.history)
    assert seen == list(run.history)


def test_a_truncated_log_continues_without_gaps(tmp_path):
    path, whole = tmp_path / "log.csv", history_csv([record(1), record(2)])
    for length in range(len(whole) + 1):
        path.write_text(whole[:length])
        write = CsvWriter(path)
        write(record(1))
        write(record(2))
        assert path.read_text() == whole


def test_another_table_is_left_alone(tmp_path):
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(OutputError, match=r"mine\.csv: holds a table that is not a history"):
        CsvWriter(tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "a,b\n1,2\n"


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere/log.csv: cannot be written: No such file"):
        CsvWriter(tmp_path / "nowhere" / "log.csv")


def test_a_logged_epoch_must_be_equal_except_for_its_time(tmp_path):
    CsvWriter(tmp_path / "log.csv")(record(1))
    again = CsvWriter(tmp_path / "log.csv")
    again(EpochRecord(1, record(1).train, None, record(1).test, 9.0))
    assert (tmp_path / "log.csv").read_text() == history_csv([record(1)])
    with pytest.raises(OutputError, match=r"log\.csv: holds another training: its row of epoch 1 differs"):
        again(EpochRecord(1, Scores(9.0, 0.5, 20.0), None, None, 0.125))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_as_log_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "log.csv")
    with pytest.raises(OutputError, match=r"log\.csv: cannot be written: it is a pipe, a socket or a device and not"):
        CsvWriter(tmp_path / "log.csv")
