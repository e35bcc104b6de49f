"""Choose the settings of recipe strong-rows: `python benchmarks/rows_recipe.py LETTERS [-o FILE]`.

It takes ten minutes on one thread. Candidates are cross-validated on training samples: of the tables
digits and breast cancer, and of 1,000 letter images used as rows, built-in ones and those of LETTERS, an
.npz file in notMNIST's layout. Samples on which `benchmarks/classifier.py` tests are not used.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from classifier import tuned_sets
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

import chalknet

OUT = Path(__file__).parents[1] / "docs" / "recipes" / "study-rows.csv"
FIELDS = ("hidden", "batch_size", "learning_rate", "epochs")
CANDIDATES = [
    (256, 64, 5e-3, 40),
    (128, 64, 5e-3, 40),
    (100, 64, 5e-3, 40),
    (128, 128, 5e-3, 40),
    (128, 128, 7e-3, 40),
    (128, 128, 7e-3, 30),
]
SPLITS, FOLDS = 3, 5
# For each set, how often cross-validation is repeated with other seeds.
REPEATS = {"glyphs": 1, "notMNIST": 1, "digits": 2, "breast_cancer": 4}


def cross_validated(settings: dict[str, Any], x: Any, y: Any, seed: int) -> list[tuple[float, float, float]]:
    """Return accuracy, log loss in nats and seconds to fit of each fold."""
    found = []
    for fold, (train, valid) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y)):
        model = chalknet.ChalkClassifier(random_state=seed + fold, **settings)
        started = time.perf_counter()
        model.fit(x[train], y[train])
        seconds = time.perf_counter() - started
        probabilities = model.predict_proba(x[valid])
        correct = model.classes_[probabilities.argmax(1)] == y[valid]
        found.append((float(correct.mean()), log_loss(y[valid], probabilities, labels=model.classes_), seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("letters", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    options = parser.parse_args()
    sets = tuned_sets(options.letters, 1000)
    with options.out.open("w", newline="", encoding="utf-8") as file, threadpool_limits(1):
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*FIELDS, "set", "accuracy", "standard_error", "log_loss", "seconds"])
        for name, repeats in REPEATS.items():
            x, y, splits, _ = sets[name]
            parts = [(x[train], y[train], seed) for train, _ in splits[:SPLITS] for seed in range(repeats)]
            for candidate in CANDIDATES:
                settings = dict(zip(FIELDS, candidate, strict=True))
                runs = np.array([run for part in parts for run in cross_validated(settings, *part)])
                accuracy, loss, _ = runs.mean(axis=0)
                error, seconds = runs[:, 0].std(ddof=1) / np.sqrt(len(runs)), np.median(runs[:, 2])
                row = [f"{accuracy:.4f}", f"{error:.4f}", f"{loss:.4f}", f"{seconds:.3f}"]
                table.writerow([*candidate, name, *row])
                print(*candidate, name, *row, flush=True)


if __name__ == "__main__":
    main()
