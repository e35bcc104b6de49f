import json

import pytest

from chalknet.cli.main import main
from chalknet.machine.doctor import advice_on
from chalknet.machine.kernels import KernelRate, choose
from chalknet.machine.product_rate import product_rate, products_are_right

FACTS = {"blas": "openblas"}
SLOW = [KernelRate("", "Haswell", 2e11, 1e11), KernelRate("SkylakeX", "SkylakeX", 4e11, 2e11)]


def test_wrong_kernels_are_said_in_one_line_with_their_factor():
    (line,) = advice_on(FACTS, choose(SLOW), "")
    assert "takes its Haswell kernels here; its SkylakeX kernels are 2.0 times as fast" in line
    assert "OPENBLAS_CORETYPE=SkylakeX" in line


def test_a_users_own_setting_that_costs_is_told():
    (line,) = advice_on(FACTS, choose([SLOW[1], SLOW[0]]), "Haswell")
    assert "OPENBLAS_CORETYPE=Haswell is set and costs a factor of 2.0" in line


@pytest.mark.parametrize(("rates", "set_by_user"), [(SLOW[::-1], ""), (SLOW[::-1], "SkylakeX")])
def test_where_nothing_would_help_nothing_is_advised(rates, set_by_user):
    assert advice_on(FACTS, choose(rates), set_by_user) == ()


def test_another_blas_is_named():
    assert advice_on({"blas": "mkl"}, choose([]), "") == (
        "NumPy's BLAS is mkl, whose kernels cannot be chosen from outside.",
    )


def test_rates_are_positive_and_products_right():
    assert product_rate("float32", workers=2, seconds=0.01) > 1e8
    assert products_are_right()


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
