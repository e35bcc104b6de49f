"""Write docs/benchmarks.md and its figures from the stored results: `make benchmark-docs`.

No figure in that page is typed by hand, and no sentence about which is faster. `make docs-check` compares the page with
the results.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.baselines import BASELINES
from harness.baselines.roofline import epoch_flop
from harness.comparison import SAME_KERNELS
from harness.workloads import parse_workload

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ALL_CORES, ONE_CORE, OTHER_KERNELS = "baselines-2-cores.json", "baselines-1-core.json", "baselines-2-cores-avx2.json"
SCALING, STARTUP, CLASSIFIER, TUNED = "scaling.json", "startup.json", "classifier.json", "classifier-tuned.json"
TORCH_ENGINE, GPU = "torch_engine.json", "gpu.json"
STUDY_TIMES = 10.0  # as fast as one by one, of a study's networks packed on a GPU, at the least
GPU_SECONDS, GPU_TIMES = 0.15, 3.0  # of the write-up's run, and as fast as a plain PyTorch loop, at the least
WRITEUP_MB = 150  # aimed at, above the data


class Aim(NamedTuple):
    """The ratio of a baseline's time to chalknet's that was aimed at."""

    workload: str
    baseline: str
    least: float
    same_kernels: bool = False


AIMS = (
    Aim("full 1000", "torch", 2.4),
    Aim("full 1000", "scikit-learn", 2.4),
    Aim("full 1000", "scikit-learn", 1.4, same_kernels=True),
    Aim("full 1000", "jax", 1.4),
    Aim("full 1000", "formulas", 4.8),
    Aim("full 100", "torch", 2.0),
    Aim("step 128 100", "torch", 1.4),
    Aim("step 128 100", "scikit-learn", 1.4),
    Aim("step 32 16", "scikit-learn", 2.0),
    Aim("step 32 16", "torch", 3.0),
    Aim("step 128 1000", "torch", 1.4),
    Aim("step 128 1000", "scikit-learn", 2.0),
)


def load(name: str) -> dict[str, Any]:
    """A stored result, empty where there is none."""
    path = RESULTS / name
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def medians(result: dict[str, Any], workload: str) -> dict[str, float]:
    return {row: statistics.median(times) for row, times in result.get("seconds", {}).get(workload, {}).items()}


def kernels_of(result: dict[str, Any], row: str) -> str:
    """The kernels of a row's BLAS. Results of before processes were recorded had the same in all."""
    kernels: str = result.get("processes", {}).get(row, result["machine"])["blas_kernels"]
    return kernels


def ratio(result: dict[str, Any], aim: Aim) -> float | None:
    """How many times as long as chalknet; None where it was not measured."""
    found = medians(result, aim.workload)
    row = aim.baseline
    if aim.same_kernels and kernels_of(result, aim.baseline) != kernels_of(result, "chalknet"):
        row += SAME_KERNELS
    return found[row] / found["chalknet"] if row in found and "chalknet" in found else None


def page() -> str:
    every, one, other, scaling, start = map(load, (ALL_CORES, ONE_CORE, OTHER_KERNELS, SCALING, STARTUP))
    sections = [head(), times(every, "all cores"), FIGURE, times(one, "one core")]
    sections += [times(other, f"{other['forced_kernels']} kernels in baselines on NumPy")] if other else []
    sections += [aims(every, one, other, scaling), torch_section(load(TORCH_ENGINE)), gpu_section(load(GPU))]
    sections += [
        scaling_section(scaling),
        tables(load(CLASSIFIER)),
        tuned(load(TUNED)),
        startup(start),
    ]
    return "\n".join(line for section in sections for line in section)


FIGURE = ("![Time of an epoch against the roofline, all cores](benchmarks.svg)", "")


HEAD = """
`python benchmarks/baselines.py` measures the same workloads with chalknet and other libraries. Each baseline runs in a
process of its own, in interleaved rounds; each repetition is warmed up and then timed, and medians are reported. The
workloads are described in `benchmarks/harness/workloads.py`, the baselines and their settings in
`benchmarks/harness/baselines/`. Times vary between runs by a tenth and more on a shared machine; ratios within one run
are steadier.
"""
KERNELS = """
Baselines on NumPy (formulas, scikit-learn) run as they are installed. Where their BLAS then takes other kernels than
chalknet's commands choose, they run again with the same kernels, as rows of their own.
"""


def paragraph(*sentences: str) -> list[str]:
    """Sentences as wrapped lines and an empty one."""
    return [
        *textwrap.wrap(" ".join(" ".join(sentences).split()), 120, break_long_words=False, break_on_hyphens=False),
        "",
    ]


