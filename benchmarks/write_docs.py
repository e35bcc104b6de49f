"""Writes docs/benchmarks.md and docs/benchmarks.svg from the stored results: `make benchmark-docs`.

No figure in that page is typed by hand; tests/test_docs.py holds page and results together.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PEERS = ("chalknet", "formulas", "scikit-learn", "torch", "torch-compile", "torch-bf16", "jax", "onnxruntime")
# work, peer, and how many times as long as chalknet the peer was to take at least
AIMS = (
    ("full 1000", "torch", 2.4),
    ("full 1000", "scikit-learn", 1.4),
    ("full 1000", "jax", 1.4),
    ("full 1000", "formulas", 4.8),
    ("full 100", "torch", 2.0),
    ("step 128 100", "torch", 1.4),
    ("step 128 100", "scikit-learn", 1.4),
    ("step 32 16", "scikit-learn", 2.0),
    ("step 32 16", "torch", 3.0),
    ("step 128 1000", "torch", 1.4),
    ("step 128 1000", "scikit-learn", 2.0),
)
NAMES = {
    "full": "one epoch of the write-up, {0} units",
    "step": "one update, batch {0}, {1} units",
    "predict": "probabilities for {0} through 1,000 units",
}


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


def medians(result: dict[str, Any], work: str) -> dict[str, float]:
    return {peer: statistics.median(times) for peer, times in result["seconds"][work].items()}


def work_name(work: str) -> str:
    kind, *sizes = work.split()
    shown = [f"{int(size):,}" for size in sizes]
    if kind == "predict":
        shown[0] += " image" + "s" * (shown[0] != "1")
    return NAMES[kind].format(*shown)


def page() -> str:
    both, one, start = load("peers-2-cores.json"), load("peers-1-core.json"), load("startup.json")
    return "\n".join([*head(both), *times(both), *aims(both, one), *startup(start), ""])


def head(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if name != "chalknet")
    return [
        "# Benchmarks",
        "",
        "Written by `make benchmark-docs` from the results under `benchmarks/results/`; do not edit.",
        "",
        "`python benchmarks/peers.py` runs the same work by chalknet and its peers side by side: each peer in a",
        "process of its own, rounds interleaved, each turn warmed up and then timed, medians reported. What each peer",
        "does, and with which settings, stands at the top of that file and in `benchmarks/peer_work.py`. The machine",
        "is shared, so times vary between runs by a tenth and more; ratios within one run are steadier.",
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['system']}. BLAS of all peers on NumPy:",
        f"{machine['blas']} {machine['blas_version']}, {machine['blas_kernels']} kernels. {versions}.",
        f"{result['rounds']} rounds, all cores.",
        "",
    ]


def times(result: dict[str, Any]) -> list[str]:
    lines = [
        "## Times",
        "",
        "Milliseconds, medians; in brackets how many times as long as chalknet. The ceiling is what the products of an",
        "epoch take at the product rate, measured in the same rounds.",
        "",
        "| work | " + " | ".join(PEERS) + " | ceiling |",
        "|---|" + "---|" * (len(PEERS) + 1),
    ]
    for work in result["seconds"]:
        found = medians(result, work)
        own = found["chalknet"]
        cells = [f"{1e3 * own:.3g}"]
        for peer in (*PEERS[1:], "ceiling"):
            cells += [f"{1e3 * found[peer]:.3g} ({found[peer] / own:.2f})" if peer in found else ""]
        lines.append(f"| {work_name(work)} | " + " | ".join(cells) + " |")
    return [*lines, "", "![Time of an epoch against the ceiling](benchmarks.svg)", ""]


def aims(both: dict[str, Any], one: dict[str, Any]) -> list[str]:
    rows = []
    for work, peer, least in AIMS:
        found = medians(both, work)
        rows.append((f"{work_name(work)}: {least:.1f} times as fast as {peer}", found[peer] / found["chalknet"], least))
    found, work = medians(both, "full 1000"), work_name("full 1000")
    rows.append((f"{work}: 0.88 of the product rate", found["ceiling"] / found["chalknet"], 0.88))
    alone = medians(one, "full 1000")["chalknet"]
    rows.append((f"{work}: 1.85 times as fast on two cores as on one", alone / found["chalknet"], 1.85))
    return [
        "## Aims",
        "",
        "What the engine was to reach on two cores, and what it reached in the runs above.",
        "",
        "| aim | reached | |",
        "|---|---|---|",
        *(f"| {aim} | {value:.2f} | {verdict(value, least)} |" for aim, value, least in rows),
        "",
        *GAPS,
        "",
    ]


def verdict(value: float, least: float) -> str:
    return "reached" if value >= least else f"short by {100 * (1 - value / least):.0f} %"


GAPS = (
    "The aims against peers on NumPy were set where OpenBLAS took AVX2 kernels on this AVX-512 processor and chalknet",
    "alone the right ones; the OpenBLAS measured here takes the right ones by itself, for all of them. An update from",
    "128 samples through 1,000 units has 0.40 GFLOP of products, 1.0 ms at the product rate; what is left is the",
    "update's memory traffic and three hand-overs between threads. torch-bf16 multiplies in bfloat16, for which the",
    "processor has instructions that OpenBLAS does not use, at half the bytes: another arithmetic, and here the faster",
    "one. One image is predicted fastest by onnxruntime.",
)


def startup(result: dict[str, Any]) -> list[str]:
    median = {name: f"{1e3 * seconds:.0f} ms" for name, seconds in result["median_seconds"].items()}
    beyond = 1e3 * result["import_chalknet_beyond_numpy_seconds"]
    return [
        "## Start",
        "",
        f"`python benchmarks/startup.py`, medians of {result['rounds']} rounds: `import chalknet` takes",
        f"{beyond:.1f} ms beyond `import numpy` ({median['import numpy']}),",
        f"and `chalknet --help` {median['chalknet --help']}.",
    ]


def figure() -> bytes:
    """Seconds of an epoch against hidden units, for chalknet, its peers and the ceiling, on logarithmic axes."""
    from matplotlib.figure import Figure

    from chalknet.report.drawings.picture import drawing_bytes

    result = load("peers-2-cores.json")
    widths = [int(work.split()[1]) for work in result["seconds"] if work.startswith("full")]
    drawing = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = drawing.subplots()
    for peer in (*PEERS, "ceiling"):
        seconds = [medians(result, f"full {width}").get(peer) for width in widths]
        if None not in seconds:
            axes.plot(widths, seconds, label=peer, **line_style(peer))  # type: ignore[arg-type]
    axes.set(xscale="log", yscale="log", xlabel="hidden units", ylabel="seconds an epoch, 15,000 images")
    axes.set_xticks([100, 500, 1000, 2000], ["100", "500", "1,000", "2,000"])
    axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    axes.minorticks_off()
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    return drawing_bytes(drawing, "svg")


def line_style(peer: str) -> dict[str, Any]:
    if peer == "ceiling":
        return {"color": "black", "linestyle": ":"}
    if peer == "chalknet":
        return {"color": "black", "linewidth": 2.4, "marker": "o"}
    return {"linewidth": 1.2, "marker": "o", "markersize": 4}


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page(), end="")
    else:
        (ROOT / "docs" / "benchmarks.md").write_text(page(), encoding="utf-8")
        (ROOT / "docs" / "benchmarks.svg").write_bytes(figure())
