"""Measure what early stopping with few validation samples costs: `python benchmarks/small_validation.py`.

Networks with recipe strong are trained to the last epoch on small random subsets of the built-in
glyphs and of scikit-learn's digits, a tenth of which is the validation split. The script compares the
test accuracy of the epoch that early stopping would keep with that of the last epoch, and writes
benchmarks/results/small_validation.json.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import chalknet
from chalknet.machine.facts import machine_facts
from chalknet.training.stopping import EarlyStopping

SEEDS, MAX_TEST = range(4), 1_500
SIZES = {"glyphs": (100, 250, 500, 1_000, 2_000), "digits": (144, 300, 600, 1_200)}
OUT = Path(__file__).parent / "results" / "small_validation.json"


def kept_epoch(history: tuple[chalknet.EpochRecord, ...]) -> int:
    """Return the epoch that early stopping keeps, from 0 on."""
    recipe = chalknet.recipe("strong")
    stopping, kept = EarlyStopping(recipe.stopping, recipe.training.epochs), 0
    for record in history:
        kept = record.epoch - 1 if stopping.update(record) else kept
        if stopping.should_stop:
            break
    return kept


def measured(data: chalknet.Dataset, n: int) -> dict[str, Any]:
    """Return the mean test accuracies of both choices over all seeds, with a tenth of n samples for validation."""
    n_valid, chosen, last = round(n / 10), [], []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(data))
        splits = chalknet.Splits(order[: n - n_valid], order[n - n_valid : n], order[n : n + MAX_TEST])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a small split may lack a class
            history = chalknet.train(data, splits=splits, seed=seed, stop_early=False).history
        tests = [record.test.accuracy for record in history if record.test is not None]
        chosen.append(tests[kept_epoch(history)])
        last.append(tests[-1])
    gains = [b - a for a, b in zip(chosen, last, strict=True)]
    return {"samples": n, "valid": n_valid, "chosen": fmean(chosen), "last": fmean(last), "gains": gains}


def main() -> None:
    digits = load_digits()
    sets = {
        "glyphs": chalknet.load_data("glyphs"),
        "digits": chalknet.dataset_from_arrays((digits.images * 15).astype(np.uint8), digits.target),
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for name, sizes in SIZES.items():
        for n in sizes:
            one = measured(sets[name], n)
            found.setdefault(name, []).append(one)
            print(name, n, one["valid"], f"chosen {one['chosen']:.3f}, last {one['last']:.3f}", flush=True)
    OUT.write_text(json.dumps({"machine": machine_facts(), "sets": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
