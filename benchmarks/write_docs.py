"""Write docs/benchmarks.md and its figures from the stored results: `make benchmark-docs`.

No number on that page is typed by hand, and no sentence on what is faster. `make docs-check` compares
the page with the results.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.baselines import BASELINES
from harness.baselines.roofline import epoch_flop
from harness.comparison import SAME_KERNELS
from harness.workloads import parse_workload
from tabular.page import tables_section

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ALL_CORES, ONE_CORE, OTHER_KERNELS = "baselines-2-cores.json", "baselines-1-core.json", "baselines-2-cores-avx2.json"
SCALING, STARTUP, CLASSIFIER, TUNED = "scaling.json", "startup.json", "classifier.json", "classifier-tuned.json"
TORCH_ENGINE, GPU, ROWS_STEP, TABLES = "torch_engine.json", "gpu.json", "rows_step.json", "tables.json"
LARGE_TABLE, SERVE = "large_table.json", "serve.json"
CONVOLUTION = "convolution.json"
# Targets: the least ratio of the fastest library's time to that of chalknet with Numba, by workload.
CONVOLUTION_TARGETS = {"course, step": 1.2, "deep, step": 1.0, "course, forward": 2.0, "deep, forward": 2.0}
# Target: requests per second with this many connections, compared with the server around scikit-learn.
MIN_SERVE_SPEEDUP, SERVE_CONNECTIONS = 3.0, "64"
# Target: the speed of one update of the plain network for table rows against PyTorch.
MIN_ROWS_SPEEDUP = 2.5
# Targets: the speed of a study in one stack on a GPU against one by one; the seconds of the write-up's
# run on a GPU, and its speed against a plain PyTorch loop; the memory of the write-up's run.
MIN_STUDY_SPEEDUP = 10.0
MAX_GPU_SECONDS, MIN_GPU_SPEEDUP = 0.15, 3.0
MAX_WRITEUP_MB = 150


class Target(NamedTuple):
    """A target: the least ratio of a baseline's time to chalknet's.

    Attributes:
        workload: what is measured, such as "full 1000".
        baseline: name of the baseline.
        min_ratio: the least ratio.
        same_kernels: whether the baseline uses chalknet's BLAS kernels.
    """

    workload: str
    baseline: str
    min_ratio: float
    same_kernels: bool = False


TARGETS = (
    Target("full 1000", "torch", 2.4),
    Target("full 1000", "scikit-learn", 2.4),
    Target("full 1000", "scikit-learn", 1.4, same_kernels=True),
    Target("full 1000", "jax", 1.4),
    Target("full 1000", "formulas", 4.8),
    Target("full 100", "torch", 2.0),
    Target("step 128 100", "torch", 1.4),
    Target("step 128 100", "scikit-learn", 1.4),
    Target("step 32 16", "scikit-learn", 2.0),
    Target("step 32 16", "torch", 3.0),
    Target("step 128 1000", "torch", 1.4),
    Target("step 128 1000", "scikit-learn", 2.0),
)


def load(name: str) -> dict[str, Any]:
    """Return a stored result; an empty one if there is none."""
    path = RESULTS / name
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def medians(result: dict[str, Any], workload: str) -> dict[str, float]:
    """Return the median seconds of each row of a workload."""
    return {row: statistics.median(times) for row, times in result.get("seconds", {}).get(workload, {}).items()}


def kernels_of(result: dict[str, Any], row: str) -> str:
    """Return the kernels of a row's BLAS. In older results they are stored once, for all rows."""
    kernels: str = result.get("processes", {}).get(row, result["machine"])["blas_kernels"]
    return kernels


def ratio(result: dict[str, Any], target: Target) -> float | None:
    """Return the ratio of a baseline's time to chalknet's; None if it was not measured."""
    found = medians(result, target.workload)
    row = target.baseline
    if target.same_kernels and kernels_of(result, target.baseline) != kernels_of(result, "chalknet"):
        row += SAME_KERNELS
    return found[row] / found["chalknet"] if row in found and "chalknet" in found else None


def page() -> str:
    """Return the text of docs/benchmarks.md."""
    every, one, other, scaling, start = map(load, (ALL_CORES, ONE_CORE, OTHER_KERNELS, SCALING, STARTUP))
    sections = [head(), times(every, "all cores"), FIGURE, times(one, "one core")]
    sections += [times(other, f"{other['forced_kernels']} kernels in baselines on NumPy")] if other else []
    sections += [targets(every, one, other, scaling), torch_section(load(TORCH_ENGINE)), gpu_section(load(GPU))]
    sections += [
        convolutions(load(CONVOLUTION)),
        rows_section(load(ROWS_STEP)),
        scaling_section(scaling),
        tables(load(CLASSIFIER)),
        tuned(load(TUNED)),
        tables_section(load(TABLES), paragraph),
        large_table(load(LARGE_TABLE)),
        serving(load(SERVE)),
        startup(start),
    ]
    return "\n".join(line for section in sections for line in section)


