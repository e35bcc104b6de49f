"""The comparison on public tables: parts, columns, scores, ranks, runs and their summary."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import figures
import numpy as np
import polars as pl
import pytest
import tables
import write_docs
from tabular import columns, page, ranks, scores, sets, summary, worker
from tabular.methods import METHODS, Prepared, as_few_categories, as_filled, as_matrix, as_texts, create

BENCHMARKS = Path(tables.__file__).parent


# Sets


def test_the_name_alone_decides_the_part():
    # By hand: sha256sum of the name, modulo 3.
    assert {name: sets.part_of(name) for name in PARTS_BY_HAND} == PARTS_BY_HAND
    found = [sets.part_of(one.name) for one in sets.SETS]
    assert 0.6 < found.count("tuning") / len(found) < 0.73
    assert sorted(map(str, sets.sets_of("tuning") + sets.sets_of("unseen"))) == sorted(map(str, sets.SETS))


PARTS_BY_HAND = {"a": "tuning", "b": "tuning", "g": "unseen", "h": "unseen"}


def test_names_and_sources_of_tables_are_unique():
    assert len(sets.BY_NAME) == len({one.source for one in sets.SETS}) == len(sets.SETS)
    assert {sets.module_of(one.source) for one in sets.SETS} == set(sets.LICENSES)


def test_an_unknown_table_is_named():
    with pytest.raises(ValueError, match=r"no table is called 'iris'\. Use tuning, unseen, all"):
        sets.sets_of("phishing,iris")


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(sets, "find_spec", lambda _: None)
    with pytest.raises(sets.MissingPackageError, match=r"catboost, which is not installed. Run make .venv-tables"):
        create("catboost", 0)
    with pytest.raises(sets.MissingPackageError, match="table phishing needs the package river"):
        sets.read_source(sets.BY_NAME["phishing"])


def test_a_table_has_typed_columns_and_its_label(monkeypatch):
    pandas = pytest.importorskip("pandas")
    n = sets.MIN_CLASS_ROWS
    frame = pandas.DataFrame(
        {
            "code": [1.0, 2.0, None, 1.0] * n,
            "whole": [1.0, 2.0, None, 4.0] * n,
            "part": [1.5, 2.0, None, 4.0] * n,
            "text": [" a", ".", "", None] * n,
            "on": ["2020-01-02", "2020-01-03", None, "2020-01-05"] * n,
            "an id": range(4 * n),
            "z": range(4 * n),
            "y": ["yes", "no", None, "no"] * n,
        }
    )
    frame.loc[0, "y"] = "rare"
    monkeypatch.setattr(sets, "read_source", lambda _: frame)
    found = sets.table_of(sets.TableSet("made", "river/made", "y", drop="an id, z", nominal="code", dates="on"))
    kinds = {"code": pl.String, "whole": pl.Int64, "part": pl.Float64, "text": pl.String}
    assert {name: found.schema[name] for name in kinds} == kinds
    assert found.schema["on"].is_temporal()
    assert set(found.columns) == {*kinds, "on", "label"}
    assert found["text"].null_count() == found.height - (found["text"] == "a").sum()
    # One "yes" became "rare"; n - 1 rows of "yes" are too few, and n rows have no label.
    assert found["label"].unique().to_list() == ["no"]
    assert found.height == 2 * n


def test_a_number_is_cut_at_its_quantiles(monkeypatch):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": range(40), "y": range(40)})
    monkeypatch.setattr(sets, "read_source", lambda _: frame)
    found = sets.table_of(sets.TableSet("made", "river/made", "y", quantiles=4))
    assert found["label"].to_list() == [f"quantile {k}" for k in (1, 2, 3, 4) for _ in range(10)]
    assert found.columns == ["x", "label"]


# Columns


@pytest.fixture
def made():
    return pl.DataFrame({"n": [1.0, 3.0, None, 8.0], "t": ["a", "b", "a", None], "b": [True, False, True, True]})


def test_a_matrix_has_scaled_numbers_and_dummies(made):
    found = columns.Columns(made)
    matrix = found.matrix(pl.DataFrame({"n": [None, 8.0], "t": ["c", None], "b": [None, False]}, made.schema))
    filled = np.array([1.0, 3.0, 3.0, 8.0])
    assert matrix[:, 0] == pytest.approx((np.array([3.0, 8.0]) - filled.mean()) / filled.std())
    assert matrix[:, 1] == pytest.approx((np.array([1.0, 0.0]) - 0.75) / np.sqrt(0.1875))
    assert matrix[:, 2:].tolist() == [[0, 0, 0], [0, 1, 0]]  # a, missing and b; c is unknown


def test_the_most_frequent_categories_are_kept():
    texts = [f"c{k}" for k in range(60) for _ in range(60 - k)]
    found = columns.Columns(pl.DataFrame({"t": texts}))
    matrix = found.matrix(pl.DataFrame({"t": ["c0", "c49", "c50"]}))
    assert matrix.shape == (3, columns.MAX_DUMMIES)
    assert matrix.sum(axis=1).tolist() == [1, 1, 0]


def test_a_frame_has_categories_and_optional_medians(made):
    pytest.importorskip("pandas")
    found = columns.Columns(made)
    plain, few = found.frame(made), found.frame(made, max_categories=1)
    assert plain["t"].astype(str).tolist() == ["a", "b", "a", columns.MISSING]
    assert plain["n"].isna().tolist() == [False, False, True, False]
    assert few["t"].isna().tolist() == [False, True, False, True]
    assert as_filled(found, made)["n"].tolist() == [1, 3, 3, 8]
    assert as_texts(found, pl.DataFrame({**made.to_dict(), "t": ["z"] * 4}))["t"].tolist() == ["(unknown)"] * 4
    assert len(as_few_categories(found, made)) == 4


def test_a_date_becomes_days_month_weekday_and_hour():
    frame = pl.DataFrame({"on": pl.Series(["1970-01-03 12:00:00", None]).str.to_datetime()})
    found = columns.without_dates(frame)
    assert found.row(0) == (2.5, 1, 6, 12)  # a Saturday
    assert found.row(1) == (None,) * 4


# Scores


def test_scores_of_three_samples_by_hand():
    p = np.array([[0.8, 0.2], [0.4, 0.6], [0.9, 0.1]])
    found = scores.scores_of(p, np.array([0, 0, 1]))
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["log_loss"] == pytest.approx(-np.log(0.8 * 0.4 * 0.1) / 3)
    # Each sample is alone in its bin: |1 - 0.8|, |0 - 0.6| and |0 - 0.9|.
    assert found["calibration_error"] == pytest.approx((0.2 + 0.6 + 0.9) / 3)


def test_calibration_error_averages_within_a_bin():
    p = np.array([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    # In one bin: accuracy 2/3, mean confidence 0.7.
    assert scores.expected_calibration_error(p, np.array([0, 0, 1]), bins=1) == pytest.approx(0.7 - 2 / 3)
    # Bins (0.5, 0.75] with gap |1 - 1.3| / 3, and (0.75, 1] with |1 - 0.8| / 3.
    assert scores.expected_calibration_error(p, np.array([0, 0, 1]), bins=4) == pytest.approx((0.3 + 0.2) / 3)
    assert scores.expected_calibration_error([[1.0, 0.0]], np.array([0])) == 0


def test_a_probability_of_zero_has_a_finite_loss():
    found = scores.scores_of(np.array([[0.0, 1.0]]), np.array([0]))
    assert found["log_loss"] == pytest.approx(-np.log(1e-7))


def test_ranks_share_ties_and_failures_rank_last():
    accuracies = np.array([[0.9, 0.8, 0.9, np.nan], [np.nan, 0.5, 0.6, np.nan]])
    assert ranks.ranks_of(accuracies, 1).tolist() == [[1.5, 3, 1.5, 4], [3.5, 2, 1, 3.5]]
    losses = np.array([[0.3, 0.1, np.nan]])
    assert ranks.ranks_of(losses, -1).tolist() == [[2, 1, 3]]


@pytest.mark.parametrize(("n_methods", "q"), [(2, 1.960), (4, 2.569), (10, 3.164)])
def test_critical_difference_equals_demsars_table(n_methods, q):
    # With T = M (M + 1) / 6 tables, CD is the critical value q of Demsar (2006), table 5.
    assert ranks.critical_difference(n_methods, n_methods * (n_methods + 1) / 6) == pytest.approx(q, abs=1e-3)


def test_critical_difference_equals_demsars_example():
    assert ranks.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


# Runs


@pytest.fixture
def folder(tmp_path):
    """A folder with one small table under the name of a public one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    table = pl.DataFrame({"x": x, "t": ["u", "v"] * 30, "label": np.where(x > 0, "high", "low")})
    path = tmp_path / "tuning" / "phishing.parquet"
    path.parent.mkdir()
    table.write_parquet(path)
    return tmp_path


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are read as Linux has them")
def test_a_run_is_scored_in_a_process_of_its_own(folder):
    found = tables.measured("logistic", "phishing", 1, 60, folder)
    assert found["error"] is None
    assert (found["method"], found["table"], found["part"], found["seed"]) == ("logistic", "phishing", "tuning", 1)
    assert (found["n_train"], found["n_test"], found["n_columns"], found["n_classes"]) == (42, 18, 2, 2)
    assert found["accuracy"] > 0.8  # the label is the sign of x
    assert found["fit_seconds"] >= 0
    assert found["memory_bytes"] >= 0


