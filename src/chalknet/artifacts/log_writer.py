"""`LogWriter`: what the CSV, TensorBoard and MLflow logs have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Self

from chalknet.errors import ChalknetError
from chalknet.formatting import printable
from chalknet.records import EpochRecord
from chalknet.training.callbacks import Callback, RunContext


def warn(line: str) -> None:
    """Show a line as a Python warning."""
    warnings.warn(printable(line), stacklevel=4)


class LogWriter(Callback):
    """A callback that writes the scores of each epoch to a file or a service.

    A destination that fails ends the log, not the training. Each network of an ensemble has its own
    log. A resumed training continues its log: epochs that the log has are not written twice, and
    those that it lacks are written first.

    Args:
        destination: the name of the destination in messages.
        on_failure: called with one line when the destination fails.

    Attributes:
        destination: the name of the destination in messages.
        on_failure: called with one line when the destination fails.
        has_failed: whether the destination has failed.
        view_command: the command that shows the log, or "" for a file that can simply be read.
        failures: the exceptions that end the log.
    """

    view_command: str = ""  # the command that shows the log
    failures: tuple[type[Exception], ...] = (OSError,)  # that end the log

    def __init__(self, destination: str, on_failure: Callable[[str], None] = warn) -> None:
        """Create a log that has not failed."""
        self.destination: str = destination
        self.on_failure: Callable[[str], None] = on_failure
        self.has_failed: bool = False
        self._writer = self  # for an ensemble, the writer of the network that is being trained

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the log."""
        self.close(error)

    def on_train_begin(self, context: RunContext) -> None:
        """Prepare the log, that of the ensemble member if there are several networks."""
        self._writer = self if context.n_networks == 1 else self.for_member(context)
        self._writer.begin(context)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Log an epoch."""
        self._writer._log(record)

    def on_train_end(self, error: BaseException | None) -> None:
        """Close the log of the network whose training ended."""
        self._writer.close(error)
        self.has_failed = self.has_failed or self._writer.has_failed
        self._writer = self

    def _log(self, record: EpochRecord) -> None:
        if self.has_failed:
            return
        try:
            self.write(record)
        except ChalknetError:  # the log belongs to another training: an error of the caller
            raise
        except self.failures as error:
            self._fail(f"{self._write_error(error)} Training continues; the log ends before epoch {record.epoch}.")

    def for_member(self, context: RunContext) -> Self:
        """Return a writer for one network of an ensemble, with its seed in the destination's name."""
        raise NotImplementedError

    def begin(self, context: RunContext) -> None:
        """Prepare for a training, and write the finished epochs that the log lacks."""
        for record in context.history:
            self._log(record)

    def write(self, record: EpochRecord) -> None:
        """Write one epoch."""
        raise NotImplementedError

    def close(self, error: BaseException | None = None) -> None:
        """Close the log. It may be called more than once, and a failure is reported here too."""
        try:
            self.finish(error)
        except self.failures as failure:
            self._fail(self._write_error(failure))

    def finish(self, error: BaseException | None) -> None:
        """Do what the destination needs at the end of a training, also after an error."""

    def _fail(self, line: str) -> None:
        if not self.has_failed:
            self.has_failed = True
            self.on_failure(line)

    def _write_error(self, error: Exception) -> str:
        return f"{self.destination}: cannot be written: {error_reason(error)}."


def error_reason(error: BaseException) -> str:
    """Return what the operating system said, or the first line of another library's message."""
    said = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return said.splitlines()[0].rstrip(".")