FIGURE = ("![Time of an epoch against the roofline, all cores](benchmarks.svg)", "")


HEAD = """
`python benchmarks/baselines.py` measures the same workloads with chalknet and other libraries. Each baseline runs in a
process of its own, and the processes take turns. Each repetition is warmed up and then timed. This page reports
medians. The workloads are in `benchmarks/harness/workloads.py`, the baselines and their settings in
`benchmarks/harness/baselines/`. On a shared machine, times vary between runs by a tenth and more; ratios within one run
vary less.
"""
KERNELS = """
Baselines on NumPy (formulas, scikit-learn) run as they are installed. If their BLAS then uses other kernels than those
that chalknet's commands choose, they also run with the same kernels, in columns of their own.
"""


def paragraph(*sentences: str) -> list[str]:
    """Return sentences as wrapped lines, followed by an empty line."""
    return [
        *textwrap.wrap(" ".join(" ".join(sentences).split()), 100, break_long_words=False, break_on_hyphens=False),
        "",
    ]


def head() -> list[str]:
    """Return the introduction."""
    title = "This page is written by `make benchmark-docs` from `benchmarks/results/`. Do not edit it."
    return ["# Benchmarks", "", title, "", *paragraph(HEAD), *paragraph(KERNELS)]


def setting(result: dict[str, Any]) -> list[str]:
    """Return machine, kernels, versions and rounds of a result."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    threads = "all cores" if result["threads"] == "all cores" else f"{result['threads']} thread each"
    names = [name for name in ("formulas", "scikit-learn") if name in rows_of(result)]
    told = ", ".join(f"{name} {kernels_of(result, name)}" for name in names)
    forced = result.get("forced_kernels") or ""
    how = f"set to {forced} for baselines on NumPy" if forced else "as installed"
    variables = ", ".join(f"{key}={value}" for key, value in result["environment"].items())
    return paragraph(
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {machine['blas']}",
        f"{machine['blas_version']}; {versions}. {result['rounds']} rounds, {threads}.",
        f"Kernels: chalknet {kernels_of(result, 'chalknet')}" + (f"; {how}: {told}." if told else "."),
        f"Set in the environment: {variables}." if variables else "",
    )


def rows_of(result: dict[str, Any]) -> list[str]:
    """Return the rows that were measured: chalknet first, the roofline last."""
    present = {row for found in result["seconds"].values() for row in found}
    names = [name + variant for name in BASELINES for variant in ("", SAME_KERNELS)]
    return [name for name in names if name in present]


TIMES = """
Median milliseconds; in brackets the ratio to chalknet's time. The roofline is the time of an epoch's matrix products at
the product rate of the machine, measured in the same rounds.
"""


def times(result: dict[str, Any], title: str) -> list[str]:
    """Return the table of a comparison."""
    rows = rows_of(result)
    lines = [
        f"## Times: {title}",
        "",
        *setting(result),
        *paragraph(TIMES),
        "| workload | " + " | ".join(rows) + " |",
        "|---|" + "---|" * len(rows),
    ]
    for workload in result["seconds"]:
        found = medians(result, workload)
        own = found["chalknet"]
        cells = [f"{1e3 * found[row]:.3g} ({found[row] / own:.2f})" if row in found else "" for row in rows]
        cells[0] = f"{1e3 * own:.3g}"
        lines.append(f"| {parse_workload(workload).title()} | " + " | ".join(cells) + " |")
    return [*lines, *failures(result), ""]


def failures(result: dict[str, Any]) -> list[str]:
    """Return a line for each baseline that failed."""
    return (
        ["", *(f"{name} failed: {reason}" for name, reason in result["failed"].items())] if result.get("failed") else []
    )


def targets(every: dict[str, Any], one: dict[str, Any], other: dict[str, Any], scaling: dict[str, Any]) -> list[str]:
    """Return the table of targets, and what explains it."""
    extra = f" with {other['forced_kernels']} kernels |" if other else ""
    return [
        "## Targets",
        "",
        "The speed that the numpy engine should reach on two cores, and what it reached in the runs above.",
        "",
        f"| target | reached | |{extra}",
        "|---|---|---|" + "---|" * bool(other),
        *(f"| {' | '.join(cells[: 4 if other else 3])} |" for cells in target_rows(every, one, other, scaling)),
        "",
        *kernel_text(every, other),
        *product_text(every),
    ]


def target_rows(
    every: dict[str, Any], one: dict[str, Any], other: dict[str, Any], scaling: dict[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield for each target: the target, what was reached, the verdict, and the same with other kernels."""
    for target in TARGETS:
        value = ratio(every, target)
        kind = ", as installed" if BASELINES[target.baseline].on_numpy else ""
        name = target.baseline + (" with the same kernels" if target.same_kernels else kind)
        with_other = ratio(other, target) if other and BASELINES[target.baseline].on_numpy else None
        yield (
            f"{parse_workload(target.workload).title()}: {target.min_ratio:.1f} times as fast as {name}",
            *reached(value, target.min_ratio),
            "" if with_other is None else ", ".join(reached(with_other, target.min_ratio)),
        )
    found, title = medians(every, "full 1000"), parse_workload("full 1000").title()
    yield f"{title}: 0.88 of the product rate", *reached(found["roofline"] / found["chalknet"], 0.88), ""
    alone = medians(one, "full 1000")["chalknet"]
    yield f"{title}: 1.85 times as fast on two cores as on one", *reached(alone / found["chalknet"], 1.85), ""
    if scaling:
        megabytes = statistics.median(scaling["writeup_run"]["peak_bytes"]) / 1e6
        over = megabytes / MAX_WRITEUP_MB - 1
        verdict = "reached" if over <= 0 else f"over by {100 * over:.0f} %"
        yield f"the write-up's run, 1,000 units: {MAX_WRITEUP_MB} MB above the data", f"{megabytes:.0f} MB", verdict, ""


