"""`TensorBoardWriter`: an observer that writes each epoch's scores as TensorBoard's scalars."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chalknet.errors import MissingExtraError, OutputError
from chalknet.records import PARTS, EpochRecord

MEASURES = ("loss", "accuracy")


class TensorBoardWriter:
    """Scalars loss/train, loss/valid, accuracy/train, ... at step = epoch; `tensorboard --logdir FOLDER` shows them.

    A training that goes on in the same folder replaces what an earlier start had written of the same epochs.

    Args:
        folder: made if it is not there.
    Raises:
        MissingExtraError: the package tensorboard is not there. OutputError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise MissingExtraError(
                'a TensorBoard log needs the package tensorboard: pip install "chalknet[tensorboard]".'
            ) from error
        self._event, self._summary = event_pb2, summary_pb2
        try:
            self._writer: Any = EventFileWriter(str(folder))
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror or error}.") from error
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, record: EpochRecord) -> None:
        now = time.time()
        if not self._begun:  # what an earlier start wrote of this epoch and later ones is then left out
            log = self._event.SessionLog(status=self._event.SessionLog.START)
            self._writer.add_event(self._event.Event(wall_time=now, step=record.epoch, session_log=log))
            self._begun = True
        values = [
            self._summary.Summary.Value(tag=f"{measure}/{part}", simple_value=getattr(scores, measure))
            for part in PARTS
            if (scores := record.part(part)) is not None
            for measure in MEASURES
        ]
        summary = self._summary.Summary(value=values)
        self._writer.add_event(self._event.Event(wall_time=now, step=record.epoch, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
