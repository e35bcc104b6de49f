"""`chalknet bench`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import named_place, say_notes

if TYPE_CHECKING:
    from rich.progress import Progress

    from chalknet.bench.comparison import Comparison


@click.command()
@click.option("--full", is_flag=True, help="All kinds of work, all peers, 7 rounds; takes some minutes.")
@click.option(
    "--work", "works", multiple=True, metavar="WORK", help="Only this work, such as 'full 1000'; may be repeated."
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="NAME",
    help="Only this peer beside chalknet and the ceiling; may be repeated.",
)
@click.option(
    "--threads", type=int, metavar="N", help="Threads of each peer, and on Linux cores.  [default: all cores]"
)
@click.option("--rounds", type=int, metavar="N", help="Rounds; medians are shown.  [default: 3, with --full 7]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, every round of every peer.")
@click.option("-o", "--out", type=named_place, metavar="FILE", help="Write the JSON into this file too.")
def bench(
    full: bool,
    works: tuple[str, ...],
    peers: tuple[str, ...],
    threads: int | None,
    rounds: int | None,
    as_json: bool,
    out: str | None,
) -> int:
    """Compare chalknet's speed with that of its peers on this machine.

    Each peer does the same work in a process of its own, in turns. The quick form takes about a minute. Peers that are
    not installed are named: pip install "chalknet[bench]" installs all.

    \b
    Work:  full F     one epoch of the write-up through F units, 15,000 samples
           step B F   one mini-batch update from B samples through F units
           predict N  probabilities of N images through 1,000 units
    Peers: formulas (plain NumPy), scikit-learn, torch, torch-compile, torch-bf16, jax,
           onnxruntime; and the ceiling: what an epoch's products alone would take.

    Peers on NumPy run as they are installed and, where their BLAS takes other kernels than chalknet's commands choose,
    again with the same kernels. Exit code 1 where chalknet itself failed.

    \b
    chalknet bench
    chalknet bench --work 'full 1000' --peer scikit-learn --rounds 9 -o result.json
    """
    from chalknet.workflows.bench import result_text, run_bench, settle_bench

    plan = settle_bench(works, peers, full=full, rounds=rounds, threads=threads)
    installed = dict(os.environ)
    say_notes(choose_kernels(), quiet=as_json)  # before anything imports NumPy
    with TurnProgress() as progress:
        result = run_bench(plan, installed=installed, out=Path(out) if out else None, observe=progress)
    click.echo(result_text(result) if as_json else "\n".join(lines(result)), nl=not as_json)
    if out and not as_json:
        click.echo(f"written to {out}")
    if "chalknet" in result.failed:
        click.echo(f"chalknet: its own process failed: {result.failed['chalknet']}", err=True)
        return 1
    return 0


def lines(result: Comparison) -> list[str]:
    """The machine, a table a kind of work, and the remarks."""
    from chalknet.bench.tables import comparison_tables, remarks, setting

    tables = [line for table in comparison_tables(result) for line in ("", table.text())]
    return [setting(result), *tables, "", *remarks(result)]


class TurnProgress:
    """Shows turns as they are done: a bar on a terminal, a line a kind of work elsewhere."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._work = ""
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task("", total=None, facts="starting")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        from chalknet.cli.progress import clock

        left = (time.perf_counter() - self._started) / done * (total - done)
        if self._bar is not None:
            facts = f"{done}/{total}  {clock(left)} left  {what}"
            self._bar.update(self._task, completed=done, total=total, facts=facts)
            return
        work = what.partition(":")[0]
        if work != self._work:
            self._work = work
            click.echo(f"turn {done}/{total}  {work}  {clock(left)} left", err=True)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    from chalknet.cli.progress import BAR_WIDTH

    return Progress(
        TextColumn("turn", table_column=Column(no_wrap=True, min_width=1)),
        BarColumn(bar_width=BAR_WIDTH),
        TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True), markup=False),
        console=Console(stderr=True),
    )
