"""The progress of a training: a bar on a terminal, a line every few epochs elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from chalknet.cli.options import print_notes
from chalknet.cli.output import echo
from chalknet.formatting import printable
from chalknet.records import EpochRecord
from chalknet.training.callbacks import Callback, RunContext
from chalknet.training.progress import WIDE_COLUMNS, progress_text, short_number
from chalknet.training.progress import format_clock as format_clock  # for the progress of studies

if TYPE_CHECKING:
    from rich.progress import Progress

MAX_LINES = 20  # The number of lines per training, about, if standard error is no terminal.
SLOW_SECONDS = 2.0
BAR_WIDTH = 10  # In characters.


class EpochProgress(Callback):
    """A callback that shows the progress of a training.

    Attributes:
        has_begun: whether a training has begun.
    """

    has_begun: bool = False

    def __init__(self, notes: Sequence[str] = (), *, quiet: bool) -> None:
        """Create the callback.

        Args:
            notes: lines to print before the notes of the first training that begins.
            quiet: whether to show nothing.
        """
        self._notes: Sequence[str] | None = notes
        self._quiet = quiet
        self._bar: Progress | None = None

    def on_train_begin(self, context: RunContext) -> None:
        """Print notes, and start the bar on a terminal."""
        self._n_epochs, self._n_train = context.recipe.training.epochs, len(context.splits.train)
        # Epochs that an earlier process trained do not count for the speed of this one.
        self._done, self._n_earlier = len(context.history), context.n_samples
        if not self._quiet:
            if self._notes is not None:
                print_notes((*self._notes, *context.data.notes, *context.notes), quiet=False)
                self._notes = None
            if context.n_networks > 1:
                echo(f"network {context.number} of {context.n_networks}", err=True)
            if context.n_samples:
                echo(
                    f"resuming in epoch {self._done + 1} of {self._n_epochs}, after {context.n_samples:,} of "
                    f"{self._n_train:,} samples",
                    err=True,
                )
            elif self._done:
                echo(f"resuming after epoch {self._done} of {self._n_epochs}", err=True)
            if sys.stderr.isatty():
                self._bar = progress_bar("epoch {task.fields[count]}")
                self._task = self._bar.add_task("", total=self._n_epochs, count=f"0/{self._n_epochs}", facts="")
                self._bar.start()
        self.has_begun, self._started = True, time.perf_counter()
        self._epoch, self._epoch_started = self._done + 1, self._started

    def print_line(self, line: str) -> None:
        """Print a line, above the bar if there is one, even if quiet."""
        if self._bar is None:
            echo(line, err=True)
        else:
            self._bar.console.print(printable(line), markup=False, highlight=False)

    def on_train_end(self, error: BaseException | None) -> None:
        """Stop the bar."""
        del error
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(OSError):
                bar.stop()

    def on_update(self, n_samples: int) -> None:
        """Show on a terminal how far the epoch is."""
        if self._bar is None:
            return
        seconds = time.perf_counter() - self._epoch_started
        speed = (n_samples - self._n_earlier) / seconds
        left = (self._n_train - n_samples) / speed
        facts = (
            f"{n_samples:,} of {self._n_train:,} samples  {short_number(speed)}/s  {format_clock(left)} left of epoch"
        )
        with suppress(OSError):  # Training continues if the terminal has closed.
            done = self._epoch - 1 + n_samples / self._n_train
            self._bar.update(self._task, completed=done, count=f"{self._epoch}/{self._n_epochs}", facts=facts)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Show the epoch."""
        self._epoch, self._epoch_started, self._n_earlier = record.epoch + 1, time.perf_counter(), 0
        with suppress(OSError):  # Training continues if the terminal has closed.
            self._show(record)

    def _show(self, record: EpochRecord) -> None:
        """Update the bar, or print a line if one is due."""
        left = (time.perf_counter() - self._started) / (record.epoch - self._done) * (self._n_epochs - record.epoch)
        count = f"{record.epoch:>{len(str(self._n_epochs))}}/{self._n_epochs}"
        if self._bar is not None:
            room = self._bar.console.width - len(f"epoch {count}") - BAR_WIDTH - 2
            facts = progress_text(record, self._n_train, left, room)
            self._bar.update(self._task, completed=record.epoch, count=count, facts=facts)
        elif not self._quiet and self._is_due(record.epoch):
            echo(f"epoch {count}  {progress_text(record, self._n_train, left, WIDE_COLUMNS)}", err=True)

    def _is_due(self, epoch: int) -> bool:
        """Return whether this epoch gets a line, which the first, the last and some between do."""
        return epoch in (1, self._n_epochs) or epoch % max(1, self._n_epochs // MAX_LINES) == 0


@contextmanager
def slow_reading(source: str, *, quiet: bool, is_over: Callable[[], bool] = bool) -> Iterator[None]:
    """Say on a terminal that a file is read, if that takes longer than `SLOW_SECONDS`.

    Args:
        source: the file.
        quiet: whether to say nothing.
        is_over: returns whether reading has ended within the block.
    """

    def tell() -> None:
        if not is_over():
            with suppress(OSError):
                size = Path(source).stat().st_size if Path(source).is_file() else 0
                echo(f"reading {source}{f', {size / 1e6:,.0f} MB' if size else ''} ...", err=True)

    timer = threading.Timer(SLOW_SECONDS, tell)
    timer.daemon = True
    if not quiet and sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def progress_bar(first_column: str) -> Progress:
    """Return a progress bar on standard error.

    Args:
        first_column: text to the left of the bar, with fields as rich defines them. To the right
            stands the field "facts".
    """
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
        first_column: text to the left of the bar, as of `progress_bar`.
        total: value at which the bar is full, or None if it is not known at the beginning.
    """

    first_column: ClassVar[str]
    total: ClassVar[float | None] = None

    def __init__(self, *, quiet: bool) -> None:
        """Create the bar, which is never shown if quiet."""
        self._quiet = quiet
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        """Show the bar if standard error is a terminal."""
        if not self._quiet and sys.stderr.isatty():
            self._bar = progress_bar(self.first_column)
            self._task = self._bar.add_task("", total=self.total, count="", facts="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()


class GradientBar(TerminalBar):
    """The bar of a gradient check, on a terminal only."""

    first_column = "gradient check"

    def __call__(self, done: int, total: int) -> None:
        """Show how many gradients are checked."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, facts=f"{done} of {total} gradients")