def test_a_failed_run_is_stored_with_its_error(folder):
    found = tables.measured("logistic", "no_such_table", 0, 60, folder)
    assert "no_such_table" in found["error"]
    assert "accuracy" not in found


@pytest.mark.skipif(not hasattr(signal, "SIGXCPU"), reason="the system limits no processor time")
def test_the_system_ends_a_run_at_its_limit():
    code = "from tabular.worker import limit_processor_seconds as limit; limit(0.1)\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, check=False, timeout=60)
    assert done.returncode == -signal.SIGXCPU


def test_a_split_is_stratified_and_follows_the_seed():
    labels = np.repeat([0, 1], [80, 20])
    train, test = worker.split(labels, 0)
    assert sorted([*train, *test]) == list(range(100))
    assert np.bincount(labels[test]).tolist() == [24, 6]
    assert worker.split(labels, 0)[1].tolist() == test.tolist()
    assert worker.split(labels, 1)[1].tolist() != test.tolist()


def test_stored_runs_are_not_repeated(tmp_path, monkeypatch, capsys):
    calls = []

    def measured(method, table, seed, *_):
        calls.append((method, table, seed))
        return run(method, table, seed, 0.9)

    monkeypatch.setattr(tables, "measured", measured)
    line = Namespace(out=tmp_path / "runs.jsonl", limit=1.0, tables=None)
    tables.run_all(["logistic"], "phishing", [0], line)
    tables.run_all(["logistic"], "phishing,party", [0, 1], line)
    assert calls == [("logistic", "phishing", 0), *[("logistic", t, s) for s, t in RUN_LATER]]
    assert len(tables.stored_runs(line.out)) == 4
    assert "0.9000" in capsys.readouterr().out


