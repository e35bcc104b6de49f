"""How long work shows itself: a bar on a terminal, a line every few epochs elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from chalknet.cli.options import say_notes
from chalknet.cli.output import echo
from chalknet.formatting import printable
from chalknet.records import EpochRecord
from chalknet.training.callbacks import Callback, RunContext
from chalknet.training.progress import WIDE_COLUMNS, progress_text
from chalknet.training.progress import format_clock as format_clock  # for the progress of studies

if TYPE_CHECKING:
    from rich.progress import Progress

LINES = 20  # that a log gets of one training
BAR_WIDTH = 10


class EpochProgress(Callback):
    """Shows each epoch of a training: a bar on a terminal, about `LINES` lines elsewhere.

    Args:
        notes: what to say before the notes of the first training that begins.
        quiet: whether to show nothing.

    Attributes:
        has_begun: whether a training has begun.
    """

    has_begun = False

    def __init__(self, notes: Sequence[str] = (), *, quiet: bool) -> None:
        self._notes: Sequence[str] | None = notes
        self._quiet = quiet
        self._bar: Progress | None = None

    def on_train_begin(self, context: RunContext) -> None:
        self._n_epochs, self._n_train = context.recipe.training.epochs, len(context.splits.train)
        self._done = len(context.history)  # epochs of an earlier start say nothing about the time that is left
        if not self._quiet:
            if self._notes is not None:
                say_notes((*self._notes, *context.data.notes, *context.notes), quiet=False)
                self._notes = None
            if context.n_networks > 1:
                echo(f"network {context.number} of {context.n_networks}", err=True)
            if self._done:
                echo(f"going on after epoch {self._done} of {self._n_epochs}", err=True)
            if sys.stderr.isatty():
                self._bar = progress_bar("epoch {task.fields[count]}")
                self._task = self._bar.add_task("", total=self._n_epochs, count=f"0/{self._n_epochs}", facts="")
                self._bar.start()
        self.has_begun, self._started = True, time.perf_counter()

    def say(self, line: str) -> None:
        """Show a line above the bar, also if quiet."""
        if self._bar is None:
            echo(line, err=True)
        else:
            self._bar.console.print(printable(line), markup=False, highlight=False)

    def on_train_end(self, error: BaseException | None) -> None:
        del error
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(OSError):
                bar.stop()

    def on_epoch_end(self, record: EpochRecord) -> None:
        with suppress(OSError):  # a terminal that has closed ends no training
            self._show(record)

    def _show(self, record: EpochRecord) -> None:
        left = (time.perf_counter() - self._started) / (record.epoch - self._done) * (self._n_epochs - record.epoch)
        count = f"{record.epoch:>{len(str(self._n_epochs))}}/{self._n_epochs}"
        if self._bar is not None:
            room = self._bar.console.width - len(f"epoch {count}") - BAR_WIDTH - 2
            facts = progress_text(record, self._n_train, left, room)
            self._bar.update(self._task, completed=record.epoch, count=count, facts=facts)
        elif not self._quiet and self._is_due(record.epoch):
            echo(f"epoch {count}  {progress_text(record, self._n_train, left, WIDE_COLUMNS)}", err=True)

    def _is_due(self, epoch: int) -> bool:
        return epoch in (1, self._n_epochs) or epoch % max(1, self._n_epochs // LINES) == 0


def progress_bar(first_column: str) -> Progress:
    """Return a progress bar on standard error between a column of rich markup fields and the field "facts"."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn(first_column, table_column=Column(no_wrap=True, min_width=1), markup=False),
        BarColumn(bar_width=BAR_WIDTH),
        TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True), markup=False),
        console=Console(stderr=True),
    )


class TerminalBar:
    """A progress bar that is shown on a terminal within a `with` block, unless quiet.

    Attributes:
        first_column: of the bar, with rich's markup fields.
        total: of the bar; None where it is not known when the block begins.
    """

    first_column: ClassVar[str]
    total: ClassVar[float | None] = None

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._bar = progress_bar(self.first_column)
            self._task = self._bar.add_task("", total=self.total, count="", facts="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
