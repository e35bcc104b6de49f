"""What a notebook shows of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from chalknet.formatting import DASH, count_of, percent
from chalknet.notebook_view import MAX_ROWS, curves, facts, table, view
from chalknet.records import SPLIT_NAMES
from chalknet.studies.configurations import Configuration

MAX_LINES = 4  # configurations whose curves are drawn


def results_html(
    configurations: Sequence[Configuration],
    seeds: Sequence[int],
    counts: Mapping[str, int],
    record: Callable[[Configuration, int], Any],
    rows: Sequence[tuple[str, str]],
    next_step: str,
) -> str:
    """Return the accuracy of each configuration and the curves of the best as HTML.

    Args:
        configurations: in the order of the specification.
        seeds: the seeds of every configuration.
        counts: number of runs of each status.
        record: returns the `RunRecord` of a configuration with a seed, or None.
        rows: facts about the study, as names and values.
        next_step: a line of Python.
    """
    shown = configurations[:MAX_ROWS]  # reading thousands of runs would take long
    records = {config: [one for seed in seeds if (one := record(config, seed)) is not None] for config in shown}
    known = [one for found in records.values() for one in found]
    split = "valid" if all(one.kept.valid is not None for one in known) else "train"
    cells, ranked = [], []
    for config, found in records.items():
        accuracies = [one.kept.scores(split).accuracy for one in found]
        spread = percent(stdev(accuracies), 2) if len(accuracies) > 1 else DASH
        average = percent(mean(accuracies), 2) if accuracies else DASH
        cells.append((config.label, f"{len(found)} of {len(seeds)}", average, spread))
        if accuracies:
            ranked.append((mean(accuracies), config))
    done = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    heads = ("configuration", "done", f"{SPLIT_NAMES[split]} accuracy", "standard deviation")
    best = [config for _, config in sorted(ranked, key=lambda pair: -pair[0])[:MAX_LINES]]
    rest = len(configurations) - len(shown)
    return view(
        f"Study of {count_of(len(configurations), 'configuration')} with {count_of(len(seeds), 'seed')}",
        facts([("runs", done), *rows]),
        table(heads, cells),
        f"<div>and {count_of(rest, 'more configuration')}</div>" if rest else "",
        curves(
            f"{SPLIT_NAMES[split]} accuracy, mean over the seeds",
            "epoch",
            {config.label: _mean_curve(records[config], split) for config in best},
        ),
        next_step=next_step,
    )


def _mean_curve(records: Sequence[Any], split: str) -> tuple[list[float], list[float]]:
    """Return epochs and mean accuracies, as far as all runs go."""
    length = min(len(one.history) for one in records)
    values = [mean(one.history[at].scores(split).accuracy for one in records) for at in range(length)]
    return [float(at + 1) for at in range(length)], values
