"""The page that benchmarks/write_docs.py writes, from made-up results."""

from __future__ import annotations

import json

import pytest
import write_docs
from harness.baselines.roofline import epoch_flop

SAME = "scikit-learn (same kernels)"
ROWS = {"chalknet": 0.1, "scikit-learn": 0.25, SAME: 0.15, "torch": 0.09, "roofline": 0.08}


@pytest.fixture(autouse=True)
def _own_results(monkeypatch, tmp_path):
    monkeypatch.setattr(write_docs, "RESULTS", tmp_path)


def result(rows, kernels=None, **changed):
    machine = {"processor": "a processor", "cores": 2, "system": "Linux", "blas": "openblas", "blas_version": "0.3.31"}
    made = {
        "machine": {**machine, "blas_kernels": "SkylakeX"},
        "versions": {"chalknet": "0.1.0"},
        "threads": "all cores",
        "rounds": 3,
        "environment": {},
        "seconds": {"full 1000": {name: [seconds] * 3 for name, seconds in rows.items()}},
    }
    if kernels:
        made["processes"] = {name: {"blas_kernels": kernels.get(name, "SkylakeX")} for name in rows}
    return {**made, **changed}


def store(folder, **results):
    startup = {"rounds": 1, "median_seconds": {"import numpy": 0.07, "chalknet --help": 0.05}}
    startup["import_chalknet_beyond_numpy_seconds"] = 0.001
    one = result({"chalknet": 0.19, "roofline": 0.17}, threads=1)
    files = {"startup": startup, "baselines-1-core": one, **{name.replace("_", "-"): r for name, r in results.items()}}
    for name, found in files.items():
        (folder / f"{name}.json").write_text(json.dumps(found))


def row_of(page, start):
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


SCIKIT_LEARN = "one epoch of the write-up, 1,000 units: {} times as fast as scikit-learn"


def test_installed_and_chosen_kernels_may_differ(tmp_path):
    store(tmp_path, baselines_2_cores=result(ROWS, {"scikit-learn": "Haswell"}))
    page = write_docs.page()
    assert row_of(page, SCIKIT_LEARN.format("2.4") + ", as installed") == ["2.50", "reached"]
    assert row_of(page, SCIKIT_LEARN.format("1.4") + " with the same kernels") == ["1.50", "reached"]
    assert "OpenBLAS 0.3.31 uses its Haswell kernels here, but chalknet's commands choose SkylakeX" in flat(page)
    assert f"| workload | chalknet | scikit-learn | {SAME} | torch | roofline |" in page


def test_installed_and_chosen_kernels_may_be_the_same(tmp_path):
    store(tmp_path, baselines_2_cores=result({"chalknet": 0.1, "scikit-learn": 0.15, "roofline": 0.08}))
    page = write_docs.page()
    assert row_of(page, SCIKIT_LEARN.format("2.4") + ", as installed") == ["1.50", "short by 38 %"]
    assert row_of(page, SCIKIT_LEARN.format("1.4") + " with the same kernels") == ["1.50", "reached"]
    assert "as installed and with the same kernels are the same" in flat(page)
    assert row_of(page, "one epoch of the write-up, 100 units: 2.0 times as fast as torch") == ["", "not measured"]


def test_forced_kernels_get_a_table_and_a_column(tmp_path):
    rows = {**ROWS, "formulas": 0.5}
    forced = result(rows, {"scikit-learn": "Haswell", "formulas": "Haswell"}, forced_kernels="Haswell")
    plain = result({"chalknet": 0.1, "scikit-learn": 0.15, "torch": 0.3, "roofline": 0.08})
    store(tmp_path, baselines_2_cores=plain, baselines_2_cores_avx2=forced)
    page = write_docs.page()
    assert "## Times: Haswell kernels in baselines on NumPy" in page
    assert "| target | reached | | with Haswell kernels |" in page
    cells = row_of(page, SCIKIT_LEARN.format("2.4") + ", as installed")
    assert cells == ["1.50", "short by 38 %", "2.50, reached"]
    assert row_of(page, SCIKIT_LEARN.replace("scikit-learn", "torch").format("2.4")) == ["3.00", "reached", ""]


