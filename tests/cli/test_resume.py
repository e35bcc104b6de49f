"""`chalknet train` interrupted in many ways and resumed: the result is that of an uninterrupted run."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from shlex import split

import numpy as np
import pytest
from conftest import save_images

from chalknet.artifacts import atomic
from chalknet.artifacts.checkpoint import read_checkpoint
from chalknet.cli.main import main

LINE = split("train --recipe writeup --data letters.npz --hidden 9x5 --learning-rate 1e-3 --train 160 --valid 40")
SETTINGS = ["--batch-size", "32", "--momentum", "0.9"]
COMMAND = [sys.executable, "-m", "chalknet"]


@pytest.fixture
def letters(letters):
    return Path(letters).resolve().parent


def contents(folder):
    """Return the files of a run that contain no times."""
    history = [line.rsplit(",", 1)[0] for line in (folder / "history.csv").read_text().splitlines()]
    names = ("config.toml", "model.safetensors", "valid_samples.npz")
    return history, [(folder / name).read_bytes() for name in names]


def started(*arguments, cwd):
    return subprocess.Popen([*COMMAND, *arguments], cwd=cwd, stderr=subprocess.PIPE, text=True)


def end(process, number, epoch=1):
    """Send a signal after an epoch, and return what the process prints from then on."""
    told = (re.match(r"epoch +(\d+)/", line) for line in process.stderr)
    assert any(found and int(found[1]) >= epoch for found in told), "it ended before"
    process.send_signal(number)
    return process.stderr.read()


@pytest.mark.slow
def test_repeated_kills_do_not_change_the_result(letters):
    killed_until_it_ends(letters, [*LINE, *SETTINGS, "--epochs", "100"], kills=6)


EVERYTHING = split("""train --data letters.npz --hidden 9x5 --train 160 --valid 40 --batch-size 32 --dropout 0.3
    --input-dropout 0.1 --batch-norm --rotation-degrees 10 --shift-pixels 1 --erase 0.3 --mixup 0.2 --schedule one_cycle
    --optimizer adamw --weight-average 0.99 --clip-norm 1 --label-smoothing 0.1 --no-stop-early""")


@pytest.mark.slow
def test_twenty_kills_do_not_change_a_run_with_random_draws(letters):
    killed_until_it_ends(letters, [*EVERYTHING, "--epochs", "300"], kills=20)


@pytest.mark.slow
def test_kills_do_not_change_early_stopping(letters):
    line = [*EVERYTHING, "--epochs", "60", "--stop-early", "--patience", "60"]
    killed_until_it_ends(letters, line, kills=2)


def killed_until_it_ends(folder, line, kills):
    """Kill trainings at random moments, resume them, and compare the results with an uninterrupted run.

    One that has ended before it was killed often enough, as the eye on its checkpoints may be late, is begun anew.
    """
    assert main([*line, "--out", "whole", "--quiet"]) == 0
    rng = random.Random(0)
    done = 0
    while done < kills:
        done += killed_run(folder, line, kills - done, rng)
        assert contents(folder / "run") == contents(folder / "whole")
        shutil.rmtree(folder / "run")


def killed_run(folder, line, kills, rng):
    """Train to the end with up to so many kills, and return how many there were."""
    run, done = folder / "run", 0
    arguments = [*line, "--out", "run", "--checkpoint-seconds", "0"]
    while done < kills and not is_finished(run):
        with started(*arguments, cwd=folder) as process:
            wait_for_checkpoints(process, run / "checkpoint.safetensors", rng.randint(1, 4))
            process.kill()
            told = process.stderr.read()
        assert process.returncode in (0, -signal.SIGKILL), told
        done += process.returncode != 0
        arguments = ["train", "--resume", "run", "--checkpoint-seconds", "0"]
    if not is_finished(run):
        assert main(["train", "--resume", "run", "--quiet"]) == 0
        assert not [path.name for path in run.iterdir() if path.name.startswith(".")]
    return done


def is_finished(run):
    """Return whether there is nothing to resume; the process may have been killed while it drew curves."""
    return (run / "summary.json").exists() and not (run / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_the_next_start_removes_partly_written_files(letters):
    with started(*LINE, "--epochs", "100000", "--out", "run", "--checkpoint-seconds", "0", cwd=letters) as process:
        wait_for_checkpoints(process, letters / "run" / "checkpoint.safetensors", 1)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    own = {".checkpoint.safetensors.ab12_x9z", ".config.toml.aaaaaaaa", ".curves.png.00000000"}
    others = {".checkpoint.safetensors.kept", ".notes.abcdefgh"}
    for name in own | others:
        (letters / "run" / name).write_bytes(b"half")
    with started("train", "--resume", "run", cwd=letters) as process:
        end(process, signal.SIGINT)
    assert {path.name for path in (letters / "run").iterdir()} == others | {"checkpoint.safetensors", "config.toml"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_epoch_and_prints_how_to_resume(letters, capsys, number):
    with started(*LINE, *SETTINGS, "--epochs", "100000", "--out", "run", cwd=letters) as process:
        error = end(process, number)
    assert process.returncode == 128 + number
    last = error.splitlines()[-1]
    assert "stopping after a checkpoint; press Ctrl-C again to stop at once" in error
    assert re.fullmatch(
        r"chalknet: stopped (after|in) epoch \d+ of 100000(, after \d of 5 updates)?\. "
        "Resume with: chalknet train --resume run",
        last,
    )
    assert sorted(path.name for path in (letters / "run").iterdir()) == ["checkpoint.safetensors", "config.toml"]

    assert main([*LINE, *SETTINGS, "--epochs", "5", "--out", "run"]) == 1
    assert (
        "run: holds an unfinished run. Resume it with: chalknet train --resume run."
        " To start again, give --overwrite." in capsys.readouterr().err
    )
    for command in (["evaluate", "run"], ["report", "run"], ["stopping", "run"], ["export", "run", "--html", "a.html"]):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert said.rstrip().endswith("Its run is unfinished. Resume it with: chalknet train --resume run."), said
    assert main([*LINE, *SETTINGS, "--epochs", "5", "--out", "run", "--overwrite", "--quiet"]) == 0
    assert not (letters / "run" / "checkpoint.safetensors").exists()


LONG = split("train --recipe writeup --data many.npz --hidden 40 --train 60000 --valid 100 --epochs 2 --momentum 0.9")
LONG += ["--batch-size", "1", "--dropout", "0.2", "--learning-rate", "1e-3"]


@pytest.mark.slow
def test_a_training_killed_more_often_than_an_epoch_takes_proceeds(letters, capsys):
    save_images("many.npz", n_samples=60200)
    assert main([*LONG, "--out", "whole", "--quiet"]) == 0
    arguments, made, path = [*LONG, "--out", "run"], [0], letters / "run" / "checkpoint.safetensors"
    for _ in range(3):
        with started(*arguments, cwd=letters) as process:
            wait_for_checkpoints(process, path, 1)
            process.kill()
        kept = read_checkpoint(path)
        assert kept.history == ()
        made.append(kept.unfinished.scores.n_updates)
        arguments = ["train", "--resume", "run"]
    assert made == sorted(set(made))
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 0
    assert f"resuming in epoch 1 of 2, after {made[-1]:,} of 60,000 samples" in capsys.readouterr().err
    assert contents(letters / "run") == contents(letters / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_long_epoch_writes_a_checkpoint(letters, number):
    save_images("many.npz", n_samples=60200)
    with started(*LONG, "--out", "run", "--checkpoint-seconds", "0", cwd=letters) as process:
        wait_for_checkpoints(process, letters / "run" / "checkpoint.safetensors", 1)
        process.send_signal(number)
        error = process.stderr.read()
    assert process.returncode == 128 + number
    found = re.search(r"chalknet: stopped in epoch 1 of 2, after (\d+) of 60000 updates\. Resume with: ", error)
    kept = read_checkpoint(letters / "run" / "checkpoint.safetensors")
    assert (len(kept.history), kept.unfinished.scores.n_updates) == (0, int(found[1]))


@pytest.mark.slow
def test_a_process_started_with_nohup_outlives_its_terminal(letters):
    line = [*LINE, *SETTINGS, "--epochs", "3000", "--out", "run"]
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, *line]  # as nohup does
    with subprocess.Popen(command, cwd=letters, stderr=subprocess.PIPE, text=True) as process:
        assert "stopping" not in end(process, signal.SIGHUP)
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_training_makes_progress_under_constant_kills(letters, seed):
    line = [
        *split("train --recipe strong --train 2000 --valid 500 --hidden 128 --epochs 60 --no-stop-early"),
        "--quiet",
    ]
    begun, rng, kills = time.monotonic(), random.Random(seed), 0
    subprocess.run([*COMMAND, *line, "--out", "whole"], cwd=letters, check=True)
    seconds = time.monotonic() - begun
    arguments = [*line, "--out", "run"]
    while kills <= 12:
        with started(*arguments, cwd=letters) as process:
            try:
                assert process.wait(rng.uniform(0.1, 0.5) * seconds) == 0
                break
            except subprocess.TimeoutExpired:
                process.kill()
        kills += 1
        if (letters / "run" / "curves.svg").exists():  # killed after its last file
            break
        arguments = split("train --resume run --quiet") if (letters / "run" / "config.toml").exists() else arguments
    assert kills <= 12
    assert contents(letters / "run") == contents(letters / "whole")


@pytest.mark.slow
def test_a_kill_before_the_first_checkpoint_starts_again(letters):
    line = [*LINE, *SETTINGS, "--epochs", "100"]
    assert main([*line, "--out", "whole", "--quiet"]) == 0
    with started(*line, "--out", "run", "--checkpoint-seconds", "1e9", cwd=letters) as process:
        end(process, signal.SIGKILL)
    assert [path.name for path in (letters / "run").iterdir()] == ["config.toml"]
    assert main(["train", "--resume", "run", "--quiet"]) == 0
    assert contents(letters / "run") == contents(letters / "whole")


@pytest.mark.slow
def test_an_ensemble_killed_early_starts_again_as_an_ensemble(letters):
    line = [*LINE, *SETTINGS, "--epochs", "3", "--ensemble", "2"]
    assert main([*line, "--out", "whole", "--quiet"]) == 0
    (letters / "run").mkdir()
    (letters / "run" / "config.toml").write_bytes((letters / "whole" / "config.toml").read_bytes())
    assert main(["train", "--resume", "run", "--quiet"]) == 0
    model = "model.safetensors"
    assert (letters / "run" / model).read_bytes() == (letters / "whole" / model).read_bytes()


@pytest.mark.slow
def test_a_stop_during_overwrite_can_be_resumed(letters):
    assert main([*LINE, "--epochs", "2", "--out", "run", "--quiet"]) == 0
    line = [*LINE, *SETTINGS, "--epochs", "100000", "--out", "run", "--overwrite"]
    with started(*line, cwd=letters) as process:
        end(process, signal.SIGINT)
    with started("train", "--resume", "run", cwd=letters) as process:
        end(process, signal.SIGKILL)


@pytest.mark.slow
def test_resume_prints_the_epoch_where_it_continues(letters, capsys):
    rarely = ["--checkpoint-epochs", "1000", "--checkpoint-seconds", "1e9"]
    with started(*LINE, "--epochs", "3000", "--out", "run", *rarely, cwd=letters) as process:
        end(process, signal.SIGKILL, epoch=1050)
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 0
    printed = capsys.readouterr()
    assert "resuming after epoch 1000 of 3000" in printed.err
    assert "After 3,000 epochs" in printed.out
    assert "written to run" in printed.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--resume", "nowhere"], 1, "nowhere: holds no checkpoint.safetensors to resume from. Start a training"),
        (
            ["--resume", "run", "--epochs", "9"],
            2,
            "continues the run with its own settings. Leave out --epochs",
        ),
        (["--resume", "run", "--out", "x", "--recipe", "y"], 2, "Leave out --recipe, --out."),
        (["--resume", "run", "--bias-momentum"], 2, "Leave out --bias-momentum."),
        (["--resume", "run", "--train", "9", "--no-stop-early"], 2, "Leave out --train, --stop-early."),
        (
            ["--checkpoint-seconds", "-1"],
            2,
            "--checkpoint-seconds must be a number >= 0, got -1.0",
        ),
        (["--checkpoint-epochs", "0"], 2, "--checkpoint-epochs must be an integer >= 1, got 0"),
    ],
)
@pytest.mark.usefixtures("letters")
def test_invalid_options_are_a_one_line_error(capsys, arguments, code, message):
    assert main(["train", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("chalknet: ")
    assert error.count("\n") == 1


def test_changed_data_is_refused(letters, capsys):
    with started(*LINE, "--epochs", "100000", "--out", "run", "--checkpoint-seconds", "0", cwd=letters) as process:
        end(process, signal.SIGINT)
    save_images("letters.npz", seed=1)
    assert main(["train", "--resume", "run"]) == 1
    assert "is not the data that the configuration was written for: sha256" in capsys.readouterr().err


def wait_for_checkpoints(process, path, n):
    """Wait until a file has been replaced n times or the process has ended."""

    def identity():
        found = path.stat()
        return found.st_ino, found.st_mtime_ns  # a number that was freed is given again

    seen = identity() if path.exists() else None
    while n and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            found = identity()
            n, seen = (n - 1, found) if found != seen else (n, seen)


class FullDisk:
    """A file layer in which the n-th write and every later one fails because the disk is full."""

    def __init__(self, monkeypatch, n, error):
        self.n, self.writes, self._real, self._error = n, 0, atomic._write_temporary, error
        monkeypatch.setattr(atomic, "_write_temporary", self)

    def __call__(self, folder, name, data):
        self.writes += 1
        if self.writes >= self.n:
            raise self._error
        return self._real(folder, name, data)


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_a_failed_write_keeps_the_last_good_state(letters, capsys, monkeypatch, error):
    line = [*LINE, *SETTINGS, "--epochs", "4", "--quiet"]
    assert main([*line, "--out", "whole"]) == 0
    with monkeypatch.context() as patch:
        disk = FullDisk(patch, 10**6, error)
        assert main([*line, "--out", "counted", "--checkpoint-seconds", "0"]) == 0
    assert disk.writes > 8
    for n in range(1, disk.writes + 1):
        run = f"run{n}"
        with monkeypatch.context() as patch:
            FullDisk(patch, n, error)
            assert main([*line, "--out", run, "--checkpoint-seconds", "0"]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert error.strerror in said
        can_go_on = (letters / run / "checkpoint.safetensors").exists()
        assert (f"is solved, resume with: chalknet train --resume {run}" in said) == can_go_on
        if (letters / run / "summary.json").exists():
            assert not (letters / run / "checkpoint.safetensors").exists()  # only pictures were lost
        elif can_go_on:
            assert main(["train", "--resume", run, "--quiet"]) == 0
        else:  # nothing had been kept yet
            assert main([*line, "--out", run]) == 0
        assert contents(letters / run) == contents(letters / "whole")


@pytest.fixture
def mounting():
    """Return the command prefix that lets a process mount file systems of its own."""
    for prefix in (["unshare", "-rm"], ["unshare", "-m"]):
        if not shutil.which(prefix[0]):
            break
        tried = subprocess.run([*prefix, "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"], capture_output=True)
        if tried.returncode == 0:
            return prefix
    pytest.skip("neither a namespace of its own nor root's right to mount a file system is to be had here")


FILLED = """
mkdir disk
mount -t tmpfs -o size=64k tmpfs disk
"$@" --out disk/run 2> said
echo $? > code
cp -R disk/run left
mount -o remount,size=8m disk
python=$1
"$python" -m chalknet train --resume disk/run --quiet
echo $? > resumed
cp -R disk/run ended
"""


@pytest.mark.slow
def test_training_resumes_after_a_full_disk(letters, mounting):
    # Every epoch makes the checkpoint longer, until the next one does not fit beside it on 64 KiB.
    line = [*LINE, *SETTINGS, "--epochs", "150", "--quiet"]
    assert main([*line, "--out", "whole"]) == 0
    train = [*COMMAND, *line, "--checkpoint-seconds", "0"]
    subprocess.run([*mounting, "sh", "-c", FILLED, "sh", *train], cwd=letters, check=True)
    assert (letters / "code").read_text() == "1\n"
    said = (letters / "said").read_text()
    assert re.fullmatch(
        r"chalknet: disk/run/[a-z.]+: .*No space left on device\. .* --resume disk/run\.?\n",
        said,
    )
    assert sorted(path.name for path in (letters / "left").iterdir()) == ["checkpoint.safetensors", "config.toml"]
    left = read_checkpoint(letters / "left" / "checkpoint.safetensors")
    assert 5 < len(left.history) < 150
    assert all(np.isfinite(value).all() for value in left.parameters.values())
    assert (letters / "resumed").read_text() == "0\n"
    assert contents(letters / "ended") == contents(letters / "whole")


LOGGED = """
mkdir disk
mount -t tmpfs -o size=8k tmpfs disk
"$@" 2> said
echo $? > code
cp disk/log.csv left.csv
"""


@pytest.mark.slow
def test_a_log_that_fills_its_disk_does_not_stop_training(letters, mounting):
    line = [*COMMAND, *LINE, *SETTINGS, "--epochs", "90", "--quiet", "--out", "run", "--log", "csv:disk/log.csv"]
    subprocess.run([*mounting, "sh", "-c", LOGGED, "sh", *line], cwd=letters, check=True)
    assert (letters / "code").read_text() == "1\n"
    said = (letters / "said").read_text()
    told = re.fullmatch(r"chalknet: disk/log\.csv: .*No space left on device\. .* ends before epoch (\d+)\.\n", said)
    logged, history = (letters / "left.csv").read_text(), (letters / "run" / "history.csv").read_text()
    assert len(logged.splitlines()) == int(told[1])  # with the head
    assert history.startswith(logged)
    assert len(history.splitlines()) == 91
