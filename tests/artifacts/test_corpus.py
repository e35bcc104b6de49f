"""Replay the files that tools/fuzz_model_file.py found: one for each different answer of `load_model`."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").glob("*.safetensors"))
TOOL = HERE.parents[1] / "tools" / "fuzz_model_file.py"


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(TOOL))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_each_file_of_the_corpus_is_one_line_or_a_model(tool, path):
    assert tool["outcome"](path)


def test_the_corpus_has_many_answers_and_is_small(tool):
    answers = [tool["outcome"](path) for path in CORPUS]
    assert len(set(answers)) >= 30
    assert any(answer.startswith("a model of") for answer in answers)
    assert len(CORPUS) < 50
    assert sum(path.stat().st_size for path in CORPUS) < 200_000


def test_some_thousand_drawn_files_keep_the_rule(tool, tmp_path):
    trial = tool["Trial"](tmp_path, None)
    tool["run_plain"](trial, 600.0, seed=0, most=2_000)
    assert sum(trial.answers.values()) == 2_000
    assert len(trial.answers) > 10


def test_a_broken_rule_is_seen_and_its_file_kept(tool, tmp_path, monkeypatch):
    def escapes(path):
        raise KeyError(path)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chalknet.artifacts.model_file.load_model", escapes)
    with pytest.raises(KeyError):
        tool["Trial"](tmp_path, None)(b"not a model")
    assert (tmp_path / "broken.safetensors").read_bytes() == b"not a model"
