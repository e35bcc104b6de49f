"""`chalknet bench` as a person types it; processes are real, the work is tiny."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

import chalknet
from chalknet.bench.comparison import Comparison
from chalknet.cli.bench import TurnProgress
from chalknet.cli.main import main
from chalknet.workflows import bench as workflow
from chalknet.workflows.bench import settle_bench

TINY = ["bench", "--work", "full 4", "--work", "step 8 4", "--peer", "formulas", "--rounds", "1", "--threads", "1"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_prints_the_machine_a_table_a_work_and_what_was_compared(capsys, tmp_path):
    assert main([*TINY, "-o", "new/result.json"]) == 0
    printed = capsys.readouterr()
    assert re.match(r".+ cores, .+; chalknet \S+, NumPy \S+, .+ kernels; 1 thread, 1 round\n", printed.out)
    assert "full 4: one epoch of the write-up, 4 units" in printed.out
    assert re.search(r"^chalknet +[\d.]+ .s .* 1\.00 +\d+ %$", printed.out, re.MULTILINE)
    assert re.search(r"^formulas +[\d.]+ .s ", printed.out, re.MULTILINE)
    assert "step 8 4: one update, batch 8, 4 units" in printed.out
    assert "written to new/result.json" in printed.out
    assert re.search(r"^turn \d+/12  full 4  \d+:\d\d left$", printed.err, re.MULTILINE)
    stored = json.loads((tmp_path / "new" / "result.json").read_text())
    assert {work: set(rows) for work, rows in stored["seconds"].items()} == {
        "full 4": {"chalknet", "formulas", "ceiling"},
        "step 8 4": {"chalknet"},
    }


def test_json_is_all_of_standard_output_and_complete(capsys):
    assert main(["bench", "--work", "full 4", "--peer", "formulas", "--rounds", "1", "--threads", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(Comparison.__dataclass_fields__)
    assert found["threads"] == 1
    assert found["versions"]["chalknet"] == chalknet.__version__
    assert set(found["processes"]["formulas"]) == {"on_numpy", "blas", "blas_version", "blas_kernels", "blas_threads"}
    assert all(len(times) == 1 and times[0] > 0 for rows in found["seconds"].values() for times in rows.values())


def test_a_broken_peer_is_named_and_the_rest_goes_on(capsys, tmp_path, monkeypatch):
    (tmp_path / "sklearn.py").write_text("raise OSError('libgomp.so.1: cannot allocate')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(chalknet.__file__).parents[1])]))
    assert main(["bench", "--work", "step 8 4", "--peer", "scikit-learn", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "failed: scikit-learn: OSError: libgomp.so.1: cannot allocate" in printed
    assert re.search(r"^chalknet +[\d.]+ .s", printed, re.MULTILINE)


def test_an_absent_peer_is_named_with_what_installs_it(capsys, monkeypatch):
    monkeypatch.setattr("chalknet.bench.catalogue.find_spec", lambda name: None if name == "jax" else object())
    assert main(["bench", "--work", "step 8 4", "--peer", "jax", "--rounds", "1"]) == 0
    assert 'not installed: jax; pip install "chalknet[bench]" installs every peer.' in capsys.readouterr().out


def test_where_chalknet_itself_fails_the_exit_code_is_1(capsys, monkeypatch):
    unknown = dict.fromkeys(("processor", "cores", "system", "numpy", "blas", "blas_version", "blas_kernels"), "")
    failed = Comparison(unknown, {"chalknet": "0"}, 1, 1, {}, "", [], failed={"chalknet": "killed"})
    monkeypatch.setattr(workflow, "run_bench", lambda *_, **__: failed)
    assert main(["bench"]) == 1
    assert "chalknet: its own process failed: killed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--work", "ful 1000"], "unknown work 'ful 1000'. Did you mean 'full 1000'?"),
        (["--peer", "pytorch"], "unknown peer 'pytorch'. Did you mean 'torch'?"),
        (["--rounds", "0"], "rounds must be a whole number > 0, got 0."),
        (["--threads", "-1"], "threads must be a whole number > 0, got -1."),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_code_2(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(workflow, "run_bench", lambda *_, **__: pytest.fail("it was run"))
    assert main(["bench", *arguments]) == 2
    assert capsys.readouterr().err == f"chalknet: {message}\n"


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("chalknet.bench.comparison.compare", lambda *_, **__: pytest.fail("it was run"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    assert main([*TINY, "-o", "folder"]) == 1
    assert main([*TINY, "-o", "file/result.json"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "chalknet: folder: is a folder; name a file for the result."
    assert lines[1].startswith("chalknet: file: cannot be written:")


def test_ctrl_c_ends_the_peers_and_leaves_no_file(capsys, tmp_path, monkeypatch):
    made = []
    from chalknet.bench import comparison

    class Watched(comparison.PeerProcess):
        def greet(self):
            made.append(self)
            super().greet()
            raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "PeerProcess", Watched)
    assert main([*TINY, "-o", "new/result.json"]) == 130
    assert len(made) == 1
    assert made[0].has_ended
    assert not (tmp_path / "new").exists()
    assert capsys.readouterr().err.endswith("chalknet: stopped.\n")


def test_the_quick_form_leaves_out_what_must_be_compiled_and_the_full_form_has_all():
    quick, full = settle_bench(), settle_bench(full=True)
    assert "torch-compile" not in [peer.name for peer in quick.peers]
    assert "torch-compile" in [peer.name for peer in full.peers]
    assert len(quick.works) < len(full.works) == 12
    assert (quick.rounds, full.rounds) == (3, 7)


def test_chalknet_and_the_ceiling_always_run_and_a_peer_that_is_named_too():
    plan = settle_bench(peers=["torch-compile"], works=["full 5", "full 5"], rounds=2)
    assert [peer.name for peer in plan.peers] == ["chalknet", "torch-compile", "ceiling"]
    assert [str(work) for work in plan.works] == ["full 5"]
    assert plan.rounds == 2


def test_a_terminal_gets_a_bar_with_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with TurnProgress() as show:
        show("full 4: chalknet ready", 1, 2)
        show("full 4: chalknet", 2, 2)
    shown = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", capsys.readouterr().err)
    assert "2/2  0:00 left  full 4: chalknet" in shown
