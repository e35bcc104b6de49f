"""`LogWriter`: what the writers of logs have in common."""

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
    """Says a line as a warning."""
    warnings.warn(printable(line), stacklevel=4)


class LogWriter(Callback):
    """A callback that writes each epoch somewhere. A place that fails ends the log and not the training.

    Each network of an ensemble has a log of its own. A resumed training continues its log: epochs that the log has are
    not written twice, and those that it lacks are written first.

    Attributes:
        place: what messages call it. on_failure: gets the one line that says that the place failed.
        has_failed: whether it did. view_command: the command that shows the log, "" where a file says it all.
    """

    view_command = ""  # the command that shows the log
    failures: tuple[type[Exception], ...] = (OSError,)  # that end the log

    def __init__(self, destination: str, on_failure: Callable[[str], None] = warn) -> None:
        self.destination, self.on_failure, self.has_failed = destination, on_failure, False
        self._writer = self  # of an ensemble: the one of the network that is being trained

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def on_train_begin(self, context: RunContext) -> None:
        self._writer = self if context.n_networks == 1 else self.for_member(context)
        self._writer.begin(context)

    def on_epoch_end(self, record: EpochRecord) -> None:
        self._writer._log(record)

    def on_train_end(self, error: BaseException | None) -> None:
        self._writer.close(error)
        self.has_failed = self.has_failed or self._writer.has_failed
        self._writer = self

    def _log(self, record: EpochRecord) -> None:
        if self.has_failed:
            return
        try:
            self.write(record)
        except ChalknetError:  # the log of another training, which this writer must not end
            raise
        except self.failures as error:
            self._fail(f"{self._write_error(error)} Training goes on; the log ends before epoch {record.epoch}.")

    def for_member(self, context: RunContext) -> Self:
        """Return a writer for one network of an ensemble, at a place whose name holds its seed."""
        raise NotImplementedError

    def begin(self, context: RunContext) -> None:
        """Prepare for a training, and write what the log lacks of the epochs that are finished already."""
        for record in context.history:
            self._log(record)

    def write(self, record: EpochRecord) -> None:
        """One epoch."""
        raise NotImplementedError

    def close(self, error: BaseException | None = None) -> None:
        """The end, or an error's; it may be called more than once, and a place that fails now is told too."""
        try:
            self.finish(error)
        except self.failures as failure:
            self._fail(self._write_error(failure))

    def finish(self, error: BaseException | None) -> None:
        """What there is to do at the end."""

    def _fail(self, line: str) -> None:
        if not self.has_failed:
            self.has_failed = True
            self.on_failure(line)

    def _write_error(self, error: Exception) -> str:
        return f"{self.destination}: cannot be written: {error_reason(error)}."


def error_reason(error: BaseException) -> str:
    """What the system said, or the first line of what another program did."""
    said = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return said.splitlines()[0].rstrip(".")
