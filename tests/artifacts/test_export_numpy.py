"""Exported Python files: the network's probabilities, NumPy alone, and no code from a model file."""

from __future__ import annotations

import ast
import subprocess
import sys

import numpy as np
import pytest
from exported import every_kind, random_network, samples_for

from chalknet.artifacts.export_numpy import numpy_bytes
from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network

KINDS = every_kind()


def loaded(model):
    """Return the names that the file defines when it is imported."""
    found = {"__name__": "predictor"}
    exec(compile(numpy_bytes(model), "predictor.py", "exec"), found)
    return found


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_file_gives_the_networks_probabilities(kind):
    model = KINDS[kind]
    file, samples = loaded(model), samples_for(model)
    probabilities, want = file["predict_proba"](samples), model.predict_proba(samples)
    np.testing.assert_allclose(probabilities, want, atol=1e-6)
    assert probabilities.dtype == want.dtype
    np.testing.assert_array_equal(file["predict"](samples), model.predict(samples))
    assert file["CLASS_NAMES"] == model.class_names


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_a_column_far_from_0_is_scaled_before_it_becomes_float32(dtype):
    architecture = Architecture(2, (5,), 3)
    parameters = {name: value.astype("f4") for name, value in initial_parameters(architecture, 0).items()}
    near = np.random.default_rng(0).integers(-9, 10, (700, 2))
    scale = np.array([5.0, 6.0])
    model = Network(architecture, parameters, ("A", "B", "C"), Scaling(scale, np.array([1e9, -1e12])))
    want = Network(architecture, parameters, ("A", "B", "C"), Scaling(scale, np.zeros(2))).predict_proba(near)
    far = (near + np.array([10**9, -(10**12)])).astype(dtype)
    for probabilities in (model.predict_proba(far), loaded(model)["predict_proba"](far)):
        np.testing.assert_allclose(probabilities, want, atol=1e-6)


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ImportFrom)
        names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
    return names


def test_the_exported_file_imports_only_numpy_and_the_library():
    tree = ast.parse(numpy_bytes(KINDS["all of it"]))
    assert imported(tree) == {"base64", "os", "sys", "zipfile", "zlib", "numpy"}
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"eval", "exec", "compile", "__import__", "getattr", "open", "globals"}
    loads = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load"]
    assert [ast.unparse(keyword) for node in loads for keyword in node.keywords] == ["allow_pickle=False"]


HOSTILE = (
    "'",
    '"',
    '"""',
    "'''",
    "\\",
    "\\'",
    '")\nimport os #'.replace("\n", "\\n"),
    "$packed",
    "${shapes}",
    "{0}",
    "')); raise SystemExit(7); (('",
    "# -*- coding: rot13 -*-",
    "Ä日",
    "x" * 300,
)


def test_hostile_class_names_stay_text():
    architecture = Architecture(3, (), len(HOSTILE))
    model = Network(architecture, initial_parameters(architecture, 0), HOSTILE)
    assert loaded(model)["CLASS_NAMES"] == HOSTILE
    plain = Network(architecture, initial_parameters(architecture, 0), tuple(map(str, range(len(HOSTILE)))))
    assert shape_of(numpy_bytes(model)) == shape_of(numpy_bytes(plain)), "names change nothing but text"


def shape_of(code: bytes) -> list[str]:
    """Return the kinds of the nodes of a file, without its texts."""
    return [type(node).__name__ for node in ast.walk(ast.parse(code))]


@pytest.mark.parametrize("name", ["\n", "\r", "\x00", "\u2028", "\udc80"])
def test_names_that_slip_past_the_checks_are_still_literals(name):
    architecture = Architecture(3, (), 2)
    model = Network(architecture, initial_parameters(architecture, 0), ("x", "y"))
    object.__setattr__(model, "class_names", ("x", name))
    assert loaded(model)["CLASS_NAMES"] == ("x", name)


def test_equal_models_give_equal_bytes():
    assert numpy_bytes(random_network()) == numpy_bytes(random_network())


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 783)), "samples must be"),
        (np.zeros(784), "samples must be"),
        (np.full((2, 784), "x"), "samples must be"),
        (np.full((2, 784), np.nan), "not finite"),
    ],
)
def test_samples_that_do_not_fit_are_an_error(samples, message):
    with pytest.raises(ValueError, match=message):
        loaded(KINDS["relu"])["predict_proba"](samples)


def test_no_samples_give_no_probabilities():
    assert loaded(KINDS["relu"])["predict_proba"](np.zeros((0, 28, 28), np.uint8)).shape == (0, 10)


def test_images_in_color_may_be_rows_of_numbers():
    model = KINDS["color residual"]
    predict_proba, images = loaded(model)["predict_proba"], samples_for(model)[:3]
    np.testing.assert_array_equal(predict_proba(images), predict_proba(images.reshape(3, -1)))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictor")
    (folder / "predictor.py").write_bytes(numpy_bytes(KINDS["ensemble"]))
    samples = samples_for(KINDS["ensemble"])[:5]
    np.save(folder / "samples.npy", samples)
    np.savez(folder / "one.npz", images=samples)
    np.savez(folder / "two.npz", images=samples, labels=np.arange(5))
    np.save(folder / "flat.npy", np.zeros(5))
    (folder / "empty.npy").write_bytes(b"")
    (folder / "zip.npz").write_bytes(b"PK\x03\x04")
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    return folder


def run(folder, *arguments):
    command = [sys.executable, "-I", "predictor.py", *arguments]  # alone: no chalknet by way of a folder
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["samples.npy"], ["one.npz"], ["two.npz", "images"]])
def test_run_on_a_file_it_prints_a_name_a_line(predictor, arguments):
    done = run(predictor, *arguments)
    assert done.returncode == 0, done.stderr
    model = KINDS["ensemble"]
    assert done.stdout.split() == model.predict_names(samples_for(model)[:5])


def test_a_closed_pipe_ends_without_a_traceback(predictor):
    command = [sys.executable, "-I", "predictor.py", "samples.npy"]
    with subprocess.Popen(command, cwd=predictor, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # long before it has loaded NumPy
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: "),
        (["nowhere.npy"], "nowhere.npy: "),
        (["two.npz"], "two.npz holds images, labels: name one of them"),
        (["two.npz", "other"], "name one of them"),
        (["flat.npy"], "flat.npy: samples must be"),
        (["empty.npy"], "empty.npy: "),
        (["zip.npz"], "zip.npz: "),
        (["pickled.npy"], "pickled.npy: "),
    ],
)
def test_run_on_what_it_cannot_read_it_says_so_in_a_line(predictor, arguments, message):
    done = run(predictor, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_exported_file_explains_itself_and_refuses_other_files(tmp_path, capsys):
    found = {"__name__": "predictor"}
    exec(numpy_bytes(KINDS["all of it"]), found)
    assert found["main"](["--help"]) == 0
    assert "python predictor.py samples.npy" in capsys.readouterr().out
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert found["main"]([str(tmp_path / "a.parquet")]).endswith("this is no .npy or .npz file")