def test_faster_baselines_are_listed_from_the_results(tmp_path):
    store(tmp_path, baselines_2_cores=result(ROWS))
    assert "- torch: one epoch of the write-up, 1,000 units, 0.90" in write_docs.page()
    store(tmp_path, baselines_2_cores=result({**ROWS, "torch": 0.2}))
    assert "Faster than chalknet" not in write_docs.page()


def test_scaling_gives_slopes_and_memory(tmp_path):
    store(tmp_path, baselines_2_cores=result(ROWS), scaling=grown())
    page = write_docs.page()
    assert row_of(page, "samples") == ["100 to 400", "0.1 to 0.4", "1.00", "10 to 20", "0.50"]
    assert row_of(page, "threads") == ["1 to 1", "0.1 to 0.1", "", "10 to 10", ""]
    assert row_of(page, "the write-up's run, 1,000 units: 150 MB above the data") == ["165 MB", "over by 10 %"]
    from figures import scaling_figure

    drawn = scaling_figure(grown()).decode()
    assert drawn.count("<!-- slope ") == 6


def test_tuned_classifiers_get_a_table(tmp_path):
    def row(accuracy, **ahead):
        gaps = {name: {"mean": mean, "half_width": 0.01} for name, mean in ahead.items()}
        return {"accuracy": accuracy, "log_loss": 0.25, "fit_seconds": 1.5, "search_seconds": 0.0, "ahead": gaps}

    plain, best = "ChalkClassifier(image_shape=(28, 28))", "ChalkClassifier, tuned"
    rows = {
        "ChalkClassifier()": row(0.85, **{plain: 0.03, best: 0.05}),
        "MLPClassifier()": row(0.8, **{plain: 0.08, best: 0.1}),
        plain: row(0.88, **{best: 0.02}),
        best: row(0.9, **{plain: -0.02}) | {"search_seconds": 12.3},
    }
    sets = {"letters": {"what": "a few letters", "splits": 5, "rows": rows}}
    found = {**result({}), "versions": {"scikit-learn": "1.8.0"}, "n_trials": 10, "sets": sets}
    store(tmp_path, baselines_2_cores=result(ROWS), classifier_tuned=found)
    page = write_docs.page()
    assert "- letters: a few letters; 5 splits." in page
    assert "a random search of 10 trials" in flat(page)
    (line,) = [line for line in page.splitlines() if line.startswith("| letters | `MLPClassifier()`")]
    assert line.endswith("| 80.00 % | 0.250 | 1.50 |  | +10.00 ± 1.00 | +8.00 ± 1.00 |")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| letters | `{best}`")]
    assert line.endswith("| 90.00 % | 0.250 | 1.50 | 12.3 |  | -2.00 ± 1.00 |")


def test_torch_targets_and_rates_come_from_the_results(tmp_path):
    rows = {"chalknet": 0.2, "chalknet-bf16": 0.05, "torch-bf16": 0.1, "torch": 0.15}
    rows |= {"products-bf16": 0.04, "roofline-bf16": 0.035}
    flop = epoch_flop(1000) / 1e6  # over milliseconds: GFLOP/s
    store(tmp_path, baselines_2_cores=result(ROWS), torch_engine=result(rows, rows))
    (tmp_path / "torch-engine.json").rename(tmp_path / "torch_engine.json")
    page = write_docs.page()
    assert row_of(page, "1.4 times as fast as a plain PyTorch module in bfloat16") == ["2.00", "reached"]
    assert row_of(page, "4 times as fast as PyTorch in float32") == ["3.00", "short by 25 %"]
    assert row_of(page, "0.8 of the product rate") == ["0.70", "short by 12 %"]
    assert f"{flop / 50:,.0f} GFLOP/s of a product rate of {flop / 35:,.0f} GFLOP/s" in flat(page)
    assert "take 80 % of its time" in flat(page)
    assert "In single rounds the engine was 3.0 to 3.0 times as fast" in flat(page)
    assert "The products alone would be 3.8 times as fast in the median." in flat(page)


