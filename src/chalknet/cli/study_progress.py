"""The progress of a study: runs that are done, running and failed, and the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalknet.cli.output import echo
from chalknet.cli.progress import BAR_WIDTH, TerminalBar, format_clock
from chalknet.formatting import printable

if TYPE_CHECKING:
    from chalknet.studies.execution_plan import Plan
    from chalknet.studies.runner.scheduler import RunEvent, StudyProgress


class RunProgress(TerminalBar):
    """A receiver of `StudyProgress` that shows a bar, or without a terminal a line per finished run."""

    first_column = "runs {task.fields[count]}"

    def __call__(self, progress: StudyProgress) -> None:
        """Update the bar, or print a line if a run has ended."""
        ended = progress.ended
        if self._bar is not None:
            if ended is not None and ended.error:
                self._bar.console.print(end_line(ended), markup=False, highlight=False)
            count = f"{progress.done}/{progress.total}"
            room = self._bar.console.width - len(f"runs {count}") - BAR_WIDTH - 2
            facts = progress_text(progress, room)
            partial = sum(epoch / epochs for _, epoch, epochs in progress.active_runs)
            completed = progress.done + progress.failed + partial
            self._bar.update(self._task, total=progress.total, completed=completed, count=count, facts=facts)
        elif not self._quiet and ended is not None:
            count = f"{progress.done:>{len(str(progress.total))}}/{progress.total}"
            echo(f"runs {count}  {end_line(ended)}  {_left(progress)}".rstrip(), err=True)


class PlanLine:
    """A receiver of `Plan` that prints a line if the plan has changed, unless quiet."""

    def __init__(self, *, quiet: bool) -> None:
        """Create the receiver, which prints nothing if quiet."""
        self._quiet, self._last = quiet, ""

    def __call__(self, plan: Plan) -> None:
        """Print the plan if it differs from the last one."""
        if not self._quiet and plan.description != self._last:
            self._last = plan.description
            echo(f"plan: {plan.description}", err=True)


def progress_text(progress: StudyProgress, room: int) -> str:
    """Return the counts, the time left and the current runs in at most `room` characters.

    If the room is small, runs are dropped first, then the counts.
    """
    counts = f"{progress.running} running" + f"  {progress.failed} failed" * (progress.failed > 0)
    short = f"{progress.running} run" + f" {progress.failed} failed" * (progress.failed > 0)
    left = _left(progress)
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


def _left(progress: StudyProgress) -> str:
    """Return the time left, or "" if it is not known yet."""
    return "" if progress.seconds_left is None else f"{format_clock(progress.seconds_left)} left"
