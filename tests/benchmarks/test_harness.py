"""The harness of the benchmarks: workloads, rounds of repetitions, processes, report, and the script itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from harness import comparison, process, worker
from harness.baselines import BASELINES, Baseline, formulas, roofline
from harness.comparison import SAME_KERNELS, Comparison, compare
from harness.process import BaselineError, BaselineProcess
from harness.report import comparison_tables, remarks, shown_seconds
from harness.workloads import (
    FULL_MOMENTUM,
    FULL_RATE,
    N_TEST,
    N_TRAIN,
    N_VALID,
    STEPS,
    WORKLOADS,
    batches,
    parse_workload,
    scaled_splits,
    start_weights,
)

BENCHMARKS = Path(comparison.__file__).parents[1]
STEP = parse_workload("step 8 4")
CHALKNET, SCIKIT_LEARN, FORMULAS = BASELINES["chalknet"], BASELINES["scikit-learn"], BASELINES["formulas"]


# Workloads


def test_every_workload_reads_back_as_it_is_written():
    assert [str(parse_workload(text)) for text in WORKLOADS] == list(WORKLOADS)


def test_sizes_mean_samples_and_units():
    found = [parse_workload(text) for text in ("step 128 16", "full 500", "predict 7", "predict 1")]
    assert [(w.n, w.units) for w in found] == [(128, 16), (15_000, 500), (7, 1_000), (1, 1_000)]
    assert [w.repetitions_per_run for w in found] == [100, 1, 1, 200]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ful 1000", "unknown workload 'ful 1000'"),
        ("", "unknown workload ''"),
        ("full", "workload 'full' takes an integer from 1 to 20000, got 'full'"),
        ("full 0", "got 'full 0'"),
        ("full 1e3", "got 'full 1e3'"),
        ("step 128", "takes an integer from 1 to 15000 and an integer from 1 to 20000"),
        ("predict 99999999999999999999", "from 1 to 18724"),
    ],
)
def test_a_wrong_workload_names_what_is_accepted(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_workload(text)


def test_the_splits_are_the_write_ups():
    assert [len(labels) for _, labels in scaled_splits(np.float32)] == [N_TRAIN, N_VALID, N_TEST]


@pytest.mark.parametrize("size", [32, 128, 300, 1000])
def test_all_batches_are_whole_and_walk_a_permutation(size):
    found = batches(size)
    assert [len(batch) for batch in found] == [size] * STEPS
    first = np.concatenate(found)[:N_TRAIN]
    assert len(set(first.tolist())) == len(first)


# Baselines


@pytest.mark.parametrize("baseline", BASELINES.values(), ids=lambda baseline: baseline.name)
def test_a_baseline_prepares_without_its_libraries(baseline):
    assert callable(baseline.prepare_function())


def test_a_baseline_is_installed_if_all_it_needs_is(monkeypatch):
    monkeypatch.setattr("harness.baselines.find_spec", lambda name: None if name == "onnx" else object())
    assert BASELINES["jax"].is_installed()
    assert not BASELINES["onnxruntime"].is_installed()


def test_the_formulas_baseline_trains_as_the_write_up(monkeypatch):
    """Two epochs against a loop over the same samples, in which every sum is written out by einsum."""
    rng = np.random.default_rng(0)
    splits = [(rng.random((n, 784)), rng.integers(0, 10, n)) for n in (30, 4, 5)]
    monkeypatch.setattr(formulas, "scaled_splits", lambda _: splits)
    seen = []
    monkeypatch.setattr(formulas, "_scores", lambda p, labels: seen.append((p, labels)))
    run = formulas.formulas(parse_workload("full 3"), 0)
    run()
    run()
    w_h, b_h, w_o, b_o = start_weights(parse_workload("full 3"))
    v_h, v_o = 0.0, 0.0
    (x, y), (x_valid, _), _ = splits
    for _ in range(2):
        h = np.einsum("bi,fi->bf", x, w_h) + b_h
        o = np.einsum("bf,kf->bk", np.where(h > 0, h, 0), w_o) + b_o
        d_o = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
        d_o[np.arange(30), y] -= 1
        d_h = np.einsum("bk,kf->bf", d_o, w_o) * (h > 0)
        v_h = FULL_MOMENTUM * v_h + FULL_RATE * np.einsum("bf,bi->fi", d_h, x)
        v_o = FULL_MOMENTUM * v_o + FULL_RATE * np.einsum("bk,bf->kf", d_o, np.where(h > 0, h, 0))
        w_h, w_o = w_h - v_h, w_o - v_o
        b_h, b_o = b_h - FULL_RATE * d_h.sum(axis=0), b_o - FULL_RATE * d_o.sum(axis=0)
    o = np.maximum(x_valid @ w_h.T + b_h, 0) @ w_o.T + b_o
    expected = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
    assert len(seen) == 6  # train before its update, valid and test after it, twice
    np.testing.assert_allclose(seen[4][0], expected, rtol=1e-10)  # sums in another order; a wrong step shows at 1e-6


def test_the_roofline_is_the_products_time_at_the_product_rate(monkeypatch):
    monkeypatch.setattr(roofline, "product_rate", lambda _dtype, workers, _seconds: 1e9 * workers)
    assert roofline.roofline(parse_workload("full 100"), 2)() == roofline.epoch_flop(100) / 2e9
    assert roofline.epoch_flop(1000) == pytest.approx(2 * 784 * 1000 * (18_724 + 15_000), rel=0.03)
    assert roofline.roofline(STEP, 2) is None


# torch-compile is left out: its compiler takes longer than all other tests here.
QUICK = [name for name, one in BASELINES.items() if not one.by_name_only and name != "torch-compile"]


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.slow
def test_every_installed_baseline_runs_its_workloads(name):
    if not BASELINES[name].is_installed():
        pytest.skip(f"{name} is not installed")
    with BaselineProcess(name, os.environ, threads=1) as running:
        running.start()
        answers = {workload: running.request(f"prepare {workload}") for workload in ("full 4", "step 8 4", "predict 3")}
        assert set(answers.values()) <= {"ready", "no"}
        last = [workload for workload, answer in answers.items() if answer == "ready"][-1]
        assert running.request(f"prepare {last}") == "ready"
        assert float(running.request("go")) > 0


# The worker and its process


def test_a_returned_time_is_used_instead_of_the_clock(monkeypatch):
    assert worker.seconds_per_repetition(lambda: 0.25, 100) == 0.25
    ticks = iter(range(100))
    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    assert worker.seconds_per_repetition(lambda: None, 100) == pytest.approx(0.02)  # the clock ticks twice in one run


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to cores")
@pytest.mark.parametrize(("threads", "cores"), [(1, 1), (0, None), (10_000, None)])
def test_a_worker_is_bound_to_as_many_cores_as_threads(threads, cores):
    code = f"import os; from harness.worker import bind_to_cores; bind_to_cores({threads}); "
    code += "print(len(os.sched_getaffinity(0)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=BENCHMARKS)
    assert int(done.stdout) == (cores or len(os.sched_getaffinity(0)))


def test_a_process_reports_its_blas_does_its_work_and_ends():
    with BaselineProcess("chalknet", os.environ, threads=1) as running:
        running.start()
        assert running.facts["blas_threads"] in (0, 1)
        assert running.request("prepare step 8 4") == "ready"
        assert 0 < float(running.request("go")) < 1
    assert running.has_ended


@pytest.fixture
def broken_sklearn(tmp_path, monkeypatch):
    """A scikit-learn that starts a process and then fails to import, as a broken installation with a compiler."""
    (tmp_path / "sklearn.py").write_text(
        "import subprocess, sys, pathlib\n"
        "print('noise')\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "raise OSError('libgomp.so.1: cannot allocate')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("broken_sklearn")
def test_a_library_that_breaks_is_reported_by_its_last_line():
    with BaselineProcess("scikit-learn", os.environ, threads=0) as running:
        running.start()
        with pytest.raises(BaselineError, match=r"^OSError: libgomp.so.1: cannot allocate$"):
            running.request("prepare step 8 4")
        with pytest.raises(BaselineError, match="libgomp"):  # and again, when it is asked again
            running.request("go")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
def test_children_of_a_baseline_end_with_it(broken_sklearn):
    with BaselineProcess("scikit-learn", os.environ, threads=0) as running:
        running.start()
        with pytest.raises(BaselineError):
            running.request("prepare step 8 4")
    assert is_gone(int((broken_sklearn / "pid").read_text()))


def test_a_process_that_does_not_answer_is_ended(monkeypatch):
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.05)
    with BaselineProcess("chalknet", os.environ, threads=0) as running:
        with pytest.raises(BaselineError, match=r"no answer in 0\.05 s"):
            running.request("prepare full 100")  # NumPy alone takes longer to load
        running.end()
        assert running.has_ended


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_a_worker_ends_when_the_comparison_is_killed():
    code = (
        "import os, time\n"
        "from harness.process import BaselineProcess\n"
        "running = BaselineProcess('chalknet', os.environ, 0)\n"
        "running.start()\n"
        "print(running._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=BENCHMARKS) as parent:
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


# Rounds


class ScriptedProcess:
    """Stands in for BaselineProcess: answers by a table, without a process."""

    started: list[tuple[str, str]]  # name, OPENBLAS_CORETYPE

    def __init__(self, name, environment, _threads):
        self.name, self.kernels = name, environment.get("OPENBLAS_CORETYPE", "Haswell")
        self.repetitions = 0
        self.ended = False
        self.facts = {}
        ScriptedProcess.started.append((name, environment.get("OPENBLAS_CORETYPE", "")))
        ScriptedProcess.alive.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True

    def start(self):
        if self.name == "torch":
            raise BaselineError("OSError: libtorch.so: cannot open")
        self.facts = {"blas": "openblas", "blas_version": "0", "blas_kernels": self.kernels, "blas_threads": 2}

    def request(self, line):
        if line.startswith("prepare"):
            return "no" if self.name == "formulas" and "step" in line else "ready"
        self.repetitions += 1
        if self.name == "jax" and self.repetitions == 2:
            raise BaselineError("RuntimeError: jax broke")
        return str(self.repetitions / 1000)


@pytest.fixture
def scripted(monkeypatch):
    ScriptedProcess.started, ScriptedProcess.alive = [], []
    monkeypatch.setattr(comparison, "BaselineProcess", ScriptedProcess)
    monkeypatch.setattr(comparison, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(Baseline, "is_installed", lambda self: self.name != "onnxruntime")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    return ScriptedProcess


def test_other_kernels_are_measured_again_with_chalknets(scripted, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")  # what chalknet's own command line chose
    result = compare([CHALKNET, SCIKIT_LEARN], [STEP], 2, installed={})
    kernels = {name: facts["blas_kernels"] for name, facts in result.processes.items()}
    assert kernels == {"chalknet": "SkylakeX", "scikit-learn": "Haswell", "scikit-learn" + SAME_KERNELS: "SkylakeX"}
    assert set(result.seconds["step 8 4"]) == set(kernels)
    assert [kernels for _, kernels in scripted.started] == ["SkylakeX", "", "SkylakeX"]


@pytest.mark.usefixtures("scripted")
def test_the_same_kernels_are_measured_once():
    result = compare([CHALKNET, SCIKIT_LEARN], [STEP], 1, installed={})
    assert set(result.seconds["step 8 4"]) == {"chalknet", "scikit-learn"}


def test_forced_kernels_go_to_other_baselines_on_numpy_alone(scripted):
    baselines = [CHALKNET, SCIKIT_LEARN, BASELINES["torch-bf16"]]
    result = compare(baselines, [STEP], 1, installed={}, forced_kernels="Nehalem")
    assert scripted.started == [("chalknet", ""), ("scikit-learn", "Nehalem"), ("torch-bf16", ""), ("scikit-learn", "")]
    assert result.forced_kernels == "Nehalem"


@pytest.mark.usefixtures("scripted")
def test_a_failure_is_named_and_the_rest_continues():
    baselines = [CHALKNET, BASELINES["torch"], BASELINES["jax"], BASELINES["onnxruntime"]]
    result = compare(baselines, [STEP, parse_workload("full 5")], 3, installed={})
    assert result.failed == {"torch": "OSError: libtorch.so: cannot open", "jax": "RuntimeError: jax broke"}
    assert result.absent == ["onnxruntime"]
    rows = {workload: set(found) for workload, found in result.seconds.items()}
    assert rows == {"step 8 4": {"chalknet"}, "full 5": {"chalknet"}}
    assert result.medians("full 5") == {"chalknet": 0.005}  # repetitions 4, 5 and 6 of a process that counts them


@pytest.mark.usefixtures("scripted")
def test_progress_reaches_the_total_despite_failures():
    shown = []
    compare([CHALKNET, FORMULAS], [STEP], 2, installed={}, progress=lambda *step: shown.append(step))
    assert shown[-1] == ("step 8 4: chalknet", 6, 6)
    assert [done for _, done, _ in shown] == [1, 4, 5, 6]


def test_an_interruption_ends_every_process(scripted):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([CHALKNET, SCIKIT_LEARN], [STEP], 1, installed={}, progress=stop)
    assert len(scripted.alive) == 2
    assert all(running.ended for running in scripted.alive)


# The report


def facts(kernels):
    return {"on_numpy": True, "blas": "openblas", "blas_version": "0.3.31", "blas_kernels": kernels}


def made(**changed):
    values = {
        "machine": {"processor": "a processor", "cores": 2, "system": "Linux", "numpy": "2.4", **facts("SkylakeX")},
        "versions": {"chalknet": "0.1.0"},
        "threads": "all cores",
        "rounds": 3,
        "environment": {},
        "forced_kernels": "",
        "absent": [],
        "processes": {"chalknet": facts("SkylakeX"), "formulas": facts("SkylakeX"), "roofline": facts("SkylakeX")},
        "seconds": {"full 100": {"roofline": [0.01] * 3, "formulas": [0.05, 0.04, 0.09], "chalknet": [0.02] * 3}},
    }
    return Comparison(**{**values, **changed})


def test_a_table_gives_time_ratio_and_fraction_of_the_roofline():
    (table,) = comparison_tables(made())
    assert table.title == "full 100: one epoch of the write-up, 100 units"
    assert table.rows == (
        ("chalknet", "20.0 ms", "20.0 ms", "20.0 ms", "1.00", "50 %"),
        ("formulas", "50.0 ms", "40.0 ms", "90.0 ms", "2.50", "20 %"),
        ("roofline", "10.0 ms", "10.0 ms", "10.0 ms", "0.50", "100 %"),
    )


def test_times_have_three_digits_in_a_fitting_unit():
    shown = [shown_seconds(seconds) for seconds in (1.234, 0.144, 0.02194, 5.82e-5, 9.999e-4)]
    assert shown == ["1.23 s", "144 ms", "21.9 ms", "58.2 µs", "1.00 ms"]


def test_remarks_name_kernels_absence_failures_and_variables():
    assert remarks(made()) == [
        "formulas: measured once, because the BLAS uses the same kernels as chalknet's (SkylakeX)."
    ]
    other = "formulas" + SAME_KERNELS
    result = made(
        processes={"chalknet": facts("SkylakeX"), "formulas": facts("Haswell"), other: facts("SkylakeX")},
        absent=["torch", "jax"],
        failed={"onnxruntime": "ImportError: no"},
        environment={"OPENBLAS_CORETYPE": "Haswell"},
    )
    assert remarks(result) == [
        "OPENBLAS_CORETYPE=Haswell is set for all baselines.",
        "formulas uses Haswell kernels, and formulas (same kernels) uses chalknet's (SkylakeX).",
        "not installed: torch, jax. To install all baselines: pip install '.[bench]'",
        "failed: onnxruntime: ImportError: no",
    ]


# The script


def run_script(*arguments):
    command = [sys.executable, str(BENCHMARKS / "baselines.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_script_prints_tables_and_writes_every_round(tmp_path):
    tiny = ["--workload", "full 4", "--workload", "step 8 4", "--baseline", "formulas", "--rounds", "1"]
    done = run_script(*tiny, "--threads", "1", "-o", str(tmp_path / "result.json"))
    assert done.returncode == 0, done.stderr
    assert re.match(r".+ cores, .+; chalknet \S+, NumPy \S+, .+ kernels; 1 thread, 1 round\n", done.stdout)
    assert re.search(r"^chalknet +[\d.]+ .s .* 1\.00 +\d+ %$", done.stdout, re.MULTILINE)
    assert re.search(r"^formulas +[\d.]+ .s ", done.stdout, re.MULTILINE)
    assert re.search(r"^repetition \d+/\d+  full 4  \S+ min left$", done.stderr, re.MULTILINE)
    stored = json.loads((tmp_path / "result.json").read_text())
    assert set(stored) == set(Comparison.__dataclass_fields__)
    assert {workload: {name.partition(" (")[0] for name in rows} for workload, rows in stored["seconds"].items()} == {
        "full 4": {"chalknet", "formulas", "roofline"},
        "step 8 4": {"chalknet"},
    }
    assert all(len(times) == 1 and times[0] > 0 for rows in stored["seconds"].values() for times in rows.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "ful 1000"], "unknown workload 'ful 1000'"),
        (["--baseline", "pytorch"], "'pytorch' (choose from"),
        (["--rounds", "0"], "expected an integer > 0, got '0'"),
    ],
)
def test_a_wrong_argument_of_the_script_ends_it_with_code_2(arguments, message):
    done = run_script(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
