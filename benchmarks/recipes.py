"""Measure what recipe strong gains over the write-up's, and how well it reads real letters.

    python benchmarks/recipes.py REAL.npz [-o FILE]   measures both, in 20 minutes on two cores
    python benchmarks/recipes.py --docs               writes the tables of docs/recipes/strong.md

REAL.npz has notMNIST images and their labels. Both recipes train on 80 % of them and use 10 % for
validation, with five seeds (each for the split and the initial weights), in turns, so that other work
on the machine affects both alike. Then strong trains on the built-in glyphs with five seeds and
classifies all images of REAL.npz.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
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
SEEDS = range(5)
SPLIT = {"split": "stratified", "train_size": 0.8, "valid_size": 0.1}


def on_real_letters(data: chalknet.Dataset) -> list[dict[str, Any]]:
    """Return scores and seconds of both recipes for each seed."""
    rows = []
    for seed in SEEDS:
        row: dict[str, Any] = {"seed": seed}
        for name in ("writeup", "strong"):
            started = time.perf_counter()
            run = chalknet.train(data, name, seed=seed, split_seed=seed, **SPLIT)
            row[name] = {
                "valid": run.kept.valid.accuracy,
                "test": run.kept.test.accuracy,
                "epochs": len(run.history),
                "seconds": time.perf_counter() - started,
            }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def from_glyphs(real: chalknet.Dataset) -> dict[str, Any]:
    """Return the accuracy on the real letters of each network, and of their ensemble."""
    rows, probabilities = [], []
    for seed in SEEDS:
        started = time.perf_counter()
        run = chalknet.train("glyphs", "strong", seed=seed)
        seconds = time.perf_counter() - started
        probabilities.append(run.network.predict_proba(real.inputs))
        correct = int((probabilities[-1].argmax(axis=1) == real.labels).sum())
        rows.append({"seed": seed, "valid": run.kept.valid.accuracy, "right": correct, "seconds": seconds})
        print(json.dumps(rows[-1]), flush=True)
    together = int((np.mean(probabilities, axis=0).argmax(axis=1) == real.labels).sum())
    return {"networks": rows, "ensemble_right": together, "n": len(real)}


def tables(result: dict[str, Any]) -> str:
    """Return the tables of the page from a stored result."""
    lines = [
        "| split seed | `writeup`, test | `strong`, test | gain, points | times as long |",
        "|---|---|---|---|---|",
    ]
    gains, ratios = [], []
    for row in result["real"]:
        gain = 100 * (row["strong"]["test"] - row["writeup"]["test"])
        ratio = row["strong"]["seconds"] / row["writeup"]["seconds"]
        gains.append(gain)
        ratios.append(ratio)
        shown = [f"{100 * row[name]['test']:.2f} %" for name in ("writeup", "strong")]
        lines.append(f"| {row['seed']} | {' | '.join(shown)} | {gain:+.2f} | {ratio:.2f} |")
    means = [100 * statistics.fmean(row[name]["test"] for row in result["real"]) for name in ("writeup", "strong")]
    half = float(special.stdtrit(len(gains) - 1, 0.975)) * statistics.stdev(gains) / len(gains) ** 0.5
    mean = statistics.fmean(gains)
    lines.append(
        f"| mean | {means[0]:.2f} % | {means[1]:.2f} % | {mean:+.2f} (95 % interval {mean - half:+.2f} to "
        f"{mean + half:+.2f}) | {statistics.median(ratios):.2f} (median) |"
    )
    glyphs, n = result["glyphs"], result["glyphs"]["n"]
    lines += [
        "",
        "| trained on glyphs | accuracy on the real letters | 95 % interval (Wilson) | seconds |",
        "|---|---|---|---|",
    ]
    for row in glyphs["networks"]:
        lines.append(f"| seed {row['seed']} | {_accuracy(row['right'], n)} | {row['seconds']:.0f} |")
    seconds = sum(row["seconds"] for row in glyphs["networks"])
    lines.append(f"| ensemble of the five | {_accuracy(glyphs['ensemble_right'], n)} | {seconds:.0f} |")
    machine = result["machine"]
    lines += ["", f"{machine['processor']}, {machine['cores']} cores, NumPy {machine['numpy']}, {result['date']}."]
    return "\n".join(lines)


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
        "real": on_real_letters(real),
        "glyphs": from_glyphs(real),
    }
    Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