def test_the_gpu_section_without_and_with_a_result(tmp_path):
    store(tmp_path, baselines_2_cores=result(ROWS))
    assert "## The torch engine on a GPU\n\nNot yet measured." in write_docs.page()
    times = {"chalknet bfloat16": [0.1, 0.12, 0.11], "torch float32": [0.44] * 3}
    measured = {name: {"seconds": seconds, "test_accuracy": 0.9179} for name, seconds in times.items()}
    gpu = {"device": "a GPU", "versions": {"torch": "2"}, "epochs": 200, "units": 1000, "rounds": 3, "flop": 1.08e13}
    study = {
        "packed": {"seconds": [2.0], "test_accuracy": 0.9},
        "one by one": {"seconds": [25.0], "test_accuracy": 0.91},
        "torch one by one": {"seconds": [50.0], "test_accuracy": 0.92},
    }
    gpu["studies"] = [{"widths": [100, 2000], "seeds": 10, "flop": 4e14, "rows": study}]
    gpu["product_flops"] = 8e14
    store(tmp_path, baselines_2_cores=result(ROWS), gpu={**gpu, "rows": measured})
    page = write_docs.page()
    assert "Not yet measured." not in page
    assert "| 100, 2,000 | stacked | 2.00 | 1.0 | 90.00 % |" in page
    assert "| 100, 2,000 | torch one by one | 50.00 | 25.0 | 92.00 % |" in page
    assert "stacked is 10 times as fast as one by one (12.50, reached)." in flat(page)
    assert "400 TFLOP, take 0.50 s at the 800 TFLOP/s" in flat(page)
    assert "no stack could be more than 50 times as fast" in flat(page)
    assert row_of(page, "chalknet bfloat16") == ["0.110", "0.100 to 0.120", "91.79 %"]
    assert "Targets: 0.15 s (reached) and 3 times as fast as torch float32 with TF32 allowed (4.00, reached)." in flat(
        page
    )


def grown():
    base = {"samples": 100, "units": 100, "layers": 1, "threads": 1}
    growing = {thing: [{**base, thing: base[thing] * by} for by in (1, 2, 4)] for thing in base}
    growing["threads"] = [base]
    points = {json.dumps(point): point for points in growing.values() for point in points}.values()

    def size(point):
        return point["samples"] * point["units"] * point["layers"] / 1e4

    measured = [{**p, "seconds": [0.1 * size(p)] * 3, "peak_bytes": [1e7 * size(p) ** 0.5] * 3} for p in points]
    return {
        **result(ROWS),
        "base": base,
        "growing": growing,
        "data": "synthetic data",
        "samples_kept_as_floats": 300,
        "points": measured,
        "writeup_run": {"units": 1000, "peak_bytes": [165e6] * 3},
    }


def flat(page):
    return " ".join(page.split())


def test_servers_are_shown_by_connections_with_the_target(tmp_path):
    one = {"requests_per_second": 4_000.0, "p50_us": 900.0, "p99_us": 2_500.0, "processor_us": 250.0}
    other = {"requests_per_second": 1_000.0, "p50_us": 9_000.0, "p99_us": 25_000.0, "processor_us": 1_000.0}
    serve = {
        "machine": {"processor": "a processor", "cores": 2, "system": "Linux"},
        "versions": {"chalknet": "0.1.0"},
        "network": "784-100-10",
        "rounds": 3,
        "seconds": 4,
        "medians": {"rows": {"64": {"chalknet": one, "scikit-learn": other}}},
    }
    store(tmp_path, baselines_2_cores=result(ROWS), serve=serve)
    page = write_docs.page()
    assert row_of(page, "a row of JSON | 64 | chalknet")[-4:] == ["4,000", "0.90 ms", "2.50 ms", "0.25 ms"]
    assert "answers 4.0 times as many rows in a second as the server around scikit-learn (target: 3)." in flat(page)
