"""Units that are not finished: a checkpoint of each in the study's folder, for whoever is given the unit next.

A worker keeps one where it sees that folder, on this machine or on another that shares it. One that cannot be written
or read costs time and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chalknet.artifacts.atomic import write_bytes
from chalknet.artifacts.checkpoint import SECONDS, checkpoint_bytes, read_checkpoint
from chalknet.errors import OutputError, StoreError
from chalknet.studies.cells import Unit
from chalknet.training.trainer import Checkpoint

FOLDER = "unfinished"  # in the study's


class UnitCheckpoint:
    """The checkpoint of one unit, a `Keeper`; every minute there is a new one."""

    def __init__(self, folder: Path, unit: Unit) -> None:
        self._path = folder / f"{unit.cell.key[:16]}-seed{unit.seed}.safetensors"
        self._is_kept = folder.is_dir()
        self._last = time.monotonic()

    @property
    def is_there(self) -> bool:
        """Whether there is one, whole or not."""
        return self._is_kept and self._path.is_file()

    def read(self) -> Checkpoint | None:
        """Where to go on; None where there is nothing, or nothing whole."""
        with suppress(StoreError):
            return read_checkpoint(self._path) if self.is_there else None
        return None

    def __call__(self, take: Callable[[], Checkpoint]) -> None:
        if not self._is_kept or time.monotonic() - self._last < SECONDS:
            return
        with suppress(OutputError):
            write_bytes(self._path, checkpoint_bytes(take()))
        self._last = time.monotonic()

    def clear(self) -> None:
        """The unit is finished."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(study: Path) -> Iterator[Path]:
    """The folder of unfinished units while a study runs; it goes at the end where nothing is in it.

    Raises:
        OutputError: it cannot be made.
    """
    folder = (study / FOLDER).absolute()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}.") from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()
