"""What commands print: texts from files cannot control a terminal, and streams may be closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import save_images

from chalknet.cli.main import main
from chalknet.cli.output import echo
from chalknet.errors import DataError, MissingExtraError

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"


def test_only_line_ends_and_tabs_are_not_escaped(capsys):
    echo(f"a\tb\n{HOSTILE}é – ±\r")
    assert capsys.readouterr().out == "a\tb\n\\x1b]0;owned\\x07\\x1b[2J\\u202e\\u009b31mé – ±\\r\n"


@pytest.mark.parametrize("error", [DataError, MissingExtraError])
def test_an_error_is_one_printable_line(error):
    assert str(error(f"a\n{HOSTILE}")) == "a\\n\\x1b]0;owned\\x07\\x1b[2J\\u202e\\u009b31m"


@pytest.mark.parametrize(
    "line",
    [
        [
            "train",
            "--data",
            "NAME",
            "--hidden",
            "3",
            "--epochs",
            "1",
            "--train",
            "100",
            "--valid",
            "20",
            "--out",
            "NAME.d",
        ],
        ["train", "--data", "NAME.absent"],
        ["train", "--config", "NAME.absent"],
        ["train", "--log", "csv:NAME/x"],
        ["data", "info", "NAME"],
        ["data", "audit", "NAME"],
        ["predict", "NAME", "NAME"],
        ["evaluate", "NAME", "NAME"],
        ["export", "NAME", "-o", "NAME"],
        ["report", "NAME"],
        ["stopping", "NAME"],
        ["study", "show", "NAME"],
        ["NAME"],
        ["train", "--NAME"],
    ],
    ids=lambda line: " ".join(line[:2]),
)
def test_a_hostile_name_reaches_no_terminal(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    name = f"a{HOSTILE}\nchalknet: all is well.npz"
    save_images("x.npz")
    Path("x.npz").rename(name)
    main([word.replace("NAME", name) for word in line])
    printed = capsys.readouterr()
    shown = printed.out + printed.err
    assert "owned" in shown
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert "\nchalknet: all is well" not in printed.err


def test_a_progress_bar_escapes_names_of_files(tmp_path, monkeypatch, capsys):
    from chalknet.cli.progress import EpochProgress

    monkeypatch.chdir(tmp_path)
    EpochProgress(quiet=False).print_line(HOSTILE)
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.slow
def test_closed_standard_streams_are_not_an_error(tmp_path, closed):
    save_images(tmp_path / "letters.npz")
    line = "train --data letters.npz --hidden 3 --epochs 1 --train 100 --valid 20 --out run"
    command = f"{sys.executable} -m chalknet {line} {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (tmp_path / "run" / "history.csv").read_text().startswith("epoch,")
    assert len(np.load(tmp_path / "run" / "valid_samples.npz")["losses"]) == 1
