"""Measure the coverage of the intervals of studies.

Usage: `python benchmarks/interval_coverage.py [--quick] [-o FILE] [--docs]`

The benchmark simulates classifiers with known accuracy (`chalknet.studies.simulation`). In each
setting it draws 1,000 studies of three configurations: two with equal accuracy and a worse one. It
counts the studies whose 95 % interval contains the truth, for three quantities: the accuracy of the
first configuration, the difference of the two equal ones, and the difference of the first and the
third. It also counts the studies in which the two equal configurations are significantly different
at 5 %. In some settings the Multi-Bootstrap is measured too, and timed.

--docs writes the tables of docs/statistics.md from the stored result, --print shows them.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy import special
from stored_page import show_or_write

import chalknet
from chalknet.machine.facts import machine_facts
from chalknet.studies.bootstrap import choice_optimism, multi_bootstrap
from chalknet.studies.intervals import mcnemar
from chalknet.studies.random_effects import (
    MeanSquares,
    Spread,
    accuracy_limits,
    mean_limits,
    mean_squares_of,
    spread_of_difference,
    variance_of_mean,
)
from chalknet.studies.simulation import DIFFICULTIES, population, simulate

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "results" / "coverage.json"
PAGE = ROOT / "docs" / "statistics.md"
BEGIN, END = "<!-- coverage: written by benchmarks/interval_coverage.py --docs -->", "<!-- coverage: end -->"

LEVEL = 0.95
BAND = (93.0, 97.0)  # coverage outside this band, in percent, is printed in bold
MAX_FALSE = 6.0  # so are false positive rates above this
TRIALS = 1_000
SEEDS = (3, 5, 10, 30)
IMAGES = (1_000, 2_724)
ACCURACIES = (0.6, 0.92, 0.97, 0.99)
SPREADS = (0.0, 1.0, 3.0)
# The bootstrap takes a hundred times as long, so it is measured in a few settings only.
BOOTSTRAP_TRIALS, BOOTSTRAP_RESAMPLES, BOOTSTRAP_IMAGES, BOOTSTRAP_ACCURACY = 500, 500, 1_000, 0.92
OPTIMISM_TRIALS, OPTIMISM_RESAMPLES = 2_000, 200
ONE_SEED = 1
REPEATS = 5
# Fields of a result in percent. The names are those of stored results.
RATES = ("cell", "equal", "worse", "called_different")
# How large the residual variance is compared to the variance of images. It is small for one
# configuration, because seeds agree on most images. It can be all of it for a difference, if the
# images are equally hard for both configurations.
NORMAL_RESTS, NORMAL_DRAWS = {False: (0.0, 0.15, 0.3, 0.5), True: (0.3, 0.6, 1.0)}, 20_000
SETTING_HEAD = (
    "| images | seeds | images are | accuracy | spread | configuration | equal | unequal | significantly different |",
    "|---|---|---|---|---|---|---|---|---|",
)


def worse_than(accuracy: float) -> float:
    """Return the third accuracy: 2 points lower, or 1.5 times the errors if that is closer."""
    return accuracy - min(0.02, (1.0 - accuracy) / 2.0)


def setting_seed(*setting: Any) -> list[int]:
    """Return the seed of a setting, so that each setting can be repeated alone."""
    return [20_260_101, *(round(1_000 * part) for part in setting)]


def measured(
    accuracy: float, spread: float, difficulty: str, n_seeds: int, n_images: int, trials: int, repeat: int = 0
) -> dict[str, Any]:
    """Return coverage and false positive rate of one setting, in percent."""
    of = population(accuracy, spread, difficulty, n_images)
    truths = (accuracy, accuracy, worse_than(accuracy))
    seed = setting_seed(accuracy, spread, DIFFICULTIES.index(difficulty), n_seeds, n_images)
    rng = np.random.default_rng([*seed, repeat] if repeat else seed)
    by_seed, by_image = np.empty((3, trials, n_seeds)), np.empty((3, trials, n_images))
    for trial in range(trials):
        for c, config in enumerate(simulate(truths, of, n_seeds, n_images, rng)):
            by_seed[c, trial] = np.count_nonzero(config, axis=1)
            by_image[c, trial] = np.add.reduce(config.view(np.uint8), axis=0, dtype=np.uint8)
    by_seed /= n_images
    by_image /= n_seeds
    configs = [mean_squares_of(by_seed[c], by_image[c], by_seed[c].sum(axis=-1) * n_images) for c in range(3)]
    equal, false = difference_covered(by_image[0] - by_image[1], configs[:2], 0.0)
    if n_seeds == ONE_SEED:  # with one seed, McNemar's exact test decides
        false = percent([mcnemar(*runs).p_value < 1.0 - LEVEL for runs in zip(by_image[0], by_image[1], strict=True)])
    worse, _ = difference_covered(by_image[0] - by_image[2], [configs[0], configs[2]], truths[0] - truths[2])
    return {
        "accuracy": accuracy,
        "seed_spread": spread,
        "difficulty": difficulty,
        "n_seeds": n_seeds,
        "n_images": n_images,
        "cell": percent(covered(accuracy_limits(configs[0], LEVEL), accuracy)),
        "equal": equal,
        "worse": worse,
        "called_different": false,
    }


def repeated(rows: Sequence[dict[str, Any]], trials: int) -> list[dict[str, Any]]:
    """Measure settings outside the band again, with REPEATS times as many studies.

    This distinguishes a real deviation from chance.
    """
    found = []
    for row in rows:
        if all(within(row[name]) for name in RATES[:3]) and row["called_different"] <= MAX_FALSE:
            continue
        setting = {name: row[name] for name in ("accuracy", "difficulty", "n_seeds", "n_images")}
        again = [measured(**setting, spread=row["seed_spread"], trials=trials, repeat=k + 1) for k in range(REPEATS)]
        found.append(row | {name: round(float(np.mean([one[name] for one in again])), 2) for name in RATES})
    return found


def difference_covered(by_image: Any, configs: Sequence[MeanSquares], truth: float) -> tuple[float, float]:
    """Return the percentages of studies whose interval contains the truth, and with p < 5 %."""
    spread: Spread = spread_of_difference(by_image, configs)
    value = by_image.mean(axis=-1)
    varies = spread.variance > 0.0
    t = np.abs(value) / np.sqrt(np.where(varies, spread.variance, 1.0))
    p = np.where(varies, 2.0 * special.stdtr(spread.df, -t), np.where(value == 0.0, 1.0, 0.0))
    return percent(covered(mean_limits(value, spread, LEVEL), truth)), percent(p < 1.0 - LEVEL)


def covered(limits: tuple[Any, Any], truth: float) -> Any:
    """Return whether each interval contains the truth."""
    return (limits[0] <= truth) & (truth <= limits[1])


def percent(hits: Any) -> float:
    """Return the percentage of True, rounded."""
    return round(100.0 * float(np.mean(hits)), 2)


def normal_measured(n_seeds: int, two_configurations: bool, draws: int) -> dict[str, Any]:
    """Return the lowest and highest coverage of `variance_of_mean` with normal effects.

    The variance of images is known and 1. The variance of seeds goes from 0 to 100, the residual
    variance over NORMAL_RESTS, and for a difference the fraction of the seed variance in the first
    configuration goes from 0.5 to 1. Given the estimated variances, the coverage is that of a
    normal mean, so only the estimates are drawn at random.
    """
    n_images, df = 10**9, n_seeds - 1
    chi = np.random.default_rng(setting_seed(n_seeds, two_configurations)).chisquare(df, (2, draws)) / df
    scale, zero, inverse = n_seeds * n_images, np.zeros(draws), np.linspace(0.0, 1.0, 1_001)
    quantiles = special.stdtrit(1.0 / np.maximum(inverse, 1e-12), (1.0 + LEVEL) / 2.0)  # smooth in 1/df
    found = []
    for rest, fraction in product(NORMAL_RESTS[two_configurations], (0.5, 0.8, 1.0) if two_configurations else (1.0,)):
        for seeds in (0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 9.0, 25.0, 100.0):
            fractions = (fraction, 1.0 - fraction) if two_configurations else (1.0,)
            rests = np.full(draws, rest / len(fractions) * scale)
            configs = [
                MeanSquares(n_seeds, n_images, zero, (scale * seeds * one + rests) * own, zero, rests)
                for one, own in zip(fractions, chi, strict=False)
            ]
            spread = variance_of_mean(np.ones(draws), n_images, configs)
            half = np.interp(1.0 / spread.df, inverse, quantiles) * np.sqrt(spread.variance / (1.0 + seeds))
            found.append(percent(2.0 * special.ndtr(half) - 1.0))
    return {
        "n_seeds": n_seeds,
        "of": "difference" if two_configurations else "cell",
        "lowest": min(found),
        "highest": max(found),
    }


def bootstrap_measured(spread: float, n_seeds: int, trials: int, resamples: int) -> dict[str, Any]:
    """Return the percentages of studies whose bootstrap intervals contain the truth.

    One interval is of the accuracy, the other of the difference 0 of two equal configurations.
    """
    accuracy, n_images = BOOTSTRAP_ACCURACY, BOOTSTRAP_IMAGES
    of = population(accuracy, spread, "graded", n_images)
    rng = np.random.default_rng(setting_seed(accuracy, spread, 9, n_seeds, n_images))
    tail = (1.0 - LEVEL) / 2.0
    hits = np.zeros((trials, 2))
    for trial in range(trials):
        found = multi_bootstrap(simulate((accuracy, accuracy), of, n_seeds, n_images, rng), rng, n_resamples=resamples)
        figures = np.stack([found[:, 0], found[:, 0] - found[:, 1]])
        low, high = np.quantile(figures, [tail, 1.0 - tail], axis=1)
        hits[trial] = (low <= [accuracy, 0.0]) & ([accuracy, 0.0] <= high)
    return {
        "accuracy": accuracy,
        "seed_spread": spread,
        "n_seeds": n_seeds,
        "n_images": n_images,
        "cell": percent(hits[:, 0]),
        "equal": percent(hits[:, 1]),
    }


def optimism_measured(n_configurations: int, gap: float, n_seeds: int, trials: int) -> dict[str, Any]:
    """Return the true optimism of choosing the best configuration, and its estimate, in points.

    The optimism is how much the validation accuracy of the chosen configuration exceeds its true
    accuracy. `choice_optimism` estimates it.
    """
    n_images, best = 1_000, 0.92
    truths = np.array([best - gap * c for c in range(n_configurations)])
    of = population(best, 1.0, "graded", n_images)
    rng = np.random.default_rng(setting_seed(n_configurations, gap, n_seeds))
    true, said = np.empty(trials), np.empty(trials)
    for trial in range(trials):
        configs = simulate(list(truths), of, n_seeds, n_images, rng)
        found = choice_optimism(
            {str(c): config for c, config in enumerate(configs)}, rng, n_resamples=OPTIMISM_RESAMPLES
        )
        errors = np.array([config.mean() for config in configs]) - truths
        # The mean error over configurations has expectation 0. Subtracting it reduces the variance.
        true[trial], said[trial] = errors[int(found.chosen)] - errors.mean(), found.optimism
    return {
        "n_cells": n_configurations,
        "gap": gap,
        "n_seeds": n_seeds,
        "n_images": n_images,
        "true_points": round(100 * float(true.mean()), 3),
        "said_points": round(100 * float(said.mean()), 3),
    }


def bootstrap_seconds(rounds: int) -> dict[str, Any]:
    """Return the time of 10,000 resamples of 4 configurations x 10 seeds x 2,724 images."""
    configs = simulate([0.92] * 4, population(0.92, 1.0, "graded", 2_724), 10, 2_724, np.random.default_rng(0))
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        multi_bootstrap(configs, np.random.default_rng(1), n_resamples=10_000)
        seconds.append(round(time.perf_counter() - started, 3))
    return {"cells": 4, "seeds": 10, "images": 2_724, "resamples": 10_000, "seconds": seconds}


def measure(quick: bool) -> dict[str, Any]:
    """Measure all settings, and return the result as it is stored."""
    trials = 100 if quick else TRIALS
    started = time.perf_counter()
    settings = list(product(IMAGES, SEEDS, DIFFICULTIES, ACCURACIES, SPREADS))
    settings += list(product(IMAGES, (ONE_SEED,), DIFFICULTIES, ACCURACIES, (0.0,)))
    rows = []
    for n_images, n_seeds, difficulty, accuracy, spread in settings:
        rows.append(measured(accuracy, spread, difficulty, n_seeds, n_images, trials))
        print(f"{len(rows)}/{len(settings)} {rows[-1]}", file=sys.stderr)
    again = repeated(rows, trials)
    few = (20, 200) if quick else (BOOTSTRAP_TRIALS, BOOTSTRAP_RESAMPLES)
    bootstrap = [bootstrap_measured(spread, n_seeds, *few) for n_seeds, spread in product(SEEDS, SPREADS)]
    optimism = [
        optimism_measured(n, gap, s, 20 if quick else OPTIMISM_TRIALS)
        for n, gap, s in product((4,), (0.0, 0.005, 0.02), (3, 10))
    ]
    normal = [normal_measured(n, two, 500 if quick else NORMAL_DRAWS) for n, two in product(SEEDS, (False, True))]
    return {
        "chalknet": chalknet.__version__,
        "machine": machine_facts(),
        "quick": quick,
        "level": LEVEL,
        "trials": trials,
        "seed": "numpy.random.default_rng([20260101, 1000 x (accuracy, spread, difficulty, seeds, images)])",
        "settings": rows,
        "repeated": again,
        "normal_effects": {"draws": 500 if quick else NORMAL_DRAWS, "settings": normal},
        "multi_bootstrap": {"trials": few[0], "resamples": few[1], "settings": bootstrap},
        "choice_optimism": {"trials": 20 if quick else OPTIMISM_TRIALS, "settings": optimism},
        "multi_bootstrap_time": bootstrap_seconds(1 if quick else 5),
        "seconds": round(time.perf_counter() - started, 1),
    }


def tables(result: dict[str, Any]) -> str:
    """Return the text of docs/statistics.md between the markers, from a stored result."""
    several = [row for row in result["settings"] if row["n_seeds"] > ONE_SEED]
    one = [row for row in result["settings"] if row["n_seeds"] == ONE_SEED]
    facts, timing = result["machine"], result["multi_bootstrap_time"]
    lines = [
        *paragraph(
            f"{result['trials']:,} studies per setting, with NumPy {facts['numpy']}. A setting has a number of images",
            "and seeds, a kind of images, a true accuracy, and a spread of the seeds (0, 1 or 3 times the standard",
            "error of one run). The next three columns give the percentage of studies whose 95 % interval contains",
            "the truth: for the accuracy of a configuration, for the difference of two equal configurations, and for",
            "the difference of two unequal ones. The last column gives the percentage of studies in which the equal",
            f"configurations are significantly different at 5 %. Bold: outside {BAND[0]:.0f} to {BAND[1]:.0f} %, or",
            f"more than {MAX_FALSE:.0f} % significantly different. The standard error of each number is 0.7.",
        ),
        "",
        *summary(several),
        "",
        *SETTING_HEAD,
        *(line(row) for row in several),
        "",
        *paragraph(
            "One seed: Wilson's interval for the configuration, Student's t over images for the differences, and",
            "McNemar's exact test for significance. The spread of the seeds is 0, because with one seed nothing is",
            "stated about other seeds.",
        ),
        "",
        *SETTING_HEAD,
        *(line(row) for row in one),
        "",
        *paragraph(
            f"The settings with a bold number, measured again with {REPEATS * result['trials']:,} other studies each",
            "(standard error 0.3):",
        ),
        "",
        *SETTING_HEAD,
        *(line(row) for row in result["repeated"]),
        "",
        *normal_lines(result),
        "",
        *bootstrap_lines(result),
        "",
        *optimism_lines(result),
        "",
        *paragraph(
            f"{timing['resamples']:,} resamples of {timing['cells']} configurations x {timing['seeds']} seeds x",
            f"{timing['images']:,} images take {median(timing['seconds']):.2f} s on one core ({facts['processor']},",
            f"{facts['blas']} {facts['blas_version']}). The whole benchmark took {result['seconds']:.0f} s.",
        ),
    ]
    return "\n".join(lines)


def paragraph(*pieces: str) -> list[str]:
    """Return text in lines of at most 100 characters."""
    return textwrap.wrap(" ".join(pieces), 100)


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Return a table with the range of each column by number of seeds, and the count outside the band."""
    lines = [
        f"| seeds | configuration: range, outside {BAND[0]:.0f} to {BAND[1]:.0f} % "
        "| equal configurations | unequal configurations | "
        "significantly different: highest, above 6 % |",
        "|---|---|---|---|---|",
    ]
    for n_seeds in SEEDS:
        those = [row for row in rows if row["n_seeds"] == n_seeds]
        cells = [str(n_seeds)]
        for name in ("cell", "equal", "worse"):
            values = [row[name] for row in those]
            outside = sum(not within(value) for value in values)
            cells.append(f"{min(values):.1f} to {max(values):.1f}, {outside} of {len(values)}")
        false = [row["called_different"] for row in those]
        cells.append(f"{max(false):.1f}, {sum(value > MAX_FALSE for value in false)} of {len(false)}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def within(value: float) -> bool:
    """Return whether a coverage is within the band."""
    return BAND[0] <= value <= BAND[1]


def line(row: dict[str, Any]) -> str:
    """Return the table row of one setting."""
    names = [f"{row['n_images']:,}", str(row["n_seeds"]), row["difficulty"]]
    names += [f"{row['accuracy']:.2f}", f"{row['seed_spread']:.0f}"]
    figures = [marked(row[name], within(row[name])) for name in ("cell", "equal", "worse")]
    false = row["called_different"]
    return "| " + " | ".join([*names, *figures, marked(false, false <= MAX_FALSE)]) + " |"


def marked(value: float, good: bool) -> str:
    """Return a number, in bold if it is not good."""
    return f"{value:.1f}" if good else f"**{value:.1f}**"


def normal_lines(result: dict[str, Any]) -> list[str]:
    """Return the section on normal effects."""
    stored = result["normal_effects"]
    spans = {(row["n_seeds"], row["of"]): f"{row['lowest']:.1f} to {row['highest']:.1f}" for row in stored["settings"]}
    rows = [f"| {n} | {spans[n, 'cell']} | {spans[n, 'difference']} |" for n in SEEDS]
    return [
        *paragraph(
            f"Lowest and highest coverage with normal effects and very many images ({stored['draws']:,} draws per",
            "setting). The variance of seeds is 0 to 100 times that of images. The residual variance is 0 to 50 % of",
            "the variance of images for a configuration, and 30 to 100 % for a difference. In a difference, 50 to",
            "100 % of the variance of seeds is in one configuration. The two constants of section 2 were chosen with",
            "this table:",
        ),
        "",
        "| seeds | configuration | difference of two configurations |",
        "|---|---|---|",
        *rows,
    ]


def bootstrap_lines(result: dict[str, Any]) -> list[str]:
    """Return the section on the Multi-Bootstrap."""
    stored = result["multi_bootstrap"]
    head = stored["settings"][0]
    rows = [
        f"| {row['n_seeds']} | {row['seed_spread']:.0f} | {marked(row['cell'], within(row['cell']))} "
        f"| {marked(row['equal'], within(row['equal']))} |"
        for row in stored["settings"]
    ]
    return [
        *paragraph(
            f"Coverage of the Multi-Bootstrap with percentile intervals: accuracy {head['accuracy']},",
            f"{head['n_images']:,} graded images, {stored['trials']:,} studies with {stored['resamples']:,} resamples",
            "each.",
        ),
        "",
        "| seeds | spread | configuration | equal |",
        "|---|---|---|---|",
        *rows,
    ]


def optimism_lines(result: dict[str, Any]) -> list[str]:
    """Return the section on the optimism of choosing the best configuration."""
    stored = result["choice_optimism"]
    rows = [
        f"| {100 * row['gap']:.1f} | {row['n_seeds']} | {row['true_points']:.2f} | {row['said_points']:.2f} |"
        for row in stored["settings"]
    ]
    return [
        *paragraph(
            "Optimism of choosing the best of four configurations by validation accuracy, in points. There are 1,000",
            "graded images. The best configuration has accuracy 0.92, each next one is lower by the step, and the",
            f"spread of the seeds is 1. Means over {stored['trials']:,} studies: how much the accuracy of the chosen",
            "configuration exceeds its true accuracy, and the estimate of `choice_optimism`.",
        ),
        "",
        "| step, points | seeds | true optimism | estimate |",
        "|---|---|---|---|",
        *rows,
    ]


def main() -> None:
    """Measure and print the result, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 studies per setting, as a smoke test")
    parser.add_argument("-o", "--out", type=Path, help="file to write the result to, as JSON")
    parser.add_argument("--docs", action="store_true", help="only write docs/statistics.md from the stored result")
    parser.add_argument("--print", action="store_true", help="only show the page with the tables of the stored result")
    options = parser.parse_args()
    if options.docs or options.print:
        inner = tables(json.loads(STORED.read_text(encoding="utf-8")))
        show_or_write(PAGE, BEGIN, END, inner, only_show=options.print)
        return
    text = json.dumps(measure(options.quick), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
