"""The progress of a study: runs that are done, running and failed, and the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalknet.cli.output import echo
from chalknet.cli.progress import BAR_WIDTH, TerminalBar
from chalknet.studies.progress import end_line, progress_text, time_left_text

if TYPE_CHECKING:
    from chalknet.studies.execution_plan import Plan
    from chalknet.studies.runner.scheduler import StudyProgress


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
            echo(f"runs {count}  {end_line(ended)}  {time_left_text(progress)}".rstrip(), err=True)


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
