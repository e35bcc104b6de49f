"""Progress of a training as one line of text, and as a line in a notebook."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

from chalknet.notebook_view import progress_bar
from chalknet.records import SPLITS, EpochRecord
from chalknet.training.callbacks import Callback, RunContext

WIDE_COLUMNS = 120  # width for which the full form of `progress_text` is meant
UPDATE_SECONDS = 0.2  # shortest time between two updates of the line in a notebook


def progress_text(record: EpochRecord, n_train: int, seconds_left: float, room: int) -> str:
    """Return loss, accuracies, speed and time left as text of at most `room` characters.

    If the full form is too long, accuracies are listed without names, in the order training,
    validation, test; then the speed is left out; then everything but the time left.

    Args:
        record: the last finished epoch.
        n_train: number of training samples, for the speed.
        seconds_left: estimated time until the end.
        room: available number of characters.
    """
    scored = [(split, scores) for split in SPLITS if (scores := record.scores(split)) is not None]
    speed = n_train / max(record.seconds, 1e-9)
    loss, left = f"loss {record.train.loss:.4f}", f"{format_clock(seconds_left)} left"
    named = "  ".join(f"{split} {100 * scores.accuracy:.1f} %" for split, scores in scored)
    listed = "acc " + "/".join(f"{100 * scores.accuracy:.1f}" for _, scores in scored) + " %"
    forms = (
        f"{loss}  {named}  {speed:,.0f} samples/s  {left}",
        f"{loss}  {listed}  {short_number(speed)}/s  {left}",
        f"{loss}  {listed}  {left}",
    )
    return next((form for form in forms if len(form) <= room), left)


def short_number(number: float) -> str:
    """Return a number in short form: 12,345 as "12k" and 1,234,567 as "1.2M"."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if number >= limit:
            shown = number / limit
            return f"{shown:.1f}{unit}" if shown < 10 else f"{shown:.0f}{unit}"
    return f"{number:.0f}"


def format_clock(seconds: float) -> str:
    """Return seconds as minutes and seconds, "1:05", or with hours, "1:00:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_notebook() -> bool:
    """Return whether this process is the kernel of a Jupyter notebook."""
    python = sys.modules.get("IPython")
    return python is not None and type(python.get_ipython()).__name__ == "ZMQInteractiveShell"


class NotebookProgress(Callback):
    """A callback that shows a bar and the last epoch in a notebook, which it keeps updating."""

    def on_train_begin(self, context: RunContext) -> None:
        """Start the clock for the time left."""
        self._context, self._started, self._shown = context, time.monotonic(), 0.0
        self._line: Any = None

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Update the line, at most every `UPDATE_SECONDS`."""
        now, n_epochs = time.monotonic(), self._context.recipe.training.epochs
        if now - self._shown < UPDATE_SECONDS and record.epoch < n_epochs:
            return
        done = record.epoch - len(self._context.history)  # without the epochs of earlier starts
        left = (now - self._started) / done * (n_epochs - record.epoch)
        of_ensemble = f"network {self._context.number} of {self._context.n_networks}, "
        text = f"epoch {record.epoch}/{n_epochs}  "
        text += progress_text(record, len(self._context.splits.train), left, WIDE_COLUMNS)
        text = (of_ensemble if self._context.n_networks > 1 else "") + text
        shown = {"text/plain": text, "text/html": progress_bar(record.epoch / n_epochs, text)}
        if self._line is None:
            self._line = import_module("IPython.display").display(shown, raw=True, display_id=True)
        else:
            self._line.update(shown, raw=True)
        self._shown = now
