"""Measure what recipe strong gains over a dense network and the write-up's, and how well it reads real letters.

    python benchmarks/recipes.py REAL.npz [-o FILE]   measures all, in 40 minutes on two cores
    python benchmarks/recipes.py --docs               writes the tables of docs/recipes/strong.md

REAL.npz has notMNIST images and their labels. The recipes train on 80 % of them and use 10 % for
validation, with five seeds (each for the split and the initial weights), in turns, so that other work
on the machine affects all alike. Then strong trains on the built-in glyphs with three seeds and
classifies all images of REAL.npz.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special
from stored_page import show_or_write

import chalknet
from chalknet.machine.facts import machine_facts
from chalknet.studies.intervals import wilson

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "results" / "recipes.json"
PAGE = ROOT / "docs" / "recipes" / "strong.md"
BEGIN, END = "<!-- written by benchmarks/recipes.py --docs -->", "<!-- end -->"
SEEDS, GLYPH_SEEDS = range(5), range(3)
# Recipe and budget of each column.
KINDS = {
    "writeup": ("writeup", None),
    "strong-dense": ("strong-dense", None),
    "strong, fast": ("strong", "fast"),
    "strong, best": ("strong", "best"),
    "strong": None,  # the first network of the best budget is the one that the default budget trains
}
SPLIT = {"split": "stratified", "train_size": 0.8, "valid_size": 0.1}


def on_real_letters(data: chalknet.Dataset) -> list[dict[str, Any]]:
    """Return scores and seconds of all recipes for each seed."""
    rows = []
    for seed in SEEDS:
        row: dict[str, Any] = {"seed": seed}
        for name, chosen in KINDS.items():
            if chosen is not None:
                started, cpu_started = time.perf_counter(), time.process_time()
                run = chalknet.train(data, chosen[0], budget=chosen[1], seed=seed, split_seed=seed, **SPLIT)
                taken = time.perf_counter() - started, time.process_time() - cpu_started
                n_networks = len(run.members) or 1
            else:
                run, taken = run.members[0], (taken[0] / n_networks, taken[1] / n_networks)
            row[name] = {
                "valid": run.kept.valid.accuracy,
                "test": run.kept.test.accuracy,
                "epochs": len(run.history),
                "seconds": taken[0],
                "cpu_seconds": taken[1],
            }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def from_glyphs(real: chalknet.Dataset) -> dict[str, Any]:
    """Return the accuracy on the real letters of each network, and of their ensemble."""
    rows, probabilities = [], []
    for seed in GLYPH_SEEDS:
        started, cpu_started = time.perf_counter(), time.process_time()
        run = chalknet.train("glyphs", "strong", seed=seed)
        seconds = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}
        probabilities.append(run.network.predict_proba(real.inputs))
        correct = int((probabilities[-1].argmax(axis=1) == real.labels).sum())
        rows.append({"seed": seed, "valid": run.kept.valid.accuracy, "right": correct, **seconds})
        print(json.dumps(rows[-1]), flush=True)
    together = int((np.mean(probabilities, axis=0).argmax(axis=1) == real.labels).sum())
    return {"networks": rows, "ensemble_right": together, "n": len(real)}


def tables(result: dict[str, Any]) -> str:
    """Return the tables of the page from a stored result."""
    lines = [f"| split seed | {' | '.join(KINDS)} |", f"|---|{'---|' * len(KINDS)}"]
    for row in result["real"]:
        shown = [f"{100 * row[name]['test']:.2f} %" for name in KINDS]
        lines.append(f"| {row['seed']} | {' | '.join(shown)} |")
    tests = {name: [100 * row[name]["test"] for row in result["real"]] for name in KINDS}
    means = [f"{statistics.fmean(values):.2f} %" for values in tests.values()]
    lines.append(f"| mean | {' | '.join(means)} |")
    gains = [_gain(tests[name], tests["strong-dense"]) if name != "strong-dense" else "" for name in KINDS]
    lines.append(f"| points more than `strong-dense` (95 % interval) | {' | '.join(gains)} |")
    medians = [statistics.median(row[name]["cpu_seconds"] for row in result["real"]) for name in KINDS]
    lines.append(f"| processor seconds, median | {' | '.join(f'{one:.0f}' for one in medians)} |")
    glyphs, n = result["glyphs"], result["glyphs"]["n"]
    lines += [
        "",
        "| `strong` from glyphs | accuracy on real letters | 95 % interval (Wilson) | processor seconds |",
        "|---|---|---|---|",
    ]
    for row in glyphs["networks"]:
        lines.append(f"| seed {row['seed']} | {_accuracy(row['right'], n)} | {row['cpu_seconds']:.0f} |")
    if len(glyphs["networks"]) > 1:
        taken = sum(row["cpu_seconds"] for row in glyphs["networks"])
        lines.append(f"| ensemble of these | {_accuracy(glyphs['ensemble_right'], n)} | {taken:.0f} |")
    machine = result["machine"]
    lines += ["", f"{machine['processor']}, {machine['cores']} cores, NumPy {machine['numpy']}"]
    lines[-1] += f"{', with Numba' if result['numba'] else ''}, {result['date']}."
    lines[-1] += f" The result was {result['note']}." if "note" in result else ""
    return "\n".join(lines)


def _gain(mine: list[float], theirs: list[float]) -> str:
    """Return the mean difference with the interval of Student's t over the seeds."""
    differences = [one - other for one, other in zip(mine, theirs, strict=True)]
    half = float(special.stdtrit(len(differences) - 1, 0.975)) * statistics.stdev(differences) / len(differences) ** 0.5
    mean = statistics.fmean(differences)
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


def _accuracy(correct: int, n: int) -> str:
    interval = wilson(correct, n)
    return f"{100 * correct / n:.2f} % | {100 * interval.low:.2f} to {100 * interval.high:.2f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", nargs="?", help="an .npz file with notMNIST images and labels")
    parser.add_argument("-o", "--out", default=str(STORED))
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.docs or arguments.show:
        inner = tables(json.loads(STORED.read_text(encoding="utf-8")))
        show_or_write(PAGE, BEGIN, END, inner, only_show=arguments.show)
        return
    real = chalknet.load_data(arguments.real)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_facts(),
        "numba": find_spec("numba") is not None,
        "real": on_real_letters(real),
        "glyphs": from_glyphs(real),
    }
    Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
