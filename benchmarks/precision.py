"""What bfloat16 products cost in accuracy: a small study on real letters, kept under docs/studies/.

chalknet study --config docs/studies/precision.toml --data notmnist-6000.npz --out runs/precision
python benchmarks/precision.py runs/precision     stores the finished study's figures, and writes the page anew
python benchmarks/precision.py --docs             writes the page's tables from what is stored
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
    """Every run's figures, and bfloat16 less float32 with its interval over seeds and images."""
    configs = {dict(config.settings)["precision"]: config for config in results.complete_configurations}
    rows = []
    for precision, config in configs.items():
        for seed in results.seeds:
            run = results.run(config, seed)
            assert run is not None
            scores = {part: run.kept.scores(part) for part in ("train", *SPLITS)}
            row: dict[str, Any] = {
                "precision": precision,
                "seed": seed,
                "trained": run.trained,
                "seconds": run.seconds,
            }
            for part, one in scores.items():
                assert one is not None
                row |= {f"{part}_loss": one.loss, f"{part}_accuracy": one.accuracy}
            rows.append(row)
    differences = {}
    for part in SPLITS:
        correct = results.correct(part)
        short, full = (correct[configs[precision].label] for precision in ("bfloat16", "float32"))
        one = difference(short, full, labels=("bfloat16", "float32"))
        differences[part] = {"difference": one.difference, "low": one.low, "high": one.high, "images": one.n_images}
    run = results.run(configs["float32"], results.seeds[0])
    assert run is not None
    return {"machine": run.machine, "runs": rows, "differences": differences}


def tables(stored: dict[str, Any]) -> str:
    """The page's tables."""
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
                ", ".join(f"{100 * function([row[f'{part}_accuracy'] for row in rows]):.2f}" for part in SPLITS)
            )
        lines.append(f"| {name} | {' | '.join(cells)} | |")
    lines += ["", "| bfloat16 less float32 | points | 95 % interval, seeds and images | images |", "|---|---|---|---|"]
    for part, one in stored["differences"].items():
        low, high = (f"{100 * one[side]:+.2f}" for side in ("low", "high"))
        lines.append(f"| {part} accuracy | {100 * one['difference']:+.2f} | {low} to {high} | {one['images']:,} |")
    machine = stored["machine"]
    trained = sorted({row["trained"] for row in stored["runs"]})
    return "\n".join(
        [*lines, "", f"{machine['processor']}, {machine['cores']} cores. Trained by: {'; '.join(trained)}."]
    )


def _accuracies(row: dict[str, Any]) -> str:
    return ", ".join(f"{100 * row[f'{part}_accuracy']:.2f} %" for part in SPLITS)


def csv_text(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="of the finished study")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.folder:
        found = figures(read_results(arguments.folder))
        STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (STUDY / "precision.csv").write_text(csv_text(found["runs"]), encoding="utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    show_or_write(PAGE, BEGIN, END, tables(stored), only_show=arguments.show)


if __name__ == "__main__":
    main()
