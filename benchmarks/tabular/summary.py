"""The summary of stored runs: mean scores, mean ranks, times, and runs that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabular.ranks import critical_difference, ranks_of
from tabular.scores import SCORES
from tabular.sets import BY_NAME


def key_of(run: dict[str, Any]) -> tuple[str, str, int]:
    """Return what identifies a run."""
    return run["method"], run["table"], run["seed"]


def summary(runs: list[dict[str, Any]], methods: Sequence[str]) -> dict[str, Any]:
    """Return the summary of each part that has tables with runs of all methods.

    A score is the mean over the seeds that all methods have run on a table. A method fails on a table
    if any of these runs failed, and then ranks last there. Means and times are over tables on which no
    method failed.
    """
    by_key = {key_of(run): run for run in runs}
    parts = {}
    for part in sorted({run["part"] for run in runs}):
        tables = {}
        for name in sorted({run["table"] for run in runs if run["part"] == part}):
            every = [{run["seed"] for run in runs if run["table"] == name and run["method"] == m} for m in methods]
            shared = sorted(set.intersection(*every))
            if shared:
                tables[name] = {m: [by_key[m, name, seed] for seed in shared] for m in methods}
        if tables:
            parts[part] = part_summary(tables, methods)
    if not parts:
        raise ValueError(f"no table has runs of all methods with the same seed: {', '.join(methods)}")
    return parts


def part_summary(tables: dict[str, dict[str, list[dict[str, Any]]]], methods: Sequence[str]) -> dict[str, Any]:
    """Return scores, ranks and times of methods on the tables of one part."""
    names = list(tables)
    values = {score: np.array([[mean_of(tables[t][m], score) for m in methods] for t in names]) for score in SCORES}
    whole = ~np.isnan(values["accuracy"]).any(axis=1)
    ranks = {score: ranks_of(values[score], sign).mean(axis=0) for score, sign in SCORES.items()}
    found = {}
    for number, method in enumerate(methods):
        runs = [run for table in names for run in tables[table][method]]
        good = [run for i, table in enumerate(names) if whole[i] for run in tables[table][method]]
        found[method] = {
            **{score: float(values[score][whole, number].mean()) if whole.any() else None for score in SCORES},
            "ranks": {score: float(ranks[score][number]) for score in SCORES},
            "fit_seconds": sum(run["fit_seconds"] for run in good),
            "predict_seconds": sum(run["predict_seconds"] for run in good),
            "median_memory_bytes": float(np.median([run["memory_bytes"] for run in good])) if good else None,
            "failed": [f"{run['table']}, seed {run['seed']}: {run['error']}" for run in runs if run["error"]],
        }
    return {
        "tables": {name: facts_of(name, tables[name]) for name in names},
        "accuracies": {
            t: {m: none_if_nan(values["accuracy"][i, j]) for j, m in enumerate(methods)} for i, t in enumerate(names)
        },
        "n_tables": len(names),
        "n_without_failure": int(whole.sum()),
        "critical_difference": critical_difference(len(methods), len(names)) if len(methods) > 1 else None,
        "methods": found,
    }


def facts_of(name: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return source, label, size and seeds of a table."""
    one = BY_NAME[name]
    facts: dict[str, Any] = {"source": one.source, "label": one.label, "quantiles": one.quantiles}
    good = next((run for found in runs.values() for run in found if not run["error"]), None)
    if good:
        facts["rows"] = good["n_train"] + good["n_test"]
        facts |= {"columns": good["n_columns"], "classes": good["n_classes"]}
    return {**facts, "seeds": [run["seed"] for run in next(iter(runs.values()))]}


def mean_of(runs: list[dict[str, Any]], score: str) -> float:
    """Return the mean of a score over seeds; NaN if a run failed."""
    return float("nan") if any(run["error"] for run in runs) else float(np.mean([run[score] for run in runs]))


def none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
