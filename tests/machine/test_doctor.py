import json
import os
import subprocess
import tomllib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

import chalknet
from chalknet.cli.doctor import torch_line
from chalknet.cli.main import main
from chalknet.machine.doctor import EXTRAS, Diagnosis, advice_on, examine
from chalknet.machine.kernels import KernelRate, choose_kernels
from chalknet.machine.processor import this_processor
from chalknet.machine.product_rate import product_rate, products_are_correct
from chalknet.machine.torch_facts import ask_torch
from chalknet.version import install_command

FACTS = {"blas": "openblas"}
SLOW = [KernelRate("", "Haswell", 2e11, 1e11), KernelRate("SkylakeX", "SkylakeX", 4e11, 2e11)]


def test_slow_kernels_are_reported_with_their_factor():
    (line,) = advice_on(FACTS, choose_kernels(SLOW), "")
    assert "uses its Haswell kernels here, but its SkylakeX kernels are 2.0 times as fast" in line
    assert "OPENBLAS_CORETYPE=SkylakeX" in line


def test_a_slow_setting_of_the_user_is_reported():
    (line,) = advice_on(FACTS, choose_kernels([SLOW[1], SLOW[0]]), "Haswell")
    assert "OPENBLAS_CORETYPE=Haswell is set, but SkylakeX kernels are 2.0 times as fast" in line


@pytest.mark.parametrize(("rates", "set_by_user"), [(SLOW[::-1], ""), (SLOW[::-1], "SkylakeX")])
def test_no_advice_if_nothing_would_help(rates, set_by_user):
    assert advice_on(FACTS, choose_kernels(rates), set_by_user) == ()


def test_another_blas_is_named():
    assert advice_on({"blas": "mkl"}, choose_kernels([]), "") == ("NumPy's BLAS is mkl. Its kernels cannot be chosen.",)


def test_rates_are_positive_and_products_correct():
    assert product_rate("float32", workers=2, seconds=0.01) > 1e8
    assert products_are_correct()


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_command_reports(flags, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("chalknet.machine.doctor.measure_kernels", lambda *_: tuple(SLOW))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert main(["doctor", *flags]) == 0
    printed = capsys.readouterr().out
    if flags:
        found = json.loads(printed)
        assert found["kernels"]["best"] == "SkylakeX"
        assert found["processor"]["cores"] >= 1
        assert found["facts"]["numpy"]
    else:
        for word in (
            "processor",
            "vector units",
            "caches",
            "memory",
            "BLAS",
            "Haswell (own choice)",
            "2.0 times as fast",
        ):
            assert word in printed


CUDA = {"version": "2.13.0", "threads": 1, "cuda": True, "device": "a GPU", "device_bfloat16": True}
CPU = {"version": "2.13.0+cpu", "threads": 2, "cuda": False, "device": "", "device_bfloat16": False}


@pytest.fixture
def fake_torch(tmp_path, monkeypatch):
    """A package `torch` with the given source, found before any other by child processes."""

    def make(source):
        (tmp_path / "torch.py").write_text(source)
        source_folder = str(Path(chalknet.__file__).parents[1])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), source_folder]))

    return make


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (CUDA, "2.13.0, 1 thread, a GPU"),
        (CPU, "2.13.0+cpu, 2 threads, no CUDA device"),
        ({"error": "OSError: no"}, "failed to start: OSError: no"),
    ],
)
def test_torch_is_described_in_one_line(facts, line):
    assert torch_line(facts) == line


@pytest.mark.parametrize(
    ("facts", "flags", "line"),
    [
        ({}, (), f"not installed: {install_command('torch')}"),
        ({"error": "OSError: no"}, (), "cannot be used"),
        (CUDA, (), "on CUDA (a GPU), with bfloat16"),
        ({**CUDA, "device_bfloat16": False}, ("amx_bf16",), "on CUDA (a GPU), without bfloat16"),
        (CPU, ("avx512_bf16", "amx_bf16"), "on the processor, which multiplies bfloat16 (amx_bf16)"),
        (CPU, ("avx2",), "on the processor, where bfloat16 gains nothing"),
    ],
)
def test_the_torch_engine_is_described_in_one_line(facts, flags, line):
    processor = replace(this_processor(), flags=frozenset(flags))
    assert Diagnosis(processor, {}, choose_kernels([]), "", {}, facts, ()).torch_engine == line


@pytest.mark.parametrize("facts", [CUDA, CPU])
def test_torch_facts_are_read_in_another_process(fake_torch, facts):
    fake_torch(
        "from types import SimpleNamespace\n"
        "print('a word on standard output')\n"
        f"__version__ = {facts['version']!r}\n"
        f"get_num_threads = lambda: {facts['threads']}\n"
        f"cuda = SimpleNamespace(is_available=lambda: {facts['cuda']}, get_device_name=lambda n: 'a GPU', "
        "is_bf16_supported=lambda: True)\n"
    )
    assert ask_torch() == facts


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise OSError('libtorch.so: cannot open')", "OSError: libtorch.so: cannot open"),
        ("import os; os._exit(3)", "the process ended with code 3"),
        ("import os; os._exit(0)", "Expecting value"),
    ],
)
def test_a_broken_torch_is_reported(fake_torch, source, error):
    fake_torch(source)
    assert error in ask_torch()["error"]


def test_a_torch_that_hangs_is_reported(monkeypatch):
    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr("chalknet.machine.torch_facts.subprocess.run", hang)
    assert ask_torch() == {"error": "no answer in 60 s"}


@pytest.mark.parametrize(("installed", "shown"), [(True, "torch         2.13.0, 1 thread, a GPU"), (False, None)])
def test_the_command_shows_an_installed_torch(installed, shown, capsys, monkeypatch):
    monkeypatch.setattr("chalknet.machine.doctor.measure_kernels", lambda *_: ())
    monkeypatch.setattr("chalknet.machine.doctor.find_spec", lambda _: object() if installed else None)
    monkeypatch.setattr("chalknet.machine.doctor.ask_torch", lambda: CUDA)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("torch  ")] == ([shown] if shown else [])
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["torch"] == (CUDA if installed else {})


def test_every_extra_that_is_installed_is_named(monkeypatch):
    named = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(EXTRAS) == set(named) - {"dev", "witness", "browser", "bench", "notebooks", "tables", "site", "release"}
    monkeypatch.setattr("chalknet.machine.doctor.measure_kernels", lambda *_: ())
    monkeypatch.setattr(
        "chalknet.machine.doctor.find_spec", lambda name: object() if name in ("sklearn", "onnx") else None
    )
    found = examine().extras
    assert set(found) == {"sklearn", "onnx"}
    assert found["sklearn"] == version("scikit-learn")
