"""Each file stored by tools/fuzz_files.py is read, or refused by one line of a ChalknetError."""

from __future__ import annotations

import shutil
from pathlib import Path

import fuzz_files
import pytest

pytestmark = pytest.mark.slow  # some hundred files, and their plain inputs

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").iterdir())


@pytest.fixture(scope="session")
def plain_inputs(tmp_path_factory):
    """Return a function that gives the folder with the plain input of a target."""
    made = {}

    def folder_of(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "plain"
            made[name].mkdir()
            fuzz_files.TARGETS[name].make(made[name])
        return made[name]

    return folder_of


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_a_stored_file_is_read_or_refused_in_one_line(plain_inputs, tmp_path, monkeypatch, path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # which the kernels' target changes
    name, _, file = path.name.split("-", 2)
    target, place = fuzz_files.TARGETS[name], tmp_path / "input"
    shutil.copytree(plain_inputs(name), place)
    (member,) = [member for member in target.files if member.endswith(file)]
    shutil.copy(path, place / member)
    kept_the_rule, answer = fuzz_files.answer(target.read, place)
    assert kept_the_rule, answer


def test_the_corpus_covers_every_kind_of_input_and_is_small():
    assert {path.name.split("-")[0] for path in CORPUS} == set(fuzz_files.TARGETS)
    assert sum(path.stat().st_size for path in CORPUS) < 400_000


def test_an_exception_of_another_type_breaks_the_rule(tmp_path):
    def escapes(folder):
        raise KeyError(folder)

    assert fuzz_files.answer(escapes, tmp_path)[0] is False


@pytest.mark.parametrize("name", ["npz", "csv", "csv_gz", "model"])
def test_a_seed_and_a_number_give_the_same_file(tmp_path, name):
    contents = []
    for run in range(2):
        folder = tmp_path / str(run)
        fuzz_files.run_child(name, seed=1, first=3, last=4, folder=folder)
        contents.append((folder / "mutated-3").read_bytes())
    assert contents[0] == contents[1]
