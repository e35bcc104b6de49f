"""The progress of a study as one line of text, and as a line in a notebook."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chalknet.formatting import printable
from chalknet.notebook_view import progress_bar
from chalknet.training.progress import UPDATE_SECONDS, WIDE_COLUMNS, format_clock

if TYPE_CHECKING:  # the command line imports this module before it needs NumPy
    from chalknet.studies.runner.scheduler import RunEvent, StudyProgress


def progress_text(progress: StudyProgress, room: int) -> str:
    """Return the counts, the time left and the current runs in at most `room` characters.

    If the room is small, runs are dropped first, then the counts.
    """
    counts = f"{progress.running} running" + f"  {progress.failed} failed" * (progress.failed > 0)
    short = f"{progress.running} run" + f" {progress.failed} failed" * (progress.failed > 0)
    left = time_left_text(progress)
    runs = [f"{run.configuration.label} #{run.seed} {epoch}/{epochs}" for run, epoch, epochs in progress.active_runs]
    forms = [[counts, left, *runs[:n]] for n in range(len(runs), -1, -1)]
    shown = ("  ".join(filter(None, form)) for form in [*forms, [short, left], [left]])
    return next((form for form in shown if len(form) <= room), "")


def end_line(end: RunEvent) -> str:
    """Return one line that says how a run ended."""
    if end.will_retry:
        return printable(f"{end.run}: its process ended ({end.error}); it is tried again")
    if end.error:
        return printable(f"{end.run} failed: {end.error}")
    accuracy = "" if end.valid_accuracy is None else f"  valid {100 * end.valid_accuracy:.1f} %"
    return f"{end.run}{accuracy}  {end.seconds:.1f} s"


def time_left_text(progress: StudyProgress) -> str:
    """Return the time left, or "" if it is not known yet."""
    return "" if progress.seconds_left is None else f"{format_clock(progress.seconds_left)} left"


class NotebookStudyProgress:
    """A receiver of `StudyProgress` that shows it as a bar and a line in a notebook, which it keeps updating.

    A run that failed gets a line of its own above.
    """

    def __init__(self) -> None:
        """Create the receiver; nothing is shown yet."""
        self._line: Any = None
        self._shown = 0.0
        self._failures: list[str] = []

    def __call__(self, progress: StudyProgress) -> None:
        """Update the line, at most every `UPDATE_SECONDS` unless a run has ended."""
        if progress.ended is not None and progress.ended.error:
            self._failures.append(end_line(progress.ended))
        is_over = progress.done + progress.failed == progress.total
        if not is_over and progress.ended is None and time.monotonic() - self._shown < UPDATE_SECONDS:
            return
        line = f"runs {progress.done}/{progress.total}  {progress_text(progress, WIDE_COLUMNS)}"
        text = "\n".join([*self._failures, line])
        fraction = (progress.done + progress.failed) / max(progress.total, 1)
        shown = {"text/plain": text, "text/html": progress_bar(fraction, text)}
        if self._line is None:
            self._line = import_module("IPython.display").display(shown, raw=True, display_id=True)
        else:
            self._line.update(shown, raw=True)
        self._shown = time.monotonic()
