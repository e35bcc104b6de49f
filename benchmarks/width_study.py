"""Training and test error against width, 1 to 4,000 units, with ten seeds: docs/studies/widths.md.

    chalknet study --config docs/studies/widths.toml --data REAL.npz --out FOLDER   trains, in 40 minutes
    python benchmarks/width_study.py FOLDER    stores the results as docs/studies/widths.csv
    python benchmarks/width_study.py --docs    writes the table of the page and widths.svg from that file

REAL.npz has notMNIST images and their labels.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure
from scipy import special
from stored_page import show_or_write

from chalknet.records import SPLITS
from chalknet.reporting.drawings.picture import drawing_bytes
from chalknet.studies.results_reader import read_results

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "studies"
STORED, PAGE, PICTURE = FOLDER / "widths.csv", FOLDER / "widths.md", FOLDER / "widths.svg"
BEGIN, END = "<!-- written by benchmarks/width_study.py --docs -->", "<!-- end -->"
COLUMNS = ("hidden", "seed", "train_error", "valid_error", "test_error", "train_loss", "seconds")
Row = dict[str, float]
Interval = tuple[float, float, float]


def rows_of(folder: str) -> list[Row]:
    """Return a row per run with scores of the last epoch: errors in [0, 1], losses in nats per sample."""
    results = read_results(folder)
    rows = []
    for run in results.runs:
        record = results.record(run.configuration, run.seed)
        assert record is not None, "the study is finished"
        last = record.history[-1]
        errors = [1 - scores.accuracy for part in SPLITS if (scores := last.scores(part)) is not None]
        (width,) = run.configuration.recipe.network.hidden
        values = (width, run.seed, *errors, last.train.loss, record.seconds)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def store(rows: list[Row]) -> None:
    with STORED.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([f"{row[name]:.6g}" for name in COLUMNS] for row in rows)


def stored_rows() -> list[Row]:
    with STORED.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def interval(values: list[float], least: float = -math.inf) -> Interval:
    """Return mean and Student's 95 % interval over the seeds, cut off at the least possible value."""
    mean = statistics.fmean(values)
    half = float(special.stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / len(values) ** 0.5
    return mean, max(mean - half, least), mean + half


def by_width(rows: list[Row], value: Callable[[Row], float]) -> dict[int, list[float]]:
    """Return the values of each width, in the order of the seeds."""
    found: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: (row["hidden"], row["seed"])):
        found.setdefault(int(row["hidden"]), []).append(100 * value(row))
    return found


def table(rows: list[Row]) -> str:
    """Return the table by width. Its last column is the difference to the widest network, seed by seed."""
    train, test = by_width(rows, lambda row: row["train_error"]), by_width(rows, lambda row: row["test_error"])
    widest = test[max(test)]
    lines = [
        "| units | training error, % | test error, % | test error above that of the widest, points |",
        "|---|---|---|---|",
    ]
    for width, values in test.items():
        above = [one - other for one, other in zip(values, widest, strict=True)]
        last = "–" if width == max(test) else _shown(interval(above), "+")
        lines.append(f"| {width:,} | {_shown(interval(train[width], 0))} | {_shown(interval(values, 0))} | {last} |")
    return "\n".join(lines)


def picture(rows: list[Row]) -> bytes:
    """Draw both errors against width, with intervals as bands and each seed as a dot."""
    drawing = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = drawing.subplots()
    for name, label, color in (("test_error", "test", "#c44e00"), ("train_error", "training", "#1f5fa8")):
        found = by_width(rows, lambda row, name=name: row[name])
        widths, limits = list(found), [interval(values, 0) for values in found.values()]
        for width, values in found.items():
            axes.plot([width] * len(values), values, ".", color=color, markersize=2.5, alpha=0.35)
        axes.fill_between(widths, [low for _, low, _ in limits], [high for *_, high in limits], color=color, alpha=0.2)
        axes.plot(widths, [mean for mean, *_ in limits], color=color, label=label)
    axes.set(xscale="log", xlabel="hidden units", ylabel="error, %", ylim=(0, 100), xlim=(0.9, 4_400))
    ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.2, 0.99))
    close = axes.inset_axes((0.46, 0.33, 0.52, 0.58))
    found = {width: interval(values) for width, values in by_width(rows, lambda row: row["test_error"]).items()}
    wide = {width: limits for width, limits in found.items() if width >= 10}
    close.fill_between(list(wide), [low for _, low, _ in wide.values()], [high for *_, high in wide.values()],
                       color="#c44e00", alpha=0.2)  # fmt: skip
    close.plot(list(wide), [mean for mean, *_ in wide.values()], color="#c44e00")
    close.set(xscale="log", title="test error from 10 units on, %")
    close.title.set_fontsize(8)
    close.set_xticks([10, 100, 1_000], ["10", "100", "1,000"])
    close.tick_params(labelsize=7)
    close.grid(True, color="#dddddd", linewidth=0.6)
    return drawing_bytes(drawing, "svg")


def _shown(limits: Interval, sign: str = "") -> str:
    mean, low, high = (round(value, 2) + 0.0 for value in limits)  # + 0.0: no -0.00
    return f"{mean:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="of the finished study")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if not (arguments.folder or arguments.docs or arguments.show):
        parser.error("give the study's folder, or --docs.")
    if arguments.folder:
        store(rows_of(arguments.folder))
        return
    rows = stored_rows()
    show_or_write(PAGE, BEGIN, END, table(rows), only_show=arguments.show)
    if arguments.docs:
        PICTURE.write_bytes(picture(rows))


if __name__ == "__main__":
    main()
