"""Measure how much accuracy bfloat16 products cost, in a small study that docs/studies/ keeps.

chalknet study --config docs/studies/precision.toml --data notmnist-6000.npz --out runs/precision
python benchmarks/precision.py runs/precision     store the results of the finished study, and write the page
python benchmarks/precision.py --docs             write the tables of the page from the stored results
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
from pathlib import Path
from typing import Any

from stored_page import show_or_write

from chalknet.studies.compare import difference
from chalknet.studies.results import StudyResults
from chalknet.studies.results_reader import read_results

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "docs" / "studies"
STORED, PAGE = STUDY / "precision.json", STUDY / "precision.md"
BEGIN, END = "<!-- written by benchmarks/precision.py --docs -->", "<!-- end -->"
SPLITS = ("valid", "test")


def figures(results: StudyResults) -> dict[str, Any]:
    """Return the scores of every run, and the differences bfloat16 - float32 with intervals."""
    configs = {dict(config.settings)["precision"]: config for config in results.complete_configurations}
    rows = []
    for precision, config in configs.items():
        for seed in results.seeds:
            run = results.run(config, seed)
            assert run is not None
            scores = {split: run.kept.scores(split) for split in ("train", *SPLITS)}
            row: dict[str, Any] = {
                "precision": precision,
                "seed": seed,
                "trained": run.trained,
                "seconds": run.seconds,
            }
            for split, one in scores.items():
                assert one is not None
                row |= {f"{split}_loss": one.loss, f"{split}_accuracy": one.accuracy}
            rows.append(row)
    differences = {}
    for split in SPLITS:
        correct = results.correct(split)
        short, full = (correct[configs[precision].label] for precision in ("bfloat16", "float32"))
        one = difference(short, full, labels=("bfloat16", "float32"))
        differences[split] = {"difference": one.difference, "low": one.low, "high": one.high, "images": one.n_images}
    run = results.run(configs["float32"], results.seeds[0])
    assert run is not None
    return {"machine": run.machine, "runs": rows, "differences": differences}


def tables(stored: dict[str, Any]) -> str:
    """Return the tables of the page."""
    lines = [
        "| seed | float32: valid, test | bfloat16: valid, test | train loss, both |",
        "|---|---|---|---|",
    ]
    by_seed: dict[int, dict[str, dict[str, Any]]] = {}
    for row in stored["runs"]:
        by_seed.setdefault(row["seed"], {})[row["precision"]] = row
    for seed, pair in by_seed.items():
        cells = [_accuracies(pair[precision]) for precision in ("float32", "bfloat16")]
        losses = ", ".join(f"{pair[precision]['train_loss']:.4f}" for precision in ("float32", "bfloat16"))
        lines.append(f"| {seed} | {' | '.join(cells)} | {losses} |")
    for name, function in (("mean", statistics.fmean), ("standard deviation", statistics.stdev)):
        cells = []
        for precision in ("float32", "bfloat16"):
            rows = [pair[precision] for pair in by_seed.values()]
            cells.append(
                ", ".join(f"{100 * function([row[f'{split}_accuracy'] for row in rows]):.2f}" for split in SPLITS)
            )
        lines.append(f"| {name} | {' | '.join(cells)} | |")
    lines += ["", "| bfloat16 - float32 | points | 95 % interval over seeds and images | images |", "|---|---|---|---|"]
    for split, one in stored["differences"].items():
        low, high = (f"{100 * one[side]:+.2f}" for side in ("low", "high"))
        lines.append(f"| {split} accuracy | {100 * one['difference']:+.2f} | {low} to {high} | {one['images']:,} |")
    machine = stored["machine"]
    trained = sorted({row["trained"] for row in stored["runs"]})
    return "\n".join(
        [*lines, "", f"{machine['processor']}, {machine['cores']} cores. Trained by: {'; '.join(trained)}."]
    )


def _accuracies(row: dict[str, Any]) -> str:
    """Return the validation and test accuracy of a run as text."""
    return ", ".join(f"{100 * row[f'{split}_accuracy']:.2f} %" for split in SPLITS)


def csv_text(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def main() -> None:
    """Store the results of a finished study, and write or show the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder of the finished study")
    parser.add_argument("--docs", action="store_true", help="only write the page from the stored results")
    parser.add_argument("--print", action="store_true", dest="show", help="only show the page")
    arguments = parser.parse_args()
    if arguments.folder:
        found = figures(read_results(arguments.folder))
        STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (STUDY / "precision.csv").write_text(csv_text(found["runs"]), encoding="utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    show_or_write(PAGE, BEGIN, END, tables(stored), only_show=arguments.show)


if __name__ == "__main__":
    main()
