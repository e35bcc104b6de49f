"""`--engine torch` on the command line, with PyTorch and without."""

from __future__ import annotations

import json
import sys
import tomllib

import pytest
from conftest import needs

from chalknet.cli.main import main
from chalknet.version import install_command

QUICK = ["--recipe", "writeup", "--train", "160", "--valid", "40", "--hidden", "6", "--epochs", "3"]
QUICK += ["--learning-rate", "1e-3", "--engine", "torch"]


@pytest.mark.parametrize("command", [["train", "--out", "run"], ["study", "--out", "runs", "--vary", "dropout=0,0.1"]])
def test_without_pytorch_the_install_command_is_printed(command, letters, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("chalknet.engines.torch_")]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([*command, "--data", letters, *QUICK, "--quiet"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("chalknet: engine torch needs PyTorch (")
    assert line.endswith(f"): {install_command('torch')}.")


@pytest.mark.extras
def test_a_bfloat16_run_is_repeated_from_its_configuration(letters, tmp_path):
    needs("torch")
    assert main(["train", "--data", letters, *QUICK, "--precision", "bfloat16", "--device", "cpu", "--out", "run"]) == 0
    training = tomllib.loads((tmp_path / "run" / "config.toml").read_text())["training"]
    assert (training["engine"], training["device"], training["precision"]) == ("torch", "cpu", "bfloat16")
    assert main(["train", "--config", "run/config.toml", "--out", "again", "--quiet"]) == 0
    first, again = (json.loads((tmp_path / name / "summary.json").read_text())["final"] for name in ("run", "again"))
    assert first == again
    assert main(["predict", "run", letters]) == 0


@pytest.mark.extras
def test_a_study_records_the_engine_of_each_run(letters, tmp_path):
    needs("torch")
    from chalknet.studies.results_reader import read_results

    flags = [*QUICK, "--vary", "precision=float32,bfloat16", "--seeds", "1", "--jobs", "1", "--device", "cpu"]
    assert main(["study", "--data", letters, *flags, "--out", "runs", "--quiet"]) == 0
    results = read_results(tmp_path / "runs")
    said = [results.run(config, 0).trained for config in results.complete_configurations]
    assert said == [
        "torch engine, float32, on cpu, 1 worker process",
        "torch engine, float32 with bfloat16 products, on cpu, 1 worker process",
    ]


def test_gradcheck_always_uses_the_reference_engine(letters):
    flags = ["--recipe", "writeup", "--set", "training.engine=torch", "--set", "training.precision=bfloat16"]
    assert main(["gradcheck", "--data", letters, "--hidden", "4", *flags]) == 0
