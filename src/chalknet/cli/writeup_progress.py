"""The progress of a write-up: one bar for all steps on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

from chalknet.cli.output import echo
from chalknet.cli.progress import BAR_WIDTH, TerminalBar, format_clock
from chalknet.studies.progress import end_line, progress_text

if TYPE_CHECKING:
    from rich.progress import Progress

    from chalknet.studies.runner.scheduler import StudyProgress
    from chalknet.workflows.writeup import WriteupProgress

# Percentage at which each step begins on the bar. Training takes nearly all of the time.
STEP_STARTS = {"data": 0.0, "study": 3.0, "document": 95.0}
STEP_TEXTS = {
    "data": "auditing the data",
    "study": "training",
    "document": "checking the gradients and writing the document",
}


class WriteupBar(TerminalBar):
    """A receiver of `WriteupProgress`: a bar on a terminal, lines elsewhere, nothing if quiet."""

    first_column = "{task.percentage:>3.0f} %"
    total: ClassVar[float | None] = 100.0

    def __init__(self, *, quiet: bool) -> None:
        """Create the bar, which is not shown if quiet."""
        super().__init__(quiet=quiet)
        self._step, self._step_began = "", 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Fill and stop the bar."""
        if self._bar is not None and error is None:
            self._bar.update(self._task, completed=self.total, facts="done")
        super().__exit__(kind, error, trace)

    def __call__(self, progress: WriteupProgress) -> None:
        """Update the bar, or print a line if a step begins or a run has ended."""
        begins = progress.step != self._step
        if begins:
            self._step, self._step_began = progress.step, time.monotonic()
        if self._bar is not None:
            self._show(self._bar, progress)
        elif not self._quiet:
            self._print_line(progress, begins)

    def _show(self, bar: Progress, progress: WriteupProgress) -> None:
        """Update the bar."""
        room = bar.console.width - BAR_WIDTH - 6
        study = progress.study
        if study is None:
            bar.update(self._task, completed=STEP_STARTS[progress.step], facts=STEP_TEXTS[progress.step][:room])
            return
        if study.ended is not None and study.ended.error:
            bar.console.print(end_line(study.ended), markup=False, highlight=False)
        span = STEP_STARTS["document"] - STEP_STARTS["study"]
        done = STEP_STARTS["study"] + span * self._fraction_done(study)
        count = f"training {study.done}/{study.total}  "
        bar.update(self._task, completed=done, facts=count + progress_text(study, max(room - len(count), 0)))

    def _fraction_done(self, study: StudyProgress) -> float:
        """Return the fraction of the training that is done, by time if it is known, else by runs."""
        if study.seconds_left is None:
            return (study.done + study.failed) / max(study.total, 1)
        spent = time.monotonic() - self._step_began
        return spent / max(spent + study.seconds_left, 1e-9)

    def _print_line(self, progress: WriteupProgress, begins: bool) -> None:
        """Print a line if a step begins or a run has ended."""
        study = progress.study
        if begins:
            echo(STEP_TEXTS[progress.step], err=True)
        if study is not None and study.ended is not None:
            left = "" if study.seconds_left is None else f"  {format_clock(study.seconds_left)} left"
            count = f"{study.done:>{len(str(study.total))}}/{study.total}"
            echo(f"training {count}  {end_line(study.ended)}{left}", err=True)