def head() -> list[str]:
    title = "Written by `make benchmark-docs` from the results under `benchmarks/results/`; do not edit."
    return ["# Benchmarks", "", title, "", *paragraph(HEAD), *paragraph(KERNELS)]


def setting(result: dict[str, Any]) -> list[str]:
    """Machine, kernels, versions and rounds of a result."""
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
    """Return every row that was measured: chalknet first, the roofline last, same kernels behind as installed."""
    present = {row for found in result["seconds"].values() for row in found}
    names = [name + variant for name in BASELINES for variant in ("", SAME_KERNELS)]
    return [name for name in names if name in present]


TIMES = """
Milliseconds, medians; in brackets the ratio to chalknet's time. The roofline is what the products of an epoch take at
the product rate, measured in the same rounds.
"""


def times(result: dict[str, Any], title: str) -> list[str]:
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
    return (
        ["", *(f"{name} failed: {reason}" for name, reason in result["failed"].items())] if result.get("failed") else []
    )


def aims(every: dict[str, Any], one: dict[str, Any], other: dict[str, Any], scaling: dict[str, Any]) -> list[str]:
    extra = f" with {other['forced_kernels']} kernels |" if other else ""
    return [
        "## Aims",
        "",
        "What the engine was to reach on two cores, and what it reached in the runs above.",
        "",
        f"| aim | reached | |{extra}",
        "|---|---|---|" + "---|" * bool(other),
        *(f"| {' | '.join(cells[: 4 if other else 3])} |" for cells in aim_rows(every, one, other, scaling)),
        "",
        *kernel_text(every, other),
        *gap_text(every),
    ]


