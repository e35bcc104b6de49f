"""Measure false findings of a rising validation loss: `python benchmarks/over_fitting.py [-o FILE] [--docs]`.

The benchmark draws losses whose mean over all seeds and images is 1 nat after every epoch, so the
true loss does not rise. The drawn losses vary in three ways: each image drifts (equally for all
seeds), each seed moves (equally for all images), and each single loss has noise. The benchmark
counts configurations in which

- `loss_rise` finds a rise larger than MIN_LOSS_RISE,
- the interval of the rise is above 0,
- the interval would be above MIN_LOSS_RISE if the lowest epoch were chosen on the same losses on
  which the rise is measured,
- a rise is found after a true rise of 10 % over the last quarter of the epochs has been added.

--docs writes the table of docs/statistics.md from the stored result, --print shows the page.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from stored_page import show_or_write

import chalknet
from chalknet.machine.facts import machine_facts
from chalknet.studies.curve_findings import MIN_LOSS_RISE
from chalknet.studies.loss_rise import loss_rise, lowest_epoch
from chalknet.studies.random_effects import mean_limits, mean_squares, spread_of_mean

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "results" / "over_fitting.json"
PAGE = ROOT / "docs" / "statistics.md"
BEGIN, END = "<!-- over-fitting: written by benchmarks/over_fitting.py --docs -->", "<!-- over-fitting: end -->"

LEVEL = 0.95
TRIALS = 1_000
N_EPOCHS, N_IMAGES = 40, 200
# Standard deviations in nats: the drift of an image until the last epoch, and the noise of a loss.
OF_IMAGES, OF_REST = 0.5, 0.3
# The true rise that is added, and the fraction of the epochs after which it starts.
RISE, RISES_FROM = 0.1, 0.75
SEEDS = (3, 5, 10)
# How seeds move, and by which standard deviation relative to the loss: independently in each epoch
# ("anew"), or by a random walk that has this deviation at its end.
MOVES = (("none", 0.0), ("anew", 0.05), ("anew", 0.2), ("walk", 0.05), ("walk", 0.2))
# Fields of a result in percent, in the order of the list above. The names are those of stored results.
FIGURES = ("said", "above_0", "same_losses", "said_of_a_rise")


def moved(rng: np.random.Generator, shape: tuple[int, ...], how: str) -> Any:
    """Draw numbers with standard deviation 1 at the last epoch, which is the last axis."""
    steps = rng.standard_normal(shape)
    return steps if how == "anew" else np.cumsum(steps, axis=-1) / np.sqrt(shape[-1])


def drawn(rng: np.random.Generator, n_seeds: int, how: str, of_seeds: float, shared: bool) -> Any:
    """Draw (S, E, M) losses without a rise; seeds have the same images if shared, else their own."""
    images = moved(rng, (1 if shared else n_seeds, N_IMAGES, N_EPOCHS), "walk").transpose(0, 2, 1)
    losses = 1.0 + OF_IMAGES * images + OF_REST * rng.standard_normal((n_seeds, N_EPOCHS, N_IMAGES))
    return losses + of_seeds * moved(rng, (n_seeds, N_EPOCHS), how)[..., None]


def lowest_limit_on_the_same(losses: Any) -> float:
    """Return the lower limit of the rise if the lowest epoch is chosen on the measured losses.

    The limit is relative to the lowest mean loss.
    """
    mean = losses.mean(axis=(0, 2))
    squares = mean_squares(losses[:, -1] - losses[:, lowest_epoch(mean[None])])
    return float(mean_limits(squares.mean, spread_of_mean(squares), LEVEL)[0] / mean.min())


def measured(n_seeds: int, how: str, of_seeds: float, shared: bool, trials: int) -> dict[str, Any]:
    """Return the percentages of one setting, by the names in FIGURES."""
    rng = np.random.default_rng([20_260_102, n_seeds, how == "walk", round(1_000 * of_seeds), shared])
    ramp = RISE * np.clip((np.arange(1, N_EPOCHS + 1) / N_EPOCHS - RISES_FROM) / (1.0 - RISES_FROM), 0.0, None)
    hits = np.zeros((trials, len(FIGURES)))
    for trial in range(trials):
        losses = drawn(rng, n_seeds, how, of_seeds, shared)
        flat, risen = (loss_rise(x.mean(axis=2), x if shared else None).rise for x in (losses, losses + ramp[:, None]))
        same = lowest_limit_on_the_same(losses)
        hits[trial] = [flat.low > MIN_LOSS_RISE, flat.low > 0, same > MIN_LOSS_RISE, risen.low > MIN_LOSS_RISE]
    rates = {name: round(100.0 * float(rate), 1) for name, rate in zip(FIGURES, hits.mean(axis=0), strict=True)}
    return {"n_seeds": n_seeds, "moves": how, "of_seeds": of_seeds, "shared_images": shared, **rates}


def measure(trials: int) -> dict[str, Any]:
    """Measure all settings, and return the result as it is stored."""
    started = time.perf_counter()
    settings = [(1, "none", 0.0, True)]
    settings += [(n, how, size, True) for n in SEEDS for how, size in MOVES]
    settings += [(n, how, size, False) for n in SEEDS for how, size in MOVES[:3]]
    rows = []
    for setting in settings:
        rows.append(measured(*setting, trials))
        print(f"{len(rows)}/{len(settings)} {rows[-1]}", file=sys.stderr)
    return {
        "chalknet": chalknet.__version__,
        "machine": machine_facts(),
        "trials": trials,
        "settings": rows,
        "seconds": round(time.perf_counter() - started, 1),
    }


def table(result: dict[str, Any]) -> str:
    """Return the text of docs/statistics.md between the markers, from a stored result."""
    lines = [
        f"Percentages of {result['trials']:,} configurations with {N_EPOCHS} epochs and {N_IMAGES} images, measured",
        f"in {result['seconds']:.0f} s with NumPy {result['machine']['numpy']}.",
        "",
        "| seeds | images | fluctuation of seeds | rise found | interval above 0 | found if chosen on the same losses "
        f"| found for a true rise of {100 * RISE:.0f} % |",
        "|---|---|---|---|---|---|---|",
    ]
    ways = {"none": "none", "anew": "independent per epoch", "walk": "random walk"}
    for row in result["settings"]:
        size = f"{100 * row['of_seeds']:.0f} %, " if row["of_seeds"] else ""
        cells = [str(row["n_seeds"]), "shared" if row["shared_images"] else "own", f"{size}{ways[row['moves']]}"]
        lines.append("| " + " | ".join([*cells, *(f"{row[name]:.1f}" for name in FIGURES)]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print the result, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 configurations per setting, as a smoke test")
    parser.add_argument("-o", "--out", type=Path, help="file to write the result to, as JSON")
    parser.add_argument("--docs", action="store_true", help="only write docs/statistics.md from the stored result")
    parser.add_argument("--print", action="store_true", help="only show the page with the table of the stored result")
    options = parser.parse_args()
    if options.docs or options.print:
        inner = table(json.loads(STORED.read_text(encoding="utf-8")))
        show_or_write(PAGE, BEGIN, END, inner, only_show=options.print)
        return
    text = json.dumps(measure(20 if options.quick else TRIALS), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
