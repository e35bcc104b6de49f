"""Compare settings of recipe rows: `python benchmarks/rows_plans.py [--tables FOLDER] [-o FILE]`.

Each variant trains on 70 % of the tuning tables with fewer than 1,300 rows, on one thread, and is scored
on the rest. FOLDER is one that `tables.py --write` has made. The tables of part unseen are not used.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tabular.scores import scores_of
from tabular.sets import LABEL, sets_of
from tabular.worker import read_table, split
from threadpoolctl import threadpool_limits

import chalknet
from chalknet.data.tables.encoding import find_encoding
from chalknet.training.rows_recipe import PLANS, RowsPlan

OUT = Path(__file__).parents[1] / "docs" / "recipes" / "study-tables.csv"
MAX_ROWS = 1_300
DEFAULT = PLANS["default"]


@dataclass(frozen=True)
class Variant:
    """A plan and the fields of the recipe that differ from recipe rows."""

    plan: RowsPlan = DEFAULT
    settings: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {
    "default": Variant(),
    "fast": Variant(PLANS["fast"]),
    "64 x 64 units": Variant(replace(DEFAULT, hidden=(64, 64))),
    "256 x 256 units": Variant(replace(DEFAULT, hidden=(256, 256))),
    "no embeddings": Variant(replace(DEFAULT, embeds=False)),
    "twice the updates": Variant(replace(DEFAULT, epochs=80, least_updates=1_200, most_updates=6_000)),
    "half the updates": Variant(replace(DEFAULT, epochs=20, least_updates=300)),
    "10 networks": Variant(replace(DEFAULT, n_networks=10)),
    "one network": Variant(settings={"ensemble": 1, "folds": 0, "calibrate": False, "stop_early": False}),
}


def fitted(variant: Variant, table: Any, labels: Any) -> Any:
    """Return a classifier that is trained with a variant."""
    encoding, _ = find_encoding(table)
    n_inputs = table.width if encoding is None else encoding.n_inputs
    n_numbers = n_inputs if encoding is None else encoding.n_numbers
    found = variant.plan.settings(len(table), n_inputs, n_numbers)
    recipe = chalknet.recipe("rows").with_settings(**{**found, **variant.settings})
    return chalknet.ChalkClassifier(recipe=recipe, random_state=0, n_jobs=1).fit(table, labels)


def measured(variant: Variant, table: Any) -> tuple[float, float, float]:
    """Return accuracy, log loss in nats, and processor seconds to train."""
    labels = np.unique(table[LABEL].to_numpy(), return_inverse=True)[1]
    train, test = split(labels, 0)
    started = time.process_time()
    model = fitted(variant, table.drop(LABEL)[train], labels[train])
    seconds = time.process_time() - started
    scores = scores_of(np.asarray(model.predict_proba(table.drop(LABEL)[test])), labels[test])
    return scores["accuracy"], scores["log_loss"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, help="folder with the tables; by default they are read from packages")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    options = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = "1"
    tables = {one.name: read_table(one.name, options.tables) for one in sets_of("tuning")}
    small = {name: table for name, table in tables.items() if len(table) < MAX_ROWS}
    with options.out.open("w", newline="", encoding="utf-8") as file, threadpool_limits(1):
        written = csv.writer(file, lineterminator="\n")
        written.writerow(["variant", "tables", "accuracy", "log_loss", "better_loss_than_default", "seconds"])
        losses: dict[str, list[float]] = {}
        for name, variant in VARIANTS.items():
            accuracies, found, seconds = zip(*(measured(variant, table) for table in small.values()), strict=True)
            losses[name] = list(found)
            n_better = sum(one < default for one, default in zip(found, losses["default"], strict=True))
            row = [name, len(small), f"{np.mean(accuracies):.4f}", f"{np.mean(found):.4f}", n_better]
            written.writerow([*row, f"{sum(seconds):.1f}"])
            file.flush()
            print(*row, f"{sum(seconds):.1f} s")


if __name__ == "__main__":
    main()
