import pytest

from chalknet.bench.comparison import SAME_KERNELS, Comparison
from chalknet.bench.tables import comparison_tables, remarks, setting, shown_seconds


def facts(kernels, on_numpy=True):
    return {"on_numpy": on_numpy, "blas": "openblas", "blas_version": "0.3.31", "blas_kernels": kernels}


def made(**changed):
    machine = {"processor": "a processor", "cores": 2, "system": "Linux", "numpy": "2.4", **facts("SkylakeX")}
    values = {
        "machine": machine,
        "versions": {"chalknet": "0.1.0"},
        "threads": "all cores",
        "rounds": 3,
        "environment": {},
        "forced_kernels": "",
        "absent": [],
        "processes": {"chalknet": facts("SkylakeX"), "formulas": facts("SkylakeX"), "ceiling": facts("SkylakeX")},
        "seconds": {"full 100": {"ceiling": [0.01] * 3, "formulas": [0.05, 0.04, 0.09], "chalknet": [0.02] * 3}},
    }
    return Comparison(**{**values, **changed})


def test_a_table_gives_time_ratio_and_share_of_the_ceiling_chalknet_first():
    (table,) = comparison_tables(made())
    assert table.title == "full 100: one epoch of the write-up, 100 units"
    assert table.rows == (
        ("chalknet", "20.0 ms", "20.0 ms", "20.0 ms", "1.00", "50 %"),
        ("formulas", "50.0 ms", "40.0 ms", "90.0 ms", "2.50", "20 %"),
        ("ceiling", "10.0 ms", "10.0 ms", "10.0 ms", "0.50", "100 %"),
    )


def test_without_chalknet_or_ceiling_there_is_a_dash():
    (table,) = comparison_tables(made(seconds={"full 100": {"formulas": [0.05]}}))
    assert table.rows == (("formulas", "50.0 ms", "50.0 ms", "50.0 ms", "–", "–"),)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234, "1.23 s"), (0.144, "144 ms"), (0.02194, "21.9 ms"), (5.82e-5, "58.2 µs"), (9.999e-4, "1.00 ms")],
)
def test_times_have_three_digits_in_the_unit_that_suits(seconds, text):
    assert shown_seconds(seconds) == text


def test_the_setting_is_one_line():
    assert setting(made(threads=1)) == (
        "a processor, 2 cores, Linux; chalknet 0.1.0, NumPy 2.4, openblas 0.3.31, SkylakeX kernels; 1 thread, 3 rounds"
    )


def test_the_same_kernels_are_said_in_one_line():
    assert remarks(made()) == [
        "formulas: the BLAS takes the same kernels as chalknet's (SkylakeX), so they were measured once."
    ]


def test_other_kernels_absent_and_failed_peers_and_variables_are_said():
    other = "formulas" + SAME_KERNELS
    result = made(
        processes={"chalknet": facts("SkylakeX"), "formulas": facts("Haswell"), other: facts("SkylakeX")},
        absent=["torch", "jax"],
        failed={"onnxruntime": "ImportError: no"},
        environment={"OPENBLAS_CORETYPE": "Haswell"},
    )
    assert remarks(result) == [
        "OPENBLAS_CORETYPE=Haswell is set, and holds for all.",
        "formulas: Haswell kernels; formulas (same kernels): chalknet's, SkylakeX.",
        'not installed: torch, jax; pip install "chalknet[bench]" installs every peer.',
        "failed: onnxruntime: ImportError: no",
    ]


def test_a_same_kernels_row_stands_behind_its_peer():
    found = {name: [0.1] for name in ("ceiling", "formulas" + SAME_KERNELS, "formulas", "chalknet")}
    (table,) = comparison_tables(made(seconds={"full 100": found}))
    assert [row[0] for row in table.rows] == ["chalknet", "formulas", "formulas" + SAME_KERNELS, "ceiling"]