def aim_rows(
    every: dict[str, Any], one: dict[str, Any], other: dict[str, Any], scaling: dict[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    """What was aimed at, what was reached, the verdict, and what was reached against other kernels."""
    for aim in AIMS:
        value = ratio(every, aim)
        kind = ", as installed" if BASELINES[aim.baseline].on_numpy else ""
        name = aim.baseline + (" with the same kernels" if aim.same_kernels else kind)
        against = ratio(other, aim) if other and BASELINES[aim.baseline].on_numpy else None
        yield (
            f"{parse_workload(aim.workload).title()}: {aim.least:.1f} times as fast as {name}",
            *reached(value, aim.least),
            "" if against is None else ", ".join(reached(against, aim.least)),
        )
    found, title = medians(every, "full 1000"), parse_workload("full 1000").title()
    yield f"{title}: 0.88 of the product rate", *reached(found["roofline"] / found["chalknet"], 0.88), ""
    alone = medians(one, "full 1000")["chalknet"]
    yield f"{title}: 1.85 times as fast on two cores as on one", *reached(alone / found["chalknet"], 1.85), ""
    if scaling:
        megabytes = statistics.median(scaling["writeup_run"]["peak_bytes"]) / 1e6
        over = megabytes / WRITEUP_MB - 1
        verdict = "reached" if over <= 0 else f"over by {100 * over:.0f} %"
        yield f"the write-up's run, 1,000 units: {WRITEUP_MB} MB above the data", f"{megabytes:.0f} MB", verdict, ""


def reached(value: float | None, least: float) -> tuple[str, str]:
    if value is None:
        return "", "not measured"
    short = 100 * (1 - value / least)
    return (
        f"{value:.2f}",
        "reached" if value >= least else f"short by {short:.0f} %" if short >= 1 else "short by < 1 %",
    )


def kernel_text(every: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Whether as installed and with the same kernels differ here, and what the other file shows."""
    own = kernels_of(every, "chalknet")
    installed = {kernels_of(every, name) for name in ("formulas", "scikit-learn") if name in rows_of(every)}
    version = every["machine"]["blas_version"]
    if installed == {own}:
        lines = paragraph(
            f"OpenBLAS {version} takes its {own} kernels here by itself, and chalknet's commands choose the same, so",
            "as installed and with the same kernels are one figure.",
        )
    else:
        lines = paragraph(
            f"As installed, OpenBLAS {version} takes its {', '.join(sorted(installed))} kernels here; chalknet's",
            f"commands choose {own}, and so as installed and with the same kernels are two figures.",
        )
    if other:
        lines += paragraph(
            f"The last column has the baselines on NumPy with {other['forced_kernels']} kernels. Several releases of",
            "OpenBLAS take AVX2 kernels on AVX-512 processors that they do not know (OpenBLAS issue 6029), and wheels",
            "of NumPy carry them; the aims against these baselines as installed were set with such a one.",
        )
    return lines


def gap_text(result: dict[str, Any]) -> list[str]:
    """Return what an update's products alone would take, and where a baseline is faster."""
    lines, (workload, full) = [], ("step 128 1000", medians(result, "full 1000"))
    if medians(result, workload) and "roofline" in full:
        rate = epoch_flop(1000) / full["roofline"]
        # Forward and back through the hidden layer, and three products with the output layer's weights.
        flop = 2 * 2 * 785 * 1000 * 128 + 3 * 2 * 1001 * 10 * 128
        own = medians(result, workload)["chalknet"]
        lines += paragraph(
            f"An update from 128 samples through 1,000 units has {flop / 1e9:.2f} GFLOP of products,",
            f"{1e3 * flop / rate:.2f} ms at the product rate; chalknet takes {1e3 * own:.2f} ms in all.",
        )
    found = [f"- {name}{NOTES.get(name, '')}: {'; '.join(titles)}" for name, titles in faster(result).items()]
    return [*lines, *(["Less time than chalknet take:", "", *found, ""] if found else [])]


NOTES = {"torch-bf16": " (products in bfloat16, another arithmetic at half the bytes)"}


def faster(result: dict[str, Any]) -> dict[str, list[str]]:
    """Return, by baseline, the workloads for which it takes less time than chalknet, and the ratio to chalknet's."""
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
TORCH_AIMS = (("torch-bf16", 1.4, "times as fast as a plain PyTorch module in bfloat16"),)
TORCH_AIMS += (("torch", 4.0, "times as fast as PyTorch in float32"), ("roofline-bf16", 0.8, "of the product rate"))


def torch_section(result: dict[str, Any]) -> list[str]:
    """The torch engine in bfloat16 on processors."""
    if not result:
        return []
    lines = [
        "## The torch engine on processors",
        "",
        *setting(result),
        *paragraph(
            "`python benchmarks/torch_engine.py`: milliseconds of an epoch of the write-up, medians and, in brackets,",
            "lowest and highest. chalknet-bf16 is `--engine torch --precision bfloat16`, chalknet the numpy engine.",
            "products-bf16 is what the epoch's products take alone, each in its own shape; roofline-bf16 what they",
            "would at the rate of the first layer's products, forward and back. Both are measured in the same rounds.",
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
    return [*lines, "", *torch_aims(result)]


def torch_aims(result: dict[str, Any]) -> list[str]:
    found = medians(result, "full 1000")
    own, flop = found["chalknet-bf16"], epoch_flop(1000)
    rows = [
        f"| {least:g} {words} | {' | '.join(reached(found[row] / own, least))} |" for row, least, words in TORCH_AIMS
    ]
    return [
        "| aim, 1,000 units | reached | |",
        "|---|---|---|",
        *rows,
        "",
        *paragraph(
            f"The engine multiplies at {flop / own / 1e9:,.0f} GFLOP/s over the whole epoch, of a product rate of",
            f"{flop / found['roofline-bf16'] / 1e9:,.0f}. The epoch's own products, among them three with only ten",
            f"columns or rows, take {100 * found['products-bf16'] / own:.0f} % of its time; the rest goes over values",
            "once more: relu and its derivative, the sums of gradients, softmax and scores, the update.",
        ),
        *product_rates(result["seconds"]["full 1000"], flop),
    ]


def product_rates(seconds: dict[str, list[float]], flop: float) -> list[str]:
    """How far the rate of bfloat16 products changed while it was measured, and what follows for PyTorch's float32."""
    plain, roofline = seconds["torch"], seconds["roofline-bf16"]
    ratios = sorted(theirs / own for theirs, own in zip(plain, seconds["chalknet-bf16"], strict=True))
    at_most = statistics.median(plain) / statistics.median(seconds["products-bf16"])
    return paragraph(
        f"Between rounds the product rate went from {flop / max(roofline) / 1e9:,.0f} to",
        f"{flop / min(roofline) / 1e9:,.0f} GFLOP/s, and PyTorch's epoch in float32 from {1e3 * min(plain):.0f} to",
        f"{1e3 * max(plain):.0f} ms; round by round the engine is {ratios[0]:.1f} to {ratios[-1]:.1f} times as fast as",
        f"that. The products alone, with nothing else, would be {at_most:.1f} times in the median.",
    )


def gpu_section(result: dict[str, Any]) -> list[str]:
    """The write-up's run on a GPU, or that it has not been measured."""
    title = ["## The torch engine on a GPU", ""]
    if not result:
        return title + paragraph(
            "Not yet measured. `python benchmarks/gpu.py` runs the write-up's 200 epochs by the torch engine and by a",
            f"plain PyTorch loop on the same GPU. Aimed at: {GPU_SECONDS} s on an H200 after warm-up, and",
            f"{GPU_TIMES:.0f} times as fast as the loop with TF32 allowed; and a study of four widths from ten seeds",
            f"each in one pack {STUDY_TIMES:.0f} times as fast as one by one.",
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
            f"{result['rounds']} rounds, after warm-up.",
        ),
        "| run | seconds, median | lowest to highest | test accuracy |",
        "|---|---|---|---|",
        *lines,
        "",
        *paragraph(
            f"Aimed at: {GPU_SECONDS} s ({reached(GPU_SECONDS / best, 1.0)[1]}) and {GPU_TIMES:.0f} times as fast as",
            f"torch float32 with TF32 allowed ({', '.join(reached(seconds['torch float32'] / best, GPU_TIMES))}).",
        ),
        *(gpu_studies(result["studies"], result["product_flops"]) if result.get("studies") else []),
    ]


def gpu_studies(studies: list[dict[str, Any]], product_flops: float) -> list[str]:
    """Studies on that GPU, packed and one by one: first the write-up's, for which there is an aim."""
    lines = []
    for study in studies:
        widths = ", ".join(f"{width:,}" for width in study["widths"])
        packed = statistics.median(study["rows"]["packed"]["seconds"])
        for name, row in study["rows"].items():
            seconds, accuracy = statistics.median(row["seconds"]), f"{100 * row['test_accuracy']:.2f} %"
            lines.append(f"| {widths} | {name} | {seconds:.2f} | {seconds / packed:.1f} | {accuracy} |")
    first = studies[0]
    alone, packed = (statistics.median(first["rows"][name]["seconds"]) for name in ("one by one", "packed"))
    floor, rate = first["flop"] / product_flops, f"{product_flops / 1e12:.0f} TFLOP/s"
    return [
        *paragraph(
            f"Studies of four widths from {first['seeds']} seeds each, with as many epochs; chalknet's products in",
            "bfloat16, the plain loop in float32 with TF32 and from one seed's weights every time:",
        ),
        "| hidden units | trained | seconds | in times of the pack's | mean test accuracy |",
        "|---|---|---|---|---|",
        *lines,
        "",
        *paragraph(
            f"Aimed at for the first: a pack {STUDY_TIMES:.0f} times as fast as one by one",
            f"({', '.join(reached(alone / packed, STUDY_TIMES))}). Its products, {first['flop'] / 1e12:.0f} TFLOP,",
            f"take {floor:.2f} s at the {rate} of a large bfloat16 product there, so no pack could be more than",
            f"{alone / floor:.0f} times as fast. What is left presumably goes over the hidden layers' values once",
            "more, whose bytes are as many in a pack as alone.",
        ),
    ]


def scaling_section(result: dict[str, Any]) -> list[str]:
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
            "`python benchmarks/scaling.py`: full-batch epochs of the numpy engine in float32 on",
            f"{result['data']}. One thing grows at a time from {base['samples']:,} samples, {base['layers']} hidden",
            f"layer of {base['units']:,} units and {base['threads']} threads. {machine['processor']},",
            f"{machine['blas_kernels']} kernels; medians of {result['rounds']} rounds, each point in a process of its",
            "own. Memory is the peak of what is resident above the data as it was read, the BLAS's buffers included. A",
            "slope is that of the straight line through the logarithms: 1 is growth in proportion.",
        ),
        "| growing | from, to | seconds an epoch | slope | MB above the data | slope |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        *paragraph(
            f"Up to {result['samples_kept_as_floats']:,} such samples are kept as floats too; of more, each tile is",
            "turned into floats when it comes. No straight line fits memory on both sides of that number.",
        ),
        "![Time and memory against samples, units, layers and threads](scaling.svg)",
        "",
        *tiles(result),
    ]


def tiles(result: dict[str, Any]) -> list[str]:
    """Milliseconds of an epoch for each width and tile size; nothing where they were not measured."""
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
        "Milliseconds an epoch by the number of samples in a tile:",
        "",
        "| hidden units | " + " | ".join(f"{row:,}" for row in rows) + " |",
        "|---|" + "---|" * len(rows),
        *lines,
        "",
    ]