RUN_LATER = [(0, "party"), (1, "party"), (1, "phishing")]


def test_scores_of_unseen_tables_are_not_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "measured", lambda m, t, s, *_: run(m, t, s, 0.9))
    (unseen, *_) = sets.sets_of("unseen")
    tables.run_all(["logistic"], unseen.name, [0], Namespace(out=tmp_path / "runs", limit=1.0, tables=None))
    assert capsys.readouterr().out.split()[-1] == "done"


def test_every_method_is_created_by_its_name():
    assert isinstance(create("logistic", 0), Prepared)
    assert create("logistic", 0).convert is as_matrix
    assert {"chalknet-default", "realmlp-bag", "tabm"} <= set(METHODS)


# The summary and the page


def run(method, table, seed, accuracy, error=None):
    facts = {"method": method, "table": table, "part": sets.part_of(table), "seed": seed, "error": error}
    if error:
        return facts
    rest = {"log_loss": 1 - accuracy, "balanced_accuracy": accuracy, "calibration_error": 0.1}
    sizes = {"n_train": 70, "n_test": 30, "n_columns": 2, "n_classes": 2}
    return {
        **facts,
        "accuracy": accuracy,
        **rest,
        "fit_seconds": 2.0,
        "predict_seconds": 1.0,
        "memory_bytes": 5e6,
        **sizes,
    }


RUNS = [
    run("a", "phishing", 0, 0.8),
    run("a", "phishing", 1, 0.9),
    run("b", "phishing", 0, 0.84),
    run("b", "phishing", 1, 0.84),
    run("b", "phishing", 2, 0.1),
    run("a", "party", 0, 0.5),
    run("b", "party", 0, 0.6, error="time: more than 300 processor seconds"),
    run("a", "olive_area", 0, 0.5),
]


def test_a_summary_averages_seeds_and_ranks_failures_last():
    found = summary.summary(RUNS, ["a", "b"])
    assert set(found) == {"tuning"}  # olive_area is unseen, and b did not run on it
    one = found["tuning"]
    assert {name: facts["seeds"] for name, facts in one["tables"].items()} == {"party": [0], "phishing": [0, 1]}
    assert (one["n_tables"], one["n_without_failure"]) == (2, 1)
    a, b = one["methods"]["a"], one["methods"]["b"]
    assert (a["accuracy"], b["accuracy"]) == pytest.approx((0.85, 0.84))
    assert (a["ranks"]["accuracy"], b["ranks"]["log_loss"]) == (1, 2)
    assert b["failed"] == ["party, seed 0: time: more than 300 processor seconds"]
    assert (a["fit_seconds"], b["fit_seconds"]) == (4, 4)  # of phishing, on which both have scores
    assert one["accuracies"]["party"] == {"a": 0.5, "b": None}
    assert one["critical_difference"] == ranks.critical_difference(2, 2)
    json.dumps(found, allow_nan=False)


def test_a_summary_without_common_runs_is_an_error():
    with pytest.raises(ValueError, match="no table has runs of all methods with the same seed: a, c"):
        summary.summary(RUNS, ["a", "c"])


def test_the_page_shows_scores_ranks_and_failures():
    result = {
        "machine": {"processor": "a processor"},
        "versions": {"chalknet": "0.1.0"},
        "limit_seconds": 300.0,
        "level": 0.95,
        "parts": summary.summary(RUNS, ["a", "b"]),
    }
    lines = page.tables_section(result, write_docs.paragraph)
    assert "| a | 85.00 % (1.00) | 0.150 (1.00) | 85.00 % (1.00) | 0.100 (1.25) | 4 | 2 | 5 | 0 |" in lines
    assert "- b: party, seed 0: time: more than 300 processor seconds" in lines
    assert "| phishing | tuning | `river/phishing` | is_phishing | 100 | 2 | 2 |" in lines
    assert page.tables_section({}, write_docs.paragraph) == []
    assert b"<svg" in figures.tables_figure(result["parts"])
