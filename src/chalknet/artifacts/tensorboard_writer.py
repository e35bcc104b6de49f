"""`TensorBoardWriter`: an observer that writes each epoch's scores as TensorBoard's scalars."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from chalknet.artifacts.log_writer import LogWriter, append_whole, reason_of, warn
from chalknet.errors import MissingExtraError, OutputError
from chalknet.records import PARTS, EpochRecord
from chalknet.training.trainer import Begun

MEASURES = ("loss", "accuracy")
NAME = "events.out.tfevents."


class TensorBoardWriter(LogWriter):
    """Scalars loss/train, loss/valid, accuracy/train, ... at step = epoch; `tensorboard --logdir FOLDER` shows them.

    A training that goes on in the same folder replaces what an earlier start had written of the same epochs. Of an
    ensemble, each network has a folder seedN in it.

    Args:
        folder: made if it is not there.
        tell: gets the line that says that the folder can no longer be written; by default it is a warning.
    Raises:
        MissingExtraError: the package tensorboard is not there. OutputError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, *, tell: Callable[[str], None] = warn) -> None:
        super().__init__(str(folder), tell)
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise MissingExtraError(
                'a TensorBoard log needs the package tensorboard: pip install "chalknet[tensorboard]".'
            ) from error
        self._event, self._summary, self._records = event_pb2, summary_pb2, RecordWriter
        self._folder = Path(folder)
        self._file: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {reason_of(error)}.") from error

    def member(self, begun: Begun) -> Self:
        return type(self)(self._folder / f"seed{begun.recipe.training.seed}", tell=self.tell)

    def begin(self, begun: Begun) -> None:
        self._file = None
        if not any(self._folder.glob(f"{NAME}*")):  # a log that begins with a training that goes on
            super().begin(begun)

    def write(self, record: EpochRecord) -> None:
        now = time.time()
        events = []
        if self._file is None:  # what an earlier start wrote of this epoch and later ones is then left out
            self._file = self._new_file()
            log = self._event.SessionLog(status=self._event.SessionLog.START)
            events = [
                self._event.Event(wall_time=now, file_version="brain.Event:2"),
                self._event.Event(wall_time=now, step=record.epoch, session_log=log),
            ]
        values = [
            self._summary.Summary.Value(tag=f"{measure}/{part}", simple_value=getattr(scores, measure))
            for part in PARTS
            if (scores := record.part(part)) is not None
            for measure in MEASURES
        ]
        summary = self._summary.Summary(value=values)
        events.append(self._event.Event(wall_time=now, step=record.epoch, summary=summary))
        self._append(events)

    def _append(self, events: list[Any]) -> None:
        """Events in one piece at the end of the file, at once; TensorBoard's own writer does it in a thread.

        Its errors would be lost there.
        """
        buffer = BytesIO()
        for event in events:
            self._records(buffer).write(event.SerializeToString())
        assert self._file is not None, "made before"
        append_whole(self._file, buffer.getvalue())

    def _new_file(self) -> Path:
        """A name that sorts behind those that are there, since they are read in that order."""
        stamps = [path.name.removeprefix(NAME)[:10] for path in self._folder.glob(f"{NAME}*")]
        stamp = max([int(time.time()), *(int(one) + 1 for one in stamps if one.isdecimal())])
        return self._folder / f"{NAME}{stamp:010d}.{socket.gethostname()}.{os.getpid()}"
