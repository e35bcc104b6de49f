"""A comparison as tables, and in sentences what a reader must know of them."""

from __future__ import annotations

from collections.abc import Iterator

from chalknet.bench.catalogue import EXTRA, PEERS, parse_work
from chalknet.bench.comparison import SAME_KERNELS, Comparison
from chalknet.machine.kernels import VARIABLE
from chalknet.reporting.tables import DASH, Table

COLUMNS = ("", "time", "lowest", "highest", "times chalknet", "of the ceiling")


def setting(result: Comparison) -> str:
    """The machine, its BLAS as chalknet used it, and how it was measured, in one line."""
    machine = result.machine
    facts = result.processes.get("chalknet", machine)
    threads = result.threads if isinstance(result.threads, str) else _count(result.threads, "thread")
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; chalknet "
        f"{result.versions['chalknet']}, NumPy {machine['numpy']}, {facts['blas'] or 'unknown BLAS'} "
        f"{facts['blas_version']}, {facts['blas_kernels']} kernels; {threads}, {_count(result.rounds, 'round')}"
    )


def comparison_tables(result: Comparison) -> list[Table]:
    """One table a kind of work: chalknet, the peers in their order, the ceiling."""
    return [
        Table(f"{work}: {parse_work(work).title()}", COLUMNS, tuple(_rows(result, work))) for work in result.seconds
    ]


def remarks(result: Comparison) -> list[str]:
    """Which kernels were compared, who is absent, and who failed."""
    lines = [*_kernel_remarks(result)]
    if result.absent:
        lines.append(f"not installed: {', '.join(result.absent)}; {EXTRA} installs every peer.")
    lines += [f"failed: {name}: {reason}" for name, reason in result.failed.items()]
    return lines


def shown_seconds(seconds: float) -> str:
    """Three digits in the unit that suits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds / 1e-6)} µs"


def _rows(result: Comparison, work: str) -> Iterator[tuple[str, ...]]:
    medians = result.medians(work)
    own, ceiling = medians.get("chalknet"), medians.get("ceiling")
    for name in sorted(medians, key=_place):
        all_rounds, median = result.seconds[work][name], medians[name]
        yield (
            name,
            *(shown_seconds(seconds) for seconds in (median, min(all_rounds), max(all_rounds))),
            DASH if own is None else f"{median / own:.2f}",
            DASH if ceiling is None else f"{100 * ceiling / median:.0f} %",
        )


def _place(row: str) -> tuple[int, str]:
    return list(PEERS).index(row.removesuffix(SAME_KERNELS)), row


def _kernel_remarks(result: Comparison) -> Iterator[str]:
    own = result.processes.get("chalknet", {}).get("blas_kernels", "")
    others = [name for name, facts in result.processes.items() if facts["on_numpy"] and not _is_own(name)]
    if VARIABLE in result.environment:
        yield f"{VARIABLE}={result.environment[VARIABLE]} is set, and holds for all."
    if result.forced_kernels:
        yield f"peers on NumPy were made to use OpenBLAS's {result.forced_kernels} kernels in place of its own choice."
    same = [name for name in others if result.processes[name]["blas_kernels"] == own and SAME_KERNELS not in name]
    if same and own:
        yield f"{', '.join(same)}: the BLAS takes the same kernels as chalknet's ({own}), so they were measured once."
    for name in others:
        kernels = result.processes[name]["blas_kernels"]
        if own and kernels != own:
            yield f"{name}: {kernels} kernels; {name}{SAME_KERNELS}: chalknet's, {own}."


def _is_own(row: str) -> bool:
    return PEERS[row.removesuffix(SAME_KERNELS)].own


def _three_digits(value: float) -> str:
    return f"{value:.{max(0, 2 - max(0, len(str(int(value))) - 1))}f}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"
