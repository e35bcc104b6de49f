"""The commands `chalknet train` and `chalknet gradcheck`: output, files and exit codes."""

from __future__ import annotations

import csv
import json
import re
import signal
import tomllib
from shlex import split

import numpy as np
import pytest
from conftest import save_images

from chalknet.artifacts.model_file import load_model
from chalknet.cli import main as main_module
from chalknet.cli.main import main
from chalknet.cli.progress import GradientBar
from chalknet.version import __version__

SIZES = ["--recipe", "writeup", "--train", "160", "--valid", "40"]
QUICK = ["--hidden", "6", "--epochs", "4", "--learning-rate", "1e-3", *SIZES]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_train_writes_a_run_folder_and_prints_statistics(letters, tmp_path, capsys):
    assert main(["train", "--data", letters, *QUICK, "--out", "run"]) == 0
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    names = "config.toml curves.png curves.svg history.csv model.safetensors summary.json valid_samples.npz"
    assert files == split(names)
    printed = capsys.readouterr()
    assert "After 4 epochs" in printed.out
    assert printed.out.splitlines()[-3:] == [
        "written to run", "next: chalknet report run", "next: chalknet predict run FILE.png"
    ]  # fmt: skip
    assert "epoch 1/4  loss" in printed.err
    assert "epoch 4/4  loss" in printed.err
    assert "left" in printed.err
    last = rows_of(tmp_path / "run" / "history.csv")[-1]
    accuracy = json.loads((tmp_path / "run" / "summary.json").read_text())["final"]["test"]["accuracy"]
    assert float(last["test_accuracy"]) == accuracy
    assert f"{100 * accuracy:.2f} %" in printed.out


def test_the_saved_model_has_the_accuracy_of_the_last_row(letters, tmp_path):
    main(["train", "--data", letters, *QUICK, "--out", "run", "--quiet"])
    network = load_model(tmp_path / "run" / "model.safetensors")
    data = np.load(tmp_path / letters)
    order = np.arange(240)
    np.random.RandomState(521).shuffle(order)
    test = order[200:]
    accuracy = np.mean(network.predict(data["images"][test]) == data["labels"][test])
    assert accuracy == float(rows_of(tmp_path / "run" / "history.csv")[-1]["test_accuracy"])


def test_config_toml_repeats_a_run_exactly(letters, tmp_path, monkeypatch):
    main(["train", "--data", letters, *QUICK, "--seed", "9", "--batch-size", "48", "--out", "first", "--quiet"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["train", "--config", "../first/config.toml", "--out", "../second", "--quiet"]) == 0
    first, second = (rows_of(tmp_path / name / "history.csv") for name in ("first", "second"))
    assert [{**row, "seconds": ""} for row in first] == [{**row, "seconds": ""} for row in second]
    configs = [tomllib.loads((tmp_path / name / "config.toml").read_text()) for name in ("first", "second")]
    assert configs[0] == configs[1]
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second")]
    assert models[0] == models[1]
    assert (tmp_path / "first" / "curves.svg").read_bytes() == (tmp_path / "second" / "curves.svg").read_bytes()


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_results(letters, tmp_path):
    for workers in ("1", "3"):
        main(
            ["train", "--data", letters, *QUICK, "--tile-rows", "32", "--workers", workers, "--out", workers, "--quiet"]
        )
    one, three = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("1", "3"))
    assert one == three
    assert tomllib.loads((tmp_path / "3" / "config.toml").read_text())["training"]["tile_rows"] == 32


def test_a_flag_overrides_the_config(letters, tmp_path):
    main(["train", "--data", letters, *QUICK, "--out", "first", "--quiet"])
    main(
        ["train", "--config", "first/config.toml", "--epochs", "2", "--no-bias-momentum", "--out", "second", "--quiet"]
    )
    assert len(rows_of(tmp_path / "second" / "history.csv")) == 2


def test_a_config_with_changed_data_is_refused(letters, tmp_path, capsys):
    main(["train", "--data", letters, *QUICK, "--out", "first", "--quiet"])
    save_images(tmp_path / "letters.npz", seed=1)
    capsys.readouterr()
    assert main(["train", "--config", "first/config.toml", "--out", "second"]) == 1
    assert "is not the data that the configuration was written for: sha256" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


