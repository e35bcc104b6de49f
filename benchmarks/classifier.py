"""Compare `ChalkClassifier` with scikit-learn's `MLPClassifier`: `python benchmarks/classifier.py [-o FILE]`.

Both use their default settings on small tables. `MLPClassifier` is also measured after a
`StandardScaler`, because `ChalkClassifier` scales by itself. Each trains on four fifths of a table and
is tested on the rest, for every fifth and every seed.

With --tuned FILE, both are also tuned by a random search with the same number of trials, on images
too. The first trial uses the defaults. Trials are scored on validation samples of the training
samples only, and only the best one is tested.

Timed fits run one after the other in this process on one BLAS thread, in changing order; the trials
of a search share the cores. The interval of a difference is Student's over pairs of the same split,
with Nadeau and Bengio's correction for training samples that splits share. Times are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from scipy import stats
from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, ParameterSampler, StratifiedKFold, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
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


def measured(model: BaseEstimator, x: Any, y: Any, train: Any, test: Any) -> list[float]:
    """Return accuracy, log loss and seconds to fit of a classifier on one split."""
    started = time.perf_counter()
    model.fit(x[train], y[train])
    seconds = time.perf_counter() - started
    probabilities = model.predict_proba(x[test])
    return [model.score(x[test], y[test]), log_loss(y[test], probabilities, labels=np.unique(y)), seconds]


def results_of(x: Any, y: Any) -> dict[str, Any]:
    """Return (seeds x folds, 3) measurements by classifier."""
    found: dict[str, list[list[float]]] = {name: [] for name in MAKERS}
    names = list(MAKERS)
    for seed in range(SEEDS):
        for fold, (train, test) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y)):
            turn = (seed * FOLDS + fold) % len(names)
            for name in names[turn:] + names[:turn]:
                found[name].append(measured(MAKERS[name](seed), x, y, train, test))
    return {name: np.array(rows) for name, rows in found.items()}


def difference(ours: Any, theirs: Any, ratio: float = 1 / (FOLDS - 1)) -> dict[str, float]:
    """Return the mean difference of two accuracies and the half width of its 95 % interval.

    Args:
        ours: accuracies of one classifier.
        theirs: accuracies of the other, on the same splits.
        ratio: number of test samples divided by that of training samples.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52 (2003).
    """
    gaps = ours - theirs
    n = len(gaps)
    spread = gaps.std(ddof=1) * np.sqrt(1 / n + ratio)
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
    """Measure all tables; print and return the summary of each."""
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


@dataclass(frozen=True)
class Trials:
    """The amount of work: trials of a search, splits, and images for training and for test."""

    n_trials: int = 10
    n_splits: int = 5
    n_images: int = 1_000


QUICK = Trials(2, 2, 120)
# Fraction of the training samples on which trials are scored, for images and digits.
VALIDATION_FRACTION = 0.25
# Folds for the same on tables of fewer than SMALL samples.
SMALL_FOLDS = 3
SMALL = 1_000
IMAGE_SHAPE = (28, 28)
OURS_TUNED, THEIRS_TUNED = "ChalkClassifier, tuned", "MLPClassifier, tuned"
OURS_ON_IMAGES = "ChalkClassifier(image_shape=(28, 28))"

# The search spaces: the settings that the documentation of each classifier says to choose.
OUR_SPACE = {
    "hidden": [(128,), (256,), (512,), (256, 128)],
    "learning_rate": loguniform(1e-3, 1e-2),
    "batch_size": [32, 64, 128],
    "dropout": [0.0, 0.1, 0.3],
    "weight_decay": loguniform(1e-3, 3e-1),
    "early_stopping": [True, False],
}
THEIR_SPACE = {
    "scaler": [StandardScaler(), MinMaxScaler()],
    "network__hidden_layer_sizes": [(100,), (256,), (512,), (256, 128)],
    "network__learning_rate_init": loguniform(3e-4, 1e-2),
    "network__batch_size": [32, 64, 128, 200],
    "network__alpha": loguniform(1e-5, 1e-1),
    "network__early_stopping": [True, False],
}


def tuned_sets(letters: Path, n_images: int) -> dict[str, tuple[Any, Any, list[tuple[Any, Any]], str]]:
    """Return for each set its rows, labels, splits into training and test samples, and description."""
    glyphs, real = chalknet.load_data("glyphs"), chalknet.load_data(letters)
    about = f"{n_images:,} of its images train and {n_images:,} others test"
    made = {
        "glyphs": (*_images(glyphs), f"the built-in letters; {about}"),
        "notMNIST": (*_images(real), f"{letters.name}, real letters in the format of MNIST, in its place; {about}"),
    }
    found = {}
    for name, (x, y, what) in made.items():
        split = StratifiedShuffleSplit(50, train_size=n_images, test_size=n_images, random_state=0)
        found[name] = (x, y, list(split.split(x, y)), what)
    for name, load in TABLES.items():
        x, y = load(return_X_y=True)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        found[name] = (x, y, list(folds.split(x, y)), f"{len(x):,} rows, {FOLDS} folds")
    return found


def _images(data: Any) -> tuple[Any, Any]:
    return data.inputs[:].reshape(len(data), -1), data.labels


def contestants(is_images: bool, n_train: int, n_trials: int) -> dict[str, Callable[[int], BaseEstimator]]:
    """Return for each classifier a function that creates it from a seed; tuned ones are searches."""
    shape = {"image_shape": IMAGE_SHAPE} if is_images else {}
    theirs = Pipeline([("scaler", StandardScaler()), ("network", MLPClassifier())])
    search = partial(_search, n_train=n_train, n_trials=n_trials)
    return {
        **MAKERS,
        **({OURS_ON_IMAGES: lambda seed: chalknet.ChalkClassifier(random_state=seed, **shape)} if shape else {}),
        OURS_TUNED: lambda seed: search(chalknet.ChalkClassifier(random_state=seed, **shape), OUR_SPACE, seed),
        THEIRS_TUNED: lambda seed: search(theirs.set_params(network__random_state=seed), THEIR_SPACE, seed),
    }


def _search(model: BaseEstimator, space: dict[str, Any], seed: int, *, n_train: int, n_trials: int) -> BaseEstimator:
    if n_train < SMALL:
        folds: Any = StratifiedKFold(SMALL_FOLDS, shuffle=True, random_state=seed)
    else:
        folds = StratifiedShuffleSplit(1, test_size=VALIDATION_FRACTION, random_state=seed)
    drawn = ParameterSampler(space, n_trials - 1, random_state=seed)
    candidates = [{}, *({name: [value] for name, value in one.items()} for one in drawn)]
    return GridSearchCV(model, candidates, cv=folds, n_jobs=-1, refit=False)


def tuned(make: Callable[[int], BaseEstimator], seed: int, x: Any, y: Any) -> tuple[BaseEstimator, float]:
    """Return a classifier, or the one that its search has chosen, not fitted; and the seconds of the search."""
    model = make(seed)
    if not isinstance(model, GridSearchCV):
        return model, 0.0
    started = time.perf_counter()
    model.fit(x, y)
    chosen = sklearn.clone(model.estimator).set_params(**sklearn.clone(model.best_params_, safe=False))
    return chosen, time.perf_counter() - started


def tuned_results(x: Any, y: Any, splits: list[tuple[Any, Any]], makers: dict[str, Any]) -> dict[str, Any]:
    """Return for each classifier its measurements, (splits, 3), the seconds of the search, and the choices."""
    names = list(makers)
    found: dict[str, dict[str, Any]] = {name: {"rows": [], "search": [], "chosen": []} for name in names}
    for number, (train, test) in enumerate(splits):
        models = {}
        for name in names:
            models[name], seconds = tuned(makers[name], number, x[train], y[train])
            found[name]["search"].append(seconds)
            found[name]["chosen"].append(str(models[name]) if seconds else "")
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name]["rows"].append(measured(models[name], x, y, train, test))
    return found


def tuned_summary(found: dict[str, Any], ratio: float) -> dict[str, Any]:
    """Return for each classifier the means, and the difference of each of ours to it.

    Args:
        found: from `tuned_results`.
        ratio: number of test samples divided by that of training samples.
    """
    rows = {name: np.array(one["rows"]) for name, one in found.items()}
    ours = [name for name in found if name.startswith("Chalk")]
    return {
        name: {
            "accuracy": float(rows[name][:, 0].mean()),
            "log_loss": float(rows[name][:, 1].mean()),
            "fit_seconds": float(np.median(rows[name][:, 2])),
            "search_seconds": float(np.median(one["search"])),
            "chosen": one["chosen"],
            "measurements": rows[name].tolist(),
            "ahead": {mine: difference(rows[mine][:, 0], rows[name][:, 0], ratio) for mine in ours if mine != name},
        }
        for name, one in found.items()
    }


def tuned_measured(letters: Path, trials: Trials) -> dict[str, Any]:
    """Measure all sets; print and return the summary of each."""
    sets = {}
    for name, (x, y, every_split, what) in tuned_sets(letters, trials.n_images).items():
        splits = every_split[: trials.n_splits]
        train, test = splits[0]
        makers = contestants(x.dtype == np.uint8, len(train), trials.n_trials)
        rows = tuned_summary(tuned_results(x, y, splits, makers), len(test) / len(train))
        sets[name] = {"what": what, "train": len(train), "test": len(test), "splits": len(splits), "rows": rows}
        for row, one in rows.items():
            gap = one["ahead"].get(OURS_TUNED, {"mean": 0.0, "half_width": 0.0})
            print(
                f"{name:14} {row:38} accuracy {one['accuracy']:.4f}  fit {one['fit_seconds']:6.2f} s  "
                f"search {one['search_seconds']:6.1f} s  tuned less this {gap['mean']:+.4f} ± {gap['half_width']:.4f}",
                flush=True,
            )
    return {"n_trials": trials.n_trials, "sets": sets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tuned",
        type=Path,
        metavar="FILE",
        help="also compare tuned classifiers; FILE has real letters of 28 x 28 pixels",
    )
    parser.add_argument("--quick", action="store_true", help="with --tuned: two trials and splits, few images")
    parser.add_argument("-o", "--out", type=Path, help="JSON file to write")
    line = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "ignore"  # for the processes of a search
    warnings.simplefilter("ignore", ConvergenceWarning)  # 200 epochs are the default of MLPClassifier
    with threadpool_limits(1):
        if line.tuned:
            found = tuned_measured(line.tuned, QUICK if line.quick else Trials())
        else:
            found = {"seeds": SEEDS, "folds": FOLDS, "tables": tables_measured()}
    if line.out:
        versions = {"chalknet": chalknet.__version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__}
        made = {"machine": machine_facts(), "versions": versions, **found}
        line.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