def reached(value: float | None, least: float) -> tuple[str, str]:
    """Return what was reached, and whether that is enough."""
    if value is None:
        return "", "not measured"
    short = 100 * (1 - value / least)
    return (
        f"{value:.2f}",
        "reached" if value >= least else f"short by {short:.0f} %" if short >= 1 else "short by < 1 %",
    )


def kernel_text(every: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return whether installed and chosen kernels differ here, and what the last column shows."""
    own = kernels_of(every, "chalknet")
    installed = {kernels_of(every, name) for name in ("formulas", "scikit-learn") if name in rows_of(every)}
    version = every["machine"]["blas_version"]
    if installed == {own}:
        lines = paragraph(
            f"As installed, OpenBLAS {version} uses its {own} kernels here, and chalknet's commands choose the same.",
            "So results as installed and with the same kernels are the same.",
        )
    else:
        lines = paragraph(
            f"As installed, OpenBLAS {version} uses its {', '.join(sorted(installed))} kernels here, but chalknet's",
            f"commands choose {own}. So results as installed and with the same kernels differ.",
        )
    if other:
        lines += paragraph(
            f"In the last column, baselines on NumPy use {other['forced_kernels']} kernels. Several releases of",
            "OpenBLAS",
            "use AVX2 kernels on AVX-512 processors that they do not know (OpenBLAS issue 6029), and wheels of NumPy",
            "contain such releases. The targets for baselines as installed were set with one of them.",
        )
    return lines


def product_text(result: dict[str, Any]) -> list[str]:
    """Return the time of an update's products alone, and where a baseline is faster than chalknet."""
    lines, (workload, full) = [], ("step 128 1000", medians(result, "full 1000"))
    if medians(result, workload) and "roofline" in full:
        rate = epoch_flop(1000) / full["roofline"]
        # Forward and back through the hidden layer, and three products with the output layer's weights.
        flop = 2 * 2 * 785 * 1000 * 128 + 3 * 2 * 1001 * 10 * 128
        own = medians(result, workload)["chalknet"]
        lines += paragraph(
            f"An update from 128 samples through 1,000 units has {flop / 1e9:.2f} GFLOP of products,",
            f"which take {1e3 * flop / rate:.2f} ms at the product rate. The whole update takes {1e3 * own:.2f} ms.",
        )
    found = [f"- {name}{NOTES.get(name, '')}: {'; '.join(titles)}" for name, titles in faster(result).items()]
    return [*lines, *(["Faster than chalknet, with the ratio to chalknet's time:", "", *found, ""] if found else [])]


NOTES = {"torch-bf16": " (products in bfloat16, with less precision and half the bytes)"}


def faster(result: dict[str, Any]) -> dict[str, list[str]]:
    """Return by baseline the workloads in which it is faster than chalknet, with the ratio of times."""
    found: dict[str, list[str]] = {}
    for workload in result["seconds"]:
        row = medians(result, workload)
        for name, seconds in row.items():
            if name != "roofline" and seconds < row["chalknet"]:
                found.setdefault(name, []).append(
                    f"{parse_workload(workload).title()}, {seconds / row['chalknet']:.2f}"
                )
    return found


TORCH_ROWS = ("chalknet-bf16", "torch-bf16", "torch", "chalknet", "products-bf16", "roofline-bf16")
TORCH_TARGETS = (("torch-bf16", 1.4, "times as fast as a plain PyTorch module in bfloat16"),)
TORCH_TARGETS += (("torch", 4.0, "times as fast as PyTorch in float32"), ("roofline-bf16", 0.8, "of the product rate"))


ROWS_COLUMNS = ("torch", "torch, fused AdamW", "floor: products")
ROWS_TEXT = """
`python benchmarks/rows_step.py` measures one update on one thread, in float32: of a plain network with 36 inputs, three
layers of 256 units with relu and 6 classes, trained with AdamW, and of the layers of RealMLP-TD (Holzmueller et al.,
2024) with the same sizes. Times are those of the processor, in milliseconds; in brackets the ratio to chalknet's time.
The floor is the time of the products, each in its own shape, and of the memory traffic of Adam.
"""


CONVOLUTION_TEXT = """
`python benchmarks/convolution.py` measures two networks for images of 28 x 28 pixels in float32: *course* is the
network of part 2 of the course, trained with batches of 32; *deep* has convolutions with 32, 32, 64, 64 and 128
filters, trained with batches of 128. A step is one update with Adam, forward is the prediction of 1,000 images.
Libraries take turns. Median milliseconds; in brackets the ratio to chalknet's time without Numba. The floor is the
time of the products, and in a step also of the optimizer's memory traffic, at rates measured in the same rounds.
It counts 144 products for each 4 x 4 values of a 3 x 3 convolution; chalknet computes them with 36, so it can be
below the floor.
"""

BFLOAT16_TEXT = """
Steps with bfloat16 products are those of `--engine torch --precision bfloat16` and of PyTorch's autocast. In brackets
is the ratio to the time of this engine.
"""


def convolutions(result: dict[str, Any]) -> list[str]:
    """Return the section on convolutional networks."""
    if not result:
        return []
    machine, workloads = result["machine"], result["workloads"]
    columns = list(dict.fromkeys(row for found in workloads.values() for row in found if row != "chalknet"))
    versions = ", ".join(f"{name} {result['versions'][name]}" for name in ("torch", "jax", "keras", "numba"))
    lines = [
        "## Convolutional networks",
        "",
        *paragraph(CONVOLUTION_TEXT),
        *(paragraph(BFLOAT16_TEXT) if any("bfloat16" in name for name in workloads) else []),
        *paragraph(
            f"{machine['processor']}, {machine['cores']} cores, {machine['blas_kernels']} kernels; {versions}.",
            f"{result['rounds']} rounds.",
            f"The result is {result['note']}." if "note" in result else "",
        ),
        "| workload | chalknet | " + " | ".join(columns) + " |",
        "|---|" + "---|" * (1 + len(columns)),
    ]
    for name, found in workloads.items():
        own = f"{1e3 * found['chalknet']['seconds']:.3g}" if "chalknet" in found else ""
        cells = [
            f"{1e3 * found[row]['seconds']:.3g} ({found[row]['ratio']:.2f})" if row in found else "" for row in columns
        ]
        lines.append(f"| {name} | {own} | {' | '.join(cells)} |")
    lines += ["", "| target | fastest library | its time / chalknet with Numba | verdict |", "|---|---|---|---|"]
    for name, least in CONVOLUTION_TARGETS.items():
        found = workloads[name]
        library = min((row for row in columns if row in found and row.split(",")[0] in LIBRARIES), key=_seconds(found))
        told, verdict = reached(found[library]["seconds"] / found["chalknet, with Numba"]["seconds"], least)
        lines.append(f"| {name}: {least:g} times as fast as the fastest | {library} | {told} | {verdict} |")
    return [*lines, ""]


LIBRARIES = ("torch", "jax", "keras")


def _seconds(found: dict[str, Any]) -> Callable[[str], float]:
    """Return a function from the name of a row to its median seconds."""
    return lambda row: float(found[row]["seconds"])


def rows_section(result: dict[str, Any]) -> list[str]:
    """Return the section on updates for table rows."""
    if not result:
        return []
    machine = result["machine"]
    lines = [
        "## Updates for table rows",
        "",
        *paragraph(
            f"{machine['processor']}, {machine['system']}; {machine['blas']} {machine['blas_version']},",
            f"{machine['blas_kernels']} kernels; torch {result['versions']['torch']}. {result['rounds']} rounds.",
            result.get("note", ""),
        ),
        *paragraph(ROWS_TEXT),
        "| update | chalknet | " + " | ".join(ROWS_COLUMNS) + " |",
        "|---|" + "---|" * (1 + len(ROWS_COLUMNS)),
    ]
    for workload, found in result["workloads"].items():
        cells = [f"{1e3 * found[row]['seconds']:.3g} ({found[row]['ratio']:.2f})" for row in ROWS_COLUMNS]
        lines.append(f"| {workload} | {1e3 * found['chalknet']['seconds']:.3g} | {' | '.join(cells)} |")
    plain = result["workloads"]["plain, batches of 256"]
    ratio, most = plain["torch"]["ratio"], plain["torch"]["seconds"] / plain["floor: products"]["seconds"]
    return [
        *lines,
        "",
        *paragraph(
            f"Target: plain network, batches of 256, {MIN_ROWS_SPEEDUP:g} times as fast as torch",
            f"({', '.join(reached(ratio, MIN_ROWS_SPEEDUP))}). At the floor it would be {most:.2f} times.",
        ),
    ]


def torch_section(result: dict[str, Any]) -> list[str]:
    """Return the section on the torch engine in bfloat16 on a CPU."""
    if not result:
        return []
    lines = [
        "## The torch engine on a CPU",
        "",
        *setting(result),
        *paragraph(
            "`python benchmarks/torch_engine.py` measures an epoch of the write-up, in milliseconds: medians and, in",
            "brackets, the range. chalknet-bf16 is `--engine torch --precision bfloat16`, and chalknet is the numpy",
            "engine. products-bf16 is the time of the epoch's products alone, each in its own shape. roofline-bf16 is",
            "their time at the rate of the first layer's products. Both are measured in the same rounds.",
            result.get("note", ""),
        ),
        "| epoch of the write-up | " + " | ".join(TORCH_ROWS) + " |",
        "|---|" + "---|" * len(TORCH_ROWS),
    ]
    for workload, found in result["seconds"].items():
        cells = [
            f"{1e3 * statistics.median(found[row]):.3g} ({1e3 * min(found[row]):.3g} to {1e3 * max(found[row]):.3g})"
            for row in TORCH_ROWS
        ]
        lines.append(f"| {parse_workload(workload).units:,} units | {' | '.join(cells)} |")
    return [*lines, "", *torch_targets(result)]


def torch_targets(result: dict[str, Any]) -> list[str]:
    """Return the table of targets in bfloat16, and what explains it."""
    found = medians(result, "full 1000")
    own, flop = found["chalknet-bf16"], epoch_flop(1000)
    rows = [
        f"| {least:g} {words} | {' | '.join(reached(found[row] / own, least))} |" for row, least, words in TORCH_TARGETS
    ]
    return [
        "| target, 1,000 units | reached | |",
        "|---|---|---|",
        *rows,
        "",
        *paragraph(
            f"Over the whole epoch, the engine reaches {flop / own / 1e9:,.0f} GFLOP/s of a product rate of",
            f"{flop / found['roofline-bf16'] / 1e9:,.0f} GFLOP/s. The epoch's products, of which three have only ten",
            f"columns or rows, take {100 * found['products-bf16'] / own:.0f} % of its time. The rest is other passes",
            "over the values: relu and its derivative, the sums of gradients, softmax and scores, the update.",
        ),
        *product_rates(result["seconds"]["full 1000"], flop),
    ]


def product_rates(seconds: dict[str, list[float]], flop: float) -> list[str]:
    """Return how much the rate of bfloat16 products varied during the measurement."""
    plain, roofline = seconds["torch"], seconds["roofline-bf16"]
    ratios = sorted(theirs / own for theirs, own in zip(plain, seconds["chalknet-bf16"], strict=True))
    at_most = statistics.median(plain) / statistics.median(seconds["products-bf16"])
    return paragraph(
        f"Between rounds, the product rate varied from {flop / max(roofline) / 1e9:,.0f} to",
        f"{flop / min(roofline) / 1e9:,.0f} GFLOP/s, and PyTorch's epoch in float32 from {1e3 * min(plain):.0f} to",
        f"{1e3 * max(plain):.0f} ms. In single rounds the engine was {ratios[0]:.1f} to {ratios[-1]:.1f}",
        "times as fast as",
        f"PyTorch. The products alone would be {at_most:.1f} times as fast in the median.",
    )


def gpu_section(result: dict[str, Any]) -> list[str]:
    """Return the section on the write-up's run on a GPU."""
    title = ["## The torch engine on a GPU", ""]
    if not result:
        return title + paragraph(
            "Not yet measured. `python benchmarks/gpu.py` runs the write-up's 200 epochs with the torch engine",
            "and with a",
            f"plain PyTorch loop on the same GPU. Targets: {MAX_GPU_SECONDS} s on an H200 after warm-up, and",
            f"{MIN_GPU_SPEEDUP:.0f} times as fast as the loop with TF32 allowed; a study of four widths with ten seeds",
            f"each in one stack {MIN_STUDY_SPEEDUP:.0f} times as fast as one by one.",
        )
    seconds = {name: statistics.median(row["seconds"]) for name, row in result["rows"].items()}
    best = min(value for name, value in seconds.items() if name.startswith("chalknet"))
    lines = [
        f"| {name} | {seconds[name]:.3f} | {min(row['seconds']):.3f} to {max(row['seconds']):.3f} "
        f"| {100 * row['test_accuracy']:.2f} % |"
        for name, row in result["rows"].items()
    ]
    return [
        *title,
        *paragraph(
            f"`python benchmarks/gpu.py` on {result['device']}, PyTorch {result['versions']['torch']}:",
            f"{result['epochs']} epochs, {result['units']:,} units, {result['flop'] / 1e12:.1f} TFLOP,",
            f"{result['rounds']} rounds, after warm-up. The result is from before the rewrite of the torch",
            "engine for stacks of networks, and was not measured again after it.",
        ),
        "| run | seconds, median | lowest to highest | test accuracy |",
        "|---|---|---|---|",
        *lines,
        "",
        *paragraph(
            f"Targets: {MAX_GPU_SECONDS} s ({reached(MAX_GPU_SECONDS / best, 1.0)[1]}) and {MIN_GPU_SPEEDUP:.0f}",
            "times as fast as",
            "torch float32 with TF32 allowed",
            f"({', '.join(reached(seconds['torch float32'] / best, MIN_GPU_SPEEDUP))}).",
        ),
        *(gpu_studies(result["studies"], result["product_flops"]) if result.get("studies") else []),
    ]


def gpu_studies(studies: list[dict[str, Any]], product_flops: float) -> list[str]:
    """Return the studies on that GPU: the first is the write-up's, for which there is a target."""
    lines = []
    for study in studies:
        widths = ", ".join(f"{width:,}" for width in study["widths"])
        packed = statistics.median(study["rows"]["packed"]["seconds"])
        for name, row in study["rows"].items():
            seconds, accuracy = statistics.median(row["seconds"]), f"{100 * row['test_accuracy']:.2f} %"
            shown = "stacked" if name == "packed" else name  # the name in stored results
            lines.append(f"| {widths} | {shown} | {seconds:.2f} | {seconds / packed:.1f} | {accuracy} |")
    first = studies[0]
    alone, packed = (statistics.median(first["rows"][name]["seconds"]) for name in ("one by one", "packed"))
    floor, rate = first["flop"] / product_flops, f"{product_flops / 1e12:.0f} TFLOP/s"
    return [
        *paragraph(
            f'Studies of four widths with {first["seeds"]} seeds each and as many epochs. "stacked" trains all',
            'networks at once, "one by one" trains one after the other, both in bfloat16. "torch one by one" is the',
            "plain loop in float32 with TF32, with the same initial weights for all seeds.",
        ),
        "| hidden units | trained | seconds | ratio to stacked | mean test accuracy |",
        "|---|---|---|---|---|",
        *lines,
        "",
        *paragraph(
            f"Target for the first study: stacked is {MIN_STUDY_SPEEDUP:.0f} times as fast as one by one",
            f"({', '.join(reached(alone / packed, MIN_STUDY_SPEEDUP))}). Its products, {first['flop'] / 1e12:.0f}",
            "TFLOP,",
            f"take {floor:.2f} s at the {rate} of a large bfloat16 product there, so no stack could be more than",
            f"{alone / floor:.0f} times as fast. The rest of the time is presumably spent on passes over the values of",
            "the hidden layers, which have as many bytes in a stack as alone.",
        ),
    ]


def scaling_section(result: dict[str, Any]) -> list[str]:
    """Return the section on time and memory as sizes grow."""
    if not result:
        return []
    from figures import GROWING, series, slope

    machine, base = result["machine"], result["base"]
    rows = []
    for thing, name in GROWING.items():
        (x, seconds), (_, megabytes) = series(result, thing, "seconds"), series(result, thing, "peak_bytes")
        slopes = [f"{slope(x, y)[0]:.2f}" if len(x) > 1 else "" for y in (seconds, megabytes)]
        rows.append(
            f"| {name} | {x[0]:,} to {x[-1]:,} | {seconds[0]:.3g} to {seconds[-1]:.3g} | {slopes[0]} "
            f"| {megabytes[0]:.0f} to {megabytes[-1]:.0f} | {slopes[1]} |"
        )
    return [
        "## Growth",
        "",
        *paragraph(
            "`python benchmarks/scaling.py` measures full-batch epochs of the numpy engine in float32 on",
            f"{result['data']}. One size grows at a time, the others stay at {base['samples']:,} samples,",
            f"{base['layers']} hidden",
            f"layer of {base['units']:,} units and {base['threads']} threads. {machine['processor']},",
            f"{machine['blas_kernels']} kernels; medians of {result['rounds']} rounds, each point in a process of its",
            "own. Memory is the peak resident memory without the data as it was read, but with the BLAS's buffers. A",
            "slope is that of a straight line through the logarithms; 1 means proportional growth.",
        ),
        "| growing | from, to | seconds an epoch | slope | MB above the data | slope |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        *paragraph(
            f"Up to {result['samples_kept_as_floats']:,} such samples are kept as floats. Larger sets are",
            "converted tile by",
            "tile, so no straight line fits the memory on both sides of that number.",
        ),
        "![Time and memory against samples, units, layers and threads](scaling.svg)",
        "",
        *tiles(result),
    ]


