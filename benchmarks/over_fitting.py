"""How often a rise of the validation loss is said that is none: `python benchmarks/over_fitting.py [-o FILE] [--docs]`.

Losses are drawn whose mean over all seeds and images is 1 nat after every epoch, so that there is no rise; what moves
are the images (each drifts by itself, for all seeds alike), the seeds (each moves by itself, for all images alike) and
the rest. Counted are the configurations of which `loss_rise` says more than MIN_LOSS_RISE; those whose interval lies
above 0; those whose interval would lie above MIN_LOSS_RISE if the epoch were chosen on the losses that are measured;
and, with
a rise of 10 % added over the last quarter of the epochs, those of which it is said.

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
OF_IMAGES, OF_REST = 0.5, 0.3  # nats, standard deviations of a single image at the end, and of single losses
RISE, RISES_FROM = 0.1, 0.75
SEEDS = (3, 5, 10)
# how the seeds move, and by how much of the loss: each epoch anew, or by a walk that has this deviation at its end
MOVES = (("none", 0.0), ("anew", 0.05), ("anew", 0.2), ("walk", 0.05), ("walk", 0.2))
FIGURES = ("said", "above_0", "same_losses", "said_of_a_rise")


def moved(rng: np.random.Generator, shape: tuple[int, ...], how: str) -> Any:
    """Numbers of deviation 1 at the last epoch, which is the last axis."""
    steps = rng.standard_normal(shape)
    return steps if how == "anew" else np.cumsum(steps, axis=-1) / np.sqrt(shape[-1])


def drawn(rng: np.random.Generator, n_seeds: int, how: str, of_seeds: float, shared: bool) -> Any:
    """(S, E, M) losses without a rise; with images that are shared by the seeds, or are each seed's own."""
    images = moved(rng, (1 if shared else n_seeds, N_IMAGES, N_EPOCHS), "walk").transpose(0, 2, 1)
    losses = 1.0 + OF_IMAGES * images + OF_REST * rng.standard_normal((n_seeds, N_EPOCHS, N_IMAGES))
    return losses + of_seeds * moved(rng, (n_seeds, N_EPOCHS), how)[..., None]


def lowest_limit_on_the_same(losses: Any) -> float:
    """The lower limit if the epoch were chosen on the losses that are measured, as a share of the lowest."""
    mean = losses.mean(axis=(0, 2))
    squares = mean_squares(losses[:, -1] - losses[:, lowest_epoch(mean[None])])
    return float(mean_limits(squares.mean, spread_of_mean(squares), LEVEL)[0] / mean.min())


def measured(n_seeds: int, how: str, of_seeds: float, shared: bool, trials: int) -> dict[str, Any]:
    """Percent of the configurations of one setting of which a rise is said."""
    rng = np.random.default_rng([20_260_102, n_seeds, how == "walk", round(1_000 * of_seeds), shared])
    ramp = RISE * np.clip((np.arange(1, N_EPOCHS + 1) / N_EPOCHS - RISES_FROM) / (1.0 - RISES_FROM), 0.0, None)
    hits = np.zeros((trials, len(FIGURES)))
    for trial in range(trials):
        losses = drawn(rng, n_seeds, how, of_seeds, shared)
        flat, risen = (loss_rise(x.mean(axis=2), x if shared else None).rise for x in (losses, losses + ramp[:, None]))
        same = lowest_limit_on_the_same(losses)
        hits[trial] = [flat.low > MIN_LOSS_RISE, flat.low > 0, same > MIN_LOSS_RISE, risen.low > MIN_LOSS_RISE]
    shares = {name: round(100.0 * float(share), 1) for name, share in zip(FIGURES, hits.mean(axis=0), strict=True)}
    return {"n_seeds": n_seeds, "moves": how, "of_seeds": of_seeds, "shared_images": shared, **shares}


def measure(trials: int) -> dict[str, Any]:
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
    """The part of docs/statistics.md between the markers, from a stored result."""
    lines = [
        f"Percent of {result['trials']:,} configurations of {N_EPOCHS} epochs and {N_IMAGES} images; NumPy "
        f"{result['machine']['numpy']}, {result['seconds']:.0f} s in all.",
        "",
        "| seeds | images | seeds move by | said | interval above 0 | said, if chosen on the same losses "
        f"| said of a rise of {100 * RISE:.0f} % |",
        "|---|---|---|---|---|---|---|",
    ]
    ways = {"none": "nothing", "anew": "each epoch anew", "walk": "a walk"}
    for row in result["settings"]:
        size = f"{100 * row['of_seeds']:.0f} %, " if row["of_seeds"] else ""
        cells = [str(row["n_seeds"]), "shared" if row["shared_images"] else "own", f"{size}{ways[row['moves']]}"]
        lines.append("| " + " | ".join([*cells, *(f"{row[name]:.1f}" for name in FIGURES)]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 configurations a setting, to see that it runs")
    parser.add_argument("-o", "--out", type=Path, help="write the result as JSON")
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
