"""The figures of docs/benchmarks.md, drawn from stored results."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from chalknet.reporting.drawings.picture import drawing_bytes

# For each size that grows, the label of its axis.
GROWING = {"samples": "samples", "units": "hidden units", "layers": "hidden layers of 500 units", "threads": "threads"}
MEASURES = {"seconds": ("seconds an epoch", 1.0), "peak_bytes": ("MB above the data", 1e-6)}


def epoch_figure(medians: dict[int, dict[str, float]], baselines: tuple[str, ...]) -> bytes:
    """Draw the seconds of an epoch against hidden units, on logarithmic axes.

    Args:
        medians: for each number of hidden units, the seconds of each row.
        baselines: the rows to draw.

    Returns:
        The figure as SVG.
    """
    widths = sorted(medians)
    drawing = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = drawing.subplots()
    for name in (*baselines, "roofline"):
        if all(name in medians[width] for width in widths):
            axes.plot(widths, [medians[width][name] for width in widths], label=name, **_line_style(name))
    axes.set(xscale="log", yscale="log", xlabel="hidden units", ylabel="seconds an epoch, 15,000 images")
    axes.set_xticks(widths, [f"{width:,}" for width in widths])
    axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    axes.minorticks_off()
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    return drawing_bytes(drawing, "svg")


def scaling_figure(result: dict[str, Any]) -> bytes:
    """Draw time and memory against each size that grows, with a fitted line and its slope."""
    drawing = Figure(figsize=(10.4, 5.2), layout="constrained")
    grid = drawing.subplots(len(MEASURES), len(GROWING), sharey="row", sharex="col")
    for row, (measure, (label, _)) in enumerate(MEASURES.items()):
        for column, thing in enumerate(GROWING):
            _panel(grid[row, column], *series(result, thing, measure))
        grid[row, 0].set_ylabel(label)
    for axes, label in zip(grid[-1], GROWING.values(), strict=True):
        axes.set_xlabel(label)
    return drawing_bytes(drawing, "svg")


def tables_figure(parts: dict[str, Any]) -> bytes:
    """Draw the mean accuracy of each method on public tables against its processor seconds, part by part.

    Args:
        parts: "parts" of the summary that benchmarks/tables.py writes.
    """
    drawing = Figure(figsize=(4.6 * len(parts) + 0.6, 4.2), layout="constrained")
    grid = drawing.subplots(1, len(parts), squeeze=False)[0]
    for axes, part in zip(grid, sorted(parts, reverse=True), strict=True):
        for name, one in parts[part]["methods"].items():
            if one["accuracy"] is not None:
                seconds = one["fit_seconds"] + one["predict_seconds"]
                own = name.startswith("chalknet")
                axes.plot(seconds, 100 * one["accuracy"], "o" if own else "s", color="black" if own else "#7799bb")
                axes.annotate(name, (seconds, 100 * one["accuracy"]), (4, 4), textcoords="offset points", fontsize=8)
        axes.set(xscale="log", xlabel="processor seconds, sum of all runs", ylabel="mean accuracy, %")
        axes.set_title(f"part {part}, {parts[part]['n_without_failure']} tables", fontsize=9)
        axes.margins(x=0.2, y=0.1)
        axes.grid(True, color="#dddddd", linewidth=0.6)
    return drawing_bytes(drawing, "svg")


def series(result: dict[str, Any], thing: str, measure: str) -> tuple[list[int], list[float]]:
    """Return the sizes, and the median of each point in the units of the figure."""
    scale = MEASURES[measure][1]
    points = [next(p for p in result["points"] if asked.items() <= p.items()) for asked in result["growing"][thing]]
    return [point[thing] for point in points], [scale * statistics.median(point[measure]) for point in points]


def slope(x: list[int], y: list[float]) -> tuple[float, float]:
    """Return slope and intercept of a least-squares line through log y against log x."""
    found, start = np.polyfit(np.log(x), np.log(y), 1)
    return float(found), float(start)


def _panel(axes: Axes, x: list[int], y: list[float]) -> None:
    axes.set(xscale="log", yscale="log")
    if len(x) > 1:
        power, start = slope(x, y)
        axes.plot(x, np.exp(start) * np.array(x, float) ** power, color="#999999", linewidth=1.2)
        axes.text(0.05, 0.93, f"slope {power:.2f}", transform=axes.transAxes, va="top", fontsize=9)
    axes.plot(x, y, "o", color="black", markersize=4)
    axes.set_xticks(x, [f"{value:,}" for value in x], rotation=45 if max(x) > 99 else 0, fontsize=8)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(True, color="#dddddd", linewidth=0.6)


def _line_style(name: str) -> dict[str, Any]:
    if name == "roofline":
        return {"color": "black", "linestyle": ":"}
    if name == "chalknet":
        return {"color": "black", "linewidth": 2.4, "marker": "o"}
    return {"linewidth": 1.2, "marker": "o", "markersize": 4}