def test_quiet_prints_nothing(letters, capsys):
    assert main(["train", "--data", letters, *QUICK, "--out", "run", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_default_folder_is_the_next_free_one(letters, tmp_path):
    for _ in range(2):
        main(["train", "--data", letters, *QUICK, "--quiet"])
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["writeup-6-seed0", "writeup-6-seed0-2"]


def test_a_finished_run_is_replaced_only_with_overwrite(letters, tmp_path, capsys):
    main(["train", "--data", letters, *QUICK, "--out", "run", "--quiet"])
    before = (tmp_path / "run" / "history.csv").read_bytes()
    assert main(["train", "--data", letters, *QUICK, "--seed", "1", "--out", "run", "--quiet"]) == 1
    assert (
        "run: already holds a finished summary.json. Choose another --out, or give --overwrite."
        in capsys.readouterr().err
    )
    assert (tmp_path / "run" / "history.csv").read_bytes() == before
    assert main(["train", "--data", letters, *QUICK, "--seed", "1", "--out", "run", "--quiet", "--overwrite"]) == 0
    assert (tmp_path / "run" / "history.csv").read_bytes() != before


def test_validation_and_test_splits_may_be_empty(letters, tmp_path, capsys):
    line = split("train --recipe writeup --hidden 4 --epochs 1 --train 240 --valid 0 --out run --data")
    assert main([*line, letters]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["validation", "–", "–", "–"] in lines
    assert ["test", "–", "–", "–"] in lines
    assert rows_of(tmp_path / "run" / "history.csv")[0]["valid_loss"] == ""


def test_depth_and_a_stratified_split_by_fractions(letters, tmp_path):
    line = ["train", "--data", letters, "--hidden", "8x5", "--epochs", "1", "--split", "stratified", "--train", "0.7"]
    assert main([*line, "--valid", "0.1", "--dtype", "float32", "--out", "run", "--quiet"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["network"] == "30-8-5-4" or summary["network"].startswith("30-8-5-")
    assert summary["samples"] == {"train": 168, "valid": 24, "test": 48}
    assert load_model(tmp_path / "run" / "model.safetensors").dtype == np.float32


USAGE = [
    (["--workers", "0"], "Invalid value for '--workers': it must be an integer >= 1, got '0'."),
    (["--tile-rows", "0"], "tile_rows must be an integer >= 1, got 0."),
    (["--hidden", "0"], "hidden must be one or more integers from 1 to 1000000, got [0]."),
    (["--hidden", "many"], "hidden must be one or more integers from 1 to 1000000, got ['many']."),
    (["--epochs", "-1"], "epochs must be an integer >= 1, got -1."),
    (["--recipe", "writup"], "unknown recipe 'writup'. Did you mean 'writeup'?"),
    (["--train", "15000", "--valid", "1000"], "letters.npz: 15000 training and 1000 validation samples were asked for"),
    (["--engine", "numpi"], "engine must be one of"),
    (["--dtype", "float16"], "dtype must be one of float32, float64, got 'float16'."),
    (["--learning-rate", "-1"], "learning_rate must be a number > 0, got -1."),
    (["--config", "no.toml"], "no.toml: cannot be read: No such file or directory."),
    (["--config", "no.toml", "--recipe", "writeup"], "Give only one of them"),
    (["--image-size", "28by28"], "--image-size must be HEIGHTxWIDTH such as 28x28, got '28by28'."),
    (["--hidden", "99999999999"], "hidden must be one or more integers from 1 to 1000000, got [99999999999]."),
    (["--split", "custom"], "split 'custom' stands for index arrays"),
    (["--split", "group"], "letters.npz: split 'group' needs a group for each sample"),
    (["--class-names", "A,A,B,C"], "class_names must differ from each other, got 'A' twice."),
    (
        ["--set", "optimizer.learing_rate=1"],
        "unknown setting 'learing_rate' in --set optimizer.learing_rate=1. Did you",
    ),
    (["--set", "optimzer.learning_rate=1"], "unknown section 'optimzer' in --set optimzer.learning_rate=1. Did you"),
    (["--set", ".learning_rate=1"], "unknown section '' in --set .learning_rate=1."),
    (["--test", ""], "Invalid value for '--test': it must be the name of a file or a folder, got ''."),
    (["--config", ""], "Invalid value for '--config': it must be the name of a file or a folder, got ''."),
    (["--valid", ""], "Invalid value for '--valid': it must be the name of a file or a folder, got ''."),
    (["--set", "learning_rate"], "--set must be SETTING=VALUE, such as learning_rate=3e-3, got"),
    (["--set", "dropout=1"], "dropout must be a number from 0 to 0.999, got 1."),
    (["--input-dropout", "0.999999"], "input_dropout must be a number from 0 to 0.999, got 0.999999."),
    (["--zoom", "1e308"], "zoom must be a number from 0 to 100, got 1e+308."),
    (["--workers", "30000"], "--workers must be an integer from 1 to 1024, got 30000."),
    (["--epochs", "9" * 400], "epochs must be an integer >= 1, got 9999"),
    (["--learning-rate", "9" * 400], "learning_rate must be a number > 0, got 9999"),
    (["--set", "batch_norm=maybe"], "batch_norm must be true or false, got 'maybe'."),
    (["--dropout", "0.1", "--set", "dropout=0.2"], "dropout is given twice, as a flag and by --set."),
    (["--activation", "relu,tanh,gelu"], "activation must be one name, or one for each of 2 hidden layers"),
    (["--activation", "sigmoidal"], "activation must be one of relu, leaky_relu, gelu, tanh, identity, sigmoid, silu"),
    (["--data", ""], "'--data': it must be the name of a file or a folder, or glyphs, got ''."),
    (["--split", "randm"], "split must be one of writeup, random, stratified, group, custom, got 'randm'."),
]


@pytest.mark.parametrize("command", ["train", "study", "writeup", "report", "data show", "data convert"])
@pytest.mark.usefixtures("letters")
def test_an_empty_output_name_is_refused(tmp_path, capsys, command):
    before = sorted(tmp_path.rglob("*"))
    assert main([*command.split(), "--out", ""]) == 2
    assert "'--out': it must be the name of a file or a folder, got ''." in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("flags", "message"), USAGE, ids=[" ".join(flags) for flags, _ in USAGE])
def test_invalid_options_are_one_line_and_write_nothing(letters, tmp_path, capsys, flags, message):
    sizes = SIZES[2:]  # without the recipe
    assert main(["train", "--data", letters, *sizes, "--epochs", "1", *flags, "--out", "run"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("chalknet: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["letters.npz"]


@pytest.mark.parametrize(
    ("line", "near"), [(["train", "--hiden", "5"], "--hidden"), (["trian"], "'train'"), (["data", "shwo"], "'show'")]
)
def test_an_unknown_flag_or_command_gets_a_near_match(line, near, capsys):
    assert main(line) == 2
    printed = capsys.readouterr().err
    assert near in printed
    assert printed.count("\n") == 1


@pytest.mark.slow
def test_a_run_on_built_in_data_is_repeated_from_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["train", "--hidden", "3", "--epochs", "1", "--out", "first", "--quiet"])
    assert tomllib.loads((tmp_path / "first" / "config.toml").read_text())["data"]["source"] == "glyphs"
    assert main(["train", "--config", "first/config.toml", "--out", "second", "--quiet"]) == 0
    assert (tmp_path / "first/model.safetensors").read_bytes() == (tmp_path / "second/model.safetensors").read_bytes()


def test_notes_on_the_data_are_printed_and_stored(letters, tmp_path, capsys):
    main(["train", "--data", letters, *QUICK, "--out", "run"])
    note = "labels 0..9 are read as notMNIST's A..J"
    assert f"note: The file names no classes: {note}" in capsys.readouterr().err
    assert note in json.loads((tmp_path / "run" / "summary.json").read_text())["data"]["notes"][0]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("No 584 GiB"), "chalknet: needs more memory than there is. No 584 GiB\n"),
        (OSError(28, "No space left on device"), "chalknet: No space left on device.\n"),
    ],
)
def test_a_lack_of_memory_or_disk_is_a_one_line_error(letters, monkeypatch, capsys, error, message):
    from chalknet.training.trainer import Trainer

    def failing(*_):
        raise error
        yield

    monkeypatch.setattr(main_module.os, "dup2", lambda *_: None)
    monkeypatch.setattr(Trainer, "updates", failing)
    assert main(["train", "--data", letters, *QUICK, "--out", "run", "--quiet"]) == 1
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_training_begins_leaves_no_folder(letters, tmp_path, monkeypatch, number):
    from chalknet.workflows import single_run

    monkeypatch.setattr(single_run, "Trainer", lambda *_, **__: signal.raise_signal(number))
    with pytest.raises(SystemExit) as end:
        main(["train", "--data", letters, *QUICK, "--out", "run"])
    assert end.value.code == 128 + number
    assert not (tmp_path / "run").exists()


def test_a_missing_file_is_a_one_line_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", "notMNIST.npz", "--out", "run"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("chalknet: notMNIST.npz: ")
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_reported_before_training(letters, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert main(["train", "--data", letters, *QUICK, "--out", "taken/run"]) == 1
    printed = capsys.readouterr()
    assert "taken/run: cannot be written" in printed.err
    assert "epoch" not in printed.err
    assert (tmp_path / "taken").read_text() == "a file"


def test_divergence_is_a_one_line_error_and_leaves_no_folder(letters, tmp_path, capsys):
    assert main(["train", "--data", letters, *QUICK, "--learning-rate", "1e300", "--out", "run", "--quiet"]) == 1
    assert "try learning_rate" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [1e39, 1.7e308])
@pytest.mark.parametrize("scaling", ["pixels", "standard"])
@pytest.mark.parametrize("engine", ["numpy", "reference"])
def test_values_beyond_float32_are_a_one_line_error(tmp_path, monkeypatch, capsys, size, scaling, engine):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).uniform(-1, 1, (90, 3)) * [1, size, 1]
    np.savez("rows.npz", X=rows, y=np.arange(90) % 2)
    line = ["train", "--data", "rows.npz", "--epochs", "1", "--input-scaling", scaling, "--engine", engine, "--quiet"]
    code = main(line)  # warnings are errors here
    said = capsys.readouterr().err.splitlines()
    if (size, scaling) == (1e39, "standard"):
        assert (code, said) == (0, [])
    else:
        assert code == 1
        assert len(said) == 1
        assert said[0].startswith("chalknet: loss became nan at epoch 1")


def test_debug_shows_the_traceback_in_any_position(letters, capsys):
    assert main(["train", "--data", letters, "--hidden", "0", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_exits_with_130_and_leaves_no_folder(letters, tmp_path, monkeypatch, capsys):
    from chalknet.training.trainer import Trainer

    def interrupted(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Trainer, "updates", interrupted)
    assert main(["train", "--data", letters, *QUICK, "--out", "run"]) == 130
    assert "stopped" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_gradcheck_passes_and_prints_each_group(letters, capsys):
    assert main(["gradcheck", "--data", letters, "--hidden", "6x5"]) == 0
    out = capsys.readouterr().out
    for group in ("hidden1.weight", "hidden1.bias", "hidden2.weight", "output.weight", "output.bias"):
        assert group in out
    verdict = r"All 6 gradients agree: the largest relative error is \d\.\de-\d\d, and at most 1e-07 is allowed\."
    assert re.fullmatch(verdict, out.splitlines()[-1])


def test_gradcheck_takes_layers_and_dropout(letters, capsys):
    assert main(["gradcheck", "--data", letters, "--layers", "dense:3,tanh,batch_norm"]) == 0
    assert "hidden1.batch_norm.gamma" in capsys.readouterr().out
    assert main(["gradcheck", "--data", letters, "--hidden", "3", "--dropout", "0.5"]) == 0
    assert "All 4 gradients agree" in capsys.readouterr().out


def test_gradcheck_shows_on_a_terminal_how_far_it_is(letters, monkeypatch):
    shown = []
    monkeypatch.setattr(GradientBar, "__call__", lambda _, *counts: shown.append(counts))
    assert main(["gradcheck", "--data", letters, "--hidden", "3"]) == 0
    assert shown == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_gradcheck_prints_json(letters, capsys):
    assert main(["gradcheck", "--data", letters, "--hidden", "6", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert [check["parameter"] for check in checks] == [
        "hidden1.weight",
        "hidden1.bias",
        "output.weight",
        "output.bias",
    ]
    assert all(check["ok"] and check["relative_error"] < 1e-7 for check in checks)


def test_gradcheck_exits_with_1_if_a_derivative_is_wrong(letters, monkeypatch, capsys):
    from chalknet.network.relu import Relu, relu

    wrong = staticmethod(lambda x: (relu(x)[0], lambda grad: 1.001 * relu(x)[1](grad)))
    monkeypatch.setattr(Relu, "function", wrong)
    assert main(["gradcheck", "--data", letters, "--hidden", "6"]) == 1
    printed = capsys.readouterr()
    assert "2 of 4 gradients are wrong: relative error above 1e-07 in hidden1.weight, hidden1.bias" in printed.err
    assert "agree" not in printed.out


def test_gradcheck_refuses_more_samples_than_the_data_have(letters, capsys):
    assert main(["gradcheck", "--data", letters, "--samples", "241"]) == 2
    assert "samples must be an integer from 1 to 240, got 241" in capsys.readouterr().err


def test_a_broken_pipe_is_not_reported(monkeypatch):
    def gone(**_):
        raise BrokenPipeError

    monkeypatch.setattr(main_module.cli, "main", gone)
    monkeypatch.setattr(main_module.os, "dup2", lambda *_: None)
    assert main(["--help"]) == 1


def test_help_and_version_exit_with_0(capsys):
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    assert f"chalknet, version {__version__}" in capsys.readouterr().out


def test_an_unknown_command_exits_with_2(capsys):
    assert main(["trian"]) == 2
    assert "no such command 'trian'" in capsys.readouterr().err


def test_the_default_recipe_is_adapted_to_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    rows = [f"{a},{b},{'yn'[k]}" for (a, b), k in zip(rng.normal(labels[:, None], 1, (60, 2)), labels, strict=True)]
    (tmp_path / "rows.csv").write_text("a,b,label\n" + "\n".join(rows) + "\n")
    assert main(["train", "--data", "rows.csv", "--hidden", "4", "--epochs", "2", "--out", "run"]) == 0
    assert "samples are table rows and hidden is given, so recipe strong-rows is used" in capsys.readouterr().err
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (config["recipe"], config["network"]["hidden"]) == ("strong-rows", [4])
    assert load_model(tmp_path / "run" / "model.safetensors").scaling.shift.shape == (2,)


def test_set_changes_any_field_and_is_stored_in_the_config(letters, tmp_path):
    line = ["train", "--data", letters, *QUICK, "--set", "network.activation=gelu", "--set", "dropout=0.2"]
    line += ["--set", "optimizer.optimizer=adamw", "--set", "augmentation.rotation_degrees=5", "--batch-norm"]
    assert main([*line, "--out", "first", "--quiet"]) == 0
    assert main(["train", "--config", "first/config.toml", "--out", "second", "--quiet"]) == 0
    first, second = ((tmp_path / run / "model.safetensors").read_bytes() for run in ("first", "second"))
    assert first == second
    assert load_model(tmp_path / "first" / "model.safetensors").architecture.activations == ("gelu",)


def test_validation_and_test_files_are_stored_in_the_config(letters, tmp_path, capsys):
    save_images("valid.npz", 30, 1)
    save_images("test.npz", 50, 2)
    line = ["train", "--data", letters, "--valid", "valid.npz", "--test", "test.npz", "--hidden", "5", "--epochs", "2"]
    assert main([*line, "--out", "first", "--quiet"]) == 0
    summary = json.loads((tmp_path / "first" / "summary.json").read_text())
    assert summary["samples"] == {"train": 240, "valid": 30, "test": 50}
    assert main(["train", "--config", "first/config.toml", "--out", "second", "--quiet"]) == 0
    first, second = ((tmp_path / run / "model.safetensors").read_bytes() for run in ("first", "second"))
    assert first == second
    save_images("test.npz", 50, 3)
    assert main(["train", "--config", "first/config.toml", "--out", "third", "--quiet"]) == 1
    printed = capsys.readouterr().err
    assert "test.npz: is not the data that the configuration was written for" in printed
    assert "Name the right file with --test" in printed


def test_a_missing_validation_file_is_a_one_line_error(letters, capsys):
    assert main(["train", "--data", letters, "--valid", "nothing.npz", "--out", "run"]) == 1
    assert capsys.readouterr().err.startswith("chalknet: nothing.npz: ")
