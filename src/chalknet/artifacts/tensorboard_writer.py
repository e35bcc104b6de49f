"""`TensorBoardWriter`: a callback that writes the scores of each epoch for TensorBoard."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from socket import gethostname
from typing import Any, Self

from chalknet.artifacts.log_writer import LogWriter, error_reason, warn
from chalknet.errors import MissingExtraError, OutputError
from chalknet.records import EpochRecord
from chalknet.training.callbacks import RunContext
from chalknet.version import install_command


class TensorBoardWriter(LogWriter):
    """A log of scalars loss/train, loss/valid, accuracy/train, ... at step = epoch.

    `tensorboard --logdir FOLDER` shows it. Each start writes a new event file, which replaces what
    earlier starts wrote for the same epochs. A resumed training writes its finished epochs again,
    so the log is complete. Each network of an ensemble has a folder seedN.

    Args:
        folder: created if it does not exist.
        on_failure: called with one line when the folder can no longer be written; by default it warns.

    Raises:
        MissingExtraError: the package tensorboardX is not installed.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, *, on_failure: Callable[[str], None] = warn) -> None:
        """Create the folder if necessary, and check that it can be written."""
        super().__init__(str(folder), on_failure)
        try:  # not SummaryWriter: it writes in a thread, where errors are lost
            from tensorboardX import RecordWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.summary import scalar
        except ImportError as error:
            raise MissingExtraError(
                f"a TensorBoard log needs the package tensorboardX: {install_command('tensorboard')}."
            ) from error
        self._new_file, self._event, self._session, self._scalar = RecordWriter, Event, SessionLog, scalar
        self.view_command: str = f"tensorboard --logdir {shlex.quote(str(folder))}"
        self._folder = Path(folder)
        self._file: Any = None  # the open event file
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error_reason(error)}.") from error

    def for_member(self, context: RunContext) -> Self:
        """Return a writer to the subfolder seedN."""
        return type(self)(self._folder / f"seed{context.recipe.training.seed}", on_failure=self.on_failure)

    def write(self, record: EpochRecord) -> None:
        """Write the scores of an epoch as one event."""
        now = time.time()
        if self._file is None:  # TensorBoard reads the files in the order of their names
            self._file = self._new_file(str(self._folder / f"events.out.tfevents.{time.time_ns()}.{gethostname()}"))
            self._file.write(self._event(wall_time=now, file_version="brain.Event:2").SerializeToString())
            start = self._session(status=self._session.START)  # discards this and later epochs of earlier files
            self._file.write(self._event(wall_time=now, step=record.epoch, session_log=start).SerializeToString())
        event = self._event(wall_time=now, step=record.epoch)  # one for all scores: a full disk leaves no part of them
        for (split, measure), value in record.logged_scores().items():
            event.summary.MergeFrom(self._scalar(f"{measure}/{split}", value))
        self._file.write(event.SerializeToString())
        self._file.flush()

    def finish(self, error: BaseException | None) -> None:
        """Close the event file."""
        del error  # an event file does not say how a training ended
        file, self._file = self._file, None
        if file is not None:
            file.close()
