import pytest

from chalknet.cli.progress import EpochProgress, clock
from chalknet.records import EpochRecord, Scores


def record(epoch):
    return EpochRecord(epoch, Scores(0.5, 0.9, 3.0), Scores(0.6, 0.8, 4.0), None, 0.5)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (3605, "1:00:05"), (59.6, "1:00")])
def test_seconds_are_told_as_a_clock(seconds, text):
    assert clock(seconds) == text


def test_a_log_gets_about_twenty_lines_with_speed_and_time_left(capsys):
    with EpochProgress(200, 15_000, quiet=False) as show:
        for epoch in range(1, 201):
            show(record(epoch))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("epoch   1/200  loss 0.5000  train 90.0 %  valid 80.0 %  30,000 samples/s  ")
    assert lines[-1].endswith("0:00 left")


def test_quiet_shows_nothing(capsys):
    with EpochProgress(2, 10, quiet=True) as show:
        show(record(1))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with EpochProgress(2, 10, quiet=False) as show:
        show(record(1))
        show(record(2))
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "loss 0.5000" in shown
