"""Print a comparison: the setting, a table per workload, remarks, and progress while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from chalknet.formatting import DASH, count_of
from chalknet.machine.kernels import CORETYPE
from chalknet.reporting.tables import Table
from harness.baselines import BASELINES
from harness.comparison import SAME_KERNELS, Comparison, Progress, baseline_of
from harness.workloads import parse_workload

COLUMNS = ("", "time", "lowest", "highest", "times chalknet", "of the roofline")
EXTRA = "pip install '.[bench]'"  # installs all baselines


def report_text(result: Comparison) -> str:
    """Return the setting, a table per workload, and the remarks."""
    tables = [line for table in comparison_tables(result) for line in ("", table.text())]
    return "\n".join([setting(result), *tables, "", *remarks(result)])


def print_progress() -> Progress:
    """Return a function that prints a line to standard error when the next workload begins."""
    started, current = time.perf_counter(), ""

    def show(what: str, done: int, total: int) -> None:
        nonlocal current
        workload = what.partition(":")[0]
        if workload != current:
            current = workload
            left = (time.perf_counter() - started) / done * (total - done)
            print(f"repetition {done}/{total}  {workload}  {left / 60:.1f} min left", file=sys.stderr)

    return show


def setting(result: Comparison) -> str:
    """Return machine, BLAS, threads and rounds in one line."""
    machine = result.machine
    facts = result.processes.get("chalknet", machine)
    threads = result.threads if isinstance(result.threads, str) else count_of(result.threads, "thread")
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; chalknet "
        f"{result.versions['chalknet']}, NumPy {machine['numpy']}, {facts['blas'] or 'unknown BLAS'} "
        f"{facts['blas_version']}, {facts['blas_kernels']} kernels; {threads}, {count_of(result.rounds, 'round')}"
    )


def comparison_tables(result: Comparison) -> list[Table]:
    """Return a table for each workload: chalknet, the baselines, the roofline."""
    return [
        Table(f"{workload}: {parse_workload(workload).title()}", COLUMNS, tuple(_rows(result, workload)))
        for workload in result.seconds
    ]


def remarks(result: Comparison) -> list[str]:
    """Return which kernels were compared, what is not installed, and what failed."""
    lines = [*_kernel_remarks(result)]
    if result.absent:
        lines.append(f"not installed: {', '.join(result.absent)}. To install all baselines: {EXTRA}")
    lines += [f"failed: {name}: {reason}" for name, reason in result.failed.items()]
    return lines


def shown_seconds(seconds: float) -> str:
    """Return a time with three digits, in s, ms or µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds / 1e-6)} µs"


def _rows(result: Comparison, workload: str) -> Iterator[tuple[str, ...]]:
    medians = result.medians(workload)
    own, roofline = medians.get("chalknet"), medians.get("roofline")
    for name in sorted(medians, key=lambda row: (list(BASELINES).index(baseline_of(row).name), row)):
        all_rounds, median = result.seconds[workload][name], medians[name]
        yield (
            name,
            *(shown_seconds(seconds) for seconds in (median, min(all_rounds), max(all_rounds))),
            DASH if own is None else f"{median / own:.2f}",
            DASH if roofline is None else f"{100 * roofline / median:.0f} %",
        )


def _kernel_remarks(result: Comparison) -> Iterator[str]:
    own = result.processes.get("chalknet", {}).get("blas_kernels", "")
    others = [name for name, facts in result.processes.items() if facts["on_numpy"] and not baseline_of(name).own]
    if CORETYPE in result.environment:
        yield f"{CORETYPE}={result.environment[CORETYPE]} is set for all baselines."
    if result.forced_kernels:
        yield f"baselines on NumPy were made to use OpenBLAS's {result.forced_kernels} kernels."
    same = [name for name in others if result.processes[name]["blas_kernels"] == own and SAME_KERNELS not in name]
    if same and own:
        yield f"{', '.join(same)}: measured once, because the BLAS uses the same kernels as chalknet's ({own})."
    for name in others:
        kernels = result.processes[name]["blas_kernels"]
        if own and kernels != own:
            yield f"{name} uses {kernels} kernels, and {name}{SAME_KERNELS} uses chalknet's ({own})."


def _three_digits(value: float) -> str:
    return f"{value:.{max(0, 2 - max(0, len(str(int(value))) - 1))}f}"