def tiles(result: dict[str, Any]) -> list[str]:
    """Return the table of epoch times by width and tile size, if they were measured."""
    points = result.get("tiles", [])
    if not points:
        return []
    rows = sorted({point["tile_rows"] for point in points})
    seconds = {(point["units"], point["tile_rows"]): statistics.median(point["seconds"]) for point in points}
    lines = [
        f"| {units:,} | " + " | ".join(f"{1e3 * seconds[units, row]:.3g}" for row in rows) + " |"
        for units in sorted({point["units"] for point in points})
    ]
    return [
        "Milliseconds per epoch, by the number of samples in a tile:",
        "",
        "| hidden units | " + " | ".join(f"{row:,}" for row in rows) + " |",
        "|---|" + "---|" * len(rows),
        *lines,
        "",
    ]


def tables(result: dict[str, Any]) -> list[str]:
    """Return the comparison with scikit-learn's network on tables, at default settings."""
    if not result:
        return []
    lines = [
        "## Tables of numbers",
        "",
        *paragraph(
            "`python benchmarks/classifier.py` compares `ChalkClassifier()` with scikit-learn's "
            "`MLPClassifier()`, both "
            "with default settings and on one thread, the latter also after a `StandardScaler`: "
            f"{result['folds']} stratified folds, {result['seeds']} seeds, scikit-learn "
            f"{result['versions']['scikit-learn']}. The last column is the accuracy of `ChalkClassifier` minus that "
            "of the row, with a 95 % interval that allows for the training samples that folds share (Nadeau and "
            "Bengio, 2003)." + ("" if load(TUNED) else " Tuned settings are not measured yet.")
        ),
        "| table | classifier | accuracy | log loss, nats | seconds to fit | ChalkClassifier minus this, points |",
        "|---|---|---|---|---|---|",
    ]
    for table, rows in result["tables"].items():
        for name, row in rows.items():
            gap = row["accuracy_of_ours_minus_this"]
            shown = "" if name.startswith("Chalk") else f"{100 * gap['mean']:+.2f} ± {100 * gap['half_width']:.2f}"
            lines.append(
                f"| {table} | `{name}` | {100 * row['accuracy']:.2f} % | {row['log_loss']:.3f} "
                f"| {row['fit_seconds']:.2f} | {shown} |"
            )
    return [*lines, ""]


