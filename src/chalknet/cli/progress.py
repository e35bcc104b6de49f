"""How long work shows itself: a bar on a terminal, a line every few epochs elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from chalknet.records import PARTS, EpochRecord

if TYPE_CHECKING:
    from rich.progress import Progress

LINES = 20  # that a log gets of one training


class EpochProgress:
    """A consumer of epoch records: `with EpochProgress(200, 15_000, quiet=False) as show: train(..., observe=show)`.

    Args:
        n_epochs: how many there will be.
        n_train: training samples, for the speed.
        quiet: whether to show nothing.
    """

    def __init__(self, n_epochs: int, n_train: int, *, quiet: bool) -> None:
        self._n_epochs, self._n_train = n_epochs, n_train
        self._quiet = quiet
        self._bar: Progress | None = None
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task("training", total=self._n_epochs, facts="")
            self._bar.start()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, record: EpochRecord) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=record.epoch, facts=self._facts(record))
        elif not self._quiet and self._is_due(record.epoch):
            left = (time.perf_counter() - self._started) / record.epoch * (self._n_epochs - record.epoch)
            count = f"{record.epoch:>{len(str(self._n_epochs))}}/{self._n_epochs}"
            click.echo(f"epoch {count}  {self._facts(record)}  {clock(left)} left", err=True)

    def _is_due(self, epoch: int) -> bool:
        return epoch in (1, self._n_epochs) or epoch % max(1, self._n_epochs // LINES) == 0

    def _facts(self, record: EpochRecord) -> str:
        scores = [(part, record.part(part)) for part in PARTS]
        accuracies = "  ".join(f"{part} {100 * s.accuracy:.1f} %" for part, s in scores if s is not None)
        speed = self._n_train / max(record.seconds, 1e-9)
        return f"loss {record.train.loss:.4f}  {accuracies}  {speed:,.0f} samples/s"


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 1:00:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=Console(stderr=True),
    )
