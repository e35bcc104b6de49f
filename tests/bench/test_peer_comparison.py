"""Rounds of turns with processes of their own, two of which are real and the others broken on purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chalknet.bench import comparison, peer_process
from chalknet.bench.catalogue import PEERS, Peer, parse_work
from chalknet.bench.comparison import SAME_KERNELS, compare
from chalknet.bench.peer_process import PeerError, PeerProcess

QUICK = parse_work("step 8 4")
CHALKNET, SCIKIT_LEARN, FORMULAS = PEERS["chalknet"], PEERS["scikit-learn"], PEERS["formulas"]


class Scripted:
    """Stands in for PeerProcess: answers by a table, without a process."""

    started: list[tuple[str, str]]  # name, OPENBLAS_CORETYPE

    def __init__(self, peer, environment, _threads):
        self.peer, self.kernels = peer, environment.get("OPENBLAS_CORETYPE", "Haswell")
        self.turns = 0
        self.ended = False
        self.facts = {}
        Scripted.started.append((peer.name, environment.get("OPENBLAS_CORETYPE", "")))
        Scripted.alive.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True

    def greet(self):
        if self.peer.name == "torch":
            raise PeerError("OSError: libtorch.so: cannot open")
        self.facts = {"blas": "openblas", "blas_version": "0", "blas_kernels": self.kernels, "blas_threads": 2}

    def ask(self, line):
        if line.startswith("prepare"):
            return "no" if self.peer.name == "formulas" and "step" in line else "ready"
        self.turns += 1
        if self.peer.name == "jax" and self.turns == 2:
            raise PeerError("RuntimeError: jax broke")
        return str(self.turns / 1000)


@pytest.fixture
def scripted(monkeypatch):
    Scripted.started, Scripted.alive = [], []
    monkeypatch.setattr(comparison, "PeerProcess", Scripted)
    monkeypatch.setattr(comparison, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(Peer, "is_present", lambda self: self.name != "onnxruntime")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    return Scripted


def test_a_peer_whose_kernels_differ_runs_again_with_chalknets(scripted, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")  # what chalknet's own command line chose
    result = compare([CHALKNET, SCIKIT_LEARN], [QUICK], 2, installed={})
    assert scripted.started == [("chalknet", "SkylakeX"), ("scikit-learn", ""), ("scikit-learn", "SkylakeX")]
    assert set(result.seconds["step 8 4"]) == {"chalknet", "scikit-learn", "scikit-learn" + SAME_KERNELS}
    kernels = {name: facts["blas_kernels"] for name, facts in result.processes.items()}
    assert kernels == {"chalknet": "SkylakeX", "scikit-learn": "Haswell", "scikit-learn" + SAME_KERNELS: "SkylakeX"}


@pytest.mark.usefixtures("scripted")
def test_where_the_kernels_are_the_same_nothing_runs_twice():
    result = compare([CHALKNET, SCIKIT_LEARN], [QUICK], 1, installed={})
    assert set(result.seconds["step 8 4"]) == {"chalknet", "scikit-learn"}


def test_forced_kernels_go_to_the_others_on_numpy_alone_and_are_recorded(scripted):
    peers = [CHALKNET, SCIKIT_LEARN, PEERS["torch-bf16"]]
    result = compare(peers, [QUICK], 1, installed={}, forced_kernels="Nehalem")
    assert scripted.started == [("chalknet", ""), ("scikit-learn", "Nehalem"), ("torch-bf16", ""), ("scikit-learn", "")]
    assert result.forced_kernels == "Nehalem"


@pytest.mark.usefixtures("scripted")
def test_what_fails_is_named_with_its_last_line_and_the_rest_goes_on():
    peers = [CHALKNET, PEERS["torch"], PEERS["jax"], PEERS["onnxruntime"]]
    result = compare(peers, [QUICK, parse_work("full 5")], 3, installed={})
    assert result.failed == {"torch": "OSError: libtorch.so: cannot open", "jax": "RuntimeError: jax broke"}
    assert result.absent == ["onnxruntime"]
    assert {work: set(found) for work, found in result.seconds.items()} == {
        "step 8 4": {"chalknet"},
        "full 5": {"chalknet"},
    }
    assert result.medians("full 5") == {"chalknet": 0.005}  # turns 4, 5 and 6 of a process that counts them


@pytest.mark.usefixtures("scripted")
def test_turns_are_shown_up_to_the_last_and_work_that_is_not_done_counts_as_done():
    shown = []
    compare([CHALKNET, FORMULAS], [QUICK], 2, installed={}, observe=lambda *told: shown.append(told))
    assert shown[-1] == ("step 8 4: chalknet", 6, 6)
    assert [done for _, done, _ in shown] == [1, 4, 5, 6]


def test_an_interruption_ends_every_process(scripted):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([CHALKNET, SCIKIT_LEARN], [QUICK], 1, installed={}, observe=stop)
    assert len(scripted.alive) == 2
    assert all(process.ended for process in scripted.alive)


def test_a_real_process_tells_its_blas_does_its_work_and_ends():
    with PeerProcess(CHALKNET, os.environ, threads=1) as process:
        process.greet()
        assert process.facts["blas_threads"] in (0, 1)
        assert process.ask("prepare step 8 4") == "ready"
        assert 0 < float(process.ask("go")) < 1
    assert process.has_ended


def test_a_library_that_breaks_when_imported_is_told_by_its_last_line(tmp_path, monkeypatch):
    (tmp_path / "sklearn.py").write_text("print('noise')\nraise OSError('libgomp.so.1: cannot allocate')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(comparison.__file__).parents[2])]))
    with PeerProcess(SCIKIT_LEARN, os.environ, threads=0) as process:
        process.greet()
        with pytest.raises(PeerError, match=r"^OSError: libgomp.so.1: cannot allocate$"):
            process.ask("prepare step 8 4")
        with pytest.raises(PeerError, match="libgomp"):  # and again, when it is asked again
            process.ask("go")


def test_a_process_that_gives_no_answer_is_ended(monkeypatch):
    monkeypatch.setattr(peer_process, "ANSWER_SECONDS", 0.05)
    with PeerProcess(CHALKNET, os.environ, threads=0) as process:
        with pytest.raises(PeerError, match=r"no answer in 0\.05 s"):
            process.ask("prepare full 100")  # NumPy alone takes longer to load
        process.end()
        assert process.has_ended


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.quick])
def test_every_peer_that_is_installed_does_what_it_says(name):
    peer = PEERS[name]
    if not peer.is_present():
        pytest.skip(f"{name} is not installed")
    with PeerProcess(peer, os.environ, threads=1) as process:
        process.greet()
        answers = {work: process.ask(f"prepare {work}") for work in ("full 4", "step 8 4", "predict 3")}
        assert set(answers.values()) <= {"ready", "no"}
        assert "ready" in answers.values()
        assert process.ask(f"prepare {[work for work in answers if answers[work] == 'ready'][-1]}") == "ready"
        assert float(process.ask("go")) > 0


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
def test_what_a_peer_started_ends_with_it(tmp_path, monkeypatch):
    """As a compiler's workers do: a grandchild that sleeps must not outlive the comparison."""
    (tmp_path / "sklearn.py").write_text(
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "raise OSError('broken')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(comparison.__file__).parents[2])]))
    with PeerProcess(SCIKIT_LEARN, os.environ, threads=0) as process:
        process.greet()
        with pytest.raises(PeerError):
            process.ask("prepare step 8 4")
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_a_peer_ends_when_the_comparison_is_killed():
    code = (
        "import os, time\n"
        "from chalknet.bench.catalogue import PEERS\n"
        "from chalknet.bench.peer_process import PeerProcess\n"
        "process = PeerProcess(PEERS['chalknet'], os.environ, 0)\n"
        "process.greet()\n"
        "print(process._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert is_gone(pid)


def is_gone(pid: int) -> bool:
    """Whether a process that is not our child ends within seconds; one that nobody reaped counts as ended."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
    return False
