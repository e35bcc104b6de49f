"""`ChalkClassifier` beside scikit-learn's `MLPClassifier` on small tables: `python benchmarks/classifier.py [-o FILE]`.

Both at their defaults, `MLPClassifier` also behind a `StandardScaler`, which `ChalkClassifier` has inside. Each trains
on the same four fifths of a table and is tried on the last, for every fifth and every seed, one after the other in this
process on one BLAS thread, in an order that turns. The interval of a difference is Student's over the pairs of one
fifth and one seed, with Nadeau and Bengio's correction for training parts that overlap. Times are medians.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import chalknet
from chalknet.machine.facts import machine_facts

TABLES: dict[str, Callable[..., Any]] = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
MAKERS: dict[str, Callable[[int], BaseEstimator]] = {
    "ChalkClassifier()": lambda seed: chalknet.ChalkClassifier(random_state=seed),
    "MLPClassifier()": lambda seed: MLPClassifier(random_state=seed),
    "StandardScaler, MLPClassifier()": lambda seed: make_pipeline(StandardScaler(), MLPClassifier(random_state=seed)),
}
OURS = "ChalkClassifier()"
SEEDS, FOLDS, LEVEL = 3, 5, 0.95


def measured(make: Callable[[int], BaseEstimator], seed: int, x: Any, y: Any, train: Any, test: Any) -> list[float]:
    """Accuracy, log loss and seconds of fit."""
    model = make(seed)
    started = time.perf_counter()
    model.fit(x[train], y[train])
    seconds = time.perf_counter() - started
    probabilities = model.predict_proba(x[test])
    return [model.score(x[test], y[test]), log_loss(y[test], probabilities, labels=np.unique(y)), seconds]


def results_of(x: Any, y: Any) -> dict[str, Any]:
    """By classifier, (seeds x folds, 3) measurements."""
    found: dict[str, list[list[float]]] = {name: [] for name in MAKERS}
    names = list(MAKERS)
    for seed in range(SEEDS):
        for fold, (train, test) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y)):
            turn = (seed * FOLDS + fold) % len(names)
            for name in names[turn:] + names[:turn]:
                found[name].append(measured(MAKERS[name], seed, x, y, train, test))
    return {name: np.array(rows) for name, rows in found.items()}


def difference(ours: Any, theirs: Any) -> dict[str, float]:
    """Mean of ours - theirs, and the half width of its interval (Nadeau and Bengio, Machine Learning 52, 2003)."""
    gaps = ours - theirs
    n = len(gaps)
    spread = gaps.std(ddof=1) * np.sqrt(1 / n + 1 / (FOLDS - 1))
    return {"mean": float(gaps.mean()), "half_width": float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * spread)}


def summary(found: dict[str, Any]) -> dict[str, Any]:
    ours = found[OURS][:, 0]
    return {
        name: {
            "accuracy": float(rows[:, 0].mean()),
            "log_loss": float(rows[:, 1].mean()),
            "fit_seconds": float(np.median(rows[:, 2])),
            "accuracy_of_ours_minus_this": difference(ours, rows[:, 0]),
        }
        for name, rows in found.items()
    }


def tables_measured() -> dict[str, Any]:
    """The summary of every table, printed as it is done."""
    tables = {}
    for table, load in TABLES.items():
        tables[table] = summary(results_of(*load(return_X_y=True)))
        for name, row in tables[table].items():
            gap = row["accuracy_of_ours_minus_this"]
            print(
                f"{table:14} {name:32} accuracy {row['accuracy']:.4f}  log loss {row['log_loss']:.3f}  "
                f"fit {row['fit_seconds']:.3f} s  ours - this {gap['mean']:+.4f} ± {gap['half_width']:.4f}",
                flush=True,
            )
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, help="JSON file to write")
    out = parser.parse_args().out
    warnings.simplefilter("ignore", ConvergenceWarning)  # of MLPClassifier's 200 epochs, which are its default
    with threadpool_limits(1):
        tables = tables_measured()
    if out:
        versions = {"chalknet": chalknet.__version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__}
        made = {"machine": machine_facts(), "versions": versions, "seeds": SEEDS, "folds": FOLDS, "tables": tables}
        out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
