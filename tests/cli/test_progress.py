"""The progress of a training on the command line."""

import re
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from chalknet.cli import progress
from chalknet.cli.progress import EpochProgress
from chalknet.config import Recipe
from chalknet.data.splits import Splits
from chalknet.records import EpochRecord, Scores
from chalknet.training.callbacks import RunContext, running_callbacks
from chalknet.training.progress import format_clock, progress_text, short_number


def shown(n_epochs, n_train, *, quiet):
    """Return a context manager in which progress is shown, as during a training."""
    splits = Splits(np.arange(n_train), np.arange(0), np.arange(0))
    context = RunContext(SimpleNamespace(notes=()), splits, Recipe().with_settings(epochs=n_epochs))
    return running_callbacks([EpochProgress(quiet=quiet)], context)


def record(epoch):
    return EpochRecord(epoch, Scores(0.5, 0.9, 3.0), Scores(0.6, 0.8, 4.0), None, 0.5)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (3605, "1:00:05"), (59.6, "1:00")])
def test_seconds_are_shown_as_a_clock(seconds, text):
    assert format_clock(seconds) == text


def test_a_log_gets_about_twenty_lines(capsys):
    with shown(200, 15_000, quiet=False) as show:
        for epoch in range(1, 201):
            show(record(epoch))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("epoch   1/200  loss 0.5000  train 90.0 %  valid 80.0 %  30,000 samples/s  ")
    assert lines[-1].endswith("0:00 left")


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (120, "loss 0.5000  train 90.0 %  valid 80.0 %  30,000 samples/s  1:05 left"),
        (60, "loss 0.5000  acc 90.0/80.0 %  30k/s  1:05 left"),
        (42, "loss 0.5000  acc 90.0/80.0 %  1:05 left"),
        (20, "1:05 left"),
    ],
)
def test_a_narrow_terminal_gets_fewer_numbers(room, text):
    assert progress_text(record(3), 15_000, 65.0, room) == text


@pytest.mark.parametrize(("number", "text"), [(12, "12"), (1500, "1.5k"), (30_000, "30k"), (1_234_567, "1.2M")])
def test_large_numbers_are_shortened(number, text):
    assert short_number(number) == text


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_the_bar_shows_epoch_and_time_left_at_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    full = EpochRecord(200, Scores(0.5, 0.9, 3.0), Scores(0.6, 0.8, 4.0), Scores(0.6, 0.8, 4.0), 0.5)
    with shown(200, 15_000, quiet=False) as show:
        show(full)
    plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", capsys.readouterr().err)
    line = next(line for line in reversed(plain.splitlines()) if line.strip())
    assert "epoch 200/200" in line
    assert "0:00 left" in line
    assert len(line) <= columns


def test_quiet_shows_nothing(capsys):
    with shown(2, 10, quiet=True) as show:
        show(record(1))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with shown(2, 10, quiet=False) as show:
        show(record(1))
        show(record(2))
    bar = capsys.readouterr().err
    assert "2/2" in bar
    assert "loss 0.5000" in bar


def test_training_continues_if_the_terminal_closes(monkeypatch):
    def gone(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=gone, flush=gone, isatty=lambda: False))
    with shown(4, 100, quiet=False) as show:
        for epoch in range(1, 5):
            show(record(epoch))


def test_a_long_epoch_shows_its_samples(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    with shown(3, 800_000, quiet=False) as show:
        show(record(1))
        show.on_update(200_000)
    assert "2/3" in (text := capsys.readouterr().err)
    assert "200,000 of 800,000 samples" in text


def test_slow_reading_is_told_on_a_terminal(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "SLOW_SECONDS", 0.0)
    (tmp_path / "t.csv").write_bytes(b"x" * 3_000_000)
    for is_terminal, is_over, text in (
        (True, False, "reading t.csv, 3 MB ...\n"),
        (True, True, ""),
        (False, False, ""),
    ):
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal, raising=False)
        monkeypatch.chdir(tmp_path)
        with progress.slow_reading("t.csv", quiet=False, is_over=lambda is_over=is_over: is_over):
            time.sleep(0.2)
        assert capsys.readouterr().err == text