def tuned(result: dict[str, Any]) -> list[str]:
    """Return the comparison with scikit-learn's network, both tuned with the same number of trials."""
    if not result:
        return []
    lines = [
        "## Tuned, on tables and images",
        "",
        *paragraph(
            "`python benchmarks/classifier.py --tuned FILE` compares the same two classifiers, with default settings "
            f"and tuned by a random search of {result['n_trials']} trials, of which the first uses the defaults. The "
            "search is repeated for every split and uses validation samples of its training samples only. The script "
            "states what is searched and how trials are scored. Fits use one thread, in changing order, and "
            "their times "
            "are medians; the trials of a search share all cores of "
            f"{result['machine']['processor']}. scikit-learn {result['versions']['scikit-learn']}. The last "
            f"columns are "
            "the accuracy of the tuned and of the default `ChalkClassifier` minus that of the row, with 95 % intervals "
            "as above. On images, the default one has `image_shape`."
        ),
        *(f"- {name}: {one['what']}; {one['splits']} splits." for name, one in result["sets"].items()),
        "",
        "| set | classifier | accuracy | log loss, nats | seconds to fit | seconds to search "
        "| tuned minus this, points | default minus this, points |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in result["sets"].items():
        lines += tuned_rows(name, one["rows"])
    return [*lines, "", *paragraph(time_of_tuned(result["sets"]), result.get("note", ""))]


def time_of_tuned(sets: dict[str, Any]) -> str:
    """Return the ratio of fit times of `ChalkClassifier` and `MLPClassifier`, set by set."""
    found: dict[str, list[str]] = {"": [], ", tuned": []}
    for name, one in sets.items():
        for form, parts in found.items():
            mine, theirs = (f"{kind}{form or '()'}" for kind in ("ChalkClassifier", "MLPClassifier"))
            if mine in one["rows"] and theirs in one["rows"]:
                ratio = one["rows"][mine]["fit_seconds"] / one["rows"][theirs]["fit_seconds"]
                parts.append(f"{name} {ratio:.2f}")
    said = [
        f"{form.removeprefix(', ') or 'with default settings'}: {', '.join(parts)}"
        for form, parts in found.items()
        if parts
    ]
    return (
        f"Time to fit of `ChalkClassifier` divided by that of `MLPClassifier`: {'; '.join(said)}. Above 1, "
        "`ChalkClassifier` is slower."
    )


def tuned_rows(name: str, rows: dict[str, Any]) -> list[str]:
    """Return the lines of one set in the table."""
    ours = [row for row in rows if row.startswith("Chalk")]
    # The tuned one, and the one with default settings for such samples.
    best, plain = ours[-1], ours[-2]
    lines = []
    for row, one in rows.items():
        gaps = [one["ahead"].get(mine) for mine in (best, plain)]
        shown = [f"{100 * gap['mean']:+.2f} ± {100 * gap['half_width']:.2f}" if gap else "" for gap in gaps]
        search = f"{one['search_seconds']:.1f}" if one["search_seconds"] else ""
        lines.append(
            f"| {name} | `{row}` | {100 * one['accuracy']:.2f} % | {one['log_loss']:.3f} | {one['fit_seconds']:.2f} "
            f"| {search} | {shown[0]} | {shown[1]} |"
        )
    return lines


def large_table(result: dict[str, Any]) -> list[str]:
    """Return the section on a table of a million rows."""
    if not result:
        return []
    seconds = {reader: statistics.median(one["seconds"]) for reader, one in result["reading"].items()}
    peaks = {reader: max(one["peak_bytes"]) / 1e9 for reader, one in result["reading"].items()}
    training, n = result["training"], len(result["reading"]["polars"]["seconds"])
    return [
        "## A large table",
        "",
        *paragraph(
            f"`python benchmarks/large_table.py` makes a CSV file of {result['rows']:,} rows with 50 mixed columns and",
            f"a label ({result['table_bytes'] / 1e6:,.0f} MB) and reads it in processes of their own, {n} rounds in",
            f"turns. `polars.read_csv` takes {seconds['polars']:.1f} s and {peaks['polars']:.2f} GB at most,",
            f"`chalknet.load_data` {seconds['load_data']:.1f} s and {peaks['load_data']:.2f} GB, which is",
            f"{result['ratio_of_medians']:.1f} times as long (target: 1.5). `chalknet train --budget fast` on this",
            f"file takes {training['seconds']:,.0f} s and {training['peak_bytes'] / 1e9:.2f} GB (target: 4).",
        ),
    ]


def serving(result: dict[str, Any]) -> list[str]:
    """Return the section on servers."""
    if not result:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    machine, at = result["machine"], SERVE_CONNECTIONS
    rows = result["medians"]["rows"][at]
    speedup = rows["chalknet"]["requests_per_second"] / rows["scikit-learn"]["requests_per_second"]
    lines = [
        "| request | connections | server | requests per second | median | 99 % below | processor time |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, name in (("rows", "a row of JSON"), ("images", "a PNG file")):
        for connections, servers in result["medians"].get(kind, {}).items():
            for server, one in servers.items():
                times = " | ".join(f"{one[key] / 1e3:.2f} ms" for key in ("p50_us", "p99_us", "processor_us"))
                lines.append(f"| {name} | {connections} | {server} | {one['requests_per_second']:,.0f} | {times} |")
    return [
        "## Servers",
        "",
        *paragraph(
            "`python benchmarks/serve.py` asks `chalknet serve` and two servers of FastAPI for the class of one image",
            f"of 28 x 28 pixels. All have the same network ({result['network']}) in one process of uvicorn with uvloop",
            "and httptools. The servers around scikit-learn and onnxruntime are in `benchmarks/harness/servers/`. wrk",
            f"keeps the stated number of connections busy for {result['seconds']} s; medians of {result['rounds']}",
            "rounds, in which the servers take turns. The load generator shares the machine with the server.",
            "Processor time is that of the server for a request.",
        ),
        *paragraph(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {versions}."),
        *lines,
        "",
        *paragraph(
            f"With {at} connections, `chalknet serve` answers {speedup:.1f} times as many rows in a second as the",
            f"server around scikit-learn (target: {MIN_SERVE_SPEEDUP:g}).",
        ),
    ]


def startup(result: dict[str, Any]) -> list[str]:
    """Return the section on the time to start."""
    median = {name: f"{1e3 * seconds:.0f} ms" for name, seconds in result["median_seconds"].items()}
    beyond = 1e3 * result["import_chalknet_beyond_numpy_seconds"]
    return [
        "## Time to start",
        "",
        *paragraph(
            f"`python benchmarks/startup.py`, medians of {result['rounds']} rounds: `import chalknet` takes",
            f"{beyond:.1f} ms more than `import numpy` ({median['import numpy']}), and `chalknet --help` takes",
            f"{median['chalknet --help']}.",
        ),
    ]


def write_figures() -> None:
    """Write the figures of the page."""
    from figures import epoch_figure, scaling_figure, tables_figure

    every, scaling, public = load(ALL_CORES), load(SCALING), load(TABLES)
    widths = {
        int(workload.split()[1]): medians(every, workload)
        for workload in every["seconds"]
        if workload.startswith("full")
    }
    rows = tuple(row for row in rows_of(every) if row != "roofline")
    (ROOT / "docs" / "benchmarks.svg").write_bytes(epoch_figure(widths, rows))
    if scaling:
        (ROOT / "docs" / "scaling.svg").write_bytes(scaling_figure(scaling))
    if public:
        (ROOT / "docs" / "tables.svg").write_bytes(tables_figure(public["parts"]))


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page(), end="")
    else:
        (ROOT / "docs" / "benchmarks.md").write_text(page(), encoding="utf-8")
        write_figures()
