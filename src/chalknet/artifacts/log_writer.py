"""`LogWriter`: what the writers of logs have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from chalknet.errors import ChalknetError
from chalknet.records import EpochRecord
from chalknet.training.trainer import Begun


def warn(line: str) -> None:
    """Says a line as a warning."""
    warnings.warn(line, stacklevel=4)


class LogWriter:
    """An observer that writes each epoch somewhere. A place that fails ends the log and not the training.

    Of an ensemble, each network gets a log of its own. A training that goes on goes on with its log: epochs that the
    log has are not written twice, and those that it lacks are written first.

    Attributes:
        place: what messages call it. tell: gets the one line that says that the place failed.
        has_failed: whether it did.
    """

    failures: tuple[type[Exception], ...] = (OSError,)  # that end the log

    def __init__(self, place: str, tell: Callable[[str], None] = warn) -> None:
        self.place, self.tell, self.has_failed = place, tell, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def __call__(self, record: EpochRecord) -> None:
        if self.has_failed:
            return
        try:
            self.write(record)
        except ChalknetError:  # another training's log, which is not for this writer to end
            raise
        except self.failures as error:
            self._fail(f"{self._refused(error)} Training goes on; the log ends before epoch {record.epoch}.")

    @contextmanager
    def of(self, begun: Begun) -> Iterator[Callable[[EpochRecord], None]]:
        """The writer of one training, closed after it."""
        writer = self if begun.of == 1 else self.member(begun)
        with writer:
            writer.begin(begun)
            yield writer
        self.has_failed = self.has_failed or writer.has_failed

    def member(self, begun: Begun) -> Self:
        """A writer for one network of an ensemble, at a place that bears its seed."""
        raise NotImplementedError

    def begin(self, begun: Begun) -> None:
        """Makes ready for a training, and writes what the log lacks of epochs that are done already."""
        for record in begun.history:
            self(record)

    def write(self, record: EpochRecord) -> None:
        """One epoch."""
        raise NotImplementedError

    def close(self, error: BaseException | None = None) -> None:
        """The end, or an error's; it may be called more than once, and a place that fails now is told too."""
        try:
            self.finish(error)
        except self.failures as failure:
            self._fail(self._refused(failure))

    def finish(self, error: BaseException | None) -> None:
        """What there is to do at the end."""

    def _fail(self, line: str) -> None:
        if not self.has_failed:
            self.has_failed = True
            self.tell(line)

    def _refused(self, error: Exception) -> str:
        return f"{self.place}: cannot be written: {reason_of(error)}."


def reason_of(error: BaseException) -> str:
    """What the system said, or the first line of what another program did."""
    said = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return said.splitlines()[0].rstrip(".")
