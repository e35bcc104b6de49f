"""The choice of a kernel set from made-up measurements. A setting of the user always wins."""

import json
import os
import subprocess
import sys
import warnings

import pytest

from chalknet.machine import kernels
from chalknet.machine.kernels import (
    KernelChoice,
    KernelRate,
    candidates,
    choose_kernels,
    load_choice,
    measure_kernels,
    save_choice,
    use_best_kernels,
    warn_of_slow_kernels,
)
from chalknet.machine.processor import Processor

AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "avx2", "fma", "avx", "sse4_2"})


def processor(flags=AVX512):
    return Processor("a processor", 2, frozenset(flags), {}, 0)


def rate(asked, kernels_name, gflops):
    return KernelRate(asked, kernels_name, gflops * 1e9, gflops * 5e8)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """A processor with AVX-512, a cache folder of its own, and no wishes in the environment."""
    monkeypatch.setattr(kernels, "this_processor", processor)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.delenv("CHALKNET_BLAS", raising=False)
    kernels._slow_kernels.cache_clear()
    yield tmp_path
    kernels._slow_kernels.cache_clear()


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (AVX512, ["SkylakeX", "Haswell", "Zen", "Sandybridge", "Nehalem"]),
        ({"avx2", "fma", "avx", "sse4_2"}, ["Haswell", "Zen", "Sandybridge", "Nehalem"]),
        (AVX512 - {"avx512vl"}, ["Haswell", "Zen", "Sandybridge", "Nehalem"]),
        ({"asimd"}, []),
    ],
)
def test_only_sets_that_the_processor_can_run_are_tried(flags, names):
    assert candidates(processor(flags)) == names


@pytest.mark.parametrize(
    ("rates", "best", "gain"),
    [
        ([], "", 1.0),
        ([rate("", "Haswell", 200)], "", 1.0),
        ([rate("", "Haswell", 200), rate("SkylakeX", "SkylakeX", 400)], "SkylakeX", 2.0),
        ([rate("", "SkylakeX", 400), rate("Haswell", "Haswell", 200)], "", 1.0),
        ([rate("", "Haswell", 200), rate("SkylakeX", "SkylakeX", 215)], "", 1.0),
        ([rate("", "Nehalem", 100), rate("Zen", "Zen", 205), rate("Haswell", "Haswell", 200)], "Haswell", 2.05),
    ],
    ids=["none", "one", "faster", "own is best", "within the noise", "equals by preference"],
)
def test_a_clearly_faster_set_is_chosen(rates, best, gain):
    choice = choose_kernels(rates)
    assert (choice.best, choice.gain) == (best, pytest.approx(gain))


def test_a_choice_is_saved(cache_folder):
    choice = choose_kernels([rate("", "Haswell", 200), rate("SkylakeX", "SkylakeX", 400)])
    assert load_choice() is None
    save_choice(choice)
    assert load_choice() == choice
    assert len(list((cache_folder / "chalknet").iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "[" * 50_000, "9" * 5_000, "x" * 200_000),
        '{"rates": [], "best": 1, "gain": "x"}',
        '{"rates": [{"a": 1}], "best": "", "gain": 1}',
        '{"rates": [], "best": "", "gain": 1e999}',
    ],
    ids=range(9),
)
def test_a_damaged_file_is_ignored(cache_folder, text):
    save_choice(choose_kernels([rate("", "Haswell", 200)]))
    next((cache_folder / "chalknet").iterdir()).write_text(text)
    assert load_choice() is None


@pytest.mark.usefixtures("cache_folder")
def test_a_saved_set_that_cannot_run_is_ignored():
    save_choice(KernelChoice((), "Cooperlake", 9.0))
    assert load_choice() is None


def test_without_a_cache_folder_nothing_is_saved(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    save_choice(choose_kernels([rate("", "Haswell", 200)]))
    assert load_choice() is None


@pytest.mark.parametrize("wish", [{"OPENBLAS_CORETYPE": "Haswell"}, {"CHALKNET_BLAS": "keep"}])
def test_a_setting_of_the_user_always_wins(wish, monkeypatch):
    monkeypatch.setattr(kernels, "measure_kernels", lambda *_: pytest.fail("nothing may be measured"))
    assert use_best_kernels(wish) is None


PROGRAM = """
import json, os
from chalknet.machine import kernels
from chalknet.machine.kernels import KernelRate
kernels.measure_kernels = lambda: tuple(KernelRate(**rate) for rate in json.loads(os.environ["RATES"]))
kernels.candidates = lambda processor: ["SkylakeX", "Haswell"]
choice = kernels.use_best_kernels()
print(choice.best, os.environ.get("OPENBLAS_CORETYPE", "-"))
kernels.measure_kernels = lambda: 1 / 0
import sys
assert "numpy" not in sys.modules
print(kernels.use_best_kernels({}) .best)
"""


def test_a_program_measures_once_and_saves_the_choice(tmp_path):
    rates = [{"asked": "", "kernels": "Haswell", "float32": 2e11, "float64": 1e11}]
    rates.append({"asked": "SkylakeX", "kernels": "SkylakeX", "float32": 4e11, "float64": 2e11})
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "CHALKNET_BLAS")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "RATES": json.dumps(rates)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["SkylakeX SkylakeX", "SkylakeX"]


@pytest.mark.slow
def test_kernel_sets_are_measured_in_other_processes():
    found = measure_kernels(["Haswell", "NoSuchSet"], seconds=0.02)
    assert all(one.float32 > 1e8 and one.float64 > 1e8 for one in found)
    assert [one.asked for one in found[:1]] in ([], [""])  # nothing where NumPy's BLAS is not OpenBLAS
    assert "NoSuchSet" not in [one.asked for one in found]


def test_a_gain_caused_by_other_work_is_not_believed(monkeypatch):
    turns = {
        "": iter([100e9, 320e9, 310e9]),
        "Haswell": iter([200e9, 190e9, 210e9]),
    }  # own was slowed in its first turn
    monkeypatch.setattr(kernels, "_measure", lambda name, _: rate(name, name or "SkylakeX", next(turns[name]) / 1e9))
    found = measure_kernels(["Haswell"])
    assert choose_kernels(found).best == ""
    assert max(found, key=lambda one: one.float32).asked == ""


@pytest.mark.usefixtures("cache_folder")
@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (True, "uses its Haswell kernels, but SkylakeX is 2.0 times as fast here. Set OPENBLAS_CORETYPE"),
        (False, "this processor has AVX-512, which can be twice as fast"),
    ],
)
def test_a_library_user_is_warned_of_slow_kernels(monkeypatch, measured, message):
    monkeypatch.setattr("chalknet.machine.facts.blas_facts", lambda: {"blas": "openblas", "blas_kernels": "Haswell"})
    if measured:
        save_choice(choose_kernels([rate("", "Haswell", 200), rate("SkylakeX", "SkylakeX", 400)]))
    with pytest.warns(UserWarning, match=message):
        warn_of_slow_kernels()
    assert "OPENBLAS_CORETYPE" not in os.environ


@pytest.mark.usefixtures("cache_folder")
@pytest.mark.parametrize("taken", ["SkylakeX", "Prescott"])
def test_no_warning_for_the_best_kernels(monkeypatch, taken):
    monkeypatch.setattr("chalknet.machine.facts.blas_facts", lambda: {"blas": "openblas", "blas_kernels": taken})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_slow_kernels()
