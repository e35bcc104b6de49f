"""The command `chalknet export` and the function `chalknet.export_model`."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import needs

import chalknet
from chalknet.cli.main import main
from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.version import install_command


def made_network():
    architecture = Architecture(12, (5,), 3)
    return Network(architecture, initial_parameters(architecture, 0), ("x", "y", "z"), Scaling(255.0), (3, 4))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    chalknet.save_model(made_network(), path)
    return path


def said(capsys, code, arguments):
    """Run a command, check its exit code, and return what it prints to standard error."""
    assert main(arguments) == code
    return capsys.readouterr().err


@pytest.mark.extras
def test_onnx_is_written_and_its_inputs_are_printed(model, tmp_path, capsys):
    onnx = needs("onnx")
    path = tmp_path / "model.onnx"
    assert main(["export", str(model), "-o", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"written to {path}: network 12-5-3, {path.stat().st_size:,} bytes\n" in out
    assert "samples (N, 3, 4) -> probabilities (N, 3), label (N,)" in out
    onnx.checker.check_model(onnx.load(path))


def test_python_is_written_from_a_run_folder(model, tmp_path, capsys):
    path = tmp_path / "predictor.py"
    assert main(["export", str(model.parent), "--numpy-only", "-o", str(path)]) == 0
    assert f"python {path} samples.npy prints the class of each sample" in capsys.readouterr().out
    found = {"__name__": "predictor"}
    exec(path.read_text(encoding="utf-8"), found)
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_allclose(found["predict_proba"](images), made_network().predict_proba(images), atol=1e-6)


def test_quiet_says_nothing(model, tmp_path, capsys):
    assert main(["export", str(model), "--numpy-only", "--quiet", "-o", str(tmp_path / "p.py")]) == 0
    assert capsys.readouterr().out == ""


def test_an_existing_file_is_replaced_only_with_overwrite(model, tmp_path, capsys):
    path = tmp_path / "predictor.py"
    path.write_text("mine")
    line = ["export", str(model), "--numpy-only", "-o", str(path)]
    assert "already exists. Choose another name, or give --overwrite." in said(capsys, 1, line)
    assert path.read_text() == "mine"
    assert main([*line, "--overwrite"]) == 0
    assert "predict_proba" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("output", "flags", "code", "message"),
    [
        (
            "predictor.py",
            [],
            2,
            "a file of kind onnx ends in .onnx. For a Python file give --numpy-only.",
        ),
        ("model.onnx", ["--numpy-only"], 2, "a file of kind numpy ends in .py."),
        ("model", [], 2, "ends in .onnx"),
        ("no/where/p.py", ["--numpy-only"], 1, "cannot be written: No such file or directory"),
    ],
)
def test_invalid_outputs_are_refused(model, tmp_path, capsys, output, flags, code, message):
    assert message in said(capsys, code, ["export", str(model), "-o", str(tmp_path / output), *flags])
    assert sorted(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize(("name", "message"), [("nowhere", "no such model file"), ("", "holds no model.safetensors")])
def test_what_is_not_a_model_is_an_error(tmp_path, capsys, name, message):
    (tmp_path / "folder").mkdir()
    given = str(tmp_path / "folder" / name)
    assert message in said(capsys, 1, ["export", given, "--numpy-only", "-o", str(tmp_path / "p.py")])


def test_a_missing_extra_is_named_before_the_model_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    told = said(capsys, 2, ["export", str(tmp_path / "nowhere"), "-o", str(tmp_path / "m.onnx")])
    assert install_command("onnx") in told
    assert told.count("\n") == 1


def test_a_failure_while_writing_leaves_nothing(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chalknet.artifacts.atomic.os.fsync", full)
    with pytest.raises(chalknet.OutputError, match="No space left on device"):
        chalknet.export_model(made_network(), tmp_path / "p.py", "numpy")
    assert sorted(tmp_path.iterdir()) == [model]


def test_export_model_takes_a_network(tmp_path):
    done = chalknet.export_model(made_network(), tmp_path / "p.py", kind="numpy")
    assert (done.path, done.kind, done.size_bytes) == (tmp_path / "p.py", "numpy", done.path.stat().st_size)
    with pytest.raises(
        chalknet.ConfigError, match=r"kind must be one of onnx, numpy, html, got 'onx'\. Did you mean 'onnx'"
    ):
        chalknet.export_model(made_network(), tmp_path / "p.onnx", kind="onx")