def tables(result: dict[str, Any]) -> list[str]:
    """`ChalkClassifier` beside scikit-learn's network on the tables that scikit-learn ships."""
    if not result:
        return []
    lines = [
        "## Tables of numbers",
        "",
        *paragraph(
            "`python benchmarks/classifier.py`: `ChalkClassifier()` and scikit-learn's `MLPClassifier()`, both at "
            "their defaults and on one thread, the latter also behind a `StandardScaler`; "
            f"{result['folds']} stratified folds, {result['seeds']} seeds, scikit-learn "
            f"{result['versions']['scikit-learn']}. The last column is the accuracy of `ChalkClassifier` less the "
            "other's, with a 95 % interval that allows for the folds' shared training samples (Nadeau and Bengio, "
            "2003)." + ("" if load(TUNED) else " Peers with tuned settings are not measured yet.")
        ),
        "| table | classifier | accuracy | log loss, nats | seconds to fit | ours less this, points |",
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
    """`ChalkClassifier` beside scikit-learn's network, both searched with the same number of trials."""
    if not result:
        return []
    lines = [
        "## Tuned, on tables and images",
        "",
        *paragraph(
            "`python benchmarks/classifier.py --tuned FILE`: the same two at their defaults and as a random search of "
            f"{result['n_trials']} trials chose them, the first of them at the defaults, anew for every split and on "
            "validation samples of its training part alone. What is searched, and how trials are judged, stands in the "
            "script. Fits are on one thread, their order turns, and their times are medians; trials of a search share "
            f"all cores of {result['machine']['processor']}. scikit-learn {result['versions']['scikit-learn']}. The "
            "last columns are the accuracy of the tuned and the plain `ChalkClassifier` less the row's, with 95 % "
            "intervals as above; plain is with `image_shape` on images."
        ),
        *(f"- {name}: {one['what']}; {one['splits']} splits." for name, one in result["sets"].items()),
        "",
        "| set | classifier | accuracy | log loss, nats | seconds to fit | seconds to search | tuned less this, points "
        "| plain less this, points |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in result["sets"].items():
        lines += tuned_rows(name, one["rows"])
    return [*lines, "", *paragraph(time_of_tuned(result["sets"]), result.get("note", ""))]


def time_of_tuned(sets: dict[str, Any]) -> str:
    """How long `ChalkClassifier` takes to fit against `MLPClassifier`, as fractions of its time, set by set."""
    found: dict[str, list[str]] = {"": [], ", tuned": []}
    for name, one in sets.items():
        for form, parts in found.items():
            mine, theirs = (f"{kind}{form or '()'}" for kind in ("ChalkClassifier", "MLPClassifier"))
            if mine in one["rows"] and theirs in one["rows"]:
                ratio = one["rows"][mine]["fit_seconds"] / one["rows"][theirs]["fit_seconds"]
                parts.append(f"{name} {ratio:.2f}")
    said = [
        f"{form.removeprefix(', ') or 'at the defaults'}: {', '.join(parts)}" for form, parts in found.items() if parts
    ]
    return (
        f"`ChalkClassifier` takes, in times of `MLPClassifier`'s fit, {'; '.join(said)}. Above 1 it is the slower one."
    )


def tuned_rows(name: str, rows: dict[str, Any]) -> list[str]:
    """One set's lines of the table."""
    ours = [row for row in rows if row.startswith("Chalk")]
    best, plain = ours[-1], ours[-2]  # the tuned one, and the one at its defaults that is made for such samples
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


def startup(result: dict[str, Any]) -> list[str]:
    median = {name: f"{1e3 * seconds:.0f} ms" for name, seconds in result["median_seconds"].items()}
    beyond = 1e3 * result["import_chalknet_beyond_numpy_seconds"]
    return [
        "## Start",
        "",
        f"`python benchmarks/startup.py`, medians of {result['rounds']} rounds: `import chalknet` takes",
        f"{beyond:.1f} ms beyond `import numpy` ({median['import numpy']}),",
        f"and `chalknet --help` {median['chalknet --help']}.",
        "",
    ]


def write_figures() -> None:
    from figures import epoch_figure, scaling_figure

    every, scaling = load(ALL_CORES), load(SCALING)
    widths = {
        int(workload.split()[1]): medians(every, workload)
        for workload in every["seconds"]
        if workload.startswith("full")
    }
    rows = tuple(row for row in rows_of(every) if row != "roofline")
    (ROOT / "docs" / "benchmarks.svg").write_bytes(epoch_figure(widths, rows))
    if scaling:
        (ROOT / "docs" / "scaling.svg").write_bytes(scaling_figure(scaling))


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page(), end="")
    else:
        (ROOT / "docs" / "benchmarks.md").write_text(page(), encoding="utf-8")
        write_figures()
